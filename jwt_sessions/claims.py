"""
Claims that a project configures with ``CLAIMS``, and ready ones: ``{"roles": "jwt_sessions.claims.roles"}``.

The ready ones take one query each, and none where they are unused. All are as of the moment a token is issued: a
permission taken away is in the token until it expires.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from functools import reduce
from typing import Any

from django.contrib.auth.models import Permission
from django.db.models import Q

from jwt_sessions import conf
from jwt_sessions.exceptions import IssueDenied, IssueFailed
from jwt_sessions.types import Draft

logger = logging.getLogger("jwt_sessions")


def configured_claims(draft: Draft, excluded: Collection[str]) -> dict[str, Any]:
    """
    What ``CLAIMS`` says about a token, but for the names that a policy excludes; those are not even asked for.

    Raises:
        IssueDenied: A callable refused.
        IssueFailed: A callable broke, or the user has no such attribute.
    """
    claims = {}
    for name, source in conf.current().CLAIMS.items():
        if name in excluded:
            continue
        try:
            claims[name] = source(draft.user, draft) if callable(source) else _attribute(draft.user, source)
        except IssueDenied:
            raise
        except Exception as error:
            logger.exception("the claim %r of CLAIMS failed, so no token was issued", name)
            raise IssueFailed(claim=name) from error
    return claims


def _attribute(user: Any, path: str) -> Any:
    return reduce(getattr, path.split("."), user)


def roles(user: Any, draft: Draft) -> list[str]:
    """The names of the user's groups."""
    return sorted(user.groups.values_list("name", flat=True))


def permissions(user: Any, draft: Draft) -> list[str]:
    """
    What Django's ``ModelBackend`` lets the user do, as "app_label.codename"; all of it for a superuser.

    Permissions that other backends grant are not asked for.
    """
    granted = Permission.objects.all()
    if not user.is_superuser:
        granted = granted.filter(Q(user=user) | Q(group__user=user))
    names = granted.order_by().values_list("content_type__app_label", "codename").distinct()
    return sorted(f"{app_label}.{codename}" for app_label, codename in names)
