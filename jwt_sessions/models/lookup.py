"""The one query of a request: a session or a credential, with its user and token version."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connections, models, router
from django.db.models import BigIntegerField, DateTimeField, QuerySet, Subquery, Value

from jwt_sessions.models.compiled import Select, slot
from jwt_sessions.models.credential import Credential
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
    """What a sign-in needs to know of a user: token version, re-authentication mark, and the policies in force."""

    jwt_version: int
    reauthenticate_after: datetime | None
    policies: PolicyBook


def find_account(user: AbstractBaseUser) -> Account:
    """Read it, in one query."""
    users = get_user_model()._base_manager.using(router.db_for_write(Session)).filter(pk=user.pk)
    columns = ("jwt_token_version__jwt_version", "jwt_token_version__reauthenticate_after", _fingerprint())
    version, mark, policies = users.values_list(*columns).first() or (None, None, None)
    return Account(version or 0, mark, book_for(policies))


def _fingerprint() -> Subquery:
    return Subquery(SessionPolicy.objects.fingerprint(), output_field=BigIntegerField(null=True))


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
def _statement(alias: str, with_clock: bool, with_token: bool) -> Select:
    return Select(_queryset(alias, with_clock, with_token), connections[alias])


@dataclass(frozen=True, slots=True)
class FoundCredential:
    """
    A credential and what decides about it.

    Attributes:
        credential: The credential, with ``credential.user`` loaded if it has one.
        jwt_version: The token version of its owner; 0 for an API credential.
        policies: The policies in force.
    """

    credential: Credential
    jwt_version: int
    policies: PolicyBook


def find_credential(client_id: UUID) -> FoundCredential | None:
    """Read a credential by its client id, in one query."""
    connection = connections[router.db_for_write(Credential)]
    row = _credential_statement(connection.alias).fetch_one(connection, client_id=client_id)
    if row is None:
        return None
    user_model = get_user_model()
    names, user_names = _names(Credential), _names(user_model)
    user_at, version_at = len(names), len(names) + len(user_names)
    credential = Credential.from_db(connection.alias, names, row[:user_at])
    if credential.user_id is not None:
        credential.user = user_model.from_db(connection.alias, user_names, row[user_at:version_at])
    version, fingerprint = row[version_at:]
    return FoundCredential(credential, version or 0, book_for(fingerprint))


@cache
def _credential_statement(alias: str) -> Select:
    columns = [
        *_names(Credential),
        *(f"user__{name}" for name in _names(get_user_model())),
        "user__jwt_token_version__jwt_version",
        "policies_fingerprint",
    ]
    credentials = Credential.objects.using(alias).annotate(policies_fingerprint=_fingerprint())
    credentials = credentials.filter(pk=slot(Credential, "client_id"))
    return Select(credentials.values_list(*columns), connections[alias])
