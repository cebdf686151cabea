"""Where access tokens come from: one session, kept in a store, refreshed in time, by one caller at a time."""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from jwt_sessions.client import tokens
from jwt_sessions.client.errors import NO_SESSION, STORE_FAILED, SessionError
from jwt_sessions.client.server import Server
from jwt_sessions.client.stores import Store
from jwt_sessions.client.tokens import Moment, Tokens

# Seconds between two refreshes of which the first failed, unless the server says how many.
SHORTEST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
NOBODY = SessionError(NO_SESSION, "Nobody is signed in.", terminal=True)


@dataclass(frozen=True, slots=True)
class Pause:
    """No refresh is sent for a while after one that failed. Those who need one get the same error."""

    error: SessionError
    seconds: float
    since: Moment

    def is_over(self) -> bool:
        """Whether a refresh may be tried again."""
        return self.since.elapsed() >= self.seconds


class TokenSource:
    """
    The access tokens of a session, for one tenant and audience, to any number of threads.

    Two locks stand in the way of a refresh: one of this object, so that its threads share one refresh and its failure,
    and inside it that of the store, for other objects and processes. Neither is needed for the session to survive: the
    server answers a refresh token that comes twice with the identical successor.

    Arguments:
        server: Where to refresh.
        store: Where the session is kept.
        tenant: The tenant that access tokens are for, or none.
        audience: The audience that they are for, or the server's default.
    """

    def __init__(self, server: Server, store: Store, tenant: str | None, audience: str | None) -> None:
        self.server = server
        self.store = store
        self.tenant = tenant
        self.audience = audience
        self._turn = threading.Lock()
        self._tokens: Tokens | None = None
        self._refused: str | None = None
        self._pause: Pause | None = None
        self._failures = 0
        self._end: SessionError | None = None

    def ready(self) -> str | None:
        """An access token that is at hand, without a look at the store, a call or a wait."""
        held = self._tokens
        if held is None or not self._is_good(held):
            return None
        # While another thread refreshes, or may not, the old token will do.
        return held.kept.access_token if held.is_fresh() or self._turn.locked() or self._is_paused() else None

    def refuse(self, access_token: str) -> None:
        """Note that the server takes an access token no longer."""
        held = self._tokens
        if held is not None and held.kept.access_token == access_token:
            self._refused = access_token

    def access_token(self, *, background: bool = False) -> str:
        """
        An access token, refreshed if it is time.

        Arguments:
            background: Whether it is for a request that is no activity of the user.

        Raises:
            SessionError: There is none to be had.
        """
        token = self.ready()
        if token is not None:
            return token
        with self._turn:
            held = self._tokens
            # Another thread may have refreshed meanwhile.
            if held is None or not (self._is_good(held) and held.is_fresh()):
                held = self._renewed(background)
            return held.kept.access_token

    def sign_in(self, parameters: dict[str, Any]) -> None:
        """
        Begin a session, and forget the one before.

        Raises:
            SessionError: The server refuses or is not reached; the session before is kept then.
        """
        with self._turn, self._opened_store():
            self._load()  # What is no session is not overwritten.
            asked = Moment()
            own = {"tenantId": self.tenant, "audience": self.audience}
            self._keep(self.server.post("login/", {**own, **parameters}), asked)

    def sign_out(self) -> None:
        """
        End the session at the server, and forget it.

        Raises:
            SessionError: The server is not reached; the session is kept then.
        """
        with self._turn, self._opened_store():
            stored = self._load()
            if stored is not None:
                self.server.post("logout/", {"refresh_token": stored.kept.refresh_token})
            self._forget(SessionError(NO_SESSION, "Signed out.", terminal=True))

    def _renewed(self, background: bool) -> Tokens:
        """Tokens from the store or the server; the old ones if they are still good and there are no others."""
        try:
            return self._looked_up(background)
        except SessionError as error:
            if error.terminal:
                self._tokens = None
                raise
            if not self._is_paused():
                self._wait_after(error)
            if self._tokens is not None and self._is_good(self._tokens):
                return self._tokens
            raise

    def _looked_up(self, background: bool) -> Tokens:
        # Of those who wait for a store that cannot be had, only the first waits for long.
        self._raise_in_pause(STORE_FAILED)
        with self._opened_store():
            stored = self._load()
            if stored is None:
                # Those who come late learn why, too.
                raise copy.copy(self._end or NOBODY)
            self._take(stored)
            # Another thread or program may have refreshed, or signed in, also while this one pauses.
            if self._tokens is not None and self._tokens.is_fresh() and self._is_good(self._tokens):
                return self._tokens
            self._raise_in_pause()
            return self._refreshed(stored, background)

    def _refreshed(self, stored: Tokens, background: bool) -> Tokens:
        parameters = {
            "grant_type": "refresh_token",
            "refresh_token": stored.kept.refresh_token,
            "tenantId": self.tenant,
            "audience": self.audience,
            "background": background or None,
        }
        asked = Moment()
        try:
            return self._keep(self.server.post("token/", parameters), asked)
        except SessionError as error:
            if error.terminal:
                self._forget(copy.copy(error))
            raise

    def _keep(self, answer: dict[str, Any], asked: Moment) -> Tokens:
        """
        Save tokens, and only then use them.

        Until an access token of the new generation is used, the server takes the old refresh token for a day, so a
        program that is killed here goes on with what the store has.
        """
        new = tokens.from_answer(answer, asked, self.server.base_url, self.tenant, self.audience)
        self.store.save(new.text())
        self._tokens, self._refused, self._pause, self._failures, self._end = new, None, None, 0, None
        return new

    def _forget(self, end: SessionError) -> None:
        self.store.save(None)
        self._tokens, self._pause, self._failures, self._end = None, None, 0, end

    def _take(self, stored: Tokens) -> None:
        """Hold what the store has, if it is for this tenant and audience; nothing of another session."""
        held, self._end = self._tokens, None
        if (stored.kept.tenant, stored.kept.audience) == (self.tenant, self.audience):
            # The age of what is held already is known better than a store can say.
            if held is None or held.kept.access_token != stored.kept.access_token:
                self._tokens = stored
        elif held is not None and held.kept.session_id != stored.kept.session_id:
            self._tokens = None

    def _load(self) -> Tokens | None:
        text = self.store.load()
        return None if text is None else tokens.from_text(text, self.server.base_url)

    @contextmanager
    def _opened_store(self) -> Iterator[None]:
        try:
            with self.store.lock():
                yield
        except OSError as failure:
            raise SessionError(STORE_FAILED, f"{type(failure).__name__}: {failure}") from failure

    def _is_good(self, held: Tokens) -> bool:
        return held.kept.access_token != self._refused and held.is_good()

    def _is_paused(self) -> bool:
        return self._pause is not None and not self._pause.is_over()

    def _raise_in_pause(self, code: str | None = None) -> None:
        if self._pause is not None and self._is_paused() and code in (None, self._pause.error.code):
            # A copy, as it is raised in several threads, and without what the first one met.
            raise copy.copy(self._pause.error)

    def _wait_after(self, error: SessionError) -> None:
        """Begin a pause: as long as the server asks, else growing, but no longer than there is a good token."""
        self._failures += 1
        seconds = error.retry_after
        if seconds is None:
            held = self._tokens
            left = held.seconds_left() if held is not None and self._is_good(held) else 0.0
            longest = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2**self._failures, left)
            seconds = max(SHORTEST_PAUSE, random.uniform(0, longest))  # noqa: S311  # not a secret
        self._pause = Pause(copy.copy(error), seconds, Moment())
