"""The one query of a request: a session with its user and token version, and for a refresh its current token."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connections, models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BigIntegerField, DateTimeField, QuerySet, Subquery, Value

from jwt_sessions.models.compiled import Statement, slot
from jwt_sessions.models.refresh_token import RefreshToken
from jwt_sessions.models.session import Session
from jwt_sessions.models.session_policy import SessionPolicy, book_for
from jwt_sessions.models.tenant_activity import TenantActivity
from jwt_sessions.policies import Policy, PolicyBook


@dataclass(frozen=True, slots=True)
class Found:
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
    tenant_active_at: datetime | None
    token: RefreshToken | None

    def policy(self, tenant: str | None = None) -> Policy:
        """What applies to the session, or to its tokens for a tenant."""
        return self.policies.applying(self.session.audience, self.session.tenants or (), tenant)


def find(session_id: UUID, *, tenant: str | None = None, with_token: bool = False) -> Found | None:
    """
    Read a session by id, in one query and from where sessions are written: a replica may lag behind an end.

    Args:
        session_id: The id.
        tenant: Read the session's idle clock for this tenant too.
        with_token: Read the row of the current refresh token too.
    """
    connection = connections[router.db_for_write(Session)]
    statement = _statement(connection.alias, tenant is not None, with_token)
    row = statement.fetch_one(connection, id=session_id, tenant=tenant)
    return None if row is None else _found(connection.alias, row, with_token)


@dataclass(frozen=True, slots=True)
class Account:
    """What a sign-in needs to know of a user: the token version, and the policies in force."""

    jwt_version: int
    policies: PolicyBook


def find_account(user: AbstractBaseUser) -> Account:
    """Read it, in one query."""
    fingerprint = Subquery(SessionPolicy.objects.fingerprint(), output_field=BigIntegerField(null=True))
    users = get_user_model()._base_manager.using(router.db_for_write(Session)).filter(pk=user.pk)
    row = users.values_list("jwt_token_version__jwt_version", fingerprint).first() or (None, None)
    return Account(row[0] or 0, book_for(row[1]))


def _names(model: type[models.Model]) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]


def _found(alias: str, row: list[Any], with_token: bool) -> Found:
    user_model = get_user_model()
    session_names, user_names = _names(Session), _names(user_model)
    user_at = len(session_names)
    version_at = user_at + len(user_names)
    session = Session.from_db(alias, session_names, row[:user_at])
    session.user = user_model.from_db(alias, user_names, row[user_at:version_at])
    version, mark, fingerprint, clock, *token_row = row[version_at:]
    token = None
    # A session whose current token was deleted has nothing to join: the key is empty then.
    if with_token and token_row[0] is not None:
        token = RefreshToken.from_db(alias, _names(RefreshToken), token_row)
    return Found(session, version or 0, mark, book_for(fingerprint), clock, token)


def _queryset(alias: str, with_clock: bool, with_token: bool) -> QuerySet[Session, Any]:
    columns = [
        *_names(Session),
        *(f"user__{name}" for name in _names(get_user_model())),
        "user__jwt_token_version__jwt_version",
        "user__jwt_token_version__reauthenticate_after",
        "policies_fingerprint",
    ]
    sessions = Session.objects.using(alias).with_policies()
    if with_clock:
        sessions = sessions.with_tenant_activity(slot(TenantActivity, "tenant"))
        columns.append("clock__last_active_at")
    else:
        sessions = sessions.annotate(clock=Value(None, DateTimeField()))
        columns.append("clock")
    if with_token:
        sessions = sessions.with_current_token()
        columns += [f"current__{name}" for name in _names(RefreshToken)]
    return sessions.filter(pk=slot(Session, "id")).values_list(*columns)


@cache
def _statement(alias: str, with_clock: bool, with_token: bool) -> _Select:
    return _Select(_queryset(alias, with_clock, with_token), connections[alias])


class _Select(Statement):
    """A SELECT of one row."""

    def __init__(self, queryset: QuerySet[Session, Any], connection: BaseDatabaseWrapper) -> None:
        compiler = queryset.query.get_compiler(connection=connection)
        super().__init__(compiler.as_sql())
        self.expressions = [expression for expression, _sql, _alias in compiler.select]

    def fetch_one(self, connection: BaseDatabaseWrapper, **values: Any) -> list[Any] | None:
        with connection.cursor() as cursor:
            cursor.execute(self.sql, self.bind(values, connection))
            fetched = cursor.fetchone()
        if fetched is None:
            return None
        row = list(fetched)
        for position, expression, converters in self._converters(connection):
            for convert in converters:
                row[position] = convert(row[position], expression, connection)
        return row

    def _converters(self, connection: BaseDatabaseWrapper) -> Iterable[tuple[int, Any, list[Any]]]:
        """What turns columns into Python values; bound to a connection and its time zone, so it is kept there."""
        kept: dict[tuple[_Select, bool], list[tuple[int, Any, list[Any]]]]
        kept = connection.__dict__.setdefault("_jwt_sessions_converters", {})
        key = (self, settings.USE_TZ)
        if key not in kept:
            found = (
                (
                    position,
                    expression,
                    connection.ops.get_db_converters(expression) + expression.get_db_converters(connection),
                )
                for position, expression in enumerate(self.expressions)
            )
            kept[key] = [entry for entry in found if entry[2]]
        return kept[key]
