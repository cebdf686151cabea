"""Who a client says it is: client authentication (RFC 6749 §2.3.1)."""

from __future__ import annotations

import base64
import binascii
from typing import Any, cast
from urllib.parse import unquote_plus

from django.views.decorators.debug import sensitive_variables
from rest_framework.authentication import get_authorization_header
from rest_framework.request import Request

from jwt_sessions import credentials
from jwt_sessions.exceptions import InvalidClient, InvalidRequest
from jwt_sessions.types import ClientSecret


@sensitive_variables()
def client_secret(request: Request) -> ClientSecret | None:
    """
    The client id and secret that a request presents, by HTTP Basic or in its body.

    ``None`` where there is no secret: a public client at most says its name, by either way.

    Raises:
        InvalidClient: What stands behind ``Basic`` is malformed.
        InvalidRequest: Both ways at once.
    """
    by_header, by_body = _basic(request), _in_body(request)
    if by_header is not None and by_body is not None:
        raise InvalidRequest("The client authenticates in more than one way.", field="client_secret")
    return by_header or by_body


@sensitive_variables()
def required_client_secret(request: Request) -> ClientSecret:
    """The same, where a client has to authenticate. Raises InvalidClient where there is no secret."""
    presented = client_secret(request)
    if presented is None:
        raise InvalidClient
    return presented


@sensitive_variables()
def check_client(request: Request) -> None:
    """
    A client that authenticates although it need not has to do so rightly (RFC 6749 §6, RFC 7009 §2.1).

    Raises:
        InvalidClient, Throttled: See :func:`jwt_sessions.credentials.authenticate_client`.
    """
    presented = client_secret(request)
    if presented is not None:
        credentials.authenticate_client(presented, request=request._request)


@sensitive_variables()
def _basic(request: Request) -> ClientSecret | None:
    scheme, _, encoded = get_authorization_header(request).partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidClient from None
    client_id, colon, secret = text.partition(":")
    if not colon:
        raise InvalidClient
    # Both are form-encoded before they are joined.
    return _client(unquote_plus(client_id), unquote_plus(secret))


@sensitive_variables()
def _in_body(request: Request) -> ClientSecret | None:
    body = cast(dict[str, Any], request.data)
    client_id, secret = body.get("client_id", ""), body.get("client_secret", "")
    if not isinstance(client_id, str) or not isinstance(secret, str):
        raise InvalidRequest("Not a string.", field="client_id" if isinstance(secret, str) else "client_secret")
    return _client(client_id, secret)


def _client(client_id: str, secret: str) -> ClientSecret | None:
    return ClientSecret(client_id, secret) if secret else None
