"""Authentication for Django REST framework."""

from __future__ import annotations

from typing import Any

from django.views.decorators.debug import sensitive_variables
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.request import Request

from jwt_sessions import sessions
from jwt_sessions.api.errors import TokenRefused, challenge
from jwt_sessions.api.reports import hide_secrets
from jwt_sessions.exceptions import InvalidToken, JWTSessionsError

BACKGROUND_HEADER = "X-Session-Background"


class JWTSessionAuthentication(BaseAuthentication):
    """
    Authenticates ``Authorization: Bearer <access token>`` (RFC 6750 §2.1) and asks whether the session lives.

    ``request.user`` is the user, ``request.auth`` the verified token (:class:`jwt_sessions.sessions.VerifiedToken`).
    A request with the header ``X-Session-Background: 1`` is no sign of the user.
    """

    @sensitive_variables()
    def authenticate(self, request: Request) -> tuple[Any, sessions.VerifiedToken] | None:
        hide_secrets(request._request)
        scheme, _, token = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        try:
            return sessions.authorize(_text(token), background=is_background(request))
        except JWTSessionsError as error:
            # authenticate_header is asked of another instance: what was refused is known by the request alone.
            request.token_refusal = error  # type: ignore[attr-defined]
            raise TokenRefused(error) from None

    def authenticate_header(self, request: Request) -> str:
        return challenge(getattr(request, "token_refusal", None))


def is_background(request: Request) -> bool:
    """Whether the client says that it sends a request by itself."""
    return request.headers.get(BACKGROUND_HEADER) == "1"


def _text(token: bytes) -> str:
    try:
        return token.strip().decode("ascii")
    except UnicodeDecodeError:
        raise InvalidToken from None
