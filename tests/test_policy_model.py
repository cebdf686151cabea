"""Policies, tenants and clocks against a model in plain words: whatever changes when, both say the same."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.test import override_settings
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from jwt_sessions import sessions
from jwt_sessions.exceptions import JWTSessionsError, SessionEnded
from jwt_sessions.models import SessionPolicy
from tests.effort import rounds
from tests.factories import UserFactory

START = datetime(2027, 1, 4, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
TENANTS = ("acme", "globex")
OWNERS = ("audience", *TENANTS)
OUTCOMES = ("ok", "idle_timeout", "max_lifetime", "ended_by_user", "TENANT_IDLE", "TENANT_FORBIDDEN")
BOUNDED = settings(
    max_examples=rounds(30),
    stateful_step_count=30,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
owners = st.sampled_from(("audience", *OWNERS))
tabs = st.sampled_from([None, *TENANTS])
minutes = st.sampled_from([None, 5, 10, 20])
pauses = st.builds(
    lambda count, late: max(count * MINUTE + late, timedelta(0)),
    st.integers(0, 6),
    st.sampled_from([-SECOND, timedelta(0), SECOND]),
)


class OneSession:
    """Section 8 in plain words, and nothing of the package. Limits in minutes."""

    def __init__(self, now: datetime, members: set[str]) -> None:
        self.signed_in = self.active = now
        self.members = set(members)
        self.clocks: dict[str, datetime] = {}
        self.ended: str | None = None

    def refresh(self, tab, background, now, idle, lifetime, accepted):
        self.judge(now, idle, lifetime, self.members)
        if self.ended:
            return self.ended
        if tab is not None and tab not in accepted:
            return "TENANT_FORBIDDEN"
        closes = [limit for limit in (idle["audience"], idle.get(tab)) if limit is not None]
        if tab in self.clocks and closes and self.clocks[tab] + min(closes) * MINUTE <= now:
            return "TENANT_IDLE"
        self.judge(now, idle, lifetime, accepted)
        if self.ended:
            return self.ended
        self.members = set(accepted)
        if not background:
            self.active = now
        if tab is not None and (not background or tab not in self.clocks):
            self.clocks[tab] = now
        return "ok"

    def judge(self, now, idle, lifetime, members):
        if self.ended:
            return
        ends = []
        if idle["audience"] is not None:
            ends.append((self.active + idle["audience"] * MINUTE, 1, "idle_timeout"))
        said = [lifetime[owner] for owner in ("audience", *members) if lifetime[owner] is not None]
        if said:
            ends.append((self.signed_in + min(said) * MINUTE, 0, "max_lifetime"))
        passed = [end for end in ends if end[0] <= now]
        if passed:
            self.ended = min(passed)[2]


class PoliciesChangeWhileTabsRefresh(RuleBasedStateMachine):
    """One user and session at a time; a resolution of zero, so that each refresh is on record."""

    seen: Counter[str] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.travel = time_machine.travel(START, tick=False)
        self.clock = self.travel.start()
        self.accepted = set(TENANTS)
        self.idle = dict.fromkeys(OWNERS)
        self.lifetime = dict.fromkeys(OWNERS)
        self.settings = override_settings(
            JWT_SESSIONS={
                "TENANTS": lambda user: self.accepted,
                "ACTIVITY_RESOLUTION": timedelta(0),
                "MAX_SESSION_LIFETIME": None,
                "REFRESH_TOKEN_LIFETIME": None,
            }
        )
        self.settings.enable()

    def teardown(self) -> None:
        self.settings.disable()
        self.travel.stop()

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    @initialize(owner=owners, idle=minutes, lifetime=minutes)
    def begin(self, owner, idle, lifetime) -> None:
        SessionPolicy.objects.all().delete()
        self.a_policy_is_set(owner, idle, lifetime, False)
        self.sign_in()

    def sign_in(self) -> None:
        self.pair = sessions.start(UserFactory(password=None))
        self.model = OneSession(self.now, self.accepted)

    @rule(pause=pauses)
    def time_passes(self, pause: timedelta) -> None:
        self.clock.shift(pause)

    @rule(owner=owners, idle=minutes, lifetime=minutes, in_bulk=st.booleans())
    def a_policy_is_set(self, owner, idle, lifetime, in_bulk) -> None:
        self.idle[owner], self.lifetime[owner] = idle, lifetime
        says = {
            "idle_timeout": None if idle is None else idle * MINUTE,
            "max_lifetime": None if lifetime is None else lifetime * MINUTE,
        }
        name = {"audience": "api"} if owner == "audience" else {"tenant": owner}
        if not in_bulk or not SessionPolicy.objects.filter(**name).update(**says):
            SessionPolicy.objects.update_or_create(says, **name)

    @rule(owner=st.sampled_from(OWNERS))
    def a_policy_is_deleted(self, owner) -> None:
        self.idle[owner] = self.lifetime[owner] = None
        name = {"audience": "api"} if owner == "audience" else {"tenant": owner}
        SessionPolicy.objects.filter(**name).delete()

    @rule(members=st.sets(st.sampled_from(TENANTS)))
    def memberships_change(self, members) -> None:
        self.accepted = members

    @rule(really=st.sampled_from([False, False, False, True]))
    def the_user_ends_it(self, really) -> None:
        if not really:
            return
        self.model.judge(self.now, self.idle, self.lifetime, self.model.members)
        assert sessions.end(self.pair.session, reason="ended_by_user") == (self.model.ended is None)
        self.model.ended = self.model.ended or "ended_by_user"

    @rule(tab=tabs, background=st.booleans(), pause=pauses)
    def a_tab_refreshes(self, tab, background, pause) -> None:
        self.clock.shift(pause)
        expected = self.model.refresh(tab, background, self.now, self.idle, self.lifetime, self.accepted)
        PoliciesChangeWhileTabsRefresh.seen[expected] += 1
        try:
            pair = sessions.refresh(self.pair.refresh_token, tenant=tab, background=background)
        except SessionEnded as error:
            assert error.reason == expected
            self.sign_in()
        except JWTSessionsError as error:
            assert error.code == expected
        else:
            assert (expected, pair.tenant, pair.session.pk) == ("ok", tab, self.pair.session.pk)
            self.pair = pair


@pytest.mark.django_db
def test_policies_tenants_and_clocks_do_what_the_model_says():
    run_state_machine_as_test(PoliciesChangeWhileTabsRefresh, settings=BOUNDED)


@pytest.mark.django_db
def test_long_lives_of_sessions_meet_every_end_that_the_model_knows():
    """The same machine on long walks of fixed seeds, which come by what short examples seldom do."""
    PoliciesChangeWhileTabsRefresh.seen.clear()
    for seed in range(12):
        _walk(random.Random(seed), steps=60)
    assert {each for each in OUTCOMES if PoliciesChangeWhileTabsRefresh.seen[each] < 3} == set()


def _walk(chance: random.Random, steps: int) -> None:
    machine = PoliciesChangeWhileTabsRefresh()
    limits = [None, 5, 10, 20]
    try:
        machine.begin(chance.choice(OWNERS), chance.choice(limits), chance.choice(limits))
        for _step in range(steps):
            pause = max(chance.randrange(7) * MINUTE + chance.choice([-SECOND, timedelta(0), SECOND]), timedelta(0))
            match chance.randrange(12):
                case 0:
                    machine.a_policy_is_set(
                        chance.choice(OWNERS), chance.choice(limits), chance.choice(limits), chance.random() < 0.5
                    )
                case 1:
                    machine.a_policy_is_deleted(chance.choice(OWNERS))
                case 2:
                    machine.memberships_change(set(chance.sample(TENANTS, chance.randrange(3))))
                case 3 if chance.random() < 0.3:
                    machine.the_user_ends_it(really=True)
                case _:
                    machine.a_tab_refreshes(chance.choice([None, *TENANTS]), chance.random() < 0.5, pause)
    finally:
        machine.teardown()
