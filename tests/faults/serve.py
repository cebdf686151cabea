"""
Serves the project on a port, in a child process; a child that is killed is replaced by another, as by gunicorn or
systemd. Run as ``python -m tests.faults.serve PORT`` with DJANGO_SETTINGS_MODULE set.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

import django
from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

from tests.faults.servers import HOST, die_with_parent


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing of each request."""


class Server(ThreadedWSGIServer):
    """One on a socket that listens already: between two children a client waits instead of being refused."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, application: WSGIHandler) -> None:
        super().__init__(listener.getsockname(), QuietHandler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.server_name, self.server_port = listener.getsockname()
        self.setup_environ()
        self.set_app(application)


def main(port: int) -> None:
    django.setup()
    application = get_wsgi_application()
    # All that a request needs is loaded once, in the parent.
    get_resolver().url_patterns  # noqa: B018
    listener = socket.create_server((HOST, port), backlog=64)
    while True:
        child = os.fork()
        if child == 0:
            die_with_parent()
            Server(listener, application).serve_forever()
        _child, status = os.waitpid(child, 0)
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            sys.exit(f"the server ended by itself: {status}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
