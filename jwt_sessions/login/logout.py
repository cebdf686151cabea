"""Signing out with a token: whatever was presented, also a dead one."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.signals import user_logged_out
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from jwt_sessions import sessions
from jwt_sessions.exceptions import EndReason, InvalidToken, SessionEnded, UnsupportedTokenType
from jwt_sessions.models import Session
from jwt_sessions.tokens import access, opaque
from jwt_sessions.verdict.session import find


@sensitive_variables()
def sign_out(token: str, *, request: HttpRequest) -> bool:
    """
    End the session of a refresh or an access token, and tell Django's ``user_logged_out`` receivers.

    A genuine access token that has expired will do. An old refresh token is reuse here as everywhere.

    Returns:
        Whether this ended a living session. Unknown and forged tokens end nothing.

    Raises:
        UnsupportedTokenType: It is the access token of a credential, which has no session.
    """
    try:
        session = _session_of(token, request)
    except (InvalidToken, SessionEnded):
        return False
    if not sessions.end(session, reason=EndReason.LOGOUT):
        return False
    user_logged_out.send(sender=session.user.__class__, request=request, user=session.user)
    return True


def _session_of(token: str, request: HttpRequest) -> Session:
    now = timezone.now()
    if opaque.looks_like_refresh_token(token):
        found, _standing = sessions.resolve(opaque.parse(token), now, request=request)
        return found.session
    claims = access.decode(token, now, check_expiry=False)
    if claims["type"] != "user":
        raise UnsupportedTokenType
    named = find(UUID(claims["sid"]))
    if named is None or not named.session.oldest_generation <= claims["gen"] <= named.session.generation:
        # From before a re-authentication: who did that holds a newer token.
        raise InvalidToken
    return named.session
