"""A credential as it was read, with everything that decides about it, and its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, cast
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connections, router
from django.db.models import Q

from jwt_sessions.database.statements import Select, column_names, slot
from jwt_sessions.exceptions import EndReason
from jwt_sessions.models import Credential
from jwt_sessions.models.credential import CredentialKind
from jwt_sessions.models.session_policy import book_for, with_policies
from jwt_sessions.policies import Deadline, Deadlines, PolicyBook
from jwt_sessions.verdict.users import VisibleUsers, visible_users


@dataclass(frozen=True, slots=True)
class CredentialState:
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

    # What is asked of sessions alone.
    must_reauthenticate = False

    @property
    def user(self) -> AbstractBaseUser | None:
        """The owner of a personal credential."""
        return cast("AbstractBaseUser | None", self.credential.user)

    @property
    def audience(self) -> str:
        """The audience of its tokens."""
        return self.credential.audience

    def deadlines(self, tenant: str | None = None, audience: str | None = None) -> Deadlines:
        """When the credential ends by itself, and its tokens with it."""
        at = self.credential.expires_at
        return Deadlines([] if at is None else [Deadline(at, EndReason.EXPIRED, "credential")])

    def tenant_is_idle(self, tenant: str | None, now: datetime) -> bool:
        """No: nobody is active or idle."""
        return False

    def lives(self, now: datetime) -> bool:
        """Whether the credential may be exchanged at ``now``."""
        if self.credential.revoked_at is not None or self.deadlines().passed(now) is not None:
            return False
        return self.credential.kind == CredentialKind.API if self.user is None else self.user.is_active

    def accepts(self, claims: Mapping[str, Any], now: datetime) -> bool:
        """Whether a genuine access token of this credential, with these claims, is good at ``now``."""
        if self.credential.kind != claims["type"] or not self.lives(now):
            return False
        if self.user is None:
            return bool(claims["sub"] == claims["client_id"])
        return bool(str(self.user.pk) == claims["sub"] and self.jwt_version == claims["jwt_version"])


def find_credential(client_id: UUID) -> CredentialState | None:
    """Read a credential by its client id, in one query; none whose owner the user model's default manager hides."""
    connection = connections[router.db_for_write(Credential)]
    statement = _statement(connection.alias, visible_users(connection.alias))
    row = statement.fetch_one(connection, client_id=client_id)
    if row is None:
        return None
    user_model = get_user_model()
    names, user_names = column_names(Credential), column_names(user_model)
    user_at, version_at = len(names), len(names) + len(user_names)
    credential = Credential.from_db(connection.alias, names, row[:user_at])
    if credential.user_id is not None:
        credential.user = user_model.from_db(connection.alias, user_names, row[user_at:version_at])
    version, revision = row[version_at:]
    return CredentialState(credential, version or 0, book_for(revision))


def state_of_credential(credential: Credential, now: datetime) -> str:
    """How a credential, read with its owner, is shown: "live", "revoked", "owner not active" or "expired"."""
    if CredentialState(credential, 0, PolicyBook()).lives(now):
        return "live"
    if credential.revoked_at is not None:
        return "revoked"
    return "expired" if credential.user is None or credential.user.is_active else "owner not active"


@lru_cache(maxsize=64)
def _statement(alias: str, users: VisibleUsers | None) -> Select:
    columns = [
        *column_names(Credential),
        *(f"user__{name}" for name in column_names(get_user_model())),
        "user__jwt_token_version__jwt_version",
        "policies_revision",
    ]
    credentials = with_policies(Credential.objects.using(alias)).filter(pk=slot(Credential, "client_id"))
    if users is not None:
        # That of a service has no user.
        credentials = credentials.filter(Q(user__isnull=True) | Q(user__in=users.keys))
    return Select(credentials.values_list(*columns), connections[alias])
