from typing import Any

from rest_framework import serializers

from example_project.accounts.models import Tenant, User
from example_project.notes.models import Note


class CallerSerializer(serializers.Serializer[Any]):
    sub = serializers.CharField()
    type = serializers.CharField()
    tenant = serializers.CharField(allow_null=True)


class UserSerializer(serializers.ModelSerializer[User]):
    class Meta:
        model = User
        fields = ("id", "email", "name")


class TenantSerializer(serializers.ModelSerializer[Tenant]):
    class Meta:
        model = Tenant
        fields = ("id", "name")


class NoteSerializer(serializers.ModelSerializer[Note]):
    class Meta:
        model = Note
        fields = ("id", "title", "text", "created_at")
