"""The one map from what can go wrong to HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from django.core.exceptions import SuspiciousOperation
from rest_framework.exceptions import APIException, AuthenticationFailed, ValidationError
from rest_framework.response import Response

from jwt_sessions import exceptions


@dataclass(frozen=True, slots=True)
class Shape:
    """How an error looks: HTTP status at protected resources and at OAuth endpoints, and the RFC 6749 §5.2 name."""

    status: int
    oauth_status: int
    oauth_error: str


# A subclass stands before its base: the first that fits is taken.
SHAPES: Mapping[type[exceptions.JWTSessionsError], Shape] = {
    exceptions.InvalidToken: Shape(401, 400, "invalid_grant"),
    exceptions.ExpiredToken: Shape(401, 400, "invalid_grant"),
    exceptions.SessionEnded: Shape(401, 400, "invalid_grant"),
    exceptions.NoSession: Shape(401, 400, "invalid_grant"),
    exceptions.ReauthenticationRequired: Shape(401, 400, "invalid_grant"),
    exceptions.TenantForbidden: Shape(403, 403, "access_denied"),
    exceptions.TenantIdle: Shape(401, 400, "invalid_grant"),
    exceptions.SessionLimit: Shape(403, 403, "access_denied"),
    exceptions.TooManyCredentials: Shape(403, 403, "access_denied"),
    exceptions.RenewalDisabled: Shape(404, 404, "invalid_request"),
    exceptions.InvalidCredentials: Shape(401, 400, "invalid_grant"),
    exceptions.InvalidClient: Shape(401, 401, "invalid_client"),
    exceptions.UnsupportedTokenType: Shape(400, 400, "unsupported_token_type"),
    exceptions.UnsupportedGrantType: Shape(400, 400, "unsupported_grant_type"),
    exceptions.InvalidTarget: Shape(400, 400, "invalid_target"),
    exceptions.CrossSiteRequest: Shape(403, 403, "invalid_request"),
    exceptions.InvalidRequest: Shape(400, 400, "invalid_request"),
    exceptions.Throttled: Shape(429, 429, "temporarily_unavailable"),
    exceptions.IssuerUnavailable: Shape(503, 503, "temporarily_unavailable"),
    exceptions.IssueDenied: Shape(403, 403, "access_denied"),
    exceptions.IssueFailed: Shape(503, 503, "temporarily_unavailable"),
}


def shape_of(error: exceptions.JWTSessionsError) -> Shape:
    """How an error looks in HTTP."""
    return next(shape for kind, shape in SHAPES.items() if isinstance(error, kind))


def details(error: exceptions.JWTSessionsError) -> dict[str, Any]:
    """What every answer says about an error, whatever its style."""
    body: dict[str, Any] = {"code": error.code, "terminal": error.terminal}
    if isinstance(error, exceptions.SessionEnded):
        body["reason"] = error.reason.value
        if error.set_by:
            body["set_by"] = error.set_by
    if isinstance(error, exceptions.RecentLoginRequired):
        body["max_age"] = int(error.max_age.total_seconds())
        if error.amr:
            body["amr"] = list(error.amr)
    if isinstance(error, exceptions.InvalidRequest) and error.field is not None:
        body["field"] = error.field
    return body


def challenge(error: exceptions.JWTSessionsError | None) -> str:
    """The ``WWW-Authenticate`` header (RFC 6750 §3, RFC 9470 §3): bare where no credentials were presented."""
    if error is None:
        return "Bearer"
    if isinstance(error, exceptions.RecentLoginRequired):
        age = int(error.max_age.total_seconds())
        methods = f', acr_values="{" ".join(error.amr)}"' if error.amr else ""
        return f'Bearer error="insufficient_user_authentication", error_description="{error}", max_age="{age}"{methods}'
    return f'Bearer error="invalid_token", error_description="{error}"'


def resource_response(error: exceptions.JWTSessionsError) -> Response:
    """The answer of a resource: ``detail``, ``code``, ``terminal``."""
    response = Response({"detail": _printable(str(error)), **details(error)}, status=shape_of(error).status)
    return _with_headers(response, error)


def oauth_response(error: exceptions.JWTSessionsError) -> Response:
    """The answer of an OAuth endpoint (RFC 6749 §5.2): ``error``, ``error_description``, ``code``, ``terminal``."""
    shape = shape_of(error)
    body = {"error": shape.oauth_error, "error_description": _printable(str(error)), **details(error)}
    return _with_headers(Response(body, status=shape.oauth_status), error)


def _with_headers(response: Response, error: exceptions.JWTSessionsError) -> Response:
    if isinstance(error, exceptions.InvalidClient):
        # RFC 6749 §5.2 asks for the challenge where Basic was tried, RFC 9110 §15.5.2 with every 401.
        response["WWW-Authenticate"] = 'Basic realm="OAuth 2 clients", charset="UTF-8"'
    elif response.status_code == 401:
        bearer = not isinstance(error, exceptions.InvalidCredentials)
        response["WWW-Authenticate"] = challenge(error if bearer else None)
    if isinstance(error, exceptions.Throttled | exceptions.IssuerUnavailable):
        response["Retry-After"] = str(error.retry_after)
    return response


def complaint(error: Exception) -> exceptions.JWTSessionsError | None:
    """What a framework has to say about a request, in this package's words; ``None`` if it is not about the request."""
    if isinstance(error, exceptions.JWTSessionsError):
        return error
    if isinstance(error, ValidationError) and isinstance(error.detail, dict):
        field, messages = next(iter(error.detail.items()))
        message = messages[0] if isinstance(messages, list) else messages
        return exceptions.InvalidRequest(_printable(f"{field}: {message}"), field=_printable(str(field)))
    if isinstance(error, APIException) and error.status_code in (400, 405, 413, 415):
        return exceptions.InvalidRequest(str(error.detail))
    if isinstance(error, SuspiciousOperation):
        return exceptions.InvalidRequest()
    return None


def _printable(text: str) -> str:
    """Text that quotes a request, without the lone surrogates that JSON can name and UTF-8 cannot."""
    return text.encode(errors="replace").decode()


class TokenRefused(AuthenticationFailed):
    """
    An access token was refused, in the words of Django REST framework.

    ``detail`` is a dict whose values are plain JSON, where the framework's own would all be strings.
    """

    def __init__(self, error: exceptions.JWTSessionsError) -> None:
        super().__init__()
        self.detail = cast(Any, {"detail": str(error), **details(error)})
        self.error = error

    @property
    def auth_header(self) -> str:
        """The challenge of the answer."""
        return challenge(self.error)

    @auth_header.setter
    def auth_header(self, header: str) -> None:
        """The framework asks the first authentication class for one, which does not know what was refused."""

    def get_codes(self) -> Any:
        return {"detail": self.error.code}

    def get_full_details(self) -> Any:
        return {"detail": {"message": str(self.error), "code": self.error.code}}


class TokenUnverified(APIException):
    """
    Whether an access token is good is not known for now, in the words of Django REST framework.

    No :class:`TokenRefused`, which the framework answers with 401 or 403: to a client that is the token's fault.
    """

    def __init__(self, error: exceptions.IssuerUnavailable) -> None:
        super().__init__()
        self.status_code = shape_of(error).status
        self.detail = cast(Any, {"detail": str(error), **details(error)})
        # What the framework makes Retry-After of.
        self.wait = error.retry_after
