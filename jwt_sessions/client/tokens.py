"""The tokens of a session as a client holds them: what the server answered, and when."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from jwt_sessions.client.errors import STORE_UNREADABLE, UNEXPECTED_ANSWER, SessionError

VERSION = 1
# Times in a JWT are whole seconds (``iat`` and ``exp`` of RFC 7519), so a token may live up to one less than it says.
ROUNDING = 1.0


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment by both of this machine's clocks: one may be set back, the other stands still while it sleeps."""

    wall: float = field(default_factory=lambda: time.time())
    monotonic: float = field(default_factory=lambda: time.monotonic())

    def elapsed(self) -> float:
        """Seconds since then, by the clock by which it is more."""
        return max(time.time() - self.wall, time.monotonic() - self.monotonic)


@dataclass(frozen=True, slots=True, repr=False)
class Kept:
    """What is saved. How old the tokens are is known by ``asked_at``, the one clock that processes share."""

    base_url: str
    session_id: str
    refresh_token: str
    access_token: str
    tenant: str | None
    audience: str | None
    expires_in: float
    refresh_in: float
    asked_at: float


@dataclass(frozen=True, slots=True, repr=False)
class Tokens:
    """
    Tokens and their age.

    ``exp`` is never compared with this machine's clock, which may be wrong: what counts is the time that has passed
    since the server was asked for them.
    """

    kept: Kept
    seen: Moment
    age_when_seen: float = 0.0

    def age(self) -> float:
        """Seconds since the server was asked for these tokens."""
        return self.age_when_seen + self.seen.elapsed()

    def is_fresh(self) -> bool:
        """Whether it is not yet time to refresh."""
        return self.age() < self.kept.refresh_in

    def is_good(self) -> bool:
        """Whether the access token has not expired."""
        return self.is_fresh() or self.seconds_left() > 0

    def seconds_left(self) -> float:
        """For how long the access token is good; negative if it has expired."""
        return self.kept.expires_in - ROUNDING - self.age()

    def text(self) -> str:
        """What a store keeps."""
        return json.dumps({"version": VERSION, **asdict(self.kept)})


def from_answer(
    answer: dict[str, Any], asked: Moment, base_url: str, tenant: str | None, audience: str | None
) -> Tokens:
    """
    The tokens of a token answer (RFC 6749 §5.1) to a question that was asked at a moment.

    Raises:
        SessionError: It is no such answer.
    """
    try:
        kept = _kept({**answer, "base_url": base_url, "tenant": tenant, "audience": audience, "asked_at": asked.wall})
    except (KeyError, TypeError, ValueError):
        raise SessionError(UNEXPECTED_ANSWER, "The answer has no tokens, or not all in its body.", status=200) from None
    return Tokens(kept, asked)


def from_text(text: str, base_url: str) -> Tokens:
    """
    The tokens that a store kept.

    Raises:
        SessionError: The text is not of this client, or of another server, to which alone its tokens may be sent.
    """
    try:
        fields = json.loads(text)
        version = fields["version"]
        kept = _kept(fields) if version == VERSION else None
    except (KeyError, TypeError, ValueError):
        # Without the error that led here, which quotes what it could not read.
        raise SessionError(STORE_UNREADABLE, "The store holds something else than a session.") from None
    if kept is None:
        raise SessionError(STORE_UNREADABLE, f"The store was written in format {version!r:.20}, unknown here.")
    if kept.base_url != base_url:
        raise SessionError(STORE_UNREADABLE, f"The store holds a session of {kept.base_url!r}, not of {base_url!r}.")
    age = time.time() - kept.asked_at
    # If the clock was set back since, nobody knows how old they are.
    return Tokens(kept, Moment(), age if age >= 0 else float("inf"))


def _kept(fields: dict[str, Any]) -> Kept:
    return Kept(
        base_url=_text(fields["base_url"]),
        session_id=_text(fields["session_id"]),
        refresh_token=_text(fields["refresh_token"]),
        access_token=_text(fields["access_token"]),
        tenant=None if fields["tenant"] is None else _text(fields["tenant"]),
        audience=None if fields["audience"] is None else _text(fields["audience"]),
        expires_in=float(fields["expires_in"]),
        refresh_in=float(fields["refresh_in"]),
        asked_at=float(fields["asked_at"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value
