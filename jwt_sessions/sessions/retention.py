"""
Purging what is dead, in batches that hold no long lock.

A walk over the primary key, window by window: one read of a window, then deletes by key, each statement a transaction
of its own. No batch knows of another, so a purge may be interrupted at any point and run twice at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import models, router, transaction
from django.db.models import BooleanField, Case, Q, Value, When
from django.utils import timezone

from jwt_sessions import conf
from jwt_sessions.models import ExchangedToken, RefreshToken, RevokedSession, Session, TenantActivity
from jwt_sessions.models.refresh_token import was_out_of_play
from jwt_sessions.models.session import was_dead
from jwt_sessions.models.session_policy import current_book
from jwt_sessions.sessions.contention import with_retries

BATCH_SIZE = 1000
MAX_BATCH_SIZE = 10_000


@dataclass(slots=True)
class Purged:
    """How many rows a purge has looked at and deleted so far (in a dry run: would have)."""

    seen: int = 0
    sessions: int = 0
    refresh_tokens: int = 0


def purge(
    *, older_than: timedelta = timedelta(0), batch_size: int = BATCH_SIZE, dry_run: bool = False
) -> Iterator[Purged]:
    """
    Delete dead sessions with their tokens, the old generations of living ones, and what was only kept while tokens were
    valid. Yields after each batch.

    Args:
        older_than: Only what has been dead for at least so long.
        batch_size: Rows looked at in one go, at most 10,000.
        dry_run: Count, and delete nothing.
    """
    now = timezone.now()
    moment = now - older_than
    dead, purged = was_dead(moment, current_book()), Purged()
    for seen, keys, unended in _windows(Session, batch_size, dead, dead & Q(ended_at__isnull=True)):
        purged.seen += seen
        if unended and not dry_run:
            _note_ends(unended, now)
        if keys:
            purged.refresh_tokens += _delete(RefreshToken, Q(session_id__in=keys), dry_run)
            _delete(TenantActivity, Q(session_id__in=keys), dry_run)
            purged.sessions += _delete(Session, Q(pk__in=keys), dry_run)
        yield purged
    # The tokens of dead sessions have been counted, and in a dry run they are still there.
    living = ~Q(session__in=_rows(Session).filter(dead)) if dry_run else Q()
    for seen, keys in _windows(RefreshToken, batch_size, was_out_of_play(moment) & living):
        purged.seen += seen
        purged.refresh_tokens += _delete(RefreshToken, Q(pk__in=keys), dry_run) if keys else 0
        yield purged
    for model, past in (
        (RevokedSession, Q(ended_at__lte=now - conf.current().longest_access_token_lifetime)),
        (ExchangedToken, Q(expires_at__lte=now)),
    ):
        # Few rows, found by an index, so they need no walk.
        rows = _rows(model).filter(past).values_list("pk", flat=True)
        while not dry_run and (keys := list(rows[:batch_size])):
            purged.seen += len(keys)
            _delete(model, Q(pk__in=keys), dry_run)
            yield purged


def _note_ends(session_ids: list[UUID], now: datetime) -> None:
    """
    Tell services that ask no database of sessions that are over by a deadline, and that nobody has asked since.

    A token never outlives the deadlines at its issue, so this is about deadlines that came nearer: a policy was
    tightened. Of most sessions the last token expired long ago.
    """
    last_issue = now - conf.current().longest_access_token_lifetime
    tokens = RefreshToken.objects.filter(session_id__in=session_ids)
    if not conf.current().ALLOW_RENEWAL:
        # A renewal leaves no trace, so with it any of them may have a token still.
        tokens = tokens.issuing_since(last_issue)
    lasting = set(tokens.values_list("session_id", flat=True))

    def note() -> None:
        with transaction.atomic(using=router.db_for_write(Session)):
            RevokedSession.objects.note(lasting, now)

    if lasting:
        with_retries(note)


def _windows(model: type[models.Model], size: int, *conditions: Q) -> Iterator[Any]:
    """Walk over a table by key: how many rows a window has, and for each condition the keys of those that fit it."""
    fits = [
        Case(When(condition, Value(True)), default=Value(False), output_field=BooleanField())
        for condition in conditions
    ]
    rows = _rows(model).order_by("pk").values_list("pk", *fits)
    window = list(rows[:size])
    while window:
        yield (
            len(window),
            *([row[0] for row in window if row[number]] for number in range(1, 1 + len(conditions))),
        )
        window = list(rows.filter(pk__gt=window[-1][0])[:size])


def _rows(model: type[models.Model]) -> models.QuerySet[models.Model]:
    return model._base_manager.using(router.db_for_write(Session))


def _delete(model: type[models.Model], condition: Q, dry_run: bool) -> int:
    rows = _rows(model).filter(condition)
    if dry_run:
        return rows.count()
    # Those without a reverse name, and the tables between many and many, are hidden.
    fields = model._meta.get_fields(include_hidden=True)
    pointing = {field.related_model for field in fields if field.auto_created and not field.concrete}
    if pointing <= {RefreshToken, TenantActivity}:
        return with_retries(lambda: rows._raw_delete(rows.db))
    # Models of the project point at sessions: Django has to follow what they say in on_delete.
    return with_retries(lambda: rows.delete()[1].get(model._meta.label, 0))
