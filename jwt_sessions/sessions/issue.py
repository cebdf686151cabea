"""Issuing access tokens: the draft, the hook, the clamp to the session's deadline, the signature."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from jwt_sessions import conf, signals
from jwt_sessions.exceptions import IssueDenied, IssueFailed
from jwt_sessions.models import Session
from jwt_sessions.policies import Deadlines
from jwt_sessions.tokens import access
from jwt_sessions.types import ClientInfo, Draft

logger = logging.getLogger("jwt_sessions")


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A signed access token and its lifetime in whole seconds."""

    text: str = field(repr=False)
    expires_in: int


def issue_access_token(
    session: Session, deadlines: Deadlines, *, audience: str, client: ClientInfo, now: datetime
) -> AccessToken:
    """
    Sign an access token for a session as it will be once stored. Stores nothing and needs no transaction.

    Args:
        session: The session, with the generation that the token shall belong to and its user loaded.
        deadlines: Its deadlines; the token never outlives them, so verifiers without a database obey too.
        audience: The audience that the token is for.
        client: The facts of the request.
        now: The moment of issue.

    Raises:
        IssueDenied: A receiver of ``pre_issue`` refused.
        IssueFailed: A receiver broke, touched a reserved claim or set no sensible lifetime; or the token is too large.
    """
    lifetime = conf.current().ACCESS_TOKEN_LIFETIME["user"]
    draft = Draft("user", session.user, session, audience, client, lifetime)
    _ask_receivers(draft)
    expires_at = now + min(draft.expires_in, lifetime)
    if deadlines.next is not None:
        expires_at = min(expires_at, deadlines.next.at)
    issued, expires = int(now.timestamp()), int(expires_at.timestamp())
    claims = {
        "iss": conf.current().ISSUER,
        "sub": str(session.user.pk),
        "aud": audience,
        "exp": expires,
        "iat": issued,
        "jti": access.make_jti(),
        "sid": str(session.pk),
        "auth_time": int(session.authenticated_at.timestamp()),
        "client_id": session.audience,
        "type": draft.token_type,
        "jwt_version": session.jwt_version,
        "gen": session.generation,
    }
    try:
        text = access.encode({**draft.claims, **claims})
    except (TypeError, ValueError, RecursionError) as error:
        raise _failed("the claims of a pre_issue receiver are not JSON (%s)", type(error).__name__) from None
    if len(text) > conf.current().MAX_ACCESS_TOKEN_BYTES:
        raise _failed("the access token has %d bytes, more than MAX_ACCESS_TOKEN_BYTES", len(text))
    return AccessToken(text, max(0, expires - issued))


def _ask_receivers(draft: Draft) -> None:
    try:
        signals.pre_issue.send(Session, draft=draft)
    except IssueDenied:
        raise
    except Exception as error:
        logger.exception("a receiver of pre_issue failed, so no token was issued")
        raise IssueFailed from error
    if not isinstance(draft.claims, dict) or not all(isinstance(name, str) for name in draft.claims):
        raise _failed("a receiver of pre_issue left claims that are not a dict with string keys")
    reserved = sorted(access.RESERVED_CLAIMS.intersection(draft.claims))
    if reserved:
        raise _failed("a receiver of pre_issue set reserved claims: %s", ", ".join(reserved))
    if not isinstance(draft.expires_in, timedelta) or draft.expires_in <= timedelta(0):
        raise _failed("a receiver of pre_issue set an expires_in that is not a positive timedelta")


def _failed(message: str, *arguments: object) -> IssueFailed:
    logger.error(f"{message}; no token was issued", *arguments)
    return IssueFailed()
