"""``SessionAuth``: a session as the ``auth=`` of an HTTP client."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Generator
from functools import cache, partial
from typing import Any
from weakref import WeakKeyDictionary

from jwt_sessions.client.server import Server, body_of, library_of
from jwt_sessions.client.source import TokenSource
from jwt_sessions.client.stores import MemoryStore, Store

BACKGROUND = "X-Session-Background"
FIXED = frozenset({"tenantId", "audience", "delivery"})
# A token that may have been good is refused: it expired, or another program has signed in again since.
WORTH_A_REFRESH = frozenset({"EXPIRED_TOKEN", "SESSION_ENDED"})


class SessionAuth:
    """
    A session as the ``auth=`` of ``httpx.Client``, ``httpx.AsyncClient``, the same of httpx2, and ``requests.Session``.

    Requests to the origin of ``base_url`` get an access token, which is refreshed in time; all others are left as they
    are. One object may serve any number of clients, threads and event loops.

    Arguments:
        base_url: Where the project includes ``jwt_sessions.urls``, as ``https://example.com/auth/``. Plain http will do
            for localhost, 127.0.0.0/8 and [::1] only.
        store: Where the session is kept, by default in memory.
        tenant: The tenant to act for, by default none.
        audience: The audience that tokens are for, by default the server's.
        username_field: The name of the user's name at ``login/``: ``USERNAME_FIELD`` of the server's user model.
        client: A synchronous client of one of the libraries for this object's own calls, for example one with a proxy
            or an authority of yours. By default each call has a client of its own.

    Raises:
        ValueError, TypeError: The address or the client will not do.
    """

    def __init__(
        self,
        base_url: str,
        *,
        store: Store | None = None,
        tenant: str | None = None,
        audience: str | None = None,
        username_field: str = "username",
        client: Any = None,
    ) -> None:
        self._server = Server(base_url, client)
        self._source = TokenSource(self._server, MemoryStore() if store is None else store, tenant, audience)
        self._username_field = username_field
        # Tasks wait for each other in their own event loop, so that one refresh takes one thread.
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"SessionAuth({self._server.base_url!r}, tenant={self._source.tenant!r})"

    def sign_in(self, username: str, password: str, **more: Any) -> None:
        """
        Sign in, and keep the session in place of the one before, which lives on at the server.

        Arguments:
            username: The user's name.
            password: The password.
            more: Further parameters of ``login/``: ``device_name``, ``replace_others``.

        Raises:
            SessionError: ``INVALID_CREDENTIALS``, or any other refusal, or the server is not reached.
            ValueError: A parameter that this object sets itself.
        """
        if not FIXED.isdisjoint(more):
            raise ValueError("tenant and audience are given to SessionAuth, and tokens come in the body.")
        self._source.sign_in({**more, self._username_field: username, "password": password})

    def sign_out(self) -> None:
        """
        End the session, and forget it.

        Raises:
            SessionError: The server is not reached. The session is kept, to try again.
        """
        self._source.sign_out()

    async def asign_in(self, username: str, password: str, **more: Any) -> None:
        """``sign_in`` for asynchronous programs."""
        await asyncio.to_thread(self.sign_in, username, password, **more)

    async def asign_out(self) -> None:
        """``sign_out`` for asynchronous programs."""
        await asyncio.to_thread(self.sign_out)

    # httpx and httpx2

    @property  # type: ignore[misc]  # only to be read
    def __class__(self) -> Any:
        """
        What ``isinstance`` sees: also an ``Auth`` of httpx and httpx2, if they are imported.

        They take nothing else for more than a function that changes a request, and to inherit from their classes would
        be to import them.
        """
        modules = [sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules]
        # httpx2 can take the place of httpx, and then both are one.
        auths: list[Any] = [module.Auth for module in modules if hasattr(module, "Auth")]
        own: Any = type(self)
        return _seen_as(own, *dict.fromkeys(auths))

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """What ``httpx.Client`` asks of an ``Auth``."""
        if not self._server.is_own(str(request.url)):
            yield request
            return
        token = self._source.access_token(background=_is_background(request))
        response = yield _with_token(request, token)
        if response.status_code == 401:
            response.read()
            if self._is_refused(response, token) and _is_replayable(response.request):
                token = self._source.access_token(background=_is_background(request))
                yield _with_token(response.request, token)

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """What ``httpx.AsyncClient`` asks of an ``Auth``."""
        if not self._server.is_own(str(request.url)):
            yield request
            return
        token = await self._access_token(background=_is_background(request))
        response = yield _with_token(request, token)
        if response.status_code == 401:
            await response.aread()
            if self._is_refused(response, token) and _is_replayable(response.request):
                token = await self._access_token(background=_is_background(request))
                yield _with_token(response.request, token)

    async def _access_token(self, *, background: bool) -> str:
        token = self._source.ready()
        if token is not None:
            return token
        async with self._turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            # In a thread, as the store, its lock and the call would hold up the event loop.
            token = self._source.ready()
            if token is None:
                token = await asyncio.to_thread(self._source.access_token, background=background)
            return token

    # requests

    def __call__(self, request: Any) -> Any:
        """What ``requests.Session`` asks of an ``auth``."""
        if not self._server.is_own(request.url):
            return request
        token = self._source.access_token(background=_is_background(request))
        request.register_hook("response", partial(self._repeated, token=token))
        return _with_token(request, token)

    def _repeated(self, response: Any, *, token: str, **options: Any) -> Any:
        """The answer to a request that is sent once more, if that is worth it; else the one it was given."""
        request = response.request
        if response.status_code != 401 or not self._is_refused(response, token):
            return response
        if not isinstance(request.body, str | bytes | None):
            return response
        again = _with_token(request.copy(), self._source.access_token(background=_is_background(request)))
        response.close()
        repeated = response.connection.send(again, **options)
        repeated.request = again
        repeated.history.append(response)
        return repeated

    # Both

    def _is_refused(self, response: Any, token: str) -> bool:
        """Whether the server refuses the token: the server, and no other that a redirect led to."""
        refused = self._server.is_own(str(response.request.url)) and body_of(response).get("code") in WORTH_A_REFRESH
        if refused:
            self._source.refuse(token)
        return refused


def _with_token(request: Any, token: str) -> Any:
    request.headers["Authorization"] = f"Bearer {token}"
    return request


def _is_background(request: Any) -> bool:
    """Whether a request is no activity of the user; then neither is its refresh."""
    return bool(request.headers.get(BACKGROUND) == "1")


def _is_replayable(request: Any) -> bool:
    """Whether the body of a request of httpx or httpx2 is bytes, which unlike a stream can be sent again."""
    return isinstance(request.stream, sys.modules[library_of(request)].ByteStream)


@cache
def _seen_as(*bases: Any) -> Any:
    return bases[0] if len(bases) == 1 else type(bases[0].__name__, bases, {})
