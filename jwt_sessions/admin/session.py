"""Sessions in the admin: who is signed in where, until when, and ending it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import localize
from django.utils.html import format_html_join
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from jwt_sessions import sessions
from jwt_sessions.exceptions import EndReason
from jwt_sessions.models import RefreshToken, Session
from jwt_sessions.models.session import was_dead
from jwt_sessions.policies import deadlines, environment
from jwt_sessions.sessions.end import jwt_version_of
from jwt_sessions.sessions.verdict import verdict


class StateFilter(admin.SimpleListFilter):
    """Live or ended, by end and deadlines; what only the user's row tells shows in the column."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("live", _("live")), ("ended", _("ended"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        limits = environment()
        dead = was_dead(timezone.now(), limits.idle_timeout, limits.max_lifetime)
        if self.value() == "live":
            return queryset.exclude(dead)
        return queryset.filter(dead) if self.value() == "ended" else queryset


class RefreshTokenInline(admin.TabularInline):  # type: ignore[type-arg]
    """The family of a session's refresh tokens, the current one first."""

    model = RefreshToken
    fields = ("generation", "device_info", "created_at", "expires_at", "last_used_at", "revoked_at")
    readonly_fields = fields
    ordering = ("-generation",)
    show_change_link = True
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Session)
class SessionAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Read-only but for ending sessions."""

    list_display = ("user", "device_shown", "ip_address", "audience", "created_at", "last_active_at", "state")
    list_filter = (StateFilter, "end_reason", "audience", "created_at", "last_active_at")
    list_select_related = ("user__jwt_token_version",)
    ordering = ("-id",)
    # A second COUNT over all rows is not worth a number in a corner.
    show_full_result_count = False
    fields = (
        "id",
        "user",
        "state",
        "deadlines_shown",
        "audience",
        "device_name",
        "browser",
        "system",
        "ip_address",
        "created_at",
        "last_active_at",
        "ended_at",
        "end_reason",
        "generation",
        "jwt_version",
    )
    readonly_fields = fields
    inlines = (RefreshTokenInline,)
    actions = ("end_selected", "end_all_of_users")

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return (
            f"user__{get_user_model().USERNAME_FIELD}",
            "device_name",
            "browser",
            "system",
            "ip_address",
            "=id",
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.display(description=_("device"))
    def device_shown(self, session: Session) -> str:
        return session.device

    @admin.display(description=_("state"))
    def state(self, session: Session) -> str:
        reason = verdict(session, jwt_version_of(session), timezone.now())
        return str(_("live") if reason is None else reason.label)

    @admin.display(description=_("deadlines"))
    def deadlines_shown(self, session: Session) -> str:
        coming = sorted(deadlines(session, environment()), key=lambda deadline: deadline.at)
        rows = ((localize(timezone.localtime(each.at)), each.reason.label, each.source) for each in coming)
        return format_html_join("", "<div>{}: {} ({})</div>", rows) or str(_("none"))

    @admin.action(description=_("End selected sessions"), permissions=["change"])
    def end_selected(self, request: HttpRequest, queryset: QuerySet[Session]) -> None:
        ended = sum(sessions.end(session, reason=EndReason.ENDED_BY_ADMIN) for session in queryset)
        self._report(request, ended)

    @admin.action(description=_("End all sessions of these users"), permissions=["change"])
    def end_all_of_users(self, request: HttpRequest, queryset: QuerySet[Session]) -> None:
        users = {session.user for session in queryset.select_related("user")}
        ended = sum(sessions.end_all(user, reason=EndReason.ENDED_BY_ADMIN) for user in users)
        self._report(request, ended)

    def _report(self, request: HttpRequest, ended: int) -> None:
        text = ngettext("%d session ended.", "%d sessions ended.", ended) % ended
        self.message_user(request, text, messages.SUCCESS)
