"""
Verdicts remembered in the cache, for ``SESSION_CHECK="cache"``.

The cache only ever says yes: that a token was good, and that nothing it hangs on has changed since. Whatever else there
is to say or to write, also that there was activity, goes by the database.
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
from django.db import router
from django.views.debug import SafeExceptionReporterFilter

from jwt_sessions import conf
from jwt_sessions.models import stamps
from jwt_sessions.models.lookup import Found, FoundCredential
from jwt_sessions.policies import deadlines
from jwt_sessions.sessions.activity import is_due
from jwt_sessions.sessions.verdict import tenant_deadlines
from jwt_sessions.tokens.keys import derived

# What Django takes for a secret in its error reports.
SECRET = SafeExceptionReporterFilter.hidden_settings
# How Django names what a user may do: is_active, is_staff, is_superuser.
RIGHT = "is_"
# Values of other types may hold more than their field: a file that was looked at, its user with the password.
PLAIN = (type(None), bool, int, float, str, bytes, Decimal, UUID, date, datetime, time, timedelta, list, dict)

logger = logging.getLogger("jwt_sessions")


@dataclass(frozen=True, slots=True)
class RememberedVerdict:
    """
    What a token has to say, and when, to be good without a look at the database.

    Attributes:
        stamps: The stamps it was made under.
        until: The next deadline, at most ``ACTIVITY_RESOLUTION`` ahead.
        claims: Claims that have to be these.
        generations: The oldest and the newest generation that need no word to the database.
        clocks: Activity on record; a request that would write it anew goes by the database.
        user: The user's fields but those that may be secret; ``None`` where there is no user.
    """

    stamps: tuple[str | None, ...]
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
        return background or not any(is_due(clock, now) for clock in self.clocks)


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
        self._key, *stamp_keys = _keys(claims)
        found = self._read([self._key, *stamp_keys])
        # All this before the database is asked: a change after that makes them others.
        self._stamps = tuple(found[key] if key in found else self._make(key) for key in stamp_keys)
        known = found.get(self._key)
        self._known = known if isinstance(known, RememberedVerdict) else None

    def says_yes(self, *, background: bool) -> bool:
        """Whether the token is good; otherwise the database has to be asked."""
        known = self._known
        return (
            known is not None
            and known.stamps == self._stamps
            and known.covers(self.claims, self._now, background=background)
        )

    @property
    def user(self) -> AbstractBaseUser | None:
        """The user that a remembered token speaks for; a field that is not remembered is read if a view asks for it."""
        fields = None if self._known is None else self._known.user
        if fields is None:
            return None
        model = get_user_model()
        return model.from_db(router.db_for_read(model), list(fields), list(fields.values()))

    def keep(self, found: Found | FoundCredential) -> None:
        """Remember that the token was found good, by what is on record."""
        known = self._of_session(found) if isinstance(found, Found) else self._of_credential(found)
        if known is None or None in self._stamps:
            return
        try:
            stamps.session_cache().set(self._key, known, conf.current().ACTIVITY_RESOLUTION.total_seconds())
        except Exception:
            logger.exception("the cache of sessions cannot be written")

    def _of_session(self, found: Found) -> RememberedVerdict | None:
        session, tenant = found.session, self.claims.get("tenantId")
        policy = found.policy(tenant)
        clocks, limits = [session.last_active_at], [deadlines(session, policy).next]
        if tenant is not None:
            if found.tenant_active_at is None:
                # The clock is not set. The next activity is to set it.
                return None
            clocks.append(found.tenant_active_at)
            limits.append(tenant_deadlines(session, found.tenant_active_at, policy).next)
        is_unused = session.generation > 0 and session.first_used_at is None
        newest = session.generation - 1 if is_unused else session.generation
        return RememberedVerdict(
            self._stamps,
            self._until(limit.at for limit in limits if limit is not None),
            {"sub": self.claims["sub"]},
            (session.oldest_generation, newest),
            tuple(clocks),
            _shown(session.user),
        )

    def _of_credential(self, found: FoundCredential) -> RememberedVerdict:
        same = {name: self.claims.get(name) for name in ("sub", "type", "jwt_version")}
        owner, expires_at = found.credential.user, found.credential.expires_at
        until = self._until(() if expires_at is None else (expires_at,))
        return RememberedVerdict(self._stamps, until, same, user=None if owner is None else _shown(owner))

    def _until(self, limits: Iterable[datetime]) -> datetime:
        return min((self._now + conf.current().ACTIVITY_RESOLUTION, *limits))

    def _read(self, keys: list[str]) -> Mapping[str, Any]:
        try:
            return stamps.session_cache().get_many(keys)
        except Exception:
            # Whatever its client raises, or what it holds is not ours to read. Nothing is written to it then.
            logger.exception("the cache of sessions cannot be read, so the database is asked")
            return dict.fromkeys(keys)

    def _make(self, key: str) -> str | None:
        try:
            return stamps.make(key)
        except Exception:
            logger.exception("the cache of sessions cannot be written")
            return None


def _shown(user: AbstractBaseUser) -> Mapping[str, Any]:
    """
    The fields of a user, but for two kinds.

    What by its name may be a secret, such as the password, has no place in a cache. And who saves a remembered user
    must not write back a right that a bulk update has taken away: Django leaves out what was not loaded.
    """
    key, values = user._meta.pk.attname, vars(user)
    names = [field.attname for field in user._meta.concrete_fields if field.attname in values]
    return {name: values[name] for name in names if name == key or _may_be_shown(name, values[name])}


def _may_be_shown(name: str, value: object) -> bool:
    return type(value) in PLAIN and not name.startswith(RIGHT) and not SECRET.search(name)


def _keys(claims: Mapping[str, Any]) -> list[str]:
    """The key of a verdict, and those of the stamps it hangs on."""
    owner = stamps.user_stamp(claims["sub"])
    context = _context(conf.current(), derived("verdicts"), get_user_model())
    if claims["type"] != "user":
        client_id = claims["client_id"]
        return [
            f"jwt_sessions:verdict:credential:{client_id}:{context}",
            stamps.credential_stamp(client_id),
            owner,
        ]
    # As text of Python, which tells no tenant from an empty one.
    session_id, tenant = claims["sid"], stamps.digest(repr(claims.get("tenantId")))
    key = f"jwt_sessions:verdict:session:{session_id}:{tenant}:{context}"
    return [key, stamps.session_stamp(session_id), owner, stamps.POLICIES]


@lru_cache(maxsize=8)
def _context(settings: conf.Settings, keys: tuple[bytes, ...], user_model: type[AbstractBaseUser]) -> str:
    """
    What else a verdict hangs on, as part of its key. A server that has it otherwise does not go by the verdict.

    These are settings, the keys that follow from ``SECRET_KEY``, and the fields of users and of verdicts themselves.
    """
    limits = (settings.IDLE_TIMEOUT, settings.MAX_SESSION_LIFETIME, settings.PASSWORD_CHANGE_ENDS_SESSIONS)
    fields = [field.attname for field in user_model._meta.concrete_fields]
    return stamps.digest(repr((limits, settings.ACTIVITY_RESOLUTION, keys, fields, RememberedVerdict.__slots__)))
