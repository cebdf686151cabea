"""What a change has done, said on the page that the browser is redirected to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass

from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

COOKIE = "jwt_sessions_devices_result"
MAX_AGE = 60  # seconds


@dataclass(frozen=True, slots=True)
class Result:
    """One of :data:`MESSAGES`, with how many devices or which device it is about."""

    kind: str
    count: int = 0
    name: str = ""

    def __str__(self) -> str:
        return MESSAGES[self.kind](self)


MESSAGES: Mapping[str, Callable[[Result], str]] = {
    "renamed": lambda result: _("The device is now called “%(name)s”.") % {"name": result.name},
    "ended": lambda result: _("%(name)s is signed out.") % {"name": result.name},
    "ended_many": lambda result: (
        ngettext("%(count)d device was signed out.", "%(count)d devices were signed out.", result.count)
        % {"count": result.count}
    ),
    "signed_out": lambda result: _("You have signed out."),
    "signed_out_everywhere": lambda result: (
        ngettext(
            "%(count)d device was signed out. You are signed out here too.",
            "%(count)d devices were signed out. You are signed out here too.",
            result.count,
        )
        % {"count": result.count}
    ),
    "gone": lambda result: _("That device is no longer signed in."),
}


def keep(response: HttpResponse, request: HttpRequest, result: Result) -> None:
    """
    Keep a result for the next page, in a signed cookie: not every project has sessions or messages of Django.

    It is signed so that nobody else can make the page say something.
    """
    response.set_cookie(
        COOKIE,
        signing.dumps(astuple(result), salt=COOKIE),
        max_age=MAX_AGE,
        path=reverse("jwt_sessions_devices:list"),
        secure=request.is_secure(),
        httponly=True,
        samesite="Strict",
    )


def kept(request: HttpRequest) -> Result | None:
    """The result that the page before has kept, if there is one."""
    try:
        result = Result(*signing.loads(request.COOKIES.get(COOKIE, ""), salt=COOKIE, max_age=MAX_AGE))
    except signing.BadSignature:
        return None
    return result if result.kind in MESSAGES else None


def forget(response: HttpResponse) -> None:
    """A result is said once."""
    response.delete_cookie(COOKIE, path=reverse("jwt_sessions_devices:list"), samesite="Strict")
