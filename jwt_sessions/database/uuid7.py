"""Time-ordered ids, so that new rows go to the end of an index instead of all over it."""

from __future__ import annotations

import secrets
import time
from uuid import UUID


def uuid7() -> UUID:
    """
    A version 7 UUID (RFC 9562 §5.7): 60 bits of time, then 62 random bits.

    The 12 bits behind the milliseconds hold their fraction (RFC 9562 §6.2, method 3), so that ids made in one
    millisecond are in order too.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = nanoseconds * 4096 // 1_000_000
    return UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0x2 << 62 | secrets.randbits(62))
