"""
Limits and deadlines, as pure functions of (session, policy, now).

Nothing here is stored: a limit that is changed bites at the next request.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from jwt_sessions import conf
from jwt_sessions.exceptions import EndReason


class SessionTimes(Protocol):
    """What deadlines depend on."""

    @property
    def authenticated_at(self) -> datetime:
        """When the password was last given."""

    @property
    def last_active_at(self) -> datetime:
        """When the user was last active."""

    @property
    def refresh_expires_at(self) -> datetime | None:
        """When the current refresh token expires."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The limits that apply to a session, and where they come from. ``None`` is no limit."""

    source: str
    idle_timeout: timedelta | None
    max_lifetime: timedelta | None


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment at which a session ends, the reason it will have, and the policy that set it."""

    at: datetime
    reason: EndReason
    source: str


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The deadlines of a session; ``None`` where nothing limits it."""

    expiry: Deadline | None
    lifetime: Deadline | None
    idle: Deadline | None

    def __iter__(self) -> Iterator[Deadline]:
        return (deadline for deadline in (self.expiry, self.lifetime, self.idle) if deadline is not None)

    @property
    def next(self) -> Deadline | None:
        """The one that comes first."""
        return min(self, key=lambda deadline: deadline.at, default=None)

    def passed(self, now: datetime) -> Deadline | None:
        """The one that ended the session, if any has come. A session is dead at its deadline, not after it."""
        first = self.next
        return first if first is not None and first.at <= now else None

    @property
    def session_expires_at(self) -> datetime | None:
        """When the session ends even if it is used."""
        return min((deadline.at for deadline in (self.expiry, self.lifetime) if deadline is not None), default=None)

    @property
    def idle_expires_at(self) -> datetime | None:
        """When the session ends unless it is used."""
        return self.idle.at if self.idle is not None else None


def environment() -> Policy:
    """The policy of the settings."""
    settings = conf.current()
    return Policy("settings", settings.IDLE_TIMEOUT, settings.MAX_SESSION_LIFETIME)


def deadlines(session: SessionTimes, policy: Policy) -> Deadlines:
    """When a session ends under a policy."""
    expiry = lifetime = idle = None
    if session.refresh_expires_at is not None:
        expiry = Deadline(session.refresh_expires_at, EndReason.EXPIRED, "refresh token")
    if policy.max_lifetime is not None:
        lifetime = Deadline(session.authenticated_at + policy.max_lifetime, EndReason.MAX_LIFETIME, policy.source)
    if policy.idle_timeout is not None:
        idle = Deadline(session.last_active_at + policy.idle_timeout, EndReason.IDLE_TIMEOUT, policy.source)
    return Deadlines(expiry, lifetime, idle)
