"""Refresh tokens in the admin: looked at, and made for devices that cannot sign in themselves."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import ForeignKeyRawIdWidget
from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from jwt_sessions import conf, sessions
from jwt_sessions.admin.filters import AudienceFilter, TokenStateFilter
from jwt_sessions.admin.issuing import Issued, IssuingAdmin, IssuingForm, hash_start
from jwt_sessions.admin.times import localized
from jwt_sessions.models import RefreshToken, Session
from jwt_sessions.models.session import DEVICE_NAME_LENGTH


class AddRefreshTokenForm(IssuingForm):
    """What a new refresh token, and the session it belongs to, are made from."""

    user: Any = forms.ModelChoiceField(queryset=None, label=_("User"))
    lifetime = forms.DurationField(
        label=_("Lifetime"),
        required=False,
        help_text=_("In seconds, or as “days hours:minutes:seconds”. Empty: as the settings say."),
    )
    device_info = forms.CharField(label=_("Device"), required=False, max_length=DEVICE_NAME_LENGTH)

    class Meta:
        model = RefreshToken
        fields = ("user", "audience", "lifetime", "device_info")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["user"].queryset = get_user_model()._default_manager.all()  # type: ignore[attr-defined]
        relation = Session._meta.get_field("user").remote_field
        self.fields["user"].widget = ForeignKeyRawIdWidget(relation, admin.site)

    def clean_lifetime(self) -> Any:
        lifetime = self.cleaned_data["lifetime"]
        if lifetime is not None and not 1 <= lifetime.total_seconds() <= conf.LONGEST.total_seconds():
            raise forms.ValidationError(_("A lifetime is at least one second and at most 50 years."))
        return lifetime

    def _post_clean(self) -> None:
        """Nothing is copied to the instance: the verb that makes the token fills it."""


@admin.register(RefreshToken)
class RefreshTokenAdmin(IssuingAdmin):
    """Rows are read-only. **Add** starts a session and shows its refresh token, once."""

    list_display = (
        "user",
        "audience",
        "device_info",
        "generation",
        "created_at",
        "expires_at",
        "last_used_at",
        "revoked_at",
    )
    list_filter = (TokenStateFilter, AudienceFilter, "created_at", "expires_at")
    list_select_related = ("session__user",)
    ordering = ("-jti",)
    show_full_result_count = False
    fields = (
        "jti",
        "session",
        "user",
        "audience",
        "lifetime",
        "device_info",
        "generation",
        "hash_start",
        "content_size",
        "created_at",
        "expires_at",
        "predecessor_expires_at",
        "last_used_at",
        "revoked_at",
    )

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return (f"session__user__{get_user_model().USERNAME_FIELD}", "device_info", "=jti", "=session__id")

    def has_change_permission(self, request: HttpRequest, obj: RefreshToken | None = None) -> bool:
        return False

    @admin.display(description=_("user"), ordering="session__user")
    def user(self, token: RefreshToken) -> str:
        return str(token.session.user)

    @admin.display(description=_("token hash"))
    def hash_start(self, token: RefreshToken) -> str:
        return hash_start(token.token_hash)

    @admin.display(description=_("sealed content"))
    def content_size(self, token: RefreshToken) -> str:
        return "–" if token.content is None else _("%d bytes") % len(bytes(token.content))

    def get_fieldsets(self, request: HttpRequest, obj: RefreshToken | None = None) -> Any:
        if obj is not None:
            return [(None, {"fields": self.fields})]
        hint = _("Saving starts a session of this user and shows its refresh token once, on the next page.")
        return [(None, {"fields": AddRefreshTokenForm.Meta.fields, "description": hint})]

    def get_readonly_fields(self, request: HttpRequest, obj: RefreshToken | None = None) -> Any:
        return () if obj is None else self.fields

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            return AddRefreshTokenForm
        return super().get_form(request, obj, change, **kwargs)

    def save_model(self, request: HttpRequest, obj: RefreshToken, form: Any, change: bool) -> None:
        pair = sessions.start(
            form.cleaned_data["user"],
            audience=form.cleaned_data["audience"],
            device_name=form.cleaned_data["device_info"],
            refresh_token_lifetime=form.cleaned_data["lifetime"],
        )
        self.keep(obj, pair.session.refresh_tokens.get(), pair)

    def issued_page(self, request: HttpRequest, obj: RefreshToken) -> dict[str, Any]:
        user, audience, moment = obj.session.user, obj.audience, obj.expires_at
        sentence = _("A refresh token for %(user)s and the audience %(audience)s was issued.")
        expires = _("It expires on %s unless it is used before.")
        return {
            "title": _("Refresh token issued"),
            "sentence": sentence % {"user": user, "audience": audience},
            "issued": Issued(_("Refresh token"), vars(obj)["_issued"].refresh_token),
            "expiry": _("It never expires.") if moment is None else expires % localized(moment),
            "links": [
                (reverse("admin:jwt_sessions_session_change", args=[obj.session_id]), _("Its session")),
                (reverse("admin:jwt_sessions_refreshtoken_changelist"), _("All refresh tokens")),
            ],
        }
