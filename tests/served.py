"""The example project served over HTTPS, as standard clients find it: by its issuer and what that publishes."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.servers.basehttp import ThreadedWSGIServer
from django.test.testcases import LiveServerThread

from example_project.accounts.models import User
from jwt_sessions.models import Session

HOST = "localhost"


def write_certificate(directory: Path) -> Path:
    """A key and a certificate for ``localhost`` that is its own authority, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "localhost.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)
    )
    return path


class SecureServerThread(LiveServerThread):
    """Django's server for tests, over TLS: standard clients rightly refuse anything else."""

    def __init__(self, certificate: Path) -> None:
        super().__init__(HOST, StaticFilesHandler)
        self.daemon = True
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(certificate)

    def _create_server(self, connections_override: Any = None) -> ThreadedWSGIServer:
        server = super()._create_server(connections_override)
        # The handshake is for the thread of a connection, else a client could hold up all others.
        server.socket = self.context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        return server


@contextmanager
def serving(certificate: Path) -> Iterator[str]:
    """Serve the project of the settings to the end of the block, at the URL that this answers."""
    thread = SecureServerThread(certificate)
    thread.start()
    thread.is_ready.wait()
    if thread.error:
        raise thread.error
    try:
        yield f"https://{HOST}:{thread.port}"
    finally:
        thread.terminate()


class Served:
    """A server that tests know by its issuer only; the rest they look up as clients do (RFC 8414 §3)."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        parts = urlsplit(issuer)
        self.origin = f"{parts.scheme}://{parts.netloc}"

    @cached_property
    def metadata(self) -> dict[str, Any]:
        url = get_well_known_url(self.issuer, external=True)
        metadata = AuthorizationServerMetadata(requests.get(url, timeout=10).json())
        metadata.validate()
        assert metadata["issuer"] == self.issuer  # RFC 8414 §3.3
        return dict(metadata)

    def __getattr__(self, name: str) -> str:
        """An endpoint, by its name in the metadata."""
        if name.endswith(("_endpoint", "_uri")):
            return self.metadata[name]
        raise AttributeError(name)

    @property
    def users_api(self) -> str:
        """A resource that answers with the user's e-mail address."""
        return f"{self.origin}/api/me/"

    @property
    def services_api(self) -> str:
        """A resource for services too, which answers with the ``sub`` of the caller."""
        return f"{self.origin}/api/caller/"


def assert_one_living_session(user: User, *, generation: int) -> None:
    """The user has signed in once, and the session was refreshed as often as told and never taken for stolen."""
    session = Session.objects.get(user=user)
    assert (session.generation, session.end_reason, session.ended_at) == (generation, "", None)
