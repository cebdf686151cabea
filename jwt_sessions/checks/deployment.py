"""What is legal and risky in production."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Tags, Warning, register
from django.utils import timezone

from jwt_sessions import conf

LONG_ACCESS_TOKEN = timedelta(hours=1)


@register(Tags.security, deploy=True)
def check_deployment(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """What is legal and risky in production."""
    settings, _problems = conf.parse(getattr(django_settings, "JWT_SESSIONS", {}))
    if settings is None:
        return []
    risks = (
        (
            not settings.COOKIE.SECURE,
            "COOKIE",
            "The refresh cookie is sent over plain HTTP.",
            'Leave COOKIE["SECURE"] at True.',
            "W001",
        ),
        (
            settings.COOKIE.SAMESITE == "None",
            "COOKIE",
            "The refresh cookie is sent with requests from every site.",
            'Use SAMESITE "Strict" or "Lax" unless your pages live on another site than this API.',
            "W002",
        ),
        (
            settings.SESSION_CHECK == "none",
            "SESSION_CHECK",
            "A session that ends goes on until its access token expires.",
            'Use "database", or keep ACCESS_TOKEN_LIFETIME short.',
            "W003",
        ),
        (
            settings.SESSION_CHECK == "cache" and _is_per_process(settings.SESSION_CACHE),
            "SESSION_CACHE",
            "Verdicts are remembered in a cache that each process has to itself, where others cannot tell of an end.",
            "Name a cache that the processes share, such as Redis.",
            "W012",
        ),
        (
            settings.LOGIN_THROTTLE is None,
            "LOGIN_THROTTLE",
            "Passwords can be guessed without limit.",
            'Set a rate such as "10/min".',
            "W004",
        ),
        (
            settings.LOGIN_THROTTLE is not None and _is_per_process("default"),
            "LOGIN_THROTTLE",
            "Failed logins are counted in a cache that each process has to itself.",
            "Make the default cache one that the processes share, such as Redis.",
            "W005",
        ),
        (
            settings.LOGIN_THROTTLE is not None and settings.CLIENT_IP is None and _is_behind_a_proxy(),
            "CLIENT_IP",
            "There is a proxy in front of this server, and its address is taken for that of every client: "
            "who fails to log in uses up what all may fail together.",
            "Set it to jwt_sessions.client_info.trusted_proxies(1), or how many proxies there are.",
            "W017",
        ),
        (
            settings.REFRESH_TOKEN_LIFETIME is None and settings.MAX_SESSION_LIFETIME is None,
            "MAX_SESSION_LIFETIME",
            "Nothing ever ends a session that is left alone.",
            "Limit REFRESH_TOKEN_LIFETIME or MAX_SESSION_LIFETIME.",
            "W006",
        ),
        (
            not settings.ROTATE_REFRESH_TOKENS,
            "ROTATE_REFRESH_TOKENS",
            "A stolen refresh token works unnoticed beside the genuine one.",
            "Rotate refresh tokens (RFC 9700 §2.2.2).",
            "W007",
        ),
        (
            settings.ALGORITHM == "HS256",
            "ALGORITHM",
            "Whoever verifies tokens signed with HS256 can also forge them.",
            "Use ES256 unless this project alone verifies its tokens.",
            "W008",
        ),
        (
            settings.ISSUER == conf.Settings().ISSUER,
            "ISSUER",
            "The issuer is the default, which tells this project's tokens from no other's.",
            "Set ISSUER to the https URL of this server.",
            "W009",
        ),
        (
            urlsplit(settings.ISSUER).scheme == "http" and not settings.issuer_is_url,
            "ISSUER",
            "The issuer is an http URL, so the server metadata of RFC 8414 is off.",
            "Set ISSUER to the https URL of this server.",
            "W014",
        ),
        (
            settings.issuer_is_url and settings.ISSUER.endswith("/"),
            "ISSUER",
            "The issuer ends in a slash. Clients that leave it out refuse your tokens: issuers are compared as text.",
            "Leave the slash out.",
            "W015",
        ),
        (
            settings.ACCESS_TOKEN_LIFETIME["user"] > LONG_ACCESS_TOKEN,
            "ACCESS_TOKEN_LIFETIME",
            "Access tokens live longer than an hour.",
            "Keep them short: services that ask no database obey a revocation only when they expire.",
            "W010",
        ),
        (
            not django_settings.USE_TZ and _has_daylight_saving(timezone.get_default_timezone()),
            "USE_TZ",
            "Times are stored in a local time that has daylight saving. When the clocks change, idle timeouts and "
            "grace periods are an hour too short or too long.",
            "Set USE_TZ to True.",
            "W020",
        ),
    )
    return [
        Warning(f"JWT_SESSIONS: {message}", hint=hint, obj=key, id=f"jwt_sessions.{number}")
        for risky, key, message, hint, number in risks
        if risky
    ]


def _is_behind_a_proxy() -> bool:
    """Whether Django is told to believe what a proxy says of a request."""
    told = (
        django_settings.SECURE_PROXY_SSL_HEADER,
        django_settings.USE_X_FORWARDED_HOST,
        django_settings.USE_X_FORWARDED_PORT,
    )
    return any(told)


def _is_per_process(alias: str) -> bool:
    backend: str = django_settings.CACHES.get(alias, {}).get("BACKEND", "")
    return backend.endswith((".LocMemCache", ".DummyCache"))


def _has_daylight_saving(zone: tzinfo) -> bool:
    year = timezone.now().year
    return len({datetime(year, month, 1, tzinfo=zone).utcoffset() for month in range(1, 13)}) > 1
