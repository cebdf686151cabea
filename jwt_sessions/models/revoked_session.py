"""The ends of sessions, for services that ask no database: what ``revoked.json`` is made of."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import models
from django.utils.translation import gettext_lazy as _

from jwt_sessions.database.primary import PrimaryQuerySet


class RevokedSessionQuerySet(PrimaryQuerySet["RevokedSession"]):
    """Statements over the ends of sessions."""

    def note(self, session_ids: Iterable[UUID], now: datetime) -> None:
        """Note that sessions ended. Those already noted stay as they are."""
        rows = [RevokedSession(session_id=session_id, ended_at=now) for session_id in session_ids]
        self.bulk_create(rows, ignore_conflicts=True)

    def since(self, moment: datetime) -> list[UUID]:
        """The ids of the sessions that ended after a moment, in order."""
        return list(self.filter(ended_at__gt=moment).order_by("pk").values_list("pk", flat=True))


class RevokedSession(models.Model):
    """
    An id of a session that ended while access tokens of it may be valid. It outlives the session's own row, and is
    purged when the last of these tokens has expired.
    """

    session_id = models.UUIDField(_("session id"), primary_key=True, editable=False)
    ended_at = models.DateTimeField(_("ended"), db_index=True)

    objects = RevokedSessionQuerySet.as_manager()

    class Meta:
        verbose_name = _("revoked session")
        verbose_name_plural = _("revoked sessions")

    def __str__(self) -> str:
        return str(self.pk)
