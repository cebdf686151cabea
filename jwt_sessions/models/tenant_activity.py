"""Idle clocks: when a user was last active for a tenant, one row for each session and tenant."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, models, transaction
from django.utils.translation import gettext_lazy as _

from jwt_sessions.database.exact_text import ExactCharField
from jwt_sessions.database.primary import PrimaryQuerySet
from jwt_sessions.models.session import Session


class TenantActivityQuerySet(PrimaryQuerySet["TenantActivity"]):
    """Statements over idle clocks."""

    def note(self, session_id: UUID, tenant: str, now: datetime, *, seen: bool) -> bool:
        """
        Set a clock; it is made when the tenant is first acted for. Answers whether there is one.

        Args:
            session_id: The session.
            tenant: The tenant.
            now: The moment of activity.
            seen: Whether there was a clock when the session was read: what is likely is tried first.
        """
        clock = self.filter(session_id=session_id, tenant=tenant)
        if seen and clock.update(last_active_at=now):
            return True
        try:
            with transaction.atomic(using=self.db):
                self.create(session_id=session_id, tenant=tenant, last_active_at=now)
        except IntegrityError:
            # Another tab made it in between, or the session is gone; then there is nothing to set.
            return clock.update(last_active_at=now) > 0
        return True


class TenantActivity(models.Model):
    """The idle clock of a session for one tenant."""

    session = models.ForeignKey(
        Session, models.CASCADE, related_name="tenant_activity", db_index=False, verbose_name=_("session")
    )
    tenant = ExactCharField(_("tenant"), max_length=255)
    last_active_at = models.DateTimeField(_("last active"))

    objects = TenantActivityQuerySet.as_manager()

    class Meta:
        verbose_name = _("tenant activity")
        verbose_name_plural = _("tenant activities")
        constraints = (models.UniqueConstraint(fields=["session", "tenant"], name="jwt_sessions_one_clock_a_tenant"),)

    def __str__(self) -> str:
        return f"{self.session_id} for {self.tenant}"
