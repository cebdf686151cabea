"""The rules of refreshing in plain words, to compare the package with."""

from __future__ import annotations

from datetime import datetime, timedelta


class Rules:
    """Section 6 in plain words, and nothing of the package."""

    def __init__(self, grace: timedelta, window: timedelta, sees_access_tokens: bool) -> None:
        self.grace = grace
        self.window = window if sees_access_tokens else min(window, grace)
        self.sees_access_tokens = sees_access_tokens
        self.generation = 0
        self.alive = True
        self.used = False
        self.previous_until: datetime | None = None

    def _previous_is_honoured(self, now: datetime) -> bool:
        return self.previous_until is not None and now < self.previous_until

    def _first_use(self, now: datetime) -> None:
        if not self.used and self._previous_is_honoured(now):
            self.previous_until = now + self.grace
        self.used = True

    def access(self, generation: int, now: datetime) -> None:
        if self.alive and self.sees_access_tokens and generation == self.generation:
            self._first_use(now)

    def refresh(self, generation: int, now: datetime) -> str:
        """What becomes of R(generation)."""
        if not self.alive:
            return "session ended" if generation == self.generation else "refused"
        if generation == self.generation and self._previous_is_honoured(now):
            self._first_use(now)
            return "kept"
        if generation == self.generation:
            self.generation, self.used, self.previous_until = generation + 1, False, now + self.window
            return "rotated"
        if generation == self.generation - 1 and self._previous_is_honoured(now):
            return "repeated"
        self.alive = False
        return "reuse"
