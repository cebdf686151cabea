"""
Refreshing: a refresh token becomes a fresh access token, and as a rule its successor.

Reading, asking ``pre_issue`` and signing come first and hold no lock. Then one short transaction begins with the
compare-and-swap on the session's generation that decides every race; who loses it starts over and finds the winner's
token sealed for itself.
"""

from __future__ import annotations

import copy
from datetime import datetime, timedelta

from django.db import OperationalError, connections, router, transaction
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from jwt_sessions import signals
from jwt_sessions.client_info import client_info
from jwt_sessions.exceptions import EndReason, InvalidToken, ReauthenticationRequired, SessionEnded, TenantIdle
from jwt_sessions.models import RefreshToken, Session
from jwt_sessions.models.lookup import Found, find
from jwt_sessions.policies import Policy, deadlines, value_of
from jwt_sessions.rotation import Current, Previous, Refused, standing
from jwt_sessions.sessions.activity import (
    is_due,
    note_activity,
    note_end,
    note_first_use,
    note_tenant_activity,
)
from jwt_sessions.sessions.contention import ATTEMPTS
from jwt_sessions.sessions.end import record_end, security_log
from jwt_sessions.sessions.issue import mint
from jwt_sessions.sessions.start import issuable_audience, new_token_row
from jwt_sessions.sessions.tenants import memberships
from jwt_sessions.sessions.verdict import auth_hash, must_reauthenticate, tenant_is_idle, verdict
from jwt_sessions.tokens import refresh as refresh_tokens
from jwt_sessions.tokens.refresh import OpaqueToken
from jwt_sessions.types import ClientInfo, TokenPair, TokenRequest


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
        TenantForbidden: The user is no accepted member of the tenant. The refresh token is as it was.
        TenantIdle: Nobody was active for the tenant for too long. The refresh token is as it was.
        ReauthenticationRequired: The user has to give the password again.
        InvalidTarget: The audience may not be issued.
        IssueDenied, IssueFailed: No token was issued; the refresh token is as it was.
    """
    presented = refresh_tokens.parse(refresh_token)
    if audience is not None:
        issuable_audience(audience)
    asked = TokenRequest(client_info(request), audience, tenant, background)
    # A race is lost once: the next look finds the winner's rotation. Beyond that are what databases break off.
    for attempt in range(1, ATTEMPTS + 1):
        now = timezone.now()
        found, how = resolve(presented, now, tenant=tenant, request=request)
        try:
            pair = _exchange(presented, found, how, asked, now)
        except OperationalError:
            if attempt == ATTEMPTS or connections[router.db_for_write(Session)].in_atomic_block:
                raise
            continue
        if pair is not None:
            signals.session_refreshed.send_robust(
                Session, session=pair.session, user=pair.session.user, request=request, rotated=pair.rotated
            )
            return pair
    raise OperationalError("The session was changed by others at every attempt to refresh it.")


def resolve(
    presented: OpaqueToken, now: datetime, *, tenant: str | None = None, request: HttpRequest | None
) -> tuple[Found, Current | Previous]:
    """
    The living session of a presented refresh token, which is its current one or the previous one while honoured.

    Raises:
        InvalidToken: Unknown, or reused; then its session has been ended.
        SessionEnded: Genuine, but its session is over.
    """
    found = find(presented.session_id, tenant=tenant, with_token=True)
    if found is None:
        raise InvalidToken
    session = found.session
    how = standing(presented, session, found.token, now)
    reason = verdict(session, found.jwt_version, found.policy(), now)
    if reason is not None:
        note_end(session, reason, now)
    elif how == Refused(reused=True):
        _end_for_reuse(session, presented, now, request)
    if isinstance(how, Refused):
        raise InvalidToken
    if reason is not None:
        # Of a predecessor nothing is kept once the session has ended, so it can never be told from garbage.
        raise SessionEnded(reason) if isinstance(how, Current) else InvalidToken
    return found, how


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


def _exchange(
    presented: OpaqueToken, found: Found, how: Current | Previous, asked: TokenRequest, now: datetime
) -> TokenPair | None:
    """Answer a token in good standing. ``None``: another request changed the session first."""
    session = found.session
    if must_reauthenticate(found):
        raise ReauthenticationRequired
    after = copy.copy(session)
    after.tenants = memberships(session.user, asked.tenant)
    if tenant_is_idle(found, asked.tenant, now):
        raise TenantIdle
    policy = found.policies.applying(session.audience, after.tenants or ())
    passed = deadlines(session, policy).passed(now)
    if passed is not None:
        # A tenant that the user has joined since is stricter.
        note_end(session, passed.reason, now)
        raise SessionEnded(passed.reason)
    rotates = isinstance(how, Current) and how.previous_is_past and policy.rotates
    after.auth_hash = auth_hash(session.user)
    if not asked.background and (rotates or is_due(session.last_active_at, now)):
        after.last_active_at = now
    row = None
    match how:
        case Previous(successor):
            token = successor
        case Current(current) if rotates:
            token = refresh_tokens.make(session.pk, session.generation + 1)
            row = _next_row(presented, token, current, after, policy, asked.client, now)
        case Current():
            token = presented
    access = mint(after, found.policies, asked, found.tenant_active_at, now)
    if row is None:
        _store_use(session, after, how, now)
    elif not store_rotation(session, after, row, now):
        return None
    if asked.tenant is not None and not (asked.background and found.tenant_active_at):
        note_tenant_activity(session, asked.tenant, found.tenant_active_at, now)
    return access.paired(token.text, after, asked, rotated=rotates)


def _next_row(
    presented: OpaqueToken,
    token: OpaqueToken,
    current: RefreshToken,
    after: Session,
    policy: Policy,
    client: ClientInfo,
    now: datetime,
) -> RefreshToken:
    """The row of a successor, sealed under its predecessor; ``after`` becomes the session as it will be with it."""
    lifetime = _next_lifetime(current, policy)
    after.generation, after.first_used_at = token.generation, None
    after.refresh_expires_at = None if lifetime is None else now + lifetime
    after.ip_address = client.ip_address or after.ip_address
    row = new_token_row(token, after, lifetime, client, now)
    row.content = presented.seal(token)
    return row


def _next_lifetime(current: RefreshToken, policy: Policy) -> timedelta | None:
    """Of the lifetime in force and that of the predecessor (which an administrator may have chosen) the shorter."""
    in_force = value_of(policy.refresh_token_lifetime)
    previous = None if current.lifetime is None else timedelta(seconds=current.lifetime)
    return min((lifetime for lifetime in (in_force, previous) if lifetime is not None), default=None)


def store_rotation(session: Session, after: Session, row: RefreshToken, now: datetime) -> bool:
    """Store the next generation of a session, unless another request changed the session first."""
    with transaction.atomic(using=router.db_for_write(Session)):
        won = Session.objects.advance(session, after)
        if won:
            RefreshToken.objects.supersede(session.pk, session.generation, now)
            RefreshToken.objects.store(row)
    return won


def _store_use(session: Session, after: Session, how: Current | Previous, now: datetime) -> None:
    if isinstance(how, Current):
        RefreshToken.objects.mark_used(session.pk, session.generation, now)
        note_first_use(session, session.generation, now)
    if bytes(session.auth_hash) != after.auth_hash or session.tenants != after.tenants:
        # SECRET_KEY has changed since: what hangs on it follows, so that the session outlives the fallbacks.
        # Or the memberships have, on which the session's deadlines depend.
        Session.objects.carry_over(session, after)
    elif after.last_active_at != session.last_active_at:
        note_activity(session, now)
