"""A session as it was read, with everything that decides about it, and its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, cast
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import EmptyResultSet
from django.db import connections, router
from django.db.models import DateTimeField, QuerySet, Value

from jwt_sessions import conf
from jwt_sessions.database.statements import Select, column_names, slot
from jwt_sessions.exceptions import (
    EndReason,
    ExpiredToken,
    InvalidToken,
    JWTSessionsError,
    SessionEnded,
    TenantIdle,
)
from jwt_sessions.models import RefreshToken, Session, TenantActivity, TokenVersion
from jwt_sessions.models.session_policy import book_for, with_policies
from jwt_sessions.policies import Deadlines, Policy, PolicyBook, deadlines
from jwt_sessions.verdict.password import same_password
from jwt_sessions.verdict.users import VisibleUsers, visible_users


@dataclass(frozen=True, slots=True)
class SessionState:
    """
    A session and what decides about it.

    Attributes:
        session: The session, with ``session.user`` loaded.
        jwt_version: The user's token version.
        reauthenticate_after: The user's re-authentication mark, or ``None``.
        policies: The policies in force.
        tenant_active_at: When the user was last active for the tenant that was asked about, or ``None``.
        token: The row of the current refresh token where it was asked for and exists, else ``None``.
    """

    session: Session
    jwt_version: int
    reauthenticate_after: datetime | None
    policies: PolicyBook
    tenant_active_at: datetime | None = None
    token: RefreshToken | None = None

    @property
    def user(self) -> AbstractBaseUser:
        """The user of the session."""
        return cast(AbstractBaseUser, self.session.user)

    @property
    def must_reauthenticate(self) -> bool:
        """Whether the user was marked after the password was given: no token is issued until it is given again."""
        return self.reauthenticate_after is not None and self.session.authenticated_at < self.reauthenticate_after

    @property
    def audience(self) -> str:
        """The audience that the session signed in to."""
        return self.session.audience

    def policy(self, tenant: str | None = None, audience: str | None = None) -> Policy:
        """What applies to the session, or to its tokens for a tenant and an audience."""
        return self.policies.applying(self.audience, self.session.tenants or (), tenant, audience)

    def deadlines(self, tenant: str | None = None, audience: str | None = None) -> Deadlines:
        """
        When the session ends, or its tokens for a tenant and an audience.

        For a tenant by its policy and its clock, once that was set: how long the user was idle before the first token
        for it is nothing to the tenant. Another audience than the session's own has a say about the tokens for it,
        and none about the session.
        """
        active_at = None if tenant is None else self.tenant_active_at
        return deadlines(self.session, self.policy(None if active_at is None else tenant, audience), active_at)

    def verdict(self, now: datetime) -> EndReason | None:
        """Why the session is over at ``now``, or ``None`` while it lives."""
        session = self.session
        if session.reason is not None:
            return session.reason
        if not session.user.is_active:
            return EndReason.USER_INACTIVE
        if session.jwt_version != self.jwt_version:
            return EndReason.VERSION_RAISED
        if conf.current().PASSWORD_CHANGE_ENDS_SESSIONS and not same_password(session):
            return EndReason.PASSWORD_CHANGED
        passed = self.deadlines().passed(now)
        return None if passed is None else passed.reason

    def ended(self, now: datetime) -> SessionEnded | None:
        """The verdict as an error, which names the policy that set a deadline; ``None`` while the session lives."""
        reason = self.verdict(now)
        if reason is None:
            return None
        # Not stored with the end. Of a policy that was changed since, only what it says as well is told.
        moment = self.session.ended_at or now
        passed = (each for each in self.deadlines() if each.reason is reason and each.at <= moment)
        return SessionEnded(reason, next((each.set_by for each in passed), ""))

    def tenant_is_idle(self, tenant: str | None, now: datetime) -> bool:
        """Whether the idle clock of a tenant ran out. The state was read with that clock; one never set has not."""
        if tenant is None or self.tenant_active_at is None:
            return False
        idle = self.deadlines(tenant).idle
        return idle is not None and idle.at <= now

    def refusal(
        self, claims: Mapping[str, Any], now: datetime, *, idle_tenant: bool = False, to_reauthenticate: bool = False
    ) -> JWTSessionsError | None:
        """
        Why a genuine access token of this session is refused at ``now``, or ``None`` while it is good.

        Args:
            claims: The claims of the token. The state was read with the clock of the tenant that they name.
            now: The moment to judge it at.
            idle_tenant: Accept a token whose tenant has gone idle.
            to_reauthenticate: Accept that too, and a token from just before a re-authentication whose answer nobody
                has used: it was lost, and the client gives the password once more.
        """
        session = self.session
        if str(session.user.pk) != claims["sub"] or claims["gen"] > session.generation:
            return InvalidToken()
        ended = self.ended(now)
        if ended is not None:
            return ended
        answer_is_lost = session.generation == session.oldest_generation and session.first_used_at is None
        if claims["gen"] < session.oldest_generation - (1 if to_reauthenticate and answer_is_lost else 0):
            # The password was given again since; who did that holds a newer token.
            return ExpiredToken()
        if idle_tenant or to_reauthenticate:
            return None
        return TenantIdle() if self.tenant_is_idle(claims.get("tenantId"), now) else None


def find(
    session_id: UUID, *, tenant: str | None = None, with_token: bool = False, of_anybody: bool = False
) -> SessionState | None:
    """
    Read a session by id, in one query and from where sessions are written: a replica may lag behind an end.

    Args:
        session_id: The id.
        tenant: Read the session's idle clock for this tenant too.
        with_token: Read the row of the current refresh token too.
        of_anybody: Find it also if the default manager of the user model keeps its user from view, as to end it.
    """
    connection = connections[router.db_for_write(Session)]
    users = None if of_anybody else visible_users(connection.alias)
    try:
        statement = _statement(connection.alias, tenant is not None, with_token, users)
    except EmptyResultSet:
        # There are no users.
        return None
    row = statement.fetch_one(connection, id=session_id, tenant=tenant)
    return None if row is None else _state(connection.alias, row, with_token)


def find_unended(user: AbstractBaseUser) -> list[SessionState]:
    """The sessions of a user that nothing has ended yet, each to be judged. One query."""
    return [state_of(session) for session in readable_sessions().owned_by(user).not_ended()]


def readable_sessions() -> Any:
    """Sessions with all that :func:`state_of` needs, and with :attr:`Session.device_info`, in one query."""
    return with_policies(Session.objects.with_token_version().with_device_info())


def state_of(session: Session) -> SessionState:
    """The state of a session that was read with :func:`readable_sessions`."""
    # The reverse relation of a user without a row raises an AttributeError.
    version: TokenVersion | None = getattr(session.user, "jwt_token_version", None)
    book = book_for(session.policies_revision)  # type: ignore[attr-defined]
    if version is None:
        return SessionState(session, 0, None, book)
    return SessionState(session, version.jwt_version, version.reauthenticate_after, book)


def state_of_new(session: Session) -> SessionState | None:
    """The state of a session that is about to be stored, from one query about its user; ``None`` if that is nobody."""
    alias = router.db_for_write(Session)
    users = get_user_model()._base_manager.using(alias).filter(pk=session.user.pk)
    visible = visible_users(alias)
    if visible is not None:
        users = users.filter(pk__in=visible.keys)
    columns = ("jwt_token_version__jwt_version", "jwt_token_version__reauthenticate_after", "policies_revision")
    row = with_policies(users).values_list(*columns).first()
    if row is None:
        return None
    version, mark, revision = row
    return SessionState(session, version or 0, mark, book_for(revision))


def _state(alias: str, row: list[Any], with_token: bool) -> SessionState:
    user_model = get_user_model()
    session_names, user_names = column_names(Session), column_names(user_model)
    user_at = len(session_names)
    version_at = user_at + len(user_names)
    session = Session.from_db(alias, session_names, row[:user_at])
    session.user = user_model.from_db(alias, user_names, row[user_at:version_at])
    version, mark, revision, clock, *token_row = row[version_at:]
    token = None
    # A session whose current token was deleted has nothing to join: the key is empty then.
    if with_token and token_row[0] is not None:
        token = RefreshToken.from_db(alias, column_names(RefreshToken), token_row)
    return SessionState(session, version or 0, mark, book_for(revision), clock, token)


def _queryset(alias: str, with_clock: bool, with_token: bool, users: VisibleUsers | None) -> QuerySet[Session, Any]:
    columns = [
        *column_names(Session),
        *(f"user__{name}" for name in column_names(get_user_model())),
        "user__jwt_token_version__jwt_version",
        "user__jwt_token_version__reauthenticate_after",
        "policies_revision",
    ]
    sessions = with_policies(Session.objects.using(alias))
    if users is not None:
        sessions = sessions.filter(user__in=users.keys)
    if with_clock:
        sessions = sessions.with_tenant_activity(slot(TenantActivity, "tenant"))
        columns.append("clock__last_active_at")
    else:
        sessions = sessions.annotate(clock=Value(None, DateTimeField()))
        columns.append("clock")
    if with_token:
        sessions = sessions.with_current_token()
        columns += [f"current__{name}" for name in column_names(RefreshToken)]
    return sessions.filter(pk=slot(Session, "id")).values_list(*columns)


@lru_cache(maxsize=64)
def _statement(alias: str, with_clock: bool, with_token: bool, users: VisibleUsers | None) -> Select:
    return Select(_queryset(alias, with_clock, with_token, users), connections[alias])
