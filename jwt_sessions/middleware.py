"""Middleware that does for plain Django views what the authentication class does for Django REST framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.functional import SimpleLazyObject

from jwt_sessions.authentication import authorize_bearer, bearer_token
from jwt_sessions.exceptions import JWTSessionsError
from jwt_sessions.http.errors import TokenRefused
from jwt_sessions.http.reports import hide_secrets
from jwt_sessions.principal import Principal
from jwt_sessions.sessions import VerifiedToken


class JWTSessionMiddleware:
    """
    Gives plain views ``request.user``, ``await request.auser()`` and ``request.auth``, by the access token.

    ``request.user`` is the user of the token in ``Authorization: Bearer …``. A bad, expired or ended one is an
    ``AnonymousUser``, whatever else the request carries, for instance a session cookie of Django. Without that header
    what an earlier middleware found stays as it is. ``request.auth`` is the verified token
    (:class:`jwt_sessions.sessions.VerifiedToken`); false, if there is no good one.

    The token is looked at when a view looks, and once. A request with ``X-Session-Background: 1`` is no sign of the
    user. Errors of the database are raised: an outage makes nobody anonymous.

    Synchronous and asynchronous. As with Django's own ``request.user``, an asynchronous view asks ``request.auser()``
    first; ``request.user`` and ``request.auth`` are at hand then.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        _introduce(request)
        return self._arespond(request) if self.is_async else _varied(self.get_response(request))

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer 401 where a view looked at the session of a token and it is gone."""
        if not isinstance(exception, TokenRefused):
            return None
        return HttpResponse(status=401, headers={"WWW-Authenticate": exception.auth_header})

    async def _arespond(self, request: HttpRequest) -> HttpResponseBase:
        return _varied(await self.get_response(request))


class Bearer:
    """Who the access token of a request speaks for."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    @cached_property
    def found(self) -> tuple[Any, VerifiedToken | None]:
        """The user and the verified token."""
        try:
            user, token = authorize_bearer(self._request) or (AnonymousUser(), None)
        except JWTSessionsError:
            return AnonymousUser(), None
        if token is not None and token.claims["type"] != "user":
            # Plain views, the admin among them, go by the rights of request.user: a credential has none of its owner's.
            return Principal(token.claims), token
        return user, token

    def user(self) -> Any:
        """The user, if need be an anonymous one."""
        return self.found[0]

    async def auser(self) -> Any:
        """The same, from asynchronous code."""
        return await sync_to_async(self.user)()

    def token(self) -> VerifiedToken | None:
        """The verified token."""
        return self.found[1]


def _introduce(request: Any) -> None:
    hide_secrets(request)
    if bearer_token(request) is not None:
        bearer = Bearer(request)
        request.user = SimpleLazyObject(bearer.user)
        request.auser = bearer.auser
        request.auth = SimpleLazyObject(bearer.token)
        return
    if not hasattr(request, "user"):
        request.user = AnonymousUser()
        request.auser = _anonymous
    if not hasattr(request, "auth"):
        request.auth = None


async def _anonymous() -> AnonymousUser:
    return AnonymousUser()


def _varied(response: HttpResponseBase) -> HttpResponseBase:
    """No cache may give one user's page to another (RFC 9110 §12.5.5), as Django sees to it for its session cookie."""
    patch_vary_headers(response, ["Authorization"])
    return response
