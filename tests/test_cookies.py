"""The refresh cookie: how it is set, and who may use it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from jwt_sessions import sessions
from jwt_sessions.models import RefreshToken, Session
from tests.clients import Device
from tests.factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db

NAME = "__Host-Http-jwt_sessions_refresh"
REFRESH = {"grant_type": "refresh_token"}
HOST = "api.example.com"
EVIL = "https://evil.example"


@pytest.fixture
def browser(user, settings) -> Device:
    """A browser that holds the refresh token in its cookie, at a site of two hosts that trusts some others."""
    settings.ALLOWED_HOSTS = [HOST, "testserver"]
    settings.CSRF_TRUSTED_ORIGINS = [
        "https://app.example.com",
        "https://*.partner.example",
        "http://localhost:3000",
        "https://*.ports.example:8443",
    ]
    return Device(user).sign_in(delivery="cookie")


def state():
    """All that a refused request could have changed."""
    return list(Session.objects.values()), list(RefreshToken.objects.values())


def test_with_delivery_by_cookie_the_token_is_in_no_body(browser):
    assert "refresh_token" not in browser.tokens
    assert browser.http.cookies[NAME].value.startswith("jsr_")
    assert browser.call().status_code == 200


@pytest.mark.parametrize("parameters", [{}, {"delivery": "body"}])
def test_without_it_there_is_no_cookie(user, parameters):
    device = Device(user).sign_in(**parameters)
    device.refresh()
    assert "refresh_token" in device.tokens
    assert not device.http.cookies


@pytest.mark.parametrize(
    ("cookie", "name"),
    [
        ({}, NAME),
        ({"NAME": "rt"}, "__Host-Http-rt"),
        ({"SAMESITE": "None"}, NAME),
        ({"PATH": "/auth/"}, "jwt_sessions_refresh"),
        ({"DOMAIN": "example.com"}, "jwt_sessions_refresh"),
        ({"SECURE": False}, "jwt_sessions_refresh"),
        ({"NAME": "rt", "SECURE": False, "SAMESITE": "Lax"}, "rt"),
    ],
)
def test_the_cookie_is_set_used_and_cleared_as_the_settings_say(clock, user, jwt_settings, cookie, name):
    jwt_settings(COOKIE=cookie)
    device = Device(user).sign_in(delivery="cookie")
    signed_in = device.http.cookies[name]
    device.post("token", REFRESH)
    refreshed = device.http.cookies[name]
    assert refreshed.value != signed_in.value
    device.post("logout")
    cleared = device.http.cookies[name]
    assert list(device.http.cookies) == [name]
    for morsel in (signed_in, refreshed, cleared):
        assert morsel["httponly"] is True
        assert (morsel["secure"] or False) is cookie.get("SECURE", True)
        assert morsel["samesite"] == cookie.get("SAMESITE", "Strict")
        assert morsel["path"] == cookie.get("PATH", "/")
        assert morsel["domain"] == cookie.get("DOMAIN", "")
    assert signed_in["max-age"] == refreshed["max-age"] == 7 * 86400
    assert (cleared.value, cleared["max-age"]) == ("", 0)
    assert Session.objects.get().end_reason == "logout"


@pytest.mark.parametrize(
    ("limits", "max_age"),
    [
        ({"MAX_SESSION_LIFETIME": timedelta(hours=2)}, 7200),
        ({"REFRESH_TOKEN_LIFETIME": None, "MAX_SESSION_LIFETIME": None}, ""),
    ],
)
def test_the_cookie_lives_as_long_as_the_session(clock, user, jwt_settings, limits, max_age):
    jwt_settings(**limits)
    device = Device(user).sign_in(delivery="cookie")
    assert device.http.cookies[NAME]["max-age"] == max_age


def test_a_refresh_by_cookie_answers_by_cookie(browser):
    before = browser.http.cookies[NAME].value
    response = browser.post("token", REFRESH)
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    assert "refresh_token" not in response.json()
    assert response.cookies[NAME].value != before


def test_a_token_in_the_body_comes_before_the_cookie_and_is_answered_in_the_body(browser, user):
    app = Device(user).sign_in()
    response = browser.post("token", {**REFRESH, "refresh_token": app.tokens["refresh_token"]}, origin=EVIL)
    assert response.status_code == 200
    assert response.json()["session_id"] == app.tokens["session_id"]
    assert "refresh_token" in response.json()
    assert not response.cookies


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_token_in_the_body_leaves_it_to_the_cookie(browser, empty):
    response = browser.post("token", {**REFRESH, "refresh_token": empty})
    assert (response.status_code, response.json()["session_id"]) == (200, browser.tokens["session_id"])


def test_an_empty_cookie_is_none(browser):
    browser.http.cookies[NAME] = ""
    response = browser.post("token", REFRESH)
    assert (response.status_code, response.json()["code"]) == (400, "NO_SESSION")


# Who may use the cookie. The request goes to https://api.example.com.
ACCEPTED = [
    ({}, "no browser"),
    ({"origin": "https://api.example.com"}, "own origin"),
    ({"origin": "https://api.example.com", "sec-fetch-site": "same-origin"}, "own page"),
    ({"sec-fetch-site": "same-origin"}, "own page without origin"),
    ({"sec-fetch-site": "none"}, "typed by the user"),
    ({"origin": "https://app.example.com", "sec-fetch-site": "same-site"}, "trusted"),
    ({"origin": "https://app.example.com"}, "trusted, old browser"),
    ({"origin": "https://app.example.com", "sec-fetch-site": "cross-site"}, "trusted, cross-site"),
    ({"origin": "https://shop.partner.example", "sec-fetch-site": "cross-site"}, "wildcard"),
    ({"origin": "https://a.b.partner.example", "sec-fetch-site": "cross-site"}, "wildcard, deep"),
    ({"origin": "http://localhost:3000", "sec-fetch-site": "cross-site"}, "trusted with a port"),
    ({"origin": "https://eu.ports.example:8443"}, "wildcard with a port"),
    ({"origin": "null", "sec-fetch-site": "same-origin"}, "opaque origin, own page"),
    ({"origin": EVIL, "sec-fetch-site": "same-origin"}, "the browser knows better than the proxy"),
    ({"origin": EVIL, "sec-fetch-site": "none"}, "foreign origin, typed by the user"),
]
REFUSED = [
    ({"origin": EVIL}, "foreign"),
    ({"origin": EVIL, "sec-fetch-site": "cross-site"}, "foreign page"),
    ({"origin": EVIL, "sec-fetch-site": "same-site"}, "foreign origin, same site"),
    ({"sec-fetch-site": "cross-site"}, "foreign page without origin"),
    ({"sec-fetch-site": "same-site"}, "sibling without origin"),
    ({"origin": "https://www.example.com", "sec-fetch-site": "same-site"}, "sibling"),
    ({"origin": "null"}, "opaque"),
    ({"origin": "null", "sec-fetch-site": "cross-site"}, "opaque, foreign page"),
    ({"origin": ""}, "empty"),
    ({"origin": "http://api.example.com"}, "own host over http"),
    ({"origin": "https://api.example.com:8443"}, "own host, other port"),
    ({"origin": "https://api.example.com.evil.example"}, "own host as a prefix"),
    ({"origin": "https://evil-api.example.com"}, "own host as a suffix"),
    ({"origin": "https://app.example.com:444"}, "trusted host, other port"),
    ({"origin": "http://app.example.com"}, "trusted host over http"),
    ({"origin": "https://sub.app.example.com"}, "below a trusted host without a wildcard"),
    ({"origin": "https://evilpartner.example"}, "wildcard without the dot"),
    ({"origin": "https://shop.partner.example.evil.example"}, "wildcard as a prefix"),
    ({"origin": "https://shop.partner.example:8443"}, "wildcard, other port"),
    ({"origin": "http://localhost:3001"}, "trusted with another port"),
    ({"origin": "http://localhost"}, "trusted without its port"),
    ({"origin": "https://eu.ports.example"}, "wildcard with a port, without it"),
    ({"origin": "https://["}, "no URL"),
    ({"origin": "api.example.com"}, "host without scheme"),
    ({"sec-fetch-site": ""}, "empty fetch metadata"),
    ({"sec-fetch-site": "Same-Origin"}, "unknown fetch metadata"),
]


def identified(table):
    return [pytest.param(headers, id=name) for headers, name in table]


def send(browser, name, data=None, **headers):
    url = reverse(f"jwt_sessions:{name}")
    headers = {"host": HOST, **headers}
    return browser.http.post(url, data or {}, content_type="application/json", secure=True, headers=headers)


@pytest.mark.parametrize("headers", identified(ACCEPTED))
def test_the_cookie_is_accepted_from_this_origin_or_a_trusted_one(browser, headers):
    assert send(browser, "token", REFRESH, **headers).status_code == 200


@pytest.mark.parametrize("headers", identified(REFUSED))
def test_a_foreign_site_cannot_use_the_cookie_to_refresh(browser, headers):
    before = state()
    response = send(browser, "token", REFRESH, **headers)
    assert response.status_code == 403
    assert (response.json()["error"], response.json()["code"]) == ("invalid_request", "INVALID_REQUEST")
    assert response.json()["terminal"] is False
    assert not response.cookies
    assert state() == before


@pytest.mark.parametrize("headers", identified(ACCEPTED))
def test_a_sign_out_by_cookie_is_accepted_from_this_origin_or_a_trusted_one(browser, headers):
    assert send(browser, "logout", **headers).status_code == 204
    assert Session.objects.get().end_reason == "logout"


@pytest.mark.parametrize("headers", identified(REFUSED))
def test_a_foreign_site_cannot_sign_a_visitor_out(browser, headers):
    before = state()
    response = send(browser, "logout", **headers)
    assert response.status_code == 403
    assert set(response.json()) == {"detail", "code", "terminal"}
    assert not response.cookies
    assert state() == before


@pytest.mark.parametrize("headers", identified(REFUSED))
def test_a_foreign_site_cannot_sign_a_visitor_in_to_its_own_account(browser, user, headers):
    before = state()
    credentials = {"email": user.email, "password": PASSWORD, "delivery": "cookie"}
    response = send(browser, "login", credentials, **headers)
    assert response.status_code == 403
    assert not response.cookies
    assert state() == before


def test_a_sign_in_from_a_trusted_site_sets_the_cookie(browser, user):
    credentials = {"email": user.email, "password": PASSWORD, "delivery": "cookie"}
    response = send(browser, "login", credentials, origin="https://app.example.com")
    assert (response.status_code, NAME in response.cookies) == (200, True)


def test_a_sign_in_by_body_may_come_from_anywhere(browser, user):
    response = send(browser, "login", {"email": user.email, "password": PASSWORD}, origin=EVIL)
    assert (response.status_code, bool(response.cookies)) == (200, False)


def test_a_wildcard_for_every_host_trusts_nobody(browser, settings):
    settings.CSRF_TRUSTED_ORIGINS = ["https://*"]
    assert send(browser, "token", REFRESH, origin=EVIL).status_code == 403


@pytest.mark.parametrize("headers", [{"origin": EVIL}, {"sec-fetch-site": "cross-site"}])
@pytest.mark.parametrize("presents", ["bearer", "body"])
def test_who_presents_a_token_besides_the_cookie_is_believed_wherever_it_comes_from(browser, user, presents, headers):
    app = Device(user).sign_in()
    if presents == "bearer":
        response = send(browser, "logout", **app.bearer, **headers)
    else:
        response = send(browser, "logout", {"refresh_token": app.tokens["refresh_token"]}, **headers)
    assert response.status_code == 204
    assert Session.objects.get(pk=app.tokens["session_id"]).end_reason == "logout"
    assert Session.objects.get(pk=browser.tokens["session_id"]).ended_at is None


def test_a_foreign_site_without_the_cookie_is_answered_like_anybody_without_a_token(browser):
    browser.http.cookies.clear()
    assert send(browser, "logout", origin=EVIL).status_code == 204
    assert send(browser, "token", REFRESH, origin=EVIL).json()["code"] == "NO_SESSION"


def end(session):
    session.ended_at, session.end_reason = session.created_at, "logout"


def expire(session):
    session.refresh_expires_at = session.created_at


@pytest.mark.parametrize(
    ("happens", "code"), [(end, "SESSION_ENDED"), (expire, "SESSION_ENDED"), (None, "INVALID_TOKEN")]
)
def test_a_stale_refresh_neither_sets_nor_clears_a_cookie(browser, happens, code):
    # Another tab may have signed in since: its cookie is alive.
    session = Session.objects.get()
    if happens is None:
        session.delete()
    else:
        happens(session)
        session.save()
    response = browser.post("token", REFRESH)
    assert (response.status_code, response.json()["code"]) == (400, code)
    assert not response.cookies


def test_a_reused_cookie_ends_the_session_and_is_not_cleared(clock, browser):
    stolen = browser.http.cookies[NAME].value
    browser.tokens = browser.post("token", REFRESH).json()
    browser.call()
    clock.shift(timedelta(seconds=31))
    browser.http.cookies[NAME] = stolen
    response = browser.post("token", REFRESH)
    assert (response.status_code, response.json()["code"]) == (400, "INVALID_TOKEN")
    assert not response.cookies
    assert Session.objects.get().end_reason == "token_reuse"


def test_a_token_that_stays_the_current_one_is_not_set_again(clock, browser):
    """A slow answer would put it in place of a newer token that overtook it, and its next use would be reuse."""
    browser.post("token", REFRESH)
    held = browser.http.cookies[NAME].value
    browser.call(Authorization=f"Bearer {browser.post('token', REFRESH).json()['access_token']}")
    clock.shift(timedelta(seconds=29))
    slow = browser.post("token", REFRESH)
    assert browser.http.cookies[NAME].value == held
    clock.shift(timedelta(seconds=2))
    overtaking = browser.post("token", REFRESH)
    assert overtaking.cookies[NAME].value != held
    # The browser takes what the slow answer sets only now.
    browser.http.cookies.update(slow.cookies)
    assert not slow.cookies
    clock.shift(timedelta(minutes=4))
    assert browser.post("token", REFRESH).status_code == 200


def test_tabs_that_share_a_cookie_converge_on_one_token(browser):
    cookie = browser.http.cookies[NAME].value
    first = browser.post("token", REFRESH).cookies[NAME].value
    browser.http.cookies[NAME] = cookie
    second = browser.post("token", REFRESH).cookies[NAME].value
    assert first == second


@pytest.mark.parametrize("presented", [{}, {"refresh_token": "garbage"}])
def test_a_sign_out_clears_the_cookie_whatever_was_presented(browser, presented):
    response = browser.post("logout", presented)
    assert response.status_code == 204
    assert (response.cookies[NAME].value, response.cookies[NAME]["max-age"]) == ("", 0)


@pytest.mark.parametrize("how", ["end-all", "delete-current"])
def test_ending_the_own_session_clears_the_cookie(browser, how):
    if how == "end-all":
        response = browser.post("session-end-all", **browser.bearer)
    else:
        response = browser.http.delete(reverse("jwt_sessions:session-detail", args=["current"]), headers=browser.bearer)
    assert response.cookies[NAME].value == ""


def test_ending_other_sessions_leaves_the_cookie(browser, user):
    other = Device(user).sign_in()
    url = reverse("jwt_sessions:session-detail", args=[other.tokens["session_id"]])
    assert not browser.http.delete(url, headers=browser.bearer).cookies
    assert not browser.post("session-end-others", **browser.bearer).cookies


# What counts as our cookie


@pytest.mark.parametrize("space", ["\u2000", "\u00a0", "\x0b", "\x1c", "\u3000"])
def test_attack_a_sibling_subdomain_sets_a_cookie_that_differs_by_a_space(browser, user, space):
    """Django would strip the space and take the last: the victim would act as the attacker."""
    attacker = sessions.start(UserFactory())
    own = browser.http.cookies[NAME].value
    tossed = f"{space}{NAME}={attacker.refresh_token}".encode().decode("latin-1")
    response = Client(HTTP_COOKIE=f"{NAME}={own}; {tossed}").post("/auth/token/", REFRESH)
    assert response.json()["session_id"] == browser.tokens["session_id"]
    response = Client(HTTP_COOKIE=tossed).post("/auth/token/", REFRESH)
    assert (response.status_code, response.json()["code"]) == (400, "NO_SESSION")


def test_of_several_cookies_of_the_name_the_first_counts(browser):
    """Browsers send the one with the longest path first (RFC 6265 §5.4); a sibling's comes behind."""
    own, other = browser.http.cookies[NAME].value, sessions.start(UserFactory()).refresh_token
    response = Client(HTTP_COOKIE=f"a=b; {NAME}={own};{NAME}={other}").post("/auth/token/", REFRESH)
    assert response.json()["session_id"] == browser.tokens["session_id"]


@pytest.mark.parametrize("presented", [{}, {"refresh_token": "x"}, {"refresh_token": 7}])
def test_attack_a_foreign_site_signs_nobody_out(browser, presented):
    """A Strict cookie does not come along, so its clearing would be all that such a form did."""
    browser.http.cookies.clear()
    response = send(browser, "logout", presented, origin=EVIL)
    assert response.status_code == 204
    assert NAME not in response.cookies


def test_attack_a_token_in_the_body_carries_a_foreign_site_past_the_rule_for_the_cookie(browser):
    response = send(browser, "logout", {"refresh_token": "x"}, origin=EVIL)
    assert response.status_code == 204
    assert NAME not in response.cookies
    assert Session.objects.get(pk=browser.tokens["session_id"]).ended_at is None


@pytest.mark.parametrize("bearer", ["garbage", "expired long ago", ""])
def test_an_unusable_bearer_does_not_keep_the_session_of_the_cookie_alive(browser, bearer):
    response = browser.post("logout", Authorization=f"Bearer {bearer}")
    assert response.status_code == 204
    assert response.cookies[NAME]["max-age"] == 0
    assert Session.objects.get(pk=browser.tokens["session_id"]).end_reason == "logout"
