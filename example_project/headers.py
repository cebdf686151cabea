"""The Content-Security-Policy of the example project: scripts and styles from this server only, nothing inline."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
ERROR_PAGES = {404, 500}


class ContentSecurityPolicyMiddleware:
    """
    Sends the policy with every answer that has none of its own.

    From Django 6.0 on, its own middleware and ``SECURE_CSP`` do the same.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        # The pages by which Django explains an error to a developer have inline styles and scripts.
        if not (settings.DEBUG and response.status_code in ERROR_PAGES):
            response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        return response
