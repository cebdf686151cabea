"""``jwt_sessions.client`` where a refresh fails, and where many threads, tasks and objects share a session."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from jwt_sessions.client import FileStore, MemoryStore, SessionError, source
from tests.token_server import (
    API,
    ASYNC,
    EVERY_CLIENT,
    PASSWORD,
    SYNC,
    Answer,
    FakeClock,
    Program,
    TokenServer,
    make_auth,
    open_client,
    refusal,
    refused,
)

EXPIRIES = 15
AT_ONCE = 50
UNREACHABLE = "connection refused"


@pytest.fixture
def clock(monkeypatch):
    return FakeClock().install(monkeypatch)


@pytest.fixture
def server(clock):
    return TokenServer(clock)


@pytest.fixture(params=EVERY_CLIENT)
def program(request, server):
    """A program that has just signed in, by each of the libraries."""
    return Program(request.param, server).sign_in()


@pytest.fixture
def one(server):
    """A program by one library, where the rule is the same for all."""
    return Program("httpx", server).sign_in()


@pytest.fixture(autouse=True)
def longest_pauses(monkeypatch):
    """Pauses are chosen at random up to a length that grows; here always that length."""
    monkeypatch.setattr(source.random, "uniform", lambda _shortest, longest: longest)


PASSING = {
    "network": UNREACHABLE,
    "lost answer": "lost",
    "502 of a proxy": Answer(502),
    "503": refusal("ISSUE_FAILED", 503),
    "429": refusal("THROTTLED", 429),
    "200 of a portal": Answer(200, "Welcome to our WiFi"),
    "200 without tokens": Answer(200, {}),
    "404 of a wrong address": Answer(404, {"detail": "Not found."}),
    "403 for now": refusal("ISSUE_DENIED", 403),
}


@pytest.mark.parametrize("failure", PASSING.values(), ids=PASSING)
def test_a_token_that_is_still_good_is_used_when_a_refresh_fails(program, server, clock, failure):
    clock.shift(250)
    server.next_answers = [failure]
    assert program.call().json()["token"] == "access-s0-1"
    clock.shift(40)
    assert program.call().json()["token"] != "access-s0-1"
    assert (server.refreshes, server.generation, server.ended) == (2, {"s0": 1}, {})


@pytest.mark.parametrize("failure", PASSING.values(), ids=PASSING)
def test_without_a_good_token_a_failed_refresh_is_told_and_the_session_kept(program, server, clock, failure):
    clock.shift(299.5)
    server.next_answers = [failure]
    error = refused(program)
    assert (error.terminal, error.reason) == (False, "")
    expected = {"connection refused": "UNREACHABLE", "lost": "UNREACHABLE"}
    own = failure.body.get("code") if isinstance(getattr(failure, "body", None), dict) else None
    assert error.code == (expected[failure] if isinstance(failure, str) else own or "UNEXPECTED_ANSWER")
    assert error.status == (None if isinstance(failure, str) else failure.status)
    assert len(server.at("/api/")) == 0
    clock.shift(2)
    assert program.call().status_code == 200
    assert server.ended == {}


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed_while_the_token_is_good_and_when_it_is_not(program, server, clock, status):
    clock.shift(241)
    server.next_answers = [refusal("THROTTLED", status), Answer(500)]
    server.next_answers[0].headers["Retry-After"] = "100"
    assert program.call().status_code == 200
    clock.shift(50)
    assert program.call().status_code == 200
    clock.shift(49.9)  # 99.9 of 100, and the token has expired
    error = refused(program)
    assert (error.code, error.status, error.retry_after) == ("THROTTLED", status, 100.0)
    assert server.refreshes == 1
    clock.shift(0.2)
    assert refused(program).status == 500
    assert server.refreshes == 2


def test_retry_after_may_be_a_date_which_counts_from_the_servers_own(one, server, clock):
    sent, then = (format_datetime(datetime(2030, 1, 1, 0, 0, s, tzinfo=UTC), usegmt=True) for s in (0, 30))
    clock.shift(299.5)
    server.next_answers = [Answer(503, headers={"Retry-After": then, "Date": sent})]
    assert refused(one).retry_after == 30.0


@pytest.mark.parametrize("value", ["soon", "-5", "", "1e9", "Tue"])
def test_a_retry_after_that_says_nothing_is_none(one, server, clock, value):
    clock.shift(299.5)
    server.next_answers = [Answer(503, headers={"Retry-After": value})]
    assert refused(one).retry_after is None


def test_pauses_grow_while_the_token_is_good_and_end_with_it(one, server, clock):
    server.next_answers = [UNREACHABLE] * 100
    clock.shift(240)
    counts = []
    for _second in range(58):
        clock.shift(1)
        assert one.call().status_code == 200
        counts.append(server.refreshes)
    assert counts[-1] == 5  # at 241 s and then after 2, 4, 8 and 16 s; after that not while the token is good
    server.next_answers = []
    clock.shift(1.1)
    assert one.call().status_code == 200
    assert server.refreshes == 6


def test_many_who_need_a_token_share_one_failure(server, clock):
    auth = make_auth("httpx", server)
    auth.sign_in("ann", PASSWORD)
    clock.shift(299.5)
    server.next_answers = [UNREACHABLE] * AT_ONCE

    def call(_number: int) -> SessionError:
        with open_client("httpx", server, auth=auth) as http, pytest.raises(SessionError) as caught:
            http.get(API)
        return caught.value

    with ThreadPoolExecutor(AT_ONCE) as pool:
        errors = list(pool.map(call, range(AT_ONCE)))
    assert {error.code for error in errors} == {"UNREACHABLE"}
    assert len(set(map(id, errors))) == AT_ONCE
    assert server.refreshes == 1


def test_many_who_need_a_token_learn_why_the_session_ended(server, clock):
    auth = make_auth("httpx", server)
    auth.sign_in("ann", PASSWORD)
    server.end("password_changed")
    clock.shift(250)

    def call(_number: int) -> tuple[str, str]:
        with open_client("httpx", server, auth=auth) as http, pytest.raises(SessionError) as caught:
            http.get(API)
        return caught.value.code, caught.value.reason

    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert set(pool.map(call, range(AT_ONCE))) == {("SESSION_ENDED", "password_changed")}
    assert server.refreshes == 1


# Threads and tasks


@pytest.mark.parametrize("age", [250, 301], ids=["still good", "expired"])
@pytest.mark.parametrize("kind", SYNC)
def test_fifty_threads_refresh_once_per_expiry(server, clock, kind, age):
    auth, server.delay = make_auth(kind, server), 0.02
    auth.sign_in("ann", PASSWORD)
    barrier = threading.Barrier(AT_ONCE + 1)

    def run(_number: int) -> list[int]:
        statuses = []
        with open_client(kind, server, auth=auth) as http:
            for _expiry in range(EXPIRIES):
                barrier.wait(timeout=30)
                statuses.append(http.get(API).status_code)
                barrier.wait(timeout=30)
        return statuses

    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = [pool.submit(run, number) for number in range(AT_ONCE)]
        for expiry in range(EXPIRIES):
            clock.shift(age)
            barrier.wait(timeout=30)
            barrier.wait(timeout=30)
            assert server.refreshes == expiry + 1
        assert [run.result() for run in runs] == [[200] * EXPIRIES] * AT_ONCE


@pytest.mark.parametrize("age", [250, 301], ids=["still good", "expired"])
@pytest.mark.parametrize("kind", ASYNC)
def test_fifty_tasks_refresh_once_per_expiry_in_one_thread(server, clock, kind, age, monkeypatch):
    auth, server.delay = make_auth(kind, server), 0.02
    in_thread, threads = asyncio.to_thread, []
    monkeypatch.setattr(asyncio, "to_thread", lambda *call, **more: (threads.append(1), in_thread(*call, **more))[1])

    async def main() -> None:
        await auth.asign_in("ann", PASSWORD)
        async with open_client(kind, server, auth=auth) as http:
            for expiry in range(EXPIRIES):
                clock.shift(age)
                threads.clear()
                answers = await asyncio.gather(*(http.get(API) for _task in range(AT_ONCE)))
                assert [answer.status_code for answer in answers] == [200] * AT_ONCE
                assert (server.refreshes, len(threads)) == (expiry + 1, 1)

    asyncio.run(main())


@pytest.mark.parametrize("kind", ASYNC)
def test_fifty_tasks_whose_token_is_refused_refresh_once(server, kind):
    auth = make_auth(kind, server)

    async def main() -> None:
        await auth.asign_in("ann", PASSWORD)
        async with open_client(kind, server, auth=auth) as http:
            server.expire()
            answers = await asyncio.gather(*(http.get(API) for _task in range(AT_ONCE)))
        assert [answer.status_code for answer in answers] == [200] * AT_ONCE

    asyncio.run(main())
    assert server.refreshes == 1


@pytest.mark.parametrize("kind", ASYNC)
def test_a_wait_for_the_store_does_not_hold_up_the_event_loop(server, clock, kind, tmp_path):
    store = FileStore(tmp_path / "session.json")
    auth = make_auth(kind, server, store=store)

    async def main() -> int:
        await auth.asign_in("ann", PASSWORD)
        clock.shift(301)
        ticks = 0
        async with open_client(kind, server, auth=auth) as http:
            with store.lock():
                calls = [asyncio.create_task(http.get(API)) for _task in range(5)]
                for _tick in range(20):
                    await asyncio.sleep(0.01)
                    ticks += 1
                assert not any(call.done() for call in calls)
            assert [answer.status_code for answer in await asyncio.gather(*calls)] == [200] * 5
        return ticks

    before = time.monotonic()
    assert asyncio.run(main()) == 20
    assert time.monotonic() - before < 10


@pytest.mark.parametrize("kind", ASYNC)
def test_a_task_that_is_cancelled_loses_no_refresh_and_blocks_nobody(server, clock, kind):
    auth, server.delay = make_auth(kind, server), 0.2

    async def main() -> None:
        await auth.asign_in("ann", PASSWORD)
        clock.shift(301)
        async with open_client(kind, server, auth=auth) as http:
            hasty, patient = (asyncio.create_task(http.get(API)) for _task in range(2))
            await asyncio.sleep(0.05)
            hasty.cancel()
            assert (await patient).status_code == 200
            with pytest.raises(asyncio.CancelledError):
                await hasty

    asyncio.run(main())
    assert (server.refreshes, server.generation) == (1, {"s0": 1})


@pytest.mark.parametrize("kind", ASYNC)
def test_one_object_serves_one_event_loop_after_the_other(server, clock, kind):
    program = Program(kind, server).sign_in()

    async def several() -> list[int]:
        async with open_client(kind, server, auth=program.auth) as http:
            return [answer.status_code for answer in await asyncio.gather(*(http.get(API) for _task in range(5)))]

    for _loop in range(3):
        clock.shift(301)
        assert asyncio.run(several()) == [200] * 5
    assert server.refreshes == 3


def test_objects_that_share_a_store_share_refreshes(server, clock):
    store = MemoryStore()
    programs = [Program("httpx", server, store=store) for _object in range(10)]
    programs[0].sign_in()
    for _expiry in range(EXPIRIES):
        clock.shift(250)
        assert [program.call().status_code for program in programs] == [200] * 10
    assert (server.refreshes, server.generation, server.ended) == (EXPIRIES, {"s0": EXPIRIES}, {})


def test_a_slow_refresh_holds_up_nobody_whose_token_is_good(server, clock):
    program = Program("httpx", server).sign_in()
    clock.shift(250)
    server.delay = 1.0
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(program.call)
        while not server.refreshes:
            time.sleep(0.01)
        before = time.monotonic()
        assert program.call().json()["token"] == "access-s0-1"
        assert time.monotonic() - before < 0.8
        assert slow.result().json()["token"] == "access-s0-2"
