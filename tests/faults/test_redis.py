"""Redis is down, does not answer, is slow, was emptied, is empty after a restart, or out of reach of one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.conf import settings

from jwt_sessions.models import Session
from tests.faults.client import Client
from tests.faults.conftest import Stand
from tests.faults.state import assert_is_over, assert_lives, assert_rows_are_whole, assert_what_works_is_recorded

RESOLUTION = settings.JWT_SESSIONS["ACTIVITY_RESOLUTION"].total_seconds()
SLOW = 0.1  # seconds an answer; the client of the cache waits for half a second


@contextmanager
def down(stand: Stand) -> Iterator[None]:
    stand.redis.kill()
    try:
        yield
    finally:
        stand.redis.start()


@contextmanager
def silent(stand: Stand) -> Iterator[None]:
    stand.redis.freeze()
    try:
        yield
    finally:
        stand.redis.thaw()


@contextmanager
def slow(stand: Stand) -> Iterator[None]:
    stand.to_redis.delay = SLOW
    try:
        yield
    finally:
        stand.to_redis.delay = 0


@contextmanager
def flushed(stand: Stand) -> Iterator[None]:
    with stand.redis.client() as client:
        client.flushall()
    yield


@contextmanager
def restarted_empty(stand: Stand) -> Iterator[None]:
    stand.redis.restart()
    yield


FAULTS: dict[str, Callable] = {
    "down": down,
    "silent: it accepts and never answers": silent,
    f"slow: {SLOW} s an answer": slow,
    "flushed": flushed,
    "restarted empty": restarted_empty,
}


def once(client: Client, operation: str) -> None:
    """It works at the first attempt: Redis is a help, and nothing depends on it."""
    answer = getattr(client, operation)()
    assert answer is not None and answer.status_code in (200, 204), f"{operation}: {answer} {client.saw}"


@pytest.mark.parametrize("fault", FAULTS)
def test_sessions_go_on_and_end_without_redis(stand: Stand, report, fault):
    staying, leaving = stand.signed_in(), stand.signed_in()
    session_id = staying.session_id
    for client in (staying, leaving):
        once(client, "call")
    with FAULTS[fault](stand):
        for operation in ("call", "refresh", "call"):
            once(staying, operation)
        once(leaving, "end")
        assert_is_over(leaving)
    # What was in the cache before it came back says nothing wrong.
    time.sleep(RESOLUTION)
    assert_lives(staying, session_id)
    assert_is_over(leaving)
    assert Session.objects.get(pk=leaving.session_id).end_reason == "logout"
    assert_rows_are_whole()
    report(
        f"Redis {fault}: request, refresh, end", staying, leaving, after="one session lives, the other ended at once"
    )
    assert_what_works_is_recorded(staying, leaving)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_password_is_taken_without_redis(stand: Stand, report, fault):
    staying, arriving = stand.signed_in(), stand.client()
    session_id = staying.session_id
    with FAULTS[fault](stand):
        once(staying, "reauthenticate")
        once(arriving, "sign_in")
        once(arriving, "call")
    assert_lives(staying, session_id)
    assert_lives(arriving, arriving.session_id)
    assert_rows_are_whole()
    report(f"Redis {fault}: sign-in, re-authentication", staying, arriving, after="signed in; re-authenticated")
    assert_what_works_is_recorded(staying, arriving)


def test_redis_out_of_reach_while_a_session_ends(stand: Stand, report):
    """The verdict is still there when Redis can be reached again. It is good for ACTIVITY_RESOLUTION at most."""
    client = stand.signed_in()
    assert client.insist("call").status_code == 200
    stand.to_redis.is_closed = True
    try:
        once(client, "end")
        assert_is_over(client)
    finally:
        stand.to_redis.is_closed = False
    time.sleep(RESOLUTION)
    assert_is_over(client)
    assert_rows_are_whole()
    after = "ended: at once while Redis is away, and at most ACTIVITY_RESOLUTION after it is back"
    report("Redis out of reach while a session ends", client, after=after)
