"""Re-authentication: a user who was verified again goes on with the same session, in a new generation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from django.http import HttpRequest
from django.utils import timezone

from jwt_sessions.client_info import client_info
from jwt_sessions.exceptions import InvalidToken
from jwt_sessions.models import Session
from jwt_sessions.policies import value_of
from jwt_sessions.sessions.activity import note_end
from jwt_sessions.sessions.ending import security_log
from jwt_sessions.sessions.issuance import SessionStep, issue, methods, until_stored
from jwt_sessions.types import TokenPair, TokenRequest
from jwt_sessions.verdict.session import SessionState, find


class _Reauthentication(SessionStep):
    """The next generation, before which no token counts; the user was here just now, for the tenant too."""

    def __init__(self, seen: SessionState, asked: TokenRequest, now: datetime, *, amr: str) -> None:
        super().__init__(replace(seen, tenant_active_at=None), asked, now)
        self._clock = seen.tenant_active_at
        self.session.reauthenticated_at = self.session.last_active_at = now
        self.session.amr = amr

    def prepare(self) -> None:
        super().prepare()
        self.session.generation += 1
        self.session.first_generation = self.session.generation
        self.next_generation(value_of(self.state.policy().refresh_token_lifetime))


def reauthenticated(
    session: Session | UUID,
    *,
    amr: Iterable[str] = (),
    request: HttpRequest | None = None,
    tenant: str | None = None,
    audience: str | None = None,
) -> TokenPair:
    """
    Note that the user of a session was verified again: a new ``auth_time`` and generation, and an idle tenant open.

    All tokens of earlier generations are refused from now on; that they are presented is no sign of a thief.

    Args:
        session: The session or its id.
        amr: How the user was authenticated this time (RFC 8176), all methods that count from now on.
        request: The request, for address and device.
        tenant: The tenant that the access token is for.
        audience: The audience that it is for; the session's own by default.

    Raises:
        InvalidToken: There is no such session.
        ValueError: ``amr`` holds what is no name of a method.
        SessionEnded: The session is over, also because the password was changed meanwhile.
        TenantForbidden, IssueDenied, IssueFailed: See :func:`jwt_sessions.sessions.issue`. Nothing is changed.
    """
    session_id = session.pk if isinstance(session, Session) else session
    asked, stored_methods = TokenRequest(client_info(request), audience, tenant), methods(amr)

    def attempt() -> TokenPair | None:
        now = timezone.now()
        found = find(session_id, tenant=tenant)
        if found is None:
            raise InvalidToken
        ended = found.ended(now)
        if ended is not None:
            note_end(found.session, ended.reason, now)
            raise ended
        return issue(_Reauthentication(found, asked, now, amr=stored_methods))

    pair = until_stored(attempt)
    security_log.info("user %s was verified again in session %s", pair.session.user_id, pair.session.pk)
    return pair
