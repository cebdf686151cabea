"""Many lives, one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from multiprocessing import get_context
from typing import Any

import time_machine

from example_project.accounts.models import User
from tests.simulation.life import Life, live
from tests.simulation.server import START, LockStep, Server, settings_in_force


def in_memory(
    seed: int, numbers: Iterable[int], window: timedelta = timedelta(days=1), **options: Any
) -> Iterator[tuple[int, Life]]:
    """Lives by number, with the store in memory."""
    with settings_in_force(window):
        for number in numbers:
            yield number, live(f"{seed} {number}", lambda: Server(0), window=window.total_seconds(), **options)


def _chunk(given: tuple[int, range, timedelta]) -> list[tuple[int, Life]]:
    return list(in_memory(*given))


def in_processes(seed: int, number: int, window: timedelta, processes: int) -> Iterator[tuple[int, Life]]:
    """The lives from the first on, with the store in memory, in several processes."""
    size = 100
    chunks = [(seed, range(start, min(number, start + size)), window) for start in range(0, number, size)]
    with get_context("fork").Pool(processes) as pool:
        for lives in pool.imap(_chunk, chunks):
            yield from lives


def in_lock_step(seed: int, numbers: Iterable[int], window: timedelta = timedelta(days=1), **options: Any) -> int:
    """Lives with the package and its database beside it; how many answers were compared. Raises AssertionError."""
    compared = 0
    with settings_in_force(window), time_machine.travel(START, tick=False) as clock:
        for number in numbers:
            clock.move_to(START)
            user = User.objects.create_user(f"lock-step-{number}@example.com")
            servers: list[LockStep] = []

            def sign_in(user: User = user, servers: list[LockStep] = servers) -> Server:
                servers.append(LockStep(0, user, clock))
                return servers[-1]

            live(f"{seed} {number}", sign_in, window=window.total_seconds(), **options)
            compared += servers[0].compared
    return compared
