"""The one path on which tokens are issued: every door under every condition, compared with one table."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import RequestFactory
from rest_framework_simplejwt.tokens import RefreshToken as SimpleJWTToken

from jwt_sessions import credentials, login, sessions
from jwt_sessions.exceptions import (
    EndReason,
    InvalidTarget,
    IssueDenied,
    JWTSessionsError,
    ReauthenticationRequired,
    SessionEnded,
)
from jwt_sessions.models import Session, SessionPolicy, TenantActivity
from jwt_sessions.models.session import SessionQuerySet
from jwt_sessions.signals import pre_issue
from jwt_sessions.types import ClientSecret
from tests.factories import PASSWORD, UserFactory

MINUTE = timedelta(minutes=1)
ISSUED = "issued"


class World:
    """A user with a session, a credential and a token of simplejwt, all for the tenant ``acme``."""

    def __init__(self, clock: Any, change: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.change, self.monkeypatch = clock, change, monkeypatch
        self.tenants = ["acme"]
        self.user = UserFactory()
        self.request = RequestFactory().post("/")
        change(ALLOW_RENEWAL=True, TENANTS=lambda user: list(self.tenants))
        self.pair = sessions.start(self.user, tenant="acme")
        self.old_token = str(SimpleJWTToken.for_user(self.user))
        new = credentials.create_credential(name="CI", user=self.user, tenant="acme")
        self.client = ClientSecret(str(new.credential.pk), new.client_secret)

    @property
    def session(self) -> Session:
        return Session.objects.get(pk=self.pair.session.pk)

    def receive(self, receiver: Callable[..., None]) -> None:
        """Connect a receiver of ``pre_issue`` until the test ends."""

        def received(sender: Any, draft: Any, **kwargs: Any) -> None:
            receiver(draft)

        self.monkeypatch.setattr(pre_issue, "receivers", [])
        pre_issue.connect(received, weak=False)


DOORS: dict[str, Callable[[World], Any]] = {
    "start": lambda world: sessions.start(world.user, tenant="acme"),
    "refresh": lambda world: sessions.refresh(world.pair.refresh_token, tenant="acme"),
    "renew": lambda world: sessions.renew(world.pair.access_token, request=world.request),
    "reauthenticate": lambda world: login.reauthenticate(world.pair.access_token, PASSWORD, request=world.request),
    "exchange of a token": lambda world: login.exchange_token(world.old_token, tenant="acme"),
    "exchange of a credential": lambda world: credentials.exchange_credential(world.client, request=world.request),
}


def nothing(world: World) -> None:
    """All is well."""


def mark(world: World) -> None:
    world.clock.shift(MINUTE)
    sessions.require_reauthentication(world.user)


def lost_membership(world: World) -> None:
    world.tenants.clear()


def idle_tenant(world: World) -> None:
    SessionPolicy.objects.create(tenant="acme", idle_timeout=2 * MINUTE)
    world.clock.shift(2 * MINUTE)


def refresh_expiry(world: World) -> None:
    Session.objects.update(refresh_expires_at=world.session.created_at)


def idle_timeout(world: World) -> None:
    SessionPolicy.objects.create(audience="api", idle_timeout=2 * MINUTE)
    world.clock.shift(2 * MINUTE)


def maximum_lifetime(world: World) -> None:
    SessionPolicy.objects.create(audience="api", max_lifetime=2 * MINUTE)
    world.clock.shift(2 * MINUTE)


def stricter_membership(world: World) -> None:
    SessionPolicy.objects.create(tenant="globex", max_lifetime=2 * MINUTE)
    world.clock.shift(2 * MINUTE)
    world.tenants.append("globex")


def lost_audience(world: World) -> None:
    world.change(AUDIENCES=["reports"])


def denying_hook(world: World) -> None:
    def deny(draft: Any) -> None:
        raise IssueDenied

    world.receive(deny)


def broken_hook(world: World) -> None:
    world.receive(lambda draft: 1 / 0)


def large_token(world: World) -> None:
    world.change(MAX_ACCESS_TOKEN_BYTES=100)


def end_meanwhile(world: World) -> None:
    world.receive(lambda draft: sessions.end(world.session, reason=EndReason.ENDED_BY_ADMIN))


def contention(world: World) -> None:
    world.monkeypatch.setattr(SessionQuerySet, "advance", lambda *arguments: False)


def same(outcome: str, **others: str) -> dict[str, str]:
    """The outcome at every door, but for those that are named with their spaces as underscores."""
    return {door: others.get(door.replace(" ", "_"), outcome) for door in DOORS}


# What the condition is about decides: the session at hand, or the tenant, the hook and the size at every door. A door
# that verifies the user (start, reauthenticate) satisfies what asks for that.
TABLE: dict[Callable[[World], None], dict[str, str]] = {
    nothing: same(ISSUED),
    mark: same("REAUTHENTICATION_REQUIRED", start=ISSUED, reauthenticate=ISSUED, exchange_of_a_credential=ISSUED),
    lost_membership: same("TENANT_FORBIDDEN"),
    idle_tenant: same(ISSUED, refresh="TENANT_IDLE", renew="TENANT_IDLE"),
    refresh_expiry: same(
        ISSUED,
        refresh="SESSION_ENDED expired",
        renew="SESSION_ENDED expired",
        reauthenticate="SESSION_ENDED expired",
    ),
    idle_timeout: same(
        ISSUED,
        refresh="SESSION_ENDED idle_timeout",
        renew="SESSION_ENDED idle_timeout",
        reauthenticate="SESSION_ENDED idle_timeout",
    ),
    maximum_lifetime: same("SESSION_ENDED max_lifetime", start=ISSUED, exchange_of_a_credential=ISSUED),
    stricter_membership: same(
        "SESSION_ENDED max_lifetime", start=ISSUED, reauthenticate=ISSUED, exchange_of_a_credential=ISSUED
    ),
    # Sign-ins are for the default audience, which is another now. The access token at hand is not accepted any more.
    lost_audience: same(
        ISSUED,
        refresh="INVALID_REQUEST",
        renew="INVALID_TOKEN",
        reauthenticate="INVALID_TOKEN",
        exchange_of_a_credential="INVALID_REQUEST",
    ),
    denying_hook: same("ISSUE_DENIED"),
    broken_hook: same("ISSUE_FAILED"),
    large_token: same("ISSUE_FAILED"),
    # renew stores nothing that could be lost: its token is refused at the next request.
    end_meanwhile: same(ISSUED, refresh="SESSION_ENDED ended_by_admin", reauthenticate="SESSION_ENDED ended_by_admin"),
    contention: same(ISSUED, refresh="ISSUE_FAILED", reauthenticate="ISSUE_FAILED"),
}
# Conditions under which nothing may change, not even the end of the session.
CHANGES_NOTHING = (
    mark,
    lost_membership,
    idle_tenant,
    lost_audience,
    denying_hook,
    broken_hook,
    large_token,
    contention,
)


@pytest.fixture
def world(db, clock, jwt_settings, monkeypatch) -> World:
    jwt_settings(EXCHANGE_SIMPLEJWT_TOKENS=True)
    return World(clock, jwt_settings, monkeypatch)


def outcome_of(door: str, world: World) -> str:
    try:
        DOORS[door](world)
    except JWTSessionsError as error:
        return f"{error.code} {getattr(error, 'reason', '')}".strip()
    return ISSUED


def stored() -> list[Any]:
    return [
        *Session.objects.order_by("pk").values(),
        *TenantActivity.objects.order_by("pk").values(),
        *(list(session.refresh_tokens.order_by("pk").values()) for session in Session.objects.order_by("pk")),
    ]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("condition", TABLE, ids=lambda condition: condition.__name__)
def test_every_door_obeys_every_condition(world, door, condition):
    condition(world)
    before, expected = stored(), TABLE[condition][door]
    assert outcome_of(door, world) == expected
    if expected != ISSUED and condition in CHANGES_NOTHING:
        assert stored() == before
    if expected.startswith("SESSION_ENDED") and door != "exchange of a token":
        assert world.session.end_reason == expected.split()[1]


def test_a_token_renewed_while_the_session_ended_is_refused(world):
    end_meanwhile(world)
    token = sessions.renew(world.pair.access_token, request=world.request).access_token
    with pytest.raises(JWTSessionsError, match="ended_by_admin"):
        sessions.authorize(token)


def test_a_renewed_token_never_outlives_a_stricter_tenant(world):
    SessionPolicy.objects.create(tenant="globex", max_lifetime=2 * MINUTE)
    world.clock.shift(MINUTE)
    world.tenants.append("globex")
    assert sessions.renew(world.pair.access_token, request=world.request).expires_in == 60


def test_a_session_of_an_audience_that_is_issued_no_more_lives_and_gets_tokens_for_another(world):
    lost_audience(world)
    with pytest.raises(InvalidTarget) as refused:
        sessions.reauthenticated(world.session)
    assert refused.value.field == "audience"
    pair = sessions.refresh(world.pair.refresh_token, audience="reports")
    assert sessions.authorize(pair.access_token)[1].claims["aud"] == "reports"


# Another audience than the session's own is bound by its policy too.

LIMITS = [{"max_lifetime": 10 * MINUTE}, {"idle_timeout": 10 * MINUTE}]


def for_reports(world: World, **parameters: Any) -> Any:
    return sessions.refresh(world.pair.refresh_token, audience="reports", background=True, **parameters)


@pytest.fixture
def reports(world) -> World:
    """A session for ``api``, which may ask for tokens for ``reports`` too."""
    world.change(AUDIENCES=["api", "reports"], ACCESS_TOKEN_LIFETIME=8 * MINUTE)
    return world


@pytest.mark.parametrize("tenant", [None, "acme"])
@pytest.mark.parametrize("limit", LIMITS)
def test_attack_the_audience_of_a_token_does_not_evade_the_policy_of_that_audience(reports, limit, tenant):
    SessionPolicy.objects.create(audience="reports", **limit)
    reports.clock.shift(4 * MINUTE)
    assert for_reports(reports, tenant=tenant).expires_in == 6 * 60
    reports.clock.shift(6 * MINUTE)
    before = stored()
    with pytest.raises(ReauthenticationRequired):
        for_reports(reports, tenant=tenant)
    assert stored() == before
    # The session lives: for its own audience, and for the other once the password is given again.
    pair = sessions.refresh(reports.pair.refresh_token, tenant=tenant)
    assert pair.expires_in == 8 * 60
    pair = sessions.reauthenticated(pair.session)
    assert sessions.refresh(pair.refresh_token, audience="reports", tenant=tenant).expires_in == 8 * 60


@pytest.mark.parametrize("limit", LIMITS)
def test_attack_no_renewal_evades_the_policy_of_an_audience(reports, limit):
    reports.change(ACCESS_TOKEN_LIFETIME=20 * MINUTE)
    token = for_reports(reports).access_token
    SessionPolicy.objects.create(audience="reports", **limit)
    reports.clock.shift(10 * MINUTE)
    with pytest.raises(ReauthenticationRequired):
        sessions.renew(token, request=reports.request)
    assert reports.session.ended_at is None


@pytest.mark.parametrize("limit", LIMITS)
def test_the_policy_of_another_audience_ends_no_session_and_is_no_deadline_of_it(reports, limit):
    usual = sessions.refresh(reports.pair.refresh_token)
    SessionPolicy.objects.create(audience="reports", **limit)
    pair = for_reports(reports)
    assert (pair.session_expires_at, pair.idle_expires_at) == (usual.session_expires_at, usual.idle_expires_at)
    reports.clock.shift(20 * MINUTE)
    assert sessions.refresh(pair.refresh_token).session.ended_at is None


@pytest.mark.parametrize("limit", LIMITS)
def test_a_token_for_another_audience_obeys_the_policy_of_the_sessions_own_too(reports, limit):
    SessionPolicy.objects.create(audience="api", **limit)
    reports.clock.shift(4 * MINUTE)
    pair = for_reports(reports)
    assert pair.expires_in == 6 * 60
    reports.clock.shift(6 * MINUTE)
    with pytest.raises(SessionEnded):
        sessions.refresh(pair.refresh_token, audience="reports")


@pytest.mark.parametrize("password", ["wrong", ""])
def test_attack_a_wrong_password_opens_no_idle_tenant(world, password):
    idle_tenant(world)
    before = stored()
    with pytest.raises(JWTSessionsError) as refused:
        login.reauthenticate(world.pair.access_token, password, request=world.request)
    assert refused.value.code == "INVALID_CREDENTIALS"
    assert stored() == before
    assert outcome_of("refresh", world) == "TENANT_IDLE"


def test_attack_a_password_changed_in_bulk_while_the_old_one_is_verified(world, monkeypatch):
    """The session must not be bound to the new password by who knows the old one."""

    def verify(request, username, password):
        stolen = UserFactory(password="another password").password
        type(world.user).objects.filter(pk=world.user.pk).update(password=stolen)
        return world.user

    monkeypatch.setattr("jwt_sessions.login.by_password.verify_password", verify)
    assert outcome_of("reauthenticate", world) == "SESSION_ENDED password_changed"
