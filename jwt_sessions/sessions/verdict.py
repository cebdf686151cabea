"""The verdict: whether a session, a credential or a token lives. Every door asks here and nowhere else."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser

from jwt_sessions import conf
from jwt_sessions.exceptions import (
    EndReason,
    ExpiredToken,
    InvalidToken,
    JWTSessionsError,
    SessionEnded,
    TenantIdle,
)
from jwt_sessions.models import Credential, Session
from jwt_sessions.models.credential import CredentialKind
from jwt_sessions.models.lookup import Found, FoundCredential, find, find_credential
from jwt_sessions.policies import Deadlines, Policy, deadlines
from jwt_sessions.tokens.keys import derived

AUTH_HASH_BYTES = 12


def verdict(session: Session, jwt_version: int, policy: Policy, now: datetime) -> EndReason | None:
    """
    Why a session is over at ``now``, or ``None`` while it lives.

    Args:
        session: The session, with its user loaded.
        jwt_version: The user's token version.
        policy: What applies to the session.
        now: The moment to judge it at.
    """
    if session.ended_at is not None:
        return EndReason(session.end_reason)
    if not session.user.is_active:
        return EndReason.USER_INACTIVE
    if session.jwt_version != jwt_version:
        return EndReason.VERSION_RAISED
    if conf.current().PASSWORD_CHANGE_ENDS_SESSIONS and not _same_password(session):
        return EndReason.PASSWORD_CHANGED
    passed = deadlines(session, policy).passed(now)
    return None if passed is None else passed.reason


def must_reauthenticate(found: Found) -> bool:
    """Whether the user was flagged after the password was given for a session: it cannot be refreshed then."""
    return found.reauthenticate_after is not None and found.session.authenticated_at < found.reauthenticate_after


def refusal(
    claims: Mapping[str, Any], found: Found | None, now: datetime, *, open_tenant: bool = False
) -> JWTSessionsError | None:
    """
    Why a genuine access token of a session is refused at ``now``, or ``None`` while it is good.

    Args:
        claims: The claims of the token.
        found: The session it names, read with the clock of the tenant it names.
        now: The moment to judge it at.
        open_tenant: Accept a token whose tenant has gone idle.
    """
    if found is None or str(found.session.user.pk) != claims["sub"] or claims["gen"] > found.session.generation:
        return InvalidToken()
    reason = verdict(found.session, found.jwt_version, found.policy(), now)
    if reason is not None:
        return SessionEnded(reason)
    if claims["gen"] < found.session.oldest_generation:
        # The password was given again since; who did that holds a newer token.
        return ExpiredToken()
    if not open_tenant and tenant_is_idle(found, claims.get("tenantId"), now):
        return TenantIdle()
    return None


def credential_lives(credential: Credential, now: datetime) -> bool:
    """Whether a credential, read with its owner, may be exchanged at ``now``."""
    if credential.revoked_at is not None or (credential.expires_at is not None and credential.expires_at <= now):
        return False
    if credential.user is None:
        return credential.kind == CredentialKind.API
    return credential.user.is_active


def credential_token_lives(claims: Mapping[str, Any], found: FoundCredential | None, now: datetime) -> bool:
    """Whether a genuine access token of a credential is good at ``now``, given the credential that it names."""
    if found is None or found.credential.kind != claims["type"] or not credential_lives(found.credential, now):
        return False
    if found.credential.user is None:
        return bool(claims["sub"] == claims["client_id"])
    owner = str(found.credential.user.pk)
    return bool(owner == claims["sub"] and found.jwt_version == claims["jwt_version"])


def find_good(claims: Mapping[str, Any], now: datetime) -> Found | FoundCredential | None:
    """
    What a genuine access token belongs to, while the token is good at ``now``; else ``None``. One read, no write.

    Args:
        claims: The claims of the token.
        now: The moment to judge it at.
    """
    if claims["type"] == "user":
        found = find(UUID(claims["sid"]), tenant=claims.get("tenantId"))
        return found if refusal(claims, found, now) is None else None
    credential = find_credential(UUID(claims["client_id"]))
    return credential if credential_token_lives(claims, credential, now) else None


def tenant_deadlines(session: Session, active_at: datetime, policy: Policy) -> Deadlines:
    """
    The deadlines of a session's tokens for one tenant: those of the session, but idle by the tenant's own clock.

    Args:
        session: The session.
        active_at: When the user was last active for the tenant.
        policy: What applies to the session's tokens for the tenant.
    """
    return deadlines(TenantTimes(session, active_at), policy)


def tenant_is_idle(found: Found, tenant: str | None, now: datetime) -> bool:
    """
    Whether the idle clock of a tenant, if there is one, ran out for a session, read with that clock.

    One never set has not.
    """
    if tenant is None or found.tenant_active_at is None:
        return False
    idle = tenant_deadlines(found.session, found.tenant_active_at, found.policy(tenant)).idle
    return idle is not None and idle.at <= now


@dataclass(frozen=True, slots=True)
class TenantTimes:
    """The times of a session as its tokens for one tenant see them."""

    session: Session
    last_active_at: datetime

    @property
    def authenticated_at(self) -> datetime:
        """When the password was last given."""
        return self.session.authenticated_at

    @property
    def refresh_expires_at(self) -> datetime | None:
        """When the current refresh token expires."""
        return self.session.refresh_expires_at


def auth_hash(user: AbstractBaseUser) -> bytes:
    """
    What a session remembers of the password: a keyed hash of Django's session auth hash, cut to 96 bits.

    It changes with the password and tells nothing about it. Empty for a user model without ``get_session_auth_hash``.
    """
    if not hasattr(user, "get_session_auth_hash"):
        return b""
    return _keyed(derived("auth-hash")[0], user.get_session_auth_hash())


def fallback_auth_hashes(user: AbstractBaseUser) -> list[bytes]:
    """What :func:`auth_hash` was under each of ``SECRET_KEY_FALLBACKS``: both hashes in it hang on the key."""
    hashes: Iterable[str] = getattr(user, "get_session_auth_fallback_hash", tuple)()
    return [_keyed(key, each) for key, each in zip(derived("auth-hash")[1:], hashes, strict=False)]


def _same_password(session: Session) -> bool:
    stored = bytes(session.auth_hash)
    if hmac.compare_digest(stored, auth_hash(session.user)):
        return True
    return any(hmac.compare_digest(stored, fallback) for fallback in fallback_auth_hashes(session.user))


def _keyed(key: bytes, session_auth_hash: str) -> bytes:
    return hmac.digest(key, session_auth_hash.encode(), "sha256")[:AUTH_HASH_BYTES]
