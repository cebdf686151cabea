"""Ending sessions: one, all of a user, or those that a verdict found dead."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router, transaction
from django.utils import timezone

from jwt_sessions import signals
from jwt_sessions.exceptions import EndReason
from jwt_sessions.models import RefreshToken, RevokedSession, Session, TokenVersion
from jwt_sessions.models.lookup import find
from jwt_sessions.models.session_policy import book_for
from jwt_sessions.policies import Policy
from jwt_sessions.sessions.contention import insistently
from jwt_sessions.sessions.verdict import verdict

security_log = logging.getLogger("jwt_sessions.security")


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
    found = find(session.pk if isinstance(session, Session) else session)
    if found is None:
        return False
    own_reason = verdict(found.session, found.jwt_version, found.policy(), now)
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
    judged = [pair for pair in judged_sessions(user, now) if pair[0].pk != kept]
    return end_judged(judged, EndReason(reason), now)


def live_sessions(user: AbstractBaseUser, now: datetime) -> list[Session]:
    """The living sessions of a user at ``now``, the last active first."""
    living = [session for session, reason in judged_sessions(user, now) if reason is None]
    return sorted(living, key=lambda session: session.last_active_at, reverse=True)


Judged = tuple[Session, EndReason | None]
Ended = tuple[Session, EndReason]


def judged_sessions(user: AbstractBaseUser, now: datetime) -> list[Judged]:
    """The sessions of a user that nothing has ended yet, each with its verdict. One query."""
    sessions = Session.objects.owned_by(user).not_ended().with_token_version().with_device_info().with_policies()
    return [(session, verdict(session, jwt_version_of(session), policy_of(session), now)) for session in sessions]


def policy_of(session: Session, tenant: str | None = None) -> Policy:
    """What applies to a session, or to its tokens for a tenant; read with :meth:`SessionQuerySet.with_policies`."""
    book = book_for(session.policies_fingerprint)  # type: ignore[attr-defined]
    return book.applying(session.audience, session.tenants or (), tenant)


def jwt_version_of(session: Session) -> int:
    """The token version of a session's user, read with :meth:`SessionQuerySet.with_token_version`."""
    # The reverse relation of a user without a row raises an AttributeError.
    version: TokenVersion | None = getattr(session.user, "jwt_token_version", None)
    return version.jwt_version if version is not None else 0


def end_judged(judged: Sequence[Judged], reason: EndReason, now: datetime) -> int:
    """End the living among judged sessions, and write down why the others had died. Answers how many it ended."""
    ends = [(session, own_reason or reason) for session, own_reason in judged]
    ended = insistently(lambda: _store_ends(ends, now))
    tell(ended, now)
    living = {session.pk for session, own_reason in judged if own_reason is None}
    return sum(session.pk in living for session, _reason in ended)


def record_end(session: Session, reason: EndReason, now: datetime) -> bool:
    """Write the end of a session, unless it is written already, and tell about it. Answers whether this call did."""
    if session.ended_at is not None:
        return False
    ended = insistently(lambda: _store_ends([(session, reason)], now))
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
