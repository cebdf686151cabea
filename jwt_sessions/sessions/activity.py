"""
What a request leaves behind on its session: the first use of a generation, user activity, an end that was noticed.

None of it belongs to the transaction of a view (``ATOMIC_REQUESTS``): the session's row would be locked for as long as
the view runs, before the user's other tabs, and a view that is rolled back would take the activity with it. It is
written after that transaction. Should the process die in between, the next request notes it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial

from django.db import OperationalError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest

from jwt_sessions import conf
from jwt_sessions.exceptions import EndReason
from jwt_sessions.models import Session, TenantActivity
from jwt_sessions.policies import activity_is_due
from jwt_sessions.sessions.ending import record_end

logger = logging.getLogger("jwt_sessions")


def note_first_use(session: Session, generation: int, now: datetime, request: HttpRequest | None = None) -> None:
    """
    Note that a generation's client has got it, which starts the grace period of the one before.

    What is written stands on ``session`` too, here and in :func:`note_activity`.
    """
    is_first = generation == session.generation > 0 and session.first_used_at is None
    if is_first and write(lambda: Session.objects.mark_used(session.pk, generation, now), request):
        session.first_used_at = now


def note_activity(session: Session, now: datetime, request: HttpRequest | None = None) -> None:
    """Note that the user was there; written at most once per ``ACTIVITY_RESOLUTION``."""
    if activity_is_due(session.last_active_at, now):
        seen_before = now - conf.current().ACTIVITY_RESOLUTION
        if write(lambda: Session.objects.mark_active(session.pk, seen_before, now), request):
            session.last_active_at = now


def note_tenant_activity(
    session: Session, tenant: str, active_at: datetime | None, now: datetime, request: HttpRequest | None = None
) -> datetime | None:
    """
    Note that the user was there for a tenant; written at most once per ``ACTIVITY_RESOLUTION``.

    Answers what is on record now: ``active_at``, or ``now`` if that was written.
    """
    if active_at is None or activity_is_due(active_at, now):
        seen = active_at is not None
        if write(lambda: TenantActivity.objects.note(session.pk, tenant, now, seen=seen), request):
            return now
    return active_at


def note_end(session: Session, reason: EndReason, now: datetime, request: HttpRequest | None = None) -> None:
    """Note why a session is over by its verdict, and tell about it. It is over whether or not that can be written."""
    write(lambda: record_end(session, reason, now), request)


def write(statement: Callable[[], object], request: HttpRequest | None = None) -> bool:
    """
    Run a write that nothing depends on. Answers whether it changed anything by now.

    Args:
        statement: What to write.
        request: The request that leaves it behind. It is written after the transaction that the request is in.
    """
    connection = connections[router.db_for_write(Session)]
    if request is None or not _in_transaction_of_view(connection):
        return _written(statement)
    later = _Later(statement, connection)
    # Whichever comes first: the response may be a stream that lasts for hours, and a rollback tells nobody.
    transaction.on_commit(later, using=connection.alias)
    # The response closes the request once it is sent, before Django gives up the connection (request_finished).
    request.close = partial(_write_and_close, later, request.close)  # type: ignore[method-assign]
    return False


class _Later:
    """A write that is called after the commit and at the end of the request, and done once."""

    def __init__(self, statement: Callable[[], object], connection: BaseDatabaseWrapper) -> None:
        self._statement: Callable[[], object] | None = statement
        self._connection = connection

    def __call__(self) -> None:
        # Another thread, as Django's asynchronous test client closes requests in, has another connection.
        if self._statement is None or connections[self._connection.alias] is not self._connection:
            return
        statement, self._statement = self._statement, None
        try:
            _written(statement)
        except Exception:
            # The response is made, and Django drops errors at the end of a request without a word.
            logger.exception("activity or the end of a session could not be written")


def _write_and_close(later: _Later, close: Callable[[], None]) -> None:
    later()
    close()


def _in_transaction_of_view(connection: BaseDatabaseWrapper) -> bool:
    """Whether there is a transaction besides the one that Django's ``TestCase`` runs a test in."""
    return not all(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)


def _written(statement: Callable[[], object]) -> bool:
    """
    Run a write that nothing depends on.

    Inside a transaction of the caller, who has no request, SQLite may refuse it at once, as it cannot upgrade a stale
    read: a savepoint keeps the transaction whole, and the next request notes it instead.
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
