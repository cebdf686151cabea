"""The grants of the token endpoint: :data:`GRANTS` is the one list of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.views.decorators.debug import sensitive_variables
from rest_framework import serializers
from rest_framework.request import Request

from jwt_sessions import conf, credentials, login, sessions
from jwt_sessions.api.clients import check_client, required_client_secret
from jwt_sessions.api.serializers import (
    CREDENTIAL_LENGTH,
    ClientParameters,
    PresentedTokenField,
    ResourceField,
    password_field,
    tenant_field,
    text_field,
)
from jwt_sessions.api.views import validated
from jwt_sessions.authentication import is_background
from jwt_sessions.exceptions import InvalidTarget, NoSession
from jwt_sessions.http import cookies
from jwt_sessions.http.serializers import Answer, NamedChoice
from jwt_sessions.models.session import DEVICE_NAME_LENGTH
from jwt_sessions.responses import (
    ACCESS_TOKEN_TYPE,
    AccessTokenAnswer,
    ExchangeAnswer,
    RenewalAnswer,
    TokenAnswer,
    access_token_response,
    token_response,
)

REFRESH_TOKEN, PASSWORD, CLIENT_CREDENTIALS = "refresh_token", "password", "client_credentials"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105  # RFC 8693 §2.1
REFRESH_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:refresh_token"  # noqa: S105  # RFC 8693 §3


class PasswordGrantSerializer(ClientParameters):
    """``grant_type=password`` (RFC 6749 §4.3.2)."""

    grant_type = NamedChoice("PasswordGrantType", [PASSWORD])
    username = text_field(CREDENTIAL_LENGTH)
    password = password_field()
    audience = text_field(required=False)
    resource = ResourceField()


class RefreshGrantSerializer(ClientParameters):
    """``grant_type=refresh_token`` (RFC 6749 §6), with the token in the body or in the cookie."""

    grant_type = NamedChoice("RefreshGrantType", [REFRESH_TOKEN])
    refresh_token = PresentedTokenField(required=False)
    audience = text_field(required=False)
    resource = ResourceField()
    tenantId = tenant_field()  # noqa: N815
    background = serializers.BooleanField(required=False)


class ClientCredentialsGrantSerializer(ClientParameters):
    """``grant_type=client_credentials`` (RFC 6749 §4.4). Who the client is, is looked at elsewhere."""

    grant_type = NamedChoice("ClientCredentialsGrantType", [CLIENT_CREDENTIALS])
    audience = text_field(required=False)
    resource = ResourceField()
    tenantId = tenant_field()  # noqa: N815


class ExchangeGrantSerializer(ClientParameters):
    """``grant_type=urn:ietf:params:oauth:grant-type:token-exchange`` (RFC 8693 §2.1), and what ``login/`` takes."""

    grant_type = NamedChoice("ExchangeGrantType", [TOKEN_EXCHANGE])
    subject_token = PresentedTokenField()
    subject_token_type = serializers.ChoiceField([REFRESH_TOKEN_TYPE])
    requested_token_type = serializers.ChoiceField([ACCESS_TOKEN_TYPE], required=False)
    audience = text_field(required=False)
    resource = ResourceField()
    tenantId = tenant_field()  # noqa: N815
    device_name = text_field(DEVICE_NAME_LENGTH, required=False)
    delivery = serializers.ChoiceField(["body", "cookie"], required=False)


def delivery_of(request: Request, parameters: dict[str, Any]) -> str:
    """
    How the refresh token is to be delivered: "body" or "cookie".

    Raises:
        CrossSiteRequest: A foreign site wants it, which could sign its visitors in to an account of its own.
    """
    delivery: str = parameters.get("delivery", "body")
    if delivery == "cookie":
        cookies.check_same_site(request._request)
    return delivery


def audience_of(parameters: dict[str, Any]) -> str | None:
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


@sensitive_variables()
def _refresh(request: Request) -> HttpResponse:
    check_client(request)
    parameters = validated(RefreshGrantSerializer, request)
    by_cookie = "refresh_token" not in parameters
    token = cookies.refresh_cookie(request._request) if by_cookie else parameters["refresh_token"]
    if token is None:
        raise NoSession
    if by_cookie:
        cookies.check_same_site(request._request)
    pair = sessions.refresh(
        token,
        request=request._request,
        tenant=parameters.get("tenantId"),
        audience=audience_of(parameters),
        background=parameters.get("background", False) or is_background(request),
    )
    if by_cookie and pair.refresh_token == token:
        # The browser has it. Set once more by a slow answer, it would replace a newer one that overtook the answer, and
        # be taken for a thief's after the grace period.
        return access_token_response(pair, RenewalAnswer)
    return token_response(request, pair, "cookie" if by_cookie else "body")


@sensitive_variables()
def _password(request: Request) -> HttpResponse:
    check_client(request)
    parameters = validated(PasswordGrantSerializer, request)
    pair = login.sign_in(
        request._request,
        parameters["username"],
        parameters["password"],
        audience=audience_of(parameters),
        tenant=parameters.get("tenantId"),
    )
    return token_response(request, pair)


@sensitive_variables()
def _client_credentials(request: Request) -> HttpResponse:
    presented = required_client_secret(request)
    parameters = validated(ClientCredentialsGrantSerializer, request)
    token = credentials.exchange_credential(
        presented,
        request=request._request,
        audience=audience_of(parameters),
        tenant=parameters.get("tenantId"),
    )
    return access_token_response(token, AccessTokenAnswer)


@sensitive_variables()
def _exchange(request: Request) -> HttpResponse:
    check_client(request)
    parameters = validated(ExchangeGrantSerializer, request)
    delivery = delivery_of(request, parameters)
    pair = login.exchange_token(
        parameters["subject_token"],
        request=request._request,
        audience=audience_of(parameters),
        tenant=parameters.get("tenantId"),
        device_name=parameters.get("device_name", ""),
    )
    return token_response(request, pair, delivery, answer=ExchangeAnswer)


@dataclass(frozen=True, slots=True)
class Grant:
    """
    A grant of the token endpoint.

    Attributes:
        parameters: The serializer of what a request brings.
        answer: The serializer of what it is answered with.
        respond: Answers a request.
        setting: The setting that turns it on; empty for one that is always on.
    """

    parameters: type[serializers.Serializer[Any]]
    answer: type[Answer]
    respond: Callable[[Request], HttpResponse]
    setting: str = ""


GRANTS: Mapping[str, Grant] = {
    PASSWORD: Grant(PasswordGrantSerializer, TokenAnswer, _password, setting="PASSWORD_GRANT"),
    REFRESH_TOKEN: Grant(RefreshGrantSerializer, TokenAnswer, _refresh),
    CLIENT_CREDENTIALS: Grant(ClientCredentialsGrantSerializer, AccessTokenAnswer, _client_credentials),
    TOKEN_EXCHANGE: Grant(ExchangeGrantSerializer, ExchangeAnswer, _exchange, setting="EXCHANGE_SIMPLEJWT_TOKENS"),
}


def grants() -> dict[str, Grant]:
    """The grants that are on, by ``grant_type``."""
    settings = conf.current()
    return {name: grant for name, grant in GRANTS.items() if not grant.setting or getattr(settings, grant.setting)}
