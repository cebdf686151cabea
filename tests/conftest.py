"""What all tests share: quick password hashing, a cache of one's own, a user, a client that signs in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
import time_machine
from django.contrib.auth.signals import user_logged_out

from example_project.accounts.models import User
from tests.clients import Device
from tests.factories import UserFactory
from tests.served import Served, serving, write_certificate

# A suite of its own, with servers of its own: see tests/faults.
collect_ignore = [] if "FAULTS_DATABASE" in os.environ else ["faults"]


@pytest.fixture(autouse=True)
def quick_hasher(settings):
    """A work factor for production would make each sign-in of a test take half a second."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def own_cache(settings):
    """Keys of its own for each test: several may share one Redis, so none may clear it."""
    prefix = f"test:{uuid4()}"
    settings.CACHES = {name: {**cache, "KEY_PREFIX": prefix} for name, cache in settings.CACHES.items()}


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """A clock that stands until a test moves it. Named before ``device``, it tells the time at sign-in too."""
    with time_machine.travel(datetime(2026, 3, 1, 12, tzinfo=UTC), tick=False) as traveller:
        yield traveller


@pytest.fixture
def user(db) -> User:
    return UserFactory()


@pytest.fixture
def device(user) -> Device:
    """A device on which ``user`` has signed in."""
    return Device(user).sign_in()


@pytest.fixture
def jwt_settings(settings):
    """Change single keys of JWT_SESSIONS: ``jwt_settings(IDLE_TIMEOUT=…)``."""

    def change(**keys: object) -> None:
        settings.JWT_SESSIONS = {**settings.JWT_SESSIONS, **keys}

    return change


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> Path:
    return write_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def origin(certificate) -> Iterator[str]:
    """Where the example project is served. The database is for ``server`` to ask for."""
    with serving(certificate) as url:
        yield url


@pytest.fixture
def issuer_path() -> str:
    """The path of the server's issuer; tests parametrize it."""
    return ""


@pytest.fixture
def server(transactional_db, origin, certificate, issuer_path, jwt_settings, monkeypatch) -> Served:
    """The example project behind a real port of this machine, whose certificate clients trust."""
    monkeypatch.setenv("NO_PROXY", "*")
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"):
        monkeypatch.setenv(variable, str(certificate))
    jwt_settings(ISSUER=f"{origin}{issuer_path}")
    return Served(f"{origin}{issuer_path}")


@pytest.fixture
def logged_out():
    """Django's ``user_logged_out``: the users it was sent for."""
    users = []

    def receiver(sender, request, user, **kwargs):
        users.append(user)

    user_logged_out.connect(receiver)
    yield users
    user_logged_out.disconnect(receiver)
