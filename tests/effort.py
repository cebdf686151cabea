"""
How much effort tests make that repeat themselves.

By default a few rounds, and of cases that are much alike some, so that all tests take minutes. With THOROUGH=1, as in
continuous integration, all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

THOROUGH = os.environ.get("THOROUGH", "") not in ("", "0")


def rounds(number: int) -> int:
    """How often to repeat something: ``number`` times in a thorough run, otherwise a fifth of it, at least twice."""
    return number if THOROUGH else max(2, number // 5)


def some(cases: Iterable[Any]) -> list[Any]:
    """All cases in a thorough run, otherwise the first and every third after it. For cases that are much alike."""
    return list(cases)[:: 1 if THOROUGH else 3]


def pairs(rows: Sequence[Any], columns: Sequence[Any]) -> list[tuple[Any, Any]]:
    """All pairs in a thorough run; otherwise as many as it takes for each row and each column to stand in one."""
    if THOROUGH:
        return list(product(rows, columns))
    longer = range(max(len(rows), len(columns)))
    return [(rows[number % len(rows)], columns[number % len(columns)]) for number in longer]
