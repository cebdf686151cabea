"""What no input may do: break the server, write a row though it is refused, put a secret into a log, take long."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from tests.fuzz.world import Answer, World

SLOWEST = 2.0  # seconds of CPU time; the slowest good ones take hundredths
WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")


@dataclass(frozen=True)
class Finding:
    """
    What an input did.

    Attributes:
        kind: "server error", "row written", "secret in a log", "secret in a refusal" or "slow".
        place: Where; the same fault has the same place.
        detail: More about it, for people.
    """

    kind: str
    place: str
    detail: str = field(compare=False)


class Lines(logging.Handler):
    """All that is logged, formatted with tracebacks as it would be written."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class Watch:
    """Watches what inputs do to a world, and counts."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.inputs = self.accepted = 0
        self._rows = 0
        self._log = Lines()
        self._secrets = world.secrets

    @contextmanager
    def on(self) -> Iterator[Watch]:
        """Look at logs and statements."""
        root = logging.getLogger()
        root.addHandler(self._log)
        try:
            with connection.execute_wrapper(self._count):
                yield self
        finally:
            root.removeHandler(self._log)

    def _count(self, execute: Any, sql: str, parameters: Any, many: bool, context: dict[str, Any]) -> Any:
        result = execute(sql, parameters, many, context)
        if sql.startswith(WRITES):
            self._rows += max(0, context["cursor"].rowcount)
        return result

    def _written(self) -> int:
        """Rows written so far. SQLite counts them itself; its cursors know nothing of INSERT … RETURNING."""
        if connection.vendor != "sqlite":
            return self._rows
        connection.ensure_connection()
        return int(connection.connection.total_changes)

    def run(self, target: Callable[[World, bytes], Answer], data: bytes) -> list[Finding]:
        """Give an input to a target; what it did that no input may do."""
        self._log.lines = []
        found = []
        before = self._written()
        began = time.process_time()
        try:
            answer = target(self.world, data)
        except Exception as error:
            answer = Answer(refused=True)
            found.append(Finding("server error", place_of(error), "".join(traceback.format_exception(error))))
        took = time.process_time() - began
        self.inputs += 1
        self.accepted += not answer.refused
        name = target.__name__
        rows = self._written() - before
        if took > SLOWEST:
            found.append(Finding("slow", name, f"{took:.1f} s of CPU time"))
        if rows and not answer.may_write:
            found.append(Finding("row written", name, f"{rows} rows"))
        logged = "\n".join(self._log.lines).encode("utf-8", "backslashreplace")
        found += [Finding("secret in a log", name, repr(logged[:500])) for each in self._secrets if each in logged][:1]
        if answer.refused:
            # A parameter of an unknown name is named, whatever it is: that tells the client what it sent.
            told = [each for each in self._secrets if each in answer.text and each not in data]
            found += [Finding("secret in a refusal", name, repr(answer.text[:500])) for each in told[:1]]
        if rows or found:
            self.world.restore()
        return found


def place_of(error: BaseException) -> str:
    """The innermost line of this project in a traceback, and the kind of the error."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/jwt_sessions/" in frame.filename] or frames
    return f"{type(error).__name__} at {own[-1].filename.rpartition('/jwt_sessions/')[2]}:{own[-1].lineno}"
