"""What must hold of the database and of all tokens that clients have got, whatever has failed."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from jwt_sessions.models import RefreshToken, RevokedSession, Session
from jwt_sessions.models.session import was_dead
from jwt_sessions.models.session_policy import current_book
from jwt_sessions.tokens import opaque
from tests.faults.client import Client

LONGER_THAN_ALL_DEADLINES = timedelta(days=400)


def assert_lives(client: Client, session_id: str) -> None:
    """The client is signed in, in this session: its tokens work, and lead to tokens that work."""
    assert client.session_id == session_id, "signed in anew"
    for operation in ("call", "refresh", "call"):
        answer = client.insist(operation)
        assert answer.status_code == 200, answer.text
    assert client.session_id == session_id, "signed in anew"
    session = Session.objects.get(pk=client.session_id)
    assert (session.ended_at, session.end_reason) == (None, "")


def assert_rows_are_whole() -> None:
    """Each session has its current token, and none beyond; an end is written in all places; none lasts for ever."""
    later = timezone.now() + LONGER_THAN_ALL_DEADLINES
    assert not Session.objects.exclude(was_dead(later, current_book())).exists(), "a session without a deadline"
    for session in Session.objects.prefetch_related("refresh_tokens"):
        rows = {row.generation: row for row in session.refresh_tokens.all()}
        assert len(rows) == len(session.refresh_tokens.all()), "two tokens of one generation"
        assert max(rows) == session.generation, "the generation and its token do not go together"
        current = rows.pop(session.generation)
        assert (current.revoked_at is None) == (session.ended_at is None), "an end that is half written"
        assert all(row.revoked_at is not None and row.content is None for row in rows.values())
        if session.ended_at is not None:
            assert RevokedSession.objects.filter(pk=session.pk).exists(), "an end that other services are not told"


def assert_what_works_is_recorded(*clients: Client) -> None:
    """
    Try every token that was ever handed out: what works belongs to a living session and is stored.

    The newest first, since an old refresh token rightly ends its session.
    """
    for client in clients:
        for answer in reversed(client.received):
            lives = Session.objects.filter(pk=answer["session_id"], ended_at__isnull=True).exists()
            assert lives or not _access_works(client, answer["access_token"])
            stored = is_stored(answer["refresh_token"])
            assert (lives and stored) or not _refresh_works(client, answer["refresh_token"])


def assert_is_over(client: Client) -> None:
    """Nothing that the client has got works."""
    assert Session.objects.get(pk=client.session_id).ended_at is not None
    for answer in client.received:
        assert not _access_works(client, answer["access_token"])
        assert not _refresh_works(client, answer["refresh_token"])


def is_stored(refresh_token: str) -> bool:
    token = opaque.parse(refresh_token)
    return RefreshToken.objects.filter(session_id=token.session_id, token_hash=token.digest).exists()


def _access_works(client: Client, token: str) -> bool:
    return client.http.get(f"{client.origin}/api/me/", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def _refresh_works(client: Client, token: str) -> bool:
    body = {"grant_type": "refresh_token", "refresh_token": token}
    return client.http.post(f"{client.origin}/auth/token/", json=body).status_code == 200
