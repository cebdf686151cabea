"""
Verdicts remembered in the cache, for ``SESSION_CHECK="cache"``.

The cache only ever says yes: that a token was good, and that nothing it hangs on has changed since. Whatever else there
is to say or to write, also that there was activity, goes by the database.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

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

# What Django takes for a secret in its error reports.
SECRET = SafeExceptionReporterFilter.hidden_settings

logger = logging.getLogger("jwt_sessions")


@dataclass(frozen=True, slots=True)
class Yes:
    """
    What a token has to say, and when, to be good without a look at the database.

    Attributes:
        stamps: The stamps it was made under.
        claims: Claims that have to be these.
        generations: The oldest and the newest generation that need no word to the database.
        clocks: Activity on record; a request that would write it anew goes by the database.
        until: The next deadline, or ``None``.
        user: The user's fields but those that may be secret; ``None`` where there is no user.
    """

    stamps: tuple[str | None, ...]
    claims: Mapping[str, Any]
    generations: tuple[int, int] | None = None
    clocks: tuple[datetime, ...] = ()
    until: datetime | None = None
    user: Mapping[str, Any] | None = None

    def covers(self, claims: Mapping[str, Any], now: datetime, *, background: bool) -> bool:
        """Whether a token with these claims is good at ``now``, and nothing is to be written for it."""
        if self.until is not None and self.until <= now:
            return False
        if any(claims.get(name) != value for name, value in self.claims.items()):
            return False
        if self.generations is not None and not self.generations[0] <= claims["gen"] <= self.generations[1]:
            return False
        return background or not any(is_due(clock, now) for clock in self.clocks)


class Memory:
    """What the cache knows of a token, read in one go, and the place to write it. A cache that fails knows nothing."""

    def __init__(self, claims: Mapping[str, Any]) -> None:
        self._claims = claims
        self._key, *stamp_keys = _keys(claims)
        found = self._read([self._key, *stamp_keys])
        self._stamps = tuple(found.get(key) for key in stamp_keys)
        self._known: Yes | None = found.get(self._key)

    def says_yes(self, now: datetime, *, background: bool) -> bool:
        """Whether the token is good at ``now``; otherwise the database has to be asked."""
        known = self._known
        return (
            known is not None
            and known.stamps == self._stamps
            and known.covers(self._claims, now, background=background)
        )

    @property
    def user(self) -> AbstractBaseUser | None:
        """The user that a remembered token speaks for; a field that is not remembered is read if a view asks for it."""
        fields = None if self._known is None else self._known.user
        if fields is None:
            return None
        model = get_user_model()
        return model.from_db(router.db_for_read(model), list(fields), list(fields.values()))

    def keep_session(self, found: Found, now: datetime, *, background: bool) -> None:
        """Remember a session that was found living, with what its request has noted."""
        session, tenant = found.session, self._claims.get("tenantId")
        limits = [deadlines(session, found.policy(tenant)).next]
        clocks = [session.last_active_at]
        if tenant is not None:
            clocks.append(found.tenant_active_at or now)
            limits.append(tenant_deadlines(session, clocks[-1], found.policy(tenant)).next)
        if not background:
            clocks = [now if is_due(clock, now) else clock for clock in clocks]
        noted = session.first_used_at is not None or self._claims["gen"] == session.generation
        newest = session.generation if noted or session.generation == 0 else session.generation - 1
        until = min((limit.at for limit in limits if limit is not None), default=None)
        subject = {"sub": self._claims["sub"]}
        generations = (session.oldest_generation, newest)
        self._write(Yes(self._stamps, subject, generations, tuple(clocks), until, _shown(session.user)))

    def keep_credential(self, found: FoundCredential) -> None:
        """Remember a credential whose token was found good."""
        same = {name: self._claims.get(name) for name in ("sub", "type", "jwt_version")}
        owner = found.credential.user
        user = None if owner is None else _shown(owner)
        self._write(Yes(self._stamps, same, until=found.credential.expires_at, user=user))

    def _read(self, keys: list[str]) -> Mapping[str, Any]:
        try:
            return stamps.session_cache().get_many(keys)
        except Exception:
            # Whatever its client raises, or what it holds is not ours to read.
            logger.exception("the cache of sessions cannot be read, so the database is asked")
            return {}

    def _write(self, known: Yes) -> None:
        try:
            stamps.session_cache().set(self._key, known, conf.current().ACTIVITY_RESOLUTION.total_seconds())
        except Exception:
            logger.exception("the cache of sessions cannot be written")


def _shown(user: AbstractBaseUser) -> Mapping[str, Any]:
    """The fields of a user without the password and what by its name may be a secret: a cache is no place for it."""
    names = [field.attname for field in user._meta.concrete_fields]
    return {name: vars(user)[name] for name in names if name == user._meta.pk.attname or not SECRET.search(name)}


def _keys(claims: Mapping[str, Any]) -> list[str]:
    """The key of a verdict, and those of the stamps it hangs on."""
    owner = stamps.user_stamp(claims["sub"])
    settings = _settings_digest(conf.current())
    if claims["type"] != "user":
        client_id = claims["client_id"]
        return [
            f"jwt_sessions:verdict:credential:{client_id}:{settings}",
            stamps.credential_stamp(client_id),
            owner,
        ]
    session_id, tenant = claims["sid"], stamps.digest(claims.get("tenantId") or "")
    key = f"jwt_sessions:verdict:session:{session_id}:{tenant}:{settings}"
    return [key, stamps.session_stamp(session_id), owner, stamps.POLICIES]


@lru_cache(maxsize=8)
def _settings_digest(settings: conf.Settings) -> str:
    """The settings that a verdict hangs on: a server that has others does not go by it."""
    limits = (settings.IDLE_TIMEOUT, settings.MAX_SESSION_LIFETIME, settings.PASSWORD_CHANGE_ENDS_SESSIONS)
    return stamps.digest(repr((limits, settings.ACTIVITY_RESOLUTION)))
