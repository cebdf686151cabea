"""Issuing access tokens: the draft, the hook, the clamp to the session's deadline, the signature."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.utils import timezone

from jwt_sessions import conf, signals
from jwt_sessions.exceptions import IssueDenied, IssueFailed
from jwt_sessions.models import Credential, Session
from jwt_sessions.models.lookup import FoundCredential
from jwt_sessions.policies import Deadlines, PolicyBook, deadlines
from jwt_sessions.sessions.activity import is_due
from jwt_sessions.sessions.configured_claims import configured_claims
from jwt_sessions.sessions.verdict import tenant_deadlines
from jwt_sessions.tokens import access
from jwt_sessions.types import ClientInfo, Draft, TokenPair, TokenRequest

logger = logging.getLogger("jwt_sessions")


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A signed access token, its lifetime in whole seconds, and the optional claims that found no room in it."""

    text: str = field(repr=False)
    expires_in: int
    omitted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SessionAccessToken(AccessToken):
    """An access token of a session, with the deadlines that it keeps."""

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
            omitted=self.omitted,
        )


def mint(
    session: Session, policies: PolicyBook, asked: TokenRequest, tenant_active_at: datetime | None, now: datetime
) -> SessionAccessToken:
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
    lifetime = policies.access_token_lifetime("user", audience)
    limits = _deadlines(session, policies, asked, tenant_active_at, now)
    # Before anybody else sees the draft, and of a copy: what others do to it changes nothing here.
    own = _own_claims(session)
    seen = copy.copy(session)
    draft = Draft("user", session.user, None, seen, audience, asked.tenant, asked.client, lifetime)
    draft.claims.update(configured_claims(draft, policies.applying(audience).excluded_claims))
    _ask_receivers(draft, Session)
    soft_expiry = conf.current().SOFT_EXPIRY
    if soft_expiry is not None:
        own["softexp"] = int((now + soft_expiry).timestamp())
    token = _sign(draft, own, now, lifetime, None if limits.next is None else limits.next.at)
    return SessionAccessToken(token.text, token.expires_in, token.omitted, limits)


def mint_for(found: FoundCredential, asked: TokenRequest, now: datetime) -> AccessToken:
    """
    Sign the access token of a credential. Stores nothing.

    Args:
        found: The credential.
        asked: Tenant, client; the audience is the credential's.
        now: The moment of issue.

    Raises:
        IssueDenied, IssueFailed: As :func:`mint`.
    """
    credential, policies = found.credential, found.policies
    kind, audience = credential.kind, credential.audience
    lifetime = policies.access_token_lifetime(kind, audience)
    own: dict[str, Any] = {"sub": str(credential.pk), "client_id": str(credential.pk)}
    if credential.user is not None:
        own |= {"sub": str(credential.user.pk), "jwt_version": found.jwt_version}
    seen = copy.copy(credential)
    draft = Draft(kind, credential.user, seen, None, audience, asked.tenant, asked.client, lifetime)
    if credential.user is not None:
        draft.claims.update(configured_claims(draft, policies.applying(audience).excluded_claims))
    # A fixture may have stored anything.
    if not isinstance(credential.claims, dict):
        raise _failed("the claims of credential %s are no JSON object", credential.pk)
    draft.claims.update(credential.claims)
    _ask_receivers(draft, Credential)
    return _sign(draft, own, now, conf.LONGEST, credential.expires_at)


def size_with_claims(user: AbstractBaseUser) -> int:
    """
    How many bytes an access token of a user has with all of ``CLAIMS``, and without those of receivers.

    Raises:
        IssueDenied, IssueFailed: A callable in ``CLAIMS`` refused or broke.
    """
    now = timezone.now()
    audience = conf.current().default_audience
    session = Session(user=user, created_at=now, audience=audience)  # type: ignore[misc]  # any user model
    draft = Draft("user", user, None, session, audience, None, ClientInfo(), timedelta(0))
    claims, lifetime = configured_claims(draft, ()), conf.current().ACCESS_TOKEN_LIFETIME["user"]
    return len(_encode({**claims, **_own_claims(session), **_common_claims(draft, now, now + lifetime)}))


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


def _sign(
    draft: Draft, own: dict[str, Any], now: datetime, longest: timedelta, deadline: datetime | None
) -> AccessToken:
    """Sign what was drafted, with the claims that nobody else has a say in."""
    expires_at = now + min(draft.expires_in, longest)
    if deadline is not None:
        expires_at = min(expires_at, deadline)
    own |= _common_claims(draft, now, expires_at)
    if "softexp" in own:
        own["softexp"] = min(own["exp"], own["softexp"])
    text, omitted = _fit(draft.claims, own)
    return AccessToken(text, max(0, own["exp"] - own["iat"]), omitted)


def _own_claims(session: Session) -> dict[str, Any]:
    """What a token says of its session."""
    return {
        "sub": str(session.user.pk),
        "client_id": session.audience,
        "sid": str(session.pk),
        "auth_time": int(session.authenticated_at.timestamp()),
        "jwt_version": session.jwt_version,
        "gen": session.generation,
    }


def _common_claims(draft: Draft, now: datetime, expires_at: datetime) -> dict[str, Any]:
    """What a token of any type says of itself."""
    claims = {
        "iss": conf.current().ISSUER,
        "aud": draft.audience,
        "exp": int(expires_at.timestamp()),
        "iat": int(now.timestamp()),
        "jti": access.make_jti(),
        "type": draft.token_type,
    }
    return claims if draft.tenant is None else {**claims, "tenantId": draft.tenant}


def _fit(claims: dict[str, Any], own: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Sign claims, without optional ones as far as the token would be too large with them."""
    settings, left, omitted = conf.current(), dict(claims), []
    text = _encode({**left, **own})
    for name in settings.OPTIONAL_CLAIMS:
        if len(text) <= settings.MAX_ACCESS_TOKEN_BYTES:
            break
        if name in left:
            del left[name]
            omitted.append(name)
            text = _encode({**left, **own, "omitted": omitted})
    if len(text) > settings.MAX_ACCESS_TOKEN_BYTES:
        raise _failed("the access token has %d bytes, more than MAX_ACCESS_TOKEN_BYTES", len(text))
    return text, tuple(omitted)


def _encode(claims: dict[str, Any]) -> str:
    try:
        if not _has_text_keys(claims):
            raise TypeError
        return access.encode(claims)
    except (TypeError, ValueError, RecursionError) as error:
        raise _failed("the claims of a pre_issue receiver are not JSON (%s)", type(error).__name__) from None


def _has_text_keys(value: Any) -> bool:
    """Whether all names in a value are texts: Python would make texts of others (RFC 8259 §4)."""
    if isinstance(value, dict):
        return all(isinstance(name, str) and _has_text_keys(each) for name, each in value.items())
    return not isinstance(value, list | tuple) or all(map(_has_text_keys, value))


def _ask_receivers(draft: Draft, sender: type[Session] | type[Credential]) -> None:
    try:
        signals.pre_issue.send(sender, draft=draft)
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
    if not isinstance(draft.expires_in, timedelta) or draft.expires_in < timedelta(seconds=1):
        raise _failed("a receiver of pre_issue set an expires_in that is not a timedelta of at least one second")


def _failed(message: str, *arguments: object) -> IssueFailed:
    logger.error(f"{message}; no token was issued", *arguments)
    return IssueFailed()
