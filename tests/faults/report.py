"""The table that the suite prints at its end: what each fault looked like to clients, and what became of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tests.faults.client import Client

HEADER = ("fault", "database", "the client saw", "it did", "state after")


@dataclass(frozen=True)
class Row:
    """One fault on one database."""

    fault: str
    database: str
    saw: str
    did: str
    after: str

    @classmethod
    def of(cls, fault: str, database: str, clients: Iterable[Client], after: str) -> Self:
        saw: Counter[str] = sum((client.saw for client in clients), Counter())
        did: Counter[str] = sum((client.did for client in clients), Counter())
        return cls(fault, database, _counted(saw, "a good answer"), _counted(did, "nothing"), after)


def table(path: Path) -> str:
    """The rows in a file, one JSON object a line, as a table in Markdown."""
    rows = [Row(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []
    rows.sort(key=lambda row: row.fault)
    lines = [HEADER, tuple("---" for _ in HEADER), *map(astuple, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _counted(things: Counter[str], none: str) -> str:
    return ", ".join(f"{name} ({count})" for name, count in sorted(things.items())) or none
