"""
What the endpoints answer, as serializers that describe it. Nothing is serialized by them.

The tests compare them with the answers of a running project.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rest_framework import serializers

from jwt_sessions.api.errors import SHAPES
from jwt_sessions.api.policies import PolicySerializer
from jwt_sessions.api.serializers import ACCESS_TOKEN_TYPE
from jwt_sessions.exceptions import EndReason

CODES = sorted({kind.code for kind in SHAPES})
OAUTH_ERRORS = sorted({shape.oauth_error for shape in SHAPES.values()})


class NamedChoice(serializers.CharField):
    """One of a few words. They are described once, under a name of their own."""

    def __init__(self, name: str, words: Iterable[str], **options: Any) -> None:
        super().__init__(**options)
        self.name = name
        self.words = list(words)


class Answer(serializers.Serializer[Any]):
    """Base of what is answered."""


class Detail(Answer):
    """An error that needs no code."""

    detail = serializers.CharField()


class Error(Answer):
    """An error of a resource. Without ``code`` nothing was presented to authenticate with."""

    detail = serializers.CharField(help_text="For people.")
    code = NamedChoice("ErrorCode", CODES, required=False)
    terminal = serializers.BooleanField(required=False, help_text="Whether to sign in again.")
    reason = NamedChoice("EndReason", EndReason.values, required=False)
    field = serializers.CharField(required=False, help_text="The parameter that is wrong.")


class OAuthError(Answer):
    """An error of an OAuth endpoint (RFC 6749 §5.2)."""

    error = NamedChoice("OAuthErrorName", OAUTH_ERRORS)
    error_description = serializers.CharField(help_text="For people.")
    code = NamedChoice("ErrorCode", CODES)
    terminal = serializers.BooleanField(help_text="Whether to sign in again.")
    reason = NamedChoice("EndReason", EndReason.values, required=False)
    field = serializers.CharField(required=False, help_text="The parameter that is wrong.")


class AccessTokenAnswer(Answer):
    """An access token alone (RFC 6749 §4.4.3)."""

    access_token = serializers.CharField()
    token_type = NamedChoice("AccessTokenType", ["Bearer"])
    expires_in = serializers.IntegerField(help_text="Seconds.")
    tenantId = serializers.CharField(required=False)  # noqa: N815
    omitted = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="Optional claims that the token had no room for."
    )


class RenewalAnswer(AccessTokenAnswer):
    """An access token of a session."""

    refresh_in = serializers.IntegerField(help_text="Seconds after which a keep-alive timer should refresh.")
    session_id = serializers.UUIDField()
    session_expires_at = serializers.DateTimeField(allow_null=True)
    idle_expires_at = serializers.DateTimeField(allow_null=True)


class TokenAnswer(RenewalAnswer):
    """An access token of a session and its refresh token, which is left out where it is delivered by cookie."""

    refresh_token = serializers.CharField(required=False)


class ExchangeAnswer(TokenAnswer):
    """What RFC 8693 §2.2.1 asks for."""

    issued_token_type = NamedChoice("IssuedTokenType", [ACCESS_TOKEN_TYPE])


class Device(Answer):
    """What the User-Agent told at sign-in; empty where unknown."""

    browser = serializers.CharField()
    system = serializers.CharField()


class SessionAnswer(Answer):
    """A session as its owner sees it."""

    id = serializers.UUIDField()
    device_name = serializers.CharField()
    device = Device()
    ip_address = serializers.IPAddressField(allow_null=True)
    audience = serializers.CharField()
    created_at = serializers.DateTimeField()
    authenticated_at = serializers.DateTimeField()
    last_active_at = serializers.DateTimeField()
    session_expires_at = serializers.DateTimeField(allow_null=True)
    idle_expires_at = serializers.DateTimeField(allow_null=True)
    current = serializers.BooleanField(help_text="Whether it is the session that asks.")


class EndedAnswer(Answer):
    """How many sessions were ended."""

    ended = serializers.IntegerField()


class CredentialAnswer(Answer):
    """A credential as its owner sees it."""

    client_id = serializers.UUIDField()
    kind = NamedChoice("CredentialKind", ["personal"])
    name = serializers.CharField()
    audience = serializers.CharField()
    tenant = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)


class NewCredentialAnswer(CredentialAnswer):
    """A new credential. Its secret is shown this once."""

    client_secret = serializers.CharField()


class PolicyAnswer(PolicySerializer):
    """A policy. ``null`` and what is empty is no say."""


class IntrospectionAnswer(Answer):
    """The claims of a good token beside ``active``, or ``active: false`` alone (RFC 7662 §2.2)."""

    active = serializers.BooleanField()
    token_type = NamedChoice("TokenType", ["Bearer", "refresh_token"], required=False)
    username = serializers.CharField(required=False)
    iss = serializers.CharField(required=False)
    sub = serializers.CharField(required=False)
    aud = serializers.CharField(required=False)
    client_id = serializers.CharField(required=False)
    sid = serializers.UUIDField(required=False)
    jti = serializers.CharField(required=False)
    type = NamedChoice("AccessTokenOwner", ["user", "personal", "api"], required=False)
    gen = serializers.IntegerField(required=False)
    jwt_version = serializers.IntegerField(required=False)
    exp = serializers.IntegerField(required=False, help_text="Seconds since 1970, as all times here.")
    iat = serializers.IntegerField(required=False)
    auth_time = serializers.IntegerField(required=False)
    tenantId = serializers.CharField(required=False)  # noqa: N815


class RevokedAnswer(Answer):
    """The ``sid`` of each session that ended within ``max_age`` seconds."""

    revoked = serializers.ListField(child=serializers.UUIDField())
    max_age = serializers.IntegerField(help_text="Seconds: the longest that an access token lives.")


class Key(Answer):
    """A public key (RFC 7517 §4): on a curve with ``crv`` and ``x``, and of RSA with ``n`` and ``e``."""

    kty = serializers.CharField()
    kid = serializers.CharField()
    use = serializers.CharField()
    alg = serializers.CharField(required=False)
    crv = serializers.CharField(required=False)
    x = serializers.CharField(required=False)
    y = serializers.CharField(required=False)
    n = serializers.CharField(required=False)
    e = serializers.CharField(required=False)


class KeysAnswer(Answer):
    """A JWK set (RFC 7517 §5)."""

    keys = Key(many=True)


class ServerAnswer(Answer):
    """Authorization server metadata (RFC 8414 §2)."""

    issuer = serializers.URLField()
    token_endpoint = serializers.URLField()
    token_endpoint_auth_methods_supported = serializers.ListField(child=serializers.CharField())
    grant_types_supported = serializers.ListField(child=serializers.CharField())
    response_types_supported = serializers.ListField(child=serializers.CharField())
    jwks_uri = serializers.URLField()
    revocation_endpoint = serializers.URLField()
    revocation_endpoint_auth_methods_supported = serializers.ListField(child=serializers.CharField())
    introspection_endpoint = serializers.URLField()
    introspection_endpoint_auth_methods_supported = serializers.ListField(child=serializers.CharField())
