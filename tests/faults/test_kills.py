"""The process of the server is killed (-9) before each step of an operation: statement, COMMIT, Redis, answer."""

from __future__ import annotations

import pytest

from jwt_sessions.models import RefreshToken, Session
from tests.faults.client import Client, steps_of
from tests.faults.conftest import Stand
from tests.faults.state import assert_is_over, assert_lives, assert_rows_are_whole, assert_what_works_is_recorded

MOST_STEPS = 60


def kill_at_each_step(prepare, operation: str, check) -> tuple[list[Client], list[str]]:
    """
    For n = 1, 2, …: prepare a client, kill the server before the n-th step of an operation, let the client go on by
    itself, and check. Ends with the first n that the operation has no step for. Answers the clients and the steps.
    """
    clients = []
    for number in range(1, MOST_STEPS):
        client = prepare()
        answer = client.insist(operation, kill_before=number)
        check(client)
        assert_rows_are_whole()
        assert_what_works_is_recorded(client)
        if not client.did:
            return clients, steps_of(answer)
        clients.append(client)
    raise AssertionError(f"{operation} has more than {MOST_STEPS} steps")


def title(operation: str, steps: list[str]) -> str:
    return f"killed before each of {len(steps)} steps of {operation}: {', '.join(steps)}"


def test_a_server_killed_while_it_signs_in(stand: Stand, report):
    def check(client):
        assert_lives(client, client.received[0]["session_id"])
        left = Session.objects.filter(user=client.user).exclude(pk=client.session_id)
        assert left.count() <= 1
        assert not left.exclude(generation=0, first_used_at=None).exists(), "used by somebody"

    clients, steps = kill_at_each_step(stand.client, "sign_in", check)
    assert "COMMIT" in steps
    orphans = sum(Session.objects.filter(user=client.user).count() - 1 for client in clients)
    assert orphans == sum(step == "answer" or "Redis" in step for step in steps[steps.index("COMMIT") + 1 :]) or orphans
    report(title("sign-in", steps), *clients, after=f"signed in; {orphans} sessions that nobody has a token of, with a deadline")


def test_a_server_killed_while_it_refreshes(stand: Stand, report):
    def check(client):
        assert_lives(client, client.received[0]["session_id"])

    clients, steps = kill_at_each_step(stand.signed_in, "refresh", check)
    assert "COMMIT" in steps
    report(title("refresh", steps), *clients, after="the same session lives")
