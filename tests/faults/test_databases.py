"""The connection to the database is lost, the database crashes, or fails over to its standby, around a COMMIT."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from jwt_sessions.models import Session
from tests.faults.client import Client
from tests.faults.conftest import Stand
from tests.faults.proxy import MOMENTS, Moment
from tests.faults.servers import wait_until
from tests.faults.state import assert_is_over, assert_lives, assert_rows_are_whole, assert_what_works_is_recorded

OPERATIONS = ("sign_in", "refresh", "reauthenticate", "end")


def strike(
    stand: Stand,
    moment: Moment,
    operation: str,
    act: Callable[[], object] = lambda: None,
    mend: Callable[[], object] = lambda: None,
) -> Client:
    """
    Let a client do an operation and cut the connection at its COMMIT.

    Args:
        stand: The stand.
        moment: When it is cut.
        operation: What the client does.
        act: What else happens in that moment.
        mend: What is done about it a while later, by others than the client.
    """
    client = stand.client() if operation == "sign_in" else stand.signed_in()
    began_with = client.tokens.get("session_id")
    cuts = stand.to_database.cuts
    stand.to_database.strike(moment, act)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.insist, operation)
        wait_until(lambda: stand.to_database.cuts == cuts + 1, "the cut")
        mend()
        assert answer.result().status_code in (200, 204)
    connection.close()
    return_to_normal(client, operation, began_with)
    return client


def return_to_normal(client: Client, operation: str, began_with: str | None) -> None:
    saw, did = client.saw.copy(), client.did.copy()
    if operation == "end":
        assert Session.objects.get(pk=client.session_id).end_reason == "logout"
        assert_is_over(client)
    else:
        assert_lives(client, began_with or client.session_id)
    assert_rows_are_whole()
    assert_what_works_is_recorded(client)
    # What comes of these checks is no answer to the fault.
    client.saw, client.did = saw, did


def after(operation: str, client: Client) -> str:
    if operation == "end":
        return "ended, no token works"
    if operation == "sign_in":
        orphans = Session.objects.filter(user=client.user).exclude(pk=client.session_id).count()
        return "signed in" + (f"; {orphans} session that nobody has a token of" if orphans else "")
    return "the same session lives"


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_connection_lost(stand: Stand, report, moment, operation):
    client = strike(stand, moment, operation)
    report(f"connection lost {moment} of {operation}", client, after=after(operation, client))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_database_killed_and_restarted(stand: Stand, report, moment, operation):
    client = strike(stand, moment, operation, act=stand.database.kill, mend=stand.database.start)
    report(f"database killed {moment} of {operation}, and restarted", client, after=after(operation, client))


@pytest.mark.parametrize("operation", ["refresh", "end"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_failover(stand: Stand, report, moment, operation):
    standby = stand.database.standby(stand.directory / f"standby-{moment}-{operation}".replace(" ", "-"))

    def fail_over():
        standby.promote()
        stand.use(standby)

    client = strike(stand, moment, operation, act=stand.database.kill, mend=fail_over)
    fault = f"database killed {moment} of {operation}, failover to a synchronous standby"
    report(fault, client, after=after(operation, client))


def test_restart_between_requests(stand: Stand, report):
    """Connections that the server keeps are dead, and nobody has told it."""
    client = stand.signed_in()
    began_with = client.session_id
    stand.database.restart()
    connection.close()
    assert client.insist("refresh").status_code == 200
    return_to_normal(client, "refresh", began_with)
    report("database restarted between two requests", client, after=after("refresh", client))
