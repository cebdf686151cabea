"""What drf-spectacular asks when it meets the classes of this package."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import (
    OpenApiSerializerExtension,
    OpenApiSerializerFieldExtension,
    OpenApiViewExtension,
)
from rest_framework import serializers
from rest_framework.views import APIView

from jwt_sessions import conf
from jwt_sessions.api.serializers import StrictParameters
from jwt_sessions.openapi.answers import PolicyAnswer
from jwt_sessions.openapi.bearer import BearerExtension
from jwt_sessions.openapi.operations import operation_of
from jwt_sessions.openapi.schema import EndpointSchema, Schema, named

__all__ = [
    "BearerExtension",
    "EndpointExtension",
    "NamedChoiceExtension",
    "ParametersExtension",
    "PolicyExtension",
    "PresentedTokenExtension",
    "SecondsExtension",
]


class EndpointExtension(OpenApiViewExtension):
    """The views of this package."""

    target_class = "jwt_sessions.api.views.Endpoint"
    match_subclasses = True

    def view_replacement(self) -> type[APIView]:
        """The view with its schema; as it is where it does something that this package does not."""
        view: type[APIView] = self.target
        methods = [name for name in view.http_method_names if name != "options" and hasattr(view, name)]
        if not all(operation_of(view, name.upper()) for name in methods):
            return view
        return type(view.__name__, (view,), {"schema": EndpointSchema(), "__doc__": view.__doc__})


class PresentedTokenExtension(OpenApiSerializerFieldExtension):
    """A token in a request."""

    target_class = "jwt_sessions.api.serializers.PresentedTokenField"

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> Schema:
        """A string, however odd; an empty one is as good as none (RFC 6749 §3.1)."""
        return {"type": "string", "minLength": 1 if self.target.required else 0}


class SecondsExtension(OpenApiSerializerFieldExtension):
    """A duration of a policy."""

    target_class = "jwt_sessions.api.policies.Seconds"

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> Schema:
        """Whole seconds."""
        return {
            "type": "integer",
            "minimum": 1,
            "maximum": int(conf.LONGEST.total_seconds()),
            "description": "Seconds.",
        }


class NamedChoiceExtension(OpenApiSerializerFieldExtension):
    """One of a few words."""

    target_class = "jwt_sessions.http.serializers.NamedChoice"

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> Schema:
        """A reference to the words."""
        return named(auto_schema, self.target.name, self.target.words)


class ParametersExtension(OpenApiSerializerExtension):
    """The parameters of a request, as strictly as they are read."""

    target_class = "jwt_sessions.api.serializers.Parameters"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> Schema:
        """What REST framework checks of a text besides its length, and whether other parameters are refused."""
        # Not the target: drf-spectacular has made that of a PATCH partial.
        parameters = type(self.target)()
        schema: Schema = auto_schema._map_serializer(parameters, direction, bypass_extensions=True)
        _tighten(auto_schema, parameters, schema)
        if isinstance(parameters, StrictParameters):
            schema["additionalProperties"] = False
        return schema


class PolicyExtension(OpenApiSerializerExtension):
    """A policy, in requests and in answers."""

    target_class = "jwt_sessions.api.policies.PolicySerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> Schema:
        """The fields of the model, and of a request that others are refused."""
        schema: Schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        properties = schema["properties"]
        properties["excluded_claims"] = {"type": "array", "items": {"type": "string"}}
        if isinstance(self.target, PolicyAnswer):
            properties["on_session_limit"] = _choice(auto_schema, "on_session_limit", self.target)
        else:
            _tighten(auto_schema, self.target, schema)
            schema["additionalProperties"] = False
        return schema


def _tighten(auto_schema: Any, serializer: serializers.Serializer[Any], schema: Schema) -> None:
    """Say of each parameter what its field refuses."""
    properties = schema["properties"]
    field: Any
    for name, field in serializer.fields.items():
        if name in ("audience", "resource"):
            component = "PolicyAudience" if field.allow_blank else "Audience"
            properties[name] = named(auto_schema, component, [*conf.current().AUDIENCES, *[""] * field.allow_blank])
        elif isinstance(field, serializers.ChoiceField):
            properties[name] = _choice(auto_schema, name, serializer)
        elif type(field) is serializers.CharField:
            # REST framework refuses NUL, and what is blank once trimmed.
            may_be_blank = field.allow_blank or not field.trim_whitespace
            properties[name]["pattern"] = r"^[^\x00]*$" if may_be_blank else r"^[^\x00]*[^\x00\s][^\x00]*$"
            properties[name]["minLength"] = 0 if field.allow_blank else 1


def _choice(auto_schema: Any, name: str, serializer: serializers.Serializer[Any]) -> Schema:
    """A field with choices, as a component."""
    field: Any = serializer.fields[name]
    return named(auto_schema, name.title().replace("_", ""), [*field.choices, *[""] * field.allow_blank])
