"""
Authentication classes for Django REST framework.

What needs the models is imported when asked for (PEP 562), so that a service that has neither this app nor a user
table can import what does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jwt_sessions.authentication.bearer import bearer_token, is_background
from jwt_sessions.authentication.stateless import JWTStatelessAuthentication

if TYPE_CHECKING:
    from jwt_sessions.authentication.session import JWTSessionAuthentication, authorize_bearer

__all__ = [
    "JWTSessionAuthentication",
    "JWTStatelessAuthentication",
    "authorize_bearer",
    "bearer_token",
    "is_background",
]


def __getattr__(name: str) -> Any:
    if name in ("JWTSessionAuthentication", "authorize_bearer"):
        return getattr(import_module("jwt_sessions.authentication.session"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
