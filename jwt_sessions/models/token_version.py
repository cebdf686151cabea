"""Token versions: what ends every token of a user at once."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import IntegrityError, models, transaction
from django.db.models import F
from django.utils.translation import gettext_lazy as _

from jwt_sessions import cache_tags
from jwt_sessions.database.primary import PrimaryQuerySet

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


class TokenVersionQuerySet(PrimaryQuerySet["TokenVersion"]):
    """Statements over token versions; a row is made when it is first needed."""

    def raise_for(self, user: AbstractBaseUser) -> None:
        """Raise a user's version by one."""
        self._write(user, {"jwt_version": F("jwt_version") + 1}, {"jwt_version": 1})

    def mark_for(self, user: AbstractBaseUser, now: datetime) -> None:
        """Require the user to give the password again from this moment on."""
        self._write(user, {"reauthenticate_after": now}, {"reauthenticate_after": now})

    def lock(self, user: AbstractBaseUser) -> None:
        """Let other writers wait for the user's row until the transaction ends; the row is made where there is none."""
        self._write(user, {"jwt_version": F("jwt_version")}, {})

    def _write(self, user: AbstractBaseUser, changes: dict[str, object], first: dict[str, object]) -> None:
        row = self.filter(pk=user.pk)
        if row.update(**changes):
            cache_tags.invalidate([cache_tags.user_tag(user.pk)], self.db)
            return
        try:
            with transaction.atomic(using=self.db):
                self.create(pk=user.pk, **first)
        except IntegrityError:
            # Another writer made the row in between.
            row.update(**changes)
        cache_tags.invalidate([cache_tags.user_tag(user.pk)], self.db)


class TokenVersion(models.Model):
    """A user's ``jwt_version`` and re-authentication mark. A user without a row has version 0 and no mark."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        primary_key=True,
        related_name="jwt_token_version",
        verbose_name=_("user"),
    )
    jwt_version = models.PositiveIntegerField(
        _("token version"), default=0, help_text=_("Raising it ends every token of the user.")
    )
    reauthenticate_after = models.DateTimeField(
        _("re-authentication required since"),
        null=True,
        blank=True,
        help_text=_("Sessions whose password was given before this moment cannot refresh."),
    )

    objects = TokenVersionQuerySet.as_manager()

    class Meta:
        verbose_name = _("token version")
        verbose_name_plural = _("token versions")

    def __str__(self) -> str:
        return str(self.user_id)
