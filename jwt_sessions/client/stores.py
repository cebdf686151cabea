"""Where a session is kept between calls and, with a file, between runs and programs."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

if sys.platform != "win32":
    import fcntl

# Longer than the holder of a lock can wait for the server's answer.
LOCK_TIMEOUT = 60.0
LOCK_INTERVAL = 0.02


class Store(Protocol):
    """
    What ``SessionAuth`` asks of a store. The text is a secret: it holds the tokens.

    A store that several threads or processes share must exclude all of them with ``lock()``. What ``save()`` was given
    must be safe when it returns, also from a crash: the tokens are used right after.
    An ``OSError`` of any of the three becomes a ``SessionError`` with the code ``STORE_FAILED``.
    """

    def load(self) -> str | None:
        """The text saved last, or ``None`` if there is none."""

    def save(self, text: str | None) -> None:
        """Replace the text; ``None`` removes it."""

    def lock(self) -> AbstractContextManager[object]:
        """Exclude all others that use this store for as long as the block runs."""


class MemoryStore:
    """Keeps a session for as long as the program runs. Several ``SessionAuth`` may share one."""

    def __init__(self) -> None:
        self._text: str | None = None
        self._lock = threading.Lock()

    def load(self) -> str | None:
        """The text saved last, or ``None``."""
        return self._text

    def save(self, text: str | None) -> None:
        """Replace the text; ``None`` removes it."""
        self._text = text

    def lock(self) -> AbstractContextManager[object]:
        """Exclude other threads."""
        return self._lock


class FileStore:
    """
    Keeps a session in a file that only its owner can read, for any number of programs on one machine.

    The file is replaced as a whole, so that a program that is killed leaves the old or the new session, never half of
    one. Beside it stand ``<name>.lock``, which is empty, and for a moment ``<name>.new``.

    Arguments:
        path: The file. Missing directories are made, for the owner only.

    Raises:
        NotImplementedError: On Windows, which has no ``flock``.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if sys.platform == "win32":
            raise NotImplementedError("FileStore needs flock(2), which Windows does not have. Use a store of your own.")
        # Of a link, the file that it leads to is replaced; and the program may change its directory.
        self.path = Path(path).expanduser().resolve()

    def __repr__(self) -> str:
        return f"FileStore({str(self.path)!r})"

    def load(self) -> str | None:
        """
        The text saved last, or ``None``.

        Raises:
            OSError: The file cannot be read.
        """
        try:
            return self.path.read_bytes().decode(errors="replace") or None
        except FileNotFoundError:
            return None

    def save(self, text: str | None) -> None:
        """
        Replace the file; ``None`` removes it.

        Raises:
            OSError: The file cannot be written.
        """
        if text is None:
            self.path.unlink(missing_ok=True)
        else:
            new = self._beside(".new")
            self._write(new, text.encode())
            new.replace(self.path)
        self._sync_directory()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """
        Exclude other threads and processes; the system lifts the lock of one that is killed.

        Raises:
            TimeoutError: Somebody else has held the lock for a minute.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._beside(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._wait_for(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _wait_for(self, descriptor: int) -> None:
        last = time.monotonic() + LOCK_TIMEOUT
        while True:
            with suppress(BlockingIOError):
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.monotonic() > last:
                raise TimeoutError(f"Another program holds {self._beside('.lock')}.")
            time.sleep(LOCK_INTERVAL)

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _write(self, path: Path, text: bytes) -> None:
        # What a killed program left, or somebody else put there to be written to, goes first: the file is always a new
        # one with the mode given here.
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)

    def _sync_directory(self) -> None:
        descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
