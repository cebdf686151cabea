"""The devices page in Chromium, against the served example project: ``javascript/browser/devices.test.js``."""

from __future__ import annotations

import json
import os
from datetime import timedelta

import pytest
from django.utils import timezone

from jwt_sessions import sessions
from jwt_sessions.models import Session
from tests.clients import Device
from tests.factories import PASSWORD, UserFactory
from tests.node import CHROMIUM, FOLDER, NO_BROWSER, NODE, are_installed, passed_in_browser, written

FILE = FOLDER / "browser" / "devices.test.js"
RECENT = timedelta(minutes=10)
NAME = "__Host-Http-jwt_sessions_refresh"
DEVICES = [
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/18.1 Mobile/15E148 Safari/604.1",
        "Ada's phone",
        timedelta(hours=3),
        "198.51.100.23",
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 "
        "Safari/537.36",
        "",
        timedelta(days=2, hours=5),
        "203.0.113.9",
    ),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0", "", timedelta(days=4), "2001:db8::7"),
]
EDGE = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 "
    "Safari/537.36 Edg/156.0.0.0"
)
PLACES = {"198.51.100.23": "Lagos, Nigeria", "203.0.113.9": "Lyon, France"}

pytestmark = pytest.mark.skipif(NODE is None or CHROMIUM is None or not are_installed("axe-core"), reason=NO_BROWSER)


class StrictPolicy:
    """The strictest policy under which the page has to work."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        response["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'"
        )
        return response


def place_of(address: str) -> str:
    return PLACES.get(address, "")


def signed_in_elsewhere(user: object) -> None:
    """Some devices, of which one has a name, and that were active at different times."""
    for user_agent, name, ago, address in DEVICES:
        pair = Device(user, user_agent=user_agent).sign_in(device_name=name).tokens
        moment = timezone.now() - ago
        Session.objects.filter(pk=pair["session_id"]).update(
            created_at=moment - timedelta(days=1), last_active_at=moment, ip_address=address
        )


def signed_in_long_ago(user: object) -> dict[str, str]:
    """The cookie of a browser that has to give the password again."""
    device = Device(user, user_agent=EDGE).sign_in(delivery="cookie")
    Session.objects.filter(pk=device.tokens["session_id"]).update(created_at=timezone.now() - 2 * RECENT)
    return {"name": NAME, "value": device.http.cookies[NAME].value}


def test_chromium(server, settings, jwt_settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.test_devices_browser.StrictPolicy"]
    # Its requests look like those that a proxy passes on which speaks HTTPS to browsers.
    settings.CSRF_TRUSTED_ORIGINS = [server.origin]
    jwt_settings(DEVICES_RECENT_LOGIN=RECENT, DEVICE_PLACE=place_of, LOGIN_THROTTLE=None)
    users = [UserFactory() for _each in range(4)]
    for user in users:
        signed_in_elsewhere(user)
    served = {
        "origin": server.origin,
        "chromium": CHROMIUM,
        "users": [user.email for user in users],
        "password": PASSWORD,
        "devices": len(DEVICES),
        "old": [signed_in_long_ago(user) for user in users],
        "pictures": os.environ.get("PICTURES", ""),
    }
    # The one with axe runs for two colour schemes.
    assert passed_in_browser(FILE, json.dumps(served)) == written(FILE) + 1 > 5
    assert [len(sessions.live_sessions(user, timezone.now())) > 0 for user in users] == [True, True, False, True]
