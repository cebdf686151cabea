"""The system checks: one numbered message for each mistake, with its key and a mend, and never a secret."""

from __future__ import annotations

import dataclasses
import sys
from datetime import timedelta
from types import ModuleType

import pytest
from django.core import checks
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.urls import clear_url_caches, include, path
from rest_framework.views import APIView

from jwt_sessions.authentication import JWTSessionAuthentication
from jwt_sessions.client_info import trusted_proxies
from jwt_sessions.conf import LONGEST, Settings
from tests.check_messages import CAREFUL, ids, messages
from tests.factories import UserFactory

# Django's own checks of the models ask the database what it supports.
pytestmark = pytest.mark.django_db

CANARY = "CANARY-5f3759df"
SECOND = timedelta(seconds=1)


def test_the_example_project_has_nothing_to_mend():
    assert ids(CAREFUL, deploy=True) == []
    assert ids({}) == []


NOT_TEXT = [None, 1, b"text", [], "", " "]
NOT_BOOLEAN = [None, 1, 0, "True", "yes"]
NOT_DURATION = [None, 60, "60", SECOND * -1, LONGEST + SECOND]
NOT_LIFETIME = [60, "1 day", timedelta(0), timedelta(milliseconds=999), SECOND * -1, LONGEST + SECOND]
NOT_STRINGS = [None, CANARY, {CANARY}, {CANARY: 1}, [CANARY, b"key"], [CANARY, ""], [None]]

WRONG = {
    "ISSUER": ("E010", [*NOT_TEXT, "https://[::1"]),
    "AUDIENCES": ("E011", [*NOT_STRINGS, [], ["api", "api"], ["a" * 256]]),
    "ALGORITHM": ("E012", [None, "none", "es256", "RS512", "HS384", ["ES256"], {}]),
    "SIGNING_KEYS": ("E013", NOT_STRINGS),
    "ACCESS_TOKEN_LIFETIME": (
        "E014",
        [None, *NOT_LIFETIME, {"user": 5}, {"admin": SECOND}, {"user": None}, {1: SECOND}],
    ),
    "REFRESH_TOKEN_LIFETIME": ("E015", NOT_LIFETIME),
    "ROTATE_REFRESH_TOKENS": ("E016", NOT_BOOLEAN),
    "REUSE_GRACE_PERIOD": ("E017", NOT_DURATION),
    "LOST_RESPONSE_WINDOW": ("E018", NOT_DURATION),
    "IDLE_TIMEOUT": ("E019", NOT_LIFETIME),
    "MAX_SESSION_LIFETIME": ("E020", NOT_LIFETIME),
    "MAX_CONCURRENT_SESSIONS": ("E029", [0, -1, True, 1.0, "1"]),
    "ON_SESSION_LIMIT": ("E030", [None, "end", "END_OLDEST", True, ["refuse"]]),
    "SOFT_EXPIRY": ("E031", NOT_LIFETIME),
    "PASSWORD_GRANT": ("E049", NOT_BOOLEAN),
    "CREDENTIAL_RECENT_LOGIN": ("E050", NOT_LIFETIME),
    "MAX_PERSONAL_CREDENTIALS": ("E051", [-1, True, 1.0, "1"]),
    "ALLOW_RENEWAL": ("E032", NOT_BOOLEAN),
    "TENANTS": ("E033", [1, "", "nodots", "no.such.module", "jwt_sessions.conf.missing", ["acme"]]),
    "SESSION_CACHE": ("E038", NOT_TEXT),
    "SESSION_CHECK": ("E021", [None, "Database", True, ["none"]]),
    "ACTIVITY_RESOLUTION": ("E022", NOT_DURATION),
    "LEEWAY": ("E023", NOT_DURATION),
    "MAX_ACCESS_TOKEN_BYTES": ("E024", [None, True, 0, -1, 16385, 4096.0, "4096"]),
    "COOKIE": (
        "E025",
        [
            None,
            "refresh",
            [("NAME", "refresh")],
            {"name": "refresh"},
            {"HTTPONLY": False},
            {"NAME": ""},
            {"NAME": None},
            {"NAME": "a b"},
            {"NAME": "a;b"},
            {"NAME": "a\n"},
            {"PATH": ""},
            {"PATH": "auth"},
            {"PATH": None},
            {"DOMAIN": 1},
            {"SECURE": 1},
            {"SECURE": None},
            {"SAMESITE": "strict"},
            {"SAMESITE": None},
            {"SAMESITE": "None", "SECURE": False},
        ],
    ),
    "OPTIONAL_CLAIMS": ("E035", NOT_STRINGS),
    "CLAIMS": (
        "E034",
        [["roles"], "roles", {1: "email"}, {"": "email"}, {"mail": 1}, {"mail": None}, {"mail": "e mail"}],
    ),
    "CLIENT_IP": (
        "E026",
        [1, "", "nodots", "no.such.module", "jwt_sessions.conf.missing", "jwt_sessions.conf.ALGORITHMS"],
    ),
    "DEVICE_PLACE": ("E052", [1, "", "nodots", "no.such.module", "jwt_sessions.conf.missing"]),
    "DEVICES_RECENT_LOGIN": ("E053", NOT_LIFETIME),
    "TRUSTED_ISSUERS": (
        "E036",
        [None, [], "https://a.example", {"": {}}, {1: {}}, {"a": None}, {"a": {}}, {"a": {"jwks": "http://a.example"}}],
    ),
    "PASSWORD_CHANGE_ENDS_SESSIONS": ("E027", NOT_BOOLEAN),
    "EXCHANGE_SIMPLEJWT_TOKENS": ("E037", NOT_BOOLEAN),
    "LOGIN_THROTTLE": (
        "E028",
        [10, "", "10", "10/", "/min", "0/min", "-1/min", "10/x", "10/min ", "1.5/s", "1" * 10 + "/s"],
    ),
}


def test_every_setting_is_checked_for_its_type():
    assert set(WRONG) == {field.name for field in dataclasses.fields(Settings)}
    assert len({check_id for check_id, _values in WRONG.values()}) == len(WRONG)


@pytest.mark.parametrize(
    ("key", "check_id", "value"),
    [(key, check_id, value) for key, (check_id, values) in WRONG.items() for value in values],
)
def test_a_wrong_value_is_an_error_with_the_key_and_the_mend(key, check_id, value):
    (message,) = messages({key: value})
    assert message.id == f"jwt_sessions.{check_id}"
    assert message.level == checks.ERROR
    assert message.obj == key
    assert key in message.msg
    assert message.hint.startswith("Set it to ")
    assert CANARY not in str(message)


def test_an_exchange_without_simplejwt_is_an_error(monkeypatch):
    assert ids({"EXCHANGE_SIMPLEJWT_TOKENS": True}) == []
    for name in [name for name in sys.modules if name.startswith("rest_framework_simplejwt")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rest_framework_simplejwt", None)
    (message,) = messages({"EXCHANGE_SIMPLEJWT_TOKENS": True})
    assert (message.id, message.obj) == ("jwt_sessions.E047", "EXCHANGE_SIMPLEJWT_TOKENS")
    assert "django-jwt-sessions[simplejwt]" in message.hint
    assert ids({"EXCHANGE_SIMPLEJWT_TOKENS": False}) == []


@pytest.mark.parametrize(
    ("exchanges", "days", "warned"),
    [(True, 30, ["W021"]), (True, 89, ["W021"]), (True, 90, []), (True, None, []), (False, 30, [])],
)
def test_an_exchange_that_logs_out_users_of_old_tokens_of_simplejwt_is_a_warning(settings, exchanges, days, warned):
    settings.SIMPLE_JWT = {"REFRESH_TOKEN_LIFETIME": timedelta(days=90)}
    lifetime = None if days is None else timedelta(days=days)
    assert ids({"EXCHANGE_SIMPLEJWT_TOKENS": exchanges, "MAX_SESSION_LIFETIME": lifetime}) == warned


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        *(("ISUER", "ISSUER?"), ("issuer", "ISSUER?"), ("AUDIENCE", "AUDIENCES?"), ("IDLE-TIMEOUT", "IDLE_TIMEOUT?")),
        *(("", "AUDIENCES"), (1, "AUDIENCES"), (None, "AUDIENCES"), ("COLOUR", "AUDIENCES")),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_one_meant_or_all(key, hint):
    (message,) = messages({key: CANARY})
    assert message.id == "jwt_sessions.E002"
    assert message.obj == str(key)
    assert repr(key) in message.msg
    assert hint in message.hint
    assert message.hint.startswith("Did you mean") == hint.endswith("?")
    assert CANARY not in str(message)


@pytest.mark.parametrize("value", [None, [], "", CANARY, 1])
def test_settings_that_are_no_dict_are_an_error(value):
    (message,) = messages(value)
    assert (message.id, message.obj) == ("jwt_sessions.E001", "JWT_SESSIONS")
    assert CANARY not in str(message)


@pytest.mark.parametrize(
    ("given", "check_id", "key"),
    [
        ({"ALGORITHM": "RS256"}, "E040", "SIGNING_KEYS"),
        ({"REUSE_GRACE_PERIOD": timedelta(hours=25)}, "E041", "LOST_RESPONSE_WINDOW"),
        ({"LOST_RESPONSE_WINDOW": timedelta(seconds=29)}, "E041", "LOST_RESPONSE_WINDOW"),
        ({"IDLE_TIMEOUT": timedelta(seconds=59)}, "E042", "IDLE_TIMEOUT"),
        ({"IDLE_TIMEOUT": timedelta(seconds=119)}, "E042", "IDLE_TIMEOUT"),
        ({"IDLE_TIMEOUT": SECOND * 9, "ACTIVITY_RESOLUTION": SECOND * 5}, "E042", "IDLE_TIMEOUT"),
        ({"SIGNING_KEYS": [f"/nowhere/{CANARY}"]}, "E043", "SIGNING_KEYS"),
        ({"SIGNING_KEYS": [f"-----BEGIN PRIVATE KEY-----{CANARY}"]}, "E043", "SIGNING_KEYS"),
        ({"ALGORITHM": "HS256", "SIGNING_KEYS": [CANARY]}, "E043", "SIGNING_KEYS"),
        ({"IDLE_TIMEOUT": timedelta(days=30, seconds=1)}, "E044", "IDLE_TIMEOUT"),
        ({"SOFT_EXPIRY": timedelta(minutes=5)}, "E045", "SOFT_EXPIRY"),
        ({"SOFT_EXPIRY": SECOND * 9, "ACCESS_TOKEN_LIFETIME": {"user": SECOND * 8}}, "E045", "SOFT_EXPIRY"),
    ],
)
def test_an_impossible_combination_is_an_error_with_the_key_and_the_mend(given, check_id, key):
    (message,) = messages(given)
    assert (message.id, message.obj) == (f"jwt_sessions.{check_id}", key)
    assert message.level == checks.ERROR
    assert message.hint
    assert CANARY not in str(message)


@pytest.mark.parametrize(
    "given",
    [
        {"REUSE_GRACE_PERIOD": timedelta(0), "LOST_RESPONSE_WINDOW": timedelta(0)},
        {"REUSE_GRACE_PERIOD": timedelta(hours=24)},
        {"IDLE_TIMEOUT": timedelta(seconds=120)},
        {"IDLE_TIMEOUT": SECOND, "ACTIVITY_RESOLUTION": timedelta(0)},
        {"IDLE_TIMEOUT": timedelta(days=30)},
        {"IDLE_TIMEOUT": timedelta(days=31), "MAX_SESSION_LIFETIME": None},
        {"SOFT_EXPIRY": timedelta(seconds=299)},
        {"SOFT_EXPIRY": SECOND * 8, "ACCESS_TOKEN_LIFETIME": {"user": SECOND * 9, "api": SECOND}},
        {"ALGORITHM": "HS256", "SIGNING_KEYS": [CANARY * 3]},
    ],
)
def test_the_edge_of_an_impossible_combination_is_possible(given):
    assert messages(given) == []


@pytest.mark.parametrize(
    ("given", "check_id", "key"),
    [
        ({"COOKIE": {"SECURE": False}}, "W001", "COOKIE"),
        ({"COOKIE": {"SAMESITE": "None"}}, "W002", "COOKIE"),
        ({"SESSION_CHECK": "none"}, "W003", "SESSION_CHECK"),
        ({"LOGIN_THROTTLE": None}, "W004", "LOGIN_THROTTLE"),
        ({"REFRESH_TOKEN_LIFETIME": None, "MAX_SESSION_LIFETIME": None}, "W006", "MAX_SESSION_LIFETIME"),
        ({"ROTATE_REFRESH_TOKENS": False}, "W007", "ROTATE_REFRESH_TOKENS"),
        ({"ALGORITHM": "HS256"}, "W008", "ALGORITHM"),
        ({"ISSUER": "jwt-sessions"}, "W009", "ISSUER"),
        ({"ISSUER": "http://id.example.com"}, "W014", "ISSUER"),
        ({"ISSUER": "https://id.example.com/"}, "W015", "ISSUER"),
        ({"ACCESS_TOKEN_LIFETIME": timedelta(seconds=3601)}, "W010", "ACCESS_TOKEN_LIFETIME"),
    ],
)
def test_a_risk_is_a_warning_at_deployment_alone(given, check_id, key):
    (message,) = messages({**CAREFUL, **given}, deploy=True)
    assert (message.id, message.obj) == (f"jwt_sessions.{check_id}", key)
    assert message.level == checks.WARNING
    assert message.hint
    assert messages({**CAREFUL, **given}) == []


@pytest.mark.parametrize("backend", ["locmem.LocMemCache", "dummy.DummyCache"])
def test_failed_logins_counted_in_a_cache_of_each_process_are_a_warning(backend):
    caches = {"default": {"BACKEND": f"django.core.cache.backends.{backend}"}}
    assert ids(CAREFUL, deploy=True, caches=caches) == ["W005"]
    assert ids({**CAREFUL, "LOGIN_THROTTLE": None}, deploy=True, caches=caches) == ["W004"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECURE_PROXY_SSL_HEADER", ("HTTP_X_FORWARDED_PROTO", "https")),
        ("USE_X_FORWARDED_HOST", True),
        ("USE_X_FORWARDED_PORT", True),
    ],
)
def test_a_proxy_whose_address_is_taken_for_that_of_all_clients_is_a_warning(settings, name, value):
    setattr(settings, name, value)
    (message,) = messages(CAREFUL, deploy=True)
    assert (message.id, message.obj) == ("jwt_sessions.W017", "CLIENT_IP")
    assert "trusted_proxies(1)" in message.hint
    assert messages(CAREFUL) == []
    assert ids({**CAREFUL, "CLIENT_IP": trusted_proxies(1)}, deploy=True) == []
    assert ids({**CAREFUL, "LOGIN_THROTTLE": None}, deploy=True) == ["W004"]


@pytest.mark.parametrize(
    "given",
    [
        {"REFRESH_TOKEN_LIFETIME": None},
        {"MAX_SESSION_LIFETIME": None},
        {"ACCESS_TOKEN_LIFETIME": timedelta(hours=1)},
        {"ACCESS_TOKEN_LIFETIME": {"api": timedelta(days=1)}},
        {"COOKIE": {"SAMESITE": "Lax"}},
    ],
)
def test_what_is_no_risk_is_not_warned_about(given):
    assert messages({**CAREFUL, **given}, deploy=True) == []


def test_wrong_settings_are_reported_once_at_deployment():
    assert ids({"LEEWAY": CANARY}, deploy=True) == ["E023"]


def test_manage_py_check_fails_and_quotes_no_key(capsys):
    with (
        override_settings(JWT_SESSIONS={"SIGNING_KEYS": CANARY, "LEEWAY": CANARY}),
        pytest.raises(CommandError, match="E013") as caught,
    ):
        call_command("check")
    assert "E023" in str(caught.value)
    assert CANARY not in str(caught.value) + "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"LEEWAY": timedelta(days=-1)}, "datetime.timedelta(days=-1)"),
        ({"MAX_CONCURRENT_SESSIONS": 0}, "(0)"),
        ({"SIGNING_KEYS": CANARY}, "(str)"),
        ({"TENANTS": "no.such.module"}, "(str)"),
    ],
)
def test_a_wrong_value_is_shown_unless_it_may_be_a_secret(given, shown):
    (message,) = messages(given)
    assert shown in message.msg
    assert CANARY not in str(message)


def test_a_callable_that_cannot_be_imported_says_why():
    (message,) = messages({"TENANTS": "no.such.module"})
    assert "No module named 'no'" in message.hint


def test_a_cache_that_is_missing_is_named():
    (message,) = messages({"SESSION_CACHE": "verdicts"})
    assert "'verdicts'" in message.msg


def test_the_claim_that_fails_is_named(db):
    UserFactory()
    (message,) = messages({"CLAIMS": {"email": "email", "plan": "profile.plan"}})
    assert message.id == "jwt_sessions.W013"
    assert "'plan'" in message.msg


@pytest.mark.parametrize("name", ["JWT_SESSION", "JWT_SESIONS", "JWTSESSIONS"])
def test_a_misspelt_name_of_the_settings_is_an_error(settings, name):
    setattr(settings, name, {"LEEWAY": CANARY})
    (message,) = messages({})
    assert (message.id, message.obj) == ("jwt_sessions.E003", name)
    assert CANARY not in str(message)
    setattr(settings, name, "not a dict")
    assert messages({}) == []


class OwnView(APIView):
    authentication_classes = (JWTSessionAuthentication,)


@pytest.mark.parametrize("how", ["default", "middleware", "view"])
def test_a_project_in_which_no_view_takes_an_access_token_is_warned(settings, how):
    settings.ROOT_URLCONF = ModuleType("urls")
    settings.ROOT_URLCONF.urlpatterns = [path("auth/", include("jwt_sessions.urls"))]
    settings.REST_FRAMEWORK = {}
    settings.MIDDLEWARE = []
    assert ids({}) == ["W016"]
    if how == "default":
        settings.REST_FRAMEWORK = {
            "DEFAULT_AUTHENTICATION_CLASSES": ["jwt_sessions.authentication.JWTSessionAuthentication"]
        }
    elif how == "middleware":
        settings.MIDDLEWARE = ["jwt_sessions.middleware.JWTSessionMiddleware"]
    else:
        settings.ROOT_URLCONF.urlpatterns += [path("api/", include([path("me/", OwnView.as_view())]))]
        clear_url_caches()
    assert ids({}) == []
