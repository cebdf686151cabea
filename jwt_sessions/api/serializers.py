"""The parameters that requests bring."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from rest_framework import serializers

from jwt_sessions.exceptions import InvalidTarget
from jwt_sessions.models.session import DEVICE_NAME_LENGTH

# Longer than any user name or password that makes sense, short enough to hash without harm.
CREDENTIAL_LENGTH = 1024


def text_field(max_length: int = 255, **options: Any) -> serializers.CharField:
    """A text of at most so many characters."""
    return serializers.CharField(max_length=max_length, **options)


def password_field() -> serializers.CharField:
    """A password, with the spaces around it."""
    return text_field(CREDENTIAL_LENGTH, trim_whitespace=False)


def tenant_field() -> serializers.CharField:
    """The id of a tenant."""
    return text_field(required=False)


class ResourceField(serializers.CharField):
    """
    The resource that a token is to be for (RFC 8707 §2).

    Raises:
        InvalidTarget: There are several. Each token is for one.
    """

    def __init__(self) -> None:
        super().__init__(max_length=255, required=False)

    def to_internal_value(self, data: Any) -> str:
        if isinstance(data, list) and len(data) > 1:
            raise InvalidTarget("A token is for one resource.", field="resource")
        return super().to_internal_value(data)


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

    device_name = text_field(DEVICE_NAME_LENGTH, allow_blank=True)


class LoginSerializer(StrictParameters):
    """``POST login/``. The name of the user stands under the user model's ``USERNAME_FIELD``."""

    password = password_field()
    audience = text_field(required=False)
    tenantId = tenant_field()  # noqa: N815
    device_name = text_field(DEVICE_NAME_LENGTH, required=False, allow_blank=True)
    delivery = serializers.ChoiceField(["body", "cookie"], required=False)
    replace_others = serializers.BooleanField(required=False)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        username = {get_user_model().USERNAME_FIELD: text_field(CREDENTIAL_LENGTH)}
        return {**username, **super().get_fields()}

    def to_internal_value(self, data: Any) -> Any:
        name = get_user_model().USERNAME_FIELD
        if name not in data and set(data) - set(self.fields):
            raise serializers.ValidationError({name: [f"Required. This project calls the user name {name!r}."]})
        return super().to_internal_value(data)


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


class RenewSerializer(Parameters):
    """``POST renew/``."""

    tenantId = tenant_field()  # noqa: N815
    background = serializers.BooleanField(required=False)


class ReauthenticateSerializer(Parameters):
    """``POST reauthenticate/``."""

    password = password_field()
    refresh_token = PresentedTokenField(required=False)
    tenantId = tenant_field()  # noqa: N815
    delivery = serializers.ChoiceField(["body", "cookie"], required=False)


class ClientParameters(OAuthSerializer):
    """A client that authenticates in the body rather than by HTTP Basic (RFC 6749 §2.3.1)."""

    client_id = PresentedTokenField(required=False)
    client_secret = PresentedTokenField(required=False)


class TokenSerializer(ClientParameters):
    """A token to revoke (RFC 7009 §2.1) or to ask about (RFC 7662 §2.1). Its kind shows, so no hint is needed."""

    token = PresentedTokenField()


class LogoutSerializer(OAuthSerializer):
    """``POST logout/``: the token of the session to end, unless an access token or the cookie tells."""

    refresh_token = PresentedTokenField(required=False)
