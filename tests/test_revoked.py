"""The list of ended sessions: every end is on it while access tokens of the session may be valid, and no longer."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils import timezone

from example_project.accounts.models import User
from jwt_sessions import sessions
from jwt_sessions.exceptions import ExpiredToken
from jwt_sessions.models import RevokedSession, Session, SessionPolicy
from jwt_sessions.sessions import purge
from jwt_sessions.tokens import access
from tests.clients import Device
from tests.factories import PASSWORD, UserFactory
from tests.services import Service
from tests.session_ends import NAMES, WAYS, idling, outliving_the_maximum, reusing

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
# These write to the tables behind this package's back, and a token that lives by its own word is all that others see:
# such an end is on the list from when this server finds the session dead, at its next request.
UNSEEN = {
    *("saving_a_ready_hash", "disabling_the_password", "updating_the_password", "raising_the_version_by_sql"),
    *("deactivating_by_update", "outliving_the_refresh_token", "idling", "outliving_the_maximum"),
}


@pytest.fixture
def gateway(db) -> Service:
    """A service that asks no database about each token."""
    return Service(may_introspect=True)


def listed(gateway) -> list[str]:
    response = gateway.revoked()
    assert response.status_code == 200
    return response.json()["revoked"]


def test_nothing_has_ended(gateway, device):
    response = gateway.revoked()
    assert (response.status_code, response.json()) == (200, {"revoked": [], "max_age": 300})
    assert response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize(("way", "reason"), WAYS, ids=lambda way: NAMES.get(way) or getattr(way, "__name__", None))
def test_every_end_is_on_the_list(clock, device, gateway, jwt_settings, way, reason):
    arguments = (device, jwt_settings, clock) if way in (idling, outliving_the_maximum, reusing) else (device,)
    way(*arguments)
    if NAMES.get(way, way.__name__) in UNSEEN:
        assert listed(gateway) == []
        assert device.call().json()["reason"] == reason
    assert listed(gateway) == [device.tokens["session_id"]]


def test_only_what_ended_is_on_the_list_in_order_of_their_ids(device, gateway):
    others = [Device(device.user).sign_in() for _ in range(3)]
    for other in reversed(others[:2]):
        other.post("logout", **other.bearer)
    assert listed(gateway) == sorted(other.tokens["session_id"] for other in others[:2])


@pytest.mark.parametrize("accept", ["application/octet-stream", "Application/Octet-Stream, application/json;q=0.5"])
def test_who_asks_for_it_gets_the_bytes_of_the_ids(device, gateway, accept):
    others = [Device(device.user).sign_in() for _ in range(3)]
    for other in others:
        other.post("logout", **other.bearer)
    response = gateway.revoked(Accept=accept)
    assert (response.status_code, response["Content-Type"]) == (200, "application/octet-stream")
    assert (response["Cache-Control"], response["Vary"]) == ("private, no-cache", "Accept")
    packed = response.content
    assert [str(UUID(bytes=packed[at : at + 16])) for at in range(0, len(packed), 16)] == listed(gateway)
    again = {"Accept": accept, "If-None-Match": response["ETag"]}
    assert gateway.revoked(**again).status_code == 304
    assert gateway.revoked(**{"If-None-Match": response["ETag"]}).status_code == 200
    device.post("logout", **device.bearer)
    assert len(gateway.revoked(**again).content) == 64


@pytest.mark.parametrize("accept", ["*/*", "application/*", "text/html", ""])
def test_who_asks_for_anything_gets_json(gateway, accept):
    response = gateway.revoked(Accept=accept)
    assert (response["Content-Type"], response["Vary"]) == ("application/json", "Accept")


# Deletions


def delete_session(device):
    Session.objects.get().delete()


def delete_sessions(device):
    Session.objects.all().delete()


def delete_user(device):
    device.user.delete()


def delete_users(device):
    User.objects.filter(pk=device.user.pk).delete()


@pytest.mark.parametrize("delete", [delete_session, delete_sessions, delete_user, delete_users])
def test_what_is_deleted_is_on_the_list(device, gateway, delete):
    delete(device)
    assert not Session.objects.exists()
    assert listed(gateway) == [device.tokens["session_id"]]


def test_a_deletion_that_is_rolled_back_is_not_on_the_list(device, gateway):
    class ChangedMindError(Exception):
        pass

    with pytest.raises(ChangedMindError), transaction.atomic():
        device.user.delete()
        raise ChangedMindError
    assert listed(gateway) == []
    assert device.call().status_code == 200


def test_deleting_what_ended_long_ago_brings_it_not_back(clock, device, gateway):
    sessions.end(Session.objects.get(), reason="logout")
    clock.shift(timedelta(minutes=10))
    list(purge(older_than=timedelta(days=1)))
    assert not RevokedSession.objects.exists()
    Session.objects.get().delete()
    assert listed(gateway) == []


# How long


def test_an_end_is_on_the_list_as_long_as_a_token_may_live(clock, device, gateway, jwt_settings):
    jwt_settings(LEEWAY=timedelta(seconds=5))
    device.refresh()
    token = device.tokens["access_token"]
    device.post("logout", **device.bearer)
    clock.shift(timedelta(seconds=304))
    access.decode(token, timezone.now())
    assert listed(gateway) == [device.tokens["session_id"]]
    assert gateway.revoked().json()["max_age"] == 305
    clock.shift(SECOND)
    assert listed(gateway) == []
    with pytest.raises(ExpiredToken):
        access.decode(token, timezone.now())


def test_the_lifetime_of_users_tokens_counts(clock, gateway, jwt_settings):
    lifetimes = {"user": timedelta(minutes=10), "personal": timedelta(hours=1), "api": timedelta(hours=1)}
    jwt_settings(ACCESS_TOKEN_LIFETIME=lifetimes)
    assert gateway.revoked().json()["max_age"] == 600


def test_a_purge_keeps_an_id_while_it_matters_and_then_drops_it(clock, device, gateway):
    device.post("logout", **device.bearer)
    list(purge())
    assert not Session.objects.exists()
    clock.shift(timedelta(seconds=299))
    list(purge(dry_run=True))
    list(purge())
    assert listed(gateway) == [device.tokens["session_id"]]
    clock.shift(SECOND)
    assert listed(gateway) == []
    list(purge(dry_run=True))
    assert RevokedSession.objects.count() == 1
    list(purge())
    assert not RevokedSession.objects.exists()


# A policy that is tightened ends sessions whose tokens know nothing of it. The purge is the first to see that.


def exchanged(device, clock):
    """A device that has just refreshed."""
    device.refresh()


def replayed(device, clock):
    """A device that lost the answer to its refresh, and has just asked again, in the background."""
    first = device.tokens["refresh_token"]
    device.refresh()
    clock.shift(timedelta(hours=2))
    device.refresh(first, background=True)


def honoured(device, clock):
    """One whose other tab has asked again as late as may be."""
    first = device.tokens["refresh_token"]
    device.refresh()
    device.call(**{"X-Session-Background": "1"})
    clock.shift(timedelta(seconds=29))
    device.refresh(first, background=True)


def not_rotated(device, clock):
    """One whose refresh token stays the same."""
    clock.shift(timedelta(hours=2))
    with override_settings(JWT_SESSIONS={"ROTATE_REFRESH_TOKENS": False}):
        device.refresh(background=True)


def renewed(device, clock):
    """One that renews its access token again and again, in the background."""
    device.refresh()
    with override_settings(JWT_SESSIONS={"ALLOW_RENEWAL": True}):
        for _ in range(30):
            clock.shift(timedelta(minutes=4))
            renewal = device.post("renew", **device.bearer, **{"X-Session-Background": "1"})
            assert renewal.status_code == 200, renewal.content
            device.tokens |= renewal.json()


@pytest.mark.parametrize("limit", ["idle_timeout", "max_lifetime"])
@pytest.mark.parametrize("issued", [exchanged, replayed, honoured, not_rotated, renewed])
def test_attack_a_purge_does_not_hide_that_a_tightened_policy_ended_a_session(
    clock, device, gateway, jwt_settings, issued, limit
):
    clock.shift(timedelta(hours=1))
    issued(device, clock)
    jwt_settings(ALLOW_RENEWAL=issued is renewed)
    SessionPolicy.objects.create(audience="api", **{limit: timedelta(minutes=1)})
    clock.shift(timedelta(minutes=5) - SECOND)
    assert access.decode(device.tokens["access_token"], timezone.now())
    list(purge(dry_run=True))
    assert listed(gateway) == []
    list(purge())
    assert not Session.objects.exists()
    assert listed(gateway) == [device.tokens["session_id"]]


def test_a_purge_tells_nobody_of_sessions_whose_tokens_have_all_expired(clock, device, gateway, jwt_settings):
    device.refresh()
    device.call()
    clock.shift(timedelta(minutes=30))
    jwt_settings(IDLE_TIMEOUT=timedelta(minutes=30))
    list(purge())
    assert not Session.objects.exists()
    assert listed(gateway) == []


def test_a_purge_of_many_works_in_batches(clock, gateway):
    user = UserFactory()
    for _ in range(7):
        sessions.start(user)
    sessions.end_all(user, reason="logout")
    list(purge())
    clock.shift(timedelta(minutes=5))
    with CaptureQueriesContext(connection) as queries:
        list(purge(batch_size=3))
    assert len([query for query in queries if query["sql"].startswith("DELETE")]) == 3
    assert not RevokedSession.objects.exists()


def test_an_end_is_noted_once_by_whoever_is_first(clock, device, gateway):
    session = Session.objects.get()
    sessions.end(session, reason="logout")
    clock.shift(timedelta(minutes=1))
    sessions.end(session, reason="ended_by_admin")
    RevokedSession.objects.note([session.pk], timezone.now())
    assert RevokedSession.objects.get().ended_at == timezone.now() - timedelta(minutes=1)
    assert str(RevokedSession.objects.get()) == device.tokens["session_id"]


# Passwords and deactivation, by model


def test_a_password_that_is_changed_back_and_forth_is_told_each_time(device, gateway):
    user = User.objects.get(pk=device.user.pk)
    user.set_password("another " + PASSWORD)
    user.save()
    again = sessions.start(user).session
    user.set_password(PASSWORD)
    user.save(update_fields=["password"])
    assert listed(gateway) == sorted([device.tokens["session_id"], str(again.pk)])


def test_a_new_password_that_is_not_stored_ends_nothing(device, gateway):
    user = User.objects.get(pk=device.user.pk)
    user.set_password("another " + PASSWORD)
    user.save(update_fields=["name"])
    assert listed(gateway) == []
    assert device.call().status_code == 200


def test_where_password_changes_end_no_sessions_nothing_is_told(device, gateway, jwt_settings):
    jwt_settings(PASSWORD_CHANGE_ENDS_SESSIONS=False)
    user = User.objects.get(pk=device.user.pk)
    user.set_password("another " + PASSWORD)
    user.save()
    assert listed(gateway) == []
    assert device.call().status_code == 200


def test_saving_a_user_for_another_reason_ends_nothing(device, gateway):
    user = User.objects.get(pk=device.user.pk)
    user.name = "Ann"
    user.save()
    assert listed(gateway) == []


def test_who_is_active_again_does_not_leave_the_list(device, gateway):
    for active in (False, True):
        device.user.is_active = active
        device.user.save()
    assert listed(gateway) == [device.tokens["session_id"]]
    assert device.call().json()["reason"] == "user_inactive"


# HTTP


@pytest.mark.parametrize("spelling", ["{}", "W/{}", '"other", {}'])
def test_a_list_already_known_is_not_sent_again(device, gateway, spelling):
    etag = gateway.revoked()["ETag"]
    known = gateway.revoked(**{"If-None-Match": spelling.format(etag)})
    assert (known.status_code, known.content, known["ETag"]) == (304, b"", etag)
    assert known["Cache-Control"] == "private, no-cache"
    device.post("logout", **device.bearer)
    fresh = gateway.revoked(**{"If-None-Match": etag})
    assert (fresh.status_code, fresh.json()["revoked"]) == (200, [device.tokens["session_id"]])
    assert fresh["ETag"] != etag


def test_the_etag_changes_back_when_an_end_no_longer_matters(clock, device, gateway):
    etag = gateway.revoked()["ETag"]
    device.post("logout", **device.bearer)
    assert gateway.revoked(**{"If-None-Match": etag}).status_code == 200
    clock.shift(timedelta(minutes=5))
    assert gateway.revoked(**{"If-None-Match": etag}).status_code == 304


def test_attack_an_etag_does_not_stand_for_a_credential(client, gateway):
    etag = gateway.revoked()["ETag"]
    response = client.get("/auth/revoked.json", headers={"If-None-Match": etag})
    assert (response.status_code, response.json()["code"]) == (401, "INVALID_CLIENT")
    assert response["Cache-Control"] == "no-store"
    assert "ETag" not in response.headers


def test_the_list_is_only_read(gateway):
    response = gateway.http.post("/auth/revoked.json", headers=gateway.basic)
    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD, OPTIONS")
    head = gateway.http.head("/auth/revoked.json", headers=gateway.basic)
    assert (head.status_code, head.content) == (200, b"")


def test_the_list_costs_one_statement_besides_the_callers_own_check(device, gateway):
    device.post("logout", **device.bearer)
    gateway.revoked()
    with CaptureQueriesContext(connection) as queries:
        gateway.revoked()
    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "SELECT"]
