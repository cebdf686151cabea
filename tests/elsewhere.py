"""Another server: an issuer with keys of its own, and documents that it serves well or badly."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ISSUER = "https://issuer.example"


class Signer:
    """One key of an issuer."""

    def __init__(self, algorithm: str = "ES256", kid: str | None = "one", bits: int = 2048) -> None:
        self.algorithm = algorithm
        self.kid = kid
        if algorithm == "ES256":
            self.key: Any = ec.generate_private_key(ec.SECP256R1())
            public = ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        elif algorithm == "RS256":
            self.key = rsa.generate_private_key(65537, bits)
            public = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        else:
            self.key = ed25519.Ed25519PrivateKey.generate()
            public = OKPAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        public.pop("key_ops", None)
        self.jwk = public | ({} if kid is None else {"kid": kid})

    @property
    def jwks(self) -> dict[str, Any]:
        return {"keys": [self.jwk]}

    def token(self, *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token that is good at NOW, with changes; a claim or header changed to ``...`` is left out."""
        issued = int(NOW.timestamp())
        good = {"iss": ISSUER, "sub": "17", "aud": "api", "iat": issued, "exp": issued + 300, "jti": "x"}
        head = {"typ": "at+jwt", "kid": self.kid or ...} | (headers or {})
        return jwt.encode(
            {name: value for name, value in (good | claims).items() if value is not ...},
            self.key,
            self.algorithm,
            headers={name: value for name, value in head.items() if value is not ...},
        )


class Server(ThreadingHTTPServer):
    """
    A server on this machine.

    ``respond`` answers a request; ``asked`` holds the headers of each; ``over`` is set at the end of the test, for
    those who would rather wait.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, scheme: str = "http") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.scheme = scheme
        self.asked: list[dict[str, str]] = []
        self.over = threading.Event()
        self.respond: Callable[[Handler], None] = lambda handler: handler.send_error(404)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, as the tests make it do, is no news."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}/document"

    def serves(self, document: object, **headers: str) -> None:
        self.respond = lambda handler: handler.send(json.dumps(document).encode(), **headers)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append({name.lower(): value for name, value in self.headers.items()})
        self.server.respond(self)

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing to standard error."""


@contextmanager
def running(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
