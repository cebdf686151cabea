"""Signing out: ``logout/`` and ``revoke/`` (RFC 7009), whatever is presented."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.contrib.auth.signals import user_logged_out
from django.test import Client
from django.urls import reverse

from jwt_sessions import credentials, sessions
from jwt_sessions.models import Session
from jwt_sessions.sessions import end
from tests.clients import Device
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def sent():
    """Django's ``user_logged_out``, as it is sent."""
    received = []

    def logged_out(sender, request, user, **kwargs):
        received.append((sender, request.path, user))

    user_logged_out.connect(logged_out)
    yield received
    user_logged_out.disconnect(logged_out)


def by_bearer(device):
    return device.post("logout", **device.bearer)


def by_refresh_token(device):
    return device.post("logout", {"refresh_token": device.tokens["refresh_token"]})


def by_form(device):
    return device.http.post(reverse("jwt_sessions:logout"), {"refresh_token": device.tokens["refresh_token"]})


def by_cookie(device):
    device.http.cookies["__Host-Http-jwt_sessions_refresh"] = device.tokens["refresh_token"]
    return device.post("logout")


def revoking_refresh_token(device):
    return device.post("revoke", {"token": device.tokens["refresh_token"], "token_type_hint": "refresh_token"})


def revoking_access_token(device):
    return device.post("revoke", {"token": device.tokens["access_token"]})


def revoking_with_a_wrong_hint(device):
    return device.post("revoke", {"token": device.tokens["access_token"], "token_type_hint": "refresh_token"})


def revoking_by_form(device):
    return device.http.post(reverse("jwt_sessions:revoke"), {"token": device.tokens["refresh_token"]})


LOGOUTS = [by_bearer, by_refresh_token, by_form, by_cookie]
REVOCATIONS = [revoking_refresh_token, revoking_access_token, revoking_with_a_wrong_hint, revoking_by_form]
WAYS = pytest.mark.parametrize("way", LOGOUTS + REVOCATIONS, ids=lambda way: way.__name__)


def answers(response, way):
    assert response.status_code == (204 if way in LOGOUTS else 200)
    assert response["Cache-Control"] == "no-store"


@WAYS
def test_the_session_ends_with_all_its_tokens(device, sent, way):
    answers(way(device), way)
    assert device.call().json()["reason"] == "logout"
    assert device.refresh().json()["reason"] == "logout"
    [(sender, path, user)] = sent
    assert (sender, user) == (type(device.user), device.user)
    assert path in ("/auth/logout/", "/auth/revoke/")


@WAYS
def test_other_sessions_go_on(device, way):
    others = [Device(device.user).sign_in(), Device(UserFactory()).sign_in()]
    way(device)
    assert [other.call().status_code for other in others] == [200, 200]


@WAYS
def test_an_expired_access_token_and_an_unused_refresh_token_still_sign_out(clock, device, way):
    clock.shift(timedelta(minutes=6))
    assert device.call().json()["code"] == "EXPIRED_TOKEN"
    answers(way(device), way)
    assert Session.objects.get().end_reason == "logout"


@WAYS
def test_what_has_ended_stays_as_it_ended(device, sent, way):
    end(Session.objects.get(), reason="ended_by_admin")
    answers(way(device), way)
    assert Session.objects.get().end_reason == "ended_by_admin"
    assert sent == []


@WAYS
def test_what_is_past_its_deadline_ends_for_that_reason(clock, device, sent, way):
    clock.shift(timedelta(days=8))
    answers(way(device), way)
    assert Session.objects.get().end_reason == "expired"
    assert sent == []


@WAYS
def test_a_session_that_is_gone_is_answered_alike(device, sent, way):
    Session.objects.all().delete()
    answers(way(device), way)
    assert sent == []


def test_the_previous_refresh_token_signs_out_while_it_is_honoured(device):
    first = device.tokens["refresh_token"]
    device.refresh()
    device.post("logout", {"refresh_token": first})
    assert Session.objects.get().end_reason == "logout"


def test_a_reused_refresh_token_is_noticed_here_too(clock, device):
    first = device.tokens["refresh_token"]
    device.refresh()
    device.call()
    clock.shift(timedelta(seconds=31))
    assert device.post("revoke", {"token": first}).status_code == 200
    assert Session.objects.get().end_reason == "token_reuse"


GARBAGE = ["garbage", "a.b.c", "jsr_garbage", "jsr_" + "A" * 92, "\0", "\ud800", "é", "x" * 20_000, " "]


@pytest.mark.parametrize("garbage", GARBAGE, ids=ascii)
def test_garbage_is_answered_as_if_it_had_been_a_token(device, garbage):
    assert device.post("revoke", {"token": garbage}).status_code == 200
    assert device.post("logout", {"refresh_token": garbage}).status_code == 204
    assert device.call().status_code == 200


@pytest.mark.parametrize("oddity", [None, "", 7, True, ["a"], {"a": 1}])
def test_what_is_no_string_is_no_token(device, oddity):
    assert device.post("logout", {"refresh_token": oddity}).status_code == 204
    assert device.call().status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer garbage", "bearer é", "Basic YTpi", "nonsense"])
def test_garbage_in_the_header_is_answered_as_if_it_had_been_a_token(db, header):
    assert Client().post("/auth/logout/", headers={"authorization": header}).status_code == 204


def test_a_scheme_is_a_scheme_in_any_case(device):
    device.post("logout", authorization=f"bEARER {device.tokens['access_token']}")
    assert Session.objects.get().end_reason == "logout"


def test_a_dead_bearer_does_not_keep_a_good_refresh_token_from_signing_out(device):
    headers = {"Authorization": "Bearer garbage"}
    device.post("logout", {"refresh_token": device.tokens["refresh_token"]}, **headers)
    assert Session.objects.get().end_reason == "logout"


def test_a_forged_token_signs_nobody_out(device):
    head, payload, signature = device.tokens["access_token"].split(".")
    forged = f"{head}.{payload}.{signature[::-1]}"
    assert device.post("revoke", {"token": forged}).status_code == 200
    assert device.call().status_code == 200


@pytest.mark.parametrize("parameters", [{}, {"token": ""}, {"token": None}, {"token": ["a"]}])
def test_a_revocation_without_a_token_is_an_invalid_request(db, parameters):
    # RFC 7009 §2.2.1
    response = Client().post("/auth/revoke/", json.dumps(parameters), content_type="application/json")
    assert response.status_code == 400
    body = response.json()
    assert (body["error"], body["code"], body["field"]) == ("invalid_request", "INVALID_REQUEST", "token")


def test_a_sign_out_with_nothing_at_all_is_fine(db):
    response = Client().post("/auth/logout/")
    assert (response.status_code, response.content) == (204, b"")


def test_a_client_that_authenticates_to_revoke_has_to_do_so_rightly(device):
    new = credentials.create_credential(name="A client")
    wrong = {"client_id": str(new.credential.pk), "client_secret": "wrong"}
    refused = device.post("revoke", {"token": device.tokens["refresh_token"], **wrong})
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    assert device.call().status_code == 200
    right = {**wrong, "client_secret": new.client_secret}
    assert device.post("revoke", {"token": device.tokens["refresh_token"], **right}).status_code == 200
    assert device.call().status_code == 401


def test_the_token_of_a_credential_cannot_be_revoked_by_itself(device):
    new = credentials.create_credential(name="A client", user=device.user)
    client = {"client_id": str(new.credential.pk), "client_secret": new.client_secret}
    token = device.post("token", {"grant_type": "client_credentials", **client}).json()["access_token"]
    refused = device.post("revoke", {"token": token})
    assert (refused.status_code, refused.json()["error"]) == (400, "unsupported_token_type")
    # Signing out answers 204 whatever is presented, and ends nothing by this one.
    assert device.post("logout", Authorization=f"Bearer {token}").status_code == 204
    assert device.http.get("/api/me/", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert device.call().status_code == 200


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b"[]"),
        ("application/x-www-form-urlencoded", b"a=1&a=2"),
        ("multipart/form-data; boundary=x", b"x"),
        ("text/plain", b"bye"),
        ("application/json", b"x" * 100_000),
    ],
)
def test_a_body_that_cannot_be_read_keeps_nobody_from_signing_out(device, content_type, body):
    url = reverse("jwt_sessions:logout")
    response = device.http.generic("POST", url, body, content_type=content_type, headers=device.bearer)
    assert response.status_code == 204
    assert device.call().json()["reason"] == "logout"


@pytest.mark.parametrize("door", ["logout", "revoke"])
def test_attack_an_access_token_from_before_a_reauthentication_ends_nothing(device, door):
    stale = device.tokens["access_token"]
    sessions.reauthenticated(Session.objects.get())
    if door == "logout":
        assert device.post("logout", Authorization=f"Bearer {stale}").status_code == 204
    else:
        assert device.post("revoke", {"token": stale}).status_code == 200
    assert Session.objects.get().ended_at is None
