"""SESSION_CHECK="cache": a request costs nothing, and everything bites as soon as with "database"."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.core.cache.backends.locmem import LocMemCache
from django.db import OperationalError, connections, models, transaction
from django.db.models.fields.files import FieldFile
from django.db.models.signals import post_delete, pre_delete
from django.test import Client, TestCase
from django.urls import reverse
from django.utils import timezone

from example_project.accounts.models import Membership, User
from jwt_sessions import cache_tags, conf, credentials, sessions
from jwt_sessions.models import (
    Credential,
    RefreshToken,
    Session,
    SessionPolicy,
    TenantActivity,
    TokenVersion,
)
from jwt_sessions.models.session import SessionQuerySet
from jwt_sessions.sessions import authorization
from jwt_sessions.tokens import access
from jwt_sessions.verdict import cache as verdict_cache
from jwt_sessions.verdict import token as verdict_of_token
from jwt_sessions.verdict.cache import CachedVerdict, VerdictCache
from jwt_sessions.verdict.credential import find_credential
from jwt_sessions.verdict.password import auth_hash
from jwt_sessions.verdict.session import find
from tests.check_messages import CAREFUL, ids
from tests.clients import Device
from tests.credential_ends import OF_ALL, OF_OWNERS
from tests.crowd import Crowd, refused
from tests.factories import PASSWORD, UserFactory
from tests.services import Service
from tests.session_ends import NAMES, WAYS, deactivating, reusing, setting_the_password
from tests.statements import READ, WRITE, statements

pytestmark = pytest.mark.django_db

RESOLUTION = timedelta(seconds=60)
SECOND = timedelta(seconds=1)
BACKGROUND = {"X-Session-Background": "1"}
LONG_TOKENS = {"ACCESS_TOKEN_LIFETIME": timedelta(days=100)}


@pytest.fixture(autouse=True)
def cached(jwt_settings):
    jwt_settings(SESSION_CHECK="cache", TENANTS=None)


@contextmanager
def committed() -> Iterator[None]:
    """What a request does in a transaction of its own: the one around the test is not the project's."""
    with TestCase.captureOnCommitCallbacks(execute=True):
        yield


def warm(caller: Any, **headers: str) -> Any:
    """The caller, once the cache knows its token."""
    with committed():
        assert caller.call(**headers).status_code == 200
    assert statements(lambda: caller.call(**headers)) == []
    return caller


def told(caller: Any, **headers: str) -> Any:
    """What a caller is told: nothing, or the code and the reason of its refusal."""
    response = caller.call(**headers)
    body = response.json()
    return None if response.status_code == 200 else (body["code"], body.get("reason"))


def claims_of(caller: Any) -> dict[str, Any]:
    return access.decode(caller.bearer["Authorization"].partition(" ")[2], timezone.now())


def keys_of(caller: Any) -> list[str]:
    """The keys of a caller's verdict and of its tags."""
    return verdict_cache._keys(claims_of(caller))


def ended(way: Callable[..., Any], device: Device, jwt_settings: Any, clock: Any) -> None:
    way(device, *((jwt_settings, clock) if way in (*NAMES, reusing) else ()))


# What it costs


def test_a_remembered_token_costs_nothing_and_its_user_is_shown(device):
    body = device.call().json()
    warm(device)
    assert device.call().json() == body
    assert body["email"] == device.user.email


@pytest.mark.parametrize("owned", [True, False])
def test_a_remembered_token_of_a_credential_costs_nothing(user, owned):
    service = warm(Service(user=user if owned else None).exchanged())
    assert service.call().json()["type"] == ("personal" if owned else "api")
    assert service.call("/api/me/").status_code == (200 if owned else 403)


def test_all_tokens_of_a_session_for_one_tenant_share_a_verdict(device, jwt_settings):
    jwt_settings(ALLOW_RENEWAL=True)
    warm(device)
    device.tokens["access_token"] = device.post("renew", **device.bearer).json()["access_token"]
    assert statements(device.call) == []


def test_what_is_not_remembered_costs_what_it_costs_without_a_cache(clock, user, jwt_settings):
    jwt_settings(**LONG_TOKENS, IDLE_TIMEOUT=timedelta(hours=1))
    SessionPolicy.objects.create(audience="api", idle_timeout=timedelta(minutes=50))
    assert costs(clock, Device(user).sign_in()) == [[READ], [READ, WRITE], [READ], [READ, WRITE], [READ, WRITE, WRITE]]
    jwt_settings(SESSION_CHECK="database")
    assert costs(clock, Device(user).sign_in()) == [[READ], [READ, WRITE], [READ], [READ, WRITE], [READ, WRITE, WRITE]]


def costs(clock: Any, device: Device) -> list[list[str]]:
    found = [statements(device.call)]
    device.refresh()
    found.append(statements(device.call))
    clock.shift(RESOLUTION)
    found.append(statements(lambda: device.call(**BACKGROUND)))
    found.append(statements(device.call))
    device.refresh()
    clock.shift(RESOLUTION)
    found.append(statements(device.call))
    return found


def test_the_database_is_asked_once_in_a_while_by_who_is_active(clock, device):
    warm(device)
    clock.shift(RESOLUTION - SECOND)
    assert statements(device.call) == []
    clock.shift(SECOND)
    with committed():
        assert statements(device.call) == [READ, WRITE]
    assert Session.objects.get().last_active_at == timezone.now()
    assert statements(device.call) == []


def test_each_request_asks_the_database_where_activity_is_written_at_once(device, jwt_settings):
    jwt_settings(ACTIVITY_RESOLUTION=timedelta(0))
    with committed():
        assert statements(device.call) == [READ, WRITE]
    assert statements(device.call) == [READ, WRITE]


def test_a_field_that_is_not_remembered_is_read_when_it_is_looked_at(device):
    token = device.tokens["access_token"]
    warm(device)
    user, verified = sessions.authorize(token)
    assert user.email == device.user.email
    assert statements(lambda: user.check_password(PASSWORD)) == [READ]
    assert statements(lambda: verified.session.audience) == [READ]
    assert verified.session == Session.objects.get()


def test_a_password_that_is_set_on_a_remembered_user_is_stored(device):
    warm(device)
    user, _token = sessions.authorize(device.tokens["access_token"])
    user.set_password("another horse")
    user.save()
    assert User.objects.get().check_password("another horse")
    assert told(device) == ("SESSION_ENDED", "password_changed")


def test_rows_that_nobody_remembers_are_deleted_without_being_loaded():
    listened = {Session, TokenVersion, Credential, SessionPolicy}
    assert {m for m in apps.get_models() if post_delete.has_listeners(m) or pre_delete.has_listeners(m)} == listened
    assert LogEntry not in listened


# What ends a token bites on its very next request

BULK = ("updating_the_password", "deactivating_by_update", "outliving_the_refresh_token")
SAVED = [(way, reason) for way, reason in WAYS if way.__name__ not in BULK]


def named(value: Any) -> str | None:
    return NAMES.get(value) or getattr(value, "__name__", None)


@pytest.mark.parametrize(("way", "reason"), SAVED, ids=named)
def test_an_end_bites_on_the_next_request(clock, device, jwt_settings, way, reason):
    warm(device)
    ended(way, device, jwt_settings, clock)
    assert told(device) == ("SESSION_ENDED", reason)
    assert told(device) == ("SESSION_ENDED", reason)


def admin() -> Client:
    client = Client()
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    return client


def act(model: str, action: str, row: Any, **extra: str) -> None:
    data = {"action": action, "_selected_action": [str(row.pk)], **extra}
    assert admin().post(reverse(f"admin:jwt_sessions_{model}_changelist"), data).status_code == 302


def limit_reached(device: Device, jwt_settings: Any) -> None:
    jwt_settings(MAX_CONCURRENT_SESSIONS=1)
    Device(device.user).sign_in()


def signed_out_with(door: str, name: str, token: str) -> Callable[[Device], Any]:
    return lambda device: device.post(door, {name: device.tokens[token]})


def save_session(**values: Any) -> Callable[[Device], Any]:
    def change(device: Device) -> None:
        session = Session.objects.get()
        for name, value in values.items():
            setattr(session, name, value() if callable(value) else value)
        session.save()

    return change


def reauthenticate_elsewhere(device: Device) -> None:
    assert device.post("reauthenticate", {"password": PASSWORD}, **device.bearer).status_code == 200


def change_version(device: Device) -> None:
    TokenVersion(pk=str(device.user.pk).upper(), jwt_version=7).save()


def deactivate_by_text(device: Device) -> None:
    user = User.objects.get(pk=device.user.pk)
    user.pk, user.is_active = user.pk.hex.upper(), False
    user.save(update_fields=["is_active"])


GONE = ("INVALID_TOKEN", None)
MORE = {
    "refresh token at logout": (signed_out_with("logout", "refresh_token", "refresh_token"), "logout"),
    "refresh token revoked": (signed_out_with("revoke", "token", "refresh_token"), "logout"),
    "access token revoked": (signed_out_with("revoke", "token", "access_token"), "logout"),
    "end all": (lambda device: device.post("session-end-all", **device.bearer), "ended_by_user"),
    "limit": (limit_reached, "session_limit"),
    "ended in the admin": (lambda _: act("session", "end_selected", Session.objects.get()), "ended_by_admin"),
    "all in the admin": (lambda _: act("session", "end_all_of_users", Session.objects.get()), "ended_by_admin"),
    "deleted in the admin": (lambda _: act("session", "delete_selected", Session.objects.get(), post="yes"), GONE),
    "version saved": (change_version, "version_raised"),
    "deactivated by a key of text": (deactivate_by_text, "user_inactive"),
    "user deleted": (lambda device: User.objects.filter(pk=device.user.pk).delete(), GONE),
    "session deleted": (lambda _: Session.objects.get().delete(), GONE),
    "sessions deleted": (lambda _: Session.objects.all().delete(), GONE),
    "end saved": (save_session(ended_at=timezone.now, end_reason="logout"), "logout"),
    "deadline saved": (save_session(refresh_expires_at=timezone.now), "expired"),
    "password given again": (reauthenticate_elsewhere, ("EXPIRED_TOKEN", None)),
}


@pytest.mark.parametrize("name", MORE)
def test_more_ends_bite_on_the_next_request(device, jwt_settings, name):
    act, expected = MORE[name]
    warm(device)
    act(device, jwt_settings) if act is limit_reached else act(device)
    assert told(device) == (expected if isinstance(expected, tuple) else ("SESSION_ENDED", expected))


def test_attack_a_token_from_before_the_password_was_given_again_is_not_known_by_those_after(clock, device):
    old = Device(device.user)
    old.tokens = dict(device.tokens)
    device.tokens = device.post("reauthenticate", {"password": PASSWORD}, **device.bearer).json()
    warm(device)
    assert told(old) == ("EXPIRED_TOKEN", None)


def test_a_deleted_row_of_a_raised_version_bites_on_the_next_request(user):
    sessions.raise_version(user)
    device = warm(Device(user).sign_in())
    TokenVersion.objects.all().delete()
    assert told(device) == ("SESSION_ENDED", "version_raised")


def test_a_raised_version_in_the_admin_bites_on_the_next_request(user):
    TokenVersion.objects.create(user=user)
    device = warm(Device(user).sign_in())
    act("tokenversion", "raise_versions", TokenVersion.objects.get())
    assert told(device) == ("SESSION_ENDED", "version_raised")


@pytest.mark.parametrize("limit", ["idle_timeout", "max_lifetime"])
@pytest.mark.parametrize("how", ["create", "save", "update", "bulk_create", "bulk_update", "api", "admin"])
def test_a_policy_bites_on_the_next_request(clock, device, jwt_settings, limit, how):
    jwt_settings(**LONG_TOKENS)
    device = Device(device.user).sign_in()
    if how in ("save", "update", "bulk_update"):
        SessionPolicy.objects.create(audience="api", max_lifetime=timedelta(days=1))
    clock.shift(timedelta(minutes=2))
    warm(device, **BACKGROUND)
    limits = {limit: timedelta(minutes=2)}
    row = SessionPolicy.objects.first() or SessionPolicy(audience="api")
    vars(row).update(limits)
    if how in ("create", "save"):
        row.save()
    elif how == "update":
        SessionPolicy.objects.update(**limits)
    elif how == "bulk_create":
        SessionPolicy.objects.bulk_create([row])
    elif how == "bulk_update":
        SessionPolicy.objects.bulk_update([row], [limit])
    elif how == "api":
        editor = Device(UserFactory(is_staff=True, is_superuser=True)).sign_in()
        data = {"audience": "api", limit: 120}
        assert editor.post("policy-list", data, **editor.bearer).status_code == 201
    else:
        living = Session.objects.filter(user=device.user).count()
        data = {"audience": "api", limit: "00:02:00", "excluded_claims": "[]", "confirmed": living}
        assert admin().post(reverse("admin:jwt_sessions_sessionpolicy_add"), data).status_code == 302
    assert told(device, **BACKGROUND) == ("SESSION_ENDED", limit)


def test_a_loosened_policy_is_seen_on_the_next_request_too(clock, user, jwt_settings):
    jwt_settings(**LONG_TOKENS)
    policy = SessionPolicy.objects.create(audience="api", max_lifetime=timedelta(minutes=2))
    device = Device(user).sign_in()
    device.tokens["access_token"] = with_claims(device, exp=2_000_000_000)
    warm(device)
    policy.delete()
    clock.shift(timedelta(minutes=2))
    assert told(device) is None


@pytest.mark.parametrize("way", ["renew", "refresh", "refresh without rotation"])
def test_a_stricter_tenant_that_a_user_joins_bites_with_the_next_token(clock, user, jwt_settings, way):
    tenants: list[str] = []
    jwt_settings(**LONG_TOKENS, TENANTS=lambda user: tenants, ALLOW_RENEWAL=True)
    jwt_settings(ROTATE_REFRESH_TOKENS=way == "refresh")
    SessionPolicy.objects.create(tenant="acme", max_lifetime=timedelta(minutes=3))
    device = Device(user).sign_in()
    clock.shift(timedelta(minutes=3) - SECOND)
    old = device.bearer
    warm(device)
    tenants.append("acme")
    answer = device.post("renew", **device.bearer) if way == "renew" else device.refresh()
    assert answer.status_code == 200
    clock.shift(SECOND)
    device.tokens["access_token"] = old["Authorization"].partition(" ")[2]
    assert told(device) == ("SESSION_ENDED", "max_lifetime")


def with_claims(caller: Any, **changes: Any) -> str:
    """The token of a caller, signed anew with other claims."""
    claims = {**claims_of(caller), **changes}
    return access.encode({name: value for name, value in claims.items() if value is not None})


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("deadline", ["idle_timeout", "max_lifetime", "expired"])
def test_deadlines_are_kept_to_the_second(clock, user, jwt_settings, deadline, background):
    limit = timedelta(minutes=4)
    names = {
        "idle_timeout": "IDLE_TIMEOUT",
        "max_lifetime": "MAX_SESSION_LIFETIME",
        "expired": "REFRESH_TOKEN_LIFETIME",
    }
    jwt_settings(**LONG_TOKENS, **{names[deadline]: limit})
    device = Device(user).sign_in()
    device.tokens["access_token"] = with_claims(device, exp=2_000_000_000)
    headers = BACKGROUND if background else {}
    clock.shift(limit - 10 * SECOND)
    warm(device, **BACKGROUND)
    clock.shift(10 * SECOND - timedelta(microseconds=1))
    assert statements(lambda: device.call(**BACKGROUND)) == []
    clock.shift(timedelta(microseconds=1))
    response = device.call(**headers)
    assert (response.status_code, response.json().get("reason")) == (401, deadline)


def test_a_tab_that_keeps_itself_alive_still_times_out(clock, user, jwt_settings):
    jwt_settings(**LONG_TOKENS, IDLE_TIMEOUT=timedelta(minutes=5))
    device = Device(user).sign_in()
    device.tokens["access_token"] = with_claims(device, exp=2_000_000_000)
    warm(device)
    for _ in range(29):
        clock.shift(10 * SECOND)
        with committed():
            assert device.call(**BACKGROUND).status_code == 200
    clock.shift(10 * SECOND)
    assert told(device) == ("SESSION_ENDED", "idle_timeout")


def test_each_tenant_has_its_own_idle_clock(clock, user, jwt_settings):
    jwt_settings(**LONG_TOKENS, TENANTS=lambda user: ["acme", "globex"])
    SessionPolicy.objects.create(tenant="acme", idle_timeout=timedelta(minutes=5))
    acme, globex = Device(user).sign_in(tenantId="acme"), Device(user)
    globex.tokens = dict(acme.tokens)
    globex.refresh(tenantId="globex")
    acme.tokens["access_token"] = with_claims(acme, exp=2_000_000_000)
    warm(acme)
    for _ in range(4):
        clock.shift(RESOLUTION)
        warm(globex)
    clock.shift(50 * SECOND)
    warm(acme, **BACKGROUND)
    clock.shift(10 * SECOND)
    assert told(acme, **BACKGROUND) == told(acme) == ("TENANT_IDLE", None)
    assert told(globex) is None


def test_activity_for_a_tenant_is_written_though_the_session_was_active_elsewhere(clock, user, jwt_settings):
    jwt_settings(TENANTS=lambda user: ["acme"])
    acme, other = Device(user).sign_in(tenantId="acme"), Device(user)
    other.tokens = dict(acme.tokens)
    other.refresh()
    clock.shift(30 * SECOND)
    Session.objects.update(last_active_at=timezone.now())
    clock.shift(29 * SECOND)
    warm(acme, **BACKGROUND)
    clock.shift(SECOND)
    with committed():
        assert acme.call().status_code == 200
    assert TenantActivity.objects.get().last_active_at == timezone.now()


def test_a_tenant_clock_that_is_lost_is_set_by_the_next_activity(clock, user, jwt_settings):
    jwt_settings(TENANTS=lambda user: ["acme"])
    device = Device(user).sign_in(tenantId="acme")
    TenantActivity.objects.all().delete()
    with committed():
        device.call(**BACKGROUND)
    assert device.call().status_code == 200
    assert TenantActivity.objects.get().last_active_at == timezone.now()


def test_a_tenant_clock_that_is_saved_bites_on_the_next_request(clock, user, jwt_settings):
    jwt_settings(TENANTS=lambda user: ["acme"], IDLE_TIMEOUT=timedelta(hours=1))
    device = warm(Device(user).sign_in(tenantId="acme"))
    row = TenantActivity.objects.get()
    row.last_active_at -= timedelta(hours=1)
    row.save()
    assert told(device) == ("TENANT_IDLE", None)


@pytest.mark.parametrize(
    ("owned", "end"),
    [(owned, end) for owned in (True, False) for end in (OF_ALL if not owned else OF_ALL + OF_OWNERS)],
    ids=named,
)
def test_the_end_of_a_credential_bites(clock, user, owned, end):
    service = warm(Service(user=user if owned else None).exchanged())
    end(service)
    if end.__name__ in ("expire", "deactivate_in_bulk", "give_away", "make_an_api_credential"):
        # These update rows in bulk.
        clock.shift(RESOLUTION)
    assert told(service) == GONE


def test_a_version_that_is_raised_again_bites_on_the_next_request(user):
    sessions.raise_version(user)
    service = warm(Service(user=user).exchanged())
    sessions.raise_version(user)
    assert told(service) == GONE


def test_a_credential_expires_to_the_second(clock, jwt_settings):
    service = Service(expires_at=timezone.now() + timedelta(seconds=30)).exchanged()
    service.access_token = with_claims(service, exp=2_000_000_000)
    warm(service)
    clock.shift(30 * SECOND)
    assert told(service) == GONE


@pytest.mark.parametrize("change", ["revoked_at", "expires_at", "user"])
def test_a_credential_that_is_saved_bites_on_the_next_request(user, change):
    service = warm(Service(user=user).exchanged())
    row = service.credential
    setattr(row, change, UserFactory() if change == "user" else timezone.now())
    row.save()
    assert told(service) == GONE


# Bulk updates and raw SQL

LATE = [(way, reason) for way, reason in WAYS if way.__name__ in BULK]


@pytest.mark.parametrize(("way", "reason"), LATE, ids=named)
@pytest.mark.parametrize("background", [True, False])
def test_a_bulk_update_bites_once_activity_is_due(clock, device, way, reason, background):
    headers = BACKGROUND if background else {}
    clock.shift(RESOLUTION)
    device.call()
    warm(device, **headers)
    way(device)
    clock.shift(RESOLUTION - timedelta(microseconds=1))
    assert statements(lambda: device.call(**headers)) == []
    clock.shift(timedelta(microseconds=1))
    response = device.call(**headers)
    assert (response.status_code, response.json().get("reason")) == (401, reason)


# A yes for one token is none for another


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": "other"},
        {"gen": 1},
        {"gen": -1},
        {"sid": "other"},
        {"aud": "elsewhere"},
        {"iss": "elsewhere"},
        {"exp": 1},
        {"softexp": 1},
        {"iat": 4_000_000_000},
        {"type": "personal"},
        {"type": "api"},
        {"type": "personal", "client_id": "sid"},
        {"type": "api", "client_id": "sid", "sub": "sid"},
        {"tenantId": "acme"},
        {"tenantId": ""},
    ],
    ids=str,
)
def test_attack_another_token_of_a_remembered_session_is_judged_for_itself(user, jwt_settings, changes):
    device = warm(Device(user).sign_in())
    other = Device(UserFactory()).sign_in()
    sid = claims_of(device)["sid"]
    known = {"sub": {"other": str(other.user.pk), "sid": sid}, "sid": {"other": claims_of(other)["sid"]}}
    known["client_id"] = {"sid": sid}
    given = {name: known.get(name, {}).get(value, value) for name, value in changes.items()}
    token = with_claims(device, **given)
    answers = []
    for check in ("cache", "database"):
        jwt_settings(SESSION_CHECK=check)
        answers.append(type(refused(lambda: sessions.authorize(token))))
    assert answers[0] is answers[1]
    assert (answers[0] is type(None)) == ("tenantId" in changes)


@pytest.mark.parametrize(
    "changes", [{"sub": "x"}, {"type": "api"}, {"jwt_version": 1}, {"client_id": "0" * 32}], ids=str
)
def test_attack_another_token_of_a_remembered_credential_is_judged_for_itself(user, changes):
    service = warm(Service(user=user).exchanged())
    service.access_token = with_claims(service, **changes)
    assert told(service) == GONE


def test_attack_a_token_of_an_idle_tenant_is_not_known_by_another(clock, user, jwt_settings):
    jwt_settings(TENANTS=lambda user: ["acme"], IDLE_TIMEOUT=timedelta(hours=1))
    device = warm(Device(user).sign_in())
    for tenant in ("", "None", "acme"):
        device.tokens["access_token"] = with_claims(device, tenantId=tenant)
        assert statements(device.call)[:1] == [READ]


# The first use of a generation


def test_the_first_request_of_a_generation_is_seen_though_the_last_is_remembered(clock, device):
    first = device.tokens["refresh_token"]
    old = Device(device.user)
    old.tokens = dict(device.tokens)
    device.refresh()
    warm(old)
    clock.shift(10 * SECOND)
    with committed():
        assert statements(device.call) == [READ, WRITE]
    assert Session.objects.get().first_used_at == timezone.now()
    assert statements(device.call) == statements(old.call) == []
    clock.shift(timedelta(seconds=30) - timedelta(microseconds=1))
    assert device.refresh(first).status_code == 200
    clock.shift(timedelta(microseconds=1))
    assert device.refresh(first).json()["code"] == "INVALID_TOKEN"
    assert told(device) == ("SESSION_ENDED", "token_reuse")


def locked(*args: Any) -> int:
    raise OperationalError("database is locked")


@pytest.mark.django_db(transaction=True)
def test_a_first_use_that_could_not_be_written_is_by_the_next_request(monkeypatch):
    device = Device(UserFactory()).sign_in()
    device.refresh()
    with monkeypatch.context() as patch:
        patch.setattr(SessionQuerySet, "mark_used", locked)
        device.call()
    assert Session.objects.get().first_used_at is None
    assert device.call().status_code == 200
    assert Session.objects.get().first_used_at is not None


@pytest.mark.django_db(transaction=True)
def test_activity_that_could_not_be_written_is_by_the_next_request(clock, monkeypatch):
    device = Device(UserFactory()).sign_in()
    clock.shift(RESOLUTION)
    with monkeypatch.context() as patch:
        patch.setattr(SessionQuerySet, "mark_active", locked)
        device.call()
    assert device.call().status_code == 200
    assert Session.objects.get().last_active_at == timezone.now()


# In between

CHANGES = {
    "end": lambda device: sessions.end_all(device.user, reason="logout"),
    "version": lambda device: sessions.raise_version(device.user),
    "password": setting_the_password,
    "deactivated": deactivating,
    "policy": lambda _: SessionPolicy.objects.create(audience="api", max_lifetime=timedelta(microseconds=1)),
    "given again": reauthenticate_elsewhere,
    "deleted": lambda _: Session.objects.all().delete(),
}


def lost(caller: Any, *, verdict: bool = False) -> None:
    """The cache drops the tags of a token."""
    cache_tags.session_cache().delete_many(keys_of(caller)[0 if verdict else 1 :])


@pytest.mark.parametrize("then", ["goes on", "loses the tags", "loses all"])
@pytest.mark.parametrize("before", ["cold", "warm"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_between_the_read_and_the_memory_of_it(clock, monkeypatch, device, change, before, then):
    if before == "warm":
        warm(device)
    clock.shift(RESOLUTION)
    keep, happened = VerdictCache.keep, []

    def late(self: VerdictCache, found: Any) -> None:
        if not happened:
            happened.append(change)
            CHANGES[change](device)
            if then != "goes on":
                lost(device, verdict=then == "loses all")
        keep(self, found)

    with monkeypatch.context() as patch, committed():
        patch.setattr(VerdictCache, "keep", late)
        assert told(device) is None
    assert happened
    assert told(device) is not None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("owned", [None, True, False])
def test_a_row_that_is_older_than_the_tags_is_not_cached(monkeypatch, owned):
    """As a transaction at REPEATABLE READ sees it that began before the change."""
    user = UserFactory()
    if owned is None:
        caller: Any = Device(user).sign_in()
        reader, name, found = authorization, "find", find(Session.objects.get().pk)
        sessions.end_all(user, reason="logout")
    else:
        caller = Service(user=user if owned else None).exchanged()
        reader, name, found = verdict_of_token, "find_credential", find_credential(caller.credential.pk)
        credentials.revoke_credential(caller.credential)
    with transaction.atomic(), monkeypatch.context() as patch:
        patch.setattr(reader, name, lambda *args, **kwargs: found)
        assert told(caller) is None
    assert told(caller) is not None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", [deactivating, setting_the_password, CHANGES["end"]])
def test_who_reads_before_a_change_commits_has_forgotten_it_after(change):
    device = Device(UserFactory()).sign_in()

    def calls() -> list[list[str]]:
        try:
            return [statements(device.call), statements(device.call)]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            change(device)
            # Another connection sees nothing of this yet.
            assert pool.submit(calls).result(timeout=30) == [[READ], []]
        assert told(device) is not None


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_was_never_remembered(clock):
    device = Device(UserFactory()).sign_in()
    device.refresh()
    user, old = device.user, device.bearer
    policy = SessionPolicy.objects.create(audience="api", max_lifetime=RESOLUTION)
    clock.shift(RESOLUTION)
    with transaction.atomic():
        policy.delete()
        assert device.call().status_code == 200
        transaction.set_rollback(True)
    assert Session.objects.get().first_used_at is None
    assert told(device) == ("SESSION_ENDED", "max_lifetime")
    SessionPolicy.objects.all().delete()
    device = Device(user).sign_in()
    device.refresh()
    assert device.bearer != old
    with transaction.atomic():
        assert device.call().status_code == 200
        transaction.set_rollback(True)
    assert statements(device.call) == [READ, WRITE]
    assert statements(device.call) == []


@pytest.mark.django_db(transaction=True)
def test_a_request_in_a_transaction_is_remembered_when_it_commits():
    device = Device(UserFactory()).sign_in()
    service = Service().exchanged()
    with transaction.atomic():
        assert statements(device.call) == [READ]
        assert statements(service.call) == [READ]
    assert statements(device.call) == statements(service.call) == []


@pytest.mark.django_db(transaction=True)
def test_a_saved_user_is_told_though_a_receiver_of_the_project_breaks(monkeypatch):
    device = warm(Device(UserFactory()).sign_in())

    def broken(sender: Any, **kwargs: Any) -> None:
        raise RuntimeError("no mail server")

    models.signals.post_save.connect(broken, sender=User)
    try:
        with pytest.raises(RuntimeError):
            device.user.set_password("another horse") or device.user.save()
    finally:
        models.signals.post_save.disconnect(broken, sender=User)
    assert told(device) == ("SESSION_ENDED", "password_changed")


@pytest.mark.parametrize("change", ["end", "policy", "deactivated"])
@pytest.mark.parametrize("verdict", [True, False])
def test_attack_an_end_whose_stamp_the_cache_has_lost_stays_an_end(clock, device, change, verdict):
    clock.shift(SECOND)
    warm(device)
    CHANGES[change](device)
    lost(device, verdict=verdict)
    assert told(device) is not None


def test_a_stamp_that_somebody_else_makes_meanwhile_is_not_taken_for_the_own(monkeypatch, device):
    monkeypatch.setattr(cache_tags, "add_value", lambda key: None)
    with committed():
        device.call()
    lost(device)
    with committed():
        assert statements(device.call) == [READ]
    assert statements(device.call) == [READ]


@pytest.mark.django_db(transaction=True)
def test_after_an_end_that_races_requests_no_token_works(jwt_settings):
    ends = ("end", "version", "password", "deactivated", "deleted")
    with Crowd(4) as crowd:
        for number in range(15):
            device = Device(UserFactory()).sign_in()
            token = device.tokens["access_token"]
            dead: list[bool] = []

            def call(token: str = token, dead: list[bool] = dead) -> list[Any]:
                answers = []
                for _ in range(12):
                    was_dead = bool(dead)
                    answers.append((was_dead, refused(lambda: sessions.authorize(token))))
                return answers

            def end(
                device: Device = device, dead: list[bool] = dead, name: str = ends[number % len(ends)]
            ) -> list[Any]:
                CHANGES[name](device)
                dead.append(True)
                return []

            for was_dead, error in sum(crowd(call, call, call, end), []):
                assert error is not None or not was_dead
            assert refused(lambda token=token: sessions.authorize(token)) is not None


# A cache that fails, or holds what it should not

BROKEN_AT: set[str] = set()


class BreakingCache(LocMemCache):
    """A cache whose server goes away."""


def _breaking(name: str) -> Callable[..., Any]:
    def operation(self: BreakingCache, *args: Any, **kwargs: Any) -> Any:
        if name in BROKEN_AT:
            raise ConnectionError("cache server is gone")
        return getattr(LocMemCache, name)(self, *args, **kwargs)

    return operation


for _name in ("get_many", "set_many", "set", "add"):
    setattr(BreakingCache, _name, _breaking(_name))


@pytest.fixture
def breaking(settings, jwt_settings) -> Iterator[set[str]]:
    path = f"{__name__}.BreakingCache"
    settings.CACHES = {**settings.CACHES, "breaking": {"BACKEND": path, "LOCATION": str(timezone.now())}}
    jwt_settings(SESSION_CACHE="breaking")
    yield BROKEN_AT
    BROKEN_AT.clear()


def test_the_cache_that_is_named_is_used(breaking, device, monkeypatch):
    warm(device)
    breaking.add("get_many")
    assert statements(device.call) == [READ]


@pytest.mark.parametrize("at", [("get_many",), ("set", "add", "set_many"), ("get_many", "set_many", "set", "add")])
def test_a_cache_that_fails_costs_the_query_it_would_have_saved(breaking, user, caplog, at):
    breaking.update(at)
    device = Device(user).sign_in()
    for _ in range(2):
        with committed():
            assert statements(device.call) == [READ]
    sessions.end_all(user, reason="logout")
    assert told(device) == ("SESSION_ENDED", "logout")
    assert "the cache of sessions" in caplog.text
    assert device.tokens["access_token"] not in caplog.text
    assert device.tokens["refresh_token"] not in caplog.text


def test_a_change_that_the_cache_could_not_be_told_bites_once_activity_is_due(clock, breaking, device, caplog):
    warm(device)
    breaking.add("set_many")
    sessions.end_all(device.user, reason="logout")
    breaking.clear()
    assert "could not be told to the cache" in caplog.text
    clock.shift(RESOLUTION)
    assert told(device) == ("SESSION_ENDED", "logout")


def test_a_cache_that_is_not_there_is_no_error_for_clients(device, jwt_settings, caplog):
    jwt_settings(SESSION_CACHE="elsewhere")
    assert device.call().status_code == 200
    assert sessions.end_all(device.user, reason="logout") == 1
    assert told(device) == ("SESSION_ENDED", "logout")


@pytest.mark.parametrize("rubbish", ["yes", 1, True, [], {"tags": ()}, b"\x80", object, ("a", "b")], ids=repr)
@pytest.mark.parametrize("where", ["verdict", "tags"])
def test_rubbish_under_the_keys_is_no_yes(device, rubbish, where):
    warm(device)
    verdict, *others = keys_of(device)
    cache_tags.session_cache().set_many(dict.fromkeys([verdict] if where == "verdict" else others, rubbish))
    with committed():
        assert statements(device.call) == [READ]
    assert statements(device.call) == []
    sessions.end_all(device.user, reason="logout")
    assert told(device) == ("SESSION_ENDED", "logout")


def test_attack_a_verdict_without_tags_says_nothing(device):
    warm(device)
    key, *others = keys_of(device)
    known = cache_tags.session_cache().get(key)
    until = datetime(2100, 1, 1, tzinfo=UTC)
    forged = CachedVerdict((None,) * len(others), until, known.claims, (0, 9), (), known.user)
    cache_tags.session_cache().delete_many(others)
    cache_tags.session_cache().set(key, forged)
    Session.objects.update(ended_at=timezone.now(), end_reason="logout")
    assert told(device) == ("SESSION_ENDED", "logout")


def test_no_secret_is_in_the_cache(user):
    device, service = warm(Device(user).sign_in()), warm(Service(user=user).exchanged())
    user = User.objects.get()
    kept = b"".join(
        pickle.dumps((keys_of(each), cache_tags.session_cache().get_many(keys_of(each)))) for each in (device, service)
    )
    assert user.email.encode() in kept
    secrets = [user.password, user.get_session_auth_hash(), auth_hash(user), service.secret, service.access_token]
    secrets += [device.tokens["access_token"], device.tokens["refresh_token"], service.credential.secret_hash]
    secrets.append(RefreshToken.objects.get().token_hash)
    for secret in secrets:
        data = secret.encode() if isinstance(secret, str) else bytes(secret)
        assert data not in kept
    assert user.email not in repr(cache_tags.session_cache().get(keys_of(device)[0]))


def test_a_field_that_holds_more_than_its_value_is_not_remembered(user):
    assert "email" in verdict_cache._shown(user)
    user.name = FieldFile(user, models.FileField(), "portrait.png")
    assert "date_joined" in verdict_cache._shown(user)
    user.date_joined = (date,)
    shown = verdict_cache._shown(user)
    assert not {"name", "date_joined", "password"}.intersection(shown)
    del user.email
    assert "email" not in verdict_cache._shown(user)
    assert user.password.encode() not in pickle.dumps(shown)


def test_who_saves_a_remembered_user_writes_back_no_right_that_was_taken_away(device):
    warm(device)
    User.objects.update(is_active=False, is_staff=False)
    remembered_user, _token = sessions.authorize(device.tokens["access_token"])
    assert {"is_active", "is_staff", "is_superuser", "password"} <= remembered_user.get_deferred_fields()
    remembered_user.name = "Ada"
    remembered_user.save()
    stored = User.objects.get()
    assert (stored.name, stored.is_active, stored.is_staff) == ("Ada", False, False)


def test_a_server_with_other_fields_or_keys_does_not_go_by_a_verdict(device, jwt_settings, settings):
    in_force = conf.current()
    usual = verdict_cache._context(in_force, (b"1",), User, ("a",))
    assert usual == verdict_cache._context(in_force, (b"1",), User, ("a",))
    assert usual != verdict_cache._context(in_force, (b"1",), Membership, ("a",))
    assert usual != verdict_cache._context(in_force, (b"2",), User, ("a",))
    assert usual != verdict_cache._context(in_force, (b"1",), User, ("b",))
    jwt_settings(ALGORITHM="HS256", SIGNING_KEYS=["x" * 40])
    device = warm(Device(device.user).sign_in())
    settings.SECRET_KEY = "another " * 8
    assert told(device) == ("SESSION_ENDED", "password_changed")


# Checks


@pytest.mark.parametrize("backend", ["locmem.LocMemCache", "dummy.DummyCache"])
def test_verdicts_in_a_cache_of_each_process_are_a_risk(backend):
    shared = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://x"}
    caches = {"default": shared, "own": {"BACKEND": f"django.core.cache.backends.{backend}"}}
    given = {**CAREFUL, "SESSION_CHECK": "cache", "SESSION_CACHE": "own"}
    assert ids(given, deploy=True, caches=caches) == ["W012"]
    assert ids(given, caches=caches) == []
    assert ids({**given, "SESSION_CHECK": "database"}, deploy=True, caches=caches) == []
    assert ids({**given, "SESSION_CACHE": "default"}, deploy=True, caches=caches) == []


def test_a_cache_that_is_not_there_is_an_error():
    assert ids({"SESSION_CACHE": "elsewhere"}) == ["E048"]
    assert ids({"SESSION_CACHE": "elsewhere", "SESSION_CHECK": "cache"}) == ["E048"]
    assert ids({"SESSION_CACHE": "default", "SESSION_CHECK": "cache"}) == []
