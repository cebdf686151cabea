"""Sessions in the admin: who is signed in where, until when, and ending it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from jwt_sessions import sessions
from jwt_sessions.admin.filters import AudienceFilter, SessionStateFilter
from jwt_sessions.admin.parameters import CheckedParameters
from jwt_sessions.admin.times import localized
from jwt_sessions.exceptions import EndReason
from jwt_sessions.models import RefreshToken, Session
from jwt_sessions.verdict.session import readable_sessions, state_of


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
class SessionAdmin(CheckedParameters):
    """Read-only but for ending sessions."""

    list_display = ("user", "state", "device_shown", "ip_address", "audience", "created_at", "last_active_at")
    list_filter = (SessionStateFilter, AudienceFilter, "created_at", "last_active_at", "end_reason")
    ordering = ("-id",)
    # A second COUNT over all rows is not worth a number in a corner.
    show_full_result_count = False
    fields = (
        "id",
        "user",
        "state",
        "deadlines_shown",
        "tenants_shown",
        "audience",
        "device_name",
        "device_info",
        "ip_address",
        "created_at",
        "reauthenticated_at",
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
            "refresh_tokens__device_info",
            "ip_address",
            "=id",
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Session]:
        sessions: QuerySet[Session] = readable_sessions()
        return sessions.order_by(*self.ordering)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Session | None = None) -> bool:
        return False

    def has_end_permission(self, request: HttpRequest) -> bool:
        """Who may change sessions may end them; there is nothing else to change."""
        return super().has_change_permission(request)

    @admin.display(description=_("device"))
    def device_shown(self, session: Session) -> str:
        return session.device_name or session.device_info

    @admin.display(description=_("state"))
    def state(self, session: Session) -> str:
        reason = state_of(session).verdict(timezone.now())
        return str(_("live")) if reason is None else _("ended: %s") % reason.label

    @admin.display(description=_("deadlines"))
    def deadlines_shown(self, session: Session) -> str:
        first = format_html(" <strong>{}</strong>", _("– this comes first"))
        rows = (
            (localized(each.at), each.reason.label, _("set by"), each.source, "" if number else first)
            for number, each in enumerate(state_of(session).deadlines())
        )
        return format_html_join("", "<div>{}: {} ({}: {}){}</div>", rows) or str(_("none"))

    @admin.display(description=_("tenants"))
    def tenants_shown(self, session: Session) -> str:
        clocks = dict(session.tenant_activity.values_list("tenant", "last_active_at"))
        rows = ((tenant, self._standing(session, tenant, clocks.get(tenant))) for tenant in session.tenants or ())
        return format_html_join("", "<div>{}: {}</div>", rows) or str(_("none"))

    def _standing(self, session: Session, tenant: str, active_at: datetime | None) -> str:
        """Until when a tenant is open on a session, and by whose word."""
        if active_at is None:
            return str(_("not used yet"))
        idle = replace(state_of(session), tenant_active_at=active_at).deadlines(tenant).idle
        if idle is None:
            return str(_("never idle"))
        text = _("idle since %(at)s (set by: %(source)s)")
        if idle.at > timezone.now():
            text = _("open until %(at)s unless it is used (set by: %(source)s)")
        return text % {"at": localized(idle.at), "source": idle.source}

    @admin.action(description=_("End selected sessions"), permissions=["end"])
    def end_selected(self, request: HttpRequest, queryset: QuerySet[Session]) -> None:
        ended = sessions.end_many(queryset.values_list("pk", flat=True), reason=EndReason.ENDED_BY_ADMIN)
        self._report(request, ended)

    @admin.action(description=_("End all sessions of these users"), permissions=["end"])
    def end_all_of_users(self, request: HttpRequest, queryset: QuerySet[Session]) -> None:
        users = {session.user for session in queryset.select_related("user")}
        ended = sum(sessions.end_all(user, reason=EndReason.ENDED_BY_ADMIN) for user in users)
        self._report(request, ended)

    def _report(self, request: HttpRequest, ended: int) -> None:
        text = ngettext("%d session ended.", "%d sessions ended.", ended) % ended
        self.message_user(request, text, messages.SUCCESS)
