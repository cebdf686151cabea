"""
System checks. Each mistake in ``JWT_SESSIONS`` has an id of its own; docs/settings.md lists them.

``E`` stops Django from starting, ``W`` is shown by ``manage.py check --deploy``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured

from jwt_sessions import conf
from jwt_sessions.tokens.access import RESERVED_CLAIMS
from jwt_sessions.tokens.keys import ring

LONG_ACCESS_TOKEN = timedelta(hours=1)


@register(Tags.security)
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Unknown keys, wrong types, impossible combinations, keys that cannot be read."""
    settings, problems = conf.parse(getattr(django_settings, "JWT_SESSIONS", {}))
    messages: list[CheckMessage] = [
        Error(f"JWT_SESSIONS: {problem.message}", hint=problem.hint, obj=problem.key, id=problem.id)
        for problem in problems
    ]
    if settings is not None:
        messages += [
            Error(
                f"JWT_SESSIONS: {name!r} in CLAIMS is a reserved claim.",
                hint="Give the claim another name.",
                obj="CLAIMS",
                id="jwt_sessions.E046",
            )
            for name in sorted(RESERVED_CLAIMS.intersection(settings.CLAIMS))
        ]
    if settings is not None and not problems:
        try:
            ring()
        except ImproperlyConfigured as error:
            hint = "manage.py check names the entry; it has to be an unencrypted PEM, or a path to one."
            messages.append(Error(f"JWT_SESSIONS: {error}", hint=hint, obj="SIGNING_KEYS", id="jwt_sessions.E043"))
    return messages


@register(Tags.security, deploy=True)
def check_deployment(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """What is legal and risky in production."""
    settings, _problems = conf.parse(getattr(django_settings, "JWT_SESSIONS", {}))
    if settings is None:
        return []
    cache = django_settings.CACHES.get("default", {}).get("BACKEND", "")
    per_process = cache.endswith((".LocMemCache", ".DummyCache"))
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
            settings.LOGIN_THROTTLE is None,
            "LOGIN_THROTTLE",
            "Passwords can be guessed without limit.",
            'Set a rate such as "10/min".',
            "W004",
        ),
        (
            settings.LOGIN_THROTTLE is not None and per_process,
            "LOGIN_THROTTLE",
            "Failed logins are counted in a cache that each process has to itself.",
            "Make the default cache one that the processes share, such as Redis.",
            "W005",
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
            settings.ACCESS_TOKEN_LIFETIME["user"] > LONG_ACCESS_TOKEN,
            "ACCESS_TOKEN_LIFETIME",
            "Access tokens live longer than an hour.",
            "Keep them short: services that ask no database obey a revocation only when they expire.",
            "W010",
        ),
    )
    return [
        Warning(f"JWT_SESSIONS: {message}", hint=hint, obj=key, id=f"jwt_sessions.{number}")
        for risky, key, message, hint, number in risks
        if risky
    ]
