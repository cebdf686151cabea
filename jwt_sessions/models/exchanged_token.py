"""Tokens of another system that were exchanged for a session, so that each is exchanged once."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from jwt_sessions.models.primary import PrimaryQuerySet


class ExchangedTokenQuerySet(PrimaryQuerySet["ExchangedToken"]):
    """Statements over exchanged tokens."""


class ExchangedToken(models.Model):
    """A token that was exchanged. Its row is purged when the token would have expired anyway."""

    digest = models.UUIDField(
        _("digest"), primary_key=True, editable=False, help_text=_("128 bits of the SHA-256 of its token id.")
    )
    expires_at = models.DateTimeField(_("expires"), db_index=True)

    objects = ExchangedTokenQuerySet.as_manager()

    class Meta:
        verbose_name = _("exchanged token")
        verbose_name_plural = _("exchanged tokens")

    def __str__(self) -> str:
        return str(self.pk)
