"""
Which refresh tokens are honoured, as pure functions.

Let g be the session's generation and R(g) its token. R(g) is current. R(g-1) is honoured until the grace period after
R(g), or an access token of its generation, was first used; and for the lost-response window after the rotation if that
never was. Everything older is reuse (RFC 9700 §4.14.2).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from jwt_sessions import conf
from jwt_sessions.tokens.opaque import OpaqueToken

if TYPE_CHECKING:
    from jwt_sessions.models import RefreshToken, Session


@dataclass(frozen=True, slots=True)
class Current:
    """R(g). While R(g-1) is honoured it does not rotate: both would have to lead to one successor."""

    row: RefreshToken
    previous_is_past: bool


@dataclass(frozen=True, slots=True)
class Previous:
    """R(g-1) while it is honoured, with the R(g) that was sealed under it."""

    successor: OpaqueToken


@dataclass(frozen=True, slots=True)
class Refused:
    """
    Neither of the two.

    Reused if it was genuine once and its time has passed. Otherwise unknown: a token of the right generation that
    matches nothing stored may stem from a database that was since restored, and must end nothing.
    """

    reused: bool


def standing(
    presented: OpaqueToken, session: Session, current: RefreshToken | None, now: datetime
) -> Current | Previous | Refused:
    """What a genuinely tagged token is to its session at ``now``, given the row of the session's current token."""
    age = session.generation - presented.generation
    if age < 0 or current is None:
        return Refused(reused=age > 0)
    if presented.generation < session.oldest_generation:
        # The password was given again since. That is refused, and no sign of a thief.
        return Refused(reused=False)
    previous_honoured = session.generation > session.oldest_generation and _previous_is_honoured(session, current, now)
    if age == 0:
        genuine = hmac.compare_digest(presented.digest, bytes(current.token_hash))
        return Current(current, not previous_honoured) if genuine else Refused(reused=False)
    if age == 1 and previous_honoured:
        successor = None if current.content is None else presented.unseal(bytes(current.content))
        return Refused(reused=False) if successor is None else Previous(successor)
    return Refused(reused=True)


def _previous_is_honoured(session: Session, current: RefreshToken, now: datetime) -> bool:
    settings = conf.current()
    grace, window = settings.REUSE_GRACE_PERIOD, settings.LOST_RESPONSE_WINDOW
    if settings.SESSION_CHECK == "none":
        # Nobody sees the first use by an access token, so silence proves nothing.
        window = min(window, grace)
    lost_until = current.created_at + window
    used_at = session.first_used_at
    # What is written in the rows has happened, also for a racer who looked at the clock before, or whose clock lags.
    now = max(now, current.created_at, used_at or now)
    if current.predecessor_expires_at is not None and current.predecessor_expires_at <= now:
        return False
    if used_at is not None and used_at < lost_until:
        return now < used_at + grace
    return now < lost_until
