"""``token/``: grants, bodies, and errors as RFC 6749 has them."""

from __future__ import annotations

import json
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.urls import reverse
from django.utils import timezone

from jwt_sessions import signals
from jwt_sessions.exceptions import IssueDenied
from jwt_sessions.models import Session
from jwt_sessions.sessions import end, raise_version, require_reauthentication
from jwt_sessions.tokens import access
from tests.clients import Device
from tests.factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
TOKEN_URL = "/auth/token/"
FILE = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\nx\r\n--{BOUNDARY}--".encode()


def body_of(parameters: dict[str, str | list[str]], content_type: str) -> bytes | str:
    if content_type == FORM:
        return urlencode(parameters, doseq=True)
    return encode_multipart(BOUNDARY, parameters) if content_type == MULTIPART_CONTENT else json.dumps(parameters)


def send(parameters, content_type=JSON, url=TOKEN_URL):
    return Client().generic("POST", url, body_of(parameters, content_type), content_type=content_type)


def refresh_grant(device, **parameters):
    return {"grant_type": "refresh_token", "refresh_token": device.tokens["refresh_token"], **parameters}


BODIES = pytest.mark.parametrize(
    "content_type",
    [JSON, f"{JSON}; charset=utf-8", FORM, MULTIPART_CONTENT],
    ids=["json", "charset", "form", "multipart"],
)


@BODIES
def test_every_kind_of_body_refreshes(device, content_type):
    response = send(refresh_grant(device), content_type)
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "no-store"
    assert response["Pragma"] == "no-cache"
    answer = response.json()
    assert answer["token_type"] == "Bearer"
    assert answer["session_id"] == device.tokens["session_id"]
    assert answer["refresh_token"] != device.tokens["refresh_token"]


@BODIES
def test_every_kind_of_body_signs_in_by_the_password_grant(user, content_type):
    grant = {"grant_type": "password", "username": user.email, "password": PASSWORD}
    response = send(grant, content_type)
    assert response.status_code == 200
    assert Session.objects.get().user == user


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "*/*", "nonsense"])
def test_answers_are_json_whatever_the_client_accepts(device, accept):
    response = Client().post(TOKEN_URL, refresh_grant(device), headers={"accept": accept})
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")


def outlive(device):
    Session.objects.update(refresh_expires_at=Session.objects.get().created_at)


def sign_out(device):
    end(Session.objects.get(), reason="logout")


def use_up(device):
    """Refresh, use the successor and let the grace pass: what the device holds is then reused."""
    successor = Device(device.user)
    successor.tokens = Client().post(TOKEN_URL, refresh_grant(device)).json()
    successor.call()
    first_used_at = Session.objects.get().first_used_at
    Session.objects.update(first_used_at=first_used_at - timedelta(seconds=31))


@pytest.mark.parametrize(
    ("happens", "code", "reason"),
    [
        (sign_out, "SESSION_ENDED", "logout"),
        (outlive, "SESSION_ENDED", "expired"),
        (lambda device: raise_version(device.user), "SESSION_ENDED", "version_raised"),
        (use_up, "INVALID_TOKEN", None),
        (lambda device: device.user.delete(), "INVALID_TOKEN", None),
    ],
    ids=["signed-out", "expired", "version-raised", "reused", "user-deleted"],
)
def test_a_refresh_token_that_will_never_work_again_is_an_invalid_grant(device, happens, code, reason):
    happens(device)
    response = send(refresh_grant(device))
    assert response.status_code == 400
    assert response["Cache-Control"] == "no-store"
    body = response.json()
    assert (body["error"], body["code"], body["terminal"], body.get("reason")) == ("invalid_grant", code, True, reason)
    assert body["error_description"]


ODD = ["garbage", "jsr_" + "A" * 92, "jsr_" + "é" * 92, "a\0b", "\ud800", "x" * 20_000]


def test_unknown_forged_reused_and_orphaned_refresh_tokens_are_answered_alike(db):
    devices = [Device(UserFactory()).sign_in() for _ in range(3)]
    tokens = [device.tokens["refresh_token"] for device in devices]
    Session.objects.filter(pk=devices[0].tokens["session_id"]).delete()
    tokens[1] = tokens[1][:-4] + ("AAAA" if tokens[1][-4:] != "AAAA" else "BBBB")
    devices[2].user.delete()
    answers = [send({"grant_type": "refresh_token", "refresh_token": token}) for token in [*tokens, *ODD]]
    assert {(answer.status_code, answer.content) for answer in answers} == {(400, answers[0].content)}
    assert answers[0].json()["code"] == "INVALID_TOKEN"


@pytest.mark.parametrize(
    ("parameters", "error", "field"),
    [
        ({}, "invalid_request", "grant_type"),
        ({"grant_type": ""}, "invalid_request", "grant_type"),
        ({"grant_type": 7}, "invalid_request", "grant_type"),
        ({"grant_type": ["password"]}, "invalid_request", "grant_type"),
        ({"grant_type": "authorization_code"}, "unsupported_grant_type", "grant_type"),
        ({"grant_type": "post"}, "unsupported_grant_type", "grant_type"),
        ({"grant_type": "refresh_token", "refresh_token": {"a": 1}}, "invalid_request", "refresh_token"),
        ({"grant_type": "password"}, "invalid_request", "username"),
        ({"grant_type": "password", "username": "ann"}, "invalid_request", "password"),
    ],
)
def test_a_missing_or_unknown_parameter_is_named(db, parameters, error, field):
    response = send(parameters)
    assert response.status_code == 400
    body = response.json()
    assert (body["error"], body["code"], body["terminal"]) == (error, "INVALID_REQUEST", False)
    assert body["field"] == field


@pytest.mark.parametrize("name", ["audience", "resource"])
@pytest.mark.parametrize("grant_type", ["refresh_token", "password"])
def test_an_audience_that_may_not_be_issued_is_an_invalid_target(device, grant_type, name):
    parameters = refresh_grant(device, username=device.user.email, password=PASSWORD)
    response = send({**parameters, "grant_type": grant_type, name: "elsewhere"})
    body = response.json()
    assert response.status_code == 400
    assert (body["error"], body["code"], body["field"]) == ("invalid_target", "INVALID_REQUEST", name)
    assert device.refresh().status_code == 200


@pytest.mark.parametrize("name", ["audience", "resource"])
def test_another_audience_is_minted_for_and_the_default_of_the_session_stays(clock, device, jwt_settings, name):
    jwt_settings(AUDIENCES=["api", "reports"])
    now = Session.objects.get().created_at
    device.refresh(**{name: "reports"})
    claims = access.decode(device.tokens["access_token"], now)
    assert (claims["aud"], claims["client_id"], claims["sid"]) == ("reports", "api", device.tokens["session_id"])
    device.refresh()
    assert access.decode(device.tokens["access_token"], now)["aud"] == "api"


@pytest.mark.parametrize("empty", ["audience", "resource", "background"])
def test_a_parameter_without_a_value_counts_as_omitted(device, empty):
    # RFC 6749 §3.2
    assert send(refresh_grant(device, **{empty: ""}), FORM).status_code == 200


@pytest.mark.parametrize("background", ["perhaps", ["a"]])
def test_background_is_yes_or_no(device, background):
    response = send(refresh_grant(device, background=background))
    assert (response.status_code, response.json()["field"]) == (400, "background")
    assert device.refresh().status_code == 200


def test_an_access_token_is_no_refresh_token(device):
    response = send({"grant_type": "refresh_token", "refresh_token": device.tokens["access_token"]})
    assert (response.status_code, response.json()["code"]) == (400, "INVALID_TOKEN")
    assert device.refresh().status_code == 200


@pytest.mark.parametrize("grant_type", ["refresh_token", "password"])
@pytest.mark.parametrize("content_type", [FORM, MULTIPART_CONTENT, JSON], ids=["form", "multipart", "json"])
def test_several_resources_at_once_are_an_invalid_target(device, jwt_settings, grant_type, content_type):
    # RFC 8707 §2: they may be named; that a token is for one is this server's policy.
    jwt_settings(AUDIENCES=["api", "reports"])
    parameters = refresh_grant(device, username=device.user.email, password=PASSWORD, resource=["api", "reports"])
    response = send({**parameters, "grant_type": grant_type}, content_type)
    body = response.json()
    assert (response.status_code, body["error"], body["field"]) == (400, "invalid_target", "resource")
    assert device.refresh().status_code == 200


@pytest.mark.parametrize("resources", [["reports", "reports"], ["", "reports"], ["reports", ""]])
def test_one_resource_named_again_is_one(device, jwt_settings, resources):
    jwt_settings(AUDIENCES=["api", "reports"])
    response = send(refresh_grant(device, resource=resources), FORM)
    assert response.status_code == 200
    assert access.decode(response.json()["access_token"], timezone.now())["aud"] == "reports"


def test_several_resources_at_an_endpoint_that_takes_none_do_no_harm(device):
    response = send({"token": device.tokens["refresh_token"], "resource": ["a", "b"]}, FORM, "/auth/revoke/")
    assert response.status_code == 200
    assert device.call().json()["reason"] == "logout"


def test_a_parameter_given_twice_is_refused_and_named(device):
    # RFC 6749 §3.2
    body = urlencode(refresh_grant(device)) + "&audience=api&audience=api"
    response = Client().post(TOKEN_URL, body, content_type=FORM)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert response.json()["field"] == "audience"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", JSON),
        (b"{", JSON),
        (b"[]", JSON),
        (b'"text"', JSON),
        (b"null", JSON),
        (b"NaN", JSON),
        (b'{"grant_type": "\xff"}', JSON),
        (b"[" * 60_000, JSON),
        (b'{"a":' * 12_000, JSON),
        (b'{"grant_type": "' + b"a" * 70_000 + b'"}', JSON),
        (b"grant_type=" + b"a" * 70_000, FORM),
        (b"&".join(b"a%d=1" % number for number in range(2000)), FORM),
        (b"no boundary here", MULTIPART_CONTENT),
        (b"", "multipart/form-data"),
        (FILE, MULTIPART_CONTENT),
    ],
    ids=[
        "empty", "cut", "list", "text", "null", "nan", "not-utf8", "deep", "deep-objects", "long", "long-form",
        "many-fields", "no-parts", "no-boundary", "file",
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_read_is_an_invalid_request(db, body, content_type):
    response = Client().generic("POST", TOKEN_URL, body, content_type=content_type)
    assert response.status_code == 400
    assert (response.json()["error"], response.json()["code"]) == ("invalid_request", "INVALID_REQUEST")
    assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize("name", ["token", "revoke"])
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_another_method_than_post_is_answered_in_the_same_shape(db, name, method):
    response = Client().generic(method, reverse(f"jwt_sessions:{name}"))
    assert response.status_code == 405
    assert "POST" in response["Allow"]
    assert (response.json()["error"], response.json()["code"]) == ("invalid_request", "INVALID_REQUEST")


@pytest.mark.parametrize("name", ["login", "logout"])
def test_another_method_is_answered_as_resources_do(db, name):
    response = Client().get(reverse(f"jwt_sessions:{name}"))
    assert (response.status_code, response["Allow"]) == (405, "POST, OPTIONS")
    assert set(response.json()) == {"detail", "code", "terminal"}
    assert response.json()["code"] == "INVALID_REQUEST"


@pytest.mark.parametrize(("name", "said"), [("token", "error_description"), ("login", "detail")])
def test_another_type_of_body_is_refused(db, name, said):
    response = Client().post(reverse(f"jwt_sessions:{name}"), "<a/>", content_type="application/xml")
    assert response.status_code == 415
    assert response.json()["code"] == "INVALID_REQUEST"
    assert "application/xml" in response.json()[said]


def test_a_host_that_is_not_ours_is_refused(device):
    device.http.cookies["__Host-Http-jwt_sessions_refresh"] = device.tokens["refresh_token"]
    response = device.post("token", {"grant_type": "refresh_token"}, host="evil.example", origin="https://evil.example")
    assert response.status_code == 400
    assert device.refresh().status_code == 200


def test_throttled_and_denied_and_failed_have_the_shape_of_an_oauth_error(user, jwt_settings, connected):
    jwt_settings(LOGIN_THROTTLE="1/min")
    grant = {"grant_type": "password", "username": user.email, "password": PASSWORD}
    connected(IssueDenied("Not today."))
    denied = send(grant)
    assert (denied.status_code, denied.json()["error"], denied.json()["code"]) == (403, "access_denied", "ISSUE_DENIED")
    connected(RuntimeError("inner"))
    failed = send(grant)
    assert (failed.status_code, failed.json()["code"]) == (503, "ISSUE_FAILED")
    assert failed.json()["error"] == "temporarily_unavailable"
    send({**grant, "password": "wrong"})
    throttled = send(grant)
    assert (throttled.status_code, throttled.json()["error"]) == (429, "temporarily_unavailable")
    assert throttled.json()["code"] == "THROTTLED"
    assert 1 <= int(throttled["Retry-After"]) <= 60


@pytest.fixture
def connected():
    """Connect a receiver of pre_issue that raises, in place of the one before."""
    kept = []

    def connect(error: Exception) -> None:
        def receiver(**kwargs: object) -> None:
            raise error

        signals.pre_issue.disconnect(kept.pop() if kept else None)
        kept.append(receiver)
        signals.pre_issue.connect(receiver)

    yield connect
    signals.pre_issue.disconnect(kept.pop())


def test_project_wide_rest_framework_defaults_do_not_reach_the_endpoints(device, settings):
    settings.REST_FRAMEWORK = {
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.FormParser"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.BrowsableAPIRenderer"],
        "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.AcceptHeaderVersioning",
    }
    assert device.refresh().status_code == 200
    assert device.get("session-list").status_code == 200


@pytest.mark.parametrize("token", [{}, {"refresh_token": ""}, {"refresh_token": None}])
def test_a_page_that_asks_on_load_is_told_that_nobody_is_signed_in(db, token):
    response = send({"grant_type": "refresh_token", **token})
    body = response.json()
    assert response.status_code == 400
    assert (body["error"], body["code"], body["terminal"]) == ("invalid_grant", "NO_SESSION", True)


def test_a_marked_user_may_give_the_password_again(device):
    require_reauthentication(device.user)
    body = send(refresh_grant(device)).json()
    assert (body["error"], body["code"], body["terminal"]) == ("invalid_grant", "REAUTHENTICATION_REQUIRED", False)


def test_a_refresh_in_the_background_says_so_by_the_header_too(clock, device):
    clock.shift(timedelta(hours=1))
    before = Session.objects.get().last_active_at
    response = device.post("token", refresh_grant(device), **{"X-Session-Background": "1"})
    assert response.status_code == 200
    assert Session.objects.get().last_active_at == before


def test_the_password_grant_can_be_turned_off(user, jwt_settings):
    grant = {"grant_type": "password", "username": user.email, "password": PASSWORD}
    assert send(grant).status_code == 200
    jwt_settings(PASSWORD_GRANT=False)
    response = send(grant)
    assert (response.status_code, response.json()["error"]) == (400, "unsupported_grant_type")
