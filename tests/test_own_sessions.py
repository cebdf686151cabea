"""A user's own sessions: ``sessions/…``."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from jwt_sessions.models import Session
from jwt_sessions.sessions import end
from tests.clients import Device
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db

SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1"
)


@pytest.fixture
def phone(device) -> Device:
    """Another device of the same user."""
    return Device(device.user, user_agent=SAFARI).sign_in(device_name="Phone")


@pytest.fixture
def stranger(db) -> Device:
    return Device(UserFactory()).sign_in()


def own_id(device):
    return device.tokens["session_id"]


def detail(device, session_id, method="GET", data=None):
    url = reverse("jwt_sessions:session-detail", args=[session_id])
    body = b"" if data is None else json.dumps(data)
    return device.http.generic(method, url, body, content_type="application/json", headers=device.bearer)


def test_a_session_shows_what_its_owner_may_know(clock, device, jwt_settings):
    jwt_settings(IDLE_TIMEOUT=timedelta(hours=1))
    clock.shift(timedelta(seconds=90.5))
    answer = device.get("session-list")
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    assert answer.json() == [
        {
            "id": own_id(device),
            "device_name": "",
            "device": {"browser": "Chrome", "system": "Windows"},
            "ip_address": "127.0.0.1",
            "audience": "api",
            "created_at": "2026-03-01T12:00:00Z",
            "authenticated_at": "2026-03-01T12:00:00Z",
            "last_active_at": "2026-03-01T12:01:30.500000Z",
            "session_expires_at": "2026-03-08T12:00:00Z",
            "idle_expires_at": "2026-03-01T13:01:30.500000Z",
            "current": True,
        }
    ]


def test_no_limit_is_null(device, jwt_settings):
    jwt_settings(MAX_SESSION_LIFETIME=None, REFRESH_TOKEN_LIFETIME=None)
    Session.objects.update(refresh_expires_at=None)
    [answer] = device.get("session-list").json()
    assert (answer["session_expires_at"], answer["idle_expires_at"]) == (None, None)


def test_the_deadline_is_the_earlier_of_maximum_lifetime_and_refresh_expiry(clock, device, jwt_settings):
    jwt_settings(MAX_SESSION_LIFETIME=timedelta(days=1))
    assert detail(device, "current").json()["session_expires_at"] == "2026-03-02T12:00:00Z"
    jwt_settings(MAX_SESSION_LIFETIME=timedelta(days=9))
    assert detail(device, "current").json()["session_expires_at"] == "2026-03-08T12:00:00Z"


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/Bogota"])
def test_times_are_utc_where_the_project_stores_local_time(settings, clock, user, zone):
    settings.USE_TZ, settings.TIME_ZONE = False, zone
    device = Device(user).sign_in()
    assert device.tokens["session_expires_at"] == "2026-03-08T12:00:00Z"
    [answer] = device.get("session-list").json()
    assert answer["created_at"] == answer["last_active_at"] == "2026-03-01T12:00:00Z"
    assert device.refresh().status_code == 200
    assert device.call().status_code == 200
    clock.shift(timedelta(days=8))
    assert device.refresh().json()["reason"] == "expired"


def test_the_last_active_comes_first_and_current_is_marked(clock, device):
    clock.shift(timedelta(minutes=2))
    phone = Device(device.user).sign_in()
    assert [each["id"] for each in phone.get("session-list").json()] == [own_id(phone), own_id(device)]
    clock.shift(timedelta(minutes=2))
    listed = device.get("session-list").json()
    assert [(each["id"], each["current"]) for each in listed] == [(own_id(device), True), (own_id(phone), False)]


def test_the_device_is_named_by_itself_and_by_its_user(device, phone):
    answer = detail(device, own_id(phone)).json()
    assert answer["device_name"] == "Phone"
    assert answer["device"] == {"browser": "Mobile Safari", "system": "iOS"}


@pytest.mark.parametrize(
    ("user_agent", "browser", "system"),
    [
        ("", "", ""),
        ("acme-app/2.1", "acme-app", ""),
        ("curl/8.6.0", "curl", ""),
        ("\x01\x7f/1", "", ""),
        ("x" * 600, "x" * 50, ""),
    ],
)
def test_a_device_that_is_no_browser_is_shown_as_it_calls_itself(user, user_agent, browser, system):
    device = Device(user, user_agent=user_agent).sign_in()
    assert detail(device, "current").json()["device"] == {"browser": browser, "system": system}


def test_the_sessions_of_others_are_not_there(device, stranger):
    assert [each["id"] for each in device.get("session-list").json()] == [own_id(device)]
    for method, data in [("GET", None), ("PATCH", {"device_name": "mine now"}), ("DELETE", None)]:
        refused = detail(device, own_id(stranger), method, data)
        unknown = detail(device, uuid4(), method, data)
        assert (refused.status_code, refused.content) == (unknown.status_code, unknown.content)
        assert refused.status_code == 404
    assert detail(stranger, "current").json()["device_name"] == ""


@pytest.mark.parametrize("odd", ["0", "Current", "current\0", "' OR 1=1", "é", "-" * 36, "x" * 2000, "\ud800"])
def test_a_malformed_id_is_not_found(device, odd):
    odd = odd.encode("utf-8", "surrogatepass").decode("latin-1")
    assert detail(device, odd).status_code == 404


@pytest.mark.parametrize("spelling", [str.upper, lambda text: text.replace("-", "")], ids=["upper", "hex"])
def test_an_id_has_one_spelling(device, spelling):
    assert detail(device, spelling(own_id(device))).status_code == 404


def test_current_is_an_id(device):
    assert detail(device, "current").json() == detail(device, own_id(device)).json()
    assert detail(device, "current").json()["id"] == own_id(device)


def test_a_device_can_be_renamed_and_nothing_else(device, phone):
    answer = detail(device, own_id(phone), "PATCH", {"device_name": "Old phone"})
    assert (answer.status_code, answer.json()["device_name"]) == (200, "Old phone")
    assert answer.json()["current"] is False
    assert detail(phone, "current").json()["device_name"] == "Old phone"
    assert detail(device, "current", "PATCH", {"device_name": ""}).json()["device_name"] == ""


@pytest.mark.parametrize(
    "parameters", [{}, {"device_name": None}, {"device_name": "x" * 101}, {"device_name": "\0"}, {"device_name": []}]
)
def test_a_name_that_cannot_be_kept_is_refused(device, parameters):
    response = detail(device, "current", "PATCH", parameters)
    assert response.status_code == 400
    assert (response.json()["code"], response.json()["field"]) == ("INVALID_REQUEST", "device_name")


def test_another_device_is_ended_by_its_user(device, phone):
    response = detail(device, own_id(phone), "DELETE")
    assert (response.status_code, response.content) == (204, b"")
    assert phone.call().json()["reason"] == "ended_by_user"
    assert phone.refresh().json()["reason"] == "ended_by_user"
    assert device.call().status_code == 200
    assert detail(device, own_id(phone), "DELETE").status_code == 404


@pytest.mark.parametrize("by", ["current", "id"])
def test_ending_the_session_that_asks_is_signing_out(device, logged_out, by):
    assert detail(device, "current" if by == "current" else own_id(device), "DELETE").status_code == 204
    assert device.call().json()["reason"] == "logout"
    assert logged_out == [device.user]


def test_ending_another_session_signs_nobody_out_here(device, phone, logged_out):
    detail(device, own_id(phone), "DELETE")
    device.post("session-end-others", **device.bearer)
    assert logged_out == []


def test_end_others_keeps_the_one_that_asks(device, phone, stranger):
    third = Device(device.user).sign_in()
    response = device.post("session-end-others", **device.bearer)
    assert (response.status_code, response.json()) == (200, {"ended": 2})
    assert phone.call().json()["reason"] == third.call().json()["reason"] == "ended_by_user"
    assert device.call().status_code == stranger.call().status_code == 200
    assert device.post("session-end-others", **device.bearer).json() == {"ended": 0}


def test_end_all_ends_the_one_that_asks_too(device, phone, stranger, logged_out):
    response = device.post("session-end-all", **device.bearer)
    assert (response.status_code, response.json()) == (200, {"ended": 2})
    assert device.call().json()["code"] == phone.call().json()["code"] == "SESSION_ENDED"
    assert stranger.call().status_code == 200
    assert logged_out == [device.user]


def test_dead_sessions_are_neither_listed_nor_counted(clock, device):
    ended = Device(device.user).sign_in()
    end(Session.objects.get(pk=own_id(ended)), reason="ended_by_admin")
    expired = Device(device.user).sign_in()
    Session.objects.filter(pk=own_id(expired)).update(refresh_expires_at=Session.objects.first().created_at)
    assert [each["id"] for each in device.get("session-list").json()] == [own_id(device)]
    for dead in (ended, expired):
        assert detail(device, own_id(dead)).status_code == 404
    assert device.post("session-end-others", **device.bearer).json() == {"ended": 0}
    assert Session.objects.get(pk=own_id(expired)).end_reason == "expired"
    assert Session.objects.get(pk=own_id(ended)).end_reason == "ended_by_admin"


ENDPOINTS = [
    ("GET", "session-list", []),
    ("GET", "session-detail", ["current"]),
    ("PATCH", "session-detail", ["current"]),
    ("DELETE", "session-detail", ["current"]),
    ("POST", "session-end-others", []),
    ("POST", "session-end-all", []),
]
EVERYWHERE = pytest.mark.parametrize(("method", "name", "args"), ENDPOINTS)


@EVERYWHERE
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Basic YTpi"},
        {"cookie": "__Host-Http-jwt_sessions_refresh=jsr_x"},
        {"authorization": "bearer"},
    ],
    ids=["nothing", "basic", "cookie", "no-token"],
)
def test_without_a_token_there_is_a_challenge(db, method, name, args, headers):
    response = Client().generic(method, reverse(f"jwt_sessions:{name}", args=args), headers=headers)
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert ("error=" in response["WWW-Authenticate"]) is (headers.get("authorization") == "bearer")
    assert response["Cache-Control"] == "no-store"


@EVERYWHERE
def test_a_dead_session_is_told_why(device, method, name, args):
    end(Session.objects.get(), reason="ended_by_admin")
    response = device.http.generic(method, reverse(f"jwt_sessions:{name}", args=args), headers=device.bearer)
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith('Bearer error="invalid_token"')
    body = response.json()
    assert (body["code"], body["reason"], body["terminal"]) == ("SESSION_ENDED", "ended_by_admin", True)


@pytest.mark.parametrize(("method", "name", "args"), ENDPOINTS[:-1])
def test_a_session_that_is_gone_is_refused_also_where_nothing_is_checked(device, jwt_settings, method, name, args):
    jwt_settings(SESSION_CHECK="none")
    Session.objects.all().delete()
    response = device.http.generic(method, reverse(f"jwt_sessions:{name}", args=args), headers=device.bearer)
    assert (response.status_code, response.json()["code"]) == (401, "INVALID_TOKEN")


@pytest.mark.parametrize("path", ["sessions/", "sessions/current/", "credentials/"])
def test_a_user_forced_by_a_test_client_without_a_token_is_refused_clearly(user, path):
    client = APIClient()
    client.force_authenticate(user)
    response = client.get(f"/auth/{path}")
    assert (response.status_code, response.json()["code"]) == (401, "INVALID_TOKEN")
    assert "access token of a session" in response.json()["detail"]
