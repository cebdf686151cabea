"""Permissions for Django REST framework."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Self

from django.utils import timezone
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from jwt_sessions import conf
from jwt_sessions.exceptions import RecentLoginRequired
from jwt_sessions.http.errors import TokenRefused
from jwt_sessions.tokens.access import LEAST_SKEW


class RequireRecentLogin(BasePermission):
    """
    The user must have been authenticated lately: ``permission_classes = [RequireRecentLogin(timedelta(…))]``.

    After ``max_age`` the answer is 401 with the challenge of RFC 9470 §3, which names the age in seconds;
    ``reauthenticate/`` satisfies it. With ``amr``, as ``{"otp"}``, it must have been by these methods (RFC 8176). The
    project's own view that verifies them calls :func:`jwt_sessions.sessions.reauthenticated`.
    """

    def __init__(self, max_age: timedelta, amr: Iterable[str] = ()) -> None:
        self.max_age = max_age
        self.amr = frozenset(amr)

    def __call__(self) -> Self:
        # REST framework makes a permission by calling what stands in permission_classes.
        return self

    def has_permission(self, request: Request, view: Any) -> bool:
        claims = getattr(request.auth, "claims", {})
        if type(claims.get("auth_time")) is not int:
            # No token, or one for which nobody gave a password, as that of a credential.
            return False
        now, skew = timezone.now().timestamp(), max(conf.current().LEEWAY.total_seconds(), LEAST_SKEW)
        # Numbers of another issuer may be of any size, so nothing is added to them. What lies ahead is not recent.
        is_recent = now - self.max_age.total_seconds() < claims["auth_time"] <= now + skew
        if is_recent and self.amr <= _methods(claims.get("amr")):
            return True
        raise TokenRefused(RecentLoginRequired(self.max_age, self.amr))


def _methods(amr: object) -> set[str]:
    """The methods that a token names. Another issuer may have put anything there."""
    return {each for each in amr if isinstance(each, str)} if isinstance(amr, list | tuple) else set()


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
