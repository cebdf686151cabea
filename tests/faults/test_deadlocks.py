"""A deadlock is forced: another transaction has what an operation waits for, and waits for what the operation has."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from django.db import connection

from jwt_sessions.models import RefreshToken, Session, TokenVersion
from tests.faults.client import Client
from tests.faults.conftest import Stand
from tests.faults.servers import Database, wait_until
from tests.faults.state import assert_is_over, assert_lives, assert_rows_are_whole, assert_what_works_is_recorded

# The model whose row the other transaction locks first, and the one that it wants when the operation waits for that.
ORDERS = {
    "refresh": (RefreshToken, Session),
    "reauthenticate": (RefreshToken, Session),
    "end": (RefreshToken, Session),
    "sign_in_alone": (Session, TokenVersion),
}
KEYS = {RefreshToken: "session_id", Session: "id", TokenVersion: "user_id"}
BALLAST = 200  # rows
# Of two that wait for each other MariaDB breaks off the one that has changed less, PostgreSQL the one that looks first.
OPERATION_IS_THE_VICTIM = {
    "PostgreSQL": ("SET deadlock_timeout = '60s'",),
    "MariaDB": (f"INSERT INTO faults_ballast SELECT seq FROM seq_1_to_{BALLAST}",),
}
WAITING = {
    "PostgreSQL": "SELECT count(*) FROM pg_locks WHERE NOT granted",
    "MariaDB": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
}


def deadlocks_of(database: Database) -> int:
    """How many deadlocks the server has found."""
    if database.kind == "PostgreSQL":
        # Its statistics tell it late.
        return (database.directory / "log").read_text().count("ERROR:  deadlock detected")
    return int(database.ask("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")[0][1])


def lock(model, client: Client) -> str:
    """A statement that locks the row of a client's session or user."""
    value = UUID(client.session_id) if model is not TokenVersion else client.user.pk
    text = str(value) if connection.features.has_native_uuid_field else value.hex
    return f"SELECT 1 FROM {model._meta.db_table} WHERE {KEYS[model]} = '{text}' FOR UPDATE"


@pytest.mark.parametrize("operation", ORDERS)
def test_deadlock(stand: Stand, report, operation):
    client, database = stand.signed_in(), stand.database
    TokenVersion.objects.get_or_create(user=client.user)
    began_with, actor = client.session_id, client
    if operation == "sign_in_alone":
        actor = Client(stand.origin, client.user)
    first, second = ORDERS[operation]
    before = deadlocks_of(database)
    with database.connect() as another, another.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS faults_ballast (number int)")
    with database.connect(autocommit=False) as other, other.cursor() as cursor, ThreadPoolExecutor(1) as pool:
        for statement in OPERATION_IS_THE_VICTIM[database.kind]:
            cursor.execute(statement)
        cursor.execute(lock(first, client))
        answer = pool.submit(actor.insist, operation)
        wait_until(lambda: database.ask(WAITING[database.kind])[0][0] == 1, "waiting for the lock")
        cursor.execute(lock(second, client))
        assert cursor.rowcount == 1
        other.rollback()
        assert answer.result().status_code in (200, 204)
    wait_until(lambda: deadlocks_of(database) == before + 1, "the count of deadlocks")
    # The operation was broken off and done again, and nobody outside noticed.
    assert (actor.saw, actor.did) == ({}, {})
    if operation == "end":
        assert_is_over(client)
        after = "ended, no token works"
    elif operation == "sign_in_alone":
        assert Session.objects.get(pk=began_with).end_reason == "replaced"
        assert_is_over(client)
        assert_lives(actor, actor.session_id)
        assert Session.objects.filter(user=client.user).count() == 2
        after = "signed in, the other session ended"
    else:
        assert_lives(client, began_with)
        after = "the same session lives"
    assert_rows_are_whole()
    assert_what_works_is_recorded(client, actor)
    report(f"deadlock forced on {operation}", actor, after=after)
