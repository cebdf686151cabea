"""
Throttling failed sign-ins and failed client authentication, by name and by address.

An attempt takes a place before the password is looked at, and gives it back if that was right. Places are as many as
failures may be, so guesses sent all at once meet the same limit as guesses sent one after the other. An attempt that
finds all places taken is refused only where failures have taken them; otherwise it waits for those under way, which
may all be right. Counters live in Django's default cache. Without it attempts are not limited, and the log says so.

The first attempt opens a period, and each period has a counter of its own, which outlives it: some caches (Redis) make
a key that never expires when one is counted up in the moment of its expiry, and nobody must be locked out for ever by
that. A refused attempt writes nothing: caches of limited size would drop for it the counters that matter.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
import unicodedata
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from types import TracebackType
from typing import Self

from django.core.cache import cache

from jwt_sessions import conf
from jwt_sessions.conf import Rate
from jwt_sessions.exceptions import JWTSessionsError, Throttled

# What an address beyond the limit still has, so that who shares it with somebody who fails is not locked out.
BEYOND_THE_LIMIT = Rate(count=1, period=10)
# In a counter: failures in the lower half, attempts under way in the upper. Caches add to one number at a time.
UNDER_WAY = 1 << 32
PAUSE = 0.05  # seconds between two looks at a counter
LONGEST_WAIT = 60  # seconds; no attempt is under way for longer, or the process that made it is gone

logger = logging.getLogger("jwt_sessions")


class Standing(Enum):
    """How many places there are: some, none for now, none before the period ends."""

    FREE = "free"
    BUSY = "busy"
    FULL = "full"


class Attempt:
    """
    One attempt to be let in: a context that counts as a failure unless :meth:`succeed` is called in it.

    Args:
        kind: What is attempted ("login", "client"); each kind is counted by itself.
        name: The name of the user or the id of the client.
        address: The IP address that it comes from, if that is known.

    Raises:
        Throttled: On entering: there were too many failures. On leaving: the attempt failed, and its address was
            beyond the limit.
    """

    def __init__(self, kind: str, name: str, address: str | None) -> None:
        self._name = _key(f"{kind}:name", folded(name))
        self._address = None if address is None else _key(f"{kind}:address", network_of(address))
        self._places: list[_Counter] = []

    def __enter__(self) -> Self:
        rate = conf.current().LOGIN_THROTTLE
        if rate is None:
            return self
        try:
            self._take_places(rate)
        except Throttled:
            raise
        except Exception:
            # Whatever the client of the cache raises. Nobody could sign in otherwise while the cache is down.
            logger.exception("the default cache cannot be used, so failed logins are not counted")
            self._places = []
        return self

    def succeed(self) -> None:
        """The password was right: the attempt does not count."""
        self._leave(-UNDER_WAY)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        beyond = [counter for counter in self._places if counter.rate is BEYOND_THE_LIMIT]
        self._leave(1 - UNDER_WAY)
        if beyond and isinstance(error, JWTSessionsError):
            raise Throttled(BEYOND_THE_LIMIT.period) from None

    def _take_places(self, rate: Rate) -> None:
        counters: list[_Counter] = []
        for _look in range(int(LONGEST_WAIT / PAUSE)):
            counters = self._counters(rate)
            # All of them are looked at before the first is written.
            standings = [counter.standing() for counter in counters]
            full = [counter for counter, each in zip(counters, standings, strict=True) if each is Standing.FULL]
            if full:
                raise Throttled(max(counter.left() for counter in full))
            if Standing.BUSY not in standings and self._take(counters):
                return
            time.sleep(PAUSE)
        raise Throttled(max(counter.left() for counter in counters))

    def _counters(self, rate: Rate) -> list[_Counter]:
        counters = [_Counter(self._name, rate)]
        if self._address is not None:
            address = _Counter(self._address, rate)
            if address.standing() is Standing.FULL:
                address = _Counter(f"{self._address}:beyond", BEYOND_THE_LIMIT)
            counters.append(address)
        return counters

    def _take(self, counters: list[_Counter]) -> bool:
        """Take a place in each, or none because another attempt was quicker."""
        for counter in counters:
            self._places.append(counter)
            if not counter.take():
                self._leave(-UNDER_WAY)
                return False
        return True

    def _leave(self, change: int) -> None:
        places, self._places = self._places, []
        try:
            for counter in places:
                counter.add(change)
        except Exception:
            logger.exception("the default cache cannot be used, so a login stays counted as it was")


class _Counter:
    """
    What a name or an address has used of a rate in its current period.

    Two keys of the cache: when the period ends, and the number of that period. The clock of the cache ends it.
    """

    def __init__(self, key: str, rate: Rate) -> None:
        self.rate = rate
        self._key = key
        self._ends: float | None = cache.get(key)

    def standing(self) -> Standing:
        """Whether there is a place. Writes nothing."""
        if self._ends is None:
            return Standing.FREE
        under_way, failures = divmod(cache.get(self._number, 0), UNDER_WAY)
        if failures >= self.rate.count:
            return Standing.FULL
        return Standing.FREE if failures + under_way < self.rate.count else Standing.BUSY

    def take(self) -> bool:
        """Take a place. Answers whether there was one; if not, what was taken has to be given back."""
        if self._ends is None:
            ends = time.time() + self.rate.period
            self._ends = cache.get_or_set(self._key, ends, self.rate.period) or ends
        cache.add(self._number, 0, self._timeout)
        under_way, failures = divmod(self.add(UNDER_WAY), UNDER_WAY)
        return failures + under_way <= self.rate.count

    def add(self, change: int) -> int:
        """Change the number in one step; answers what it is then. One that is gone stays so: its period is over."""
        try:
            number = cache.incr(self._number, change)
        except ValueError:
            return 0
        # Caches that have no step of their own for this store the number anew, for their default time.
        cache.touch(self._number, self._timeout)
        return number

    def left(self) -> int:
        """When the period ends, in whole seconds from now."""
        return 1 if self._ends is None else max(1, math.ceil(self._ends - time.time()))

    @property
    def _number(self) -> str:
        return f"{self._key}:{self._ends}"

    @property
    def _timeout(self) -> int:
        return self.left() + LONGEST_WAIT


def folded(name: str) -> str:
    """
    A name as it is counted: without case, width and accents, so that spellings of one name share a counter.

    Two names that differ only in these share it too. That costs their owners less than a way round the limit.
    """
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).upper().casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).strip()


def network_of(address: str) -> str:
    """What is counted as one address: in IPv6 the /64 of a subscriber, who may use any address in it (RFC 6177)."""
    parsed: IPv4Address | IPv6Address = ip_address(address)
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(IPv6Network((parsed, 64), strict=False))
        parsed = parsed.ipv4_mapped
    return str(parsed)


def _key(kind: str, value: str) -> str:
    # Hashed, as names hold what some caches refuse in a key, and as a cache is no place for names.
    return f"jwt_sessions:{kind}:{hashlib.sha256(value.encode('utf-8', 'replace')).hexdigest()}"
