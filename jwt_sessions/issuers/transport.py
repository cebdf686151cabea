"""
One bounded HTTP request.

The server is trusted with keys but not with this process: however slowly it answers, the request ends at its
deadline, and however much it sends, no more than a limit is kept.
"""

from __future__ import annotations

import base64
import http.client
import io
import re
import socket
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any
from urllib import request as urllib
from urllib.parse import quote_plus


class Unusable(Exception):
    """There is no good answer; the text says why, and quotes nothing that was sent or received."""


class TooLarge(Unusable):
    """The answer is larger than is taken."""


@dataclass(frozen=True, slots=True)
class Source:
    """
    A document elsewhere.

    Attributes:
        url: Where it is.
        timeout: The longest time to fetch it, in seconds, from looking up the name to the last byte.
        limit: The most bytes that it may have.
        accept: The media types that can be read (RFC 9110 §12.5.1).
        client_id: Who asks, by HTTP Basic; ``None`` for nobody in particular.
        client_secret: The secret of ``client_id``.
    """

    url: str
    timeout: float
    limit: int
    accept: str = "application/json, application/jwk-set+json"
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What the server said.

    Attributes:
        body: The document; ``None`` where it has not changed.
        media_type: What the body is, in lower case and without parameters; "" where the server does not say.
        etag: Its entity tag, or "".
        max_age: How long it may be kept, in seconds (RFC 9111 §5.2.2.1), or ``None`` where the server does not say.
    """

    body: bytes | None
    media_type: str
    etag: str
    max_age: int | None


def get(source: Source, etag: str = "") -> Answer:
    """
    Fetch a document.

    Redirects are not followed: whoever can make the server redirect would choose the keys.

    Args:
        source: Where it is.
        etag: The entity tag of what is known already.

    Raises:
        Unusable: No answer in time, not status 200 (or 304, where ``etag`` is given), or TooLarge.
    """
    deadline = monotonic() + source.timeout
    headers = {"Accept": source.accept, "User-Agent": "django-jwt-sessions"}
    if etag:
        headers["If-None-Match"] = etag
    if source.client_id is not None:
        # RFC 6749 §2.3.1: form-encoded first, so that a colon in the id is not where the secret begins.
        pair = f"{quote_plus(source.client_id)}:{quote_plus(source.client_secret or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    request = urllib.Request(source.url, headers=headers)  # noqa: S310 - the settings take http and https only
    try:
        with _opener(deadline).open(request, timeout=source.timeout) as response:
            status = response.status
            body = response.read(source.limit + 1)
            received = response.headers
    except (OSError, http.client.HTTPException, ValueError) as error:
        wrapped = getattr(error, "reason", None)
        cause = wrapped if isinstance(wrapped, Exception) else error
        is_late = isinstance(cause, TimeoutError)
        raise Unusable(f"no answer in {source.timeout:g} s" if is_late else type(cause).__name__) from None
    if status != 200 and not (status == 304 and etag):
        raise Unusable(f"status {status}")
    if len(body) > source.limit:
        raise TooLarge(f"more than {source.limit} bytes")
    return Answer(
        body=body if status == 200 else None,
        media_type=received.get("Content-Type", "").partition(";")[0].strip().lower(),
        etag=received.get("ETag", etag),
        max_age=_max_age(received.get("Cache-Control", "")),
    )


def _max_age(cache_control: str) -> int | None:
    # RFC 9111 §5.2.2.4: no-cache means to ask each time.
    if re.search(r"(?:^|[\s,])no-(?:cache|store)\b", cache_control, re.IGNORECASE):
        return 0
    match = re.search(r'(?:^|[\s,])max-age="?(\d{1,9})', cache_control, re.IGNORECASE)
    return int(match[1]) if match else None


def _opener(deadline: float) -> urllib.OpenerDirector:
    """What opens URLs, through the proxy of the environment if there is one, and follows no redirects."""
    opener = urllib.OpenerDirector()
    # Plain http is for this machine, and so not for a proxy.
    proxies = {scheme: proxy for scheme, proxy in urllib.getproxies().items() if scheme == "https"}
    for handler in (urllib.ProxyHandler(proxies), _Handler(deadline)):
        opener.add_handler(handler)
    return opener


class _Handler(urllib.AbstractHTTPHandler):
    http_request = https_request = urllib.AbstractHTTPHandler.do_request_

    def __init__(self, deadline: float) -> None:
        super().__init__()
        self.deadline = deadline

    def http_open(self, req: urllib.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_Connection, self.deadline), req)

    def https_open(self, req: urllib.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_SecureConnection, self.deadline), req)


class _Connection(http.client.HTTPConnection):
    def __init__(self, deadline: float, host: str, **options: Any) -> None:
        super().__init__(host, **options)
        self.deadline = deadline

    def connect(self) -> None:
        super().connect()
        self.sock = _Timed(self.sock, self.deadline)


class _SecureConnection(_Connection, http.client.HTTPSConnection):
    """The same over TLS: what stands beside it connects."""


class _Timed:
    """
    What ``http.client`` needs of a socket, with one deadline for all of it.

    A socket's own timeout begins anew with each byte: a server that drips would keep a thread for ever.
    """

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._socket = connected
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._socket.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._socket, self._deadline))

    def close(self) -> None:
        self._socket.close()


class _TimedReader(io.RawIOBase):
    def __init__(self, connected: socket.socket, deadline: float) -> None:
        super().__init__()
        self._socket = connected
        self._deadline = deadline
        self._raw = connected.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
