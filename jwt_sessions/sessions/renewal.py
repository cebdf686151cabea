"""
Refreshing and renewing: a refresh token, or a valid access token, becomes a fresh access token.

Reading, asking ``pre_issue`` and signing come first and hold no lock. Then one short transaction begins with the
compare-and-swap on the session's generation that decides every race; who loses it starts over and finds the winner's
token sealed for itself.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from jwt_sessions import conf, signals
from jwt_sessions.client_info import client_info
from jwt_sessions.exceptions import EndReason, InvalidToken, RenewalDisabled
from jwt_sessions.models import RefreshToken, Session
from jwt_sessions.policies import value_of
from jwt_sessions.sessions.activity import note_end, note_first_use
from jwt_sessions.sessions.authorization import session_of
from jwt_sessions.sessions.ending import record_end, security_log
from jwt_sessions.sessions.issuance import SessionStep, issue, until_stored
from jwt_sessions.tokens import opaque
from jwt_sessions.tokens.opaque import OpaqueToken
from jwt_sessions.types import TokenPair, TokenRequest
from jwt_sessions.verdict.rotation import Current, Previous, Refused, standing
from jwt_sessions.verdict.session import SessionState, find


class _Refresh(SessionStep):
    """The next generation where the current token rotates; else the token to go on with."""

    def __init__(
        self,
        seen: SessionState,
        asked: TokenRequest,
        now: datetime,
        *,
        presented: OpaqueToken,
        how: Current | Previous,
    ) -> None:
        super().__init__(seen, asked, now)
        self._presented = presented
        self._how = how

    def prepare(self) -> None:
        super().prepare()
        policy = self.state.policy()
        match self._how:
            case Previous(successor):
                self.refresh_token = successor.text
            case Current(current, previous_is_past=True) if policy.rotates:
                if not self.asked.background:
                    self.session.last_active_at = self.now
                self.session.generation += 1
                lifetime = _next_lifetime(current, value_of(policy.refresh_token_lifetime))
                self.next_generation(lifetime, sealed_under=self._presented, replaced=current)
            case Current():
                self.refresh_token = self._presented.text

    def store_changes(self) -> None:
        if isinstance(self._how, Current):
            RefreshToken.objects.mark_used(self.seen.pk, self.seen.generation, self.now)
            note_first_use(self.seen, self.seen.generation, self.now)
        super().store_changes()


class _Renewal(SessionStep):
    """A fresh access token of the same generation, and no refresh token."""

    def __init__(self, seen: SessionState, asked: TokenRequest, now: datetime, *, generation: int) -> None:
        super().__init__(seen, asked, now)
        # That of the token at hand: whether the current one was received is not known by this.
        self.session.generation = generation

    def store_changes(self) -> None:
        note_first_use(self.seen, self.session.generation, self.now)
        super().store_changes()


@sensitive_variables()
def refresh(
    refresh_token: str,
    *,
    request: HttpRequest | None = None,
    tenant: str | None = None,
    audience: str | None = None,
    background: bool = False,
) -> TokenPair:
    """
    Exchange a refresh token for an access token and the refresh token to use next.

    Args:
        refresh_token: The token as the client presents it.
        request: The request that presents it, for address and device.
        tenant: The tenant that the access token is for. The session itself has none.
        audience: One of ``AUDIENCES`` for the access token; the session's own by default.
        background: The client refreshes by itself: no sign of the user.

    Raises:
        InvalidToken: Unknown, forged, reused, or its user is gone. A reused one has ended its session.
        SessionEnded: It is genuine and current, but its session is over.
        InvalidTarget: The audience may not be issued.
        TenantForbidden, TenantIdle, ReauthenticationRequired, IssueDenied, IssueFailed: See
            :func:`jwt_sessions.sessions.issue`. The refresh token is unchanged.
    """
    presented = opaque.parse(refresh_token)
    asked = TokenRequest(client_info(request), audience, tenant, background)

    def attempt() -> TokenPair | None:
        now = timezone.now()
        found, how = resolve(presented, now, tenant=tenant, request=request)
        return issue(_Refresh(found, asked, now, presented=presented, how=how))

    pair = until_stored(attempt)
    signals.session_refreshed.send_robust(
        Session, session=pair.session, user=pair.session.user, request=request, rotated=pair.rotated
    )
    return pair


def resolve(
    presented: OpaqueToken, now: datetime, *, tenant: str | None = None, request: HttpRequest | None
) -> tuple[SessionState, Current | Previous]:
    """
    The living session of a presented refresh token, which is its current one or the previous one while honoured.

    Raises:
        InvalidToken: Unknown, or reused; then its session has been ended.
        SessionEnded: Genuine, but its session is over.
    """
    found = find(presented.session_id, tenant=tenant, with_token=True)
    if found is None:
        raise InvalidToken
    how, ended = standing(presented, found.session, found.token, now), found.ended(now)
    if ended is not None:
        note_end(found.session, ended.reason, now)
    elif how == Refused(reused=True):
        _end_for_reuse(found.session, presented, now, request)
    if isinstance(how, Refused):
        raise InvalidToken
    if ended is not None:
        # Of a predecessor nothing is kept once the session has ended, so it can never be told from garbage.
        raise ended if isinstance(how, Current) else InvalidToken
    return found, how


@sensitive_variables()
def look_up(refresh_token: str, now: datetime) -> SessionState | None:
    """
    The living session of a refresh token that is honoured at ``now``, or ``None``. One query.

    Nothing is written: the token does not rotate, no activity is noted, and a reused one ends no session.

    Args:
        refresh_token: The token as it was presented.
        now: The moment to judge it at.
    """
    try:
        presented = opaque.parse(refresh_token)
    except InvalidToken:
        return None
    found = find(presented.session_id, with_token=True)
    if found is None or found.verdict(now) is not None:
        return None
    return None if isinstance(standing(presented, found.session, found.token, now), Refused) else found


@sensitive_variables()
def renew(access_token: str, *, request: HttpRequest, tenant: str | None = None, background: bool = False) -> TokenPair:
    """
    Exchange an access token, while it is valid, for a fresh one of the same session and generation.

    Args:
        access_token: The access token; past its ``softexp`` it is good for this still.
        request: The request.
        tenant: The tenant to act for; that of the access token unless told.
        background: The client renews by itself: no sign of the user.

    Raises:
        RenewalDisabled: ``ALLOW_RENEWAL`` is off.
        InvalidToken, ExpiredToken, TenantIdle, SessionEnded: As for a request with this token.
        TenantForbidden, ReauthenticationRequired, IssueDenied, IssueFailed: See
            :func:`jwt_sessions.sessions.issue`. Nothing is changed.
    """
    if not conf.current().ALLOW_RENEWAL:
        raise RenewalDisabled

    def attempt() -> TokenPair | None:
        now = timezone.now()
        found, claims = session_of(access_token, now, tenant=tenant, check_soft_expiry=False)
        asked = TokenRequest(
            client_info(request), _audience_of(claims["aud"]), tenant or claims.get("tenantId"), background
        )
        return issue(_Renewal(found, asked, now, generation=claims["gen"]))

    return until_stored(attempt)


def _audience_of(named: str | list[Any]) -> str:
    """The audience of a good access token; the first that is known here, where it names several (RFC 7519 §4.1.3)."""
    return named if isinstance(named, str) else next(each for each in named if each in conf.current().AUDIENCES)


def _end_for_reuse(session: Session, presented: OpaqueToken, now: datetime, request: HttpRequest | None) -> None:
    if record_end(session, EndReason.TOKEN_REUSE, now):
        security_log.warning(
            "refresh token of generation %d reused at generation %d: session %s of user %s ended",
            presented.generation,
            session.generation,
            session.pk,
            session.user_id,
        )
        signals.refresh_token_reused.send_robust(
            Session, session=session, generation=presented.generation, request=request
        )


def _next_lifetime(current: RefreshToken, in_force: timedelta | None) -> timedelta | None:
    """Of the lifetime in force and that of the predecessor (which an administrator may have chosen) the shorter."""
    previous = None if current.lifetime is None else timedelta(seconds=current.lifetime)
    return min((lifetime for lifetime in (in_force, previous) if lifetime is not None), default=None)
