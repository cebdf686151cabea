"""
Stamps in the cache, for ``SESSION_CHECK="cache"``: each names the last change of a session, user, credential or of the
policies. A verdict is remembered together with the stamps it was made under, and counts while they are the same.

A stamp is renewed with each change, and again when its transaction commits: who reads the old row in between remembers
it under a stamp that is gone. One that the cache has lost is as good as renewed: the next is another.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Iterable
from functools import partial

from django.core.cache import BaseCache, caches
from django.db import connections, transaction

from jwt_sessions import conf

logger = logging.getLogger("jwt_sessions")

POLICIES = "jwt_sessions:stamp:policies"


def session_cache() -> BaseCache:
    """The cache that ``SESSION_CACHE`` names."""
    return caches[conf.current().SESSION_CACHE]


def session_stamp(session_id: object) -> str:
    """The key of a session's stamp."""
    return f"jwt_sessions:stamp:session:{session_id}"


def credential_stamp(client_id: object) -> str:
    """The key of a credential's stamp."""
    return f"jwt_sessions:stamp:credential:{client_id}"


def user_stamp(key: object) -> str:
    """The key of a user's stamp, by the user's key. Hashed: some caches take no key of any length and text."""
    return f"jwt_sessions:stamp:user:{digest(str(key))}"


def digest(text: str) -> str:
    """A text as part of a key."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def renew(keys: Iterable[str], alias: str) -> None:
    """
    Forget all verdicts that hang on these stamps, at once and when the transaction commits.

    Args:
        keys: The keys of the stamps.
        alias: The database in which the change is made.
    """
    if conf.current().SESSION_CHECK != "cache":
        return
    write = partial(_write, list(keys))
    write()
    if connections[alias].in_atomic_block:
        transaction.on_commit(write, using=alias)


def make(key: str) -> str | None:
    """Make a stamp that is missing; ``None`` if somebody else did, which may have been for a change."""
    stamp = secrets.token_urlsafe(9)
    return stamp if session_cache().add(key, stamp, _lifetime()) else None


def _write(keys: list[str]) -> None:
    try:
        session_cache().set_many({key: secrets.token_urlsafe(9) for key in keys}, _lifetime())
    except Exception:
        # Whatever the cache's client raises: the change itself is stored, and no verdict outlives ACTIVITY_RESOLUTION.
        logger.exception("a change could not be told to the cache of sessions")


def _lifetime() -> int:
    # Verdicts are to run out before the stamps that they hang on.
    return max(3600, 2 * int(conf.current().ACTIVITY_RESOLUTION.total_seconds()))
