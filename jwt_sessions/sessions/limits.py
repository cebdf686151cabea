"""
The limit on concurrent sessions, kept at sign-in.

Sign-ins of one user that are subject to a limit wait for each other on the user's row of ``TokenVersion``: locked by a
write, because a lock on reading is no lock on SQLite. So each counts what the one before has left, and racing sign-ins
never leave more sessions than may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from jwt_sessions.exceptions import EndReason, SessionLimit
from jwt_sessions.models import Session, TokenVersion
from jwt_sessions.policies import Policy, value_of
from jwt_sessions.sessions.ending import Ended, write_ends
from jwt_sessions.verdict.session import find_unended


def make_room(new: Session, policy: Policy, replace_others: bool, now: datetime) -> list[Ended]:
    """
    End what a new session does not leave room for. Called first in the transaction that stores the new one.

    Args:
        new: The session about to be stored.
        policy: What applies to it.
        replace_others: All others make room, whatever the limit.
        now: The moment of the sign-in.

    Returns:
        The sessions that this ended, each with its reason; nobody has been told yet.

    Raises:
        SessionLimit: The policy refuses the sign-in.
    """
    limit = value_of(policy.max_concurrent_sessions)
    if limit is None and not replace_others:
        return []
    TokenVersion.objects.lock(new.user)
    judged = [(found.session, found.verdict(now)) for found in find_unended(new.user)]
    living = [session for session, reason in judged if reason is None]
    if replace_others or limit is None:
        leaving, reason = living, EndReason.REPLACED
    else:
        surplus = max(0, len(living) + 1 - limit)
        if surplus and policy.limit_action == "refuse":
            raise SessionLimit
        leaving, reason = _first_to_leave(living, policy.limit_action)[:surplus], EndReason.SESSION_LIMIT
    found_dead = [(session, own_reason) for session, own_reason in judged if own_reason is not None]
    return write_ends([*found_dead, *((session, reason) for session in leaving)], now)


def _first_to_leave(living: Sequence[Session], action: str) -> list[Session]:
    if action == "end_least_active":
        return sorted(living, key=lambda session: (session.last_active_at, session.pk))
    return sorted(living, key=lambda session: (session.created_at, session.pk))
