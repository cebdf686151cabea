"""Policies: limits for an audience or a tenant, beside those of the settings."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Func, Q, Subquery
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from jwt_sessions import cache_tags, conf
from jwt_sessions.database.exact_text import ExactCharField
from jwt_sessions.database.primary import PrimaryQuerySet
from jwt_sessions.policies import AUDIENCE_FIELDS, FIELDS, Policy, PolicyBook, policy_from

DURATION = _("In seconds, or as “days hours:minutes:seconds”.")


def _revision() -> int:
    return secrets.randbelow(2**31)


class SessionPolicyQuerySet(PrimaryQuerySet["SessionPolicy"]):
    """Statements over policies."""

    def update(self, **changes: Any) -> int:
        """Change rows, and their revision with them."""
        changed = super().update(**{"revision": _revision(), **changes})
        cache_tags.invalidate([cache_tags.POLICIES], self.db)
        return changed

    def bulk_create(self, objs: Iterable[SessionPolicy], *args: Any, **kwargs: Any) -> list[SessionPolicy]:
        """As Django's, with a revision of their own for rows that are updated by it."""
        policies = list(objs)
        for policy in policies:
            policy.revision = _revision()
        created = super().bulk_create(policies, *args, **kwargs)
        cache_tags.invalidate([cache_tags.POLICIES], self.db)
        return created

    def total_revision(self) -> models.QuerySet[Any, Any]:
        """One row and column that differs whenever any policy does, for use in other queries."""
        # Not an aggregate in Django's eyes, which would group it.
        total = Func(F("revision"), function="SUM", output_field=models.BigIntegerField())
        return self.order_by().annotate(total=total).values("total")

    def book(self) -> PolicyBook:
        """All policies, ready to be applied."""
        rows = list(self.all())
        return PolicyBook(
            audiences={row.audience: row.policy for row in rows if row.audience},
            tenants={row.tenant: row.policy for row in rows if row.tenant},
        )


Rows = TypeVar("Rows", bound="models.QuerySet[Any, Any]")


def with_policies(rows: Rows) -> Rows:
    """Rows of any model, each with the total revision of the policies in force as ``policies_revision``."""
    return rows.annotate(
        policies_revision=Subquery(
            SessionPolicy.objects.total_revision(), output_field=models.BigIntegerField(null=True)
        )
    )


_known: tuple[object, PolicyBook] = (None, PolicyBook())


def current_book() -> PolicyBook:
    """The policies in force, where no query is made that could bring their revision along."""
    return book_for(SessionPolicy.objects.total_revision().get()["total"])


def book_for(revision: object) -> PolicyBook:
    """
    The policies at a total revision. They are read once in each process when it differs from the last.

    Without any policy it is ``None`` and nothing is read.
    """
    global _known
    known = _known
    if known[0] != revision:
        known = _known = (revision, PolicyBook() if revision is None else SessionPolicy.objects.book())
    return known[1]


class SessionPolicy(models.Model):
    """
    What an audience or a tenant says about sessions. An empty field is no say.

    ``revision`` changes with each write. Processes see in the query that they make for each request anyway that the sum
    of all revisions differs from the one they know, and read the policies anew.
    """

    audience = ExactCharField(
        _("audience"), max_length=255, blank=True, help_text=_("Empty for the policy of a tenant.")
    )
    tenant = ExactCharField(
        _("tenant"),
        max_length=255,
        blank=True,
        help_text=_("The id of the tenant. Empty for the policy of an audience."),
    )
    idle_timeout = models.DurationField(
        _("idle timeout"),
        null=True,
        blank=True,
        help_text=format_lazy("{} {}", _("Longest time without user activity."), DURATION),
    )
    max_lifetime = models.DurationField(
        _("maximum lifetime"),
        null=True,
        blank=True,
        help_text=format_lazy("{} {}", _("Longest time since the password was last given."), DURATION),
    )
    max_concurrent_sessions = models.PositiveIntegerField(
        _("sessions at once"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("How many sessions a user may have. Kept at the next sign-in."),
    )
    on_session_limit = models.CharField(
        _("at that limit"),
        max_length=20,
        blank=True,
        choices=[
            ("end_oldest", _("end the oldest")),
            ("end_least_active", _("end the least active")),
            ("refuse", _("refuse the sign-in")),
        ],
    )
    access_token_lifetime = models.DurationField(_("access token lifetime"), null=True, blank=True, help_text=DURATION)
    refresh_token_lifetime = models.DurationField(
        _("refresh token lifetime"),
        null=True,
        blank=True,
        help_text=format_lazy("{} {}", _("From the next refresh on."), DURATION),
    )
    rotate_refresh_tokens = models.BooleanField(_("rotate refresh tokens"), null=True, blank=True)
    excluded_claims = models.JSONField(
        _("excluded claims"),
        default=list,
        blank=True,
        help_text=_('Names of configured claims that stay out of the tokens: ["roles", "permissions"].'),
    )
    revision = models.PositiveIntegerField(default=_revision, editable=False)

    objects = SessionPolicyQuerySet.as_manager()

    class Meta:
        verbose_name = _("session policy")
        verbose_name_plural = _("session policies")
        constraints = (
            models.CheckConstraint(
                condition=(Q(audience="") & ~Q(tenant="")) | (~Q(audience="") & Q(tenant="")),
                name="jwt_sessions_policy_of_audience_or_tenant",
            ),
            models.UniqueConstraint(fields=["audience", "tenant"], name="jwt_sessions_one_policy_each"),
        )

    def __str__(self) -> str:
        return f"tenant {self.tenant}" if self.tenant else f"audience {self.audience}"

    def save(self, **kwargs: Any) -> None:
        """Store the row under a new revision."""
        self.revision = _revision()
        if kwargs.get("update_fields") is not None:
            kwargs["update_fields"] = {*kwargs["update_fields"], "revision"}
        super().save(**kwargs)

    def clean(self) -> None:
        """Refuse what makes no sense, by field."""
        errors: dict[str, Any] = {}
        if bool(self.audience) == bool(self.tenant):
            errors["audience"] = _("Name an audience or a tenant, and not both.")
        elif self.audience and self.audience not in conf.current().AUDIENCES:
            errors["audience"] = _("This audience is not among AUDIENCES.")
        for name in FIELDS:
            value = getattr(self, name)
            if isinstance(value, timedelta) and not 1 <= value.total_seconds() <= conf.LONGEST.total_seconds():
                errors[name] = _("From one second to 50 years.")
        if self.idle_timeout is not None and self.idle_timeout < conf.current().shortest_idle_timeout:
            errors.setdefault("idle_timeout", _("Shorter than twice ACTIVITY_RESOLUTION."))
        if self.idle_timeout is not None and self.max_lifetime is not None and self.idle_timeout > self.max_lifetime:
            errors.setdefault("idle_timeout", _("Longer than the maximum lifetime."))
        if not isinstance(self.excluded_claims, list) or not all(
            isinstance(name, str) for name in self.excluded_claims
        ):
            errors["excluded_claims"] = _("A list of names.")
        if self.tenant:
            for name in AUDIENCE_FIELDS:
                if getattr(self, name) not in (None, "", []):
                    errors[name] = _("Only the policy of an audience has a say in this.")
        if errors:
            raise ValidationError(errors)

    @property
    def policy(self) -> Policy:
        """What this row says, in the terms of :mod:`jwt_sessions.policies`."""
        return policy_from(str(self), {name: getattr(self, name) for name in FIELDS})
