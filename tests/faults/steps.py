"""In the served project: count the steps of a request, and kill the process before one of them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable
from typing import Any

from django.apps import AppConfig
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.http import HttpRequest, HttpResponse
from redis.connection import AbstractConnection, Connection

KILL_BEFORE = "X-Kill-Before-Step"
STEPS = "X-Steps"
# What a client of Redis sends for itself when it connects.
OWN_COMMANDS = {"HELLO", "CLIENT", "SELECT", "AUTH", "PING"}


class _Request(threading.local):
    kill_before = 0
    steps: list[str] | None = None


request_of_thread = _Request()


def step(name: str) -> None:
    """The next step of the request is about to be taken."""
    steps = request_of_thread.steps
    if steps is None:
        return
    steps.append(name)
    if len(steps) == request_of_thread.kill_before:
        os.kill(os.getpid(), signal.SIGKILL)


class StepsMiddleware:
    """The outermost middleware. The last step is the answer: all is done, and nobody has been told."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_of_thread.kill_before = int(request.headers.get(KILL_BEFORE, 0))
        request_of_thread.steps = steps = []
        response = self.get_response(request)
        step("answer")
        request_of_thread.steps = None
        response[STEPS] = ", ".join(steps)
        return response


class StepsConfig(AppConfig):
    """Steps are statements, COMMIT and commands to Redis."""

    name = "tests.faults"
    label = "faults"

    def ready(self) -> None:
        connection_created.connect(_count_statements)
        _count_commands()


def _count_statements(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if _before_statement in connection.execute_wrappers:
        return
    connection.execute_wrappers.append(_before_statement)
    commit = connection._commit

    def _before_commit() -> None:
        step("COMMIT")
        commit()

    connection._commit = _before_commit


def _before_statement(execute: Callable[..., Any], sql: Any, *arguments: Any) -> Any:
    step(str(sql).split(maxsplit=1)[0])
    return execute(sql, *arguments)


def _count_commands() -> None:
    send = Connection.send_packed_command

    def send_packed_command(self: AbstractConnection, command: Iterable[bytes], *args: Any, **kwargs: Any) -> Any:
        packed = b"".join(command)
        name = packed.split(b"\r\n", 3)[2].decode()
        if name not in OWN_COMMANDS:
            step(f"Redis {name}")
        return send(self, [packed], *args, **kwargs)

    AbstractConnection.send_packed_command = send_packed_command  # type: ignore[method-assign]
