"""Threads that race on the real database, and the errors that they are refused with."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from django.core.files import locks
from django.db import connections

from jwt_sessions.exceptions import JWTSessionsError


def refused(call: Callable[[], Any]) -> JWTSessionsError | None:
    try:
        call()
    except JWTSessionsError as error:
        return error
    return None


class Crowd:
    """
    Threads that do things at the same moment, each with a database connection of its own.

    There is one crowd at a time, also among parallel test processes: servers have a limit of connections.
    """

    lock = Path(tempfile.gettempdir()) / "jwt-sessions-tests-crowd.lock"

    def __init__(self, size: int) -> None:
        self.size = size
        self._pool = ThreadPoolExecutor(size)
        self._start = threading.Barrier(size, timeout=60)

    def __call__(self, *calls: Callable[[], Any]) -> list[Any]:
        """What the calls answered; one call is made by all."""
        every = list(calls) * self.size if len(calls) == 1 else list(calls)
        return list(self._pool.map(self._call, every))

    def _call(self, call: Callable[[], Any]) -> Any:
        self._start.wait()
        return call()

    def __enter__(self) -> Crowd:
        self._lock_file = self.lock.open("w")
        locks.lock(self._lock_file, locks.LOCK_EX)
        return self

    def __exit__(self, *error: object) -> None:
        self(connections.close_all)
        self._pool.shutdown()
        self._lock_file.close()
