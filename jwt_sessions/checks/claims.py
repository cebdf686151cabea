"""Whether the claims that a project configures can be issued."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.checks import CheckMessage, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError

from jwt_sessions import conf
from jwt_sessions.exceptions import IssueDenied, IssueFailed
from jwt_sessions.sessions import size_with_claims

NEAR_THE_LIMIT = 0.8


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
    except IssueFailed as error:
        which = f"the claim {error.claim!r} of CLAIMS fails" if error.claim else "CLAIMS fail"
        return [
            Warning(
                f"JWT_SESSIONS: {which} for a sample user, who could not sign in.",
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
