"""Introspection: what a token is worth, told to those who may ask. It changes nothing, not even on reuse."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from jwt_sessions import conf
from jwt_sessions.credentials.clients import authenticate_client
from jwt_sessions.exceptions import JWTSessionsError
from jwt_sessions.tokens import access, opaque
from jwt_sessions.types import ClientSecret
from jwt_sessions.verdict.rotation import Refused, standing
from jwt_sessions.verdict.session import SessionState, find
from jwt_sessions.verdict.token import find_good

INACTIVE: Mapping[str, Any] = {"active": False}
# What an answer says beside the claims of the token.
SERVERS_OWN = ("active", "token_type", "token_use", "username")


@sensitive_variables()
def introspect(token: str, presented: ClientSecret, *, request: HttpRequest) -> Mapping[str, Any]:
    """
    What a token says, while it is good (RFC 7662 §2.2); else exactly ``{"active": False}``, which tells nothing.

    One read besides the caller's own check, also with ``SESSION_CHECK="none"``. A refresh token is told from an access
    token by ``token_use``, and its ``aud`` is the issuer, who alone takes it. Without one, resource servers may take
    it for an access token that is good everywhere.

    Args:
        token: The access or refresh token.
        presented: The credential of the caller.
        request: The request.

    Raises:
        InvalidClient, Throttled: See :func:`jwt_sessions.credentials.authenticate_client`.
    """
    authenticate_client(presented, request=request, to_introspect=True)
    now = timezone.now()
    try:
        if opaque.looks_like_refresh_token(token):
            return _of_refresh_token(token, now)
        return _of_access_token(access.decode(token, now), now)
    except JWTSessionsError:
        return INACTIVE


def _of_access_token(claims: dict[str, Any], now: datetime) -> Mapping[str, Any]:
    found = find_good(claims, now)
    if found is None:
        return INACTIVE
    # What a project or the maker of a credential called so is not what this server says (RFC 7662 §2.2).
    said = {name: value for name, value in claims.items() if name not in SERVERS_OWN}
    return {**said, **_name(found.user), "active": True, "token_type": "Bearer"}


def _of_refresh_token(token: str, now: datetime) -> Mapping[str, Any]:
    presented = opaque.parse(token)
    found = find(presented.session_id, with_token=True)
    if found is None or not _is_honoured(presented, found, now):
        return INACTIVE
    session = found.session
    answer = {
        "active": True,
        "token_type": "refresh_token",
        "token_use": "refresh",
        **_name(session.user),
        "iss": conf.current().ISSUER,
        "aud": conf.current().ISSUER,
        "sub": str(session.user.pk),
        "client_id": session.audience,
        "sid": str(session.pk),
        "auth_time": int(session.authenticated_at.timestamp()),
    }
    if session.refresh_expires_at is not None:
        answer["exp"] = int(session.refresh_expires_at.timestamp())
    return answer


def _is_honoured(presented: opaque.OpaqueToken, found: SessionState, now: datetime) -> bool:
    if found.verdict(now) is not None or found.must_reauthenticate:
        return False
    return not isinstance(standing(presented, found.session, found.token, now), Refused)


def _name(user: AbstractBaseUser | None) -> dict[str, str]:
    return {} if user is None else {"username": user.get_username()}
