"""
The server: the package's own judgement over a store in memory, and for a sample the package itself beside it.

A database would make most of the time. What is decided is decided by the package: ``standing`` and ``deadlines`` are
its own, and so are the tokens and their seals. :class:`LockStep` shows that the rest does what the package does.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import time_machine
from django.test import override_settings

from example_project.accounts.models import User
from jwt_sessions import conf, sessions
from jwt_sessions.database.uuid7 import uuid7
from jwt_sessions.exceptions import ExpiredToken, InvalidToken, SessionEnded
from jwt_sessions.models import RefreshToken, Session
from jwt_sessions.policies import deadlines, environment
from jwt_sessions.tokens import opaque
from jwt_sessions.tokens.opaque import OpaqueToken
from jwt_sessions.verdict.rotation import Current, Previous, standing
from tests.rotation_rules import Rules

START = datetime(2027, 1, 4, tzinfo=UTC)  # a Monday
GRACE = 30.0  # seconds
DAY = 86_400.0
# The defaults, but for a session that lasts for months.
SETTINGS = {
    "REUSE_GRACE_PERIOD": timedelta(seconds=GRACE),
    "LOST_RESPONSE_WINDOW": timedelta(days=1),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=7),
    "MAX_SESSION_LIFETIME": timedelta(days=90),
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=5),
}
EXPIRES_IN = 300.0  # seconds, as above


def settings_in_force(window: timedelta = timedelta(days=1)) -> override_settings:
    """The settings of the simulation, with another window for lost answers."""
    return override_settings(JWT_SESSIONS={**SETTINGS, "LOST_RESPONSE_WINDOW": window})


def moment(at: float) -> datetime:
    """A time of the simulation, in seconds since its start, as the clock shows it."""
    return START + timedelta(seconds=at)


class Pair(NamedTuple):
    """
    What a client is given: a refresh token, and an access token of the same generation.

    ``text`` and ``access`` are those of the package itself, in lock step.
    """

    refresh: OpaqueToken
    expires_at: float
    text: str = ""
    access: str = ""

    @property
    def generation(self) -> int:
        return self.refresh.generation


class Server:
    """One session at the server. Times are seconds since the start of the simulation."""

    def __init__(self, at: float) -> None:
        now, lifetime = moment(at), conf.current().REFRESH_TOKEN_LIFETIME
        self._session = Session(id=uuid7(), created_at=now, last_active_at=now, refresh_expires_at=now + lifetime)
        token = opaque.make(self._session.pk, 0)
        self._row = RefreshToken(created_at=now, token_hash=token.digest)
        settings = conf.current()
        self._policy = environment(settings)
        # Nothing but a rotation moves them, as there is no idle timeout.
        self._deadlines = deadlines(self._session, self._policy)
        self._rules = Rules(settings.REUSE_GRACE_PERIOD, settings.LOST_RESPONSE_WINDOW, sees_access_tokens=True)
        self.first = Pair(token, at + EXPIRES_IN)
        self.rotated_at = at
        # How often the package and the rules in plain words said different things.
        self.differences = 0

    @property
    def generation(self) -> int:
        return self._session.generation

    def refresh(self, presented: Pair, at: float) -> tuple[str, Pair | None]:
        """
        Present a refresh token.

        Answers "rotated", "kept" or "repeated" with what is given; else "reuse", which ends the session, or the reason
        for which it had ended by itself.
        """
        now, session, token = moment(at), self._session, presented.refresh
        passed = self._deadlines.passed(now)
        if passed is not None:
            return passed.reason.value, None
        expected = self._rules.refresh(token.generation, now)
        match standing(token, session, self._row, now):
            case Current(previous_is_past=True):
                outcome, token = "rotated", self._rotate(token, now)
                self.rotated_at = at
            case Current():
                outcome = "kept"
                self._first_use(token.generation, now)
            case Previous(successor):
                outcome, token = "repeated", successor
            case refused:
                outcome = "reuse" if refused.reused else "refused"
        self.differences += outcome != expected
        return outcome, None if outcome in ("reuse", "refused") else Pair(token, at + EXPIRES_IN)

    def _rotate(self, token: OpaqueToken, now: datetime) -> OpaqueToken:
        session, successor = self._session, opaque.make(self._session.pk, self._session.generation + 1)
        lifetime = conf.current().REFRESH_TOKEN_LIFETIME
        session.generation, session.first_used_at = successor.generation, None
        session.refresh_expires_at = None if lifetime is None else now + lifetime
        self._row.created_at, self._row.token_hash, self._row.content = now, successor.digest, token.seal(successor)
        self._deadlines = deadlines(session, self._policy)
        return successor

    def _first_use(self, generation: int, now: datetime) -> None:
        if generation == self._session.generation > 0 and self._session.first_used_at is None:
            self._session.first_used_at = now

    def call(self, pair: Pair, at: float) -> str:
        """Call the API with an access token: "good", "expired", or the reason for which the session has ended."""
        now = moment(at)
        if at >= pair.expires_at:
            return "expired"
        passed = self._deadlines.passed(now)
        if passed is not None:
            return passed.reason.value
        self._rules.access(pair.generation, now)
        self._first_use(pair.generation, now)
        return "good"


class LockStep(Server):
    """The same, and the package with its database beside it: each answer is compared."""

    def __init__(self, at: float, user: User, clock: time_machine.Coordinates) -> None:
        super().__init__(at)
        self._clock = clock
        self._texts: dict[int, str] = {}
        clock.move_to(moment(at))
        started = sessions.start(user)
        self._id = started.session.pk
        self.first = self.first._replace(text=started.refresh_token, access=started.access_token)
        self.compared = 0

    def refresh(self, presented: Pair, at: float) -> tuple[str, Pair | None]:
        outcome, pair = super().refresh(presented, at)
        self._clock.move_to(moment(at))
        self.compared += 1
        try:
            given = sessions.refresh(presented.text)
        except SessionEnded as error:
            assert outcome == error.reason
            return outcome, None
        except InvalidToken:
            # Of a predecessor nothing is told, nor of the deadline that has passed.
            assert pair is None, outcome
            assert (outcome == "reuse") == (Session.objects.get(pk=self._id).end_reason == "token_reuse")
            return outcome, None
        assert pair is not None, outcome
        assert given.rotated == (outcome == "rotated")
        assert given.session.generation == pair.generation
        assert self._texts.setdefault(pair.generation, given.refresh_token) == given.refresh_token
        return outcome, pair._replace(text=given.refresh_token, access=given.access_token)

    def call(self, pair: Pair, at: float) -> str:
        said = super().call(pair, at)
        self._clock.move_to(moment(at))
        self.compared += 1
        try:
            sessions.authorize(pair.access)
        except ExpiredToken:
            # A token of the package never outlives its session.
            assert said != "good"
        except SessionEnded as error:
            assert said == error.reason
        else:
            assert said == "good"
        return said
