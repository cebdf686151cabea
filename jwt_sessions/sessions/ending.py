"""Ending sessions: one, all of a user, or those that a verdict found dead."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router, transaction
from django.utils import timezone

from jwt_sessions import signals
from jwt_sessions.exceptions import EndReason
from jwt_sessions.models import RefreshToken, RevokedSession, Session
from jwt_sessions.sessions.contention import with_retries
from jwt_sessions.verdict.session import SessionState, find, find_unended, readable_sessions, state_of

security_log = logging.getLogger("jwt_sessions.security")

BATCH_SIZE = 500  # SQLite takes so many parameters at the least

Ended = tuple[Session, EndReason]


def end(session: Session | UUID, *, reason: EndReason | str) -> bool:
    """
    End a session. All its tokens are dead at once.

    Args:
        session: The session or its id.
        reason: A value of :class:`jwt_sessions.exceptions.EndReason`.

    Returns:
        Whether it was living until now. One that had passed a deadline unseen ends with that reason instead.
    """
    reason, now = EndReason(reason), timezone.now()
    found = find(session.pk if isinstance(session, Session) else session, of_anybody=True)
    if found is None:
        return False
    own_reason = found.verdict(now)
    return record_end(found.session, own_reason or reason, now) and own_reason is None


def end_all(user: AbstractBaseUser, *, reason: EndReason | str, keep: Session | UUID | None = None) -> int:
    """
    End the sessions of a user.

    Args:
        user: Whose sessions.
        reason: A value of :class:`jwt_sessions.exceptions.EndReason`.
        keep: A session, or its id, that is left alone.

    Returns:
        How many living sessions this ended.
    """
    now = timezone.now()
    kept = keep.pk if isinstance(keep, Session) else keep
    return end_found([found for found in find_unended(user) if found.session.pk != kept], EndReason(reason), now)


def end_many(session_ids: Iterable[UUID], *, reason: EndReason | str) -> int:
    """
    End the sessions with these ids, a batch at a time. Answers how many living ones it ended.

    Args:
        session_ids: The ids; those of sessions that have ended do no harm.
        reason: A value of :class:`jwt_sessions.exceptions.EndReason`.
    """
    reason, ended, ids = EndReason(reason), 0, iter(session_ids)
    while batch := list(islice(ids, BATCH_SIZE)):
        found = [state_of(session) for session in readable_sessions().not_ended().filter(pk__in=batch)]
        ended += end_found(found, reason, timezone.now())
    return ended


def live_sessions(user: AbstractBaseUser, now: datetime) -> list[SessionState]:
    """The living sessions of a user at ``now``, the last active first. One query."""
    living = [found for found in find_unended(user) if found.verdict(now) is None]
    return sorted(living, key=lambda found: found.session.last_active_at, reverse=True)


def end_found(found: Sequence[SessionState], reason: EndReason, now: datetime) -> int:
    """End the living among sessions, and write down why the others had died. Answers how many living ones it ended."""
    judged = [(each.session, each.verdict(now)) for each in found]
    ended = with_retries(lambda: _store_ends([(session, own or reason) for session, own in judged], now))
    tell(ended, now)
    living = {session.pk for session, own in judged if own is None}
    return sum(session.pk in living for session, _reason in ended)


def record_end(session: Session, reason: EndReason, now: datetime) -> bool:
    """Write the end of a session, unless it is written already, and tell about it. Answers whether this call did."""
    if session.ended_at is not None:
        return False
    ended = with_retries(lambda: _store_ends([(session, reason)], now))
    tell(ended, now)
    return bool(ended)


def _store_ends(ends: Sequence[Ended], now: datetime) -> list[Ended]:
    with transaction.atomic(using=router.db_for_write(Session)):
        return write_ends(ends, now)


def write_ends(ends: Sequence[Ended], now: datetime) -> list[Ended]:
    """
    Write the ends of sessions, in the transaction of the caller. Answers those that were not written yet.

    Of several that end a session at once one does, and only that one is to tell.
    """
    by_reason: dict[EndReason, list[Session]] = defaultdict(list)
    for session, reason in ends:
        by_reason[reason].append(session)
    written: list[Ended] = []
    for reason, sessions in by_reason.items():
        ids = [session.pk for session in sessions]
        count = Session.objects.mark_ended(ids, reason, now)
        if count:
            RefreshToken.objects.revoke_of(ids, now)
        if 0 < count < len(ids):
            mine = set(Session.objects.filter(pk__in=ids, ended_at=now, end_reason=reason).values_list("pk", flat=True))
            sessions = [session for session in sessions if session.pk in mine]
        written += [(session, reason) for session in sessions if count]
    if written:
        RevokedSession.objects.note([session.pk for session, _reason in written], now)
    return written


def tell(ended: Sequence[Ended], now: datetime) -> None:
    """Log and signal the ends that were written."""
    for session, reason in ended:
        session.ended_at, session.end_reason = now, reason
        security_log.info("session %s of user %s ended: %s", session.pk, session.user_id, reason.value)
        signals.session_ended.send_robust(Session, session=session, reason=reason)
