"""The page itself, and what it shares with the views that change something."""

from __future__ import annotations

from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.views.decorators.cache import cache_control
from django.views.decorators.clickjacking import xframe_options_deny
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import View

from jwt_sessions.devices import results
from jwt_sessions.devices.listing import Device, devices_of
from jwt_sessions.devices.visitor import visitor_of
from jwt_sessions.http.reports import hide_secrets
from jwt_sessions.models.session import DEVICE_NAME_LENGTH

# Whether or not the project has the middleware that does so. In a frame of a foreign site, which one cannot see, one
# click would end a session.
PROTECTIONS = (
    csrf_protect,
    xframe_options_deny,
    cache_control(no_store=True),
    sensitive_post_parameters("password"),
    # Users whom only the refresh cookie knows have not logged in to Django; who nobody is, each view sees itself.
    login_not_required,
)


class DevicesView(View):
    """
    Base of the views of the page.

    What ends sessions is stored whatever becomes of the answer, so no transaction spans a request.
    """

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        view = super().as_view(**initkwargs)
        for protect in PROTECTIONS:
            view = protect(view)
        for alias in connections:
            view = transaction.non_atomic_requests(using=alias)(view)
        return view

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        hide_secrets(request)
        self.now = timezone.now()
        self.visitor = visitor_of(request, self.now)
        return super().dispatch(request, *args, **kwargs)

    @cached_property
    def devices(self) -> list[Device]:
        """The devices of the visitor; none where nobody is signed in."""
        return [] if self.visitor is None else devices_of(self.visitor, self.now)

    @property
    def others(self) -> list[Device]:
        """Those of them that are elsewhere."""
        return [device for device in self.devices if not device.is_current]

    def list_page(self, status_text: object = "", status: int = 200) -> HttpResponse:
        """The list. ``status_text`` is what has just been done, or why it was not."""
        context = {
            "visitor": self.visitor,
            "devices": self.devices,
            "others": self.others,
            "status_text": status_text,
            "device_name_length": DEVICE_NAME_LENGTH,
            "login_url": login_url(),
        }
        return render(self.request, "jwt_sessions/devices/list.html", context, status=status)


class ListView(DevicesView):
    """The devices of who looks at them, or that nobody is signed in."""

    def get(self, request: HttpRequest) -> HttpResponse:
        result = results.kept(request)
        response = self.list_page(result or "", status=200 if self.visitor else 403)
        if results.COOKIE in request.COOKIES:
            results.forget(response)
        return response


def login_url() -> str:
    """``LOGIN_URL``, which leads back to the list."""
    return redirect_to_login(reverse("jwt_sessions_devices:list"), django_settings.LOGIN_URL).url
