"""Token versions in the admin: end every token of a user, or ask for the password again."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from jwt_sessions import sessions
from jwt_sessions.admin.parameters import CheckedParameters
from jwt_sessions.models import TokenVersion


@admin.register(TokenVersion)
class TokenVersionAdmin(CheckedParameters):
    """Rows are read-only; **Add** raises the version of a user who has none yet."""

    list_display = ("user", "jwt_version", "reauthenticate_after")
    list_select_related = ("user",)
    ordering = ("user",)
    fields = ("user", "jwt_version", "reauthenticate_after")
    raw_id_fields = ("user",)
    actions = ("raise_versions", "require_reauthentication")

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return (f"user__{get_user_model().USERNAME_FIELD}",)

    def has_change_permission(self, request: HttpRequest, obj: TokenVersion | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: TokenVersion | None = None) -> bool:
        """
        Not by itself: without its row a user has version 0 and no mark, which brings back what was to be dead.

        Whoever deletes a user deletes the row too. Django asks this from the page of the user then.
        """
        page = getattr(request.resolver_match, "func", None)
        return getattr(page, "model_admin", None) is not self and super().has_delete_permission(request, obj)

    def has_raise_permission(self, request: HttpRequest) -> bool:
        """Who may change token versions may raise them; there is nothing else to change."""
        return super().has_change_permission(request)

    def get_fieldsets(self, request: HttpRequest, obj: TokenVersion | None = None) -> Any:
        if obj is not None:
            return [(None, {"fields": self.fields})]
        warning = _("Saving raises the token version of this user: all sessions and tokens of the user end at once.")
        return [(None, {"fields": ("user",), "description": warning})]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        only_save = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**only_save, **(extra_context or {})})

    def get_readonly_fields(self, request: HttpRequest, obj: TokenVersion | None = None) -> Any:
        return () if obj is None else self.fields

    def save_model(self, request: HttpRequest, obj: TokenVersion, form: Any, change: bool) -> None:
        if not change:
            sessions.raise_version(obj.user)
            obj.refresh_from_db()

    @admin.action(description=_("Raise the token version: end every token of these users"), permissions=["raise"])
    def raise_versions(self, request: HttpRequest, queryset: QuerySet[TokenVersion]) -> None:
        for version in queryset.select_related("user"):
            sessions.raise_version(version.user)
        self.message_user(request, str(_("The versions were raised.")), messages.SUCCESS)

    @admin.action(description=_("Require these users to sign in again"), permissions=["raise"])
    def require_reauthentication(self, request: HttpRequest, queryset: QuerySet[TokenVersion]) -> None:
        for version in queryset.select_related("user"):
            sessions.require_reauthentication(version.user)
        self.message_user(request, str(_("These users have to sign in again to refresh.")), messages.SUCCESS)
