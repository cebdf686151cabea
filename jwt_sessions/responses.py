"""Token answers (RFC 6749 §5.1), for this package's endpoints and for a project's own ways of signing in."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request

from jwt_sessions.http import cookies
from jwt_sessions.http.serializers import Answer, Constant, Moment, NamedChoice
from jwt_sessions.types import CredentialToken, TokenPair

# RFC 8693 §3
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  # a name, no secret


class AccessTokenAnswer(Answer):
    """An access token alone (RFC 6749 §4.4.3)."""

    access_token = serializers.CharField()
    token_type = NamedChoice("AccessTokenType", ["Bearer"])
    expires_in = serializers.IntegerField(help_text="Seconds.")
    tenantId = serializers.CharField(required=False, source="tenant")  # noqa: N815
    omitted = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="Optional claims that the token had no room for."
    )


class RenewalAnswer(AccessTokenAnswer):
    """An access token of a session."""

    refresh_in = serializers.IntegerField(help_text="Seconds after which a keep-alive timer should refresh.")
    session_id = serializers.UUIDField(source="session.pk")
    session_expires_at = Moment(allow_null=True)
    idle_expires_at = Moment(allow_null=True)


class TokenAnswer(RenewalAnswer):
    """An access token of a session and its refresh token, which is left out where it is delivered by cookie."""

    refresh_token = serializers.CharField(required=False)


class ExchangeAnswer(TokenAnswer):
    """What RFC 8693 §2.2.1 asks for."""

    issued_token_type = Constant("IssuedTokenType", ACCESS_TOKEN_TYPE)


def token_response(
    request: HttpRequest | Request, pair: TokenPair, delivery: str = "body", *, answer: type[Answer] = TokenAnswer
) -> HttpResponse:
    """
    The answer to a sign-in, a refresh or a re-authentication.

    For plain Django views and views of Django REST framework. A view that signs in by cookie has to be protected from
    other sites, as by Django's CSRF middleware.

    Args:
        request: The request that is answered.
        pair: What :func:`jwt_sessions.sessions.start` and its like have handed back.
        delivery: "body", or "cookie" for a refresh token that no script can read.
        answer: The serializer of the body.
    """
    body = _serializer(answer).to_representation(pair)
    if delivery == "cookie":
        del body["refresh_token"]
    response = uncached(JsonResponse(body))
    if delivery == "cookie":
        cookies.set_refresh_cookie(response, pair.refresh_token, pair.session_expires_at, timezone.now())
    return response


def access_token_response(token: TokenPair | CredentialToken, answer: type[Answer]) -> HttpResponse:
    """The answer that has no refresh token."""
    return uncached(JsonResponse(_serializer(answer).to_representation(token)))


def uncached(response: HttpResponse) -> HttpResponse:
    """A response that no cache may keep. RFC 6749 §5.1 asks for both headers."""
    response["Cache-Control"] = "no-store"
    response["Pragma"] = "no-cache"
    return response


# Making a serializer copies its fields, which takes longer than using it.
@cache
def _serializer(answer: type[Answer]) -> Any:
    return answer()
