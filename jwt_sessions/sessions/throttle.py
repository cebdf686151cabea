"""
Throttling failed sign-ins, by user name and by address.

An attempt is counted before the password is looked at and given back if it was right: attempts sent all at once find
the same limit as those sent one after the other. Counters live in Django's default cache.
"""

from __future__ import annotations

import hashlib
import math
import time
import unicodedata

from django.core.cache import cache

from jwt_sessions import conf
from jwt_sessions.exceptions import Throttled


class LoginAttempt:
    """One attempt to sign in."""

    def __init__(self, username: str, ip_address: str | None) -> None:
        self._keys = [_key("name", unicodedata.normalize("NFKC", username).casefold())]
        if ip_address is not None:
            self._keys.append(_key("address", ip_address))

    def begin(self) -> None:
        """
        Count the attempt as a failure until it succeeds.

        Raises:
            Throttled: There were too many. This attempt was not counted.
        """
        rate = conf.current().LOGIN_THROTTLE
        if rate is None:
            return
        counted: list[str] = []
        for key in self._keys:
            if _count(key, rate.period) > rate.count:
                _give_back([*counted, key])
                raise Throttled(_seconds_left(key, rate.period))
            counted.append(key)

    def succeed(self) -> None:
        """The password was right: the attempt no longer counts."""
        if conf.current().LOGIN_THROTTLE is not None:
            _give_back(self._keys)


def _key(kind: str, value: str) -> str:
    # Hashed, as names hold what some caches refuse in a key, and as a cache is no place for names.
    return f"jwt_sessions:login:{kind}:{hashlib.sha256(value.encode('utf-8', 'replace')).hexdigest()}"


def _count(key: str, period: int) -> int:
    if cache.add(key, 1, period):
        cache.set(f"{key}:until", time.time() + period, period)
        return 1
    try:
        return cache.incr(key)
    except ValueError:
        # It expired between the two calls.
        cache.set(key, 1, period)
        return 1


def _give_back(keys: list[str]) -> None:
    for key in keys:
        try:
            cache.decr(key)
        except ValueError:
            continue


def _seconds_left(key: str, period: int) -> int:
    until = cache.get(f"{key}:until")
    return period if until is None else max(1, math.ceil(until - time.time()))
