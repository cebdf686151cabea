"""What many lives come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

from tests.simulation.life import THIEVES, Life

OWN = ("logout", "expired", "max_lifetime")


@dataclass
class Figures:
    """
    Counts over lives.

    Attributes:
        wrongly_ended: Lives that ended with ``token_reuse`` without a thief, in spite of the rules.
        differences: How often the package judged a token otherwise than the rules in plain words. While there are none,
            each thief whom the rules tell apart was caught, by the use that told.
        away: Lives that ended so because an answer was lost, and the owner was away longer than LOST_RESPONSE_WINDOW.
    """

    lives: int = 0
    refreshes: int = 0
    differences: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    wrongly_ended: list[int] = field(default_factory=list)
    away: list[int] = field(default_factory=list)
    used: Counter[str] = field(default_factory=Counter)
    caught: Counter[str] = field(default_factory=Counter)
    caught_by_owner: int = 0
    owner_never_came_back: int = 0
    times: list[float] = field(default_factory=list)

    def add(self, number: int, life: Life) -> None:
        """Count one."""
        self.lives += 1
        self.refreshes += life.refreshes
        self.differences += life.differences
        self.reasons[life.reason] += 1
        if life.used_at is None:
            if life.reason == "token_reuse":
                (self.away if life.away else self.wrongly_ended).append(number)
            return
        self.used[life.thief] += 1
        if life.reason == "token_reuse":
            self.caught[life.thief] += 1
            self.caught_by_owner += not life.by_thief
            self.times.append(life.ended_at - life.used_at)
        elif not life.came_back:
            self.owner_never_came_back += 1

    @property
    def not_told_apart(self) -> int:
        """Thieves of whom no use differed from that of another tab, by the rules, although the owner came back."""
        return self.used.total() - self.caught.total() - self.owner_never_came_back

    def lines(self) -> Sequence[str]:
        """The figures as text."""
        owner_ends = ", ".join(f"{name} {self.reasons[name]}" for name in sorted(self.reasons))
        kinds = ", ".join(f"{name} {self.caught[name]} of {self.used[name]}" for name in THIEVES)
        lines = [
            f"sessions: {self.lives}; presented refresh tokens: {self.refreshes}; ends: {owner_ends}",
            f"honest sessions ended by the rules: {len(self.wrongly_ended)}",
            f"honest sessions whose lost answer was asked for later than LOST_RESPONSE_WINDOW: {len(self.away)}",
            f"thieves who used a token: {self.used.total()}; caught: {self.caught.total()} ({kinds})",
            f"  by the owner's next use: {self.caught_by_owner}; by the thief's own: "
            f"{self.caught.total() - self.caught_by_owner}",
            f"  not caught: {self.owner_never_came_back} whose session the owner never used again, and "
            f"{self.not_told_apart} of whom each use was that of another tab",
            f"tokens that the package judged otherwise than the rules: {self.differences}",
        ]
        if len(self.times) > 1:
            nine = quantiles(self.times, n=10)[-1]
            lines.append(
                f"  from the first use to the catch: median {median(self.times):.0f} s, nine of ten {nine:.0f} s"
            )
        return lines
