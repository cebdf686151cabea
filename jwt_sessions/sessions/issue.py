"""Issuing access tokens: the draft, the hook, the clamp to the session's deadline, the signature."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from jwt_sessions import conf, signals
from jwt_sessions.exceptions import IssueDenied, IssueFailed
from jwt_sessions.models import Session
from jwt_sessions.policies import Deadlines, PolicyBook, deadlines, value_of
from jwt_sessions.sessions.activity import is_due
from jwt_sessions.sessions.configured_claims import configured_claims
from jwt_sessions.sessions.verdict import tenant_deadlines
from jwt_sessions.tokens import access
from jwt_sessions.types import Draft, TokenPair, TokenRequest

logger = logging.getLogger("jwt_sessions")


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A signed access token, its lifetime in whole seconds, and the deadlines that it keeps."""

    text: str = field(repr=False)
    expires_in: int
    deadlines: Deadlines

    def paired(self, refresh_token: str, session: Session, asked: TokenRequest, *, rotated: bool) -> TokenPair:
        """What is handed back: this token and a refresh token (empty: none), with the session as it is stored."""
        return TokenPair(
            self.text,
            refresh_token,
            self.expires_in,
            session,
            self.deadlines.session_expires_at,
            self.deadlines.idle_expires_at,
            rotated=rotated,
            tenant=asked.tenant,
        )


def mint(
    session: Session, policies: PolicyBook, asked: TokenRequest, tenant_active_at: datetime | None, now: datetime
) -> AccessToken:
    """
    Sign the access token that was asked for. Stores nothing and needs no transaction.

    The token never outlives the session's deadlines, so verifiers without a database obey them too.

    Args:
        session: The session as it will be once stored, with its user loaded.
        policies: The policies in force.
        asked: Audience, tenant, client.
        tenant_active_at: When the user was last active for the tenant before; ``None`` if never.
        now: The moment of issue.

    Raises:
        IssueDenied: A receiver of ``pre_issue`` refused.
        IssueFailed: A receiver broke, touched a reserved claim or set no sensible lifetime; or the token is too large.
    """
    audience = asked.audience or session.audience
    limits = _deadlines(session, policies, asked, tenant_active_at, now)
    of_audience = policies.applying(audience)
    lifetime = value_of(of_audience.access_token_lifetime) or timedelta(0)
    draft = Draft("user", session.user, session, audience, asked.tenant, asked.client, lifetime)
    draft.claims.update(configured_claims(draft, of_audience.excluded_claims))
    _ask_receivers(draft)
    expires_at = now + min(draft.expires_in, lifetime)
    if limits.next is not None:
        expires_at = min(expires_at, limits.next.at)
    issued, expires = int(now.timestamp()), int(expires_at.timestamp())
    claims: dict[str, Any] = {
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
    if asked.tenant is not None:
        claims["tenantId"] = asked.tenant
    soft_expiry = conf.current().SOFT_EXPIRY
    if soft_expiry is not None:
        claims["softexp"] = min(expires, int((now + soft_expiry).timestamp()))
    return AccessToken(_sign({**draft.claims, **claims}), max(0, expires - issued), limits)


def _deadlines(
    session: Session, policies: PolicyBook, asked: TokenRequest, tenant_active_at: datetime | None, now: datetime
) -> Deadlines:
    policy = policies.applying(session.audience, session.tenants or (), asked.tenant)
    if asked.tenant is None:
        return deadlines(session, policy)
    active_at = tenant_active_at
    if active_at is None or (not asked.background and is_due(active_at, now)):
        active_at = now
    return tenant_deadlines(session, active_at, policy)


def _sign(claims: dict[str, Any]) -> str:
    try:
        text = access.encode(claims)
    except (TypeError, ValueError, RecursionError) as error:
        raise _failed("the claims of a pre_issue receiver are not JSON (%s)", type(error).__name__) from None
    if len(text) > conf.current().MAX_ACCESS_TOKEN_BYTES:
        raise _failed("the access token has %d bytes, more than MAX_ACCESS_TOKEN_BYTES", len(text))
    return text


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
