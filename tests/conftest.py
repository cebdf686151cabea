"""What all tests share: quick password hashing, a cache of one's own, a user, a client that signs in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import time_machine

from example_project.accounts.models import User
from tests.clients import Device
from tests.factories import UserFactory


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
