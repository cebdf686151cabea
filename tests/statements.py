"""The statements that some work asks of the database, not counting transaction control."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

TRANSACTION_CONTROL = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "SET ", "START")
READ, ADD, WRITE = "SELECT", "INSERT", "UPDATE"


def executed(work: Callable[[], Any]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        work()
    texts = [query["sql"].strip() for query in captured.captured_queries]
    return [sql for sql in texts if not sql.upper().startswith(TRANSACTION_CONTROL)]


def statements(work: Callable[[], Any]) -> list[str]:
    """What some work asks of the database, each statement by its first word."""
    return [sql.split()[0] for sql in executed(work)]


def own_statements(work: Callable[[], Any]) -> list[str]:
    """Those of them that touch this package's tables."""
    return [sql.split()[0] for sql in executed(work) if "jwt_sessions_" in sql]
