"""Where tokens are issued and revoked: ``login/``, ``token/``, ``logout/``, ``revoke/``."""

from __future__ import annotations

import contextlib
from typing import Any, cast

from django.contrib.auth import get_user_model
from django.http import HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_variables
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from jwt_sessions import login, sessions
from jwt_sessions.api.clients import check_client
from jwt_sessions.api.grants import delivery_of, grants
from jwt_sessions.api.serializers import LoginSerializer, ReauthenticateSerializer, RenewSerializer, TokenSerializer
from jwt_sessions.api.views import Endpoint, OAuthEndpoint, validated
from jwt_sessions.authentication import bearer_token, is_background
from jwt_sessions.exceptions import InvalidRequest, InvalidToken, UnsupportedGrantType, UnsupportedTokenType
from jwt_sessions.http import cookies
from jwt_sessions.http.errors import challenge, complaint
from jwt_sessions.responses import RenewalAnswer, access_token_response, token_response
from jwt_sessions.tokens import opaque
from jwt_sessions.types import TokenPair

hides_locals = method_decorator(sensitive_variables(), name="post")


@hides_locals
class LoginView(Endpoint):
    """Sign in with a name and a password."""

    def post(self, request: Request) -> HttpResponse:
        parameters = validated(LoginSerializer, request)
        delivery = delivery_of(request, parameters)
        pair = login.sign_in(
            request._request,
            parameters[get_user_model().USERNAME_FIELD],
            parameters["password"],
            audience=parameters.get("audience"),
            tenant=parameters.get("tenantId"),
            device_name=parameters.get("device_name", ""),
            replace_others=parameters.get("replace_others", False),
        )
        return token_response(request, pair, delivery)


@hides_locals
class TokenView(OAuthEndpoint):
    """The token endpoint (RFC 6749 §3.2)."""

    def post(self, request: Request) -> HttpResponse:
        grant_type = cast(dict[str, Any], request.data).get("grant_type")
        if not isinstance(grant_type, str) or not grant_type:
            raise InvalidRequest("grant_type is missing.", field="grant_type")
        grant = grants().get(grant_type)
        if grant is None:
            raise UnsupportedGrantType("This grant_type is not supported.", field="grant_type")
        return grant.respond(request)


class BearerEndpoint(Endpoint):
    """An endpoint that takes an access token as a parameter of what it does, rather than to be authenticated by it."""

    def get_authenticate_header(self, request: Request) -> str:
        return challenge(None)

    def token(self, request: Request) -> str:
        token = _bearer_token(request)
        if token is None:
            raise NotAuthenticated
        return token


@hides_locals
class ReauthenticateView(BearerEndpoint):
    """Give the password again within a session."""

    def post(self, request: Request) -> HttpResponse:
        bearer, cookie = _bearer_token(request), cookies.refresh_cookie(request._request)
        if bearer is None and cookie is None and not _readable_body(request).get("refresh_token"):
            raise NotAuthenticated
        parameters = validated(ReauthenticateSerializer, request)
        if cookie is not None:
            cookies.check_same_site(request._request)
        delivery = delivery_of(request, parameters)
        pair = login.reauthenticate(
            bearer or parameters.get("refresh_token") or cookie or "",
            parameters["password"],
            request=request._request,
            tenant=parameters.get("tenantId"),
        )
        if "delivery" not in parameters and _belongs_to(cookie, pair):
            delivery = "cookie"
        return token_response(request, pair, delivery)


@hides_locals
class RenewView(BearerEndpoint):
    """Exchange a valid access token for a fresh one, where ``ALLOW_RENEWAL`` is on."""

    def post(self, request: Request) -> HttpResponse:
        parameters = validated(RenewSerializer, request)
        background = parameters.get("background", False) or is_background(request)
        pair = sessions.renew(
            self.token(request),
            request=request._request,
            tenant=parameters.get("tenantId"),
            background=background,
        )
        return access_token_response(pair, RenewalAnswer)


@hides_locals
class LogoutView(Endpoint):
    """
    Sign out. Whatever was presented, also something dead or nothing, the answer is 204 and the cookie is cleared.

    A foreign site can use and clear no cookie; one that presents nothing else is refused.
    """

    def post(self, request: Request) -> Response:
        presented = [_bearer_token(request), _readable_body(request).get("refresh_token")]
        tokens = [token for token in presented if token and isinstance(token, str)]
        cookie = cookies.refresh_cookie(request._request)
        if cookie is not None and not tokens:
            cookies.check_same_site(request._request)
        if cookie is not None and cookies.is_same_site(request._request):
            # The cookie is cleared below, so its session must not go on either.
            tokens.append(cookie)
        for token in tokens:
            with contextlib.suppress(UnsupportedTokenType):
                login.sign_out(token, request=request._request)
        response = Response(status=204)
        cookies.clear_refresh_cookie(request._request, response)
        return response


@hides_locals
class RevokeView(OAuthEndpoint):
    """Token revocation (RFC 7009): 200 also for what is unknown or dead, so that nobody learns which."""

    def post(self, request: Request) -> Response:
        check_client(request)
        login.sign_out(validated(TokenSerializer, request)["token"], request=request._request)
        return Response({})


def _readable_body(request: Request) -> dict[str, Any]:
    """The parameters of a request; none where the body is such that there are none to be read."""
    try:
        return cast(dict[str, Any], request.data)
    except Exception as error:
        if complaint(error) is None:
            raise
        return {}


def _belongs_to(cookie: str | None, pair: TokenPair) -> bool:
    """Whether a refresh cookie is of the session that was issued for."""
    try:
        return cookie is not None and opaque.parse(cookie).session_id == pair.session.pk
    except InvalidToken:
        return False


def _bearer_token(request: Request) -> str | None:
    token = bearer_token(request)
    return None if token is None else token.decode("latin-1")
