"""A server in memory that keeps sessions by the rules of refresh, and each HTTP library as a client of it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import httpx
import httpx2
import pytest
import requests
import urllib3

from jwt_sessions.client import SessionAuth, SessionError, tokens

PASSWORD = "tr0ub4dor"
BASE = "https://id.example.com/auth/"
API = "https://id.example.com/api/"
FOREIGN = "https://elsewhere.example.com/"
SYNC = ["httpx", "httpx2", "requests"]
ASYNC = ["httpx-async", "httpx2-async"]
EVERY_CLIENT = SYNC + ASYNC


class FakeClock:
    """The two clocks of the client's machine, and the true time, which the server has."""

    def __init__(self) -> None:
        self.now, self.wall_error, self.slept = 1_800_000_000.0, 0.0, 0.0

    def time(self) -> float:
        return self.now + self.wall_error

    def monotonic(self) -> float:
        return self.now - self.slept

    def shift(self, seconds: float, *, asleep: bool = False) -> None:
        self.now += seconds
        self.slept += seconds if asleep else 0

    def install(self, monkeypatch: Any) -> FakeClock:
        monkeypatch.setattr(tokens, "time", self)
        return self


@dataclass
class Answer:
    """What the server says. An exception instead is raised to whoever asks, as if the network had failed."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return b"" if self.body is None else json.dumps(self.body).encode()

    @property
    def all_headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json", **self.headers}


@dataclass
class Asked:
    """A request as the server got it."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes

    @property
    def token(self) -> str | None:
        return self.headers.get("authorization", "").removeprefix("Bearer ") or None

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)


def refusal(code: str, status: int = 401, *, terminal: bool = False, **more: Any) -> Answer:
    return Answer(status, {"detail": "Refused.", "code": code, "terminal": terminal, **more})


class TokenServer:
    """
    One user's sessions.

    ``next_answers`` takes the place of what the token endpoint would say, ``resources`` answers at own URLs. An answer
    that is an exception class is a failure of the network; with ``lost`` it fails after the server has rotated.
    """

    lifetime = 300

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.asked: list[Asked] = []
        self.next_answers: list[Answer | str] = []
        self.resources: dict[str, Callable[[Asked], Answer]] = {}
        self.delay = 0.0
        self._lock = threading.Lock()
        self._number = 0
        self.generation: dict[str, int] = {}
        self.ended: dict[str, str] = {}
        self.valid: dict[str, tuple[str, float]] = {}

    # What a test asks

    def at(self, path: str) -> list[Asked]:
        """The requests to a path."""
        return [each for each in self.asked if urlsplit(each.url).path == path]

    @property
    def refreshes(self) -> int:
        return len(self.at("/auth/token/"))

    def expire(self) -> None:
        """Let all access tokens expire before their time."""
        self.valid = {token: (sid, 0.0) for token, (sid, _end) in self.valid.items()}

    def end(self, reason: str) -> None:
        self.ended = dict.fromkeys(self.generation, reason) | self.ended

    # What it answers

    def answer(self, asked: Asked) -> Answer | str:
        with self._lock:
            self.asked.append(asked)
            path = urlsplit(asked.url).path
            if not asked.url.startswith("https://id.example.com/"):
                return self.resources.get(asked.url, lambda _asked: Answer(200, {"host": "foreign"}))(asked)
            if path == "/auth/token/" and self.next_answers:
                answer = self.next_answers.pop(0)
                if answer == "lost":
                    self._refresh(asked)
                return answer
            endpoints = {"/auth/login/": self._login, "/auth/token/": self._refresh, "/auth/logout/": self._logout}
            result = endpoints.get(path, self.resources.get(asked.url, self._resource))(asked)
        if path == "/auth/token/":
            time.sleep(self.delay)
        return result

    def _tokens(self, sid: str) -> Answer:
        self._number += 1
        access = f"access-{sid}-{self._number}"
        self.valid[access] = (sid, self.clock.now + self.lifetime)
        return Answer(
            200,
            {
                "access_token": access,
                "token_type": "Bearer",
                "expires_in": self.lifetime,
                "refresh_in": self.lifetime * 4 // 5,
                "refresh_token": f"refresh-{sid}-{self.generation[sid]}",
                "session_id": sid,
            },
        )

    def _login(self, asked: Asked) -> Answer:
        if asked.json["password"] != PASSWORD:
            return refusal("INVALID_CREDENTIALS")
        sid = f"s{len(self.generation)}"
        self.generation[sid] = 0
        return self._tokens(sid)

    def _refresh(self, asked: Asked) -> Answer:
        _kind, sid, generation = asked.json["refresh_token"].split("-")
        if sid in self.ended:
            return refusal("SESSION_ENDED", 400, terminal=True, reason=self.ended[sid])
        behind = self.generation[sid] - int(generation)
        if behind > 1:
            self.ended[sid] = "token_reuse"
            return refusal("INVALID_TOKEN", 400, terminal=True)
        if behind == 0:
            self.generation[sid] += 1
        return self._tokens(sid)

    def _logout(self, asked: Asked) -> Answer:
        self.ended[asked.json["refresh_token"].split("-")[1]] = "logout"
        return Answer(204)

    def _resource(self, asked: Asked) -> Answer:
        sid, end = self.valid.get(asked.token or "", ("", 0.0))
        if not sid:
            return refusal("INVALID_TOKEN", terminal=True)
        if end <= self.clock.now:
            return refusal("EXPIRED_TOKEN")
        if sid in self.ended:
            return refusal("SESSION_ENDED", terminal=True, reason=self.ended[sid])
        return Answer(200, {"token": asked.token, "body": asked.body.decode()})


# The libraries


def _httpx_transport(library: Any, server: TokenServer) -> Any:
    def answer(request: Any, body: bytes) -> Any:
        said = server.answer(Asked(request.method, str(request.url), dict(request.headers), body))
        if isinstance(said, str):
            raise library.ConnectError(said)
        return library.Response(said.status, headers=said.all_headers, content=said.content)

    class Transport(library.BaseTransport, library.AsyncBaseTransport):
        def handle_request(self, request: Any) -> Any:
            return answer(request, b"".join(request.stream))

        async def handle_async_request(self, request: Any) -> Any:
            return answer(request, b"".join([part async for part in request.stream]))

    return Transport()


class _Adapter(requests.adapters.HTTPAdapter):
    def __init__(self, server: TokenServer) -> None:
        super().__init__()
        self.server = server

    def send(self, request: requests.PreparedRequest, **_options: Any) -> requests.Response:
        body = request.body or b""
        if not isinstance(body, str | bytes):
            body = b"".join(body)
        body = body.encode() if isinstance(body, str) else body
        headers = {name.lower(): value for name, value in request.headers.items()}
        said = self.server.answer(Asked(request.method, request.url, headers, body))
        if isinstance(said, str):
            raise requests.ConnectionError(said, request=request)
        raw = urllib3.HTTPResponse(
            BytesIO(said.content), headers=said.all_headers, status=said.status, preload_content=False
        )
        return self.build_response(request, raw)


def open_client(kind: str, server: TokenServer, **options: Any) -> Any:
    """A client of a library whose requests end at the server in memory."""
    if kind == "requests":
        http = requests.Session()
        http.mount("https://", _Adapter(server))
        for name, value in options.items():
            setattr(http, name, value)
        return http
    library = httpx2 if kind.startswith("httpx2") else httpx
    client = library.AsyncClient if kind.endswith("async") else library.Client
    return client(transport=_httpx_transport(library, server), follow_redirects=True, **options)


def make_auth(kind: str, server: TokenServer, **options: Any) -> SessionAuth:
    """A ``SessionAuth`` whose own calls end at the server in memory too."""
    return SessionAuth(BASE, client=open_client(kind.removesuffix("-async"), server), **options)


class Program:
    """A program that has signed in and calls an API by one of the libraries."""

    def __init__(self, kind: str, server: TokenServer, **options: Any) -> None:
        self.kind, self.server = kind, server
        self.auth = make_auth(kind, server, **options)

    def sign_in(self, password: str = PASSWORD, **more: Any) -> Program:
        if self.kind.endswith("async"):
            asyncio.run(self.auth.asign_in("ann", password, **more))
        else:
            self.auth.sign_in("ann", password, **more)
        return self

    def sign_out(self) -> None:
        if self.kind.endswith("async"):
            asyncio.run(self.auth.asign_out())
        else:
            self.auth.sign_out()

    def call(self, method: str = "GET", url: str = API, **options: Any) -> Any:
        """Send a request with a client of its own, and answer its response."""
        if self.kind.endswith("async"):
            return asyncio.run(self._acall(method, url, **options))
        with open_client(self.kind, self.server, auth=self.auth) as http:
            return http.request(method, url, **options)

    async def _acall(self, method: str, url: str, **options: Any) -> Any:
        async with open_client(self.kind, self.server, auth=self.auth) as http:
            return await http.request(method, url, **options)


def refused(program: Program, **options: Any) -> SessionError:
    """The error that a call of a program ends with."""
    with pytest.raises(SessionError) as caught:
        program.call(**options)
    return caught.value
