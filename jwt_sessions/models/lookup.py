"""The one query of a request: a session with its user and token version, and for a refresh its current token."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connections, models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet

from jwt_sessions.models.compiled import Statement, slot
from jwt_sessions.models.refresh_token import RefreshToken
from jwt_sessions.models.session import Session


@dataclass(frozen=True, slots=True)
class Found:
    """
    A session and what decides about it.

    Attributes:
        session: The session, with ``session.user`` loaded.
        jwt_version: The user's token version.
        reauthenticate_after: The user's re-authentication mark, or ``None``.
        token: The row of the current refresh token where it was asked for and exists, else ``None``.
    """

    session: Session
    jwt_version: int
    reauthenticate_after: Any
    token: RefreshToken | None


def find(session_id: UUID, *, with_token: bool = False) -> Found | None:
    """Read a session by id, in one query and from where sessions are written: a replica may lag behind an end."""
    connection = connections[router.db_for_write(Session)]
    statement = _statement(connection.alias, with_token)
    row = statement.fetch_one(connection, id=session_id)
    return None if row is None else _found(connection.alias, row, with_token)


def _names(model: type[models.Model]) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]


def _found(alias: str, row: list[Any], with_token: bool) -> Found:
    user_model = get_user_model()
    session_names, user_names = _names(Session), _names(user_model)
    user_at = len(session_names)
    version_at = user_at + len(user_names)
    session = Session.from_db(alias, session_names, row[:user_at])
    session.user = user_model.from_db(alias, user_names, row[user_at:version_at])
    token = None
    # The row of a session whose current token was deleted has nothing to join: its key is empty then.
    if with_token and row[version_at + 2] is not None:
        token = RefreshToken.from_db(alias, _names(RefreshToken), row[version_at + 2 :])
    return Found(session, row[version_at] or 0, row[version_at + 1], token)


def _queryset(alias: str, with_token: bool) -> QuerySet[Session, Any]:
    columns = [
        *_names(Session),
        *(f"user__{name}" for name in _names(get_user_model())),
        "user__jwt_token_version__jwt_version",
        "user__jwt_token_version__reauthenticate_after",
    ]
    sessions = Session.objects.using(alias)
    if with_token:
        sessions = sessions.with_current_token()
        columns += [f"current__{name}" for name in _names(RefreshToken)]
    return sessions.filter(pk=slot(Session, "id")).values_list(*columns)


@cache
def _statement(alias: str, with_token: bool) -> _Select:
    return _Select(_queryset(alias, with_token), connections[alias])


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
