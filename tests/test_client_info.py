"""What a request tells about its device, and what is not believed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ua_parser
from django.test import RequestFactory

import jwt_sessions
from jwt_sessions.client_info import client_info, trusted_proxies
from jwt_sessions.types import ClientInfo, device_families
from tests.clients import CHROME, Device

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1"
)


def info(address="192.0.2.1", **headers):
    return client_info(RequestFactory().get("/", headers=headers, REMOTE_ADDR=address))


def from_header(request):
    return request.headers.get("X-Real-IP")


def nothing(request):
    return None


@pytest.mark.parametrize(
    ("user_agent", "browser", "system", "device"),
    [
        (CHROME, "Chrome", "Windows", "Chrome on Windows"),
        (FIREFOX, "Firefox", "Linux", "Firefox on Linux"),
        (IPHONE, "Mobile Safari", "iOS", "Mobile Safari on iOS"),
        ("acme-app/2.1 (build 7)", "acme-app", "", "acme-app"),
        ("acme", "acme", "", "acme"),
        ("", "", "", ""),
    ],
)
def test_the_device_is_read_from_the_user_agent(user_agent, browser, system, device):
    found = info(**{"user-agent": user_agent})
    assert (found.browser, found.system, found.device) == (browser, system, device)
    assert device_families(found.device) == (browser, system)


@pytest.mark.parametrize(
    "user_agent",
    [
        "x" * 100_000,
        "<script>alert(1)</script>",
        "evil\x00\x1b[31m/1.0",
        "\u202egnp.exe/1.0",
        "/",
        " ",
        "(" * 5000,
        "Mozilla/5.0 (" + "Windows NT 10.0; " * 500,
        "é\udcff".encode("utf-8", "surrogatepass").decode("latin-1"),
    ],
)
def test_a_hostile_user_agent_is_cut_and_made_printable(user_agent):
    found = info(**{"user-agent": user_agent})
    assert len(found.user_agent) <= 512
    for part in (found.browser, found.system):
        assert len(part) <= 50
        assert part.isprintable()


@pytest.mark.parametrize("repeated", ["; ", "OBIGO", "grabFlock", "Mac OS X ", "a "])
def test_attack_a_user_agent_that_costs_much_to_read(monkeypatch, repeated):
    # These cost 7 to 30 ms if all that is kept is matched against all patterns, and Chrome's 2.
    matched = []
    parse = ua_parser.parser
    monkeypatch.setattr(ua_parser, "parser", lambda *arguments: matched.append(arguments) or parse(*arguments))
    assert len(info(**{"user-agent": repeated * 500}).user_agent) == 512
    assert [(len(text), ua_parser.Domain.DEVICE in domains) for text, domains in matched] == [(256, False)]


@pytest.mark.django_db
def test_attack_a_throttled_login_that_has_a_user_agent_read(jwt_settings, user, monkeypatch):
    jwt_settings(LOGIN_THROTTLE="1/min")
    parsed = []
    monkeypatch.setattr("jwt_sessions.client_info._families", lambda text: parsed.append(text) or ("", ""))
    device = Device(user, "; " * 256)
    bad = {"email": user.email, "password": "wrong"}
    assert [device.post("login", bad).status_code for _ in range(2)] == [401, 429]
    assert device.post("introspect", {"token": "x", "client_id": "x", "client_secret": "x"}).status_code == 401
    assert parsed == []


def test_a_long_user_agent_names_its_browser_before_the_cut():
    found = info(**{"user-agent": IPHONE + " [FBAN/FBIOS;FBAV/465.0.0;" + "FBSS/3;" * 60 + "]"})
    assert (found.browser, found.system) == ("Facebook", "iOS")
    assert len(found.user_agent) == 512


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("", None),
        ("unix:", None),
        ("192.0.2.1, 203.0.113.9", None),
        ("192.0.2.999", None),
        ("<b>", None),
    ],
)
def test_the_address_is_one_or_none(address, expected):
    assert info(address).ip_address == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1:443", "192.0.2.1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[fe80::1%eth0]:80", "fe80::1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("2001:db8::1:443", "2001:db8::1:443"),  # brackets alone tell a port
        ("192.0.2.1:", None),
        ("192.0.2.1:port", None),
        ("192.0.2.1:123456", None),
        ("192.0.2.999:1", None),
        ("[192.0.2.1", None),
        ("[]", None),
        ("[]:1", None),
    ],
)
def test_a_port_beside_the_address_is_understood(address, expected):
    assert info(address).ip_address == expected


def forwarded(number, *headers):
    """What ``trusted_proxies`` finds, for a connection from a proxy at 10.0.0.1."""
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1")
    if headers:
        request.META["HTTP_X_FORWARDED_FOR"] = ",".join(headers)
    return trusted_proxies(number)(request)


@pytest.mark.parametrize(
    ("number", "headers", "expected"),
    [
        (0, ["203.0.113.66"], "10.0.0.1"),
        (1, ["192.0.2.7"], "192.0.2.7"),
        (1, [" 192.0.2.7 "], "192.0.2.7"),
        (1, ["203.0.113.66, 203.0.113.67", "192.0.2.7"], "192.0.2.7"),
        (2, ["203.0.113.66, 192.0.2.7, 10.0.0.2"], "192.0.2.7"),
        (1, [], "10.0.0.1"),
        (1, [""], "10.0.0.1"),
        (1, ["192.0.2.7", ""], "10.0.0.1"),
        (3, ["203.0.113.66, 203.0.113.67"], "10.0.0.1"),
    ],
)
def test_attack_an_address_written_by_the_client_is_not_taken_for_that_of_a_trusted_proxy(number, headers, expected):
    assert forwarded(number, *headers) == expected


def test_trusted_proxies_set_the_address_of_a_session(jwt_settings):
    jwt_settings(CLIENT_IP=trusted_proxies(1))
    assert info("10.0.0.1", **{"X-Forwarded-For": "203.0.113.66, 192.0.2.7:50123"}).ip_address == "192.0.2.7"
    assert info("10.0.0.1", **{"X-Forwarded-For": "203.0.113.66, unknown"}).ip_address is None


@pytest.mark.parametrize("number", [-1, True, 1.0, "1", None])
def test_a_number_of_proxies_that_is_none_is_refused_at_start(number):
    with pytest.raises(ValueError, match="number of proxies"):
        trusted_proxies(number)


SETTINGS_MODULE = """
import sys
from jwt_sessions.client_info import trusted_proxies
SECRET_KEY = "x" * 50
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "jwt_sessions"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
JWT_SESSIONS = {"CLIENT_IP": trusted_proxies(1)}
LOADED = [name for name in sys.modules if name.startswith(("jwt_sessions.models", "rest_framework"))]
"""
CHECK = """
import django
from django.conf import settings
django.setup()
from jwt_sessions import conf
assert settings.LOADED == [], settings.LOADED
assert conf.current().CLIENT_IP is settings.JWT_SESSIONS["CLIENT_IP"]
"""


def test_settings_can_import_trusted_proxies_before_the_apps_are_ready(tmp_path):
    (tmp_path / "proxied_settings.py").write_text(SETTINGS_MODULE)
    path = os.pathsep.join([str(tmp_path), str(Path(jwt_sessions.__file__).parent.parent)])
    environment = {**os.environ, "PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": "proxied_settings"}
    done = subprocess.run([sys.executable, "-c", CHECK], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "Client-IP", "True-Client-IP"])
def test_an_address_that_the_client_wrote_is_not_believed(header):
    assert info(**{header: "203.0.113.66"}).ip_address == "192.0.2.1"


@pytest.mark.parametrize(
    ("answer", "sent", "expected"),
    [
        (f"{__name__}.from_header", "203.0.113.7", "203.0.113.7"),
        (from_header, "203.0.113.7", "203.0.113.7"),
        (from_header, "' OR 1=1", None),
        (nothing, "203.0.113.7", None),
    ],
)
def test_the_setting_decides_where_the_address_is_found(jwt_settings, answer, sent, expected):
    jwt_settings(CLIENT_IP=answer)
    assert info(**{"X-Real-IP": sent}).ip_address == expected


def test_without_a_request_nothing_is_known():
    assert client_info(None) == ClientInfo(ip_address=None, browser="", system="", user_agent="")


@pytest.mark.django_db
def test_a_session_shows_the_device_it_began_on(user):
    device = Device(user, FIREFOX).sign_in()
    shown = device.get("session-detail", "current").json()
    assert shown["device"] == {"browser": "Firefox", "system": "Linux"}
    assert shown["ip_address"] == "127.0.0.1"
