"""The settings: defaults, what each key takes, and that they are read when used."""

from __future__ import annotations

import copy
import ipaddress
from dataclasses import asdict
from datetime import timedelta
from functools import partial

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from jwt_sessions import conf
from jwt_sessions.conf import CookieSettings, Rate, Settings

SECOND = timedelta(seconds=1)


def test_the_defaults_are_those_of_the_documentation():
    settings, problems = conf.parse({})
    assert problems == []
    assert asdict(settings) == asdict(
        Settings(
            ISSUER="jwt-sessions",
            AUDIENCES=("api",),
            ALGORITHM="ES256",
            SIGNING_KEYS=(),
            ACCESS_TOKEN_LIFETIME=dict.fromkeys(("user", "personal", "api"), timedelta(minutes=5)),
            REFRESH_TOKEN_LIFETIME=timedelta(days=7),
            ROTATE_REFRESH_TOKENS=True,
            REUSE_GRACE_PERIOD=timedelta(seconds=30),
            LOST_RESPONSE_WINDOW=timedelta(hours=24),
            IDLE_TIMEOUT=None,
            MAX_SESSION_LIFETIME=timedelta(days=30),
            MAX_CONCURRENT_SESSIONS=None,
            ON_SESSION_LIMIT="end_oldest",
            SOFT_EXPIRY=None,
            ALLOW_RENEWAL=False,
            TENANTS=None,
            SESSION_CHECK="database",
            ACTIVITY_RESOLUTION=timedelta(seconds=60),
            LEEWAY=timedelta(0),
            MAX_ACCESS_TOKEN_BYTES=4096,
            COOKIE=CookieSettings(NAME="jwt_sessions_refresh", PATH="/", DOMAIN=None, SAMESITE="Strict", SECURE=True),
            CLIENT_IP=None,
            PASSWORD_CHANGE_ENDS_SESSIONS=True,
            LOGIN_THROTTLE=Rate(10, 60),
            EXCHANGE_SIMPLEJWT_TOKENS=False,
        )
    )


@pytest.mark.parametrize(
    ("key", "value", "parsed"),
    [
        ("AUDIENCES", ("web", "app"), ("web", "app")),
        ("AUDIENCES", ["a" * 255], ("a" * 255,)),
        ("ALGORITHM", "EdDSA", "EdDSA"),
        ("SIGNING_KEYS", ["a", "b"], ("a", "b")),
        ("ACCESS_TOKEN_LIFETIME", SECOND, {"user": SECOND, "personal": SECOND, "api": SECOND}),
        (
            "ACCESS_TOKEN_LIFETIME",
            {"api": SECOND},
            {"user": timedelta(minutes=5), "personal": timedelta(minutes=5), "api": SECOND},
        ),
        ("REFRESH_TOKEN_LIFETIME", None, None),
        ("REFRESH_TOKEN_LIFETIME", conf.LONGEST, conf.LONGEST),
        ("ROTATE_REFRESH_TOKENS", False, False),
        ("REUSE_GRACE_PERIOD", timedelta(0), timedelta(0)),
        ("LOST_RESPONSE_WINDOW", conf.LONGEST, conf.LONGEST),
        ("IDLE_TIMEOUT", timedelta(hours=1), timedelta(hours=1)),
        ("MAX_CONCURRENT_SESSIONS", 1, 1),
        ("ON_SESSION_LIMIT", "refuse", "refuse"),
        ("ON_SESSION_LIMIT", "end_least_active", "end_least_active"),
        ("SOFT_EXPIRY", SECOND, SECOND),
        ("ALLOW_RENEWAL", True, True),
        ("TENANTS", "ipaddress.ip_address", ipaddress.ip_address),
        ("SESSION_CHECK", "none", "none"),
        ("MAX_ACCESS_TOKEN_BYTES", 16384, 16384),
        ("MAX_ACCESS_TOKEN_BYTES", 1, 1),
        ("CLIENT_IP", "ipaddress.ip_address", ipaddress.ip_address),
        ("CLIENT_IP", len, len),
        ("LOGIN_THROTTLE", "3/s", Rate(3, 1)),
        ("LOGIN_THROTTLE", "100/minute", Rate(100, 60)),
        ("LOGIN_THROTTLE", "5/hour", Rate(5, 3600)),
        ("LOGIN_THROTTLE", "999999999/day", Rate(999_999_999, 86_400)),
        ("LOGIN_THROTTLE", None, None),
        (
            "COOKIE",
            {"SAMESITE": "None", "DOMAIN": "example.com"},
            CookieSettings(SAMESITE="None", DOMAIN="example.com"),
        ),
    ],
)
def test_each_setting_takes_what_it_is_documented_to_take(key, value, parsed):
    settings, problems = conf.parse({key: value})
    assert problems == []
    assert getattr(settings, key) == parsed


@pytest.mark.parametrize(
    ("cookie", "name"),
    [
        ({}, "__Host-Http-refresh"),
        ({"SECURE": False}, "refresh"),
        ({"PATH": "/auth/"}, "refresh"),
        ({"DOMAIN": "example.com"}, "refresh"),
    ],
)
def test_the_cookie_is_bound_to_the_host_where_browsers_allow_it(cookie, name):
    settings, _problems = conf.parse({"COOKIE": {"NAME": "refresh", **cookie}})
    assert settings.COOKIE.full_name == name


def test_the_first_audience_is_the_default():
    settings, _problems = conf.parse({"AUDIENCES": ["web", "app"]})
    assert settings.default_audience == "web"


def test_problems_of_one_dict_are_reported_together():
    settings, problems = conf.parse({"LEEWAY": 1, "ISUER": "x", "AUDIENCES": []})
    assert settings is None
    assert [(problem.key, problem.id) for problem in problems] == [
        ("LEEWAY", "jwt_sessions.E023"),
        ("ISUER", "jwt_sessions.E002"),
        ("AUDIENCES", "jwt_sessions.E011"),
    ]


def test_settings_that_make_no_sense_together_can_still_be_used():
    settings, problems = conf.parse({"LOST_RESPONSE_WINDOW": timedelta(0)})
    assert [problem.id for problem in problems] == ["jwt_sessions.E041"]
    assert not settings.LOST_RESPONSE_WINDOW


# Read when used


def test_settings_are_optional(settings):
    del settings.JWT_SESSIONS
    assert asdict(conf.current()) == asdict(Settings())


def test_settings_are_read_when_used():
    assert not conf.current().LEEWAY
    with override_settings(JWT_SESSIONS={"LEEWAY": SECOND}):
        assert conf.current().LEEWAY == SECOND
    assert not conf.current().LEEWAY


def test_settings_are_parsed_once(monkeypatch):
    parsed = []
    original = conf.parse
    monkeypatch.setattr(conf, "parse", lambda raw: parsed.append(raw) or original(raw))
    with override_settings(JWT_SESSIONS={"LEEWAY": timedelta(seconds=71)}):
        assert conf.current() is conf.current()
    assert len(parsed) == 1


def test_a_dict_changed_in_place_is_noticed(settings):
    settings.JWT_SESSIONS = {"AUDIENCES": ["a"], "COOKIE": {"NAME": "a"}}
    assert conf.current().AUDIENCES == ("a",)
    django_settings.JWT_SESSIONS["AUDIENCES"].append("b")
    django_settings.JWT_SESSIONS["COOKIE"]["NAME"] = "b"
    assert conf.current().AUDIENCES == ("a", "b")
    assert conf.current().COOKIE.NAME == "b"


@pytest.mark.parametrize("wrong", [{"LEEWAY": 1}, [], None, "CANARY", {"SIGNING_KEYS": "CANARY"}])
def test_wrong_settings_are_refused_and_never_quoted(settings, wrong):
    conf.current()
    settings.JWT_SESSIONS = wrong
    for _ in range(2):
        with pytest.raises(ImproperlyConfigured, match="JWT_SESSIONS") as caught:
            conf.current()
        assert "CANARY" not in str(caught.value)


def test_parsing_changes_nothing(settings):
    given = {"AUDIENCES": ["a"], "ACCESS_TOKEN_LIFETIME": {"user": SECOND}, "COOKIE": {"PATH": "/auth/"}}
    kept = copy.deepcopy(given)
    conf.parse(given)
    assert given == kept


class Directory:
    def address(self, request):
        return "192.0.2.1"


@pytest.mark.parametrize(
    "callable", [partial(dict, a=1), Directory().address, lambda user: []], ids=lambda each: type(each).__name__
)
def test_callables_of_any_kind_are_parsed_once(callable):
    with override_settings(JWT_SESSIONS={"TENANTS": callable, "CLAIMS": {"plan": callable}}):
        assert conf.current() is conf.current()
