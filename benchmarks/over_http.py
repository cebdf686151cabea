"""Throughput of a really served application, seen by clients in another process that keep their connections."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from time import perf_counter

import waitress
from django.contrib.auth.models import User
from django.core.wsgi import get_wsgi_application

from benchmarks.isolation import environment
from benchmarks.pairing import Pairing, pair
from benchmarks.rivals import OURS, SIMPLEJWT, USER_AGENTS, Rival, make_users

CLIENT_COUNTS = (1, 8, 32)
SERVER_THREADS = 8
SECONDS_PER_BLOCK = 0.5


@dataclass(frozen=True, slots=True)
class Throughput:
    """One kind of call by so many clients at once: requests a second of both rivals."""

    name: str
    clients: int
    pairing: Pairing


def compare_throughput(blocks: int) -> list[Throughput]:
    """Compare authenticated requests and chains of refreshes at each number of clients."""
    users = make_users(max(CLIENT_COUNTS))
    return [
        Throughput(name, clients, _compare(prepare, users[:clients], blocks))
        for name, prepare in (("request", _requests), ("refresh", _refresh_chain))
        for clients in CLIENT_COUNTS
    ]


def _requests(rival: Rival, user: User, port: int) -> Callable[[], object]:
    client = _Client(port)
    headers = f"Authorization: Bearer {rival.sign_in(user).access}\r\n"
    return lambda: client.call(f"GET {rival.whoami_path}", headers)


def _refresh_chain(rival: Rival, user: User, port: int) -> Callable[[], object]:
    client = _Client(port)
    token = rival.sign_in(user).refresh

    def refresh() -> None:
        nonlocal token
        body = rival.refresh_body(token)
        headers = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        token = rival.refreshed(client.call(f"POST {rival.refresh_path}", headers, body))

    return refresh


def _compare(prepare: Callable[[Rival, User, int], Callable[[], object]], users: list[User], blocks: int) -> Pairing:
    with _served() as port, ThreadPoolExecutor(len(users)) as threads:
        ours, theirs = ([prepare(rival, user, port) for user in users] for rival in (OURS, SIMPLEJWT))
        return pair(lambda: _throughput(ours, threads), lambda: _throughput(theirs, threads), blocks)


def _throughput(operations: list[Callable[[], object]], threads: ThreadPoolExecutor) -> float:
    """Requests a second when each operation is repeated by a client of its own."""
    begin = perf_counter()
    deadline = begin + SECONDS_PER_BLOCK

    def repeat(operation: Callable[[], object]) -> int:
        calls = 0
        while perf_counter() < deadline:
            operation()
            calls += 1
        return calls

    calls = sum(threads.map(repeat, operations))
    return calls / (perf_counter() - begin)


class _Client:
    """
    A keep-alive HTTP connection that does the least a client can do.

    `http.client` spends as long on parsing an answer's headers as the server on the whole request, and would be what
    is measured.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, target: str, headers: str, body: bytes = b"") -> bytes:
        head = f"{target} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: {USER_AGENTS[0]}\r\n{headers}\r\n"
        self._socket.sendall(head.encode() + body)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._receive()
        answer_head, _, answer = received.partition(b"\r\n\r\n")
        status_line, *fields = answer_head.decode().split("\r\n")
        length = next(int(field[15:]) for field in fields if field.lower().startswith("content-length:"))
        while len(answer) < length:
            answer += self._receive()
        if " 200 " not in status_line:
            raise RuntimeError(f"{target} answered {status_line}: {answer!r}")
        return answer

    def _receive(self) -> bytes:
        received = self._socket.recv(65536)
        if not received:
            raise ConnectionError("The server closed the connection.")
        return received


@contextmanager
def _served() -> Iterator[int]:
    """Serve the project in a child process; yields its port."""
    spawning = get_context("spawn")
    receiver, sender = spawning.Pipe(duplex=False)
    with environment(BENCHMARK_STRICT="true"):
        server = spawning.Process(target=_serve, args=(sender,), daemon=True)
        server.start()
    try:
        yield receiver.recv()
    finally:
        server.terminate()
        server.join()


def _serve(sender: Connection) -> None:
    server = waitress.create_server(get_wsgi_application(), host="127.0.0.1", port=0, threads=SERVER_THREADS)
    sender.send(server.effective_port)
    server.run()
