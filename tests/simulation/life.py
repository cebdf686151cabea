"""
One session from sign-in to its end: an honest client on a device, the network between, and perhaps a thief.

The honest client keeps some rules: its tabs share one store, each sends what the store holds, stores a new token that
it gets before using it, gives an answer up after half the grace period, and tries again. The network delivers a request
within 25 s or not at all; an answer may take longer, be lost or overtake another. The device falls asleep and goes
offline at any moment, also between a request and its answer.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any

from tests.simulation.server import DAY, EXPIRES_IN, GRACE, Pair, Server

GIVEN_UP = GRACE / 2  # seconds after which a client waits no longer
LONGEST_REQUEST = 25.0  # seconds on the way
LOST = 0.02
MOST_TABS = 20
LONGEST = 90 * DAY
MOST_USES = 200  # by one thief
# What a thief does with a copy: uses it once; goes on with what it gets, now and then or all the time; or comes back
# to the store each time, for the token that was replaced last.
THIEVES = ("once", "goes on", "polls", "one step behind")


@dataclass
class Life:
    """
    What became of a session.

    Attributes:
        reason: Why it ended: "logout", a deadline, or "token_reuse".
        ended_at: When, in seconds since sign-in.
        refreshes: How often a refresh token was presented.
        thief: What kind of thief copied its token, or "".
        used_at: When the thief used it first; ``None``: never before the end.
        by_thief: Whether it was the thief whose use ended it.
        came_back: Whether the owner presented a token after the thief had.
        away: Whether an answer was lost and the owner asked again later than LOST_RESPONSE_WINDOW allows.
        differences: How often the package judged a token otherwise than the rules in plain words.
    """

    reason: str = ""
    ended_at: float = 0
    refreshes: int = 0
    thief: str = ""
    used_at: float | None = None
    by_thief: bool = False
    came_back: bool = False
    away: bool = False
    differences: int = 0


@dataclass
class Tab:
    """A tab, or a process of a client that keeps its tokens in a file."""

    pair: Pair
    received: float
    plan: float
    attempts: int = 0


@dataclass
class Exchange:
    """A refresh on its way."""

    tab: Tab
    sent: float
    presented: Pair
    waking: int
    over: bool = False


class Simulation:
    """The events of one session, in the order of time."""

    def __init__(self, source: Random, server: Server, *, thief: str, window: float, stores_all: bool) -> None:
        self.source, self.server, self.window, self.stores_all = source, server, window, stores_all
        self.life = Life(thief=thief)
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = count()
        # The device
        self.store, self.replaced = server.first, server.first
        self.received = 0  # the newest generation that arrived
        # Half of them have a lock, as clients with a file do: one exchange at a time.
        self.locks, self.locked = source.random() < 0.5, False
        self.speed = source.uniform(0.98, 1.02)  # of the device's clock
        self.tabs = [self._tab() for _tab in range(min(MOST_TABS, 1 + int(source.expovariate(0.2))))]
        self.waking, self.awake_until, self.delay = 0, 0.0, 0.1
        self.leaves = min(LONGEST, source.expovariate(1 / (20 * DAY)))
        # The thief
        self.stolen: Pair | None = None
        self.uses = 0

    def _tab(self) -> Tab:
        return Tab(self.server.first, 0.0, self._plan())

    def _plan(self) -> float:
        """How long to use an access token, by the device's clock: a tenth at random less than the server proposes."""
        plan = 0.8 * EXPIRES_IN * self.source.uniform(0.9, 1) / self.speed
        # Now and then the clock is set: too early or far too late.
        return plan * self.source.uniform(0, 3) if self.source.random() < 0.01 else plan

    def at(self, time: float, event: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (time, next(self._numbers), event, arguments))

    def run(self) -> Life:
        """Live through it."""
        self.at(0, self.wake)
        self.at(self.leaves, self.end, "logout")
        if self.life.thief:
            self.at(self.source.uniform(0, self.leaves), self.steal)
        while not self.life.reason:
            self.now, _number, event, arguments = heapq.heappop(self._events)
            event(*arguments)
        self.life.differences = self.server.differences
        return self.life

    def end(self, reason: str) -> None:
        self.life.reason, self.life.ended_at = reason, self.now

    # The device

    def wake(self) -> None:
        """A person opens some tabs for a while; then the device sleeps, whatever is on its way."""
        source = self.source
        self.waking, self.locked = self.waking + 1, False
        self.awake_until = self.now + source.expovariate(1 / 480)
        self.delay = 4.0 if source.random() < 0.15 else 0.1
        for tab in source.sample(self.tabs, source.randint(1, len(self.tabs))):
            self.at(self.now + source.uniform(0, 2), self.look, tab, self.waking)
        pause = source.choice((600, 4 * 3600, 12 * 3600, 18 * 3600))
        if source.random() < 0.05:
            pause = source.uniform(1, 5) * DAY  # offline
        self.at(self.awake_until + source.expovariate(1 / pause), self.wake)

    def sleeps(self, waking: int) -> bool:
        return waking != self.waking or self.now >= self.awake_until

    def look(self, tab: Tab, waking: int) -> None:
        """Refresh if it is time, else look again when it is."""
        if self.sleeps(waking):
            return
        due = tab.received + tab.plan
        if self.now < due:
            self.at(due, self.look, tab, waking)
        elif self.locks and self.locked:
            self.at(self.now + self.source.uniform(0.2, 2), self.look, tab, waking)
        else:
            self.send(tab)

    def send(self, tab: Tab) -> None:
        self.locked = True
        exchange = Exchange(tab, self.now, self.store, self.waking)
        self.at(self.now + GIVEN_UP / self.speed, self.give_up, exchange)
        delay = self.source.expovariate(1 / self.delay)
        # A device that falls asleep cuts off what it has not sent yet: sometimes all was sent.
        cut = self.now + delay >= self.awake_until and self.source.random() < 0.5
        if delay <= LONGEST_REQUEST and not cut and self.source.random() >= LOST / 2:
            self.at(self.now + delay, self.arrive, exchange)

    def arrive(self, exchange: Exchange) -> None:
        """At the server, also when the client has given it up."""
        outcome, pair = self.present(exchange.presented)
        if pair is None:
            self.refused(outcome, exchange.presented)
        elif self.source.random() >= LOST:
            self.at(self.now + self.source.expovariate(1 / self.delay), self.receive, exchange, pair)

    def present(self, pair: Pair) -> tuple[str, Pair | None]:
        self.life.refreshes += 1
        if self.life.used_at is not None:
            self.life.came_back = True
        return self.server.refresh(pair, self.now)

    def refused(self, outcome: str, presented: Pair) -> None:
        missed = self.received < self.server.generation == presented.generation + 1
        self.life.away = missed and self.now - self.server.rotated_at >= self.window
        self.end("token_reuse" if outcome == "reuse" else outcome)

    def receive(self, exchange: Exchange, pair: Pair) -> None:
        if exchange.over or self.sleeps(exchange.waking):
            return
        exchange.over, self.locked, tab = True, False, exchange.tab
        # What was sent and comes back is no news: a newer token may have overtaken it.
        if pair.refresh != exchange.presented.refresh or self.stores_all:
            if pair.generation != self.store.generation:
                self.replaced = self.store
            self.store, self.received = pair, max(self.received, pair.generation)
        tab.pair, tab.received, tab.plan, tab.attempts = pair, self.now, self._plan(), 0
        self.look(tab, exchange.waking)
        if self.source.random() < 0.8:
            self.at(self.now + self.source.expovariate(1 / 20), self.call, tab, exchange.waking)

    def give_up(self, exchange: Exchange) -> None:
        if exchange.over or self.sleeps(exchange.waking):
            return
        exchange.over, self.locked, tab = True, False, exchange.tab
        tab.attempts += 1
        tab.received, tab.plan = self.now, self.source.uniform(0, min(60, 2**tab.attempts))
        self.look(tab, exchange.waking)

    def call(self, tab: Tab, waking: int) -> None:
        if self.sleeps(waking):
            return
        said = self.server.call(tab.pair, self.now)
        if said == "expired":
            tab.plan = 0
            self.look(tab, waking)
        elif said != "good":
            self.end(said)

    # The thief

    def steal(self) -> None:
        """Copy the token that the store holds, for use some time later."""
        self.stolen = self.store
        self.pace = self.source.choice((10, 600, 4 * 3600, DAY))
        self.at(self.now + self.source.expovariate(1 / self.pace), self.use)

    def use(self) -> None:
        life, source = self.life, self.source
        life.used_at = self.now if life.used_at is None else life.used_at
        assert self.stolen is not None
        presented = self.replaced if life.thief == "one step behind" else self.stolen
        life.refreshes += 1
        outcome, pair = self.server.refresh(presented, self.now)
        if pair is None:
            life.by_thief = True
            return self.end("token_reuse" if outcome == "reuse" else outcome)
        self.stolen = pair
        if source.random() < 0.8:
            self.at(self.now + source.uniform(0, 60), self.call_as_thief, pair)
        self.uses += 1
        if life.thief != "once" and self.uses < MOST_USES:
            pause = source.uniform(20, 40) if life.thief == "polls" else source.expovariate(1 / self.pace)
            self.at(self.now + pause, self.use)
        return None

    def call_as_thief(self, pair: Pair) -> None:
        self.server.call(pair, self.now)


def live(
    seed: str,
    start: Callable[[], Server],
    *,
    share_of_thieves: float = 0.3,
    window: float = DAY,
    days: float = 0,
    stores_all: bool = False,
) -> Life:
    """
    Live through one session.

    Args:
        seed: What makes it this one and no other.
        start: Signs in.
        share_of_thieves: How many sessions have one.
        window: LOST_RESPONSE_WINDOW, in seconds.
        days: When the owner signs out at the latest; 0: after months.
        stores_all: The client stores also a token that it sent and that came back.
    """
    source = Random(seed)
    thief = source.choice(THIEVES) if source.random() < share_of_thieves else ""
    simulation = Simulation(source, start(), thief=thief, window=window, stores_all=stores_all)
    if days:
        simulation.leaves = min(simulation.leaves, days * DAY)
    return simulation.run()
