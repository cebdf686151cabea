"""Parameters in and representations out."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from rest_framework import serializers

from jwt_sessions.api.views import utc
from jwt_sessions.models import Session
from jwt_sessions.models.session import DEVICE_NAME_LENGTH
from jwt_sessions.policies import deadlines
from jwt_sessions.sessions.end import policy_of
from jwt_sessions.types import CredentialToken, TokenPair, device_families

# Longer than any user name or password that makes sense, short enough to hash without harm.
CREDENTIAL_LENGTH = 1024
# RFC 8693 §3
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  # a name, no secret
REFRESH_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:refresh_token"  # noqa: S105


def _text(max_length: int = 255, **options: Any) -> serializers.CharField:
    return serializers.CharField(max_length=max_length, **options)


def _password() -> serializers.CharField:
    return _text(CREDENTIAL_LENGTH, trim_whitespace=False)


class Parameters(serializers.Serializer[Any]):
    """The parameters of a request. They stay out of its ``repr``."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class KnownNames(serializers.Serializer[Any]):
    """A serializer that takes no name it does not know."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = set(data) - set(self.fields)
        if unknown:
            raise serializers.ValidationError({min(unknown): ["This parameter is unknown."]})
        return super().to_internal_value(data)


class StrictParameters(KnownNames, Parameters):
    """Parameters of which none may be unknown."""


class DeviceNameSerializer(Parameters):
    """``PATCH sessions/<id>/``."""

    device_name = _text(DEVICE_NAME_LENGTH, allow_blank=True)


def _tenant() -> serializers.CharField:
    return _text(required=False)


class LoginSerializer(StrictParameters):
    """``POST login/``. The name of the user stands under the user model's ``USERNAME_FIELD``."""

    password = _password()
    audience = _text(required=False)
    tenantId = _tenant()  # noqa: N815
    device_name = _text(DEVICE_NAME_LENGTH, required=False, allow_blank=True)
    delivery = serializers.ChoiceField(["body", "cookie"], required=False)
    replace_others = serializers.BooleanField(required=False)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        username = {get_user_model().USERNAME_FIELD: _text(CREDENTIAL_LENGTH)}
        return {**username, **super().get_fields()}


class PresentedTokenField(serializers.Field[str, str, str, Any]):
    """A token as it was presented, however odd: what it is worth is not judged by its form."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("Not a string.")
        return data


class OAuthSerializer(Parameters):
    """Parameters of an OAuth endpoint. One without a value counts as omitted (RFC 6749 §3.1)."""

    def to_internal_value(self, data: Any) -> Any:
        return super().to_internal_value({name: value for name, value in data.items() if value not in ("", None)})


class PasswordGrantSerializer(OAuthSerializer):
    """``grant_type=password`` (RFC 6749 §4.3.2)."""

    username = _text(CREDENTIAL_LENGTH)
    password = _password()
    audience = _text(required=False)
    resource = _text(required=False)


class RefreshGrantSerializer(OAuthSerializer):
    """``grant_type=refresh_token`` (RFC 6749 §6), with the token in the body or in the cookie."""

    refresh_token = PresentedTokenField(required=False)
    audience = _text(required=False)
    resource = _text(required=False)
    tenantId = _tenant()  # noqa: N815
    background = serializers.BooleanField(required=False)


class ClientCredentialsGrantSerializer(OAuthSerializer):
    """``grant_type=client_credentials`` (RFC 6749 §4.4). Who the client is, is looked at elsewhere."""

    audience = _text(required=False)
    resource = _text(required=False)
    tenantId = _tenant()  # noqa: N815


class ExchangeGrantSerializer(OAuthSerializer):
    """``grant_type=urn:ietf:params:oauth:grant-type:token-exchange`` (RFC 8693 §2.1), and what ``login/`` takes."""

    subject_token = PresentedTokenField()
    subject_token_type = serializers.ChoiceField([REFRESH_TOKEN_TYPE])
    requested_token_type = serializers.ChoiceField([ACCESS_TOKEN_TYPE], required=False)
    audience = _text(required=False)
    resource = _text(required=False)
    tenantId = _tenant()  # noqa: N815
    device_name = _text(DEVICE_NAME_LENGTH, required=False)
    delivery = serializers.ChoiceField(["body", "cookie"], required=False)


class RenewSerializer(Parameters):
    """``POST renew/``."""

    tenantId = _tenant()  # noqa: N815
    background = serializers.BooleanField(required=False)


class ReauthenticateSerializer(Parameters):
    """``POST reauthenticate/``."""

    password = _password()
    tenantId = _tenant()  # noqa: N815
    delivery = serializers.ChoiceField(["body", "cookie"], required=False)


class TokenSerializer(OAuthSerializer):
    """``POST revoke/`` (RFC 7009 §2.1). The hint is not needed: the kinds of token look different."""

    token = PresentedTokenField()


def token_answer(pair: TokenPair, *, with_refresh_token: bool) -> dict[str, Any]:
    """RFC 6749 §5.1, plus what a client needs to plan."""
    answer = {
        **access_token_answer(pair),
        "refresh_in": pair.refresh_in,
        "session_id": str(pair.session.pk),
        "session_expires_at": utc(pair.session_expires_at),
        "idle_expires_at": utc(pair.idle_expires_at),
    }
    if with_refresh_token:
        answer["refresh_token"] = pair.refresh_token
    return answer


def access_token_answer(token: TokenPair | CredentialToken) -> dict[str, Any]:
    """What every token answer says of the access token; for a credential that is all (RFC 6749 §4.4.3)."""
    answer: dict[str, Any] = {
        "access_token": token.access_token,
        "token_type": "Bearer",
        "expires_in": token.expires_in,
    }
    if token.tenant is not None:
        answer["tenantId"] = token.tenant
    if token.omitted:
        answer["omitted"] = list(token.omitted)
    return answer


def session_answer(session: Session, current: Session) -> dict[str, Any]:
    """A session as its owner sees it."""
    limits = deadlines(session, policy_of(session))
    browser, system = device_families(session.device_info)
    return {
        "id": str(session.pk),
        "device_name": session.device_name,
        "device": {"browser": browser, "system": system},
        "ip_address": session.ip_address,
        "audience": session.audience,
        "created_at": utc(session.created_at),
        "authenticated_at": utc(session.authenticated_at),
        "last_active_at": utc(session.last_active_at),
        "session_expires_at": utc(limits.session_expires_at),
        "idle_expires_at": utc(limits.idle_expires_at),
        "current": session.pk == current.pk,
    }
