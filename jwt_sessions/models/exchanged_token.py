"""Tokens of another system that were exchanged for a session, so that each is exchanged once."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, models
from django.utils.translation import gettext_lazy as _

from jwt_sessions.database.primary import PrimaryQuerySet


class ExchangedTokenQuerySet(PrimaryQuerySet["ExchangedToken"]):
    """Statements over exchanged tokens."""

    def spend(self, digest: UUID, expires_at: datetime) -> bool:
        """
        Note that a token was exchanged, in the transaction of what it is exchanged for.

        Of any number of racers whose transactions commit, one is told ``True``. After ``False`` the transaction is good
        for nothing but to be rolled back.
        """
        try:
            self.create(digest=digest, expires_at=expires_at)
        except IntegrityError:
            return False
        return True


class ExchangedToken(models.Model):
    """A token that was exchanged. Its row is purged when the token would have expired anyway."""

    digest = models.UUIDField(
        _("digest"),
        primary_key=True,
        editable=False,
        help_text=_("122 bits of the SHA-256 of what the token's signature covers."),
    )
    expires_at = models.DateTimeField(_("expires"), db_index=True)

    objects = ExchangedTokenQuerySet.as_manager()

    class Meta:
        verbose_name = _("exchanged token")
        verbose_name_plural = _("exchanged tokens")

    def __str__(self) -> str:
        return str(self.pk)
