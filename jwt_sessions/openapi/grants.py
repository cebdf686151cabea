"""What ``token/`` and ``introspect/`` take, with what is read by others than their serializers. They describe it."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from jwt_sessions import conf
from jwt_sessions.api.serializers import (
    ClientCredentialsGrantSerializer,
    ExchangeGrantSerializer,
    OAuthSerializer,
    PasswordGrantSerializer,
    PresentedTokenField,
    RefreshGrantSerializer,
    TokenSerializer,
)
from jwt_sessions.api.tokens import TOKEN_EXCHANGE
from jwt_sessions.openapi.answers import NamedChoice


class Client(OAuthSerializer):
    """A client that authenticates in the body rather than by HTTP Basic (RFC 6749 §2.3.1)."""

    client_id = PresentedTokenField(required=False)
    client_secret = PresentedTokenField(required=False)


class RefreshGrant(RefreshGrantSerializer, Client):
    """``grant_type=refresh_token`` (RFC 6749 §6). Without ``refresh_token`` that of the cookie is used."""

    grant_type = NamedChoice("RefreshGrantType", ["refresh_token"])


class PasswordGrant(PasswordGrantSerializer, Client):
    """``grant_type=password`` (RFC 6749 §4.3)."""

    grant_type = NamedChoice("PasswordGrantType", ["password"])


class ClientCredentialsGrant(ClientCredentialsGrantSerializer, Client):
    """``grant_type=client_credentials`` (RFC 6749 §4.4)."""

    grant_type = NamedChoice("ClientCredentialsGrantType", ["client_credentials"])


class ExchangeGrant(ExchangeGrantSerializer):
    """A refresh token of simplejwt for a session (RFC 8693)."""

    grant_type = NamedChoice("ExchangeGrantType", [TOKEN_EXCHANGE])


class Introspection(TokenSerializer, Client):
    """A token to ask about (RFC 7662 §2.1)."""


class Logout(OAuthSerializer):
    """The token of the session to end, unless an access token or the cookie tells."""

    refresh_token = PresentedTokenField(required=False)


def grants() -> dict[str, type[serializers.Serializer[Any]]]:
    """The grants that are on, by ``grant_type``."""
    found: dict[str, type[serializers.Serializer[Any]]] = {
        "refresh_token": RefreshGrant,
        "password": PasswordGrant,
        "client_credentials": ClientCredentialsGrant,
    }
    return {**found, TOKEN_EXCHANGE: ExchangeGrant} if conf.current().EXCHANGE_SIMPLEJWT_TOKENS else found
