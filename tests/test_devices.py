"""The devices page: who sees it, what it shows, and what changes from it."""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.urls import resolve, reverse
from django.utils import translation

from example_project.accounts.models import User
from jwt_sessions import sessions
from jwt_sessions.devices import recent_login
from jwt_sessions.exceptions import EndReason, SessionEnded
from jwt_sessions.http.cookies import refresh_cookie
from jwt_sessions.models import RefreshToken, Session
from tests.clients import CHROME, Device
from tests.documentation import ROOT
from tests.factories import PASSWORD, UserFactory
from tests.statements import READ, statements

pytestmark = pytest.mark.django_db

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"
NAME = "__Host-Http-jwt_sessions_refresh"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LIST = "/devices/"


class Page(HTMLParser):
    """What tests ask of a page: its text, its elements, and the accessible names of its buttons."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.by_tag: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(response.content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag in ("meta", "link", "input"):
            self._open.pop()
        self.by_tag.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        for tag in {*self._open}:
            self.by_tag[tag][-1] += data

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    def texts_of(self, tag: str) -> list[str]:
        return [" ".join(text.split()) for text in self.by_tag.get(tag, [])]

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for each, attributes in self.elements if each == tag]

    @property
    def status(self) -> str | None:
        """What the page says it has done, in an element that gets the focus by the fragment."""
        found = [attributes for _tag, attributes in self.elements if attributes.get("role") == "status"]
        if not found:
            return None
        assert [(each["id"], each["tabindex"]) for each in found] == [("status", "-1")]
        return " ".join(re.search(r'id="status"[^>]*>([^<]*)<', self.rawdata_kept)[1].split())

    def feed(self, data: str) -> None:
        self.rawdata_kept = data
        super().feed(data)


def page(client: Client, url: str = LIST, **options: Any) -> Page:
    return Page(client.get(url, **options))


@pytest.fixture
def browser(user) -> Device:
    """A browser that holds the refresh token in its cookie."""
    return Device(user).sign_in(delivery="cookie")


@pytest.fixture
def laptop(user) -> Device:
    """Another device of the same user."""
    return Device(user, user_agent=FIREFOX).sign_in(device_name="Work laptop")


@pytest.fixture
def logged_in(user) -> Client:
    """A browser whose user Django has logged in."""
    client = Client(headers={"user-agent": CHROME})
    client.force_login(user)
    return client


def sid(device: Device) -> str:
    return device.tokens["session_id"]


def url(name: str, device: Device | None = None) -> str:
    return reverse(f"jwt_sessions_devices:{name}", args=[] if device is None else [sid(device)])


def ended(device: Device) -> str:
    return Session.objects.get(pk=sid(device)).end_reason


def followed(client: Client, response: HttpResponse) -> Page:
    assert (response.status_code, response["Location"]) == (303, f"{LIST}#status")
    assert response["Cache-Control"] == "no-store"
    return page(client)


# Who sees it


def test_whoever_the_refresh_cookie_belongs_to_sees_it(browser, laptop):
    shown = page(browser.http)
    assert shown.texts_of("h1") == ["Your devices"]
    assert "Chrome on Windows This device" in shown.text
    assert "Work laptop Firefox on Linux" in shown.text


def test_who_is_logged_in_to_django_sees_it(logged_in, laptop):
    shown = page(logged_in)
    assert "Work laptop Firefox on Linux" in shown.text
    assert "This device" not in shown.text
    assert url("end-others") not in [link.get("href") for link in shown.attributes("a")]


def test_djangos_user_counts_more_than_a_cookie_of_another(logged_in, laptop):
    stranger = Device(UserFactory()).sign_in(delivery="cookie", device_name="Stranger")
    logged_in.cookies[NAME] = stranger.http.cookies[NAME].value
    shown = page(logged_in)
    assert "Work laptop" in shown.text
    assert "Stranger" not in shown.text
    assert "This device" not in shown.text
    assert logged_in.post(url("end", stranger)).status_code == 303
    assert ended(stranger) == ""
    logged_in.post(url("end-all"))
    assert (ended(laptop), ended(stranger)) == ("ended_by_user", "")
    assert logged_in.cookies[NAME].value == stranger.http.cookies[NAME].value


def test_djangos_user_with_the_own_cookie_is_on_this_device(logged_in, browser, laptop):
    logged_in.cookies[NAME] = browser.http.cookies[NAME].value
    assert "Chrome on Windows This device" in page(logged_in).text


@pytest.mark.parametrize("cookie", [None, "", "jsr_x", "garbage", "jsr_" + "A" * 120])
def test_signed_out_the_page_says_so_and_where_to_sign_in(db, settings, cookie):
    settings.LOGIN_URL = "/sign-in/"
    client = Client()
    if cookie is not None:
        client.cookies[NAME] = cookie
    response = client.get(LIST)
    shown = Page(response)
    assert response.status_code == 403
    assert response["Cache-Control"] == "no-store"
    assert shown.texts_of("h1") == ["You are not signed in"]
    assert [link["href"] for link in shown.attributes("a")] == ["/sign-in/?next=/devices/"]


@pytest.mark.parametrize("name", ["end-others", "end-all", "end", "rename"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_signed_out_nothing_is_changed(browser, laptop, name, method):
    address = url(name, laptop if name in ("end", "rename") else None)
    response = getattr(Client(), method)(address, {"device_name": "x"})
    assert (response.status_code, response["Location"]) == (303, LIST)
    assert ended(browser) == ended(laptop) == ""


def test_a_dead_session_is_signed_out(browser):
    sessions.end(Session.objects.get(), reason="ended_by_admin")
    assert browser.http.get(LIST).status_code == 403


def test_a_cookie_is_looked_up_and_nothing_is_noted(clock, browser):
    before = Session.objects.values().get(), RefreshToken.objects.values().get()
    clock.shift(10 * MINUTE)
    response = browser.http.get(LIST)
    assert response.status_code == 200
    assert NAME not in response.cookies
    assert (Session.objects.values().get(), RefreshToken.objects.values().get()) == before


def test_a_reused_cookie_shows_nothing_and_ends_nothing(clock, browser):
    stolen = browser.http.cookies[NAME].value
    browser.post("token", {"grant_type": "refresh_token"})
    thief = Client()
    thief.cookies[NAME] = stolen
    assert thief.get(LIST).status_code == 200  # still honoured: another tab may hold it
    clock.shift(2 * DAY)
    assert thief.get(LIST).status_code == 403
    assert ended(browser) == ""


def test_attack_a_credential_manages_no_devices(settings, browser, laptop):
    """Its principal is authenticated, and must not pass for its owner."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "jwt_sessions.middleware.JWTSessionMiddleware"]
    made = laptop.post("credential-list", {"name": "script"}, **laptop.bearer).json()
    secret = {name: made[name] for name in ("client_id", "client_secret")}
    token = Client().post("/auth/token/", {"grant_type": "client_credentials", **secret}).json()["access_token"]
    client = Client(headers={"authorization": f"Bearer {token}"})
    assert client.get(LIST).status_code == 403
    client.post(url("end-all"))
    assert ended(laptop) == ""


def test_django_that_asks_everybody_to_log_in_lets_the_cookie_through(settings, browser):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    assert browser.http.get(LIST).status_code == 200


def test_it_works_without_sessions_messages_and_authentication_of_django(settings, browser, laptop):
    settings.MIDDLEWARE = []
    assert "This device" in page(browser.http).text
    assert followed(browser.http, browser.http.post(url("end", laptop))).status == "Work laptop is signed out."


# What it shows


def test_this_device_comes_first_then_the_last_active(clock, user):
    browser = Device(user).sign_in(delivery="cookie", device_name="one")
    clock.shift(HOUR)
    Device(user).sign_in(device_name="two")
    clock.shift(HOUR)
    Device(user).sign_in(device_name="three")
    assert re.findall(r'devices-name">(\w+)<', browser.http.get(LIST).content.decode()) == ["one", "three", "two"]


@pytest.mark.parametrize("resolution", [MINUTE, 10 * MINUTE])
def test_a_device_is_active_now_within_twice_the_resolution(clock, browser, jwt_settings, resolution):
    jwt_settings(ACTIVITY_RESOLUTION=resolution)
    clock.shift(2 * resolution)
    assert "Active now" in page(browser.http).text
    clock.shift(timedelta(seconds=1))
    shown = page(browser.http)
    assert "Active now" not in shown.text
    assert f"{2 * resolution // MINUTE} minutes ago" in shown.text.replace("\xa0", " ")


def test_times_are_machine_readable_too(clock, browser):
    clock.shift(timedelta(minutes=5, seconds=0.5))
    times = [each["datetime"] for each in page(browser.http).attributes("time")]
    assert times == ["2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z", "2026-03-08T12:00:00Z"]


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/Bogota"])
@pytest.mark.parametrize("aware", [True, False])
def test_times_are_shown_in_the_zone_of_the_project_which_is_named(clock, settings, user, zone, aware):
    settings.USE_TZ, settings.TIME_ZONE = aware, zone
    browser = Device(user).sign_in(delivery="cookie")
    clock.shift(HOUR)
    shown = page(browser.http)
    assert {each["datetime"][:14] for each in shown.attributes("time")} == {"2026-03-01T12:", "2026-03-08T12:"}
    assert {"Asia/Kathmandu": "5:45 p.m.", "America/Bogota": "7 a.m."}[zone] in shown.text
    assert f"time zone {zone}" in shown.text


@pytest.mark.parametrize(
    ("limits", "ends"),
    [
        ({}, "March 8, 2026 noon longer if it is used"),
        ({"ROTATE_REFRESH_TOKENS": False}, "March 8, 2026 noon then the password is needed again"),
        ({"IDLE_TIMEOUT": HOUR}, "March 1, 2026 1 p.m. longer if it is used"),
        ({"MAX_SESSION_LIFETIME": DAY}, "March 2, 2026 noon then the password is needed again"),
        ({"MAX_SESSION_LIFETIME": None, "REFRESH_TOKEN_LIFETIME": None}, "you sign out"),
    ],
)
def test_it_says_when_a_device_is_signed_out_and_why(clock, user, jwt_settings, limits, ends):
    jwt_settings(**limits)
    browser = Device(user).sign_in(delivery="cookie")
    without_tags = re.sub(r"<[^>]+>", " ", browser.http.get(LIST).content.decode())
    assert f"Signed in until {ends} Rename" in " ".join(without_tags.split())


def place_of(address: str) -> str:
    return {"127.0.0.1": "Lagos, <b>Nigeria</b>"}[address]


def test_the_place_of_an_address_is_shown_where_it_is_known(user, jwt_settings, caplog):
    asked = []

    def place(address: str) -> str:
        asked.append(address)
        return place_of(address)

    jwt_settings(DEVICE_PLACE=place)
    browser = Device(user).sign_in(delivery="cookie")
    Device(user).sign_in()
    Session.objects.exclude(pk=sid(browser)).update(ip_address="::1")
    Device(user).sign_in()
    html = browser.http.get(LIST).content.decode()
    assert html.count("Lagos, &lt;b&gt;Nigeria&lt;/b&gt;") == 2
    assert sorted(asked) == ["127.0.0.1", "::1"]
    assert "DEVICE_PLACE failed" in caplog.text


def test_an_unknown_address_and_an_unknown_device_are_called_so(user):
    browser = Device(user, user_agent="").sign_in(delivery="cookie")
    Session.objects.update(ip_address=None)
    shown = page(browser.http)
    assert "Unknown device This device" in shown.text
    assert "Address unknown" in shown.text


def test_buttons_have_names_of_their_own_also_where_devices_have_not(browser, user):
    Device(user).sign_in()
    Device(user).sign_in(device_name="Chrome on Windows (2)")
    shown = page(browser.http)
    names = shown.texts_of("button") + shown.texts_of("summary") + shown.texts_of("label")
    assert len(names) == len(set(names)) == 12
    ends = {name for name in names if name.startswith("Sign out")}
    assert ends == {f"Sign out Chrome on Windows{number}" for number in ("", " (2)", " (2) (2)")}


def test_attack_a_name_with_markup_is_text(browser):
    name = "<script>alert(1)</script>\"'&{{ 7|add:7 }}%(name)s%s"
    response = browser.http.post(url("rename", browser), {"device_name": name})
    shown = followed(browser.http, response)
    assert shown.attributes("script") == []
    assert name in shown.text
    assert [each["value"] for each in shown.attributes("input") if each["name"] == "device_name"] == [name]


def test_attack_a_user_agent_with_markup_is_text(user):
    browser = Device(user, user_agent="<img/src=x>").sign_in(delivery="cookie")
    shown = page(browser.http)
    assert shown.attributes("img") == []
    assert "<img" in shown.text


def test_there_is_no_script_and_no_style_inside(browser, laptop, jwt_settings):
    jwt_settings(DEVICES_RECENT_LOGIN=timedelta(seconds=1))
    for address in (LIST, url("end-all"), url("end-others"), url("end", laptop)):
        shown = page(browser.http, address)
        assert not {"script", "style"} & {tag for tag, _attributes in shown.elements}
        names = {name for _tag, attributes in shown.elements for name in attributes}
        assert not {name for name in names if name.startswith("on") or name == "style"}


@pytest.mark.parametrize("devices", [1, 12])
def test_the_list_costs_one_statement_however_many_devices(browser, user, devices):
    for _each in range(devices):
        Device(user).sign_in()
    # Who the cookie belongs to, and the list.
    assert statements(lambda: browser.http.get(LIST)) == [READ] * 2


def test_the_list_costs_one_statement_besides_djangos_own(logged_in, browser, laptop):
    assert statements(lambda: logged_in.get(LIST)) == [READ] * 3
    logged_in.cookies[NAME] = browser.http.cookies[NAME].value
    assert statements(lambda: logged_in.get(LIST)) == [READ] * 4


# Changes


def test_a_device_is_renamed_in_place(browser, laptop):
    shown = followed(browser.http, browser.http.post(url("rename", laptop), {"device_name": " Kitchen "}))
    assert shown.status == "The device is now called “Kitchen”."
    assert Session.objects.get(pk=sid(laptop)).device_name == "Kitchen"
    assert page(browser.http).status is None


def test_an_empty_name_takes_the_name_away(browser, laptop):
    shown = followed(browser.http, browser.http.post(url("rename", laptop), {"device_name": ""}))
    assert shown.status == "The device is now called “Firefox on Linux”."
    assert Session.objects.get(pk=sid(laptop)).device_name == ""


@pytest.mark.parametrize("name", ["x" * 101, "\0"])
def test_a_name_that_cannot_be_kept_is_refused(browser, laptop, name):
    response = browser.http.post(url("rename", laptop), {"device_name": name})
    assert response.status_code == 400
    assert Page(response).status.startswith("The name was not saved: ")
    assert Session.objects.get(pk=sid(laptop)).device_name == "Work laptop"


def test_one_device_is_signed_out(browser, laptop):
    shown = followed(browser.http, browser.http.post(url("end", laptop)))
    assert shown.status == "Work laptop is signed out."
    assert laptop.call().json()["reason"] == "ended_by_user"
    assert "Work laptop" not in page(browser.http).text
    assert browser.call().status_code == 200


def test_signing_out_this_device_clears_its_cookie(browser, laptop, logged_out):
    response = browser.http.post(url("end", browser))
    assert (response.cookies[NAME].value, response.cookies[NAME]["max-age"]) == ("", 0)
    assert (ended(browser), ended(laptop)) == ("logout", "")
    assert logged_out == [browser.user]
    response = browser.http.get(LIST)
    assert response.status_code == 403
    assert Page(response).status == "You have signed out."


def test_signing_out_this_device_ends_djangos_login_too(logged_in, browser, logged_out):
    logged_in.cookies[NAME] = browser.http.cookies[NAME].value
    logged_in.post(url("end", browser))
    assert logged_out == [browser.user]
    assert logged_in.get(LIST).status_code == 403
    assert "_auth_user_id" not in logged_in.session


def test_all_others_are_signed_out_after_their_number_was_said(browser, laptop, user):
    third = Device(user).sign_in()
    stranger = Device(UserFactory()).sign_in()
    asked = page(browser.http, url("end-others"))
    assert "2 other devices will be signed out." in asked.text
    assert ended(laptop) == ""
    [form] = asked.attributes("form")
    assert (form["method"], form["action"]) == ("post", url("end-others"))
    shown = followed(browser.http, browser.http.post(form["action"]))
    assert shown.status == "2 devices were signed out."
    assert ended(laptop) == ended(third) == "ended_by_user"
    assert ended(browser) == ended(stranger) == ""


def test_all_are_signed_out_after_their_number_was_said(browser, laptop, logged_out):
    asked = page(browser.http, url("end-all"))
    assert "2 devices will be signed out, and you will be signed out here." in asked.text
    response = browser.http.post(url("end-all"))
    assert response.cookies[NAME].value == ""
    assert ended(browser) == ended(laptop) == "ended_by_user"
    assert logged_out == [browser.user]
    assert page(browser.http).status == "2 devices were signed out. You are signed out here too."


def test_signing_out_everywhere_ends_djangos_login_too(logged_in, laptop):
    logged_in.post(url("end-all"))
    assert ended(laptop) == "ended_by_user"
    assert "_auth_user_id" not in logged_in.session


def test_the_devices_of_others_are_not_there(browser):
    stranger = Device(UserFactory()).sign_in(device_name="Stranger")
    for name, data in [("end", {}), ("rename", {"device_name": "mine now"})]:
        shown = followed(browser.http, browser.http.post(url(name, stranger), data))
        unknown = browser.http.post(reverse(f"jwt_sessions_devices:{name}", args=[uuid4()]), data)
        assert shown.status == "That device is no longer signed in." == followed(browser.http, unknown).status
    found = Session.objects.get(pk=sid(stranger))
    assert (found.device_name, found.end_reason) == ("Stranger", "")


@pytest.mark.parametrize("name", ["end", "end-others", "end-all", "rename"])
def test_looking_changes_nothing(browser, laptop, name):
    browser.http.get(url(name, laptop if name in ("end", "rename") else None), {"device_name": "x"})
    found = Session.objects.get(pk=sid(laptop))
    assert (found.device_name, found.end_reason, ended(browser)) == ("Work laptop", "", "")


def test_no_transaction_spans_a_request(browser, laptop):
    for address in (LIST, url("end", laptop), url("rename", laptop), url("end-others"), url("end-all")):
        assert connection.alias in resolve(address).func._non_atomic_requests


def test_attack_a_result_cannot_be_forged(browser):
    browser.http.cookies["jwt_sessions_devices_result"] = '["ended",0,"Call 555-1234"]:x:y'
    assert page(browser.http).status is None
    browser.http.cookies["jwt_sessions_devices_result"] = ""
    assert page(browser.http).status is None


def test_a_result_is_said_for_a_minute(clock, browser, laptop):
    browser.http.post(url("end", laptop))
    clock.shift(timedelta(seconds=61))
    assert page(browser.http).status is None


# Other sites

CHANGES = ["end", "end-others", "end-all", "rename"]


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("middleware", [True, False], ids=["with-middleware", "without"])
def test_attack_a_change_without_a_csrf_token_is_refused(settings, user, laptop, name, middleware):
    if not middleware:
        settings.MIDDLEWARE = [each for each in settings.MIDDLEWARE if "csrf" not in each]
    browser = Device(user)
    browser.http = Client(enforce_csrf_checks=True)
    browser.sign_in(delivery="cookie")
    address = url(name, laptop if name in ("end", "rename") else None)
    data = {"device_name": "changed"}
    assert browser.http.post(address, data).status_code == 403
    found = Session.objects.get(pk=sid(laptop))
    assert (found.device_name, found.end_reason, ended(browser)) == ("Work laptop", "", "")
    page_with_token = page(browser.http)
    [token, *_] = [each["value"] for each in page_with_token.attributes("input") if "csrf" in str(each["name"])]
    assert browser.http.post(address, {**data, "csrfmiddlewaretoken": token}).status_code == 303


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize("who", ["cookie", "django"])
def test_attack_a_foreign_site_changes_nothing(browser, logged_in, laptop, name, headers, who):
    """Even one that has a valid token of Django's, as a sibling subdomain can plant one."""
    client = browser.http if who == "cookie" else logged_in
    address = url(name, laptop if name in ("end", "rename") else None)
    assert client.post(address, {"device_name": "changed"}, headers=headers).status_code == 403
    found = Session.objects.get(pk=sid(laptop))
    assert (found.device_name, found.end_reason, ended(browser)) == ("Work laptop", "", "")


@pytest.mark.parametrize("address", [LIST, "/devices/end-all/"])
def test_attack_it_is_shown_in_no_frame_and_kept_in_no_cache(settings, browser, address):
    settings.MIDDLEWARE = []
    response = browser.http.get(address)
    assert response["X-Frame-Options"] == "DENY"
    assert response["Cache-Control"] == "no-store"


# The password again


@pytest.fixture
def strict(jwt_settings):
    jwt_settings(DEVICES_RECENT_LOGIN=10 * MINUTE)


def asks_password(response: HttpResponse) -> bool:
    return any(each["name"] == "password" for each in Page(response).attributes("input"))


def test_a_recent_login_is_not_asked_for_the_password(clock, strict, browser, laptop):
    clock.shift(timedelta(minutes=9, seconds=59))
    assert followed(browser.http, browser.http.post(url("end", laptop))).status == "Work laptop is signed out."


@pytest.mark.parametrize("name", CHANGES)
def test_an_older_login_gives_the_password_and_the_change_goes_on(clock, strict, browser, laptop, name):
    address = url(name, laptop if name in ("end", "rename") else None)
    clock.shift(10 * MINUTE)
    asked = browser.http.post(address, {"device_name": "Kitchen"})
    assert (asked.status_code, asks_password(asked)) == (200, True)
    found = Session.objects.get(pk=sid(laptop))
    assert (found.device_name, found.end_reason, ended(browser)) == ("Work laptop", "", "")
    kept = {each["name"]: each["value"] for each in Page(asked).attributes("input") if each.get("type") == "hidden"}
    [form] = Page(asked).attributes("form")
    response = browser.http.post(form["action"], {**kept, "password": PASSWORD})
    assert response.status_code == 303
    found = Session.objects.get(pk=sid(laptop))
    assert (found.device_name, found.end_reason) == {
        "rename": ("Kitchen", ""),
    }.get(name, ("Work laptop", "ended_by_user"))


def test_after_the_password_the_browser_goes_on_with_a_new_cookie(clock, strict, browser, laptop, user):
    clock.shift(HOUR)
    before = browser.http.cookies[NAME].value
    browser.http.post(url("end", laptop), {"password": PASSWORD})
    assert browser.http.cookies[NAME].value not in ("", before)
    assert browser.post("token", {"grant_type": "refresh_token"}).status_code == 200
    other = Device(user).sign_in()
    clock.shift(9 * MINUTE)
    assert followed(browser.http, browser.http.post(url("end", other))).status == "Chrome on Windows (2) is signed out."


def test_after_the_password_signing_out_still_clears_the_cookie(clock, strict, browser):
    clock.shift(HOUR)
    response = browser.http.post(url("end", browser), {"password": PASSWORD})
    assert response.cookies[NAME].value == ""
    assert browser.http.get(LIST).status_code == 403


def test_djangos_login_counts_as_long_as_it_is_recent(clock, strict, logged_in, user):
    first, second, third = (Device(user).sign_in() for _ in range(3))
    clock.shift(9 * MINUTE)
    assert logged_in.post(url("end", first)).status_code == 303
    clock.shift(2 * MINUTE)
    assert asks_password(logged_in.post(url("end", second)))
    assert logged_in.post(url("end", second), {"password": PASSWORD}).status_code == 303
    assert ended(second) == "ended_by_user"
    assert logged_in.post(url("end", third)).status_code == 303


def test_attack_a_login_on_another_device_is_no_login_here(clock, strict, logged_in, browser, user):
    """A thief of a session waits until its owner signs in somewhere else, which moves ``last_login``."""
    clock.shift(HOUR)
    laptop = Device(user).sign_in()
    for client in (logged_in, browser.http):
        assert asks_password(client.post(url("end", laptop)))
    assert ended(laptop) == ""


def test_a_session_that_began_before_the_setting_is_asked(logged_in, laptop, jwt_settings):
    jwt_settings(DEVICES_RECENT_LOGIN=DAY)
    assert asks_password(logged_in.post(url("end", laptop)))


@pytest.mark.parametrize("who", ["cookie", "django"])
@pytest.mark.parametrize("password", ["", "wrong", "x" * 2000])
def test_a_wrong_password_changes_nothing(clock, strict, browser, logged_in, laptop, who, password):
    client = browser.http if who == "cookie" else logged_in
    clock.shift(HOUR)
    response = client.post(url("rename", laptop), {"password": password, "device_name": "<Kitchen>"})
    assert response.status_code == 400
    assert "The password is wrong. Nothing was changed." in Page(response).text
    assert ("device_name", "<Kitchen>") in [
        (each["name"], each.get("value")) for each in Page(response).attributes("input")
    ]
    assert Session.objects.get(pk=sid(laptop)).device_name == "Work laptop"
    assert NAME not in response.cookies


def test_the_password_of_somebody_else_will_not_do(clock, strict, logged_in, laptop, settings):
    settings.AUTHENTICATION_BACKENDS = ["tests.test_devices.AnybodyBackend"]
    UserFactory(email="anybody@example.com")
    clock.shift(HOUR)
    logged_in.logout()
    browser = Device(laptop.user)
    browser.http.cookies[NAME] = laptop.tokens["refresh_token"]
    assert browser.http.post(url("end-all"), {"password": PASSWORD}).status_code == 400
    assert ended(laptop) == ""


class AnybodyBackend:
    """Takes any name and answers the same user."""

    def authenticate(self, request, username=None, password=None):
        return User.objects.get(email="anybody@example.com")


def test_attack_guessing_the_password_is_throttled(clock, strict, browser, laptop, jwt_settings):
    jwt_settings(DEVICES_RECENT_LOGIN=10 * MINUTE, LOGIN_THROTTLE="2/min")
    clock.shift(HOUR)
    for _each in range(2):
        assert browser.http.post(url("end", laptop), {"password": "wrong"}).status_code == 400
    response = browser.http.post(url("end", laptop), {"password": PASSWORD})
    assert (response.status_code, int(response["Retry-After"]) > 0) == (429, True)
    assert "Too many attempts." in Page(response).text
    assert ended(laptop) == ""


def test_who_was_told_to_sign_in_again_gives_the_password_whatever_the_setting(clock, browser, laptop):
    clock.shift(MINUTE)
    sessions.require_reauthentication(browser.user)
    assert asks_password(browser.http.post(url("end", laptop)))
    assert ended(laptop) == ""
    assert browser.http.post(url("end", laptop), {"password": PASSWORD}).status_code == 303
    assert ended(laptop) == "ended_by_user"


def test_a_session_that_ends_while_the_password_is_typed_leads_back_to_the_list(clock, strict, browser, monkeypatch):
    def reauthenticate(*args, **kwargs):
        raise SessionEnded(EndReason.PASSWORD_CHANGED)

    monkeypatch.setattr(recent_login.login, "reauthenticate", reauthenticate)
    clock.shift(HOUR)
    response = browser.http.post(url("end-all"), {"password": PASSWORD})
    assert (response.status_code, response["Location"]) == (303, LIST)
    assert ended(browser) == ""


def test_passwords_and_cookies_stay_out_of_error_reports(rf, browser):
    request = rf.get(LIST, headers={"cookie": f"{NAME}={browser.http.cookies[NAME].value}"})
    assert refresh_cookie(request)
    resolve(LIST).func(request)
    safe = request.exception_reporter_filter.get_safe_cookies(request)
    assert browser.http.cookies[NAME].value not in str(safe)


# Templates and languages


def test_a_project_overrides_single_blocks(settings, tmp_path, browser):
    folder = tmp_path / "jwt_sessions" / "devices"
    folder.mkdir(parents=True)
    for name, block in [("base", "header"), ("list", "heading"), ("_device", "place"), ("confirm", "question")]:
        own = (
            f'{{% extends "jwt_sessions/devices/{name}.html" %}}{{% block {block} %}}<p>our {block}</p>{{% endblock %}}'
        )
        (folder / f"{name}.html").write_text(own)
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [str(tmp_path)]}]
    shown = page(browser.http)
    assert [each for each in shown.texts_of("p") if each.startswith("our")] == [
        "our header",
        "our heading",
        "our place",
    ]
    assert "Sign out Chrome on Windows" in shown.text
    assert "our question" in page(browser.http, url("end-all")).text


@pytest.mark.parametrize(
    ("language", "title", "now"),
    [
        ("de", "Ihre Geräte", "Gerade aktiv"),
        ("fr", "Vos appareils", "Actif en ce moment"),
        ("es", "Sus dispositivos", "Activo ahora"),
    ],
)
def test_it_speaks_the_readers_language(settings, browser, language, title, now):
    settings.LANGUAGE_CODE = language
    with translation.override(language):
        html = browser.http.get(LIST).content.decode()
    assert f'<html lang="{language}" dir="ltr">' in html
    assert f"<h1>{title}</h1>" in html
    assert now in html


def test_it_runs_from_right_to_left_where_the_language_does(settings, browser):
    settings.LANGUAGE_CODE = "ar"
    assert '<html lang="ar" dir="rtl">' in browser.http.get(LIST).content.decode()


def test_the_blocks_of_the_templates_are_documented():
    folder = ROOT / "jwt_sessions" / "templates" / "jwt_sessions" / "devices"
    blocks = {
        f"jwt_sessions/devices/{template.name}": re.findall(r"{% block (\w+) %}", template.read_text())
        for template in folder.iterdir()
    }
    # What these override of the base stands in its row.
    inherited = {"title", "content"}
    documented = dict(re.findall(r"^\| `(\S+\.html)` \| (.*) \|$", (ROOT / "docs" / "devices.md").read_text(), re.M))
    assert {name: {*re.findall(r"`(\w+)`", row)} for name, row in documented.items()} == {
        name: {*found} - (inherited if not name.endswith("base.html") else set()) for name, found in blocks.items()
    }
