"""Policies in the admin. Before a change is saved the form says how many sessions it would end."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from jwt_sessions.admin.fields import PlainJSONField
from jwt_sessions.models import SessionPolicy
from jwt_sessions.sessions.impact import sessions_ended_by

DURATION = _("In seconds, or as “days hours:minutes:seconds”.")


class SessionPolicyForm(forms.ModelForm):  # type: ignore[type-arg]
    """A policy that ends living sessions is saved after that was confirmed."""

    # Holds the number of sessions that was confirmed, so that it does not stand for a larger one.
    confirmed = forms.IntegerField(required=False, label=_("End these sessions"), widget=forms.HiddenInput)

    class Meta:
        model = SessionPolicy
        fields = (
            *("audience", "tenant", "idle_timeout", "max_lifetime", "max_concurrent_sessions", "on_session_limit"),
            *("access_token_lifetime", "refresh_token_lifetime", "rotate_refresh_tokens", "excluded_claims"),
        )
        help_texts = {
            "audience": _("Empty for the policy of a tenant."),
            "tenant": _("The id of the tenant. Empty for the policy of an audience."),
            "idle_timeout": format_lazy("{} {}", _("Longest time without user activity."), DURATION),
            "max_lifetime": format_lazy("{} {}", _("Longest time since the password was last given."), DURATION),
            "max_concurrent_sessions": _("How many sessions a user may have. Kept at the next sign-in."),
            "access_token_lifetime": DURATION,
            "refresh_token_lifetime": format_lazy("{} {}", _("From the next refresh on."), DURATION),
            "rotate_refresh_tokens": "",
            "excluded_claims": _('Names of configured claims that stay out of the tokens: ["roles", "permissions"].'),
        }
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
        ended = sessions_ended_by(self.instance, timezone.now())
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
class SessionPolicyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
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
                "fields": ("idle_timeout", "max_lifetime", "max_concurrent_sessions", "on_session_limit"),
            },
        ),
        (
            _("Tokens of an audience"),
            {
                "description": _("Tenants have no say in these."),
                "fields": (
                    "access_token_lifetime",
                    "refresh_token_lifetime",
                    "rotate_refresh_tokens",
                    "excluded_claims",
                ),
            },
        ),
        (None, {"fields": ("confirmed",)}),
    )
