"""A protected API: the project's default authentication class reads the access token."""

from collections.abc import Sequence
from typing import Any, cast

from django.db.models import QuerySet
from rest_framework import generics, serializers
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from example_project.accounts.models import User
from example_project.notes.models import Note
from example_project.notes.serializers import CallerSerializer, NoteSerializer, UserSerializer
from jwt_sessions.permissions import RequireTokenType
from jwt_sessions.sessions import VerifiedToken

# Their views need a row of the user table, which tokens of API credentials do not have.
FOR_USERS: Sequence[Any] = [IsAuthenticated, RequireTokenType("user", "personal")]


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


class NoteListView(generics.ListCreateAPIView[Note]):
    """The signed-in user's notes."""

    permission_classes = FOR_USERS
    serializer_class = NoteSerializer

    def get_queryset(self) -> QuerySet[Note]:
        return Note.objects.filter(owner=self.request.user.pk)

    def perform_create(self, serializer: serializers.BaseSerializer[Note]) -> None:
        serializer.save(owner=self.request.user)
