"""
System checks. Each mistake in ``JWT_SESSIONS`` has an id of its own; docs/settings.md lists them.

``E`` stops Django from starting, ``W`` is shown by ``manage.py check --deploy``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from importlib import import_module
from typing import Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError

from jwt_sessions import conf
from jwt_sessions.exceptions import IssueDenied, IssueFailed
from jwt_sessions.sessions.issue import size_with_claims
from jwt_sessions.tokens.access import RESERVED_CLAIMS
from jwt_sessions.tokens.jwks import inline_key_set
from jwt_sessions.tokens.keys import ring
from jwt_sessions.trusted_issuers import TrustedIssuer

LONG_ACCESS_TOKEN = timedelta(hours=1)
NEAR_THE_LIMIT = 0.8
SIMPLEJWT = "rest_framework_simplejwt.tokens"


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
    if settings is not None and settings.EXCHANGE_SIMPLEJWT_TOKENS and not _can_import(SIMPLEJWT):
        messages.append(
            Error(
                "JWT_SESSIONS: EXCHANGE_SIMPLEJWT_TOKENS is on, and djangorestframework-simplejwt cannot be imported.",
                hint='Install "django-jwt-sessions[simplejwt]", or take the key out.',
                obj="EXCHANGE_SIMPLEJWT_TOKENS",
                id="jwt_sessions.E047",
            )
        )
    if settings is not None and not problems:
        try:
            ring()
        except ImproperlyConfigured as error:
            hint = "manage.py check names the entry; it has to be an unencrypted PEM, or a path to one."
            messages.append(Error(f"JWT_SESSIONS: {error}", hint=hint, obj="SIGNING_KEYS", id="jwt_sessions.E043"))
    if settings is not None:
        messages += _unusable_inline_keys(settings.TRUSTED_ISSUERS.values())
    return messages


def _unusable_inline_keys(issuers: Iterable[TrustedIssuer]) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    for issuer in issuers:
        try:
            if not issuer.is_remote:
                inline_key_set(issuer.jwks, issuer.algorithms)
        except ImproperlyConfigured as error:
            hint = "Give P-256, Ed25519 or RSA (2048 bits or more) public keys that fit algorithms."
            message = f"JWT_SESSIONS: {issuer.name!r}: {error}"
            messages.append(Error(message, hint=hint, obj="TRUSTED_ISSUERS", id="jwt_sessions.E036"))
    return messages


def _can_import(module: str) -> bool:
    try:
        import_module(module)
    except ImportError:
        return False
    return True


@register(Tags.security)
def check_size_of_claims(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """
    Whether what CLAIMS puts into the token of a sample user comes near the limit.

    Without CLAIMS nothing is read. The sample is a superuser where there is one: their permissions are the most.
    """
    settings, problems = conf.parse(getattr(django_settings, "JWT_SESSIONS", {}))
    if settings is None or problems or not settings.CLAIMS:
        return []
    try:
        user = _sample_user()
        size = 0 if user is None else size_with_claims(user)
    except (DatabaseError, ImproperlyConfigured, IssueDenied):
        # No tables yet, no database, or a user who gets no token: nothing to measure.
        return []
    except IssueFailed:
        return [
            Warning(
                "JWT_SESSIONS: CLAIMS fail for a sample user, who could not sign in.",
                hint="Each claim is an attribute that users have, or a callable (user, draft), and its value JSON.",
                obj="CLAIMS",
                id="jwt_sessions.W013",
            )
        ]
    if size < settings.MAX_ACCESS_TOKEN_BYTES * NEAR_THE_LIMIT:
        return []
    return [
        Warning(
            f"JWT_SESSIONS: with CLAIMS the access token of a sample user has {size} bytes, "
            f"near or above the {settings.MAX_ACCESS_TOKEN_BYTES} of MAX_ACCESS_TOKEN_BYTES.",
            hint="Put less into tokens, exclude claims by a policy, or name in OPTIONAL_CLAIMS what may be left out.",
            obj="CLAIMS",
            id="jwt_sessions.W011",
        )
    ]


def _sample_user() -> AbstractBaseUser | None:
    model = get_user_model()
    by_rights = ["-is_superuser"] if any(field.name == "is_superuser" for field in model._meta.fields) else []
    return model._base_manager.order_by(*by_rights, "pk").first()


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


def _is_per_process(alias: str) -> bool:
    backend: str = django_settings.CACHES.get(alias, {}).get("BACKEND", "")
    return backend.endswith((".LocMemCache", ".DummyCache"))
