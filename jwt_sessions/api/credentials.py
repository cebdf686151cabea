"""A user's personal credentials: ``credentials/…``."""

from __future__ import annotations

from typing import Any, cast

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError as ModelValidationError
from django.http import Http404
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_variables
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from jwt_sessions import sessions
from jwt_sessions.api.own_sessions import OwnEndpoint
from jwt_sessions.api.serializers import StrictParameters
from jwt_sessions.api.views import utc, validated
from jwt_sessions.models import Credential
from jwt_sessions.models.credential import CREDENTIAL_NAME_LENGTH


class Moment(serializers.DateTimeField):
    """A date and time; none that a time zone carries out of Python's range."""

    def to_internal_value(self, value: Any) -> Any:
        try:
            return super().to_internal_value(value)
        except OverflowError:
            self.fail("overflow")


class NewCredentialSerializer(StrictParameters):
    """``POST credentials/``. Claims and what a credential may do are an administrator's to give."""

    name = serializers.CharField(max_length=CREDENTIAL_NAME_LENGTH)
    audience = serializers.CharField(max_length=255, required=False)
    tenant = serializers.CharField(max_length=255, required=False)
    expires_at = Moment(required=False, allow_null=True)


def credential_answer(credential: Credential) -> dict[str, Any]:
    """A credential as its owner sees it."""
    return {
        "client_id": str(credential.pk),
        "kind": credential.kind,
        "name": credential.name,
        "audience": credential.audience,
        "tenant": credential.tenant or None,
        "created_at": utc(credential.created_at),
        "expires_at": utc(credential.expires_at),
        "last_used_at": utc(credential.last_used_at),
    }


@method_decorator(sensitive_variables(), name="post")
class CredentialListView(OwnEndpoint):
    """The own personal credentials that were not revoked, and new ones. The secret of a new one is shown once."""

    def get(self, request: Request) -> Response:
        owned = sessions.own_credentials(cast(AbstractBaseUser, request.user))
        return Response([credential_answer(credential) for credential in owned])

    def post(self, request: Request) -> Response:
        parameters = validated(NewCredentialSerializer, request)
        try:
            new = sessions.create_credential(
                name=parameters["name"],
                user=cast(AbstractBaseUser, request.user),
                audience=parameters.get("audience"),
                tenant=parameters.get("tenant", ""),
                expires_at=parameters.get("expires_at"),
            )
        except ModelValidationError as error:
            raise serializers.ValidationError(serializers.as_serializer_error(error)) from None
        answer = {**credential_answer(new.credential), "client_secret": new.client_secret}
        return Response(answer, status=201)


class CredentialDetailView(OwnEndpoint):
    """One own personal credential: revoke it."""

    def delete(self, request: Request, client_id: str) -> Response:
        for credential in sessions.own_credentials(cast(AbstractBaseUser, request.user)):
            if str(credential.pk) == client_id:
                sessions.revoke_credential(credential)
                return Response(status=204)
        raise Http404
