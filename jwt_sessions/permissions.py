"""Permissions for Django REST framework."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Self

from django.utils import timezone
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from jwt_sessions.exceptions import RecentLoginRequired
from jwt_sessions.http.errors import TokenRefused


class RequireRecentLogin(BasePermission):
    """
    The password must have been given within ``max_age``: ``permission_classes = [RequireRecentLogin(timedelta(…))]``.

    Otherwise the answer is 401 with the challenge of RFC 9470 §3, which names the age in seconds; ``reauthenticate/``
    satisfies it.
    """

    def __init__(self, max_age: timedelta) -> None:
        self.max_age = max_age

    def __call__(self) -> Self:
        # REST framework makes a permission by calling what stands in permission_classes.
        return self

    def has_permission(self, request: Request, view: Any) -> bool:
        claims = getattr(request.auth, "claims", {})
        if type(claims.get("auth_time")) is not int:
            # No token, or one for which nobody gave a password, as that of a credential.
            return False
        if claims["auth_time"] + self.max_age.total_seconds() > timezone.now().timestamp():
            return True
        error = RecentLoginRequired(self.max_age)
        request.token_refusal = error  # type: ignore[attr-defined]
        raise TokenRefused(error)


class RequireTokenType(BasePermission):
    """
    The access token must be of one of these types: ``permission_classes = [RequireTokenType("user", "personal")]``.

    For views that need a row of the user table as ``request.user``: tokens of API credentials have none.
    """

    message = "A token of this type is not accepted here."

    def __init__(self, *types: str) -> None:
        self.types = types

    def __call__(self) -> Self:
        # REST framework makes a permission by calling what stands in permission_classes.
        return self

    def has_permission(self, request: Request, view: Any) -> bool:
        return getattr(request.auth, "claims", {}).get("type") in self.types


class RequireTenant(BasePermission):
    """The access token must be for a tenant, which is ``request.auth.tenant`` then."""

    message = "A token for a tenant is required."

    def has_permission(self, request: Request, view: Any) -> bool:
        return getattr(request.auth, "tenant", None) is not None
