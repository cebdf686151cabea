"""A front end on another origin, with django-cors-headers and the settings that docs/browsers.md names."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.documentation import ROOT, python_blocks
from tests.factories import PASSWORD, UserFactory

FRONT_END = "https://app.example.com"
FROM_FRONT_END = {"Origin": FRONT_END, "Sec-Fetch-Site": "same-site"}

pytestmark = pytest.mark.django_db


@pytest.fixture
def api(settings) -> Client:
    """The server, with the settings of the documentation."""
    [block] = [each for each in python_blocks(ROOT / "docs" / "browsers.md") if "corsheaders" in each]
    named: dict[str, object] = {}
    exec(block, named)
    for name, value in named.items():
        if name.isupper():
            setattr(settings, name, value)
    settings.ALLOWED_HOSTS = ["api.example.com"]
    settings.MIDDLEWARE = ["corsheaders.middleware.CorsMiddleware", *settings.MIDDLEWARE]
    return Client(SERVER_NAME="api.example.com")


def sign_in(api: Client):
    credentials = {"email": UserFactory().email, "password": PASSWORD, "delivery": "cookie"}
    return api.post("/auth/login/", credentials, headers=FROM_FRONT_END, secure=True)


def refresh(api: Client):
    return api.post("/auth/token/", {"grant_type": "refresh_token"}, headers=FROM_FRONT_END, secure=True)


def test_it_signs_in_and_refreshes_by_the_cookie(api):
    answers = [sign_in(api), refresh(api)]
    for answer in answers:
        assert answer.status_code == 200
        assert answer["Access-Control-Allow-Origin"] == FRONT_END
        assert answer["Access-Control-Allow-Credentials"] == "true"
        assert answer["Access-Control-Expose-Headers"] == "Date, Retry-After"
        assert "refresh_token" not in answer.json()
    assert answers[0].json()["session_id"] == answers[1].json()["session_id"]


def test_it_may_send_the_headers_of_the_module(api):
    wanted = "authorization,x-session-background"
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": wanted}
    answer = api.options("/api/me/", headers={**FROM_FRONT_END, **asked}, secure=True)
    assert set(wanted.split(",")) <= set(answer["Access-Control-Allow-Headers"].split(", "))
    assert answer["Access-Control-Allow-Origin"] == FRONT_END


def test_an_origin_that_is_not_trusted_is_told_the_setting(api, settings):
    sign_in(api)
    settings.CSRF_TRUSTED_ORIGINS = []
    answer = refresh(api)
    assert answer.status_code == 403
    assert answer.json()["code"] == "INVALID_REQUEST"
    assert "CSRF_TRUSTED_ORIGINS" in answer.content.decode()


def test_a_stranger_is_neither_answered_nor_let_in(api):
    sign_in(api)
    stranger = {"Origin": "https://example.net", "Sec-Fetch-Site": "cross-site"}
    answer = api.post("/auth/token/", {"grant_type": "refresh_token"}, headers=stranger, secure=True)
    assert answer.status_code == 403
    assert "Access-Control-Allow-Origin" not in answer
