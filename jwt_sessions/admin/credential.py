"""Credentials in the admin: made, named, revoked. The secret is shown once."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import JSONField, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from jwt_sessions import credentials, sessions
from jwt_sessions.admin.fields import PlainJSONField
from jwt_sessions.admin.filters import AudienceFilter, CredentialStateFilter
from jwt_sessions.admin.issuing import Issued, IssuingAdmin, IssuingForm, hash_start
from jwt_sessions.admin.times import localized
from jwt_sessions.exceptions import JWTSessionsError
from jwt_sessions.models import Credential
from jwt_sessions.verdict.credential import state_of_credential

STATES = {
    "live": _("live"),
    "revoked": _("revoked"),
    "owner not active": _("owner not active"),
    "expired": _("expired"),
}


class AddCredentialForm(IssuingForm):
    """What a new credential is made from."""

    audience = forms.ChoiceField(label=_("Audience"), help_text=_("What its access tokens are for."))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        user, tenant = cleaned.get("user"), cleaned.get("tenant")
        if user is not None and tenant:
            try:
                sessions.accepted_tenants(user, tenant)
            except JWTSessionsError:
                self.add_error("tenant", _("This user is not an accepted member of this tenant."))
        return cleaned


@admin.register(Credential)
class CredentialAdmin(IssuingAdmin):
    """**Add** makes a credential and shows its secret, once. Name, claims, right and expiry can be edited."""

    list_display = (
        *("name", "state", "kind", "user", "tenant", "audience"),
        *("may_introspect", "last_used_at", "expires_at", "created_at"),
    )
    list_filter = ("kind", CredentialStateFilter, "may_introspect", AudienceFilter)
    list_select_related = ("user",)
    ordering = ("-client_id",)
    raw_id_fields = ("user",)
    formfield_overrides = {
        JSONField: {"form_class": PlainJSONField, "widget": forms.Textarea(attrs={"rows": 3, "cols": 60})}
    }
    actions = ("revoke_selected",)
    made_from = ("user", "name", "audience", "tenant", "claims", "may_introspect", "expires_at")
    changeable = ("name", "claims", "may_introspect", "expires_at")
    fixed = (
        *("client_id", "kind", "user", "tenant", "audience", "state", "secret_hash_start"),
        *("created_at", "last_used_at", "revoked_at"),
    )

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return ("name", "tenant", f"user__{get_user_model().USERNAME_FIELD}", "=client_id")

    @admin.display(description=_("state"))
    def state(self, credential: Credential) -> str:
        return str(STATES[state_of_credential(credential, timezone.now())])

    @admin.display(description=_("secret hash"))
    def secret_hash_start(self, credential: Credential) -> str:
        return hash_start(credential.secret_hash)

    def get_fieldsets(self, request: HttpRequest, obj: Credential | None = None) -> Any:
        if obj is not None:
            return [(None, {"fields": (*self.changeable, *self.fixed)})]
        hint = _(
            "With a user it is a personal credential, whose tokens speak for that user; without one it belongs to an "
            "API client. Saving shows its secret once, on the next page."
        )
        return [(None, {"fields": self.made_from, "description": hint})]

    def get_readonly_fields(self, request: HttpRequest, obj: Credential | None = None) -> Any:
        return () if obj is None else self.fixed

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            kwargs["form"] = AddCredentialForm
        return super().get_form(request, obj, change, **kwargs)

    def save_model(self, request: HttpRequest, obj: Credential, form: Any, change: bool) -> None:
        if change:
            # Only what was edited: whoever revokes or uses it meanwhile is not undone.
            obj.save(update_fields=self.changeable)
            return
        new = credentials.create_credential(**{name: form.cleaned_data[name] for name in self.made_from})
        self.keep(obj, new.credential, new)

    def issued_page(self, request: HttpRequest, obj: Credential) -> dict[str, Any]:
        name, moment = obj.name, obj.expires_at
        return {
            "title": _("Credential issued"),
            "sentence": _("The credential “%s” was issued.") % name,
            "client_id": obj.pk,
            "issued": Issued(_("Client secret"), vars(obj)["_issued"].client_secret),
            "expiry": _("It never expires.") if moment is None else _("Expiry: %s") % localized(moment),
            "links": [
                (reverse("admin:jwt_sessions_credential_change", args=[obj.pk]), _("This credential")),
                (reverse("admin:jwt_sessions_credential_changelist"), _("All credentials")),
            ],
        }

    @admin.action(description=_("Revoke selected credentials: their access tokens end at once"), permissions=["change"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[Credential]) -> None:
        revoked = sum(credentials.revoke_credential(credential) for credential in queryset)
        text = ngettext("%d credential revoked.", "%d credentials revoked.", revoked) % revoked
        self.message_user(request, text, messages.SUCCESS)
