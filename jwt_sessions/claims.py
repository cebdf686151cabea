"""
Ready claims for ``CLAIMS``: ``{"roles": "jwt_sessions.claims.roles"}``. One query each, and none where they are unused.

They are as of the moment a token is issued. A permission taken away is in the token until it expires.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Permission
from django.db.models import Q

from jwt_sessions.types import Draft


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
