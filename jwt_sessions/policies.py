"""
Limits and deadlines, as pure functions of (session, policies, now).

A policy has a say about some limits. Merging takes the strictest say of each, so it does not matter in which order
policies are merged or how often, and another policy never loosens one. Nothing of this is stored with a session: a
limit that is changed bites at the next request.

:class:`Policy` is the one list of what a policy may say, :data:`DEADLINES` the one list of what ends a session by time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache, partial, reduce
from operator import not_
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from jwt_sessions import conf
from jwt_sessions.conf import LIMIT_ACTIONS
from jwt_sessions.exceptions import EndReason

if TYPE_CHECKING:
    from jwt_sessions.models import Session

T = TypeVar("T")

# Whose sessions a tenant has a say about: those of all its members, or only the tokens that act for it.
MEMBERS, ACTING = "members", "acting"


@dataclass(frozen=True, slots=True)
class Limit(Generic[T]):
    """What a policy says about one thing, and which policy that is."""

    value: T
    source: str


def value_of(limit: Limit[T] | None) -> T | None:
    """What was said, or ``None``."""
    return None if limit is None else limit.value


def _itself(value: Any) -> Any:
    return value


def _strictest(rank: Callable[[Any], Any], one: Limit[Any] | None, other: Limit[Any] | None) -> Limit[Any] | None:
    said = (limit for limit in (one, other) if limit is not None)
    return min(said, key=lambda limit: (rank(limit.value), limit.source), default=None)


def _limit(setting: str = "", tenants: str = "", rank: Callable[[Any], Any] = _itself) -> Any:
    """
    A limit: the setting that says it for the environment, whom a tenant may say it for, and what is stricter.

    The strictest value is the one of the lowest ``rank``.
    """
    metadata = {"setting": setting, "tenants": tenants, "merge": partial(_strictest, rank)}
    return field(default=None, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """
    What one policy, or several merged, say. ``None`` is no say. Each field is a field of ``SessionPolicy`` too.

    Attributes:
        idle_timeout: Longest time without user activity.
        max_lifetime: Longest time since the password was last given.
        max_concurrent_sessions: How many sessions a user may have.
        on_session_limit: What happens at that limit, one of :data:`jwt_sessions.conf.LIMIT_ACTIONS`.
        access_token_lifetime: Of access tokens; the settings have one for each type instead.
        refresh_token_lifetime: From issue.
        rotate_refresh_tokens: Whether refresh tokens rotate.
        excluded_claims: Configured claims that stay out of access tokens.
    """

    idle_timeout: Limit[timedelta] | None = _limit("IDLE_TIMEOUT", ACTING)
    max_lifetime: Limit[timedelta] | None = _limit("MAX_SESSION_LIFETIME", MEMBERS)
    max_concurrent_sessions: Limit[int] | None = _limit("MAX_CONCURRENT_SESSIONS", MEMBERS)
    on_session_limit: Limit[str] | None = _limit("ON_SESSION_LIMIT", MEMBERS, LIMIT_ACTIONS.index)
    access_token_lifetime: Limit[timedelta] | None = _limit()
    refresh_token_lifetime: Limit[timedelta] | None = _limit("REFRESH_TOKEN_LIFETIME")
    rotate_refresh_tokens: Limit[bool] | None = _limit("ROTATE_REFRESH_TOKENS", rank=not_)
    excluded_claims: frozenset[str] = field(default=frozenset(), metadata={"merge": frozenset.union})

    @property
    def limit_action(self) -> str:
        """What happens at the limit on sessions."""
        return LIMIT_ACTIONS[-1] if self.on_session_limit is None else self.on_session_limit.value

    @property
    def rotates(self) -> bool:
        """Whether refresh tokens rotate."""
        return self.rotate_refresh_tokens is None or self.rotate_refresh_tokens.value

    def of(self, reach: str) -> Policy:
        """What this policy of a tenant says about all its members' sessions, or about tokens that act for it."""
        return Policy(**{name: getattr(self, name) for name, said in FIELDS.items() if said.get("tenants") == reach})


FIELDS: Mapping[str, Mapping[str, Any]] = {each.name: each.metadata for each in dataclasses.fields(Policy)}
# What a tenant has a say in. The rest belongs to the application, which has one audience for all tenants.
TENANT_FIELDS = tuple(name for name, said in FIELDS.items() if said.get("tenants"))
AUDIENCE_FIELDS = tuple(name for name in FIELDS if name not in TENANT_FIELDS)


def policy_from(source: str, say: Mapping[str, Any]) -> Policy:
    """The policy of one source. A value of ``None`` or ``""`` is no say."""
    names = say.get("excluded_claims") or ()
    limits = {
        name: Limit(value, source)
        for name, value in say.items()
        if value not in (None, "") and name != "excluded_claims"
    }
    return Policy(**limits, excluded_claims=frozenset(names))


def merge(*policies: Policy) -> Policy:
    """The strictest of what several policies say."""

    def strictest_of_two(one: Policy, other: Policy) -> Policy:
        return Policy(
            **{name: said["merge"](getattr(one, name), getattr(other, name)) for name, said in FIELDS.items()}
        )

    return reduce(strictest_of_two, policies, Policy())


def environment(settings: conf.Settings) -> Policy:
    """The policy of the settings."""
    said = {name: getattr(settings, each["setting"]) for name, each in FIELDS.items() if each.get("setting")}
    return policy_from("settings", said)


@dataclass(frozen=True, slots=True, eq=False)
class PolicyBook:
    """The policies in force beside the settings: by audience and by tenant."""

    audiences: Mapping[str, Policy] = field(default_factory=dict)
    tenants: Mapping[str, Policy] = field(default_factory=dict)

    def applying(
        self, audience: str, tenants: Iterable[str] = (), tenant: str | None = None, target: str | None = None
    ) -> Policy:
        """
        The policy of a session.

        Args:
            audience: The audience it signed in to.
            tenants: All tenants that accepted its user: each has a say in lifetime and concurrency.
            tenant: The tenant that a token is for: its idle timeout counts, and no other's.
            target: The audience that a token is for: it has a say too if it is another.
        """
        audiences = (audience,) if target is None or target == audience else (audience, target)
        return _applying(conf.current(), self, audiences, tuple(tenants), tenant)

    def access_token_lifetime(self, token_type: str, audience: str) -> timedelta:
        """How long an access token lives: what the settings say for its type, or less if the audience's policy does."""
        lifetime = conf.current().ACCESS_TOKEN_LIFETIME[token_type]
        limit = self.audiences.get(audience, Policy()).access_token_lifetime
        return lifetime if limit is None else min(lifetime, limit.value)


# Both keys are the same objects until something changes, so that a request merges nothing.
@lru_cache(maxsize=4096)
def _applying(
    settings: conf.Settings,
    book: PolicyBook,
    audiences: tuple[str, ...],
    tenants: tuple[str, ...],
    tenant: str | None,
) -> Policy:
    said = [environment(settings), *(book.audiences[each] for each in audiences if each in book.audiences)]
    said += [book.tenants[each].of(MEMBERS) for each in tenants if each in book.tenants]
    if tenant is not None and tenant in book.tenants:
        said.append(book.tenants[tenant].of(ACTING))
    return merge(*said)


class DeadlineRule(NamedTuple):
    """What ends a session by time: the reason, the moment it counts from, and the limit of the policy, if any."""

    reason: EndReason
    since: str
    limit: str | None


# ``since`` is an attribute of Session. Of deadlines at the same moment the first of these gives the reason.
DEADLINES = (
    DeadlineRule(EndReason.EXPIRED, "refresh_expires_at", None),
    DeadlineRule(EndReason.MAX_LIFETIME, "authenticated_at", "max_lifetime"),
    DeadlineRule(EndReason.IDLE_TIMEOUT, "last_active_at", "idle_timeout"),
)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment at which a session ends, the reason it will have, and the policy that set it."""

    at: datetime
    reason: EndReason
    source: str

    @property
    def set_by(self) -> str:
        """The policy that set it; empty for the expiry of a refresh token, which no policy sets."""
        return "" if self.reason is EndReason.EXPIRED else self.source


class Deadlines(tuple[Deadline, ...]):
    """The deadlines of a session, the first to come first."""

    __slots__ = ()

    @property
    def next(self) -> Deadline | None:
        """The one that comes first."""
        return self[0] if self else None

    def passed(self, now: datetime) -> Deadline | None:
        """The one that ended the session, if any has come. A session is dead at its deadline, not after it."""
        return self[0] if self and self[0].at <= now else None

    @property
    def session_expires_at(self) -> datetime | None:
        """When the session ends even if it is used."""
        return next((each.at for each in self if each.reason is not EndReason.IDLE_TIMEOUT), None)

    @property
    def idle(self) -> Deadline | None:
        """When the session, or a tenant of it, ends unless it is used."""
        return next((each for each in self if each.reason is EndReason.IDLE_TIMEOUT), None)

    @property
    def idle_expires_at(self) -> datetime | None:
        """The moment of :attr:`idle`."""
        return None if self.idle is None else self.idle.at


def deadlines(session: Session, policy: Policy, active_at: datetime | None = None) -> Deadlines:
    """
    When a session ends under a policy.

    Args:
        session: The session.
        policy: What applies to it, or to its tokens for a tenant.
        active_at: When the user was last active for that tenant; ``None``: the clock of the session counts.
    """
    found = []
    for reason, since, limit in DEADLINES:
        start = active_at if active_at is not None and since == "last_active_at" else getattr(session, since)
        said = None if limit is None else getattr(policy, limit)
        if limit is None and start is not None:
            found.append(Deadline(start, reason, "refresh token"))
        elif said is not None:
            found.append(Deadline(start + said.value, reason, said.source))
    return Deadlines(sorted(found, key=lambda deadline: deadline.at))


def activity_is_due(active_at: datetime, now: datetime) -> bool:
    """Whether activity on record is older than ``ACTIVITY_RESOLUTION``, so that newer activity is written."""
    return active_at <= now - conf.current().ACTIVITY_RESOLUTION
