"""Policies: ``policies/…``, for staff with the model permissions."""

from __future__ import annotations

import copy
from typing import Any

from django.db import models
from rest_framework import generics, serializers
from rest_framework.permissions import DjangoModelPermissions, IsAdminUser

from jwt_sessions.api.serializers import KnownNames
from jwt_sessions.api.views import Endpoint
from jwt_sessions.authentication.session import CheckedSessionAuthentication
from jwt_sessions.models import SessionPolicy
from jwt_sessions.policies import FIELDS


class Seconds(serializers.DurationField):
    """A duration in whole seconds."""

    def to_internal_value(self, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).isdecimal():
            self.fail("invalid", format="whole seconds")
        try:
            return super().to_internal_value(str(value))
        except OverflowError:
            self.fail("overflow")

    def to_representation(self, value: Any) -> int:  # type: ignore[override]
        return int(value.total_seconds())


class StaffPermissions(DjangoModelPermissions):
    """The model permissions, for looking too."""

    perms_map = {**DjangoModelPermissions.perms_map, "GET": ["%(app_label)s.view_%(model_name)s"]}


class PolicySerializer(KnownNames, serializers.ModelSerializer[SessionPolicy]):
    """A policy; the rules of the model are those of the API."""

    serializer_field_mapping = {**serializers.ModelSerializer.serializer_field_mapping, models.DurationField: Seconds}

    class Meta:
        model = SessionPolicy
        fields = (
            "id",
            "audience",
            "tenant",
            *FIELDS,
        )
        extra_kwargs = {"audience": {"required": False}, "tenant": {"required": False}}
        # The uniqueness of audience and tenant together is checked by the model.
        validators: tuple[Any, ...] = ()

    def validate(self, attrs: Any) -> Any:
        instance = SessionPolicy() if self.instance is None else copy.copy(self.instance)
        for name, value in attrs.items():
            setattr(instance, name, value)
        # What these raise REST framework takes for an error of its own.
        instance.full_clean(validate_constraints=False)
        instance.validate_constraints(exclude={"revision"})
        return attrs


class PolicyEndpoint(Endpoint, generics.GenericAPIView[SessionPolicy]):
    """Base of the views on policies."""

    authentication_classes = (CheckedSessionAuthentication,)
    permission_classes = (IsAdminUser, StaffPermissions)
    queryset = SessionPolicy.objects.order_by("pk")
    serializer_class = PolicySerializer
    pagination_class = None
    filter_backends = ()


class PolicyListView(PolicyEndpoint, generics.ListCreateAPIView[SessionPolicy]):
    """All policies, and new ones."""


class PolicyDetailView(PolicyEndpoint, generics.RetrieveUpdateDestroyAPIView[SessionPolicy]):
    """One policy."""

    http_method_names = ("get", "patch", "delete", "head", "options")
