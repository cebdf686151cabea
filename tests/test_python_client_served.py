"""``jwt_sessions.client`` against a running server, as programs have it, and programs that are killed or are two."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
import requests

from jwt_sessions import sessions, signals
from jwt_sessions.client import FileStore, MemoryStore, SessionAuth, SessionError, errors
from jwt_sessions.models import Session
from tests.factories import PASSWORD
from tests.served import Served, assert_one_living_session

LIFETIME = timedelta(minutes=5)
EXPIRIES = 15
AT_ONCE = 50
CLIENTS = {
    "httpx": httpx.Client,
    "httpx2": httpx2.Client,
    "requests": requests.Session,
    "httpx-async": httpx.AsyncClient,
    "httpx2-async": httpx2.AsyncClient,
}
ROOT = Path(__file__).parent.parent


@pytest.fixture
def refreshes() -> Iterator[list[str]]:
    """The sessions that were refreshed, one entry for each time."""
    seen: list[str] = []

    def note(session: Session, **_more: Any) -> None:
        seen.append(str(session.pk))

    signals.session_refreshed.connect(note)
    yield seen
    signals.session_refreshed.disconnect(note)


@contextmanager
def open_client(kind: str, auth: SessionAuth) -> Iterator[Any]:
    """A client of a library, which answers statuses and JSON; an asynchronous one runs an event loop for each call."""
    if kind == "requests":
        with requests.Session() as http:
            http.auth = auth
            yield lambda url: http.get(url, timeout=10)
    elif kind.endswith("async"):

        async def get(url: str) -> Any:
            async with CLIENTS[kind](auth=auth) as http:
                return await http.get(url)

        yield lambda url: asyncio.run(get(url))
    else:
        with CLIENTS[kind](auth=auth) as http:
            yield http.get


def make_auth(server: Served, **options: Any) -> SessionAuth:
    return SessionAuth(f"{server.origin}/auth/", username_field="email", **options)


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_program_signs_in_calls_refreshes_and_signs_out(clock, server, user, kind):
    auth = make_auth(server)
    auth.sign_in(user.email, PASSWORD, device_name="cron")
    with open_client(kind, auth) as get:
        for _expiry in range(3):
            assert get(server.users_api).json()["email"] == user.email
            clock.shift(LIFETIME - timedelta(seconds=2))
        assert get(server.users_api).json()["email"] == user.email
        session = Session.objects.get(user=user)
        assert (session.device_name, session.generation, session.end_reason) == ("cron", 3, "")
        auth.sign_out()
        assert Session.objects.get(user=user).end_reason == "logout"
        with pytest.raises(SessionError) as caught:
            get(server.users_api)
    assert caught.value.code == "NO_SESSION"


@pytest.mark.parametrize("library", [httpx.Client, httpx2.Client, requests.Session])
def test_its_own_calls_can_be_made_with_each_library(clock, server, user, library):
    with library() as own:
        auth = make_auth(server, client=own)
        auth.sign_in(user.email, PASSWORD)
        clock.shift(LIFETIME)
        with open_client("httpx", auth) as get:
            assert get(server.users_api).status_code == 200
        with pytest.raises(SessionError) as caught:
            auth.sign_in(user.email, "wrong")
    assert (caught.value.code, caught.value.status, caught.value.terminal) == ("INVALID_CREDENTIALS", 401, False)
    assert_one_living_session(user, generation=1)


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_token_that_expires_before_its_time_is_refreshed(clock, server, user, kind, jwt_settings, refreshes):
    jwt_settings(SOFT_EXPIRY=timedelta(minutes=1))
    auth = make_auth(server)
    auth.sign_in(user.email, PASSWORD)
    clock.shift(timedelta(minutes=2))
    with open_client(kind, auth) as get:
        assert [get(server.users_api).status_code for _call in range(3)] == [200] * 3
    assert len(refreshes) == 1


@pytest.mark.parametrize("kind", CLIENTS)
def test_the_end_of_a_session_is_told_at_the_next_call(server, user, kind):
    auth = make_auth(server)
    auth.sign_in(user.email, PASSWORD)
    sessions.end_all(user, reason="ended_by_admin")
    with open_client(kind, auth) as get, pytest.raises(SessionError) as caught:
        get(server.users_api)
    assert (caught.value.code, caught.value.reason, caught.value.terminal) == ("SESSION_ENDED", "ended_by_admin", True)


def test_a_changed_password_is_told_and_the_new_one_signs_in(server, user):
    auth = make_auth(server)
    auth.sign_in(user.email, PASSWORD)
    user.set_password("another " + PASSWORD)
    user.save()
    with open_client("httpx", auth) as get:
        with pytest.raises(SessionError) as caught:
            get(server.users_api)
        assert caught.value.reason == "password_changed"
        auth.sign_in(user.email, "another " + PASSWORD)
        assert get(server.users_api).status_code == 200


def test_the_name_of_the_user_name_is_told_where_it_is_another(server, user):
    with pytest.raises(SessionError) as caught:
        SessionAuth(f"{server.origin}/auth/").sign_in(user.email, PASSWORD)
    assert caught.value.code == "INVALID_REQUEST"


def test_throttled_sign_ins_say_for_how_long(server, user, jwt_settings):
    jwt_settings(LOGIN_THROTTLE="2/min")
    auth = make_auth(server)
    codes = []
    for _attempt in range(3):
        with pytest.raises(SessionError) as caught:
            auth.sign_in(user.email, "wrong")
        codes.append(caught.value.code)
    assert codes == ["INVALID_CREDENTIALS", "INVALID_CREDENTIALS", "THROTTLED"]
    assert 0 < caught.value.retry_after <= 60


def test_programs_for_two_tenants_share_one_session(clock, server, user, jwt_settings):
    jwt_settings(TENANTS=lambda user: ["acme", "globex"])
    store = MemoryStore()
    auths = {tenant: make_auth(server, store=store, tenant=tenant) for tenant in ("acme", "globex")}
    auths["acme"].sign_in(user.email, PASSWORD)
    for _expiry in range(3):
        for tenant, auth in auths.items():
            with open_client("httpx", auth) as get:
                assert get(server.services_api).json()["tenant"] == tenant
        clock.shift(LIFETIME)
    session = Session.objects.get(user=user)
    assert (session.end_reason, session.ended_at) == ("", None)


# Many


def test_fifty_threads_refresh_once_per_expiry(clock, server, user, refreshes):
    auth = make_auth(server)
    auth.sign_in(user.email, PASSWORD)
    barrier = threading.Barrier(AT_ONCE + 1)

    def run(_number: int) -> list[int]:
        statuses = []
        with open_client("httpx", auth) as get:
            for _expiry in range(EXPIRIES):
                barrier.wait(timeout=60)
                statuses.append(get(server.users_api).status_code)
                barrier.wait(timeout=60)
        return statuses

    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = [pool.submit(run, number) for number in range(AT_ONCE)]
        for expiry in range(EXPIRIES):
            clock.shift(LIFETIME)
            barrier.wait(timeout=60)
            barrier.wait(timeout=60)
            assert len(refreshes) == expiry + 1
        assert [each.result() for each in runs] == [[200] * EXPIRIES] * AT_ONCE
    assert_one_living_session(user, generation=EXPIRIES)


def test_fifty_tasks_refresh_once_per_expiry(clock, server, user, refreshes):
    auth = make_auth(server)

    async def main() -> None:
        await auth.asign_in(user.email, PASSWORD)
        async with httpx2.AsyncClient(auth=auth, timeout=60) as http:
            for expiry in range(EXPIRIES):
                clock.shift(LIFETIME)
                answers = await asyncio.gather(*(http.get(server.users_api) for _task in range(AT_ONCE)))
                assert [answer.status_code for answer in answers] == [200] * AT_ONCE
                assert len(refreshes) == expiry + 1

    asyncio.run(main())
    assert_one_living_session(user, generation=EXPIRIES)


# Programs

PROGRAM = """
import json, os, signal, sys, time
from collections import Counter
import httpx
from jwt_sessions.client import FileStore, SessionAuth

origin, path, seconds, die = sys.argv[1:]

class Fatal(FileStore):
    def save(self, text):
        if die == "before the save":
            os.kill(os.getpid(), signal.SIGKILL)
        super().save(text)

    def _write(self, path, text):
        super()._write(path, text if die != "within the save" else text[: len(text) // 2])
        if die in ("within the save", "before the replacement"):
            os.kill(os.getpid(), signal.SIGKILL)

answers, end = Counter(), time.monotonic() + float(seconds)
with httpx.Client(auth=SessionAuth(origin + "/auth/", store=Fatal(path))) as http:
    while True:
        answers[http.get(origin + "/api/me/").status_code] += 1
        if time.monotonic() > end:
            break
        time.sleep(0.05)
print(json.dumps(answers))
"""


def start_program(server: Served, path: Path, *, seconds: float = 0, die: str = "never") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, server.origin, str(path), str(seconds), die]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(program: subprocess.Popen[str]) -> dict[str, int]:
    out, errors = program.communicate(timeout=120)
    assert (program.returncode, errors) == (0, "")
    return json.loads(out)


def test_a_program_killed_between_answer_and_save_keeps_the_session(server, user, tmp_path, jwt_settings, refreshes):
    """Access tokens of two seconds, refreshed after one."""
    jwt_settings(ACCESS_TOKEN_LIFETIME=timedelta(seconds=2), REUSE_GRACE_PERIOD=timedelta(seconds=1))
    path = tmp_path / "session.json"
    make_auth(server, store=FileStore(path)).sign_in(user.email, PASSWORD)
    for number, die in enumerate(["before the save", "within the save", "before the replacement"], start=1):
        before = path.read_text()
        time.sleep(1.1)
        killed = start_program(server, path, die=die)
        assert (killed.wait(60), killed.communicate()) == (-9, ("", ""))
        assert path.read_text() == before
        assert Session.objects.get(user=user).generation == number
        time.sleep(1.1)
        assert finish(start_program(server, path)) == {"200": 1}
        assert path.read_text() != before
        assert (path.stat().st_mode & 0o777, sorted(os.listdir(tmp_path))) == (
            0o600,
            ["session.json", "session.json.lock"],
        )
        assert_one_living_session(user, generation=number)
    assert len(refreshes) == 6


def test_two_programs_share_one_file_over_many_expiries(server, user, tmp_path, jwt_settings, refreshes):
    """Access tokens of two seconds, refreshed after one, for nine: shared, about nine refreshes, else twice as many."""
    jwt_settings(ACCESS_TOKEN_LIFETIME=timedelta(seconds=2), REUSE_GRACE_PERIOD=timedelta(seconds=1))
    path = tmp_path / "session.json"
    make_auth(server, store=FileStore(path)).sign_in(user.email, PASSWORD)
    programs = [start_program(server, path, seconds=9) for _program in range(2)]
    answers = [finish(program) for program in programs]
    assert [set(each) for each in answers] == [{"200"}] * 2
    assert min(each["200"] for each in answers) > 20
    assert 5 <= len(refreshes) <= 12
    session = Session.objects.get(user=user)
    assert (session.end_reason, session.ended_at) == ("", None)
    assert finish(start_program(server, path)) == {"200": 1}


# The documentation

PAGE = (ROOT / "docs" / "python-client.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


class Redis:
    """As much of a client of Redis as an example uses."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.lock_of_all = threading.Lock()

    def get(self, name: str) -> bytes | None:
        return self.values.get(name)

    def set(self, name: str, value: str) -> None:
        self.values[name] = value.encode()

    def delete(self, name: str) -> None:
        self.values.pop(name, None)

    def lock(self, name: str, timeout: float, blocking_timeout: float) -> threading.Lock:
        assert name not in self.values and timeout > blocking_timeout > 0
        return self.lock_of_all


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"example {number}" for number in range(len(EXAMPLES))])
def test_examples_of_the_documentation_run(server, user, example, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    names = {"email": user.email, "password": PASSWORD, "redis": Redis()}
    assert "https://id.example.com" in example
    exec(compile(example.replace("https://id.example.com", server.origin), "python-client.md", "exec"), names)
    assert_one_living_session(user, generation=0)
    if http := names.get("http"):
        http.close()


def test_the_documentation_has_examples():
    assert len(EXAMPLES) == 5


def test_the_codes_of_the_client_are_documented():
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", PAGE, re.MULTILINE))
    own = {value for name, value in vars(errors).items() if name.isupper() and isinstance(value, str)}
    assert documented == own
    assert len(own) == 5
