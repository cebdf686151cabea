"""What a database refuses although nothing is wrong with it: to break a deadlock, or for its isolation level."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError, connections, router

from jwt_sessions.models import Session

ATTEMPTS = 5

T = TypeVar("T")


def with_retries(write: Callable[[], T]) -> T:
    """
    Run a write that is a transaction of its own, and run it again when the database broke it off.

    Inside somebody else's transaction it is run once: that transaction is lost as a whole, and not ours to repeat.
    """
    for _attempt in range(ATTEMPTS - 1):
        try:
            return write()
        except OperationalError:
            if connections[router.db_for_write(Session)].in_atomic_block:
                raise
    return write()
