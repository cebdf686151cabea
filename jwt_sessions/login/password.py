"""Verifying a name and a password, by whatever authentication backends the project has."""

from __future__ import annotations

import inspect

from django.contrib.auth import authenticate, get_backends, get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.signals import user_login_failed
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from jwt_sessions import sessions
from jwt_sessions.client_info import client_address
from jwt_sessions.exceptions import InvalidCredentials
from jwt_sessions.login.names import counted_name
from jwt_sessions.throttle import Attempt


@sensitive_variables()
def verify_password(request: HttpRequest, username: str, password: str) -> AbstractBaseUser:
    """
    The active user with this name and password.

    Raises:
        InvalidCredentials: No backend accepts them, or the user is not active.
        Throttled: There were too many failures for this name or from this address.
    """
    with Attempt("login", counted_name(username), client_address(request)) as attempt:
        user = _authenticate(request, {_name_argument(request): username}, password)
        attempt.succeed()
    return user


@sensitive_variables()
def _authenticate(request: HttpRequest, name: dict[str, str], password: str) -> AbstractBaseUser:
    try:
        # A backend may write, as Django's own does to hash a password anew, and a database break that off.
        user = sessions.with_retries(lambda: authenticate(request, **name, password=password))
        if user is not None and not user.is_active:
            # A backend that leaves this to others was content, so nobody has told yet.
            user_login_failed.send(sender=__name__, credentials=name, request=request)
    except PermissionDenied:
        # A receiver of user_login_failed has its say on a failure, which it is in any case.
        raise InvalidCredentials from None
    if user is None or not user.is_active:
        raise InvalidCredentials
    return user


def _name_argument(request: HttpRequest) -> str:
    """
    What the project's backends call the name: "username" as Django's own forms do, or else the user model's field.

    ``authenticate`` passes over backends that do not take the arguments, so the name that all of them take is used.
    """
    field: str = get_user_model().USERNAME_FIELD
    takes_field = [_takes(backend, request, field) for backend in get_backends()]
    takes_username = [_takes(backend, request, "username") for backend in get_backends()]
    only_by_field = any(field and not name for field, name in zip(takes_field, takes_username, strict=True))
    return field if only_by_field else "username"


def _takes(backend: object, request: HttpRequest, argument: str) -> bool:
    try:
        inspect.signature(backend.authenticate).bind(request, **{argument: "", "password": ""})  # type: ignore[attr-defined]
    except TypeError:
        return False
    return True
