"""The verdict: every way in which a session ends bites on the very next request, at every door."""

from __future__ import annotations

import copy
import logging
import pickle
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import MD5PasswordHasher, PBKDF2PasswordHasher, make_password
from django.core import serializers
from django.db import OperationalError, connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from example_project.accounts.models import User
from jwt_sessions import conf, sessions, signals
from jwt_sessions.authentication import JWTSessionAuthentication
from jwt_sessions.exceptions import EndReason, InvalidCredentials, InvalidToken
from jwt_sessions.models import RefreshToken, Session, TokenVersion
from jwt_sessions.models.session_policy import current_book
from jwt_sessions.models.token_version import TokenVersionQuerySet
from jwt_sessions.sessions.ending import end_found
from jwt_sessions.tokens import access
from jwt_sessions.verdict.password import auth_hash, fallback_auth_hashes
from jwt_sessions.verdict.session import SessionState
from tests.clients import Device
from tests.effort import pairs
from tests.factories import PASSWORD, UserFactory
from tests.services import Service
from tests.session_ends import (
    NAMES,
    NEW_PASSWORD,
    WAYS,
    deactivating,
    deactivating_by_update,
    idling,
    outliving_the_maximum,
    reusing,
    setting_the_password,
    setting_the_same_password_again,
    signing_out,
    updating_the_password,
)

pytestmark = pytest.mark.django_db

HERE = f"{__name__}."


class Weak(PBKDF2PasswordHasher):
    iterations = 1


class Strong(PBKDF2PasswordHasher):
    iterations = 2


@pytest.fixture
def admin(db) -> Client:
    client = Client()
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def ends():
    """The ends of sessions that ``session_ended`` has told."""
    told = []

    def receiver(session, reason, **kwargs):
        told.append((session.pk, reason))

    signals.session_ended.connect(receiver)
    yield told
    signals.session_ended.disconnect(receiver)


# The doors. Each says what it is told about a session that ended for a reason.


def refused(response, status, reason):
    assert response.status_code == status
    body = response.json()
    assert (body["code"], body["reason"], body["terminal"]) == ("SESSION_ENDED", reason, True)


def request(device, admin, reason):
    refused(device.call(), 401, reason)


def listing(device, admin, reason):
    refused(device.get("session-list"), 401, reason)


def refreshing(device, admin, reason):
    refused(device.refresh(), 400, reason)


def logging_out(device, admin, reason):
    assert device.post("logout", **device.bearer).status_code == 204


def revoking(device, admin, reason):
    assert device.post("revoke", {"token": device.tokens["refresh_token"]}).status_code == 200


def ending_again(device, admin, reason):
    assert sessions.end(Session.objects.get(pk=device.tokens["session_id"]), reason="ended_by_admin") is False


def looking_in_the_admin(device, admin, reason):
    page = admin.get(reverse("admin:jwt_sessions_session_change", args=[device.tokens["session_id"]]))
    assert f'<div class="readonly">ended: {EndReason(reason).label}</div>' in page.content.decode()


DOORS = [request, listing, refreshing, logging_out, revoking, ending_again, looking_in_the_admin]


@pytest.mark.parametrize(
    ("ending", "first"),
    pairs(WAYS, DOORS),
    ids=lambda each: each.__name__ if callable(each) else NAMES.get(each[0], each[0].__name__),
)
def test_an_end_bites_at_once_at_every_door_and_is_told_once(clock, device, admin, jwt_settings, ends, ending, first):
    way, reason = ending
    arguments = (device, jwt_settings, clock) if way in (idling, outliving_the_maximum, reusing) else (device,)
    way(*arguments)
    first(device, admin, reason)
    for door in DOORS:
        door(device, admin, reason)
    session = Session.objects.get(pk=device.tokens["session_id"])
    assert (session.end_reason, session.ended_at) == (reason, timezone.now())
    assert ends.count((session.pk, EndReason(reason))) == 1
    assert not RefreshToken.objects.filter(session=session, revoked_at=None).exists()
    assert not RefreshToken.objects.filter(session=session, content__isnull=False).exists()


def test_an_end_is_recorded_once_with_its_first_reason(device, ends):
    session = Session.objects.get()
    assert sessions.end(session, reason="logout") is True
    assert sessions.end(session, reason="ended_by_admin") is False
    sessions.raise_version(device.user)
    assert [reason for _pk, reason in ends] == [EndReason.LOGOUT]


def test_an_unknown_session_cannot_be_ended_and_an_unknown_reason_is_none(device):
    session = Session.objects.get()
    with pytest.raises(ValueError, match="boredom"):
        sessions.end(session, reason="boredom")
    assert device.call().status_code == 200
    session.delete()
    assert sessions.end(Session(pk=device.tokens["session_id"]), reason="logout") is False


@pytest.mark.parametrize("kept", ["session", "id"])
def test_all_but_one_can_be_ended(device, kept):
    other = Device(device.user).sign_in()
    session = Session.objects.get(pk=device.tokens["session_id"])
    keep = session if kept == "session" else session.pk
    assert sessions.end_all(device.user, reason="ended_by_admin", keep=keep) == 1
    assert (device.call().status_code, other.call().status_code) == (200, 401)


@pytest.mark.parametrize("faster", [1, 2])
def test_of_several_who_end_the_same_sessions_each_tells_of_its_own(device, ends, faster):
    Device(device.user).sign_in()
    both = list(Session.objects.order_by("pk"))
    earlier = timezone.now() - timedelta(seconds=1)
    Session.objects.filter(pk__in=[session.pk for session in both[:faster]]).update(
        ended_at=earlier, end_reason="logout"
    )
    now, book = timezone.now(), current_book()
    found = [SessionState(session, 0, None, book) for session in both]
    assert end_found(found, EndReason.ENDED_BY_ADMIN, now) == 2 - faster
    assert ends == [(session.pk, EndReason.ENDED_BY_ADMIN) for session in both[faster:]]
    assert Session.objects.filter(ended_at=earlier, end_reason="logout").count() == faster


# A user who is gone.


def test_a_deleted_user_has_no_valid_token(device):
    device.user.delete()
    assert (device.call().status_code, device.call().json()["code"]) == (401, "INVALID_TOKEN")
    assert device.refresh().json()["code"] == "INVALID_TOKEN"
    assert device.post("logout", **device.bearer).status_code == 204
    assert not Session.objects.exists()
    assert not RefreshToken.objects.exists()


@pytest.mark.parametrize("deactivate", [deactivating, deactivating_by_update])
def test_a_user_who_comes_back_signs_in_anew(device, deactivate):
    deactivate(device)
    assert device.call().json()["reason"] == "user_inactive"
    User.objects.update(is_active=True)
    assert device.call().json()["reason"] == "user_inactive"
    assert device.refresh().json()["reason"] == "user_inactive"
    assert Device(device.user).sign_in().call().status_code == 200


def test_sessions_end_with_the_deactivation_though_nobody_calls_before_the_user_is_back(device, ends):
    deactivating(device)
    User.objects.update(is_active=True)
    assert device.call().json()["reason"] == "user_inactive"
    assert [reason for _pk, reason in ends] == [EndReason.USER_INACTIVE]


def test_other_saves_of_an_inactive_user_leave_sessions_to_the_verdict(device, ends):
    user = User.objects.get(pk=device.user.pk)
    User.objects.update(is_active=False)
    user.refresh_from_db()
    user.name = "Ann"
    user.save(update_fields=["name"])
    assert ends == []
    [(loaded)] = serializers.deserialize("json", serializers.serialize("json", [user]))
    loaded.save()
    assert ends == []
    user.save()
    assert [reason for _pk, reason in ends] == [EndReason.USER_INACTIVE]


def test_creating_an_inactive_user_ends_nothing(device, ends):
    UserFactory(is_active=False)
    assert device.call().status_code == 200
    assert ends == []


def test_an_inactive_user_starts_no_session(db):
    with pytest.raises(InvalidCredentials):
        sessions.start(UserFactory(is_active=False))
    assert not Session.objects.exists()


# Passwords: a change ends, a re-hash does not.


@pytest.fixture
def hashers(settings):
    def use(*classes: type) -> None:
        settings.PASSWORD_HASHERS = [HERE + cls.__name__ if cls is not MD5PasswordHasher else MD5 for cls in classes]

    return use


MD5 = "django.contrib.auth.hashers.MD5PasswordHasher"
UPGRADES = pytest.mark.parametrize(
    ("before", "after"), [([Weak], [Strong]), ([MD5PasswordHasher], [Weak, MD5PasswordHasher])], ids=["work", "hasher"]
)


@pytest.fixture
def old_hash(user, hashers):
    """A user whose password was hashed before Django's work factor was raised."""
    hashers(Weak)
    user.set_password(PASSWORD)
    user.save()
    return user


@UPGRADES
def test_a_silent_rehash_at_login_ends_nothing_on_other_devices(user, hashers, ends, before, after):
    hashers(*before)
    setting_the_same_password_again(Device(user))
    devices = [Device(user).sign_in(), Device(user).sign_in()]
    stored = User.objects.get().password
    hashers(*after)
    third = Device(user).sign_in()
    assert User.objects.get().password != stored
    for device in (*devices, third):
        assert device.call().status_code == 200
        assert device.refresh().status_code == 200
        assert device.call().status_code == 200
    assert ends == []
    setting_the_password(third)
    assert {device.call().json()["reason"] for device in (*devices, third)} == {"password_changed"}


def test_a_silent_rehash_elsewhere_ends_nothing(old_hash, hashers):
    device = Device(old_hash).sign_in()
    hashers(Strong)
    assert User.objects.get().check_password(PASSWORD)
    assert device.call().status_code == 200


def test_a_silent_rehash_under_a_new_secret_key_ends_nothing(old_hash, hashers, settings):
    device = Device(old_hash).sign_in()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new" * 20, [settings.SECRET_KEY]
    hashers(Strong)
    Device(old_hash).sign_in()
    assert device.call().status_code == 200
    assert device.refresh().status_code == 200


def test_a_rehash_does_not_revive_what_an_unseen_change_has_ended(old_hash, hashers):
    device = Device(old_hash).sign_in()
    updating_the_password(device)
    hashers(Strong)
    new = Device(old_hash)
    assert new.post("login", {"email": old_hash.email, "password": NEW_PASSWORD}).status_code == 200
    assert device.call().json()["reason"] == "password_changed"


@pytest.mark.parametrize("new", [NEW_PASSWORD, PASSWORD, None])
@pytest.mark.parametrize("only", [None, ["password"]])
def test_a_change_is_no_rehash_though_the_hash_was_out_of_date(old_hash, hashers, new, only):
    device = Device(old_hash).sign_in()
    hashers(Strong)
    user = User.objects.get()
    user.set_password(new)
    user.save(update_fields=only)
    assert device.call().json()["reason"] == "password_changed"


def test_a_change_after_a_rehash_in_the_same_process_is_a_change(old_hash, hashers):
    device = Device(old_hash).sign_in()
    hashers(Strong)
    user = User.objects.get()
    assert user.check_password(PASSWORD)
    user.password = make_password(NEW_PASSWORD)
    user.save()
    assert device.call().json()["reason"] == "password_changed"


def test_a_hash_of_an_unknown_kind_is_no_rehash(user):
    device = Device(user).sign_in()
    User.objects.update(password="foreign$hash")
    instance = User.objects.get()
    instance._password = None
    instance.password = make_password(PASSWORD)
    instance.save()
    assert device.call().json()["reason"] == "password_changed"


@pytest.mark.parametrize("change", [setting_the_password, updating_the_password])
def test_a_project_may_let_sessions_outlive_the_password(device, jwt_settings, change):
    jwt_settings(PASSWORD_CHANGE_ENDS_SESSIONS=False)
    change(device)
    assert device.call().status_code == 200
    assert device.refresh().status_code == 200
    jwt_settings(PASSWORD_CHANGE_ENDS_SESSIONS=True)
    assert device.call().status_code == 200


def test_a_user_model_may_have_no_session_auth_hash():
    class Principal:
        pass

    assert auth_hash(Principal()) == b""
    assert fallback_auth_hashes(Principal()) == []


# SECRET_KEY


@pytest.fixture
def rotate_secret(settings):
    def rotate(key: str) -> None:
        settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        settings.SECRET_KEY = key * 20

    return rotate


def test_a_rotation_of_the_secret_key_ends_nothing(device, settings, rotate_secret):
    for key in ("first", "second"):
        rotate_secret(key)
        assert device.call().status_code == 200
    assert device.refresh().status_code == 200
    settings.SECRET_KEY_FALLBACKS = []
    assert device.call().status_code == 200
    assert device.refresh().status_code == 200


def test_a_refresh_that_does_not_rotate_follows_the_secret_key_too(device, settings, rotate_secret, jwt_settings):
    jwt_settings(ROTATE_REFRESH_TOKENS=False)
    rotate_secret("new")
    assert device.refresh().status_code == 200
    settings.SECRET_KEY_FALLBACKS = []
    assert device.call().status_code == 200
    assert device.refresh().status_code == 200


def test_once_the_fallbacks_are_gone_nothing_of_the_old_key_works(device, settings, rotate_secret):
    rotate_secret("new")
    settings.SECRET_KEY_FALLBACKS = []
    assert device.call().json()["code"] == "INVALID_TOKEN"
    assert device.refresh().json()["code"] == "INVALID_TOKEN"


def test_a_password_change_is_seen_under_a_rotated_key(device, rotate_secret):
    rotate_secret("new")
    updating_the_password(device)
    assert device.call().json()["reason"] == "password_changed"


# Deadlines: a session is dead at its deadline, not before.

TEN_MINUTES = timedelta(minutes=10)
INSTANT = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"IDLE_TIMEOUT": TEN_MINUTES}, "idle_timeout"),
        ({"MAX_SESSION_LIFETIME": TEN_MINUTES}, "max_lifetime"),
        ({"REFRESH_TOKEN_LIFETIME": TEN_MINUTES}, "expired"),
        ({"IDLE_TIMEOUT": TEN_MINUTES, "MAX_SESSION_LIFETIME": TEN_MINUTES + INSTANT}, "idle_timeout"),
        ({"IDLE_TIMEOUT": TEN_MINUTES + INSTANT, "MAX_SESSION_LIFETIME": TEN_MINUTES}, "max_lifetime"),
        ({"REFRESH_TOKEN_LIFETIME": TEN_MINUTES, "IDLE_TIMEOUT": TEN_MINUTES + INSTANT}, "expired"),
    ],
)
def test_a_session_lives_until_its_deadline_and_no_longer(clock, user, jwt_settings, limits, reason):
    jwt_settings(**limits)
    early, late = Device(user).sign_in(), Device(user).sign_in()
    clock.shift(TEN_MINUTES - INSTANT)
    assert early.refresh().status_code == 200
    clock.shift(INSTANT)
    assert late.refresh().json()["reason"] == reason


@pytest.mark.parametrize("resolution", [timedelta(0), timedelta(seconds=60)])
def test_a_request_lives_by_the_deadline_to_the_instant(clock, device, jwt_settings, resolution):
    jwt_settings(IDLE_TIMEOUT=timedelta(minutes=2), ACTIVITY_RESOLUTION=resolution)
    clock.shift(timedelta(minutes=2) - INSTANT)
    assert device.call().status_code == 200
    clock.shift(timedelta(minutes=2))
    assert device.call().json()["reason"] == "idle_timeout"


def test_a_user_active_every_ten_seconds_is_not_idle_under_the_shortest_timeout(clock, device, jwt_settings):
    jwt_settings(IDLE_TIMEOUT=conf.current().shortest_idle_timeout)
    for second in range(10, 400, 10):
        clock.shift(timedelta(seconds=10))
        assert (device.refresh() if second % 60 == 50 else device.call()).status_code == 200


@pytest.mark.parametrize(
    ("limits", "expires_in", "session_expires_at", "idle_expires_at"),
    [
        ({}, 300, "2026-03-08T12:00:00Z", None),
        ({"IDLE_TIMEOUT": timedelta(minutes=2)}, 120, "2026-03-08T12:00:00Z", "2026-03-01T12:02:00Z"),
        ({"MAX_SESSION_LIFETIME": timedelta(seconds=90)}, 90, "2026-03-01T12:01:30Z", None),
        ({"REFRESH_TOKEN_LIFETIME": timedelta(seconds=30)}, 30, "2026-03-01T12:00:30Z", None),
        (
            {"IDLE_TIMEOUT": timedelta(seconds=80), "MAX_SESSION_LIFETIME": timedelta(seconds=70)},
            70,
            "2026-03-01T12:01:10Z",
            "2026-03-01T12:01:20Z",
        ),
        (
            {"ACCESS_TOKEN_LIFETIME": timedelta(hours=1), "MAX_SESSION_LIFETIME": None},
            3600,
            "2026-03-08T12:00:00Z",
            None,
        ),
        ({"ACCESS_TOKEN_LIFETIME": {"user": timedelta(minutes=1)}}, 60, "2026-03-08T12:00:00Z", None),
    ],
)
def test_an_access_token_expires_with_the_first_deadline(
    clock, user, jwt_settings, limits, expires_in, session_expires_at, idle_expires_at
):
    jwt_settings(**limits)
    device = Device(user).sign_in()
    claims = access.decode(device.tokens["access_token"], timezone.now())
    assert claims["exp"] - claims["iat"] == device.tokens["expires_in"] == expires_in
    assert device.tokens["refresh_in"] == expires_in * 4 // 5
    assert device.tokens["session_expires_at"] == session_expires_at
    assert device.tokens["idle_expires_at"] == idle_expires_at
    clock.shift(timedelta(seconds=expires_in) - INSTANT)
    assert device.call().status_code == 200
    clock.shift(INSTANT)
    assert device.call().json()["code"] == "EXPIRED_TOKEN"


def test_a_token_of_the_last_instant_is_good_for_no_time_at_all(clock, user, jwt_settings):
    jwt_settings(MAX_SESSION_LIFETIME=TEN_MINUTES)
    device = Device(user).sign_in()
    clock.shift(TEN_MINUTES - timedelta(milliseconds=500))
    device.refresh()
    assert (device.tokens["expires_in"], device.tokens["refresh_in"]) == (1, 1)
    clock.shift(timedelta(milliseconds=500))
    assert device.call().json()["code"] == "EXPIRED_TOKEN"
    assert device.refresh().json()["reason"] == "max_lifetime"


def test_each_refresh_moves_the_expiry_but_not_the_maximum(clock, user, jwt_settings):
    jwt_settings(REFRESH_TOKEN_LIFETIME=TEN_MINUTES, MAX_SESSION_LIFETIME=timedelta(minutes=25))
    device = Device(user).sign_in()
    for _ in range(4):
        clock.shift(timedelta(minutes=6))
        assert device.refresh().status_code == 200
        device.call()
    assert device.tokens["session_expires_at"] == "2026-03-01T12:25:00Z"
    clock.shift(timedelta(minutes=1))
    assert device.refresh().json()["reason"] == "max_lifetime"


def test_loosening_a_limit_revives_no_ended_session(clock, device, jwt_settings):
    idling(device, jwt_settings, clock)
    assert device.call().json()["reason"] == "idle_timeout"
    jwt_settings(IDLE_TIMEOUT=None)
    assert device.call().json()["reason"] == "idle_timeout"


# What counts as activity.


@pytest.fixture
def idle_device(clock, user, jwt_settings) -> Device:
    jwt_settings(IDLE_TIMEOUT=TEN_MINUTES)
    return Device(user).sign_in()


def last_active():
    return Session.objects.get().last_active_at


def test_activity_is_written_once_per_resolution(clock, idle_device):
    start = last_active()
    clock.shift(timedelta(seconds=60) - INSTANT)
    idle_device.call()
    assert last_active() == start
    clock.shift(INSTANT)
    idle_device.call()
    assert last_active() == start + timedelta(seconds=60)
    clock.shift(timedelta(seconds=59))
    idle_device.call()
    assert last_active() == start + timedelta(seconds=60)


@pytest.mark.parametrize("sign", ["request", "refresh"])
def test_activity_keeps_a_session_alive(clock, idle_device, sign):
    for _ in range(4):
        clock.shift(timedelta(minutes=9))
        if sign == "refresh":
            assert idle_device.refresh().status_code == 200
        else:
            assert idle_device.call().status_code == 401
            assert idle_device.refresh(background=True).status_code == 200
            assert idle_device.call().status_code == 200
    assert Session.objects.get().ended_at is None


@pytest.mark.parametrize("background", [True, "true", "1"])
def test_a_tab_left_open_with_keep_alive_still_times_out(clock, idle_device, background):
    for _ in range(3):
        clock.shift(timedelta(minutes=3))
        assert idle_device.refresh(background=background).status_code == 200
        assert idle_device.call(**{"X-Session-Background": "1"}).status_code == 200
    assert idle_device.tokens["expires_in"] == 60
    clock.shift(timedelta(minutes=1))
    assert idle_device.refresh(background=True).json()["reason"] == "idle_timeout"


@pytest.mark.parametrize(("header", "counts"), [("1", False), ("0", True), ("", True), ("true", True)])
def test_only_the_header_as_documented_marks_a_request_as_background(clock, idle_device, header, counts):
    start = last_active()
    clock.shift(timedelta(minutes=4))
    idle_device.call(**{"X-Session-Background": header})
    assert (last_active() > start) is counts


def test_a_replayed_refresh_is_activity_too_unless_it_is_background(clock, idle_device):
    first, start = idle_device.tokens["refresh_token"], last_active()
    idle_device.refresh()
    clock.shift(timedelta(minutes=2))
    idle_device.refresh(first, background=True)
    assert last_active() == start
    idle_device.refresh(first)
    assert last_active() == start + timedelta(minutes=2)


@pytest.mark.parametrize("atomic", [True, pytest.param(False, marks=pytest.mark.django_db(transaction=True))])
def test_activity_that_cannot_be_written_does_not_fail_a_request(clock, device, monkeypatch, caplog, atomic):
    assert connection.in_atomic_block is atomic

    def locked(*args):
        raise OperationalError("database is locked")

    monkeypatch.setattr(type(Session.objects.all()), "mark_active", locked)
    monkeypatch.setattr(type(Session.objects), "mark_active", locked)
    clock.shift(timedelta(minutes=2))
    caplog.set_level(logging.WARNING, "jwt_sessions")
    assert device.call().status_code == 200
    assert "could not be written" in caplog.text


# jwt_version and re-authentication.


def test_a_raised_version_ends_what_was_and_leaves_what_comes(device):
    stranger = Device(UserFactory()).sign_in()
    for version in (1, 2):
        sessions.raise_version(device.user)
        assert device.call().json()["reason"] == "version_raised"
        assert device.refresh().json()["reason"] == "version_raised"
        device.sign_in()
        assert access.decode(device.tokens["access_token"], timezone.now())["jwt_version"] == version
        assert device.call().status_code == 200
    assert stranger.call().status_code == 200


def test_require_reauthentication_stops_refreshing_until_the_next_sign_in(clock, device):
    clock.shift(timedelta(seconds=10))
    sessions.require_reauthentication(device.user)
    refused = device.refresh()
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert (refused.json()["code"], refused.json()["terminal"]) == ("REAUTHENTICATION_REQUIRED", False)
    assert device.call().status_code == 200
    assert Session.objects.get().ended_at is None
    new = Device(device.user).sign_in()
    assert new.refresh().status_code == 200
    assert device.refresh().json()["code"] == "REAUTHENTICATION_REQUIRED"


@pytest.mark.parametrize(("later", "status"), [(timedelta(0), 200), (INSTANT, 400)])
def test_only_sessions_older_than_the_mark_are_asked_to_reauthenticate(clock, device, later, status):
    clock.shift(later)
    sessions.require_reauthentication(device.user)
    assert device.refresh().status_code == status


def test_marking_and_raising_go_together(clock, device):
    sessions.raise_version(device.user)
    clock.shift(timedelta(seconds=1))
    sessions.require_reauthentication(device.user)
    version = TokenVersion.objects.get()
    assert (version.jwt_version, version.reauthenticate_after) == (1, timezone.now())
    sessions.raise_version(device.user)
    version.refresh_from_db()
    assert (version.jwt_version, version.reauthenticate_after) == (2, timezone.now())


def test_who_loses_the_race_for_the_first_row_of_a_user_raises_the_version_too(device, monkeypatch):
    TokenVersion.objects.create(user=device.user, jwt_version=1)
    update, calls = TokenVersionQuerySet.update, []

    def finds_nothing_at_first(self, **changes):
        calls.append(changes)
        return 0 if len(calls) == 1 else update(self, **changes)

    monkeypatch.setattr(TokenVersionQuerySet, "update", finds_nothing_at_first)
    sessions.raise_version(device.user)
    assert TokenVersion.objects.get().jwt_version == 2


def test_an_exception_handler_of_the_project_can_read_the_code(device):
    sessions.end_all(device.user, reason="logout")
    request = APIRequestFactory().get("/", headers=device.bearer)
    with pytest.raises(AuthenticationFailed) as raised:
        JWTSessionAuthentication().authenticate(Request(request))
    assert raised.value.get_codes() == {"detail": "SESSION_ENDED"}
    message = "The session has ended: logout."
    assert raised.value.get_full_details() == {"detail": {"message": message, "code": "SESSION_ENDED"}}


# SESSION_CHECK="none"


class WhoAmI(APIView):
    def get(self, request):
        seen.append(request)
        return Response({"user": str(request.user.pk), "sid": request.auth.claims["sid"]})


seen: list = []


@pytest.fixture
def who_am_i(jwt_settings):
    jwt_settings(SESSION_CHECK="none")
    seen.clear()

    def call(device):
        request = APIRequestFactory().get("/", headers=device.bearer)
        return WhoAmI.as_view()(request)

    return call


def test_with_nothing_checked_a_request_asks_nothing(device, who_am_i, django_assert_num_queries):
    with django_assert_num_queries(0):
        response = who_am_i(device)
    assert response.data == {"user": str(device.user.pk), "sid": device.tokens["session_id"]}
    [request] = seen
    assert request.user == device.user
    with django_assert_num_queries(0):
        assert isinstance(request.user, get_user_model())
        assert request.user.is_authenticated
        assert request.auth.tenant is None
        assert device.tokens["access_token"] not in repr(request.auth)
    with django_assert_num_queries(1):
        assert request.user.email == device.user.email
    with django_assert_num_queries(1):
        assert request.auth.session.user_id == device.user.pk


class WhereAmI(APIView):
    def get(self, request):
        return Response({"device": request.auth.session.device_name})


class WhichCredential(APIView):
    permission_classes = ()

    def get(self, request):
        return Response({"name": request.auth.credential.name})


def test_with_nothing_checked_a_view_that_reads_the_session_of_a_deleted_user_is_answered_with_401(device, who_am_i):
    device.user.delete()
    response = WhereAmI.as_view()(APIRequestFactory().get("/", headers=device.bearer))
    assert (response.status_code, response.data["code"]) == (401, "INVALID_TOKEN")
    assert response["WWW-Authenticate"].startswith('Bearer error="invalid_token"')


class WhatIsMyName(APIView):
    permission_classes = ()

    def get(self, request):
        pickle.loads(pickle.dumps(request.user))
        return Response({"name": copy.deepcopy(request.user).email})


def test_with_nothing_checked_a_view_that_reads_a_field_of_a_deleted_user_is_answered_with_401(device, who_am_i):
    view, request = WhatIsMyName.as_view(), APIRequestFactory().get("/", headers=device.bearer)
    assert view(request).data == {"name": device.user.email}
    device.user.delete()
    response = view(request)
    assert (response.status_code, response.data["code"]) == (401, "INVALID_TOKEN")


def test_with_nothing_checked_a_view_that_reads_a_deleted_credential_is_answered_with_401(db, who_am_i):
    service = Service().exchanged()
    view, request = WhichCredential.as_view(), APIRequestFactory().get("/", headers=service.bearer)
    assert view(request).data == {"name": "A service"}
    service.credential.delete()
    response = view(request)
    assert (response.status_code, response.data["code"]) == (401, "INVALID_TOKEN")


def test_with_nothing_checked_code_that_reads_a_session_that_is_gone_is_told_so(device, who_am_i):
    _user, token = sessions.authorize(device.tokens["access_token"])
    device.user.delete()
    with pytest.raises(InvalidToken):
        assert token.session


def test_with_nothing_checked_an_end_bites_when_the_token_expires(clock, device, who_am_i):
    signing_out(device)
    assert who_am_i(device).status_code == 200
    assert device.refresh().json()["reason"] == "logout"
    clock.shift(timedelta(minutes=5))
    assert who_am_i(device).data["code"] == "EXPIRED_TOKEN"


def test_with_nothing_checked_a_token_for_another_kind_of_key_is_refused(device, who_am_i):
    claims = access.decode(device.tokens["access_token"], timezone.now())
    device.tokens["access_token"] = access.encode({**claims, "sub": "12"})
    response = who_am_i(device)
    assert (response.status_code, response.data["code"]) == (401, "INVALID_TOKEN")


def test_claims_cannot_be_changed_by_a_view(device, who_am_i):
    who_am_i(device)
    with pytest.raises(TypeError):
        seen[0].auth.claims["sub"] = "somebody else"
