"""
Cache tags, for ``SESSION_CHECK="cache"``: a cached verdict carries the tags of its session, user,
credential and of the policies.

Each tag has a value in the cache. A verdict is stored together with the values of its tags, and counts while they are
the same. A change replaces the value, and does so again when its transaction commits: who reads the old row in between
caches it under a value that is gone. A value that the cache has lost is replaced by another, which invalidates too.
Nobody tells when a transaction without autocommit, managed by hand, commits: then the value is :data:`UNSETTLED`.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Iterable
from functools import partial

from django.core.cache import BaseCache, caches
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from jwt_sessions import conf

logger = logging.getLogger("jwt_sessions")

POLICIES = "jwt_sessions:tag:policies"
# The value of a tag under which nothing is cached, until another change or the tag's lifetime replaces it.
UNSETTLED = "unsettled"


def session_cache() -> BaseCache:
    """The cache that ``SESSION_CACHE`` names."""
    return caches[conf.current().SESSION_CACHE]


def session_tag(session_id: object) -> str:
    """The tag of a session."""
    return f"jwt_sessions:tag:session:{session_id}"


def credential_tag(client_id: object) -> str:
    """The tag of a credential."""
    return f"jwt_sessions:tag:credential:{client_id}"


def user_tag(key: object) -> str:
    """The tag of a user, by the user's key. Hashed: some caches take no key of any length and text."""
    return f"jwt_sessions:tag:user:{digest(str(key))}"


def digest(text: str) -> str:
    """A text as part of a key."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def invalidate(tags: Iterable[str], alias: str) -> None:
    """
    Invalidate all cached verdicts with any of these tags, at once and when the transaction commits.

    Args:
        tags: The tags.
        alias: The database in which the change is made.
    """
    if conf.current().SESSION_CHECK != "cache":
        return
    connection = connections[alias]
    if is_manual(connection):
        _write(dict.fromkeys(tags, UNSETTLED))
        return
    replace = partial(_replace, list(tags))
    replace()
    if connection.in_atomic_block:
        transaction.on_commit(replace, using=alias)


def is_manual(connection: BaseDatabaseWrapper) -> bool:
    """Whether autocommit is off, so that it is not known here when a transaction begins and commits."""
    # An atomic block turns it off itself, and commits at its end unless it was off before.
    return not connection.get_autocommit() and not (connection.in_atomic_block and connection.commit_on_exit)


def add_value(tag: str) -> str | None:
    """Give a tag without a value one; ``None`` if somebody else just did, which may have been for a change."""
    value = secrets.token_urlsafe(9)
    return value if session_cache().add(tag, value, _lifetime()) else None


def _replace(tags: list[str]) -> None:
    _write({tag: secrets.token_urlsafe(9) for tag in tags})


def _write(values: dict[str, str]) -> None:
    try:
        session_cache().set_many(values, _lifetime())
    except Exception:
        # Whatever the cache's client raises: the change itself is stored, and no verdict outlives ACTIVITY_RESOLUTION.
        logger.exception("a change could not be told to the cache of sessions")


def _lifetime() -> int:
    # Verdicts have to expire before the tags that they carry.
    return max(3600, 2 * int(conf.current().ACTIVITY_RESOLUTION.total_seconds()))
