"""Whether the settings can be used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured

from jwt_sessions import conf
from jwt_sessions.conf.trusted_issuers import TrustedIssuer
from jwt_sessions.tokens.claims import RESERVED_CLAIMS
from jwt_sessions.tokens.jwks import inline_key_set
from jwt_sessions.tokens.keys import ring

SIMPLEJWT = "rest_framework_simplejwt.tokens"
SIMPLEJWT_SETTINGS = "rest_framework_simplejwt.settings"


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
    elif settings is not None and settings.EXCHANGE_SIMPLEJWT_TOKENS:
        messages += _exchanges_that_log_out(settings)
    if settings is not None and not problems:
        try:
            ring()
        except ImproperlyConfigured as error:
            hint = "Each entry is an unencrypted PEM or the path of one; for HS256 a secret or the path of one."
            messages.append(Error(f"JWT_SESSIONS: {error}", hint=hint, obj="SIGNING_KEYS", id="jwt_sessions.E043"))
    if settings is not None:
        messages += _unusable_inline_keys(settings.TRUSTED_ISSUERS.values())
    return messages


def _exchanges_that_log_out(settings: conf.Settings) -> list[CheckMessage]:
    """A session counts from the sign-in, so it is over at once for a token that is older than a session may be."""
    lifetime = import_module(SIMPLEJWT_SETTINGS).api_settings.REFRESH_TOKEN_LIFETIME
    longest = settings.MAX_SESSION_LIFETIME
    if longest is None or lifetime <= longest:
        return []
    return [
        Warning(
            "JWT_SESSIONS: MAX_SESSION_LIFETIME is shorter than the REFRESH_TOKEN_LIFETIME of SIMPLE_JWT. Users whose "
            "token of simplejwt is older are logged out by the exchange.",
            hint=f"Make MAX_SESSION_LIFETIME {lifetime} or longer until simplejwt is taken out.",
            obj="MAX_SESSION_LIFETIME",
            id="jwt_sessions.W021",
        )
    ]


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
