"""What a request leaves behind on its session: the first use of a generation, and user activity."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from django.db import OperationalError, connections, router, transaction

from jwt_sessions import conf
from jwt_sessions.exceptions import EndReason
from jwt_sessions.models import Session, TenantActivity
from jwt_sessions.policies import activity_is_due
from jwt_sessions.sessions.ending import record_end

logger = logging.getLogger("jwt_sessions")


def note_first_use(session: Session, generation: int, now: datetime) -> None:
    """
    Note that a generation's client has got it, which starts the grace period of the one before.

    What is written stands on ``session`` too, here and in :func:`note_activity`.
    """
    is_first = generation == session.generation > 0 and session.first_used_at is None
    if is_first and write(lambda: Session.objects.mark_used(session.pk, generation, now)):
        session.first_used_at = now


def note_activity(session: Session, now: datetime) -> None:
    """Note that the user was there; written at most once per ``ACTIVITY_RESOLUTION``."""
    if activity_is_due(session.last_active_at, now):
        seen_before = now - conf.current().ACTIVITY_RESOLUTION
        if write(lambda: Session.objects.mark_active(session.pk, seen_before, now)):
            session.last_active_at = now


def note_tenant_activity(session: Session, tenant: str, active_at: datetime | None, now: datetime) -> datetime | None:
    """
    Note that the user was there for a tenant; written at most once per ``ACTIVITY_RESOLUTION``.

    Answers what is on record now: ``active_at``, or ``now`` if that was written.
    """
    if active_at is None or activity_is_due(active_at, now):
        return now if write(lambda: TenantActivity.objects.note(session.pk, tenant, now)) else active_at
    return active_at


def note_end(session: Session, reason: EndReason, now: datetime) -> None:
    """Note why a session is over by its verdict, and tell about it. It is over whether or not that can be written."""
    write(lambda: record_end(session, reason, now))


def write(statement: Callable[[], object]) -> bool:
    """
    Run a write that the request does not depend on. Answers whether it changed anything.

    Inside somebody's transaction (``ATOMIC_REQUESTS``) SQLite may refuse it at once, as it cannot upgrade a stale
    read: a savepoint keeps the request's transaction whole, and the next request notes it instead.
    """
    alias = router.db_for_write(Session)
    try:
        if connections[alias].in_atomic_block:
            with transaction.atomic(using=alias):
                return bool(statement())
        return bool(statement())
    except OperationalError:
        logger.warning("activity or the end of a session could not be written")
        return False
