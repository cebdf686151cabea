"""
The one path on which access tokens are issued, for sessions and for credentials.

A door (sign-in, refresh, renewal, re-authentication, exchange) has verified what was presented. It says with a
:class:`Step` what it changes, and :func:`issue` does the rest, in this order: audience, re-authentication mark,
membership, idle tenant, deadline, deadline of the audience, hook, signature, storing, noting, answer. Nothing is
stored before the step stores it, so a refusal changes nothing.
"""

from __future__ import annotations

import copy
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from django.db import OperationalError, connections, router, transaction

from jwt_sessions import conf
from jwt_sessions.exceptions import (
    InvalidTarget,
    IssueFailed,
    ReauthenticationRequired,
    SessionEnded,
    TenantIdle,
)
from jwt_sessions.models import RefreshToken, Session, TenantActivity
from jwt_sessions.models.session import AMR_LENGTH
from jwt_sessions.policies import activity_is_due
from jwt_sessions.sessions.access_token import AccessToken, logger, sign_for
from jwt_sessions.sessions.activity import note_activity, note_end, write
from jwt_sessions.sessions.contention import ATTEMPTS
from jwt_sessions.sessions.memberships import accepted_tenants
from jwt_sessions.tokens import opaque
from jwt_sessions.tokens.opaque import OpaqueToken
from jwt_sessions.types import CredentialToken, TokenPair, TokenRequest
from jwt_sessions.verdict.credential import CredentialState
from jwt_sessions.verdict.password import auth_hash
from jwt_sessions.verdict.session import SessionState

S = TypeVar("S", SessionState, CredentialState)
A = TypeVar("A", TokenPair, CredentialToken)
T = TypeVar("T")

_METHOD = re.compile(r"[!#-\[\]-~]+")


class Step(ABC, Generic[S, A]):
    """
    What one door changes on the path, for one attempt.

    Attributes:
        state: What the token is issued for, as it will be; a door changes a copy and keeps what it has seen.
        asked: Audience, tenant, client.
        now: The moment of issue.
    """

    def __init__(self, state: S, asked: TokenRequest, now: datetime) -> None:
        self.state: S = state
        self.asked = asked
        self.now = now

    def join(self) -> None:
        """Check that the tenant asked for accepts the user. Raises TenantForbidden, IssueFailed."""
        if self.state.user is not None and self.asked.tenant is not None:
            accepted_tenants(self.state.user, self.asked.tenant)

    def too_late(self, error: SessionEnded) -> None:
        """Note that a deadline has passed."""

    def prepare(self) -> None:
        """Change what :attr:`state` holds into what is to be stored, and make the refresh token, if there is one."""

    @abstractmethod
    def store(self) -> bool:
        """Store it. ``False``: another request changed the session first, and nothing was stored."""

    def note(self) -> None:
        """Write what is not worth a failure."""

    @abstractmethod
    def answer(self, token: AccessToken) -> A:
        """What is handed back."""


def issue(step: Step[S, A]) -> A | None:
    """
    Issue an access token for a verified request.

    Returns:
        What is handed back; ``None`` if another request changed the session first (see :func:`until_stored`).

    Raises:
        InvalidTarget: The audience may not be issued, or no longer.
        ReauthenticationRequired: The user was marked after the password was given, or the policy of an audience that
            is not the session's own asks for the password again.
        TenantForbidden: The user is no accepted member of the tenant.
        TenantIdle: Nobody was active for the tenant for too long.
        SessionEnded: A deadline has passed.
        IssueDenied, IssueFailed: See :func:`jwt_sessions.sessions.access_token.sign_for`.
    """
    audience = issuable_audience(step.asked.audience or step.state.audience)
    if step.state.must_reauthenticate:
        raise ReauthenticationRequired
    step.join()
    if step.state.tenant_is_idle(step.asked.tenant, step.now):
        raise TenantIdle
    passed = step.state.deadlines().passed(step.now)
    if passed is not None:
        error = SessionEnded(passed.reason, passed.set_by)
        step.too_late(error)
        raise error
    if step.state.deadlines(step.asked.tenant, audience).passed(step.now) is not None:
        # By the policy of another audience: the session lives, and its own audience goes on.
        raise ReauthenticationRequired
    step.prepare()
    token = sign_for(step.state, step.asked, step.now)
    if not step.store():
        return None
    step.note()
    return step.answer(token)


def until_stored(attempt: Callable[[], T | None]) -> T:
    """
    Run an attempt to issue until it stores something: a race is lost once, as the next look finds the winner's change.

    Inside somebody else's transaction a database that breaks it off is not asked again: that transaction is lost.

    Raises:
        IssueFailed: Others were first at every attempt.
        OperationalError: The database broke off the last attempt.
    """
    for attempts_left in reversed(range(ATTEMPTS)):
        try:
            issued = attempt()
        except OperationalError:
            if not attempts_left or connections[router.db_for_write(Session)].in_atomic_block:
                raise
            continue
        if issued is not None:
            return issued
    logger.error("a session was changed by others at every attempt to issue a token for it; no token was issued")
    raise IssueFailed


class SessionStep(Step[SessionState, TokenPair]):
    """
    A step of a door that issues for a session.

    Attributes:
        seen: The session as it is stored; for a new one as it began.
        refresh_token: What is handed back as the refresh token; empty for none.
        row: The row of a new refresh token.
    """

    def __init__(self, seen: SessionState, asked: TokenRequest, now: datetime) -> None:
        super().__init__(replace(seen, session=copy.copy(seen.session)), asked, now)
        self.seen = seen.session
        self.refresh_token = ""
        self.row: RefreshToken | None = None
        self._clock = seen.tenant_active_at

    @property
    def session(self) -> Session:
        """The session as it will be stored."""
        return self.state.session

    def join(self) -> None:
        """Remember the memberships too: deadlines depend on them."""
        self.session.tenants = accepted_tenants(self.state.user, self.asked.tenant)

    def too_late(self, error: SessionEnded) -> None:
        """Store the end, unless the session is not stored itself."""
        if not self.seen._state.adding:
            note_end(self.seen, error.reason, self.now)

    def prepare(self) -> None:
        """Carry the password mark over a change of SECRET_KEY, and set the clocks of an active user."""
        self.session.auth_hash = auth_hash(self.state.user)
        if not self.asked.background and activity_is_due(self.session.last_active_at, self.now):
            self.session.last_active_at = self.now
        clock = self.state.tenant_active_at
        if self.asked.tenant is not None and (
            clock is None or (not self.asked.background and activity_is_due(clock, self.now))
        ):
            self.state = replace(self.state, tenant_active_at=self.now)

    def next_generation(
        self,
        lifetime: timedelta | None,
        sealed_under: OpaqueToken | None = None,
        replaced: RefreshToken | None = None,
    ) -> None:
        """
        Make the refresh token of :attr:`session`'s generation, and its row, which holds a digest and never the token.

        Args:
            lifetime: How long it lives; ``None`` for ever.
            sealed_under: The predecessor under which a copy is sealed, for who loses the answer.
            replaced: The row of the predecessor, which is honoured for a while, but not past its own lifetime.
        """
        session, client = self.session, self.asked.client
        token = opaque.make(session.pk, session.generation)
        session.first_used_at = None
        session.ip_address = client.ip_address or session.ip_address
        session.refresh_expires_at = None if lifetime is None else self.now + lifetime
        self.refresh_token = token.text
        self.row = RefreshToken(
            session=session,
            created_at=self.now,
            expires_at=session.refresh_expires_at,
            lifetime=None if lifetime is None else int(lifetime.total_seconds()),
            generation=token.generation,
            token_hash=token.digest,
            predecessor_expires_at=None if replaced is None else self._early_expiry(replaced),
            content=None if sealed_under is None else sealed_under.seal(token),
            audience=session.audience,
            device_info=client.device or session.device_name,
        )

    def _early_expiry(self, replaced: RefreshToken) -> datetime | None:
        """When a replaced token expires, if it might still be honoured then; as a rule it is not."""
        expires_at = replaced.expires_at
        if expires_at is None or expires_at >= self.now + conf.current().LOST_RESPONSE_WINDOW:
            return None
        return expires_at

    def store(self) -> bool:
        """Store the next generation if there is one, unless another request changed the session first; else changes."""
        if self.row is None:
            self.store_changes()
            return True
        with transaction.atomic(using=router.db_for_write(Session)):
            won = Session.objects.advance(self.seen, self.session)
            if won:
                RefreshToken.objects.supersede(self.seen.pk, self.seen.generation, self.now)
                RefreshToken.objects.store(self.row)
        return won

    def store_changes(self) -> None:
        """Store what follows SECRET_KEY and the memberships, on which deadlines depend; else activity at most."""
        if bytes(self.seen.auth_hash) != self.session.auth_hash or self.seen.tenants != self.session.tenants:
            Session.objects.carry_over(self.seen, self.session)
        elif self.session.last_active_at != self.seen.last_active_at:
            note_activity(self.seen, self.now)

    def note(self) -> None:
        """Write the clock of the tenant."""
        tenant, clock = self.asked.tenant, self.state.tenant_active_at
        if tenant is not None and clock is not None and clock != self._clock:
            write(lambda: TenantActivity.objects.note(self.session.pk, tenant, clock, seen=self._clock is not None))

    def answer(self, token: AccessToken) -> TokenPair:
        """The access token and the refresh token."""
        limits = token.deadlines
        return TokenPair(
            token.text,
            self.refresh_token,
            token.expires_in,
            self.session,
            limits.session_expires_at,
            limits.idle_expires_at,
            rotated=self.row is not None,
            tenant=self.asked.tenant,
            omitted=token.omitted,
        )


def methods(amr: Iterable[str]) -> str:
    """
    Authentication methods (RFC 8176) as they are stored.

    Raises:
        ValueError: One is no word of printable ASCII, or all together are longer than 100 characters.
    """
    names = list(amr)
    stored = " ".join(names)
    if isinstance(amr, str) or len(stored) > AMR_LENGTH or not all(_METHOD.fullmatch(name) for name in names):
        raise ValueError("amr takes names of authentication methods (RFC 8176), for instance ('pwd', 'otp').")
    return stored


def issuable_audience(audience: str | None) -> str:
    """The audience asked for, or the default. Raises InvalidTarget for one that may not be issued."""
    settings = conf.current()
    if audience is None:
        return settings.default_audience
    if audience not in settings.AUDIENCES:
        raise InvalidTarget("This audience is unknown.", field="audience")
    return audience
