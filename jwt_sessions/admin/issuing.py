"""Admin pages that make a secret: it stands in the answer to **Add** and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from jwt_sessions import conf
from jwt_sessions.admin.parameters import CheckedParameters
from jwt_sessions.exceptions import JWTSessionsError

TEMPLATE = "admin/jwt_sessions/issued.html"


@dataclass(frozen=True, slots=True)
class Issued:
    """A secret that is shown once, and what it is called. It stays out of the ``repr``."""

    label: str | Promise
    text: str = field(repr=False)


class IssuingForm(forms.ModelForm):  # type: ignore[type-arg]
    """Base of the forms behind **Add**: for an audience that may be issued, and a user, if any, who is active."""

    audience = forms.ChoiceField(label=_("Audience"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["audience"].choices = [(name, name) for name in conf.current().AUDIENCES]  # type: ignore[attr-defined]

    def clean_user(self) -> AbstractBaseUser | None:
        """Refuse a user who could not sign in."""
        user: AbstractBaseUser | None = self.cleaned_data["user"]
        if user is not None and not user.is_active:
            raise forms.ValidationError(_("This user is not active."))
        return user


class IssuingAdmin(CheckedParameters):
    """Base of the admin classes whose **Add** makes a secret. ``save_model`` calls a verb, and :meth:`keep`."""

    def issued_page(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        """What the page says: ``title``, ``sentence``, ``issued``, ``expiry``, ``links``, and ``client_id`` if any."""
        raise NotImplementedError

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        only_save = {"show_save_and_add_another": False, "show_save_and_continue": False}
        try:
            return super().add_view(request, form_url, {**only_save, **(extra_context or {})})
        except JWTSessionsError as error:
            # What the form cannot know, as what a pre_issue receiver says. Nothing was stored.
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(request.path)

    def keep(self, obj: models.Model, stored: models.Model, issued: object) -> None:
        """Make ``obj`` the row that a verb has stored, and keep what was issued with it for the answer."""
        obj.pk = stored.pk
        # From where it was written: a replica may not have it yet.
        obj.refresh_from_db(using=stored._state.db)
        vars(obj)["_issued"] = issued

    def response_add(self, request: HttpRequest, obj: models.Model, post_url_continue: Any = None) -> HttpResponse:
        """Show the secret in this answer and nowhere else: a message would be kept in a cookie or a session."""
        context = {**self.admin_site.each_context(request), "opts": self.opts, **self.issued_page(request, obj)}
        response = TemplateResponse(request, TEMPLATE, context)
        response["Cache-Control"] = "no-store"
        return response


def hash_start(digest: bytes | memoryview) -> str:
    """As much of a stored hash as tells two apart."""
    return f"{bytes(digest).hex()[:8]}…"
