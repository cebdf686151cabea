"""A TCP proxy between the served project and a server, that cuts, delays and turns connections elsewhere."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Literal

from tests.faults.servers import HOST, PATIENCE

Moment = Literal["before COMMIT", "after COMMIT"]
# Neither SET AUTOCOMMIT nor READ COMMITTED.
COMMIT = re.compile(rb"(?<![A-Z])COMMIT(?![A-Z])")
MOMENTS: tuple[Moment, ...] = ("before COMMIT", "after COMMIT")


class Proxy:
    """
    Listens on a port and forwards to another.

    Attributes:
        target: The port that connections are forwarded to, from the next one on.
        delay: Seconds that each answer is held up.
        is_closed: Whether connections are cut as soon as they are used, and no new ones are let through.
        cuts: How often :meth:`strike` has struck.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.target = target
        self.delay = 0.0
        self.is_closed = False
        self.cuts = 0
        self._strike: tuple[Moment, Callable[[], object]] | None = None
        self._listener = socket.create_server((HOST, port), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def strike(self, moment: Moment, act: Callable[[], object]) -> None:
        """
        Cut the connection of the next COMMIT.

        Args:
            moment: Before the server has got it; or after the server has done it, and before the client knows.
            act: What else happens in that moment, for instance that the server dies.
        """
        self._strike = (moment, act)

    def take_strike(self) -> tuple[Moment, Callable[[], object]] | None:
        """What is to happen now, once."""
        strike, self._strike = self._strike, None
        return strike

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection((HOST, self.target)) as server:
            _Connection(self, client, server).run()


class _Connection:
    """One connection through the proxy: two threads, one for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy = proxy
        self.client = client
        self.server = server
        self.is_struck = False
        self.is_answered = threading.Event()

    def run(self) -> None:
        back = threading.Thread(target=self._answers, daemon=True)
        back.start()
        with contextlib.suppress(OSError):
            self._requests()
        _shut(self.server)
        back.join()

    def _requests(self) -> None:
        while (data := self.client.recv(65536)) and not self.proxy.is_closed:
            strike = self.proxy.take_strike() if COMMIT.search(data) else None
            if strike is None:
                self.server.sendall(data)
                continue
            moment, act = strike
            self.is_struck = True
            if moment == "after COMMIT":
                self.server.sendall(data)
                assert self.is_answered.wait(PATIENCE), "the COMMIT was not answered"
            act()
            self.proxy.cuts += 1
            return

    def _answers(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.server.recv(65536):
                if self.is_struck:
                    # Done, and the client is not told.
                    self.is_answered.set()
                    continue
                time.sleep(self.proxy.delay)
                self.client.sendall(data)
        _shut(self.client)


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
