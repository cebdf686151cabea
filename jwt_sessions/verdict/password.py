"""Whether the password is still the one that was given for a session."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from django.contrib.auth.base_user import AbstractBaseUser

from jwt_sessions.models import Session
from jwt_sessions.tokens.keys import derived

AUTH_HASH_BYTES = 12


def auth_hash(user: AbstractBaseUser) -> bytes:
    """
    What a session remembers of the password: a keyed hash of Django's session auth hash, cut to 96 bits.

    It changes with the password and tells nothing about it. Empty for a user model without ``get_session_auth_hash``.
    """
    if not hasattr(user, "get_session_auth_hash"):
        return b""
    return _keyed(derived("auth-hash")[0], user.get_session_auth_hash())


def fallback_auth_hashes(user: AbstractBaseUser) -> list[bytes]:
    """What :func:`auth_hash` was under each of ``SECRET_KEY_FALLBACKS``: both hashes in it depend on the key."""
    hashes: Iterable[str] = getattr(user, "get_session_auth_fallback_hash", tuple)()
    return [_keyed(key, each) for key, each in zip(derived("auth-hash")[1:], hashes, strict=False)]


def same_password(session: Session) -> bool:
    """Whether the password of a session's user is the one that the session remembers."""
    stored = bytes(session.auth_hash)
    if hmac.compare_digest(stored, auth_hash(session.user)):
        return True
    return any(hmac.compare_digest(stored, fallback) for fallback in fallback_auth_hashes(session.user))


def _keyed(key: bytes, session_auth_hash: str) -> bytes:
    return hmac.digest(key, session_auth_hash.encode(), "sha256")[:AUTH_HASH_BYTES]
