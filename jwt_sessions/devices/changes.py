"""The views that change something: each asks first where it has to, acts, and leads back to the list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.contrib.auth import logout
from django.contrib.auth.signals import user_logged_out
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from jwt_sessions import sessions
from jwt_sessions.devices import results
from jwt_sessions.devices.listing import Device
from jwt_sessions.devices.recent_login import PASSWORD_LENGTH, give_password, is_recent
from jwt_sessions.devices.results import Result
from jwt_sessions.devices.views import DevicesView, login_url
from jwt_sessions.devices.visitor import Visitor
from jwt_sessions.exceptions import (
    EndReason,
    InvalidCredentials,
    InvalidToken,
    JWTSessionsError,
    SessionEnded,
    Throttled,
)
from jwt_sessions.http import cookies
from jwt_sessions.models.session import DEVICE_NAME_LENGTH
from jwt_sessions.types import TokenPair

DEVICE_NAME = forms.CharField(max_length=DEVICE_NAME_LENGTH, required=False)


@dataclass(frozen=True, slots=True)
class Question:
    """What the page that asks says: its heading, what would happen, and the button that makes it happen."""

    title: str
    text: str
    button: str


class ChangeView(DevicesView):
    """
    Base of the changes. ``GET`` asks, ``POST`` does it.

    Where ``DEVICES_RECENT_LOGIN`` wants the password, the page that asks for it carries the change along.
    """

    visitor: Visitor
    # Whether this browser is signed out by it.
    signs_out = False

    def question(self) -> Question:
        """What is asked."""
        raise NotImplementedError

    def change(self) -> Result:
        """Do it."""
        raise NotImplementedError

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        # On top of Django's check: its cookie can be set from a sibling subdomain, these headers by no page.
        if request.method == "POST" and not cookies.is_same_site(request):
            raise PermissionDenied
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        return self.refusal() or self.ask()

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        refusal = self.refusal()
        if refusal is not None:
            return refusal
        pair = None
        if not is_recent(request, self.visitor, self.now):
            if "password" not in request.POST:
                return self.ask()
            try:
                pair = give_password(request, self.visitor, request.POST["password"])
            except (InvalidToken, SessionEnded):
                # It ended meanwhile. The list says who is signed in now.
                return to_list()
            except JWTSessionsError as error:
                return self.ask(error)
        response = self.done(self.change())
        return self.with_cookie(response, pair)

    def refusal(self) -> HttpResponse | None:
        """The answer where there is nothing to change."""
        return to_list() if self.visitor is None else None

    def ask(self, error: JWTSessionsError | None = None) -> HttpResponse:
        """The page that asks."""
        kept = {name: value for name, value in self.request.POST.items() if name == "device_name"}
        context = {
            "question": self.question(),
            "kept": kept,
            "asks_password": not is_recent(self.request, self.visitor, self.now),
            "password_length": PASSWORD_LENGTH,
            "error": "" if error is None else explained(error),
            "login_url": login_url(),
        }
        response = render(self.request, "jwt_sessions/devices/confirm.html", context, status=400 if error else 200)
        if isinstance(error, Throttled):
            response.status_code = 429
            response["Retry-After"] = str(error.retry_after)
        return response

    def done(self, result: Result) -> HttpResponse:
        """Back to the list, which says what was done; the fragment gives that the focus without a script."""
        response = to_list("#status")
        results.keep(response, self.request, result)
        return response

    def with_cookie(self, response: HttpResponse, pair: TokenPair | None) -> HttpResponse:
        """With the refresh cookie as it is after the change."""
        if self.signs_out:
            sign_out_here(self.request, self.visitor)
            if self.visitor.held is not None:
                cookies.clear_refresh_cookie(self.request, response)
        elif pair is not None:
            cookies.set_refresh_cookie(response, pair.refresh_token, pair.session_expires_at, self.now)
        return response


class DeviceView(ChangeView):
    """Base of the changes of one device."""

    @cached_property
    def device(self) -> Device | None:
        """The device, while the visitor is signed in on it."""
        session_id: UUID = self.kwargs["session_id"]
        return next((device for device in self.devices if device.session.pk == session_id), None)

    def refusal(self) -> HttpResponse | None:
        refusal = super().refusal()
        # Those of other users are not told from those that never were.
        return self.done(Result("gone")) if refusal is None and self.device is None else refusal

    @property
    def found(self) -> Device:
        """The device, after :meth:`refusal` has found one."""
        assert self.device is not None  # noqa: S101  # for the type checker
        return self.device


class RenameView(DeviceView):
    """Give a device a name; an empty one takes it away."""

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        return to_list()

    def refusal(self) -> HttpResponse | None:
        refusal = super().refusal()
        if refusal is None:
            try:
                DEVICE_NAME.clean(self.request.POST.get("device_name"))
            except ValidationError as error:
                text = _("The name was not saved: %(why)s") % {"why": " ".join(error.messages)}
                return self.list_page(text, status=400)
        return refusal

    def question(self) -> Question:
        return Question(
            _("Rename %(name)s?") % {"name": self.found.label},
            _("To confirm that it is you, give your password."),
            _("Rename"),
        )

    def change(self) -> Result:
        session = self.found.session
        session.device_name = DEVICE_NAME.clean(self.request.POST.get("device_name"))
        session.save(update_fields=["device_name"])
        return Result("renamed", name=self.found.name)


class EndView(DeviceView):
    """End the session on one device. On the one that asks, that is signing out."""

    @property
    def signs_out(self) -> bool:  # type: ignore[override]
        return self.found.is_current

    def question(self) -> Question:
        return Question(
            _("Sign out %(name)s?") % {"name": self.found.label},
            _("Whoever uses that device has to sign in again."),
            _("Sign out"),
        )

    def change(self) -> Result:
        reason = EndReason.LOGOUT if self.signs_out else EndReason.ENDED_BY_USER
        sessions.end(self.found.session, reason=reason)
        return Result("signed_out") if self.signs_out else Result("ended", name=self.found.label)


class EndOthersView(ChangeView):
    """End the sessions on all devices but this one."""

    def question(self) -> Question:
        count = len(self.others)
        text = ngettext(
            "%(count)d other device will be signed out. You stay signed in here.",
            "%(count)d other devices will be signed out. You stay signed in here.",
            count,
        )
        return Question(_("Sign out all other devices?"), text % {"count": count}, _("Sign out other devices"))

    def change(self) -> Result:
        keep = None if self.visitor.held is None else self.visitor.held.session
        ended = sessions.end_all(self.visitor.user, reason=EndReason.ENDED_BY_USER, keep=keep)
        return Result("ended_many", ended)


class EndAllView(ChangeView):
    """End all sessions of the user, and sign out here."""

    signs_out = True

    def question(self) -> Question:
        count = len(self.devices)
        text = ngettext(
            "%(count)d device will be signed out, and you will be signed out here.",
            "%(count)d devices will be signed out, and you will be signed out here.",
            count,
        )
        return Question(_("Sign out everywhere?"), text % {"count": count}, _("Sign out everywhere"))

    def change(self) -> Result:
        ended = sessions.end_all(self.visitor.user, reason=EndReason.ENDED_BY_USER)
        return Result("signed_out_everywhere", ended)


def to_list(fragment: str = "") -> HttpResponseRedirect:
    """A redirect to the list, by GET whatever was sent."""
    response = HttpResponseRedirect(reverse("jwt_sessions_devices:list") + fragment)
    response.status_code = 303  # RFC 9110 §15.4.4
    return response


def sign_out_here(request: HttpRequest, visitor: Visitor) -> None:
    """End Django's own login in this browser too, or tell its receivers where there is none."""
    if visitor.logged_in and hasattr(request, "session"):
        logout(request)
    else:
        user_logged_out.send(sender=visitor.user.__class__, request=request, user=visitor.user)


def explained(error: JWTSessionsError) -> str:
    """Why the change was not made."""
    if isinstance(error, InvalidCredentials):
        return _("The password is wrong. Nothing was changed.")
    if isinstance(error, Throttled):
        text = ngettext(
            "Too many attempts. Try again in %(count)d second.",
            "Too many attempts. Try again in %(count)d seconds.",
            error.retry_after,
        )
        return text % {"count": error.retry_after}
    return str(error)
