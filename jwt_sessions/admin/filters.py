"""Filters of the change lists that ask the database nothing to draw themselves."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from jwt_sessions import conf
from jwt_sessions.models import Credential, RefreshToken, Session
from jwt_sessions.models.session import was_dead
from jwt_sessions.models.session_policy import current_book


class AudienceFilter(admin.SimpleListFilter):
    """By the audiences of the settings; Django's own filter would read the whole table for them."""

    title = _("audience")
    parameter_name = "audience"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(audience, audience) for audience in conf.current().AUDIENCES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() is None else queryset.filter(audience=self.value())


class SessionStateFilter(admin.SimpleListFilter):
    """Live or ended, by end and deadlines; what only the user's row tells shows in the column."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("live", _("live")), ("ended", _("ended"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        dead = was_dead(timezone.now(), current_book())
        if self.value() == "live":
            return queryset.exclude(dead)
        return queryset.filter(dead) if self.value() == "ended" else queryset


class TokenStateFilter(admin.SimpleListFilter):
    """In use, or replaced by a successor or the end of the session."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("current", _("current")), ("revoked", _("replaced or revoked"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[RefreshToken]) -> QuerySet[RefreshToken]:
        if self.value() is None:
            return queryset
        return queryset.filter(revoked_at__isnull=self.value() == "current")


class CredentialStateFilter(admin.SimpleListFilter):
    """Living, revoked or expired; what only the owner's row tells shows in the column."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("living", _("live")), ("revoked", _("revoked")), ("expired", _("expired"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Credential]) -> QuerySet[Credential]:
        expired = Q(expires_at__isnull=False, expires_at__lte=timezone.now())
        match self.value():
            case "living":
                return queryset.filter(~expired, revoked_at__isnull=True)
            case "revoked":
                return queryset.filter(revoked_at__isnull=False)
            case "expired":
                return queryset.filter(expired, revoked_at__isnull=True)
        return queryset
