"""The refresh cookie: how it is set, and who may use it."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse
from django.utils.http import is_same_domain

from jwt_sessions import conf
from jwt_sessions.exceptions import CrossSiteRequest


def refresh_cookie(request: HttpRequest) -> str | None:
    """
    The refresh token in the request's cookie.

    Read from the header itself: Django strips more white space than browsers do, and takes the last of several. A
    sibling subdomain could set a cookie whose name differs by a space from U+2000, and it would count as ours.
    """
    name = conf.current().COOKIE.full_name
    for pair in str(request.META.get("HTTP_COOKIE", "")).split(";"):
        key, _, value = pair.strip(" \t").partition("=")
        if key == name:
            return value.removeprefix('"').removesuffix('"') or None
    return None


def set_refresh_cookie(response: HttpResponse, token: str, expires: datetime | None, now: datetime) -> None:
    """Hand a refresh token to a browser in a cookie that no script can read."""
    _set(response, token, None if expires is None else max(0, int((expires - now).total_seconds())))


def clear_refresh_cookie(request: HttpRequest, response: HttpResponse) -> None:
    """
    Make a browser forget the cookie, unless a foreign site asks for that: it would sign the user out.

    The attributes have to be those it was set with.
    """
    if is_same_site(request):
        _set(response, "", 0)


def _set(response: HttpResponse, value: str, max_age: int | None) -> None:
    cookie = conf.current().COOKIE
    response.set_cookie(
        cookie.full_name,
        value,
        max_age=max_age,
        path=cookie.PATH,
        domain=cookie.DOMAIN,
        secure=cookie.SECURE,
        httponly=True,
        samesite=cookie.SAMESITE,
    )


def check_same_site(request: HttpRequest) -> None:
    """
    Refuse what a foreign site makes a browser send: the cookie would come along without the user's will.

    Raises:
        CrossSiteRequest: See :func:`is_same_site`.
    """
    if not is_same_site(request):
        raise CrossSiteRequest


def is_same_site(request: HttpRequest) -> bool:
    """
    Whether a request comes from this origin, a trusted one, or no browser.

    ``Origin`` (RFC 6454 §7) decides where it names this host or one of ``CSRF_TRUSTED_ORIGINS``; else
    ``Sec-Fetch-Site`` (W3C Fetch Metadata §2.3); a request with neither comes from no browser.
    """
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if origin is not None and _trusted(origin, request):
        return True
    return site in ("same-origin", "none") or (origin is None and site is None)


def _trusted(origin: str, request: HttpRequest) -> bool:
    if origin == f"{request.scheme}://{request.get_host()}":
        return True
    try:
        given = urlsplit(origin)
    except ValueError:
        return False
    trusted = (urlsplit(each) for each in django_settings.CSRF_TRUSTED_ORIGINS)
    return any(
        given.scheme == each.scheme and is_same_domain(given.netloc.lower(), each.netloc.lower().lstrip("*"))
        for each in trusted
    )
