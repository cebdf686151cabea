"""Sessions: one row a sign-in."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Self
from uuid import UUID

from django.conf import settings
from django.db import connections, models
from django.db.models import F, FilteredRelation, Q
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from jwt_sessions.exceptions import EndReason
from jwt_sessions.models.compiled import Slot, Statement, slot, update
from jwt_sessions.models.primary import PrimaryQuerySet
from jwt_sessions.models.uuid7 import uuid7

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

DEVICE_NAME_LENGTH = 100


class SessionQuerySet(PrimaryQuerySet["Session"]):
    """
    Statements over sessions. What decides a race filters on the row's own columns alone: a join in the condition
    would turn the statement into ``WHERE id IN (SELECT …)``, which several racers pass.
    """

    def owned_by(self, user: AbstractBaseUser) -> Self:
        """Those of a user."""
        return self.filter(user_id=user.pk)

    def not_ended(self) -> Self:
        """Those that nothing has ended yet. Some of them may be past a deadline: the verdict knows."""
        return self.filter(ended_at__isnull=True)

    def with_token_version(self) -> Self:
        """With the user and the user's token version loaded."""
        return self.select_related("user__jwt_token_version")

    def with_current_token(self) -> Self:
        """Join the row of the current refresh token, as ``current``."""
        generation = Q(refresh_tokens__generation=F("generation"))
        return self.annotate(current=FilteredRelation("refresh_tokens", condition=generation))

    def with_device_info(self) -> Self:
        """With :attr:`Session.device_info` loaded."""
        return self.with_current_token().annotate(device_info=F("current__device_info"))

    def advance(self, seen: Session, after: Session) -> bool:
        """
        Move a living session from a generation to the next. Of any number of racers one is told ``True``.

        What others have written since it was seen is not undone: activity is written only if this is some, and who
        has not seen that the password mark was carried over a silent re-hash loses the race.
        """
        connection = connections[self.db]
        statement = _advance(connection.alias, bool(_activity_between(seen, after)))
        seen_values = {"seen_generation": seen.generation, "seen_auth_hash": bytes(seen.auth_hash)}
        return statement.execute({**vars(after), **seen_values}, connection) == 1

    def carry_over(self, seen: Session, after: Session) -> int:
        """Replace the password mark that was seen on a session, and note the activity that comes with it."""
        marked = self.filter(pk=seen.pk, auth_hash=bytes(seen.auth_hash))
        return marked.update(auth_hash=after.auth_hash, **_activity_between(seen, after))

    def mark_ended(self, session_ids: Collection[UUID], reason: EndReason, now: datetime) -> int:
        """Write the end of those not ended yet, and answer how many these were."""
        return self.filter(pk__in=session_ids, ended_at__isnull=True).update(ended_at=now, end_reason=reason)

    def mark_used(self, session_id: UUID, generation: int, now: datetime) -> int:
        """Note the first use of a generation; it ends the grace of the one before in a while."""
        first = self.filter(pk=session_id, generation=generation, first_used_at__isnull=True)
        return first.update(first_used_at=now)

    def mark_active(self, session_id: UUID, seen_before: datetime, now: datetime) -> int:
        """Write user activity, unless another request has done so since ``seen_before``."""
        return self.filter(pk=session_id, last_active_at__lte=seen_before).update(last_active_at=now)


@cache
def _advance(alias: str, with_activity: bool) -> Statement:
    living = Session.objects.using(alias).filter(
        pk=slot(Session, "id"),
        generation=Slot("seen_generation", Session._meta.get_field("generation")),
        auth_hash=Slot("seen_auth_hash", Session._meta.get_field("auth_hash")),
        ended_at__isnull=True,
    )
    names = ["generation", "first_used_at", "refresh_expires_at", "auth_hash", "ip_address"]
    if with_activity:
        names.append("last_active_at")
    return update(living, connections[alias], **{name: slot(Session, name) for name in names})


def _activity_between(seen: Session, after: Session) -> dict[str, datetime]:
    return {} if after.last_active_at == seen.last_active_at else {"last_active_at": after.last_active_at}


def was_dead(moment: datetime, idle_timeout: timedelta | None, max_lifetime: timedelta | None) -> Q:
    """Sessions that had ended at ``moment``, or were past a deadline under these limits."""
    dead = Q(ended_at__lte=moment) | Q(refresh_expires_at__lte=moment)
    if idle_timeout is not None:
        dead |= Q(last_active_at__lte=moment - idle_timeout)
    if max_lifetime is not None:
        dead |= Q(created_at__lte=moment - max_lifetime)
    return dead


class Session(models.Model):
    """
    One sign-in of one user on one device.

    Columns of fixed width stand first and together: a row is shorter for it on PostgreSQL.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="jwt_sessions", verbose_name=_("user")
    )
    created_at = models.DateTimeField(_("signed in"), help_text=_("When the password was given."))
    last_active_at = models.DateTimeField(
        _("last active"), help_text=_("Last user activity, written at most once per ACTIVITY_RESOLUTION.")
    )
    refresh_expires_at = models.DateTimeField(
        _("refresh token expires"),
        null=True,
        help_text=_("Expiry of the current refresh token; empty: never."),
    )
    first_used_at = models.DateTimeField(
        _("current generation first used"),
        null=True,
        help_text=_("When the current refresh token, or an access token of its generation, was first used."),
    )
    ended_at = models.DateTimeField(_("ended"), null=True, help_text=_("Empty while the session lives."))
    generation = models.PositiveIntegerField(
        _("generation"), default=0, help_text=_("How often the refresh token has been rotated.")
    )
    jwt_version = models.PositiveIntegerField(
        _("token version"), default=0, help_text=_("The user's token version at sign-in.")
    )
    auth_hash = models.BinaryField(
        _("password mark"), max_length=12, help_text=_("Keyed hash of the user's session auth hash.")
    )
    audience = models.CharField(_("audience"), max_length=255)
    device_name = models.CharField(_("device name"), max_length=DEVICE_NAME_LENGTH, blank=True)
    ip_address = models.GenericIPAddressField(_("IP address"), null=True, help_text=_("As of the last refresh."))
    end_reason = models.CharField(_("end reason"), max_length=20, choices=EndReason.choices, blank=True)

    objects = SessionQuerySet.as_manager()

    class Meta:
        verbose_name = _("session")
        verbose_name_plural = _("sessions")

    def __str__(self) -> str:
        return str(self.pk)

    @property
    def authenticated_at(self) -> datetime:
        """When the password was last given (``auth_time``)."""
        return self.created_at

    @cached_property
    def device_info(self) -> str:
        """
        The device as of the last refresh, for instance "Chrome on Windows".

        One query, unless it was read with :meth:`SessionQuerySet.with_device_info`.
        """
        current = self.refresh_tokens.filter(generation=self.generation)
        return current.values_list("device_info", flat=True).first() or ""
