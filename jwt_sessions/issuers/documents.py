"""
Documents of other servers, kept in this process.

Whatever a server does, it costs a request at most the timeout, and that at most once in a while; a known document is
used on while its server is away.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import ceil
from threading import Event, Lock, Thread
from time import monotonic
from typing import Generic, TypeVar

from jwt_sessions.issuers.transport import Source, TooLarge, Unusable, get

logger = logging.getLogger("jwt_sessions.issuers")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rhythm:
    """
    When a document is asked for. All in seconds.

    Attributes:
        lifetime: How long it is kept, where the server does not say.
        shortest: The least of what the server may say.
        longest: The most of what the server may say.
        pause: The least time from the end of one attempt to the next, whoever asks.
        outage: How long past its lifetime it is used, if it cannot be had anew.
        whole: Whether what is known counts no more once the document has grown too large to be taken.
    """

    lifetime: float
    shortest: float
    longest: float
    pause: float
    outage: float
    whole: bool = False


@dataclass(frozen=True, slots=True)
class _Copy(Generic[T]):
    """What was fetched last. Times are of the monotonic clock, in seconds."""

    value: T
    body: bytes = field(repr=False)
    etag: str
    lifetime: float
    fetched: float


@dataclass(frozen=True, slots=True)
class _Fetch:
    """A fetch on its way."""

    done: Event
    deadline: float


class Document(Generic[T]):
    """
    A document of another server and what it means.

    Thread-safe. There is at most one fetch at a time, in a thread of its own, and a pause between two. A fetch that
    fails changes nothing but that it is noticed in the log, once until the next that succeeds.

    Args:
        source: Where it is.
        rhythm: When it is asked for.
        read: Makes a value of the body and its media type. ValueError, RecursionError: it is not such a document.
    """

    def __init__(self, source: Source, rhythm: Rhythm, read: Callable[[bytes, str], T]) -> None:
        self.source = source
        self._rhythm = rhythm
        self._read = read
        self._lock = Lock()
        self._copy: _Copy[T] | None = None
        self._fetching: _Fetch | None = None
        self._failing = False
        self._attempted = float("-inf")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.source!r}>"

    @property
    def is_failing(self) -> bool:
        """Whether the last fetch failed, or is on its way still."""
        return self._failing or self._fetching is not None

    @property
    def next_attempt_in(self) -> int:
        """When it is worth to ask again, in whole seconds, at least one."""
        return ceil(max(1, self._attempted + self._rhythm.pause - monotonic()))

    def value(self) -> T | None:
        """
        What is known, or ``None``.

        It does not wait if the document was asked for lately: when it is about to grow old, or is not to be had, it is
        fetched meanwhile. A process that did not ask for twice the lifetime asks first.
        """
        copy, now = self._usable(), monotonic()
        lifetime = self._rhythm.lifetime if copy is None else copy.lifetime
        if now - self._attempted > 2 * lifetime:
            return self.renewed()
        if copy is None or now - copy.fetched > 0.8 * lifetime:
            self._start_fetch()
        return None if copy is None else copy.value

    def renewed(self) -> T | None:
        """What is known after another fetch, if it is time for one: waits for it, at most the timeout."""
        fetch = self._start_fetch()
        if fetch is not None:
            fetch.done.wait(max(0, fetch.deadline - monotonic()))
        copy = self._usable()
        return None if copy is None else copy.value

    def _usable(self) -> _Copy[T] | None:
        copy = self._copy
        return None if copy is None or monotonic() - copy.fetched > copy.lifetime + self._rhythm.outage else copy

    def _start_fetch(self) -> _Fetch | None:
        """The fetch on its way, a new one, or ``None`` where it is too early for one."""
        with self._lock:
            if self._fetching is not None:
                return self._fetching
            if monotonic() - self._attempted < self._rhythm.pause:
                return None
            fetch = self._fetching = _Fetch(Event(), monotonic() + self.source.timeout)
        try:
            Thread(target=self._fetch, args=(fetch,), name="jwt_sessions fetch", daemon=True).start()
        except RuntimeError:
            self._finish(fetch, self._copy, "no thread can be started")
        return fetch

    def _fetch(self, fetch: _Fetch) -> None:
        copy, trouble, known = None, "", self._copy
        try:
            copy = self._fetched()
        except TooLarge as error:
            trouble, known = str(error), None if self._rhythm.whole else known
        except (Unusable, ValueError) as error:
            trouble = str(error)
        except RecursionError:
            trouble = "it is nested too deeply"
        except Exception as error:
            # Whatever it is, who waits must not wait for ever, and the next one must be able to try.
            trouble = type(error).__name__
        finally:
            self._finish(fetch, copy or known, trouble)

    def _fetched(self) -> _Copy[T]:
        known = self._copy
        answer = get(self.source, known.etag if known else "")
        rhythm = self._rhythm
        lifetime = rhythm.lifetime if answer.max_age is None else answer.max_age
        lifetime = min(max(lifetime, rhythm.shortest), rhythm.longest)
        if known is not None and answer.body in (None, known.body):
            # The same value, so that what was found out with it stays true.
            return replace(known, lifetime=lifetime, fetched=monotonic())
        body = answer.body or b""
        return _Copy(self._read(body, answer.media_type), body, answer.etag, lifetime, monotonic())

    def _finish(self, fetch: _Fetch, copy: _Copy[T] | None, trouble: str) -> None:
        """What is known from now on, and what went wrong, if anything did."""
        with self._lock:
            was_failing, self._failing = self._failing, bool(trouble)
            self._copy = copy
            self._attempted = monotonic()
            self._fetching = None
        # The query may be a secret between the two servers.
        place = self.source.url.partition("?")[0]
        if trouble and not was_failing:
            known = "Nothing is known of it" if copy is None else "What is known of it is used on"
            logger.warning("%s cannot be used: %s. %s.", place, trouble, known)
        elif was_failing and not trouble:
            logger.info("%s can be used again.", place)
        fetch.done.set()
