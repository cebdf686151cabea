"""
SESSION_CHECK="cache" against "database": whatever users, clients, administrators and caches do, both say the same.

Two users live the same life, one under each. What they are told and what is stored about them is compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import RequestFactory, override_settings
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from example_project.accounts.models import User
from jwt_sessions import cache_tags, credentials, login, sessions
from jwt_sessions.exceptions import JWTSessionsError
from jwt_sessions.models import Credential, Session, SessionPolicy, TenantActivity, TokenVersion
from jwt_sessions.sessions import purge
from jwt_sessions.tokens import access
from jwt_sessions.types import ClientSecret
from jwt_sessions.verdict import cache as verdict_cache
from jwt_sessions.verdict.cache import VerdictCache
from tests.effort import THOROUGH, rounds
from tests.factories import PASSWORD, UserFactory

START = datetime(2027, 1, 4, 9, tzinfo=UTC)
TICK = timedelta(microseconds=1)
RESOLUTION = timedelta(seconds=60)
GRACE = timedelta(seconds=30)
BOUNDED = settings(
    max_examples=rounds(12),
    stateful_step_count=40,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
DELAYS = st.sampled_from(
    [TICK, timedelta(seconds=1), timedelta(seconds=10), GRACE, RESOLUTION - TICK, RESOLUTION]
    + [timedelta(minutes=3), timedelta(minutes=5), timedelta(minutes=9), timedelta(minutes=10)]
)
TENANTS = st.sampled_from([None, "acme", "globex"])
BACKGROUND = st.sampled_from([False, False, True])
AGE = st.sampled_from([0, 0, 0, 1, 2, 5])
LIMITS = st.sampled_from(["idle_timeout", "max_lifetime"])
MINUTES = st.sampled_from([2, 5, 20])
SETTINGS = {
    "ACTIVITY_RESOLUTION": RESOLUTION,
    "ACCESS_TOKEN_LIFETIME": timedelta(days=100),
    "REFRESH_TOKEN_LIFETIME": timedelta(minutes=40),
    "IDLE_TIMEOUT": timedelta(minutes=10),
    "MAX_SESSION_LIFETIME": timedelta(minutes=60),
    "REUSE_GRACE_PERIOD": GRACE,
    "ALLOW_RENEWAL": True,
    "LOGIN_THROTTLE": None,
}
memberships: set[str] = set()


class Life:
    """A user, all that was ever issued to them, and what may happen to them."""

    def __init__(self, check: str) -> None:
        given = {**SETTINGS, "SESSION_CHECK": check, "TENANTS": lambda user: sorted(memberships)}
        self.settings = override_settings(JWT_SESSIONS=given)
        self.user = UserFactory()
        self.password = PASSWORD
        self.access: list[str] = []
        self.refresh: list[str] = []
        self.sessions: list[Any] = []
        self.credentials: list[sessions.NewCredential] = []

    def lives(self, act: Callable[[Life], Any]) -> Any:
        """What comes of something: nothing, or an error's name and reason."""
        with self.settings:
            try:
                pair = act(self)
            except JWTSessionsError as error:
                return type(error).__name__, getattr(error, "reason", None)
            if hasattr(pair, "access_token"):
                self.access.append(outliving_every_deadline(pair.access_token))
                # A renewal answers none.
                self.refresh.append(getattr(pair, "refresh_token", "") or (self.refresh or [""])[-1])
            return None

    @property
    def row(self) -> User:
        return User.objects.get(pk=self.user.pk)

    @property
    def state(self) -> list[Any]:
        """What is stored, without the keys, which differ."""
        rows = {row.pk: row for row in Session.objects.filter(user=self.user)}
        clocks = TenantActivity.objects.filter(session__user=self.user).values_list(
            "session", "tenant", "last_active_at"
        )
        names = ("generation", "first_used_at", "last_active_at", "ended_at", "end_reason", "tenants")
        found = [key in rows and [getattr(rows[key], name) for name in names] for key in self.sessions]
        return [found, sorted((self.sessions.index(key), tenant, at) for key, tenant, at in clocks)]


def outliving_every_deadline(token: str) -> str:
    """No access token is issued for longer than its session has; here it is the session that is to be asked."""
    return access.encode({**access.verified_claims(token, access.ring()), "exp": 2_000_000_000})


def at(tokens: list[str], age: int) -> str:
    return tokens[max(0, len(tokens) - 1 - age)] if tokens else "x"


class TwoLives(RuleBasedStateMachine):
    """One under each SESSION_CHECK."""

    seen: Counter[Any] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.clock = time_machine.travel(START, tick=False)
        self.traveller = self.clock.start()
        self.lives: list[Life] = []
        self.steps = 0
        memberships.update({"acme", "globex"})

    def teardown(self) -> None:
        self.clock.stop()

    def both(self, act: Callable[[Life], Any]) -> None:
        told = [life.lives(act) for life in self.lives]
        assert told[0] == told[1]
        self.seen[told[0]] += 1

    @property
    def is_over(self) -> bool:
        """Whether nobody is signed in."""
        return not Session.objects.filter(user=self.lives[0].user, ended_at=None).exists()

    def under_the_cache(self, act: Callable[[], Any]) -> None:
        """What happens to both at once, and the cache is told of."""
        with self.lives[0].settings:
            act()

    @initialize()
    def begin(self) -> None:
        SessionPolicy.objects.all().delete()
        self.lives = [Life("cache"), Life("database")]
        self.sign_in(None, False)

    @rule(tenant=TENANTS, replace_others=st.sampled_from([False] * 5 + [True]))
    def sign_in(self, tenant: str | None, replace_others: bool) -> None:
        def act(life: Life) -> Any:
            pair = sessions.start(life.row, tenant=tenant, replace_others=replace_others)
            life.sessions.append(pair.session.pk)
            return pair

        self.both(act)

    @rule(delay=DELAYS)
    def time_passes(self, delay: timedelta) -> None:
        self.traveller.shift(delay)

    @rule(ages=st.lists(AGE, min_size=2, max_size=8), background=BACKGROUND, delay=st.sampled_from([0, 0, 1, 20]))
    def call(self, ages: list[int], background: bool, delay: int) -> None:
        for age in ages:
            self.traveller.shift(timedelta(seconds=delay))
            self.both(lambda life, age=age: sessions.authorize(at(life.access, age), background=background) and None)

    @rule()
    def one_tab_goes_on(self) -> None:
        self.sign_in(next(iter(sorted(memberships)), None), False)
        self.refresh(0, None, False)
        for _ in range(3):
            self.call([0], background=False, delay=240)
        self.call([1], background=False, delay=0)

    @rule()
    def a_thief_comes_late(self) -> None:
        self.sign_in(None, False)
        self.refresh(0, None, False)
        self.call([0, 0], background=True, delay=0)
        self.time_passes(GRACE)
        self.refresh(1, None, False)

    @rule(age=AGE, tenant=TENANTS, background=BACKGROUND)
    def refresh(self, age: int, tenant: str | None, background: bool) -> None:
        self.both(lambda life: sessions.refresh(at(life.refresh, age), tenant=tenant, background=background))

    @rule(age=AGE, tenant=TENANTS, background=BACKGROUND)
    def renew(self, age: int, tenant: str | None, background: bool) -> None:
        request = RequestFactory().post("/")
        token = {"tenant": tenant, "background": background, "request": request}
        self.both(lambda life: sessions.renew(at(life.access, age), **token))

    @rule(age=AGE, tenant=TENANTS)
    def give_the_password_again(self, age: int, tenant: str | None) -> None:
        request = RequestFactory().post("/")
        self.both(
            lambda life: login.reauthenticate(at(life.access, age), life.password, request=request, tenant=tenant)
        )

    @rule(age=AGE)
    def sign_out(self, age: int) -> None:
        request = RequestFactory().post("/")
        self.both(lambda life: login.sign_out(at(life.refresh, age), request=request) and None)

    @rule(number=st.sampled_from([0, 0, 1]), how=st.sampled_from(["end", "keep", "delete", "save"]))
    def end(self, number: int, how: str) -> None:
        def act(life: Life) -> None:
            session = Session.objects.filter(pk=life.sessions[-1 - number % len(life.sessions)]).first()
            if session is None:
                return
            if how == "end":
                sessions.end(session, reason="ended_by_user")
            elif how == "keep":
                sessions.end_all(life.user, reason="ended_by_user", keep=session)
            elif how == "save":
                session.refresh_expires_at = datetime.now(UTC) + timedelta(minutes=2)
                session.save()
            else:
                session.delete()

        self.both(act)

    @rule(how=st.sampled_from([*["raise"] * 3, "save", "delete", *["mark"] * 7]))
    def change_the_version(self, how: str) -> None:
        def act(life: Life) -> None:
            if how == "raise":
                sessions.raise_version(life.user)
            elif how == "mark":
                sessions.require_reauthentication(life.user)
            elif how == "save":
                TokenVersion(user=life.user, jwt_version=3).save()
            else:
                TokenVersion.objects.filter(user=life.user).delete()

        self.both(act)

    @rule(how=st.sampled_from(["password", "deactivate", *["activate", "name"] * 3]))
    def save_the_user(self, how: str) -> None:
        def act(life: Life) -> None:
            user = life.row
            if how == "password":
                life.password += "!"
                user.set_password(life.password)
            elif how == "name":
                user.name = "Ada"
            else:
                user.is_active = how == "activate"
            user.save()

        self.both(act)

    @rule(
        key=st.sampled_from([{"audience": "api"}, {"tenant": "acme"}, {"tenant": "globex"}]),
        how=st.sampled_from(["save", "update", "bulk_create", "delete", "delete"]),
        limit=LIMITS,
        minutes=MINUTES,
    )
    def change_a_policy(self, key: dict[str, str], how: str, limit: str, minutes: int) -> None:
        values, rows = {limit: timedelta(minutes=minutes)}, SessionPolicy.objects.filter(**key)

        def act() -> None:
            row = rows.first() or SessionPolicy(**key)
            if how == "delete":
                rows.delete()
            elif how == "update":
                rows.update(**values)
            elif how == "bulk_create" and row._state.adding:
                vars(row).update(values)
                SessionPolicy.objects.bulk_create([row])
            else:
                vars(row).update(values)
                row.save()

        self.under_the_cache(act)

    @rule(tenant=st.sampled_from(["acme", "globex"]))
    def join_or_leave(self, tenant: str) -> None:
        memberships.symmetric_difference_update({tenant})

    @rule(owned=st.booleans())
    def make_a_credential(self, owned: bool) -> None:
        request = RequestFactory().post("/")

        def act(life: Life) -> Any:
            new = credentials.create_credential(name="x", user=life.row if owned else None)
            life.credentials.append(new)
            presented = ClientSecret(str(new.credential.pk), new.client_secret)
            return credentials.exchange_credential(presented, request=request)

        self.both(act)

    @rule(how=st.sampled_from(["revoke", "expire", "delete"]))
    def end_a_credential(self, how: str) -> None:
        def act(life: Life) -> None:
            if not life.credentials:
                return
            row = Credential.objects.filter(pk=life.credentials[-1].credential.pk).first()
            if row is None:
                return
            if how == "revoke":
                credentials.revoke_credential(row)
            elif how == "expire":
                row.expires_at = datetime.now(UTC) + timedelta(minutes=1)
                row.save()
            else:
                row.delete()

        self.both(act)

    @rule(age=AGE, which=st.sampled_from([slice(0, 1), slice(1, 2), slice(2, 3), slice(3, 4), slice(0, 9)]))
    def the_cache_loses_something(self, age: int, which: slice) -> None:
        def act() -> None:
            claims = access.verified_claims(at(self.lives[0].access, age), access.ring())
            cache_tags.session_cache().delete_many(verdict_cache._keys(claims)[which])

        self.under_the_cache(act)

    @rule()
    def purge(self) -> None:
        self.under_the_cache(lambda: list(purge()))

    @invariant()
    def the_same_is_stored_and_clients_go_on_calling(self) -> None:
        if not self.lives:
            return
        assert self.lives[0].state == self.lives[1].state
        self.steps += 1
        if self.is_over:
            self.save_the_user("activate")
            self.sign_in(next(iter(sorted(memberships)), None), False)
        if self.steps % 2 == 0:
            self.time_passes(timedelta(minutes=1))
        self.call([0, 0, 1], background=self.steps % 9 != 0, delay=0)


def ends_that_chance_seldom_meets() -> None:
    machine = TwoLives()
    try:
        machine.begin()
        machine.give_the_password_again(0, None)
        machine.call([1], background=False, delay=0)
        assert TwoLives.seen["ExpiredToken", None]
        machine.save_the_user("deactivate")
        machine.call([0], background=False, delay=0)
        assert TwoLives.seen["SessionEnded", "user_inactive"]
    finally:
        machine.teardown()


@pytest.mark.django_db(transaction=True)
def test_both_say_the_same(monkeypatch):
    says_yes, yes = VerdictCache.says_yes, Counter()

    def counted(self: VerdictCache, *, background: bool) -> bool:
        answer = says_yes(self, background=background)
        yes[answer] += 1
        return answer

    monkeypatch.setattr(VerdictCache, "says_yes", counted)
    TwoLives.seen.clear()
    run_state_machine_as_test(TwoLives, settings=BOUNDED)
    ends_that_chance_seldom_meets()
    assert yes[True] > (400 if THOROUGH else 20)
    if not THOROUGH:  # a few examples do not meet every end
        return
    assert {
        *(
            ("SessionEnded", reason)
            for reason in ("logout", "ended_by_user", "replaced", "idle_timeout", "max_lifetime")
        ),
        *(
            ("SessionEnded", reason)
            for reason in ("password_changed", "version_raised", "token_reuse", "user_inactive")
        ),
        *((name, None) for name in ("TenantIdle", "TenantForbidden", "InvalidToken", "ExpiredToken")),
    } <= set(TwoLives.seen)
