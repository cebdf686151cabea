"""
Throttling failed sign-ins and failed client authentication, by name and by address.

An attempt is counted before the password is looked at and given back if it was right: attempts sent all at once find
the same limit as those sent one after the other. Counters live in Django's default cache.

The first attempt opens a period, and each period has a counter of its own: some caches (Redis) make a key that never
expires when one is counted up in the moment of its expiry, and nobody must be locked out for ever by that.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
import unicodedata

from django.core.cache import cache

from jwt_sessions import conf
from jwt_sessions.exceptions import Throttled


class Attempt:
    """
    One attempt to be let in.

    Args:
        kind: What is attempted ("login", "client"); each kind is counted by itself.
        name: The name of the user or the id of the client.
        ip_address: Where it comes from, if that is known.
    """

    def __init__(self, kind: str, name: str, ip_address: str | None) -> None:
        self._keys = [_key(f"{kind}:name", unicodedata.normalize("NFKC", name).casefold())]
        if ip_address is not None:
            self._keys.append(_key(f"{kind}:address", ip_address))
        self._counters: list[str] = []

    def begin(self) -> None:
        """
        Count the attempt as a failure until it succeeds.

        Raises:
            Throttled: There were too many. This attempt was not counted.
        """
        rate = conf.current().LOGIN_THROTTLE
        if rate is None:
            return
        for key in self._keys:
            until = self._period(key, rate.period)
            self._counters.append(f"{key}:{until}")
            if _count(self._counters[-1], rate.period) > rate.count:
                self._give_back()
                raise Throttled(max(1, math.ceil(until - time.time())))

    def _period(self, key: str, length: int) -> float:
        """When the current period ends. One that is over may still stand in the cache, whose clock is another."""
        now = time.time()
        until: float = cache.get_or_set(key, now + length, length)  # type: ignore[assignment]
        if until <= now:
            until = now + length
            cache.set(key, until, length)
        return until

    def succeed(self) -> None:
        """The password was right: the attempt no longer counts."""
        self._give_back()

    def _give_back(self) -> None:
        for counter in self._counters:
            # A counter that has expired needs nothing back.
            with contextlib.suppress(ValueError):
                cache.decr(counter)


def _key(kind: str, value: str) -> str:
    # Hashed, as names hold what some caches refuse in a key, and as a cache is no place for names.
    return f"jwt_sessions:{kind}:{hashlib.sha256(value.encode('utf-8', 'replace')).hexdigest()}"


def _count(counter: str, period: int) -> int:
    if cache.add(counter, 1, period):
        return 1
    try:
        return cache.incr(counter)
    except ValueError:
        # It expired between the two calls: the period is over.
        return 1
