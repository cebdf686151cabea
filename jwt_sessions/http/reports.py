"""
What Django's error reports (pages, mails to ``ADMINS``) show of a request that carries tokens or a password.

Django hides its own session cookie in them and does not know of others. It also asks only the nearest
``sensitive_variables`` about a frame: its own, on ``authenticate``, lets the frames of authentication backends show
the password, whatever is said further out.
"""

from __future__ import annotations

from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter, get_exception_reporter_filter

from jwt_sessions import conf


class ReportFilter:
    """The project's exception reporter filter, and a little stricter."""

    def __init__(self, inner: SafeExceptionReporterFilter) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def get_safe_cookies(self, request: HttpRequest) -> dict[str, Any]:
        """The cookies, without what the refresh cookie holds."""
        cookies = dict(self._inner.get_safe_cookies(request))
        name = conf.current().COOKIE.full_name
        return {**cookies, name: self._inner.cleansed_substitute} if name in cookies else cookies

    def get_traceback_frame_variables(self, request: HttpRequest, tb_frame: FrameType) -> Any:
        """The local variables of a frame; nothing of them below a function that hides all of its own."""
        if self._inner.is_active(request) and _lies_below_sensitive_variables(tb_frame):
            return [(name, self._inner.cleansed_substitute) for name in tb_frame.f_locals]
        return self._inner.get_traceback_frame_variables(request, tb_frame)


def hide_secrets(request: HttpRequest) -> None:
    """Keep what a request carries out of the report of an error."""
    request.exception_reporter_filter = ReportFilter(get_exception_reporter_filter(request))  # type: ignore[assignment]


def _lies_below_sensitive_variables(frame: FrameType | None) -> bool:
    while frame is not None:
        wrapper = frame.f_locals.get("sensitive_variables_wrapper")
        if wrapper is not None and getattr(wrapper, "sensitive_variables", None) == "__ALL__":
            return True
        frame = frame.f_back
    return False
