"""What all endpoints share: JSON or form bodies in, JSON out, never cached, never inside ``ATOMIC_REQUESTS``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from io import BytesIO
from typing import Any

from django.db import connections, transaction
from django.http import HttpRequest, QueryDict
from django.views.decorators.debug import sensitive_post_parameters
from rest_framework.exceptions import MethodNotAllowed, ParseError, UnsupportedMediaType
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import FormParser, JSONParser, MultiPartParser
from rest_framework.permissions import AllowAny
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView, exception_handler

from jwt_sessions.exceptions import InvalidRequest, JWTSessionsError
from jwt_sessions.http.errors import complaint, oauth_response, resource_response
from jwt_sessions.http.reports import hide_secrets

# No parameter of this API comes near it; what is longer is not read into memory.
MAX_BODY_BYTES = 64 * 1024


def _read(stream: Any) -> bytes:
    body: bytes = stream.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        raise ParseError("The body is too large.")
    return body


def _refuse(constant: str) -> None:
    raise ValueError("NaN and the infinities are not JSON (RFC 8259 §6)")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names stand once each: of two readers of the others one may see the first, one the last."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name stands more than once (RFC 8259 §4)")
    return members


class StrictJSONParser(JSONParser):
    """JSON objects in UTF-8 (RFC 8259 §8.1), of sensible size and depth."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> dict[str, Any]:
        try:
            body = json.loads(_read(stream).decode(), parse_constant=_refuse, object_pairs_hook=_unique)
        except ValueError:
            raise ParseError("The body is not JSON.") from None
        except RecursionError:
            raise ParseError("The body is nested too deeply.") from None
        if not isinstance(body, dict):
            raise ParseError("The body is not a JSON object.")
        return body


# RFC 8707 §2: a client may name several.
REPEATABLE = ("resource",)


def _single(form: QueryDict) -> dict[str, Any]:
    """The parameters of a form; none may be given twice (RFC 6749 §3.2) but those of :data:`REPEATABLE`."""
    parameters: dict[str, Any] = form.dict()
    for name, values in form.lists():
        if len(values) > 1 and name not in REPEATABLE:
            raise InvalidRequest("A parameter is given more than once.", field=name)
        # One without a value counts as omitted, and the same twice is one.
        different = list(dict.fromkeys(filter(None, values)))
        if len(different) > 1:
            parameters[name] = different
        elif different:
            parameters[name] = different[0]
    return parameters


class StrictFormParser(FormParser):
    """URL-encoded forms in UTF-8."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        return _single(QueryDict(_read(stream), encoding="utf-8"))


class StrictMultiPartParser(MultiPartParser):
    """Forms as browsers send them with ``FormData``; files are not taken."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        # The charset of the Content-Type is the client's choice of any codec that Python has.
        form = super().parse(BytesIO(_read(stream)), media_type, {**parser_context, "encoding": "utf-8"})
        if form.files:
            raise ParseError("This API takes no files.")
        return _single(form.data)


class AlwaysJSON(DefaultContentNegotiation):
    """Answers in JSON whatever the client accepts, as RFC 6749 §5.1 asks."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, str(renderer.media_type)


class Endpoint(APIView):
    """
    Base of this package's views. A project's REST framework defaults do not reach them.

    They store verdicts although the answer is an error, so no transaction may span a request.
    """

    authentication_classes: Sequence[Any] = ()
    permission_classes: Sequence[Any] = (AllowAny,)
    throttle_classes: Sequence[Any] = ()
    parser_classes = (StrictJSONParser, StrictFormParser, StrictMultiPartParser)
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = AlwaysJSON
    versioning_class = None
    error_response: Callable[[JWTSessionsError], Response] = staticmethod(resource_response)
    cache_control = "no-store"

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        view = sensitive_post_parameters()(super().as_view(**initkwargs))
        for alias in connections:
            view = transaction.non_atomic_requests(using=alias)(view)
        return view

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        hide_secrets(request)
        return super().initialize_request(request, *args, **kwargs)

    def get_exception_handler(self) -> Any:
        return exception_handler

    def handle_exception(self, exc: Exception) -> Response:
        error = complaint(exc)
        if error is None:
            return super().handle_exception(exc)
        response = self.error_response(error)
        response.exception = True
        if isinstance(exc, MethodNotAllowed | UnsupportedMediaType):
            response.status_code = exc.status_code
        if isinstance(exc, MethodNotAllowed):
            response["Allow"] = ", ".join(self.allowed_methods)
        return response

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        answer = super().finalize_response(request, response, *args, **kwargs)
        answer.headers.setdefault("Cache-Control", self.cache_control if answer.status_code < 400 else "no-store")
        return answer


class OAuthEndpoint(Endpoint):
    """An endpoint whose errors have the shape of RFC 6749 §5.2."""

    error_response = staticmethod(oauth_response)


def validated(serializer_class: type[Serializer[Any]], request: Request) -> dict[str, Any]:
    """The parameters of a request. Raises ValidationError, which becomes INVALID_REQUEST with the field named."""
    data: dict[str, Any] = _serializer(serializer_class).run_validation(request.data)
    return data


# Making a serializer copies its fields, which takes longer than validating by them. Nothing of a request stays in it.
@cache
def _serializer(serializer_class: type[Serializer[Any]]) -> Serializer[Any]:
    return serializer_class()
