"""
The disk of the database is full: a file system of its own in memory, filled to the last byte.

Mounting one takes the rights of root. Where they are missing the table says so.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pymysql
import pytest
from django.core.management import call_command
from django.db import connection

from tests.faults.conftest import Stand
from tests.faults.servers import Database, MariaDB, free_port
from tests.faults.state import assert_lives, assert_rows_are_whole, assert_what_works_is_recorded

SIZE = "160m"
MOST_ROUNDS = 300
MOST_ROWS = 100_000
ENOUGH = 10  # refused requests


class MariaDBWithoutLog(MariaDB):
    """Without the log for standbys: with a full disk the server would wait for room in it instead of refusing."""

    replicates = False


@pytest.fixture
def small_disk(stand: Stand, report) -> Iterator[Path]:
    """A directory on a file system that is soon full."""
    place = stand.directory / "small-disk"
    place.mkdir(mode=0o755)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0755", "tmpfs", str(place)], capture_output=True, text=True
    )
    if mounted.returncode:
        report("disk of the database full", after=f"not possible here: {mounted.stderr.strip()}")
        pytest.skip(f"not possible here: {mounted.stderr.strip()}")
    yield place
    # Lazily: processes of a server that was killed may take a moment to go.
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path, database: Database) -> Path:
    """Take all the room there is, on the disk and in the pages of the database. Answers what is to be deleted again."""
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE faults_ballast (content text)")
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass
    with contextlib.suppress(psycopg.Error, pymysql.Error), database.connect() as connection:
        cursor = connection.cursor()
        for _ in range(MOST_ROWS):
            cursor.execute(f"INSERT INTO faults_ballast VALUES ('{'x' * 4000}')")
        raise AssertionError("the disk is not full")
    return ballast


def test_full_disk(stand: Stand, report, small_disk):
    usual = stand.database
    kind = MariaDBWithoutLog if isinstance(usual, MariaDB) else type(usual)
    database = kind(small_disk / "server", free_port())
    try:
        database.create()
        stand.use(database)
        call_command("migrate", verbosity=0)
        clients = [stand.signed_in() for _ in range(3)]
        ids = [client.session_id for client in clients]
        ballast = fill(small_disk, database)
        refused = 0
        for _ in range(MOST_ROUNDS):
            for client in clients:
                for operation in (client.refresh, client.reauthenticate):
                    answer = operation()
                    assert answer is not None
                    refused += answer.status_code >= 500
                    assert answer.status_code == 200 or answer.status_code >= 500, answer.text
            if refused >= ENOUGH:
                break
        assert refused >= ENOUGH, "nothing was refused"
        ballast.unlink()
        if database.process is not None and database.process.poll() is not None:
            # It could not write its log, and stopped: its supervisor starts it again.
            database.start()
        connection.close()
        for client, session_id in zip(clients, ids, strict=True):
            assert client.insist("reauthenticate").status_code == 200
            assert_lives(client, session_id)
        assert_rows_are_whole()
        assert_what_works_is_recorded(*clients)
        report("disk of the database full", *clients, after="the same sessions live, once there is room")
    finally:
        stand.use(usual)
        database.kill()
