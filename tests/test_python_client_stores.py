"""``jwt_sessions.client``: what is kept, what can go wrong with it, and that no token is seen anywhere else."""

from __future__ import annotations

import json
import logging
import os
import pickle
import re
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from jwt_sessions.client import FileStore, MemoryStore, SessionError, stores
from tests.token_server import EVERY_CLIENT, Answer, FakeClock, Program, TokenServer, refused

# Text that the server never saw: its tokens, and passwords.
WRONG_PASSWORD = "hunter2"
SECRET = re.compile(r"access-s\d|refresh-s\d|tr0ub4dor|hunter2")


@pytest.fixture
def clock(monkeypatch):
    return FakeClock().install(monkeypatch)


@pytest.fixture
def server(clock):
    return TokenServer(clock)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "session.json"


@pytest.fixture
def program(server, path):
    """A program that has signed in and keeps its session in a file."""
    return Program("httpx", server, store=FileStore(path)).sign_in()


# Files


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_only_the_owner_can_read_the_file_from_the_moment_it_is_made(path, monkeypatch, umask):
    modes = set()
    write = os.fsync

    def observed(descriptor: int) -> None:
        modes.update(each.stat().st_mode & 0o777 for each in path.parent.glob("session.json*"))
        write(descriptor)

    monkeypatch.setattr(stores.os, "fsync", observed)
    before = os.umask(umask)
    try:
        store = FileStore(path)
        with store.lock():
            store.save("secret")
    finally:
        os.umask(before)
    assert modes == {0o600 & ~umask}
    assert store.load() == "secret" or umask == 0o777


def test_a_file_that_others_could_read_is_replaced_by_one_that_they_cannot(path):
    path.write_text("old")
    path.chmod(0o644)
    store = FileStore(path)
    with path.open() as opened_before:
        store.save("new")
        assert opened_before.read() == "old"
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o600)


def test_attack_a_file_put_where_the_new_one_is_written_is_not_written_to(path, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    for plant in (lambda new: new.symlink_to(victim), lambda new: new.hardlink_to(victim)):
        plant(path.with_name("session.json.new"))
        FileStore(path).save("secret")
        assert (victim.read_text(), path.read_text()) == ("untouched", "secret")
        assert path.stat().st_mode & 0o777 == 0o600


def test_attack_a_link_put_where_the_lock_is_opened_is_not_followed(program, path, tmp_path):
    path.with_name("session.json.lock").unlink()
    path.with_name("session.json.lock").symlink_to(tmp_path / "made")
    with pytest.raises(SessionError) as caught:
        program.sign_out()
    assert caught.value.code == "STORE_FAILED"
    assert not (tmp_path / "made").exists()


def test_directories_are_made_for_the_owner_only(tmp_path):
    store = FileStore(tmp_path / "config" / "app" / "session.json")
    with store.lock():
        store.save("text")
    assert (tmp_path / "config" / "app").stat().st_mode & 0o777 == 0o700


def test_a_link_leads_to_the_file_that_is_replaced(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    FileStore(link).save("text")
    assert link.is_symlink()
    assert path.read_text() == "text"


def test_the_file_stays_where_it_is_when_the_program_changes_its_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = FileStore("session.json")
    monkeypatch.chdir("/")
    store.save("text")
    assert (tmp_path / "session.json").read_text() == "text"


def test_a_write_that_fails_leaves_the_old_file(path, monkeypatch):
    store = FileStore(path)
    store.save("old")

    def fail(_descriptor: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(stores.os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        store.save("new")
    assert store.load() == "old"


@pytest.mark.parametrize("make", [lambda path: MemoryStore(), FileStore], ids=["memory", "file"])
def test_a_lock_excludes_threads(path, make):
    store, inside, most = make(path), [], []

    def enter() -> None:
        for _round in range(20):
            with store.lock():
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=enter) for _number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (set(most), len(most)) == ({1}, 160)


def test_a_lock_is_lifted_when_its_holder_is_killed(path):
    code = f"""
import os, sys
sys.path.insert(0, {os.getcwd()!r})
from jwt_sessions.client import FileStore
with FileStore({str(path)!r}).lock():
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stores, "LOCK_TIMEOUT", 0.1)
            with pytest.raises(TimeoutError), FileStore(path).lock():
                pass
        holder.kill()
        with FileStore(path).lock():
            pass


def test_windows_is_told_that_there_is_no_lock(path, monkeypatch):
    monkeypatch.setattr(stores.sys, "platform", "win32")
    with pytest.raises(NotImplementedError, match="flock"):
        FileStore(path)


# What is kept


def test_a_session_goes_on_in_the_next_run(program, server, path, clock):
    for _run in range(3):
        clock.shift(250)
        assert Program("httpx", server, store=FileStore(path)).call().status_code == 200
    assert server.generation == {"s0": 3}


NO_SESSIONS = {
    "text": "These are my notes.\n",
    "list": "[]",
    "other JSON": '{"token": "hunter2"}',
    "half a session": '{"version": 1, "base_url": "https://id.example.com/auth/", "refresh_token": "refre',
    "wrong types": json.dumps(
        {"version": 1, "base_url": "https://id.example.com/auth/", "tenant": None, "audience": None}
        | {"session_id": "s", "refresh_token": ["hunter2"], "access_token": "a"}
        | {"expires_in": 1, "refresh_in": 1, "asked_at": 0}
    ),
    "no numbers": json.dumps(
        {"version": 1, "base_url": "https://id.example.com/auth/", "tenant": None, "audience": None}
        | {"session_id": "s", "refresh_token": "hunter2", "access_token": "a"}
        | {"expires_in": "long", "refresh_in": 1, "asked_at": 0}
    ),
    "later format": '{"version": 2}',
    "no UTF-8": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("content", NO_SESSIONS.values(), ids=NO_SESSIONS)
def test_a_file_that_is_no_session_is_an_error_and_never_overwritten(server, path, content):
    content = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(content)
    program = Program("httpx", server, store=FileStore(path))
    for attempt in (program.call, program.sign_in, program.sign_out):
        with pytest.raises(SessionError) as caught:
            attempt()
        assert (caught.value.code, caught.value.terminal) == ("STORE_UNREADABLE", False)
        assert not SECRET.search("".join(traceback.format_exception(caught.value)))
    assert path.read_bytes() == content
    assert server.asked == []


def test_an_empty_file_is_no_session_yet(server, path):
    path.touch()
    assert Program("httpx", server, store=FileStore(path)).sign_in().call().status_code == 200


def test_a_file_that_breaks_while_a_program_runs_harms_nothing_until_the_token_expires(program, server, path, clock):
    path.write_text("half a fi")
    clock.shift(250)
    assert program.call().status_code == 200
    assert server.refreshes == 0
    clock.shift(60)
    assert refused(program).code == "STORE_UNREADABLE"
    path.unlink()
    clock.shift(2)
    assert refused(program).code == "NO_SESSION"
    assert program.sign_in().call().status_code == 200


def test_a_token_that_could_not_be_saved_is_not_used(program, server, clock, monkeypatch):
    """Its use would begin the end of the refresh token that the store still has."""
    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "_write", lambda *_arguments: (_ for _ in ()).throw(OSError(28, "No space left")))
        clock.shift(250)
        assert program.call().json()["token"] == "access-s0-1"
        clock.shift(60)
        error = refused(program)
        assert (error.code, error.terminal) == ("STORE_FAILED", False)
        assert "No space left" in str(error)
    clock.shift(2)
    assert program.call().status_code == 200
    assert {each.token for each in server.at("/api/")} == {"access-s0-1", "access-s0-4"}
    assert (server.generation, server.ended) == ({"s0": 1}, {})


def test_of_those_who_wait_for_a_store_that_is_held_only_the_first_waits(program, server, clock, path, monkeypatch):
    monkeypatch.setattr(stores, "LOCK_TIMEOUT", 0.2)
    clock.shift(310)
    with FileStore(path).lock():
        waits = count_calls(monkeypatch, "_wait_for")
        errors = [refused(program) for _call in range(5)]
    assert len(waits) == 1
    assert {error.code for error in errors} == {"STORE_FAILED"}
    assert "TimeoutError" in str(errors[0])
    assert server.refreshes == 0


def count_calls(monkeypatch: pytest.MonkeyPatch, name: str) -> list[str]:
    """A list that grows with each call of a method of ``FileStore``."""
    calls: list[str] = []
    method = getattr(FileStore, name)
    monkeypatch.setattr(FileStore, name, lambda *arguments: (calls.append(name), method(*arguments))[1])
    return calls


def test_the_store_is_left_alone_while_the_token_is_good(program, server, clock, monkeypatch):
    loads = count_calls(monkeypatch, "load")
    clock.shift(230)
    for _call in range(3):
        program.call()
    assert len(loads) == 0
    clock.shift(20)
    server.next_answers = [Answer(503, headers={"Retry-After": "20"})]
    for _call in range(3):
        program.call()
    assert (len(loads), server.refreshes) == (1, 1)


def test_saved_before_used(server, clock):
    """Each access token that the server sees was in the store by then, with its refresh token."""
    saved: list[str] = []

    class Noting(MemoryStore):
        def save(self, text: str | None) -> None:
            saved.append(text or "")
            assert server.asked[-1].url.startswith("https://id.example.com/auth/")
            super().save(text)

    program = Program("httpx", server, store=Noting()).sign_in()
    for _expiry in range(5):
        clock.shift(250)
        assert program.call().json()["token"] in saved[-1]
    assert [json.loads(text)["refresh_token"] for text in saved] == [f"refresh-s0-{number}" for number in range(6)]


@pytest.mark.parametrize("lost", [1, 3, 10])
def test_a_program_that_keeps_losing_answers_keeps_its_session(server, clock, lost):
    store = MemoryStore()
    Program("httpx", server, store=store).sign_in()
    for _expiry in range(3):
        clock.shift(301)
        for _time in range(lost):
            server.next_answers = ["lost"]
            assert refused(Program("httpx", server, store=store)).code == "UNREACHABLE"
        assert Program("httpx", server, store=store).call().status_code == 200
    assert (server.generation, server.ended) == ({"s0": 3}, {})


# Nothing is seen


def text_of(error: BaseException) -> Iterator[str]:
    """All that a program, a log or an error tracker may print of an error."""
    yield from traceback.format_exception(error)
    while error is not None:
        yield from (str(error), repr(error), repr(error.args))
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("kind", EVERY_CLIENT)
def test_no_token_or_password_is_seen_in_reprs_logs_and_errors(server, clock, path, kind, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    memory = MemoryStore()
    for store in (memory, FileStore(path)):
        program = Program(kind, server, store=store).sign_in()
        clock.shift(299.5)
        server.next_answers = [
            "connection refused",
            Answer(503),
            Answer(200, {"access_token": "access-s9", "refresh_token": "refresh-s9"}),
            Answer(200, {"access_token": "access-s9", "refresh_token": "refresh-s9", "expires_in": "access-s9"}),
        ]
        for _failure in range(4):
            shown += text_of(refused(program))
            clock.shift(2)
        assert program.call().status_code == 200
        with pytest.raises(SessionError) as caught:
            program.sign_in(WRONG_PASSWORD)
        shown += text_of(caught.value)
        held = program.auth._source
        parts = [
            program.auth,
            store,
            held,
            held._tokens,
            held._tokens.kept,
            held._tokens.seen,
            held._pause,
            held.server,
        ]
        shown += [f"{part!r} {part!s}" for part in parts]
        server.end("logout")
        error = refused(program)
        shown += [*text_of(error), repr(pickle.loads(pickle.dumps(error)))]
    assert SECRET.search(path.with_name("session.json.lock").read_text()) is None
    assert memory.load() is None and not path.exists()
    everything = "\n".join([*shown, caplog.text, *capfd.readouterr()])
    assert "SESSION_ENDED" in everything
    assert SECRET.findall(everything) == []


def test_the_search_for_tokens_finds_them(program, path):
    assert SECRET.search(path.read_text())
    assert SECRET.search(repr(program.auth._source._tokens.kept.access_token))
