"""An operation of this package in the terms of OpenAPI."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from jwt_sessions import conf
from jwt_sessions.api.grants import grants
from jwt_sessions.api.views import OAuthEndpoint
from jwt_sessions.authentication.bearer import BACKGROUND_HEADER, BearerAuthentication
from jwt_sessions.exceptions import InvalidRequest, JWTSessionsError
from jwt_sessions.http.errors import SHAPES
from jwt_sessions.openapi import answers
from jwt_sessions.openapi.bearer import ACCESS_TOKEN, BEARER_SCHEME
from jwt_sessions.openapi.operations import CLIENT, COOKIE, Operation, operation_of

# Components and operations share a namespace with those of the project.
PREFIX = "JWTSessions"
# What stands in paths: its type and what it is. The key of a row is called what SCHEMA_COERCE_PATH_PK says.
PATHS: dict[str, tuple[type, str]] = {
    "session_id": (str, "Id of an own session, or `current` for the one that asks."),
    "client_id": (str, "Id of an own credential."),
    "id": (int, "Id of a policy."),
    "pk": (int, "Id of a policy."),
    "issuer_path": (str, "The path of the issuer, without the slash it begins with."),
}

Schema = dict[str, Any]


def security_schemes() -> dict[str, Schema]:
    """The security schemes by name. The cookie is called what the settings say."""
    return {
        ACCESS_TOKEN: BEARER_SCHEME,
        CLIENT: {"type": "http", "scheme": "basic", "description": "Client id and secret of a credential."},
        COOKIE: {"type": "apiKey", "in": "cookie", "name": conf.current().COOKIE.full_name},
    }


class EndpointSchema(AutoSchema):
    """Describes the endpoints of this package by :mod:`jwt_sessions.openapi.operations`."""

    @property
    def operation(self) -> Operation:
        """What is described."""
        found = operation_of(type(self.view), self.method)
        if found is None:
            raise LookupError(f"{self.method} {self.path} is not described.")
        return found

    def get_operation(self, *args: Any, **kwargs: Any) -> Schema | None:
        """The whole of it."""
        described = super().get_operation(*args, **kwargs)
        if described is not None and self.operation.by_grant:
            # Of a choice between serializers drf-spectacular does not see which properties are required.
            described["requestBody"]["required"] = True
        return described

    def get_operation_id(self) -> str:
        """Its name in generated clients."""
        # The one view that stands at two addresses (RFC 8414 §3.1).
        suffix = "_of_path" if "{issuer_path}" in self.path else ""
        return f"jwt_sessions_{self.operation.id}{suffix}"

    def get_summary(self) -> str:
        """What it does, in a line."""
        return self.operation.summary

    def get_tags(self) -> list[str]:
        """One for the whole package, wherever it is included."""
        return ["authentication"]

    def get_serializer_name(self, serializer: serializers.Serializer[Any], direction: Any) -> str:
        """The name of a component."""
        return PREFIX + type(serializer).__name__.removesuffix("Serializer")

    def get_auth(self) -> list[Any]:
        """What authenticates the operation: alternatives, an empty one where it can do without."""
        if not self.operation.security:
            return super().get_auth()
        schemes = security_schemes()
        for name in filter(None, self.operation.security):
            scheme = ResolvedComponent(name, ResolvedComponent.SECURITY_SCHEMA, schemes[name], BearerAuthentication)
            self.registry.register_on_missing(scheme)
        return [{} if name is None else {name: []} for name in self.operation.security]

    def get_override_parameters(self) -> list[Any]:
        """What stands in the path, and the headers of requests and answers."""
        operation = self.operation
        in_path = [
            OpenApiParameter(name, type, OpenApiParameter.PATH, description=what)
            for name, (type, what) in PATHS.items()
            if f"{{{name}}}" in self.path
        ]
        headers = [
            _header("WWW-Authenticate", 401, required=True),
            _header("Retry-After", 429, description="Seconds.", required=True, type=int),
        ]
        if operation.sets_cookie:
            headers.append(_header("Set-Cookie", *operation.answers, description="The refresh cookie, set or cleared."))
        if operation.conditional:
            headers.append(_header("ETag", *operation.answers, required=True))
            headers.append(OpenApiParameter("If-None-Match", str, OpenApiParameter.HEADER, description="An ETag."))
        if operation.background:
            what = '"1": the client asks by itself, which is no activity of the user.'
            headers.append(OpenApiParameter(BACKGROUND_HEADER, str, OpenApiParameter.HEADER, description=what))
        return in_path + headers

    def map_parsers(self) -> list[str]:
        """JSON and URL-encoded forms. The other encoding of forms is taken too, but one is enough to be described."""
        return [media_type for media_type in super().map_parsers() if not media_type.startswith("multipart/")]

    def get_request_serializer(self) -> Any:
        """What the body holds."""
        operation = self.operation
        if not operation.by_grant:
            return operation.takes or {}
        refs = {name: self.resolve_serializer(grant.parameters, "request").ref for name, grant in grants().items()}
        mapping = {value: ref["$ref"] for value, ref in refs.items()}
        schema = {
            "oneOf": list(refs.values()),
            "discriminator": {"propertyName": "grant_type", "mapping": mapping},
        }
        return dict.fromkeys(self.map_parsers(), schema)

    def get_response_serializers(self) -> Any:
        """What is answered, by status."""
        operation = self.operation
        found: dict[int, Any] = {
            status: OpenApiResponse(self._answer(answer), _described(status))
            for status, answer in operation.answers.items()
        }
        for status in operation.details:
            found[status] = OpenApiResponse(answers.Detail, _described(status))
        by_status = defaultdict(list)
        for error in operation.errors:
            by_status[self._status(error)].append(error)
        if operation.takes or operation.by_grant:
            by_status[415].append(InvalidRequest)
        for status, errors in by_status.items():
            found[status] = OpenApiResponse(self._error(status, errors), _described(status))
        described: dict[Any, Any] = dict(sorted(found.items()))
        if operation.packed:
            described[200, conf.PACKED_IDS] = OpenApiResponse(OpenApiTypes.BINARY, _described(200))
        return described

    @property
    def _is_oauth(self) -> bool:
        return isinstance(self.view, OAuthEndpoint)

    def _status(self, error: type[JWTSessionsError]) -> int:
        shape = SHAPES[error]
        return shape.oauth_status if self._is_oauth else shape.status

    def _answer(self, answer: Any) -> Any:
        if not isinstance(answer, tuple):
            return answer
        return {"anyOf": [self.resolve_serializer(each, "response").ref for each in answer]}

    def _error(self, status: int, errors: Iterable[type[JWTSessionsError]]) -> Schema:
        """An error of which it is known which it can be."""
        known: Schema = {"code": _words(error.code for error in errors)}
        if self._is_oauth:
            known["error"] = _words(SHAPES[error].oauth_error for error in errors)
        schema: Schema = {"type": "object", "properties": known}
        if not (status == 401 and self.operation.anonymous):
            schema["required"] = ["code", "terminal"]
        base = answers.OAuthError if self._is_oauth else answers.Error
        return {"allOf": [self.resolve_serializer(base, "response").ref, schema]}


def named(auto_schema: AutoSchema, name: str, words: Iterable[str]) -> Schema:
    """A reference to a component that is one of some words. Unnamed, drf-spectacular would name it, and may warn."""
    component = ResolvedComponent(PREFIX + name, ResolvedComponent.SCHEMA, _words(words), object=name)
    auto_schema.registry.register_on_missing(component)
    return component.ref


def _words(words: Iterable[str]) -> Schema:
    return {"type": "string", "enum": sorted(set(words))}


def _header(name: str, *statuses: int, type: Any = str, **options: Any) -> OpenApiParameter:
    return OpenApiParameter(name, type, OpenApiParameter.HEADER, response=list(statuses), **options)


def _described(status: int) -> str:
    return {
        200: "OK.",
        201: "Created.",
        204: "No content.",
        304: "Not modified.",
        400: "The request is wrong.",
        401: "Authentication failed.",
        403: "Not allowed.",
        404: "Not found.",
        415: "Neither JSON nor a form.",
        429: "Too many failures.",
        503: "Not possible at the moment.",
    }[status]
