"""Giving the password again, asking for it, and sliding along without it."""

from __future__ import annotations

from datetime import timedelta

import jwt
import pytest
from django.test import override_settings
from django.urls import include, path
from rest_framework.response import Response
from rest_framework.views import APIView

from jwt_sessions import sessions
from jwt_sessions.login import by_password
from jwt_sessions.models import RefreshToken, Session, SessionPolicy
from jwt_sessions.models.session import SessionQuerySet
from jwt_sessions.permissions import RequireRecentLogin, RequireTenant
from tests.clients import Device
from tests.factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
COOKIE = "__Host-Http-jwt_sessions_refresh"


class Transfer(APIView):
    permission_classes = (RequireRecentLogin(10 * MINUTE),)

    def post(self, request):
        return Response({"sent": True})


class Vault(APIView):
    permission_classes = (RequireRecentLogin(10 * MINUTE, amr={"otp", "pwd"}),)

    def post(self, request):
        return Response({"open": True})


class Invoices(APIView):
    permission_classes = (RequireTenant,)

    def get(self, request):
        return Response({"of": request.auth.tenant})


urlpatterns = [
    path("transfer/", Transfer.as_view()),
    path("vault/", Vault.as_view()),
    path("invoices/", Invoices.as_view()),
    path("", include("example_project.urls")),
]


def claims(device):
    return jwt.decode(device.tokens["access_token"], options={"verify_signature": False})


def give_password(device, password=PASSWORD, **parameters):
    response = device.post("reauthenticate", {"password": password, **parameters}, **device.bearer)
    if response.status_code == 200:
        device.tokens = {**device.tokens, **response.json()}
    return response


def renew(device, **parameters):
    response = device.post("renew", parameters, **device.bearer)
    if response.status_code == 200:
        device.tokens = {**device.tokens, **response.json()}
    return response


def code(response):
    return (response.status_code, response.json()["code"], response.json()["terminal"])


# reauthenticate/


def test_who_lost_the_answer_gives_the_password_once_more(device):
    before = device.tokens
    assert give_password(device).status_code == 200
    lost, device.tokens = device.tokens, before
    assert give_password(device).status_code == 200
    assert device.tokens["session_id"] == before["session_id"]
    assert device.call().status_code == 200
    assert device.refresh().status_code == 200
    assert Device(device.user).refresh(lost["refresh_token"]).status_code == 400
    assert Session.objects.get().ended_at is None


@pytest.mark.parametrize("use", ["call", "refresh"])
def test_attack_a_token_from_before_a_reauthentication_opens_nothing_once_its_answer_was_used(device, use):
    before = device.tokens
    assert give_password(device).status_code == 200
    assert getattr(device, use)().status_code == 200
    device.tokens = before
    assert code(give_password(device)) == (401, "EXPIRED_TOKEN", False)


def test_attack_a_token_from_two_reauthentications_ago_opens_nothing(device):
    before = device.tokens
    for _ in range(2):
        assert give_password(device).status_code == 200
    device.tokens = before
    assert code(give_password(device)) == (401, "EXPIRED_TOKEN", False)


@pytest.mark.parametrize("password", ["", "wrong"])
def test_attack_a_lost_answer_is_given_to_nobody_without_the_password(device, password):
    before = device.tokens
    assert give_password(device).status_code == 200
    device.tokens = before
    assert give_password(device, password).status_code in (400, 401)
    assert device.call().status_code == 401
    assert Session.objects.get().generation == 1


def test_the_password_gives_a_new_auth_time_and_the_next_generation_at_once(clock, device):
    before = claims(device)
    clock.shift(2 * MINUTE)
    response = give_password(device)
    assert response.status_code == 200
    assert set(response.json()) == set(Device(device.user).sign_in().tokens)
    after = claims(device)
    assert after["auth_time"] == before["auth_time"] + 120
    assert (after["gen"], before["gen"], after["sid"]) == (1, 0, before["sid"])
    assert device.call().status_code == 200
    assert device.refresh().status_code == 200
    assert claims(device)["auth_time"] == after["auth_time"]
    assert claims(device)["gen"] == 2


def test_the_maximum_lifetime_counts_from_the_password_given_last(clock, device, jwt_settings):
    jwt_settings(MAX_SESSION_LIFETIME=timedelta(minutes=20))
    clock.shift(4 * MINUTE)
    assert give_password(device).json()["session_expires_at"] == "2026-03-01T12:24:00Z"
    clock.shift(20 * MINUTE - SECOND)
    assert device.refresh().status_code == 200
    clock.shift(SECOND)
    assert device.refresh().json()["reason"] == "max_lifetime"


@pytest.mark.parametrize("refreshed", [0, 1])
def test_tokens_of_earlier_generations_stop_without_grace_and_end_nothing(device, refreshed):
    first = dict(device.tokens)
    for _ in range(refreshed):
        device.refresh()
    last = dict(device.tokens)
    assert give_password(device).status_code == 200
    new = dict(device.tokens)
    # Its answer was received. Until then the password may be given once more.
    assert device.call().status_code == 200
    for stale in (first, last):
        response = device.post("token", {"grant_type": "refresh_token", "refresh_token": stale["refresh_token"]})
        assert code(response) == (400, "INVALID_TOKEN", True)
        device.tokens = stale
        assert device.call().status_code == 401
        assert give_password(device).status_code == 401
    device.tokens = new
    assert device.call().status_code == 200
    assert device.refresh().status_code == 200
    assert Session.objects.get().ended_at is None


def test_reuse_is_noticed_still_among_the_generations_since(device):
    give_password(device)
    stolen = device.tokens["refresh_token"]
    for _ in range(2):
        device.refresh()
        device.call()
    with override_settings(JWT_SESSIONS={"REUSE_GRACE_PERIOD": timedelta(0), "LOST_RESPONSE_WINDOW": timedelta(0)}):
        assert code(device.refresh(stolen)) == (400, "INVALID_TOKEN", True)
    assert Session.objects.get().end_reason == "token_reuse"


@pytest.mark.parametrize("password", ["wrong", " ", PASSWORD.upper()])
def test_a_wrong_password_changes_nothing(device, password):
    before, rows = Session.objects.values().get(), RefreshToken.objects.count()
    response = give_password(device, password)
    assert code(response) == (401, "INVALID_CREDENTIALS", False)
    assert (Session.objects.values().get(), RefreshToken.objects.count()) == (before, rows)
    assert device.call().status_code == 200
    assert device.refresh().status_code == 200


def test_the_password_of_another_user_is_a_wrong_one(device):
    UserFactory(password="open sesame, please")
    assert code(give_password(device, "open sesame, please")) == (401, "INVALID_CREDENTIALS", False)


def test_a_thief_with_an_access_token_may_not_guess_passwords_without_limit(device, jwt_settings):
    jwt_settings(LOGIN_THROTTLE="3/min")
    for _ in range(3):
        assert code(give_password(device, "wrong"))[1] == "INVALID_CREDENTIALS"
    response = give_password(device)
    assert code(response) == (429, "THROTTLED", False)
    assert int(response.headers["Retry-After"]) > 0
    assert device.call().status_code == 200


@pytest.mark.parametrize("token", [None, "garbage", "ended"])
def test_without_a_good_token_the_password_is_not_looked_at(device, user, token):
    headers = {} if token is None else device.bearer
    if token == "garbage":
        headers = {"Authorization": "Bearer a.b.c"}
    if token == "ended":
        sessions.end_all(user, reason="logout")
    response = device.post("reauthenticate", {"password": PASSWORD}, **headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert Session.objects.get().generation == 0


@pytest.mark.parametrize("parameters", [{}, {"password": ""}, {"password": ["x"]}, {"password": None}])
def test_a_missing_password_is_named(device, parameters):
    response = device.post("reauthenticate", parameters, **device.bearer)
    assert code(response) == (400, "INVALID_REQUEST", False)
    assert response.json()["field"] == "password"


def test_by_cookie_the_new_refresh_token_is_in_no_body(user):
    device = Device(user).sign_in(delivery="cookie")
    before = device.http.cookies[COOKIE].value
    response = give_password(device, delivery="cookie")
    assert "refresh_token" not in response.json()
    cookie = response.cookies[COOKIE]
    assert cookie.value != before
    assert (cookie["httponly"], cookie["secure"], cookie["samesite"]) == (True, True, "Strict")
    assert device.post("token", {"grant_type": "refresh_token"}).status_code == 200


def test_a_foreign_site_may_not_ask_for_the_cookie(device):
    origin = {**device.bearer, "Origin": "https://evil.example"}
    response = device.post("reauthenticate", {"password": PASSWORD, "delivery": "cookie"}, **origin)
    assert response.status_code == 403
    assert Session.objects.get().generation == 0


# By what a session is known


def test_a_session_whose_access_token_ran_out_while_the_prompt_was_open_goes_on(clock, device):
    clock.shift(timedelta(hours=1))
    assert code(device.call())[1] == "EXPIRED_TOKEN"
    assert give_password(device).status_code == 200
    assert device.call().status_code == 200


def test_a_session_is_known_by_its_refresh_token(device):
    sid, token = device.tokens["session_id"], device.tokens["refresh_token"]
    response = device.post("reauthenticate", {"password": PASSWORD, "refresh_token": token})
    assert (response.status_code, response.json()["session_id"]) == (200, sid)
    assert response.json()["refresh_token"] != token


@pytest.mark.parametrize("rotated", [False, True])
def test_a_session_is_known_by_its_cookie_current_or_honoured(user, rotated):
    device = Device(user).sign_in(delivery="cookie")
    first = device.http.cookies[COOKIE].value
    if rotated:
        assert device.post("token", {"grant_type": "refresh_token"}).status_code == 200
        device.http.cookies[COOKIE] = first
    response = device.post("reauthenticate", {"password": PASSWORD})
    assert response.status_code == 200
    assert "refresh_token" not in response.json()
    assert device.post("token", {"grant_type": "refresh_token"}).status_code == 200


def test_attack_a_foreign_site_gives_no_password_by_the_cookie(user):
    device = Device(user).sign_in(delivery="cookie")
    response = device.post("reauthenticate", {"password": PASSWORD}, Origin="https://evil.example")
    assert response.status_code == 403
    assert Session.objects.get().generation == 0


def test_the_answer_follows_the_delivery_of_the_session(user):
    """A cookie session got its refresh token in the body and kept a dead cookie: the next reload signed it out."""
    by_cookie, by_body = Device(user).sign_in(delivery="cookie"), Device(user).sign_in()
    assert "refresh_token" not in give_password(by_cookie).json()
    assert by_cookie.post("token", {"grant_type": "refresh_token"}).status_code == 200
    response = give_password(by_body)
    assert "refresh_token" in response.json()
    assert COOKIE not in response.cookies
    by_body.http.cookies[COOKIE] = by_cookie.http.cookies[COOKIE].value
    assert "refresh_token" in give_password(by_body).json()


def test_an_idle_tenant_is_opened_with_an_access_token_that_has_expired(clock, user, jwt_settings):
    jwt_settings(TENANTS=lambda user: ["acme"])
    SessionPolicy.objects.create(tenant="acme", idle_timeout=2 * MINUTE)
    device = Device(user).sign_in(tenantId="acme")
    clock.shift(timedelta(minutes=10))
    assert code(device.refresh(tenantId="acme"))[1] == "TENANT_IDLE"
    assert give_password(device, tenantId="acme").json()["tenantId"] == "acme"
    assert device.call().status_code == 200


@pytest.mark.parametrize("body", [{}, {"password": PASSWORD}, {"password": ["x"]}])
def test_nobody_is_challenged_and_not_told_of_parameters(db, client, body):
    response = client.post("/auth/reauthenticate/", body, content_type="application/json")
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")


# How the user was authenticated


def test_a_login_says_that_a_password_was_given(device):
    assert claims(device)["amr"] == ["pwd"]
    device.refresh()
    assert claims(device)["amr"] == ["pwd"]
    assert "amr" not in jwt.decode(sessions.start(device.user).access_token, options={"verify_signature": False})


def test_own_ways_of_signing_in_say_how(device):
    pair = sessions.start(device.user, amr=("pwd", "otp"))
    device.tokens = {"access_token": pair.access_token}
    assert claims(device)["amr"] == ["pwd", "otp"]
    pair = sessions.reauthenticated(pair.session, amr=["hwk"])
    device.tokens = {"access_token": pair.access_token}
    assert claims(device)["amr"] == ["hwk"]


@pytest.mark.parametrize("amr", ["pwd", ["two words"], [""], ["é"], ['"'], ["x" * 101]])
def test_what_is_no_name_of_a_method_is_refused(user, amr):
    with pytest.raises(ValueError, match="RFC 8176"):
        sessions.start(user, amr=amr)
    assert not Session.objects.exists()


# The mark of the user


def test_a_marked_user_cannot_refresh_until_the_password_is_given(clock, device, user):
    clock.shift(MINUTE)
    token = device.tokens["refresh_token"]
    sessions.require_reauthentication(user)
    assert code(device.refresh()) == (400, "REAUTHENTICATION_REQUIRED", False)
    assert device.call().status_code == 200
    assert Session.objects.get().ended_at is None
    clock.shift(MINUTE)
    assert Device(user).sign_in().refresh().status_code == 200
    assert code(device.refresh(token))[1] == "REAUTHENTICATION_REQUIRED"
    assert give_password(device).status_code == 200
    assert device.refresh().status_code == 200


@pytest.mark.parametrize("late", [0, 1])
def test_a_session_of_the_moment_of_the_mark_is_not_older_than_it(clock, user, late):
    sessions.require_reauthentication(user)
    clock.shift(timedelta(seconds=late))
    assert Device(user).sign_in().refresh().status_code == 200


# RequireRecentLogin and RequireTenant


@pytest.fixture
def views(settings, jwt_settings):
    settings.ROOT_URLCONF = __name__
    jwt_settings(ACCESS_TOKEN_LIFETIME=timedelta(hours=1), TENANTS=lambda user: ["acme"])


@pytest.mark.parametrize(("age", "status"), [(0, 200), (599, 200), (600, 401), (601, 401)])
def test_a_recent_login_is_required_with_the_challenge_of_rfc_9470(clock, views, device, age, status):
    device.refresh()
    clock.shift(timedelta(seconds=age))
    response = device.http.post("/transfer/", headers=device.bearer)
    assert response.status_code == status
    if status == 401:
        challenge = response.headers["WWW-Authenticate"]
        assert challenge.startswith("Bearer ")
        assert 'error="insufficient_user_authentication"' in challenge
        assert 'max_age="600"' in challenge
        assert code(response) == (401, "REAUTHENTICATION_REQUIRED", False)
        assert response.json()["max_age"] == 600
        assert device.refresh().status_code == 200
        assert device.http.post("/transfer/", headers=device.bearer).status_code == 401
        assert give_password(device).status_code == 200
        assert device.http.post("/transfer/", headers=device.bearer).status_code == 200


def test_methods_are_required_with_the_challenge_that_names_them(clock, views, device):
    response = device.http.post("/vault/", headers=device.bearer)
    assert code(response) == (401, "REAUTHENTICATION_REQUIRED", False)
    assert (response.json()["amr"], response.json()["max_age"]) == (["otp", "pwd"], 600)
    assert 'acr_values="otp pwd"' in response.headers["WWW-Authenticate"]
    pair = sessions.reauthenticated(Session.objects.get(), amr=("pwd", "otp"))
    device.tokens = {"access_token": pair.access_token}
    assert device.http.post("/vault/", headers=device.bearer).status_code == 200
    clock.shift(timedelta(minutes=10))
    assert device.http.post("/vault/", headers=device.bearer).status_code == 401


def test_a_recent_login_is_asked_of_nobody_without_a_token(views, db, client):
    response = client.post("/transfer/")
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_a_tenant_is_required(views, device):
    assert device.http.get("/invoices/", headers=device.bearer).status_code == 403
    assert device.refresh(tenantId="acme").status_code == 200
    assert device.http.get("/invoices/", headers=device.bearer).json() == {"of": "acme"}


# renew/


@pytest.fixture
def sliding(clock, jwt_settings, user):
    jwt_settings(ALLOW_RENEWAL=True)
    return Device(user).sign_in()


def test_renewal_is_not_there_unless_it_is_turned_on(device):
    assert renew(device).status_code == 404


def test_renewal_slides_the_access_token_along_and_leaves_the_refresh_token_alone(clock, sliding):
    before = claims(sliding)
    for _ in range(5):
        clock.shift(4 * MINUTE)
        response = renew(sliding)
        assert response.status_code == 200
        assert "refresh_token" not in response.json()
        assert response.json()["expires_in"] == 300
    after = claims(sliding)
    assert (after["sid"], after["gen"], after["auth_time"]) == (before["sid"], 0, before["auth_time"])
    assert after["jti"] != before["jti"]
    assert sliding.call().status_code == 200
    assert sliding.refresh().status_code == 200


def test_renewal_counts_as_activity_unless_it_is_in_the_background(clock, sliding, jwt_settings):
    jwt_settings(ALLOW_RENEWAL=True, IDLE_TIMEOUT=6 * MINUTE)
    clock.shift(4 * MINUTE)
    assert renew(sliding).status_code == 200
    clock.shift(4 * MINUTE)
    assert renew(sliding, background=True).json()["expires_in"] == 120
    clock.shift(2 * MINUTE - SECOND)
    assert sliding.call(**{"X-Session-Background": "1"}).status_code == 200
    clock.shift(SECOND)
    assert renew(sliding).status_code == 401
    assert sliding.refresh().json()["reason"] == "idle_timeout"


@pytest.mark.parametrize(
    "changes", [{"MAX_SESSION_LIFETIME": timedelta(minutes=7)}, {"REFRESH_TOKEN_LIFETIME": timedelta(minutes=7)}]
)
def test_renewal_never_goes_past_a_deadline(clock, jwt_settings, user, changes):
    jwt_settings(ALLOW_RENEWAL=True, **changes)
    device = Device(user).sign_in()
    clock.shift(4 * MINUTE)
    assert renew(device).json()["expires_in"] == 180
    clock.shift(3 * MINUTE - SECOND)
    assert renew(device).json()["expires_in"] == 1
    clock.shift(SECOND)
    assert code(renew(device)) == (401, "EXPIRED_TOKEN", False)


def test_an_expired_access_token_is_not_renewed(clock, sliding):
    clock.shift(5 * MINUTE)
    assert code(renew(sliding)) == (401, "EXPIRED_TOKEN", False)


def test_the_access_token_of_an_ended_session_is_not_renewed(sliding, user):
    sessions.end_all(user, reason="ended_by_admin")
    assert renew(sliding).json()["reason"] == "ended_by_admin"


def test_a_policy_bites_a_renewed_token(clock, sliding):
    SessionPolicy.objects.create(audience="api", max_lifetime=2 * MINUTE)
    assert renew(sliding).json()["expires_in"] == 120


# softexp


@pytest.fixture
def soft(clock, jwt_settings, user):
    jwt_settings(ALLOW_RENEWAL=True, SOFT_EXPIRY=2 * MINUTE)
    return Device(user).sign_in()


def test_a_token_past_its_soft_expiry_is_expired_for_resources_yet_renewable(clock, soft):
    issued = claims(soft)
    assert (issued["softexp"], issued["exp"]) == (issued["iat"] + 120, issued["iat"] + 300)
    clock.shift(2 * MINUTE - SECOND)
    assert soft.call().status_code == 200
    clock.shift(SECOND)
    assert code(soft.call()) == (401, "EXPIRED_TOKEN", False)
    assert renew(soft).status_code == 200
    assert soft.call().status_code == 200
    clock.shift(5 * MINUTE)
    assert renew(soft).status_code == 401


def test_soft_expiry_is_never_after_expiry(clock, soft, jwt_settings):
    jwt_settings(SOFT_EXPIRY=2 * MINUTE, MAX_SESSION_LIFETIME=MINUTE)
    assert soft.refresh().status_code == 200
    assert claims(soft)["softexp"] == claims(soft)["exp"]


def test_without_soft_expiry_there_is_no_such_claim(device):
    assert "softexp" not in claims(device)


# Others change the session meanwhile


def losing(monkeypatch, times):
    """Another request is first, so many times."""
    left = iter(range(times))
    advance = SessionQuerySet.advance
    monkeypatch.setattr(
        SessionQuerySet, "advance", lambda *row: False if next(left, None) is not None else advance(*row)
    )


def test_a_password_given_while_another_tab_refreshes_counts(device, monkeypatch):
    losing(monkeypatch, 2)
    response = device.post("reauthenticate", {"password": PASSWORD}, **device.bearer)
    assert response.status_code == 200
    assert Session.objects.get().generation == 1


def test_who_never_gets_a_turn_is_refused_and_changes_nothing(device, monkeypatch):
    losing(monkeypatch, 100)
    response = device.post("reauthenticate", {"password": PASSWORD}, **device.bearer)
    assert code(response) == (503, "ISSUE_FAILED", False)
    assert Session.objects.get().generation == 0


def test_a_session_that_ends_while_the_password_is_looked_at_stays_ended(device, monkeypatch):
    def verify(request, username, password):
        sessions.end(Session.objects.get(), reason="logout")
        return device.user

    monkeypatch.setattr(by_password, "verify_password", verify)
    response = device.post("reauthenticate", {"password": PASSWORD}, **device.bearer)
    assert code(response) == (401, "SESSION_ENDED", True)
    assert response.json()["reason"] == "logout"
    assert Session.objects.get().end_reason == "logout"
