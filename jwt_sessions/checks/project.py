"""Whether the project around the settings uses this package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.module_loading import import_string
from rest_framework.settings import api_settings

from jwt_sessions.authentication.bearer import BearerAuthentication
from jwt_sessions.middleware import JWTSessionMiddleware

NAME = "JWT_SESSIONS"


@register(Tags.security)
def check_project(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """A misspelt name of the settings, and a project in which no view takes an access token."""
    messages: list[CheckMessage] = [
        Error(
            f"The setting {name} is read by nobody.",
            hint=f"Call it {NAME}.",
            obj=name,
            id="jwt_sessions.E003",
        )
        for name in _misspelt()
    ]
    if not _takes_access_tokens():
        messages.append(
            Warning(
                "No view of this project takes an access token.",
                hint=(
                    "Add jwt_sessions.authentication.JWTSessionAuthentication to DEFAULT_AUTHENTICATION_CLASSES of "
                    "REST_FRAMEWORK or to the authentication_classes of views, or for plain views "
                    "jwt_sessions.middleware.JWTSessionMiddleware to MIDDLEWARE."
                ),
                obj="REST_FRAMEWORK",
                id="jwt_sessions.W016",
            )
        )
    return messages


def _misspelt() -> list[str]:
    names = [name for name in dir(django_settings) if name.isupper() and name != NAME]
    close = get_close_matches(NAME, names, n=5, cutoff=0.85)
    return sorted(name for name in close if isinstance(getattr(django_settings, name), dict))


def _takes_access_tokens() -> bool:
    if any(_is_ours(each) for each in api_settings.DEFAULT_AUTHENTICATION_CLASSES):
        return True
    middleware = (import_string(path) for path in django_settings.MIDDLEWARE)
    if any(isinstance(each, type) and issubclass(each, JWTSessionMiddleware) for each in middleware):
        return True
    if not getattr(django_settings, "ROOT_URLCONF", None):
        return False
    return any(_is_ours(each) for view in _views(get_resolver().url_patterns) for each in view)


def _views(patterns: Sequence[URLPattern | URLResolver]) -> Iterator[Sequence[Any]]:
    """The authentication classes of each view outside this package."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _views(pattern.url_patterns)
            continue
        view = getattr(pattern.callback, "cls", None)
        if view is not None and not view.__module__.startswith("jwt_sessions."):
            yield getattr(view, "authentication_classes", ())


def _is_ours(authentication: Any) -> bool:
    return isinstance(authentication, type) and issubclass(authentication, BearerAuthentication)
