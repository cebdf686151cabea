"""Policies in the admin. Before a change is saved the form says how many sessions it would end."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from jwt_sessions import sessions
from jwt_sessions.admin.fields import PlainJSONField
from jwt_sessions.admin.parameters import CheckedParameters
from jwt_sessions.models import SessionPolicy
from jwt_sessions.policies import AUDIENCE_FIELDS, FIELDS, TENANT_FIELDS


class SessionPolicyForm(forms.ModelForm):  # type: ignore[type-arg]
    """A policy that ends living sessions is saved after that was confirmed."""

    # Holds the number of sessions that was confirmed, so that it does not stand for a larger one.
    confirmed = forms.IntegerField(required=False, label=_("End these sessions"), widget=forms.HiddenInput)

    class Meta:
        model = SessionPolicy
        fields = ("audience", "tenant", *FIELDS)
        field_classes = {"excluded_claims": PlainJSONField}
        widgets = {"excluded_claims": forms.Textarea(attrs={"rows": 2, "cols": 40})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "rotate_refresh_tokens" in self.fields:
            # Django calls it "Unknown".
            choices = [("unknown", "---------"), ("true", _("Yes")), ("false", _("No"))]
            self.fields["rotate_refresh_tokens"].widget.choices = choices

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        ended = sessions.sessions_ended_by(self.instance, timezone.now())
        if ended > (self.cleaned_data.get("confirmed") or 0):
            # Unchecked, also if a smaller number was confirmed before.
            checkbox = forms.CheckboxInput(attrs={"value": ended}, check_test=lambda value: False)
            self.fields["confirmed"].widget = checkbox
            text = ngettext(
                "Saving this ends %d living session now. Confirm it below.",
                "Saving this ends %d living sessions now. Confirm it below.",
                ended,
            )
            self.add_error("confirmed", text % ended)


@admin.register(SessionPolicy)
class SessionPolicyAdmin(CheckedParameters):
    """Limits for an audience or a tenant."""

    form = SessionPolicyForm
    list_display = ("__str__", "idle_timeout", "max_lifetime", "max_concurrent_sessions", "on_session_limit")
    search_fields = ("audience", "tenant")
    fieldsets = (
        (None, {"fields": ("audience", "tenant")}),
        (
            _("Sessions"),
            {
                "description": _("An empty field is no say. Of all that applies to a session the strictest counts."),
                "fields": TENANT_FIELDS,
            },
        ),
        (
            _("Tokens of an audience"),
            {
                "description": _("Tenants have no say in these."),
                "fields": AUDIENCE_FIELDS,
            },
        ),
        (None, {"fields": ("confirmed",)}),
    )
