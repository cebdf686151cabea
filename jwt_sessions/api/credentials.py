"""A user's personal credentials: ``credentials/…``."""

from __future__ import annotations

from typing import cast

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError as ModelValidationError
from django.http import Http404
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_variables
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from jwt_sessions import conf, credentials
from jwt_sessions.api.own_sessions import OwnEndpoint
from jwt_sessions.api.serializers import StrictParameters
from jwt_sessions.api.views import validated
from jwt_sessions.exceptions import InvalidTarget, TenantForbidden
from jwt_sessions.http.serializers import Answer, Moment, NamedChoice, TextOrNull
from jwt_sessions.models.credential import CREDENTIAL_NAME_LENGTH
from jwt_sessions.permissions import RequireRecentLogin
from jwt_sessions.sessions import VerifiedToken


class NewCredentialSerializer(StrictParameters):
    """``POST credentials/``. Claims and what a credential may do are an administrator's to give."""

    name = serializers.CharField(max_length=CREDENTIAL_NAME_LENGTH)
    audience = serializers.CharField(max_length=255, required=False)
    tenantId = serializers.CharField(max_length=255, required=False)  # noqa: N815
    expires_at = Moment(required=False, allow_null=True)


class CredentialAnswer(Answer):
    """A credential as its owner sees it."""

    client_id = serializers.UUIDField()
    kind = NamedChoice("CredentialKind", ["personal"])
    name = serializers.CharField()
    audience = serializers.CharField()
    tenantId = TextOrNull(source="tenant", allow_null=True)  # noqa: N815
    created_at = Moment()
    expires_at = Moment(allow_null=True)
    last_used_at = Moment(allow_null=True)


class NewCredentialAnswer(CredentialAnswer):
    """A new credential. Its secret is shown this once."""

    client_secret = serializers.CharField()


@method_decorator(sensitive_variables(), name="post")
class CredentialListView(OwnEndpoint):
    """The own personal credentials that were not revoked, and new ones. The secret of a new one is shown once."""

    def get(self, request: Request) -> Response:
        owned = credentials.own_credentials(cast(AbstractBaseUser, request.user))
        return Response(CredentialAnswer(owned, many=True).data)

    def check_permissions(self, request: Request) -> None:
        super().check_permissions(request)
        recent = conf.current().CREDENTIAL_RECENT_LOGIN
        if request.method == "POST" and recent is not None:
            RequireRecentLogin(recent).has_permission(request, self)

    def post(self, request: Request) -> Response:
        parameters = validated(NewCredentialSerializer, request)
        claims = cast(VerifiedToken, request.auth).claims
        own_audience, own_tenant = claims["aud"], claims.get("tenantId", "")
        if parameters.get("audience", own_audience) != own_audience:
            raise InvalidTarget("A credential is made for the audience of the token that asks.", field="audience")
        if parameters.get("tenantId", own_tenant) != own_tenant:
            raise TenantForbidden
        try:
            new = credentials.create_credential(
                name=parameters["name"],
                user=cast(AbstractBaseUser, request.user),
                audience=own_audience,
                tenant=own_tenant,
                expires_at=parameters.get("expires_at"),
            )
        except ModelValidationError as error:
            raise serializers.ValidationError(serializers.as_serializer_error(error)) from None
        answer = {**CredentialAnswer(new.credential).data, "client_secret": new.client_secret}
        return Response(answer, status=201)


class CredentialDetailView(OwnEndpoint):
    """One own personal credential: revoke it."""

    def delete(self, request: Request, client_id: str) -> Response:
        for credential in credentials.own_credentials(cast(AbstractBaseUser, request.user)):
            if str(credential.pk) == client_id:
                credentials.revoke_credential(credential)
                return Response(status=204)
        raise Http404
