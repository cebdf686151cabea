"""Who looks at the page: the user whom Django has logged in, or whoever the refresh cookie belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from jwt_sessions import sessions
from jwt_sessions.http.cookies import refresh_cookie
from jwt_sessions.verdict.session import SessionState


@dataclass(frozen=True, slots=True)
class Visitor:
    """
    A user, and what this browser holds.

    Attributes:
        user: Whose devices are shown.
        held: The living session of this user whose refresh cookie came along, or ``None``.
        logged_in: Whether Django knows the user by its own session; otherwise the cookie alone says who it is.
    """

    user: AbstractBaseUser
    held: SessionState | None
    logged_in: bool


@sensitive_variables()
def visitor_of(request: HttpRequest, now: datetime) -> Visitor | None:
    """
    Who asks, or ``None`` where nobody is signed in.

    The refresh token in the cookie is looked up and not used: it does not rotate, and nothing is noted. One of another
    user than Django's counts for nothing.
    """
    user = getattr(request, "user", None)
    cookie = refresh_cookie(request)
    held = None if cookie is None else sessions.look_up(cookie, now)
    # What acts by a credential, and has no row in the user table, manages nobody's devices.
    if isinstance(user, get_user_model()) and user.is_authenticated:
        own = held is not None and held.user.pk == user.pk
        return Visitor(user, held if own else None, logged_in=True)
    return None if held is None else Visitor(held.user, held, logged_in=False)
