"""The server's process is killed (-9) before each step of an operation: statement, COMMIT, word to Redis, answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from jwt_sessions import sessions
from jwt_sessions.models import RefreshToken, RevokedSession, Session
from tests.faults.client import Client, steps_of
from tests.faults.conftest import Stand
from tests.faults.state import assert_is_over, assert_lives, assert_rows_are_whole, assert_what_works_is_recorded

MOST_STEPS = 80


def kill_at_each_step(
    prepare: Callable[[], Client],
    operation: str,
    check: Callable[[Client, str], None],
) -> tuple[str, list[Client]]:
    """
    For n = 1, 2, … until the operation has no n-th step: kill the server before it, and let the client go on.

    Args:
        prepare: Makes a client.
        operation: What it does.
        check: What must hold of it then; the id is that of the session that it began with.

    Returns:
        What was killed, for the table, and the clients whose server was killed.
    """
    clients: list[Client] = []
    for number in range(1, MOST_STEPS):
        client = prepare()
        began_with = client.tokens.get("session_id", "")
        answer = client.insist(operation, kill_before=number)
        assert answer.status_code in (200, 204), answer.text
        check(client, began_with or client.session_id)
        assert_rows_are_whole()
        assert_what_works_is_recorded(client)
        if not client.did:
            steps = steps_of(answer)
            assert len(steps) == len(clients) == number - 1
            return f"killed before each of {len(steps)} steps of {operation}: {shortened(steps)}", clients
        assert (client.saw, client.did) == ({"no answer": 1}, {"same request again": 1})
        clients.append(client)
    raise AssertionError(f"{operation} has more than {MOST_STEPS} steps")


def shortened(steps: list[str]) -> str:
    """The steps in order, with consecutive ones of Redis as one."""
    names = [step.split()[0] for step in steps]
    pairs = zip(names, ["", *names], strict=False)
    return ", ".join(name for name, before in pairs if name != before or name != "Redis")


def others_of(client: Client) -> list[Session]:
    return list(Session.objects.filter(user=client.user).exclude(pk=client.session_id))


def test_sign_in(stand: Stand, report):
    orphans: list[Session] = []

    def check(client, session_id):
        # Stored, and nobody was told: no token of it is anywhere, and it ends by its deadlines.
        assert len(others_of(client)) <= 1
        assert all(other.generation == 0 and other.first_used_at is None for other in others_of(client))
        orphans.extend(others_of(client))
        assert_lives(client, session_id)

    fault, clients = kill_at_each_step(stand.client, "sign_in", check)
    assert "COMMIT" in fault
    assert 1 <= len(orphans) < len(clients)
    after = f"signed in; {len(orphans)} more sessions, of which nobody has a token, each with its deadlines"
    report(fault, *clients, after=after)


def test_sign_in_that_replaces_the_other_sessions(stand: Stand, report):
    replaced: list[Client] = []

    def prepare():
        other = stand.signed_in()
        replaced.append(other)
        return Client(stand.origin, other.user)

    def check(client, session_id):
        assert Session.objects.get(pk=replaced[-1].session_id).end_reason == "replaced"
        assert_is_over(replaced[-1])
        assert [other.end_reason for other in others_of(client)] == ["replaced"] * len(others_of(client))
        assert_lives(client, session_id)

    fault, clients = kill_at_each_step(prepare, "sign_in_alone", check)
    report(fault, *clients, after="signed in; all others ended, as replaced")


def test_refresh(stand: Stand, report):
    fault, clients = kill_at_each_step(stand.signed_in, "refresh", assert_lives)
    assert "COMMIT" in fault
    report(fault, *clients, after="the same session lives")


def test_reauthentication(stand: Stand, report):
    def check(client, session_id):
        assert Session.objects.get(pk=client.session_id).reauthenticated_at is not None
        assert_lives(client, session_id)

    fault, clients = kill_at_each_step(stand.signed_in, "reauthenticate", check)
    assert "COMMIT" in fault
    report(fault, *clients, after="the same session lives, re-authenticated")


def test_sign_out(stand: Stand, report):
    def check(client, session_id):
        assert Session.objects.get(pk=session_id).end_reason == "logout"
        assert_is_over(client)

    fault, clients = kill_at_each_step(stand.signed_in, "end", check)
    assert "COMMIT" in fault
    report(fault, *clients, after="ended, no token works")


def test_end_of_the_other_sessions(stand: Stand, report):
    others: list[Client] = []

    def prepare():
        client = stand.signed_in()
        others[:] = [Client(stand.origin, client.user) for _ in range(2)]
        for other in others:
            other.insist("sign_in")
        return client

    def check(client, session_id):
        for other in others:
            assert Session.objects.get(pk=other.session_id).end_reason == "ended_by_user"
            assert_is_over(other)
        assert_lives(client, session_id)

    fault, clients = kill_at_each_step(prepare, "end_others", check)
    report(fault, *clients, after="the others ended, no token of theirs works; this one lives")


def test_request_that_notes_activity(stand: Stand, report):
    def prepare():
        client = stand.signed_in()
        client.insist("refresh")
        Session.objects.filter(pk=client.session_id).update(last_active_at=timezone.now() - timedelta(hours=1))
        return client

    def check(client, session_id):
        session = Session.objects.get(pk=session_id)
        assert session.first_used_at is not None
        assert timezone.now() - session.last_active_at < timedelta(minutes=10)
        assert_lives(client, session_id)

    fault, clients = kill_at_each_step(prepare, "call", check)
    assert "UPDATE" in fault
    report(fault, *clients, after="the same session lives, activity is noted")


def test_purge(stand: Stand, report):
    def prepare():
        for model in (Session, RevokedSession):
            model.objects.all().delete()
        client = stand.signed_in()
        for _ in range(3):
            client.insist("refresh")
            # The one before is past its grace: the next refresh rotates.
            Session.objects.filter(pk=client.session_id).update(first_used_at=timezone.now() - timedelta(hours=1))
        for _ in range(3):
            sessions.end(sessions.start(client.user).session, reason="logout")
        RevokedSession.objects.update(ended_at=timezone.now() - timedelta(hours=1))
        assert (Session.objects.count(), RefreshToken.objects.count()) == (4, 7)
        return client

    def check(client, session_id):
        assert [session.pk for session in Session.objects.all()] == [UUID(session_id)]
        assert sorted(RefreshToken.objects.values_list("generation", flat=True)) == [2, 3]
        assert not RevokedSession.objects.exists()
        assert_lives(client, session_id)

    fault, clients = kill_at_each_step(prepare, "purge", check)
    assert "DELETE" in fault
    report(fault, *clients, after="the dead are gone, the living session has its last two tokens")
