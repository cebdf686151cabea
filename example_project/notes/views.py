"""A protected API: the project's default authentication class reads the access token."""

from typing import cast

from django.db.models import QuerySet
from rest_framework import generics, serializers

from example_project.accounts.models import User
from example_project.notes.models import Note
from example_project.notes.serializers import NoteSerializer, UserSerializer


class MeView(generics.RetrieveAPIView[User]):
    """The user that the access token speaks for."""

    serializer_class = UserSerializer

    def get_object(self) -> User:
        return cast(User, self.request.user)


class NoteListView(generics.ListCreateAPIView[Note]):
    """The signed-in user's notes."""

    serializer_class = NoteSerializer

    def get_queryset(self) -> QuerySet[Note]:
        return Note.objects.filter(owner=self.request.user.pk)

    def perform_create(self, serializer: serializers.BaseSerializer[Note]) -> None:
        serializer.save(owner=self.request.user)
