"""Sessions: one row a sign-in."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from django.conf import settings
from django.db import connections, models
from django.db.models import Expression, F, FilteredRelation, Q
from django.db.models.functions import Coalesce
from django.db.models.lookups import LessThanOrEqual
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from jwt_sessions import cache_tags, conf
from jwt_sessions.database.exact_text import ExactCharField
from jwt_sessions.database.primary import PrimaryQuerySet
from jwt_sessions.database.statements import Slot, Statement, slot, update
from jwt_sessions.database.uuid7 import uuid7
from jwt_sessions.exceptions import EndReason
from jwt_sessions.policies import DEADLINES, Policy, PolicyBook, environment
from jwt_sessions.types import DeviceFamilies, device_families

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

DEVICE_NAME_LENGTH = 100
AMR_LENGTH = 100


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

    def with_tenant_activity(self, tenant: str | Expression) -> Self:
        """Join the idle clock of a tenant, as ``clock``."""
        clock = Q(tenant_activity__tenant=tenant)
        return self.annotate(clock=FilteredRelation("tenant_activity", condition=clock))

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
        statement = _advance(connection.alias, "last_active_at" in _changes(seen, after))
        seen_values = {"seen_generation": seen.generation, "seen_auth_hash": bytes(seen.auth_hash)}
        won = statement.execute({**vars(after), **seen_values}, connection) == 1
        if won:
            cache_tags.invalidate([cache_tags.session_tag(seen.pk)], self.db)
        return won

    def carry_over(self, seen: Session, after: Session) -> int:
        """Replace what hangs on SECRET_KEY and on memberships, and note the activity that comes with it."""
        marked = self.filter(pk=seen.pk, auth_hash=bytes(seen.auth_hash))
        changed = marked.update(auth_hash=after.auth_hash, **_changes(seen, after))
        cache_tags.invalidate([cache_tags.session_tag(seen.pk)], self.db)
        return changed

    def mark_ended(self, session_ids: Collection[UUID], reason: EndReason, now: datetime) -> int:
        """Write the end of those not ended yet, and answer how many these were."""
        ended = self.filter(pk__in=session_ids, ended_at__isnull=True).update(ended_at=now, end_reason=reason)
        cache_tags.invalidate(map(cache_tags.session_tag, session_ids), self.db)
        return ended

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
    names = ["generation", "first_used_at", "refresh_expires_at", "auth_hash", "ip_address", "tenants"]
    names += ["first_generation", "reauthenticated_at", "amr"]
    if with_activity:
        names.append("last_active_at")
    return update(living, connections[alias], **{name: slot(Session, name) for name in names})


def _changes(seen: Session, after: Session) -> dict[str, Any]:
    """What changes on a session besides its tokens, and only that: others may have written the rest since."""
    names = ("tenants", "last_active_at")
    return {name: getattr(after, name) for name in names if getattr(after, name) != getattr(seen, name)}


def was_dead(moment: datetime, book: PolicyBook) -> Q:
    """
    Sessions that had ended at ``moment``, or were past a deadline of the settings or of their audience's policy.

    What tenants say depends on memberships, which no column holds in a way that every database can search.
    """
    dead = Q(ended_at__lte=moment) | _past(moment, environment(conf.current()))
    for audience, policy in book.audiences.items():
        dead |= Q(audience=audience) & _past(moment, policy)
    return dead


# What the columns hold of the moments that deadlines count from.
MOMENTS: Mapping[str, F | Coalesce] = {
    "refresh_expires_at": F("refresh_expires_at"),
    "authenticated_at": Coalesce("reauthenticated_at", "created_at"),
    "last_active_at": F("last_active_at"),
}


def _past(moment: datetime, policy: Policy) -> Q:
    past = Q(pk__in=[])
    for _reason, since, limit in DEADLINES:
        said = None if limit is None else getattr(policy, limit)
        if limit is None or said is not None:
            past |= Q(LessThanOrEqual(MOMENTS[since], moment - (said.value if said else timedelta(0))))
    return past


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
    reauthenticated_at = models.DateTimeField(
        _("re-authenticated"), null=True, help_text=_("When the password was last given again.")
    )
    ended_at = models.DateTimeField(_("ended"), null=True, help_text=_("Empty while the session lives."))
    generation = models.PositiveIntegerField(
        _("generation"), default=0, help_text=_("How often the refresh token has been rotated.")
    )
    first_generation = models.PositiveIntegerField(
        _("first generation"),
        null=True,
        help_text=_("Tokens of generations before it ended with a re-authentication."),
    )
    jwt_version = models.PositiveIntegerField(
        _("token version"), default=0, help_text=_("The user's token version at sign-in.")
    )
    auth_hash = models.BinaryField(
        _("password mark"), max_length=12, help_text=_("Keyed hash of the user's session auth hash.")
    )
    audience = ExactCharField(_("audience"), max_length=255)
    device_name = models.CharField(_("device name"), max_length=DEVICE_NAME_LENGTH, blank=True)
    ip_address = models.GenericIPAddressField(_("IP address"), null=True, help_text=_("As of the last refresh."))
    tenants = models.JSONField(
        _("tenants"), null=True, help_text=_("Memberships of the user when a token was last issued.")
    )
    amr = models.CharField(
        _("authentication methods"),
        max_length=AMR_LENGTH,
        blank=True,
        help_text=_("How the user was last authenticated (RFC 8176), with spaces between."),
    )
    end_reason = models.CharField(_("end reason"), max_length=20, choices=EndReason.choices, blank=True)

    objects = SessionQuerySet.as_manager()

    class Meta:
        verbose_name = _("session")
        verbose_name_plural = _("sessions")

    def __str__(self) -> str:
        return str(self.pk)

    @property
    def reason(self) -> EndReason | None:
        """
        Why the session ended, or ``None`` where it has no end on record.

        An end that was written past this package, in SQL or by ``update()``, may have none that is known.
        """
        if self.ended_at is None:
            return None
        return EndReason(self.end_reason) if self.end_reason in EndReason.values else EndReason.ENDED_BY_ADMIN

    @property
    def authenticated_at(self) -> datetime:
        """When the password was last given (``auth_time``)."""
        return self.reauthenticated_at or self.created_at

    @property
    def oldest_generation(self) -> int:
        """The first generation whose tokens may still count."""
        return self.first_generation or 0

    @cached_property
    def device_info(self) -> str:
        """
        The device as of the last refresh, for instance "Chrome on Windows".

        One query, unless it was read with :meth:`SessionQuerySet.with_device_info`.
        """
        current = self.refresh_tokens.filter(generation=self.generation)
        return current.values_list("device_info", flat=True).first() or ""

    @property
    def device(self) -> DeviceFamilies:
        """Browser and system in :attr:`device_info`."""
        return device_families(self.device_info)
