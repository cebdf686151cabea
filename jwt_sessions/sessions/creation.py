"""Starting a session: a sign-in that has already been verified becomes a row and a pair of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, router, transaction
from django.http import HttpRequest
from django.utils import timezone

from jwt_sessions import signals
from jwt_sessions.client_info import client_info
from jwt_sessions.exceptions import EndReason, InvalidCredentials, InvalidToken, JWTSessionsError, SessionLimit
from jwt_sessions.models import RefreshToken, Session
from jwt_sessions.models.session import DEVICE_NAME_LENGTH
from jwt_sessions.policies import value_of
from jwt_sessions.sessions.contention import with_retries
from jwt_sessions.sessions.ending import Ended, security_log, tell
from jwt_sessions.sessions.issuance import SessionStep, issuable_audience, issue, methods, until_stored
from jwt_sessions.sessions.limits import make_room
from jwt_sessions.types import TokenPair, TokenRequest
from jwt_sessions.verdict.session import SessionState, state_of_new


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


class _Start(SessionStep):
    """A new session."""

    def __init__(
        self,
        state: SessionState,
        asked: TokenRequest,
        now: datetime,
        *,
        lifetime: timedelta | None,
        replace_others: bool,
        voucher: Voucher | None,
    ) -> None:
        super().__init__(state, asked, now)
        self.ended: list[Ended] = []
        self._attempted = False
        self._lifetime = lifetime
        self._replace_others = replace_others
        self._voucher = voucher

    def prepare(self) -> None:
        super().prepare()
        self.next_generation(self._lifetime or value_of(self.state.policy().refresh_token_lifetime))

    def store(self) -> bool:
        with_retries(self._store)
        return True

    def _store(self) -> None:
        if self._attempted and self.row is not None and RefreshToken.objects.filter(pk=self.row.pk).exists():
            # The connection was lost on COMMIT, and the database had done it.
            return
        self._attempted = True
        with transaction.atomic(using=router.db_for_write(Session)):
            if self._voucher is not None:
                self._voucher.spend()
            self.ended = make_room(self.session, self.state.policy(), self._replace_others, self.now)
            self.session.save(force_insert=True)
            if self.row is not None:
                self.row.save(force_insert=True)


def start(
    user: AbstractBaseUser,
    *,
    request: HttpRequest | None = None,
    audience: str | None = None,
    tenant: str | None = None,
    device_name: str = "",
    replace_others: bool = False,
    amr: Iterable[str] = (),
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
        amr: How the user was authenticated (RFC 8176), for instance ``("pwd", "otp")``; empty where unknown.
        refresh_token_lifetime: For the first refresh token, instead of what policies and settings say.
        voucher: What the session is started for, unless the identity was verified just now.

    Raises:
        InvalidCredentials: The user is not active, or is nobody: deleted meanwhile, or kept from view by the default
            manager of the user model.
        InvalidTarget: The audience may not be issued.
        SessionLimit: The user has as many sessions as may be, and another is refused.
        InvalidToken: The voucher is no longer good.
        ValueError: ``amr`` holds what is no name of a method.
        TenantForbidden, ReauthenticationRequired, SessionEnded, IssueDenied, IssueFailed: See
            :func:`jwt_sessions.sessions.issue`. Nothing was stored.
    """
    if not user.is_active:
        raise _nobody(voucher)
    now, audience, client = timezone.now(), issuable_audience(audience), client_info(request)
    session = Session(
        user=user,  # type: ignore[misc]  # any user model
        created_at=now if voucher is None else voucher.authenticated_at,
        last_active_at=now,
        audience=audience,
        device_name=device_name[:DEVICE_NAME_LENGTH],
        amr=methods(amr),
    )
    state = state_of_new(session)
    if state is None:
        raise _nobody(voucher)
    session.jwt_version = state.jwt_version
    if voucher is not None and state.jwt_version:
        # Vouchers bear no version, and raising it ends every token of the user.
        raise InvalidToken
    step = _Start(
        state,
        TokenRequest(client, audience, tenant),
        now,
        lifetime=refresh_token_lifetime,
        replace_others=replace_others,
        voucher=voucher,
    )
    try:
        pair = until_stored(lambda: issue(step))
    except SessionLimit:
        security_log.info("user %s was refused another session", user.pk)
        _tell_limit(step, None)
        raise
    except IntegrityError:
        if state_of_new(session) is not None:
            raise
        # Deleted since the password was verified: there is nobody to store a session for.
        raise _nobody(voucher) from None
    tell(step.ended, now)
    if any(reason is EndReason.SESSION_LIMIT for _session, reason in step.ended):
        _tell_limit(step, pair.session)
    security_log.info("session %s of user %s started", pair.session.pk, user.pk)
    signals.session_started.send_robust(Session, session=pair.session, user=user, request=request)
    return pair


def _nobody(voucher: Voucher | None) -> JWTSessionsError:
    return InvalidCredentials() if voucher is None else InvalidToken()


def _tell_limit(step: _Start, started: Session | None) -> None:
    limit = step.state.policy().max_concurrent_sessions
    ended = [session for session, reason in step.ended if reason is EndReason.SESSION_LIMIT]
    signals.session_limit_reached.send_robust(
        Session,
        user=step.state.user,
        limit=value_of(limit),
        policy=limit and limit.source,
        session=started,
        ended=ended,
    )
