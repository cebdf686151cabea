"""What ``manage.py check`` says about settings."""

from __future__ import annotations

from django.core import checks
from django.test import override_settings

SHARED_CACHE = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://x"}}
# What a careful project sets: the deployment checks have nothing to say to it.
CAREFUL = {"ISSUER": "https://id.example.com"}


def messages(given: object, *, deploy: bool = False, caches: object = SHARED_CACHE) -> list[checks.CheckMessage]:
    """What ``manage.py check`` says about a JWT_SESSIONS dict."""
    with override_settings(JWT_SESSIONS=given, CACHES=caches):
        found = checks.run_checks(include_deployment_checks=deploy)
    return [message for message in found if str(message.id).startswith("jwt_sessions.")]


def ids(given: object, **options: object) -> list[str]:
    return [message.id.removeprefix("jwt_sessions.") for message in messages(given, **options)]
