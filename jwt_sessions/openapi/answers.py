"""
Errors and documents, as serializers that describe them. They are made elsewhere; tests compare the two.

Answers about tokens, sessions, credentials and policies are described by the serializers that make them.
"""

from __future__ import annotations

from rest_framework import serializers

from jwt_sessions.api.policies import PolicySerializer
from jwt_sessions.exceptions import EndReason
from jwt_sessions.http.errors import SHAPES
from jwt_sessions.http.serializers import Answer, NamedChoice

CODES = sorted({kind.code for kind in SHAPES})
OAUTH_ERRORS = sorted({shape.oauth_error for shape in SHAPES.values()})

SET_BY = "The policy whose timeout or lifetime ended the session: `settings`, `audience …` or `tenant …`."


class Detail(Answer):
    """An error that needs no code."""

    detail = serializers.CharField()


class Error(Answer):
    """An error of a resource. Without ``code`` nothing was presented to authenticate with."""

    detail = serializers.CharField(help_text="For people.")
    code = NamedChoice("ErrorCode", CODES, required=False)
    terminal = serializers.BooleanField(required=False, help_text="Whether to sign in again.")
    reason = NamedChoice("EndReason", EndReason.values, required=False)
    set_by = serializers.CharField(required=False, help_text=SET_BY)
    field = serializers.CharField(required=False, help_text="The parameter that is wrong.")


class OAuthError(Answer):
    """An error of an OAuth endpoint (RFC 6749 §5.2)."""

    error = NamedChoice("OAuthErrorName", OAUTH_ERRORS)
    error_description = serializers.CharField(help_text="For people.")
    code = NamedChoice("ErrorCode", CODES)
    terminal = serializers.BooleanField(help_text="Whether to sign in again.")
    reason = NamedChoice("EndReason", EndReason.values, required=False)
    set_by = serializers.CharField(required=False, help_text=SET_BY)
    field = serializers.CharField(required=False, help_text="The parameter that is wrong.")


class EndedAnswer(Answer):
    """How many sessions were ended."""

    ended = serializers.IntegerField()


class PolicyAnswer(PolicySerializer):
    """A policy. ``null`` and what is empty is no say."""


class IntrospectionAnswer(Answer):
    """The claims of a good token beside ``active``, or ``active: false`` alone (RFC 7662 §2.2)."""

    active = serializers.BooleanField()
    token_type = NamedChoice("TokenType", ["Bearer", "refresh_token"], required=False)
    token_use = NamedChoice("TokenUse", ["refresh"], required=False)
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
    amr = serializers.ListField(child=serializers.CharField(), required=False)
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
