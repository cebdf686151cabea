"""Starting a session: a sign-in that has already been verified becomes a row and a pair of tokens."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router, transaction
from django.http import HttpRequest
from django.utils import timezone

from jwt_sessions import conf, policies, signals
from jwt_sessions.client_info import client_info
from jwt_sessions.exceptions import EndReason, InvalidCredentials, InvalidTarget
from jwt_sessions.models import RefreshToken, Session, TokenVersion
from jwt_sessions.models.session import DEVICE_NAME_LENGTH
from jwt_sessions.sessions.contention import insistently
from jwt_sessions.sessions.end import end_judged, judged_sessions, jwt_version_of, security_log
from jwt_sessions.sessions.issue import issue_access_token
from jwt_sessions.sessions.verdict import auth_hash
from jwt_sessions.tokens import refresh as refresh_tokens
from jwt_sessions.tokens.refresh import OpaqueToken
from jwt_sessions.types import ClientInfo, TokenPair


def start(
    user: AbstractBaseUser,
    *,
    request: HttpRequest | None = None,
    audience: str | None = None,
    device_name: str = "",
    replace_others: bool = False,
    refresh_token_lifetime: timedelta | None = None,
) -> TokenPair:
    """
    Start a session for a user whose identity was verified.

    Args:
        user: A stored, active user.
        request: The sign-in request, for address and device.
        audience: One of ``AUDIENCES``; the first of them by default.
        device_name: What the user calls the device; cut at 100 characters.
        replace_others: End the user's other sessions, with the reason ``replaced``.
        refresh_token_lifetime: For the first refresh token, instead of ``REFRESH_TOKEN_LIFETIME``.

    Raises:
        InvalidCredentials: The user is not active.
        InvalidTarget: The audience may not be issued.
        IssueDenied, IssueFailed: See :func:`jwt_sessions.sessions.issue.issue_access_token`. Nothing was stored.
    """
    if not user.is_active:
        raise InvalidCredentials
    now, client = timezone.now(), client_info(request)
    others = judged_sessions(user, now) if replace_others else []
    lifetime = refresh_token_lifetime or conf.current().REFRESH_TOKEN_LIFETIME
    session = Session(
        user=user,  # type: ignore[misc]  # any user model
        created_at=now,
        last_active_at=now,
        refresh_expires_at=None if lifetime is None else now + lifetime,
        jwt_version=jwt_version_of(others[0][0]) if others else _version_of(user),
        auth_hash=auth_hash(user),
        audience=issuable_audience(audience),
        device_name=device_name[:DEVICE_NAME_LENGTH],
        ip_address=client.ip_address,
    )
    deadlines = policies.deadlines(session, policies.environment())
    access = issue_access_token(session, deadlines, audience=session.audience, client=client, now=now)
    token = refresh_tokens.make(session.pk, 0)
    row = new_token_row(token, session, lifetime, client, now)
    insistently(lambda: _store(session, row))
    end_judged(others, EndReason.REPLACED, now)
    security_log.info("session %s of user %s started", session.pk, user.pk)
    signals.session_started.send_robust(Session, session=session, user=user, request=request)
    return TokenPair(
        access.text,
        token.text,
        access.expires_in,
        session,
        deadlines.session_expires_at,
        deadlines.idle_expires_at,
        rotated=True,
    )


def _store(session: Session, row: RefreshToken) -> None:
    with transaction.atomic(using=router.db_for_write(Session)):
        session.save(force_insert=True)
        row.save(force_insert=True)


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


def _version_of(user: AbstractBaseUser) -> int:
    version = TokenVersion.objects.filter(pk=user.pk).values_list("jwt_version", flat=True).first()
    return version or 0
