"""The demo page, and the protected API that it shows: the default authentication class reads the access token."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

from django.db.models import QuerySet
from django.views.generic import TemplateView
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from example_project.accounts.models import Tenant, User
from example_project.notes.models import Note
from example_project.notes.serializers import CallerSerializer, NoteSerializer, TenantSerializer, UserSerializer
from jwt_sessions.permissions import RequireRecentLogin, RequireTokenType
from jwt_sessions.sessions import VerifiedToken

# Their views need a row of the user table, which tokens of API credentials do not have.
FOR_USERS: Sequence[Any] = [IsAuthenticated, RequireTokenType("user", "personal")]
# A minute is short, so that one can see the password asked for again.
FOR_RECENT_LOGINS: Sequence[Any] = [*FOR_USERS, RequireRecentLogin(timedelta(minutes=1))]


def own_notes(request: Request) -> QuerySet[Note]:
    """The notes of the caller in the tenant of the access token."""
    token = cast(VerifiedToken, request.auth)
    return Note.objects.filter(owner=request.user.pk, tenant=token.tenant)


class StartView(TemplateView):
    """The demo page. ``?tenant=`` names the tenant of a tab that is opened for it."""

    template_name = "start.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(tenant=self.request.GET.get("tenant"), **kwargs)


class CallerView(APIView):
    """Whoever calls: a user, or another service with a credential."""

    serializer_class = CallerSerializer

    def get(self, request: Request) -> Response:
        token = cast(VerifiedToken, request.auth)
        return Response({"sub": token.claims["sub"], "type": token.claims["type"], "tenant": token.tenant})


class MeView(generics.RetrieveAPIView[User]):
    """The user that the access token speaks for."""

    permission_classes = FOR_USERS
    serializer_class = UserSerializer

    def get_object(self) -> User:
        return cast(User, self.request.user)


class TenantListView(generics.ListAPIView[Tenant]):
    """The tenants that accepted the signed-in user."""

    permission_classes = FOR_USERS
    serializer_class = TenantSerializer

    def get_queryset(self) -> QuerySet[Tenant]:
        user = self.request.user.pk
        return Tenant.objects.filter(memberships__user=user, memberships__accepted_at__isnull=False).order_by("name")


class NoteListView(generics.ListCreateAPIView[Note]):
    """The signed-in user's notes in the tenant of the access token."""

    permission_classes = FOR_USERS
    serializer_class = NoteSerializer

    def get_queryset(self) -> QuerySet[Note]:
        return own_notes(self.request)

    def perform_create(self, serializer: serializers.BaseSerializer[Note]) -> None:
        token = cast(VerifiedToken, self.request.auth)
        serializer.save(owner=self.request.user, tenant_id=token.tenant)


class ClearNotesView(APIView):
    """Delete all notes of the tenant. That cannot be undone, so the password must have been given lately."""

    permission_classes = FOR_RECENT_LOGINS

    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request) -> Response:
        own_notes(request).delete()
        return Response(status=204)
