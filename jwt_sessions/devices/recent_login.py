"""How long ago the password was given, and giving it again."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.contrib.auth import SESSION_KEY
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from jwt_sessions import conf, login
from jwt_sessions.devices.visitor import Visitor
from jwt_sessions.exceptions import InvalidCredentials
from jwt_sessions.http.cookies import refresh_cookie
from jwt_sessions.types import TokenPair

# In Django's session: when its user was last authenticated, in seconds since 1970. The user's ``last_login`` will not
# do: a login on another device moves it too, and a thief of this session would only have to wait for that.
LOGIN_KEY = "jwt_sessions_logged_in_at"
PASSWORD_LENGTH = 1024  # longer than any that makes sense, short enough to hash without harm


def is_recent(request: HttpRequest, visitor: Visitor, now: datetime) -> bool:
    """Whether a visitor may make changes without giving the password (``DEVICES_RECENT_LOGIN``)."""
    held, limit = visitor.held, conf.current().DEVICES_RECENT_LOGIN
    if held is not None and held.must_reauthenticate and not visitor.logged_in:
        return False
    if limit is None:
        return True
    ages = [] if held is None else [now - held.session.authenticated_at]
    if visitor.logged_in and hasattr(request, "session"):
        ages.append(timedelta(seconds=now.timestamp() - request.session.get(LOGIN_KEY, 0)))
    return any(age < limit for age in ages)


@sensitive_variables()
def give_password(request: HttpRequest, visitor: Visitor, password: str) -> TokenPair | None:
    """
    Give the password again.

    Args:
        request: The request.
        visitor: Who asks.
        password: What was entered.

    Returns:
        The new tokens, where a session was known by its refresh cookie: its earlier tokens are refused from now on.

    Raises:
        InvalidCredentials: The password is wrong.
        Throttled: There were too many failures.
        InvalidToken, SessionEnded, IssueDenied, IssueFailed: See :func:`jwt_sessions.login.reauthenticate`.
    """
    if len(password) > PASSWORD_LENGTH:
        raise InvalidCredentials
    cookie = refresh_cookie(request)
    if visitor.held is not None and cookie is not None:
        return login.reauthenticate(cookie, password, request=request)
    if login.verify_password(request, visitor.user.get_username(), password).pk != visitor.user.pk:
        raise InvalidCredentials
    note_login(request, visitor.user)
    return None


def note_login(request: HttpRequest | None, user: AbstractBaseUser) -> None:
    """Note in Django's session, if it is this user's and ``DEVICES_RECENT_LOGIN`` asks, that the user was verified."""
    session = getattr(request, "session", None)
    if session is None or conf.current().DEVICES_RECENT_LOGIN is None:
        return
    if session.get(SESSION_KEY) == user._meta.pk.value_to_string(user):
        session[LOGIN_KEY] = timezone.now().timestamp()
