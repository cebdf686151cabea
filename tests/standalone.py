"""A database for what runs beside pytest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection
from django.test.utils import setup_test_environment, teardown_test_environment


@contextmanager
def database() -> Iterator[None]:
    """A database of its own, empty."""
    setup_test_environment()
    if connection.vendor == "sqlite":
        settings.DATABASES["default"]["TEST"]["NAME"] = None  # in memory
    before = settings.DATABASES["default"]["NAME"]
    connection.creation.create_test_db(verbosity=0)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(before, verbosity=0)
        teardown_test_environment()
