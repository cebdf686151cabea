"""Rotation against a model of the rules: whatever tabs, lost answers, delays and thieves do, both say the same."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.test import override_settings
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jwt_sessions import sessions
from jwt_sessions.exceptions import InvalidToken, SessionEnded
from jwt_sessions.models import Session
from jwt_sessions.types import TokenPair
from tests.effort import rounds
from tests.factories import UserFactory
from tests.rotation_rules import Rules

START = datetime(2027, 1, 4, 9, tzinfo=UTC)
TICK = timedelta(microseconds=1)
GRACE = timedelta(seconds=30)
WINDOW = timedelta(hours=24)
BOUNDED = settings(
    max_examples=rounds(50),
    stateful_step_count=40,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
# Around each boundary, and far from it.
DELAYS = st.sampled_from(
    [timedelta(0), TICK, timedelta(seconds=1)] * 3
    + [GRACE / 2, GRACE - TICK, GRACE, GRACE + TICK]
    + [timedelta(hours=1), WINDOW / 2, WINDOW - GRACE, WINDOW - TICK, WINDOW, WINDOW + TICK]
)


OUTCOMES = ("rotated", "kept", "repeated", "reuse", "refused", "session ended")


class Clockwork(RuleBasedStateMachine):
    """A machine with a clock that stands still, a user, and settings of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = time_machine.travel(START, tick=False)
        self.traveller = self.clock.start()
        self.settings = None

    def configure(self, grace: timedelta, window: timedelta, check: str) -> None:
        self.settings = override_settings(
            JWT_SESSIONS={
                "REUSE_GRACE_PERIOD": grace,
                "LOST_RESPONSE_WINDOW": window,
                "SESSION_CHECK": check,
                "REFRESH_TOKEN_LIFETIME": None,
                "MAX_SESSION_LIFETIME": None,
                "ACCESS_TOKEN_LIFETIME": timedelta(days=365),
            }
        )
        self.settings.enable()

    def sign_in(self) -> TokenPair:
        return sessions.start(UserFactory())

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    def teardown(self) -> None:
        self.clock.stop()
        if self.settings is not None:
            self.settings.disable()


class AnybodyPresentsAnything(Clockwork):
    """Each token that was ever issued, presented at any time by anybody."""

    seen: Counter[str] = Counter()

    @initialize(
        configuration=st.sampled_from(
            [(GRACE, WINDOW), (GRACE, GRACE), (timedelta(0), WINDOW), (timedelta(0), timedelta(0))]
        ),
        check=st.sampled_from(["database", "none"]),
    )
    def start(self, configuration: tuple[timedelta, timedelta], check: str) -> None:
        self.configure(*configuration, check)
        self.configuration = configuration, check == "database"
        self.begin()

    def begin(self) -> None:
        (grace, window), sees_access_tokens = self.configuration
        self.model = Rules(grace, window, sees_access_tokens)
        pair = self.sign_in()
        self.session_id = pair.session.pk
        self.refresh_tokens = [pair.refresh_token]
        self.access_tokens = [(0, pair.access_token)]

    @rule(delay=DELAYS, age=st.sampled_from([0, 0, 0, 1, 1, 2, 3]), sign_in_again=st.booleans())
    def refresh(self, delay: timedelta, age: int, sign_in_again: bool) -> None:
        if sign_in_again and not self.model.alive:
            self.begin()
        self.traveller.shift(delay)
        generation = max(0, len(self.refresh_tokens) - 1 - age)
        expected = self.model.refresh(generation, self.now)
        AnybodyPresentsAnything.seen[expected] += 1
        try:
            pair = sessions.refresh(self.refresh_tokens[generation])
        except InvalidToken:
            assert expected in ("reuse", "refused")
        except SessionEnded as error:
            assert (expected, error.reason) == ("session ended", "token_reuse")
        else:
            if expected == "rotated":
                self.refresh_tokens.append(pair.refresh_token)
                assert len(set(self.refresh_tokens)) == len(self.refresh_tokens)
            assert expected in ("rotated", "kept", "repeated")
            assert pair.rotated == (expected == "rotated")
            assert pair.session.generation == self.model.generation
            assert pair.refresh_token == self.refresh_tokens[-1]
            self.access_tokens.append((self.model.generation, pair.access_token))

    @rule(delay=DELAYS, age=st.sampled_from([0, 0, 1, 2]))
    def call(self, delay: timedelta, age: int) -> None:
        self.traveller.shift(delay)
        generation, token = self.access_tokens[max(0, len(self.access_tokens) - 1 - age)]
        self.model.access(generation, self.now)
        try:
            sessions.authorize(token)
        except SessionEnded as error:
            assert not self.model.alive
            assert error.reason == "token_reuse"
        else:
            assert self.model.alive or not self.model.sees_access_tokens

    @invariant()
    def package_and_model_agree_on_what_is_stored(self) -> None:
        if self.settings is not None:
            session = Session.objects.get(pk=self.session_id)
            assert session.generation == self.model.generation == len(self.refresh_tokens) - 1
            assert session.end_reason == ("" if self.model.alive else "token_reuse")
            assert session.refresh_tokens.count() == len(self.refresh_tokens)


class AnHonestClientAndAThief(Clockwork):
    """
    Tabs that share one storage, as a browser's do: each sends what the storage holds, and stores what it gets.

    Requests and answers take their time, together less than the grace; an answer may be lost. The thief copies each
    refresh token and strikes when the grace is over.
    """

    strikes = 0

    @initialize()
    def start(self) -> None:
        self.configure(GRACE, WINDOW, "database")
        self.begin()

    def begin(self) -> None:
        pair = self.sign_in()
        self.session_id = pair.session.pk
        self.stored, self.access_token = pair.refresh_token, pair.access_token
        self.copies, self.rotated_at = [pair.refresh_token], self.now
        self.requests: list[tuple[datetime, str]] = []
        self.answers: list[tuple[datetime, TokenPair]] = []

    def shift(self, delay: timedelta) -> None:
        """Let time pass, unless something would be late: an answer for the grace, or the repeat of a lost one."""
        later = self.now + delay
        under_way = [since for since, _ in (*self.requests, *self.answers)]
        if all(later < since + GRACE for since in under_way) and (
            self.stored == self.copies[-1] or later < self.rotated_at + WINDOW - GRACE
        ):
            self.traveller.shift(delay)

    @rule(seconds=st.sampled_from([1, 5, 14, 29, 31]))
    def time_passes(self, seconds: int) -> None:
        self.shift(timedelta(seconds=seconds))

    @rule(hours=st.sampled_from([1, 5, 30]))
    def everybody_sleeps(self, hours: int) -> None:
        self.shift(timedelta(hours=hours))

    @rule()
    def a_tab_refreshes_at_once(self) -> None:
        self.a_tab_sends_a_refresh()
        self.arrive(len(self.requests) - 1)
        self.stored, self.access_token = self.answers[-1][1].refresh_token, self.answers.pop()[1].access_token

    @rule()
    def a_tab_sends_a_refresh(self) -> None:
        self.requests.append((self.now, self.stored))

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def a_request_arrives(self, data: st.DataObject) -> None:
        self.arrive(data.draw(st.integers(0, len(self.requests) - 1)))

    def arrive(self, number: int) -> None:
        since, token = self.requests.pop(number)
        pair = sessions.refresh(token)
        if pair.rotated:
            self.copies.append(pair.refresh_token)
            self.rotated_at = self.now
        assert pair.refresh_token == self.copies[-1]
        self.answers.append((since, pair))

    @precondition(lambda self: self.answers)
    @rule(data=st.data(), lost=st.sampled_from([False, False, True]))
    def an_answer_arrives_or_is_lost(self, data: st.DataObject, lost: bool) -> None:
        _, pair = self.answers.pop(data.draw(st.integers(0, len(self.answers) - 1)))
        if not lost:
            self.stored, self.access_token = pair.refresh_token, pair.access_token

    @rule()
    def a_tab_calls_the_api(self) -> None:
        sessions.authorize(self.access_token)

    @precondition(lambda self: len(self.copies) > 1)
    @rule(data=st.data(), late=st.sampled_from([timedelta(0), TICK, timedelta(hours=2)]))
    def the_thief_strikes_when_the_grace_is_over(self, data: st.DataObject, late: timedelta) -> None:
        session = Session.objects.get(pk=self.session_id)
        if session.first_used_at is None:
            return
        self.traveller.move_to(max(self.now, session.first_used_at + GRACE) + late)
        stolen = self.copies[data.draw(st.integers(0, len(self.copies) - 2))]
        with pytest.raises(InvalidToken):
            sessions.refresh(stolen)
        assert Session.objects.get(pk=self.session_id).end_reason == "token_reuse"
        for token in self.copies:
            with pytest.raises((InvalidToken, SessionEnded)):
                sessions.refresh(token)
        with pytest.raises(SessionEnded):
            sessions.authorize(self.access_token)
        AnHonestClientAndAThief.strikes += 1
        self.begin()


@pytest.mark.django_db
def test_the_package_does_what_the_rules_say():
    AnybodyPresentsAnything.seen.clear()
    run_state_machine_as_test(AnybodyPresentsAnything, settings=BOUNDED)
    assert min(AnybodyPresentsAnything.seen[each] for each in OUTCOMES) >= rounds(10)


@pytest.mark.django_db
def test_an_honest_client_is_never_thrown_out_and_a_thief_always_caught():
    AnHonestClientAndAThief.strikes = 0
    run_state_machine_as_test(AnHonestClientAndAThief, settings=BOUNDED)
    assert AnHonestClientAndAThief.strikes >= rounds(10)
