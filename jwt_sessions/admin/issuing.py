"""Admin pages that make a secret: it stands in the answer to **Add** and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.functional import Promise

from jwt_sessions.exceptions import JWTSessionsError

TEMPLATE = "admin/jwt_sessions/issued.html"


@dataclass(frozen=True, slots=True)
class Issued:
    """A secret that is shown once, and what it is called. It stays out of the ``repr``."""

    label: str | Promise
    text: str = field(repr=False)


class IssuingAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Base of the admin classes whose **Add** makes a secret. ``save_model`` leaves it under ``_issued`` on the row."""

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

    def response_add(self, request: HttpRequest, obj: models.Model, post_url_continue: Any = None) -> HttpResponse:
        """Show the secret in this answer and nowhere else: a message would be kept in a cookie or a session."""
        context = {**self.admin_site.each_context(request), "opts": self.opts, **self.issued_page(request, obj)}
        response = TemplateResponse(request, TEMPLATE, context)
        response["Cache-Control"] = "no-store"
        return response


def hash_start(digest: bytes | memoryview) -> str:
    """As much of a stored hash as tells two apart."""
    return f"{bytes(digest).hex()[:8]}…"
