"""
Which refresh tokens are honoured, as pure functions.

Let g be the session's generation and R(g) its token. R(g) is current. R(g-1) is honoured until the grace period after
R(g), or an access token of its generation, was first used; and for the lost-response window after the rotation if that
never was. Everything older is reuse (RFC 9700 §4.14.2).
"""

from __future__ import annotations

import enum
import hmac
from datetime import datetime
from typing import TYPE_CHECKING

from jwt_sessions import conf
from jwt_sessions.tokens.refresh import OpaqueToken

if TYPE_CHECKING:
    from jwt_sessions.models import RefreshToken, Session


class Standing(enum.Enum):
    """What a presented refresh token is to its session."""

    CURRENT = enum.auto()
    PREVIOUS = enum.auto()
    REUSED = enum.auto()
    UNKNOWN = enum.auto()


def previous_is_honoured(session: Session, current: RefreshToken | None, now: datetime) -> bool:
    """Whether R(g-1) still stands in for R(g) at ``now``."""
    if session.generation == 0 or current is None:
        return False
    settings = conf.current()
    grace, window = settings.REUSE_GRACE_PERIOD, settings.LOST_RESPONSE_WINDOW
    if settings.SESSION_CHECK == "none":
        # Nobody sees the first use by an access token, so silence proves nothing.
        window = min(window, grace)
    lost_until = current.created_at + window
    used_at = session.first_used_at
    if used_at is not None and used_at <= lost_until:
        return now < used_at + grace
    return now < lost_until


def standing(presented: OpaqueToken, session: Session, current: RefreshToken | None, now: datetime) -> Standing:
    """
    What a genuinely tagged token is to its session.

    A token of the right generation that matches nothing stored is UNKNOWN rather than reused: it may stem from a
    database that was since restored, and must end nothing.
    """
    age = session.generation - presented.generation
    if age == 0 and current is not None and hmac.compare_digest(presented.digest, bytes(current.token_hash)):
        return Standing.CURRENT
    if age <= 0:
        return Standing.UNKNOWN
    if age == 1 and previous_is_honoured(session, current, now):
        return Standing.PREVIOUS if successor(presented, current) is not None else Standing.UNKNOWN
    return Standing.REUSED


def successor(presented: OpaqueToken, current: RefreshToken | None) -> OpaqueToken | None:
    """R(g), read with R(g-1); only who holds R(g-1) can."""
    if current is None or current.content is None:
        return None
    return presented.unseal(bytes(current.content))
