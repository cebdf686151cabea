"""The server of a session: which requests are for it, and the client's own calls to it."""

from __future__ import annotations

import importlib
import inspect
import ipaddress
import sys
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

from jwt_sessions.client.errors import UNEXPECTED_ANSWER, UNREACHABLE, SessionError

# By order of preference: the class of a client, how a call is told to use no ``auth=`` of the client's and to follow no
# redirect (which could carry a token to another host), and the base of what it raises if there is no answer.
LIBRARIES: Mapping[str, tuple[str, Mapping[str, Any], str]] = {
    "httpx": ("Client", {"auth": None, "follow_redirects": False}, "HTTPError"),
    "httpx2": ("Client", {"auth": None, "follow_redirects": False}, "HTTPError"),
    "requests": ("Session", {"auth": lambda request: request, "allow_redirects": False}, "RequestException"),
}
# Seconds for each step of a call. Well below the grace period of a refresh token whose answer is lost.
TIMEOUT = 10.0
DEFAULT_PORTS = {"http": 80, "https": 443}


class Server:
    """
    The endpoints of ``jwt_sessions`` at one address.

    Arguments:
        base_url: Where the project includes ``jwt_sessions.urls``.
        client: A client of httpx, httpx2 or requests, not an asynchronous one, to make calls with. By default each call
            has one of its own, of the library that the program has imported or, failing that, has installed.

    Raises:
        ValueError: The address is no https URL (http will do for this machine itself), or has more than a path.
        TypeError: The client is none of these.
    """

    def __init__(self, base_url: str, client: Any = None) -> None:
        parts = urlsplit(base_url)
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("base_url has a user name, a query or a fragment.")
        origin = _origin(parts)
        if origin is None or (parts.scheme != "https" and not _is_loopback(origin[1])):
            raise ValueError("base_url has to be an https URL; http is for localhost, 127.0.0.0/8 and [::1] only.")
        self._library = None if client is None else library_of(client)
        if client is not None and inspect.iscoroutinefunction(client.post):
            raise TypeError("client has to be a synchronous one: calls of async programs are made in a thread.")
        self.base_url = base_url.rstrip("/") + "/"
        self._origin = origin
        self._client = client

    def is_own(self, url: str) -> bool:
        """Whether a URL is of this server's origin (RFC 6454 §4)."""
        return _origin(urlsplit(url)) == self._origin

    def post(self, path: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """
        Call an endpoint and answer what it says.

        Raises:
            SessionError: The server refuses, is not reached, or answers something else.
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        library = self._library or _library_at_hand()
        module = importlib.import_module(library)
        kind, options, error = LIBRARIES[library]
        try:
            # A client that was given stays open.
            with getattr(module, kind)() if self._client is None else nullcontext(self._client) as client:
                answer = client.post(self.base_url + path, json=given, timeout=TIMEOUT, **options)
        except (getattr(module, error), OSError) as failure:
            raise SessionError(UNREACHABLE, f"No answer of {self.base_url}: {type(failure).__name__}.") from failure
        body = body_of(answer)
        if 200 <= answer.status_code < 300:
            return body
        raise _refusal(answer, body)


def body_of(response: Any) -> dict[str, Any]:
    """The JSON object that an answer of any of the libraries has for a body; empty if it is something else."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _refusal(answer: Any, body: dict[str, Any]) -> SessionError:
    status, code = answer.status_code, body.get("code")
    retry_after = _retry_after(answer.headers)
    if not isinstance(code, str):
        # Of a proxy, or not of these endpoints: it says nothing about the session.
        detail = f"HTTP status {status}. Is base_url right, or is there a proxy?"
        return SessionError(UNEXPECTED_ANSWER, detail, status=status, retry_after=retry_after)
    detail = body.get("detail") or body.get("error_description") or ""
    terminal = body.get("terminal") is True
    return SessionError(code, str(detail), str(body.get("reason", "")), terminal, status, retry_after)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait (RFC 9110 §10.2.3). A date counts from the answer's own, as this machine's clock may be wrong."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
        now = parsedate_to_datetime(headers["Date"]) if "Date" in headers else datetime.now(UTC)
        return max(0.0, (moment - now).total_seconds())
    except (TypeError, ValueError):
        return None


def _origin(parts: SplitResult) -> tuple[str, str, int] | None:
    try:
        host, port = parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]
        host = host if host.isascii() else host.encode("idna").decode()
    except (KeyError, ValueError):
        return None
    return (parts.scheme, host, port) if host else None


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def library_of(thing: Any) -> str:
    """
    The library that a client or a request is of, also one of a subclass.

    Raises:
        TypeError: It is of none of them.
    """
    for base in type(thing).__mro__:
        library = base.__module__.partition(".")[0]
        if library in LIBRARIES:
            return library
    raise TypeError(f"{type(thing).__name__} is of none of {', '.join(LIBRARIES)}.")


def _library_at_hand() -> str:
    for library in sorted(LIBRARIES, key=lambda name: name not in sys.modules):
        with suppress(ImportError):
            importlib.import_module(library)
            return library
    raise ImportError(f"A session needs one of {', '.join(LIBRARIES)}. None is installed.")
