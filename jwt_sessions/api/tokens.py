"""Where tokens are issued and revoked: ``login/``, ``token/``, ``logout/``, ``revoke/``."""

from __future__ import annotations

import contextlib
from typing import Any, cast

from django.contrib.auth import get_user_model
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_variables
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from jwt_sessions import conf, sessions
from jwt_sessions.api import cookies
from jwt_sessions.api.clients import check_client, required_client_secret
from jwt_sessions.api.errors import challenge, complaint
from jwt_sessions.api.serializers import (
    ACCESS_TOKEN_TYPE,
    ClientCredentialsGrantSerializer,
    ExchangeGrantSerializer,
    LoginSerializer,
    PasswordGrantSerializer,
    ReauthenticateSerializer,
    RefreshGrantSerializer,
    RenewSerializer,
    TokenSerializer,
    access_token_answer,
    token_answer,
)
from jwt_sessions.api.views import Endpoint, OAuthEndpoint, validated
from jwt_sessions.authentication import bearer_token, is_background
from jwt_sessions.exceptions import InvalidRequest, InvalidTarget, UnsupportedGrantType, UnsupportedTokenType
from jwt_sessions.types import TokenPair

TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105  # RFC 8693 §2.1

hides_locals = method_decorator(sensitive_variables(), name="post")


def _answer(pair: TokenPair, *, by_cookie: bool) -> Response:
    response = Response(token_answer(pair, with_refresh_token=not by_cookie))
    if by_cookie:
        cookies.set_refresh_cookie(response, pair.refresh_token, pair.session_expires_at, timezone.now())
    return _never_cached(response)


def _never_cached(response: Response) -> Response:
    # RFC 6749 §5.1 asks for this beside Cache-Control.
    response["Pragma"] = "no-cache"
    return response


def _wants_cookie(request: Request, parameters: dict[str, Any]) -> bool:
    """
    Whether the refresh token is to come by cookie.

    Raises:
        CrossSiteRequest: A foreign site wants it, which could sign its visitors in to an account of its own.
    """
    by_cookie = parameters.get("delivery") == "cookie"
    if by_cookie:
        cookies.check_same_site(request._request)
    return by_cookie


def _audience(parameters: dict[str, Any]) -> str | None:
    """
    The audience asked for, also where it is called ``resource`` (RFC 8707 §2).

    Raises:
        InvalidTarget: The resource is unknown, or not the audience that is asked for beside it.
    """
    audience: str | None = parameters.get("audience")
    resource: str | None = parameters.get("resource")
    if resource is not None and resource not in conf.current().AUDIENCES:
        raise InvalidTarget("This resource is unknown.", field="resource")
    if None not in (audience, resource) and audience != resource:
        raise InvalidTarget("The resource is not the audience.", field="resource")
    return audience or resource


@hides_locals
class LoginView(Endpoint):
    """Sign in with a name and a password."""

    def post(self, request: Request) -> Response:
        parameters = validated(LoginSerializer, request)
        by_cookie = _wants_cookie(request, parameters)
        pair = sessions.sign_in(
            request._request,
            parameters[get_user_model().USERNAME_FIELD],
            parameters["password"],
            audience=_audience(parameters),
            tenant=parameters.get("tenantId"),
            device_name=parameters.get("device_name", ""),
            replace_others=parameters.get("replace_others", False),
        )
        return _answer(pair, by_cookie=by_cookie)


@hides_locals
class TokenView(OAuthEndpoint):
    """The token endpoint (RFC 6749 §3.2)."""

    def post(self, request: Request) -> Response:
        grants = {
            "refresh_token": self._refresh,
            "password": self._password,
            "client_credentials": self._client_credentials,
        }
        if conf.current().EXCHANGE_SIMPLEJWT_TOKENS:
            grants[TOKEN_EXCHANGE] = self._exchange
        grant_type = cast(dict[str, Any], request.data).get("grant_type")
        if not isinstance(grant_type, str) or not grant_type:
            raise InvalidRequest("grant_type is missing.", field="grant_type")
        if grant_type not in grants:
            raise UnsupportedGrantType("This grant_type is not supported.", field="grant_type")
        return grants[grant_type](request)

    @sensitive_variables()
    def _client_credentials(self, request: Request) -> Response:
        presented = required_client_secret(request)
        parameters = validated(ClientCredentialsGrantSerializer, request)
        token = sessions.exchange_credential(
            presented,
            request=request._request,
            audience=_audience(parameters),
            tenant=parameters.get("tenantId"),
        )
        return _never_cached(Response(access_token_answer(token)))

    @sensitive_variables()
    def _refresh(self, request: Request) -> Response:
        check_client(request)
        parameters = validated(RefreshGrantSerializer, request)
        by_cookie = "refresh_token" not in parameters
        token = cookies.refresh_cookie(request._request) if by_cookie else parameters["refresh_token"]
        if token is None:
            raise InvalidRequest("refresh_token is missing.", field="refresh_token")
        if by_cookie:
            cookies.check_same_site(request._request)
        pair = sessions.refresh(
            token,
            request=request._request,
            tenant=parameters.get("tenantId"),
            audience=_audience(parameters),
            background=parameters.get("background", False),
        )
        return _answer(pair, by_cookie=by_cookie)

    @sensitive_variables()
    def _password(self, request: Request) -> Response:
        check_client(request)
        parameters = validated(PasswordGrantSerializer, request)
        pair = sessions.sign_in(
            request._request, parameters["username"], parameters["password"], audience=_audience(parameters)
        )
        return _answer(pair, by_cookie=False)

    @sensitive_variables()
    def _exchange(self, request: Request) -> Response:
        check_client(request)
        parameters = validated(ExchangeGrantSerializer, request)
        by_cookie = _wants_cookie(request, parameters)
        pair = sessions.exchange_token(
            parameters["subject_token"],
            request=request._request,
            audience=_audience(parameters),
            tenant=parameters.get("tenantId"),
            device_name=parameters.get("device_name", ""),
        )
        response = _answer(pair, by_cookie=by_cookie)
        response.data["issued_token_type"] = ACCESS_TOKEN_TYPE
        return response


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

    def post(self, request: Request) -> Response:
        parameters = validated(ReauthenticateSerializer, request)
        by_cookie = _wants_cookie(request, parameters)
        pair = sessions.reauthenticate(
            self.token(request),
            parameters["password"],
            request=request._request,
            tenant=parameters.get("tenantId"),
        )
        return _answer(pair, by_cookie=by_cookie)


@hides_locals
class RenewView(BearerEndpoint):
    """Exchange a valid access token for a fresh one, where ``ALLOW_RENEWAL`` is on."""

    def post(self, request: Request) -> Response:
        parameters = validated(RenewSerializer, request)
        background = parameters.get("background", False) or is_background(request)
        pair = sessions.renew(
            self.token(request),
            request=request._request,
            tenant=parameters.get("tenantId"),
            background=background,
        )
        return Response(token_answer(pair, with_refresh_token=False))


@hides_locals
class LogoutView(Endpoint):
    """
    Sign out. Whatever was presented, also something dead or nothing, the answer is 204 and the cookie is cleared.

    Only a foreign site that presents nothing but the cookie is refused.
    """

    def post(self, request: Request) -> Response:
        presented = [_bearer_token(request), _readable_body(request).get("refresh_token")]
        tokens = [token for token in presented if token and isinstance(token, str)]
        cookie = cookies.refresh_cookie(request._request)
        if cookie is not None and not tokens:
            cookies.check_same_site(request._request)
            tokens = [cookie]
        for token in tokens:
            with contextlib.suppress(UnsupportedTokenType):
                sessions.sign_out(token, request=request._request)
        response = Response(status=204)
        cookies.clear_refresh_cookie(response)
        return response


@hides_locals
class RevokeView(OAuthEndpoint):
    """Token revocation (RFC 7009): 200 also for what is unknown or dead, so that nobody learns which."""

    def post(self, request: Request) -> Response:
        check_client(request)
        sessions.sign_out(validated(TokenSerializer, request)["token"], request=request._request)
        return Response({})


def _readable_body(request: Request) -> dict[str, Any]:
    """The parameters of a request; none where the body is such that there are none to be read."""
    try:
        return cast(dict[str, Any], request.data)
    except Exception as error:
        if complaint(error) is None:
            raise
        return {}


def _bearer_token(request: Request) -> str | None:
    token = bearer_token(request)
    return None if token is None else token.decode("latin-1")
