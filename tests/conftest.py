"""What all tests share: quick password hashing, a clean cache, a user, a client that signs in."""

from __future__ import annotations

import pytest
from django.core.cache import cache

from example_project.accounts.models import User
from tests.clients import Device
from tests.factories import UserFactory


@pytest.fixture(autouse=True)
def quick_hasher(settings):
    """A work factor for production would make each sign-in of a test take half a second."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def clean_cache():
    """Failed logins of one test must not throttle the next."""
    cache.clear()
    yield
    cache.clear()


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
