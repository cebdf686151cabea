"""
Verdicts in the cache, for ``SESSION_CHECK="cache"``.

The cache only ever says yes: that a token was good, and that nothing it depends on has changed since. Whatever else
there is to say or to write, also that there was activity, goes to the database.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connections, router
from django.views.debug import SafeExceptionReporterFilter

from jwt_sessions import cache_tags, conf
from jwt_sessions.models import Session
from jwt_sessions.policies import activity_is_due
from jwt_sessions.tokens.keys import derived
from jwt_sessions.verdict.credential import CredentialState
from jwt_sessions.verdict.session import SessionState

# What Django takes for a secret in its error reports.
SECRET = SafeExceptionReporterFilter.hidden_settings
# How Django names what a user may do: is_active, is_staff, is_superuser.
RIGHT = "is_"
# Values of other types may hold more than their field: a file that was looked at, its user with the password.
PLAIN = (type(None), bool, int, float, str, bytes, Decimal, UUID, date, datetime, time, timedelta, list, dict)

logger = logging.getLogger("jwt_sessions")


@dataclass(frozen=True, slots=True)
class CachedVerdict:
    """
    What a token has to say, and when, to be good without a look at the database.

    Attributes:
        tags: The values that its tags had.
        until: The next deadline, at most ``ACTIVITY_RESOLUTION`` ahead.
        claims: Claims that have to be these.
        generations: The oldest and the newest generation that need no word to the database.
        clocks: Activity on record; a request that would write it anew goes by the database.
        user: The user's fields but those that may be secret; ``None`` where there is no user.
    """

    tags: tuple[str | None, ...]
    until: datetime
    claims: Mapping[str, Any]
    generations: tuple[int, int] | None = None
    clocks: tuple[datetime, ...] = ()
    user: Mapping[str, Any] | None = field(default=None, repr=False)

    def covers(self, claims: Mapping[str, Any], now: datetime, *, background: bool) -> bool:
        """Whether a token with these claims is good at ``now``, and nothing is to be written for it."""
        if self.until <= now:
            return False
        if any(claims.get(name) != value for name, value in self.claims.items()):
            return False
        if self.generations is not None and not self.generations[0] <= claims["gen"] <= self.generations[1]:
            return False
        return background or not any(activity_is_due(clock, now) for clock in self.clocks)


class VerdictCache:
    """
    What the cache knows of a token, read in one go, and the place to write it. A cache that fails knows nothing.

    Args:
        claims: The claims of a verified token.
        now: The moment to judge it at.
    """

    def __init__(self, claims: Mapping[str, Any], now: datetime) -> None:
        self.claims = claims
        self._now = now
        self._key, *tags = _keys(claims)
        found = self._read([self._key, *tags])
        # All this before the database is asked: a change after that makes them others.
        self._tags = tuple(found[tag] if tag in found else self._add(tag) for tag in tags)
        known = found.get(self._key)
        self._known = known if isinstance(known, CachedVerdict) else None

    def says_yes(self, *, background: bool) -> bool:
        """Whether the token is good; otherwise the database has to be asked."""
        known = self._known
        return (
            known is not None
            and known.tags == self._tags
            and known.covers(self.claims, self._now, background=background)
        )

    @property
    def user(self) -> AbstractBaseUser | None:
        """The user that the token speaks for, as cached; a field that is not cached is read if a view asks for it."""
        fields = None if self._known is None else self._known.user
        if fields is None:
            return None
        model = get_user_model()
        return model.from_db(router.db_for_read(model), list(fields), list(fields.values()))

    def keep(self, found: SessionState | CredentialState) -> None:
        """Cache that the token was found good, by what is on record."""
        known = self._of_session(found) if isinstance(found, SessionState) else self._of_credential(found)
        if known is None or None in self._tags or cache_tags.UNSETTLED in self._tags:
            return
        try:
            cache_tags.session_cache().set(self._key, known, conf.current().ACTIVITY_RESOLUTION.total_seconds())
        except Exception:
            logger.exception("the cache of sessions cannot be written")

    def _of_session(self, found: SessionState) -> CachedVerdict | None:
        session, tenant = found.session, self.claims.get("tenantId")
        clocks, limits = [session.last_active_at], [found.deadlines().next]
        if tenant is not None:
            if found.tenant_active_at is None:
                # The clock is not set. The next activity is to set it.
                return None
            clocks.append(found.tenant_active_at)
            limits.append(found.deadlines(tenant).next)
        is_unused = session.generation > 0 and session.first_used_at is None
        newest = session.generation - 1 if is_unused else session.generation
        return CachedVerdict(
            self._tags,
            self._until(limit.at for limit in limits if limit is not None),
            {"sub": self.claims["sub"]},
            (session.oldest_generation, newest),
            tuple(clocks),
            _shown(session.user),
        )

    def _of_credential(self, found: CredentialState) -> CachedVerdict:
        same = {name: self.claims.get(name) for name in ("sub", "type", "jwt_version")}
        until = self._until(deadline.at for deadline in found.deadlines())
        return CachedVerdict(self._tags, until, same, user=None if found.user is None else _shown(found.user))

    def _until(self, limits: Iterable[datetime]) -> datetime:
        return min((self._now + conf.current().ACTIVITY_RESOLUTION, *limits))

    def _read(self, keys: list[str]) -> Mapping[str, Any]:
        try:
            return cache_tags.session_cache().get_many(keys)
        except Exception:
            # Whatever its client raises, or what it holds is not ours to read. Nothing is written to it then.
            logger.exception("the cache of sessions cannot be read, so the database is asked")
            return dict.fromkeys(keys)

    def _add(self, tag: str) -> str | None:
        try:
            return cache_tags.add_value(tag)
        except Exception:
            logger.exception("the cache of sessions cannot be written")
            return None


def _shown(user: AbstractBaseUser) -> Mapping[str, Any]:
    """
    The fields of a user, but for two kinds.

    What by its name may be a secret, such as the password, has no place in a cache. And who saves a cached user
    must not write back a right that a bulk update has taken away: Django leaves out what was not loaded.
    """
    key, values = user._meta.pk.attname, vars(user)
    names = [field.attname for field in user._meta.concrete_fields if field.attname in values]
    return {name: values[name] for name in names if name == key or _may_be_shown(name, values[name])}


def _may_be_shown(name: str, value: object) -> bool:
    return type(value) in PLAIN and not name.startswith(RIGHT) and not SECRET.search(name)


def _keys(claims: Mapping[str, Any]) -> list[str]:
    """The key of a verdict, and its tags."""
    owner = cache_tags.user_tag(claims["sub"])
    context = _context(conf.current(), derived("verdicts"), get_user_model(), _database())
    if claims["type"] != "user":
        client_id = claims["client_id"]
        return [
            f"jwt_sessions:verdict:credential:{client_id}:{context}",
            cache_tags.credential_tag(client_id),
            owner,
        ]
    # As text of Python, which tells no tenant from an empty one.
    session_id, tenant = claims["sid"], cache_tags.digest(repr(claims.get("tenantId")))
    key = f"jwt_sessions:verdict:session:{session_id}:{tenant}:{context}"
    return [key, cache_tags.session_tag(session_id), owner, cache_tags.POLICIES]


@lru_cache(maxsize=8)
def _context(
    settings: conf.Settings, keys: tuple[bytes, ...], user_model: type[AbstractBaseUser], database: tuple[str, ...]
) -> str:
    """
    What else a verdict depends on, as part of its key. A server that has it otherwise does not go by the verdict.

    These are settings, the keys that follow from ``SECRET_KEY``, the fields of users and of verdicts themselves, and
    the database: a copy of it, as for staging, has the same sessions and may share the cache.
    """
    limits = (settings.IDLE_TIMEOUT, settings.MAX_SESSION_LIFETIME, settings.PASSWORD_CHANGE_ENDS_SESSIONS)
    fields = [field.attname for field in user_model._meta.concrete_fields]
    facts = (limits, settings.ACTIVITY_RESOLUTION, keys, fields, CachedVerdict.__slots__, database)
    return cache_tags.digest(repr(facts))


def _database() -> tuple[str, ...]:
    """Where sessions are written."""
    given = connections[router.db_for_write(Session)].settings_dict
    options = given.get("OPTIONS") or {}
    return (
        *(str(given.get(name)) for name in ("HOST", "PORT", "NAME")),
        # What PostgreSQL may be named by instead, and where the search path may stand.
        *(str(options.get(name)) for name in ("service", "options")),
    )
