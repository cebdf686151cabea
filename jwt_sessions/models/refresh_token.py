"""Refresh tokens: one row a generation of a session, with a digest and never the token."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import cache
from typing import Self
from uuid import UUID

from django.db import connections, models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from jwt_sessions import conf
from jwt_sessions.database.exact_text import ExactCharField
from jwt_sessions.database.primary import PrimaryQuerySet
from jwt_sessions.database.statements import Slot, Statement, insert, slot, update
from jwt_sessions.database.uuid7 import uuid7
from jwt_sessions.models.session import Session


class RefreshTokenQuerySet(PrimaryQuerySet["RefreshToken"]):
    """Statements over refresh tokens."""

    def supersede(self, session_id: UUID, generation: int, now: datetime) -> int:
        """Note that a generation was used and replaced. What was sealed for its predecessor has served its time."""
        connection = connections[self.db]
        values = {"session_id": session_id, "generation": generation, "now": now}
        return _supersede(connection.alias).execute(values, connection)

    def store(self, row: RefreshToken) -> None:
        """Insert a new row."""
        connection = connections[self.db]
        _insert(connection.alias).execute(vars(row), connection)

    def mark_used(self, session_id: UUID, generation: int, now: datetime) -> int:
        """Note that a generation was presented and not replaced."""
        return self.filter(session_id=session_id, generation=generation).update(last_used_at=now)

    def issuing_since(self, moment: datetime) -> Self:
        """
        Those that may have been exchanged for an access token after ``moment``.

        That a predecessor is answered once more leaves no trace: it may have been for as long as one was honoured.
        """
        settings = conf.current()
        replayed = Q(session__first_used_at__gt=moment - settings.REUSE_GRACE_PERIOD) | Q(
            session__first_used_at__isnull=True, created_at__gt=moment - settings.LOST_RESPONSE_WINDOW
        )
        is_current = Q(generation=F("session__generation"))
        return self.filter(Q(created_at__gt=moment) | Q(last_used_at__gt=moment) | is_current & replayed)

    def revoke_of(self, session_ids: Collection[UUID], now: datetime) -> int:
        """Note that sessions ended, and with them their tokens. Nothing sealed is kept."""
        living = self.filter(session_id__in=session_ids, revoked_at__isnull=True)
        return living.update(revoked_at=now, content=None)


@cache
def _supersede(alias: str) -> Statement:
    rows = RefreshToken.objects.using(alias).filter(
        session_id=Slot("session_id", Session._meta.pk), generation=slot(RefreshToken, "generation")
    )
    now = Slot("now", RefreshToken._meta.get_field("last_used_at"))
    return update(rows, connections[alias], last_used_at=now, revoked_at=now, content=None)


@cache
def _insert(alias: str) -> Statement:
    return insert(RefreshToken, connections[alias])


def was_out_of_play(moment: datetime) -> Q:
    """
    Tokens whose successor had itself been replaced at ``moment``.

    They are past any grace, and say nothing that the session does not: reuse shows by the tag.
    """
    return Q(revoked_at__lte=moment, session__generation__gt=F("generation") + 1)


class RefreshToken(models.Model):
    """
    A generation of a session's refresh token.

    ``content`` is the token itself, sealed under its predecessor: who lost the answer to a refresh presents the
    predecessor again and is given the identical token. It is empty for the first generation and for those replaced.
    """

    jti = models.UUIDField(_("token id"), primary_key=True, default=uuid7, editable=False)
    session = models.ForeignKey(Session, models.CASCADE, related_name="refresh_tokens", verbose_name=_("session"))
    created_at = models.DateTimeField(_("created"))
    expires_at = models.DateTimeField(_("expires"), null=True, help_text=_("Empty: never."))
    last_used_at = models.DateTimeField(_("last used"), null=True)
    revoked_at = models.DateTimeField(
        _("revoked"), null=True, help_text=_("When it was replaced by its successor or its session ended.")
    )
    predecessor_expires_at = models.DateTimeField(
        _("predecessor expires"),
        null=True,
        help_text=_("Expiry of the generation before, if that comes while it might still be honoured."),
    )
    lifetime = models.PositiveIntegerField(
        _("lifetime"), null=True, help_text=_("From creation to expiry, in seconds; empty: unlimited.")
    )
    generation = models.PositiveIntegerField(_("generation"), default=0)
    token_hash = models.BinaryField(_("token hash"), max_length=32, help_text=_("SHA-256 of the token."))
    content = models.BinaryField(
        _("sealed content"), null=True, help_text=_("The token, sealed under its predecessor.")
    )
    audience = ExactCharField(_("audience"), max_length=255)
    device_info = models.CharField(_("device"), max_length=110, blank=True)

    objects = RefreshTokenQuerySet.as_manager()

    class Meta:
        verbose_name = _("refresh token")
        verbose_name_plural = _("refresh tokens")

    def __str__(self) -> str:
        return str(self.pk)
