"""
Limits and deadlines, as pure functions of (session, policies, now).

A policy has a say about some limits. Merging takes the strictest say of each, by one operation a field
(:data:`MERGES`), so it does not matter in which order policies are merged or how often, and another policy never
loosens one. Nothing of this is stored with a session: a limit that is changed bites at the next request.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache, reduce
from typing import Any, Generic, Protocol, TypeVar

from jwt_sessions import conf
from jwt_sessions.conf import LIMIT_ACTIONS
from jwt_sessions.exceptions import EndReason

T = TypeVar("T")


@dataclass(frozen=True, slots=True, order=True)
class Limit(Generic[T]):
    """What a policy says about one thing, and which policy that is."""

    value: T
    source: str


def value_of(limit: Limit[T] | None) -> T | None:
    """What was said, or ``None``."""
    return None if limit is None else limit.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """
    What one policy, or several merged, say. ``None`` is no say.

    Attributes:
        idle_timeout: Longest time without user activity.
        max_lifetime: Longest time since the password was last given.
        max_concurrent_sessions: How many sessions a user may have.
        on_session_limit: Rank in :data:`LIMIT_ACTIONS` of what happens at that limit.
        access_token_lifetime: Of access tokens; the settings have one for each type instead.
        refresh_token_lifetime: From issue.
        rotate_refresh_tokens: 0 where refresh tokens rotate, 1 where they need not.
        excluded_claims: Configured claims that stay out of access tokens.
    """

    idle_timeout: Limit[timedelta] | None = None
    max_lifetime: Limit[timedelta] | None = None
    max_concurrent_sessions: Limit[int] | None = None
    on_session_limit: Limit[int] | None = None
    access_token_lifetime: Limit[timedelta] | None = None
    refresh_token_lifetime: Limit[timedelta] | None = None
    rotate_refresh_tokens: Limit[int] | None = None
    excluded_claims: frozenset[str] = frozenset()

    @property
    def limit_action(self) -> str:
        """What happens at the limit on sessions."""
        return LIMIT_ACTIONS[-1 if self.on_session_limit is None else self.on_session_limit.value]

    @property
    def rotates(self) -> bool:
        """Whether refresh tokens rotate."""
        return self.rotate_refresh_tokens is None or self.rotate_refresh_tokens.value == 0


def _strictest(one: Limit[Any] | None, other: Limit[Any] | None) -> Limit[Any] | None:
    return min((limit for limit in (one, other) if limit is not None), default=None)


MERGES: Mapping[str, Callable[[Any, Any], Any]] = {
    **{each.name: _strictest for each in dataclasses.fields(Policy)},
    "excluded_claims": frozenset.union,
}


def merge(*policies: Policy) -> Policy:
    """The strictest of what several policies say."""

    def strictest_of_two(one: Policy, other: Policy) -> Policy:
        return Policy(**{name: take(getattr(one, name), getattr(other, name)) for name, take in MERGES.items()})

    return reduce(strictest_of_two, policies, Policy())


def environment(settings: conf.Settings) -> Policy:
    """The policy of the settings."""

    def say(value: T | None) -> Limit[T] | None:
        return None if value is None else Limit(value, "settings")

    return Policy(
        idle_timeout=say(settings.IDLE_TIMEOUT),
        max_lifetime=say(settings.MAX_SESSION_LIFETIME),
        max_concurrent_sessions=say(settings.MAX_CONCURRENT_SESSIONS),
        on_session_limit=say(LIMIT_ACTIONS.index(settings.ON_SESSION_LIMIT)),
        refresh_token_lifetime=say(settings.REFRESH_TOKEN_LIFETIME),
        rotate_refresh_tokens=say(0 if settings.ROTATE_REFRESH_TOKENS else 1),
    )


@dataclass(frozen=True, slots=True, eq=False)
class PolicyBook:
    """The policies in force beside the settings: by audience and by tenant."""

    audiences: Mapping[str, Policy] = field(default_factory=dict)
    tenants: Mapping[str, Policy] = field(default_factory=dict)

    def applying(self, audience: str, tenants: Iterable[str] = (), tenant: str | None = None) -> Policy:
        """
        The policy of a session.

        Args:
            audience: The audience it signed in to.
            tenants: All tenants that accepted its user: each has a say in lifetime and concurrency.
            tenant: The tenant that a token is for: its idle timeout counts, and no other's.
        """
        return _applying(conf.current(), self, audience, tuple(tenants), tenant)

    def access_token_lifetime(self, token_type: str, audience: str) -> timedelta:
        """How long an access token lives: what the settings say for its type, or less if the audience's policy does."""
        lifetime = conf.current().ACCESS_TOKEN_LIFETIME[token_type]
        limit = self.audiences.get(audience, Policy()).access_token_lifetime
        return lifetime if limit is None else min(lifetime, limit.value)


# Both keys are the same objects until something changes, so that a request merges nothing.
@lru_cache(maxsize=4096)
def _applying(
    settings: conf.Settings, book: PolicyBook, audience: str, tenants: tuple[str, ...], tenant: str | None
) -> Policy:
    said = [environment(settings), book.audiences.get(audience, Policy())]
    said += [_of_membership(book.tenants[each]) for each in tenants if each in book.tenants]
    if tenant is not None and tenant in book.tenants:
        said.append(Policy(idle_timeout=book.tenants[tenant].idle_timeout))
    return merge(*said)


def _of_membership(policy: Policy) -> Policy:
    """What a tenant says about all sessions of its members, whichever tenant they act for."""
    return Policy(
        max_lifetime=policy.max_lifetime,
        max_concurrent_sessions=policy.max_concurrent_sessions,
        on_session_limit=policy.on_session_limit,
    )


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


def deadlines(session: SessionTimes, policy: Policy) -> Deadlines:
    """When a session ends under a policy."""
    expiry = lifetime = idle = None
    if session.refresh_expires_at is not None:
        expiry = Deadline(session.refresh_expires_at, EndReason.EXPIRED, "refresh token")
    if policy.max_lifetime is not None:
        at = session.authenticated_at + policy.max_lifetime.value
        lifetime = Deadline(at, EndReason.MAX_LIFETIME, policy.max_lifetime.source)
    if policy.idle_timeout is not None:
        at = session.last_active_at + policy.idle_timeout.value
        idle = Deadline(at, EndReason.IDLE_TIMEOUT, policy.idle_timeout.source)
    return Deadlines(expiry, lifetime, idle)
