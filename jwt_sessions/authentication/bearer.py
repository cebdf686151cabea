"""What a request presents as its access token, and how a refusal is told."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.request import Request

from jwt_sessions.exceptions import InvalidToken, IssuerUnavailable, JWTSessionsError
from jwt_sessions.http.errors import TokenRefused, TokenUnverified, challenge
from jwt_sessions.http.reports import hide_secrets

BACKGROUND_HEADER = "X-Session-Background"


class BearerAuthentication(BaseAuthentication):
    """Authenticates ``Authorization: Bearer <access token>`` (RFC 6750 §2.1). Subclasses say what is a good one."""

    def authorize(self, request: Request) -> tuple[Any, Any] | None:
        """
        The user and the verified token of a request, or ``None`` where it presents no access token.

        Raises:
            JWTSessionsError: The token is refused.
        """
        raise NotImplementedError

    @sensitive_variables()
    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        hide_secrets(request._request)
        try:
            return self.authorize(request)
        except IssuerUnavailable as error:
            raise TokenUnverified(error) from None
        except JWTSessionsError as error:
            raise TokenRefused(error) from None

    def authenticate_header(self, request: Request) -> str:
        return challenge(None)


def bearer_token(request: Request | HttpRequest) -> bytes | None:
    """What the request presents as its access token (RFC 6750 §2.1); ``None`` without the scheme ``Bearer``."""
    scheme, _, token = get_authorization_header(request).partition(b" ")  # type: ignore[arg-type]
    return token.strip() if scheme.lower() == b"bearer" else None


def is_background(request: Request | HttpRequest) -> bool:
    """Whether the client says that it sends a request by itself."""
    return request.headers.get(BACKGROUND_HEADER) == "1"


def text_of(token: bytes) -> str:
    """
    A presented token as text.

    Raises:
        InvalidToken: It has characters that no token has.
    """
    try:
        return token.decode("ascii")
    except UnicodeDecodeError:
        raise InvalidToken from None
