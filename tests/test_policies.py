"""Merging and deadlines, as the pure functions they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jwt_sessions import conf
from jwt_sessions.conf import LIMIT_ACTIONS
from jwt_sessions.exceptions import EndReason
from jwt_sessions.policies import Deadlines, Limit, Policy, PolicyBook, deadlines, environment, merge
from tests.effort import rounds

MINUTE = timedelta(minutes=1)
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
TENANTS = ("acme", "globex", "umbrella")
AUDIENCES = ("api", "reports")
FIELDS = (
    *("idle_timeout", "max_lifetime", "max_concurrent_sessions", "on_session_limit"),
    *("access_token_lifetime", "refresh_token_lifetime", "rotate_refresh_tokens"),
)

# What is stricter where it is not what is less.
RANKS = {"on_session_limit": LIMIT_ACTIONS.index, "rotate_refresh_tokens": lambda rotates: not rotates}

pure = settings(derandomize=True, database=None, deadline=None, max_examples=rounds(60))
moments = st.datetimes(datetime(2026, 1, 1), datetime(2026, 3, 1), timezones=st.just(UTC))
durations = st.integers(1, 40).map(lambda minutes: minutes * MINUTE)


def limits(values, source):
    return st.none() | values.map(lambda value: Limit(value, source))


def policies(source):
    """What one source may say."""
    return st.builds(
        Policy,
        idle_timeout=limits(durations, source),
        max_lifetime=limits(durations, source),
        max_concurrent_sessions=limits(st.integers(1, 4), source),
        on_session_limit=limits(st.sampled_from(LIMIT_ACTIONS), source),
        access_token_lifetime=limits(durations, source),
        refresh_token_lifetime=limits(durations, source),
        rotate_refresh_tokens=limits(st.booleans(), source),
        excluded_claims=st.frozensets(st.sampled_from(["roles", "permissions", "name"])),
    )


anybody = st.sampled_from(["settings", "audience api", "tenant acme"]).flatmap(policies)
books = st.builds(
    PolicyBook,
    audiences=st.fixed_dictionaries({}, optional={name: policies(f"audience {name}") for name in AUDIENCES}),
    tenants=st.fixed_dictionaries({}, optional={name: policies(f"tenant {name}") for name in TENANTS}),
)
memberships = st.sets(st.sampled_from(TENANTS)).map(sorted)


@dataclass
class Times:
    authenticated_at: datetime
    last_active_at: datetime
    refresh_expires_at: datetime | None


times = st.builds(Times, moments, moments, st.none() | moments)


def no_later(one: datetime | None, other: datetime | None) -> bool:
    return other is None or (one is not None and one <= other)


def assert_no_deadline_is_later(after: Deadlines, before: Deadlines) -> None:
    assert no_later(after.session_expires_at, before.session_expires_at)
    assert no_later(after.idle_expires_at, before.idle_expires_at)
    assert no_later(after.next and after.next.at, before.next and before.next.at)


@pure
@given(anybody, anybody)
def test_merging_is_commutative(one, other):
    assert merge(one, other) == merge(other, one)


@pure
@given(anybody, anybody, anybody)
def test_merging_is_associative(one, other, third):
    assert merge(merge(one, other), third) == merge(one, merge(other, third)) == merge(one, other, third)


@pure
@given(anybody, anybody)
def test_merging_is_idempotent_and_no_say_changes_nothing(one, other):
    assert merge(one, one) == merge(one, Policy()) == merge(one) == one
    assert merge(one, other, one) == merge(one, other)


@pure
@given(anybody, anybody)
def test_what_is_merged_is_as_strict_as_each_and_names_who_said_it(one, other):
    merged = merge(one, other)
    for name in FIELDS:
        said = [limit for limit in (getattr(one, name), getattr(other, name)) if limit is not None]
        strictest = getattr(merged, name)
        assert (strictest is None) == (not said)
        if strictest is not None:
            assert strictest in said
            rank = RANKS.get(name, lambda value: value)
            assert rank(strictest.value) == min(rank(limit.value) for limit in said)
    assert merged.excluded_claims == one.excluded_claims | other.excluded_claims


@pure
@given(times, anybody, anybody)
def test_another_policy_moves_no_deadline_later(session, policy, another):
    assert_no_deadline_is_later(deadlines(session, merge(policy, another)), deadlines(session, policy))


@pure
@given(times, books, memberships, st.data())
def test_a_policy_added_to_the_book_or_made_stricter_moves_no_deadline_later(session, book, members, data):
    audience = data.draw(st.sampled_from(AUDIENCES))
    tenant = data.draw(st.none() | st.sampled_from(members) if members else st.none())
    kind, name = data.draw(
        st.sampled_from([*(("audiences", each) for each in AUDIENCES), *(("tenants", each) for each in TENANTS)])
    )
    before = getattr(book, kind)
    stricter = merge(before.get(name, Policy()), data.draw(policies(name)))
    after = replace(book, **{kind: {**before, name: stricter}})
    assert_no_deadline_is_later(
        deadlines(session, after.applying(audience, members, tenant)),
        deadlines(session, book.applying(audience, members, tenant)),
    )


@pure
@given(times, books, memberships, st.sampled_from(TENANTS))
def test_another_membership_moves_no_deadline_later(session, book, members, joined):
    assert_no_deadline_is_later(
        deadlines(session, book.applying("api", sorted({*members, joined}))),
        deadlines(session, book.applying("api", members)),
    )


@pure
@given(times, books, memberships)
def test_every_deadline_names_a_policy_that_says_it(session, book, members):
    book = replace(book, tenants={name: book.tenants[name] for name in sorted(book.tenants)})
    sources = {
        "settings": environment(conf.current()),
        **{f"audience {name}": policy for name, policy in book.audiences.items()},
        **{f"tenant {name}": policy for name, policy in book.tenants.items()},
    }
    for deadline in deadlines(session, book.applying("api", members)):
        match deadline.reason:
            case EndReason.EXPIRED:
                assert (deadline.at, deadline.source) == (session.refresh_expires_at, "refresh token")
            case EndReason.MAX_LIFETIME:
                assert deadline.at == session.authenticated_at + sources[deadline.source].max_lifetime.value
            case EndReason.IDLE_TIMEOUT:
                assert deadline.at == session.last_active_at + sources[deadline.source].idle_timeout.value


@pure
@given(times, anybody, moments)
def test_a_session_is_dead_from_its_first_deadline_on(session, policy, now):
    limits = deadlines(session, policy)
    passed = limits.passed(now)
    assert (passed is not None) == any(deadline.at <= now for deadline in limits)
    if passed is not None:
        assert passed.at == min(deadline.at for deadline in limits)
    for deadline in limits:
        assert limits.passed(deadline.at) is not None
    if limits.next is not None:
        assert limits.passed(limits.next.at - TICK) is None


def test_without_any_limit_nothing_ends():
    limits = deadlines(Times(START, START, None), Policy())
    assert (limits.next, limits.session_expires_at, limits.idle_expires_at, [*limits]) == (None, None, None, [])
    assert limits.passed(datetime.max.replace(tzinfo=UTC)) is None


def said(**fields):
    return Policy(**{name: Limit(value, "somebody") for name, value in fields.items()})


BOOK = PolicyBook(
    audiences={"reports": said(idle_timeout=20 * MINUTE, access_token_lifetime=2 * MINUTE)},
    tenants={
        "acme": said(idle_timeout=5 * MINUTE, max_lifetime=60 * MINUTE, access_token_lifetime=MINUTE),
        "globex": said(idle_timeout=10 * MINUTE, max_lifetime=30 * MINUTE, max_concurrent_sessions=2),
    },
)


@pytest.mark.parametrize(
    ("applying", "idle", "lifetime", "sessions"),
    [
        (("api",), 40, 90, None),
        (("reports",), 20, 90, None),
        (("api", ["acme"]), 40, 60, None),
        (("api", ["acme"], "acme"), 5, 60, None),
        (("api", ["acme", "globex"]), 40, 30, 2),
        (("api", ["acme", "globex"], "globex"), 10, 30, 2),
        (("reports", ["acme", "globex"], "acme"), 5, 30, 2),
        (("reports", ["unheard of"], "unheard of"), 20, 90, None),
    ],
)
def test_idle_is_the_tenants_own_and_lifetime_and_concurrency_are_the_strictest(
    jwt_settings, applying, idle, lifetime, sessions
):
    jwt_settings(IDLE_TIMEOUT=40 * MINUTE, MAX_SESSION_LIFETIME=90 * MINUTE)
    policy = BOOK.applying(*applying)
    assert (policy.idle_timeout.value, policy.max_lifetime.value) == (idle * MINUTE, lifetime * MINUTE)
    assert (policy.max_concurrent_sessions and policy.max_concurrent_sessions.value) == sessions
    token = (2 if applying[0] == "reports" else 5) * MINUTE
    assert BOOK.access_token_lifetime("user", applying[0]) == token


def test_settings_are_a_policy_among_others(jwt_settings):
    jwt_settings(IDLE_TIMEOUT=MINUTE, ROTATE_REFRESH_TOKENS=False, ON_SESSION_LIMIT="end_least_active")
    policy = PolicyBook().applying("api")
    assert policy.idle_timeout == Limit(MINUTE, "settings")
    assert not policy.rotates
    assert policy.limit_action == "end_least_active"
    assert merge(policy, said(rotate_refresh_tokens=True)).rotates
    assert merge(policy, said(on_session_limit="refuse")).limit_action == "refuse"
