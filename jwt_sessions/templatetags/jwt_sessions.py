"""``{% load jwt_sessions %}``: the browser module in a template."""

from __future__ import annotations

from typing import Any

from django import template
from django.template import Context
from django.templatetags.static import static
from django.urls import reverse
from django.utils.html import format_html, json_script
from django.utils.safestring import SafeString

from jwt_sessions import conf

CONFIGURATION_ID = "jwt-sessions-config"

register = template.Library()


@register.simple_tag(takes_context=True)
def jwt_sessions_script(
    context: Context,
    *,
    tenant: str | None = None,
    audience: str | None = None,
    origins: list[str] | None = None,
    keep_alive: bool = True,
    warn_before: int = 60,
) -> SafeString:
    """
    Load the browser module and begin the session of the page, which its other modules get by ``await jwtSession``.

    Nothing that runs is inline: a Content-Security-Policy of ``script-src 'self'`` will do. Where Django or django-csp
    has a nonce for the request, the tags carry it.

    Args:
        context: The context of the template.
        tenant: The tenant of the page; if left out, the one that the tab had before.
        audience: The audience of the access tokens; if left out, the default one.
        origins: The origins that get the access token; if left out, the page's own.
        keep_alive: Whether a timer refreshes while the tab is visible.
        warn_before: How long before the session ends the event ``idle-soon`` is sent, in seconds.
    """
    options = {"tenant": tenant, "audience": audience, "origins": origins}
    configuration = {
        "module": static("jwt_sessions/session.js"),
        "base": reverse("jwt_sessions:login").removesuffix("login/"),
        "keepAlive": keep_alive,
        "warnBefore": warn_before,
        "gracePeriod": conf.current().REUSE_GRACE_PERIOD.total_seconds(),
        **{name: value for name, value in options.items() if value is not None},
    }
    nonce = _nonce(context)
    return format_html(
        '{}\n<link rel="modulepreload" href="{}"{}>\n<script type="module" src="{}"{}></script>',
        json_script(configuration, CONFIGURATION_ID),
        configuration["module"],
        nonce,
        static("jwt_sessions/start.js"),
        nonce,
    )


def _nonce(context: Context) -> SafeString:
    # Both kinds are lazy and false until they are used, so only None means that there is no nonce.
    nonce: Any = context.get("csp_nonce")
    if nonce is None:
        nonce = getattr(context.get("request"), "csp_nonce", None)
    return SafeString("") if nonce is None else format_html(' nonce="{}"', str(nonce))
