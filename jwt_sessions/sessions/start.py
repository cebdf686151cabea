"""Starting a session: a sign-in that has already been verified becomes a row and a pair of tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router, transaction
from django.http import HttpRequest
from django.utils import timezone

from jwt_sessions import conf, signals
from jwt_sessions.client_info import client_info
from jwt_sessions.exceptions import (
    EndReason,
    InvalidCredentials,
    InvalidTarget,
    InvalidToken,
    ReauthenticationRequired,
    SessionEnded,
    SessionLimit,
)
from jwt_sessions.models import RefreshToken, Session, TenantActivity
from jwt_sessions.models.lookup import Account, find_account
from jwt_sessions.models.session import DEVICE_NAME_LENGTH
from jwt_sessions.policies import Policy, deadlines, value_of
from jwt_sessions.sessions.contention import insistently
from jwt_sessions.sessions.end import Ended, security_log, tell
from jwt_sessions.sessions.issue import mint
from jwt_sessions.sessions.limit import make_room
from jwt_sessions.sessions.tenants import memberships
from jwt_sessions.sessions.verdict import auth_hash
from jwt_sessions.tokens import refresh as refresh_tokens
from jwt_sessions.tokens.refresh import OpaqueToken
from jwt_sessions.types import ClientInfo, TokenPair, TokenRequest


@dataclass(frozen=True, slots=True)
class Voucher:
    """
    What a session is started for where the password is not given now.

    Attributes:
        authenticated_at: When it was given, or the last moment at which it may have been.
        spend: Writes that the voucher is used, first in the transaction that stores the session; raises if it was.
    """

    authenticated_at: datetime
    spend: Callable[[], None]

    def check(self, session: Session, account: Account, policy: Policy, now: datetime) -> None:
        """Refuse a voucher from before what ends or questions the sessions of its user, or for one that is over."""
        if account.jwt_version:
            # Vouchers bear no version, and raising it ends every token of the user.
            raise InvalidToken
        if account.reauthenticate_after is not None and self.authenticated_at < account.reauthenticate_after:
            raise ReauthenticationRequired
        passed = deadlines(session, policy).passed(now)
        if passed is not None:
            raise SessionEnded(passed.reason)


def start(
    user: AbstractBaseUser,
    *,
    request: HttpRequest | None = None,
    audience: str | None = None,
    tenant: str | None = None,
    device_name: str = "",
    replace_others: bool = False,
    refresh_token_lifetime: timedelta | None = None,
    voucher: Voucher | None = None,
) -> TokenPair:
    """
    Start a session for a user whose identity was verified.

    Args:
        user: A stored, active user.
        request: The sign-in request, for address and device.
        audience: One of ``AUDIENCES``; the first of them by default.
        tenant: The tenant that the access token is for. The session itself has none.
        device_name: What the user calls the device; cut at 100 characters.
        replace_others: End the user's other sessions, with the reason ``replaced``.
        refresh_token_lifetime: For the first refresh token, instead of what policies and settings say.
        voucher: What the session is started for, unless the identity was verified just now.

    Raises:
        InvalidCredentials: The user is not active.
        InvalidTarget: The audience may not be issued.
        TenantForbidden: The user is no accepted member of the tenant.
        SessionLimit: The user has as many sessions as may be, and another is refused.
        InvalidToken, ReauthenticationRequired, SessionEnded: The voucher is good no more.
        IssueDenied, IssueFailed: See :func:`jwt_sessions.sessions.issue.mint`. Nothing was stored.
    """
    if not user.is_active:
        raise InvalidCredentials
    now = timezone.now()
    audience = issuable_audience(audience)
    asked = TokenRequest(client_info(request), audience, tenant)
    account = find_account(user)
    tenants = memberships(user, tenant)
    policy = account.policies.applying(audience, tenants or ())
    lifetime = refresh_token_lifetime or value_of(policy.refresh_token_lifetime)
    session = Session(
        user=user,  # type: ignore[misc]  # any user model
        created_at=now if voucher is None else voucher.authenticated_at,
        last_active_at=now,
        refresh_expires_at=None if lifetime is None else now + lifetime,
        jwt_version=account.jwt_version,
        auth_hash=auth_hash(user),
        audience=audience,
        tenants=tenants,
        device_name=device_name[:DEVICE_NAME_LENGTH],
        ip_address=asked.client.ip_address,
    )
    if voucher is not None:
        voucher.check(session, account, policy, now)
    access = mint(session, account.policies, asked, None, now)
    token = refresh_tokens.make(session.pk, 0)
    row = new_token_row(token, session, lifetime, asked.client, now)

    def store() -> list[Ended]:
        with transaction.atomic(using=router.db_for_write(Session)):
            if voucher is not None:
                voucher.spend()
            ended = make_room(session, policy, replace_others, now)
            session.save(force_insert=True)
            row.save(force_insert=True)
            if tenant is not None:
                TenantActivity.objects.create(session=session, tenant=tenant, last_active_at=now)
        return ended

    try:
        ended = insistently(store)
    except SessionLimit:
        security_log.info("user %s was refused another session", user.pk)
        _tell_limit(user, policy, None, [])
        raise
    tell(ended, now)
    at_limit = [each for each, reason in ended if reason is EndReason.SESSION_LIMIT]
    if at_limit:
        _tell_limit(user, policy, session, at_limit)
    security_log.info("session %s of user %s started", session.pk, user.pk)
    signals.session_started.send_robust(Session, session=session, user=user, request=request)
    return access.paired(token.text, session, asked, rotated=True)


def _tell_limit(user: AbstractBaseUser, policy: Policy, session: Session | None, ended: list[Session]) -> None:
    limit = policy.max_concurrent_sessions
    signals.session_limit_reached.send_robust(
        Session, user=user, limit=value_of(limit), policy=limit and limit.source, session=session, ended=ended
    )


def issuable_audience(audience: str | None) -> str:
    """The audience asked for, or the default. Raises InvalidTarget for one that may not be issued."""
    settings = conf.current()
    if audience is None:
        return settings.default_audience
    if audience not in settings.AUDIENCES:
        raise InvalidTarget("This audience is unknown.", field="audience")
    return audience


def new_token_row(
    token: OpaqueToken, session: Session, lifetime: timedelta | None, client: ClientInfo, now: datetime
) -> RefreshToken:
    """The row of a new refresh token. It holds a digest; the token itself is not in it."""
    return RefreshToken(
        session=session,
        created_at=now,
        expires_at=session.refresh_expires_at,
        lifetime=None if lifetime is None else int(lifetime.total_seconds()),
        generation=token.generation,
        token_hash=token.digest,
        audience=session.audience,
        device_info=client.device or session.device_name,
    )
