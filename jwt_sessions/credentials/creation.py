"""Making credentials, listing and revoking them."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from jwt_sessions import conf, sessions
from jwt_sessions.exceptions import InvalidCredentials, TooManyCredentials
from jwt_sessions.models import Credential
from jwt_sessions.models.credential import CredentialKind, secret_digest

security_log = logging.getLogger("jwt_sessions.security")

# What is left behind in a repository or a chat is found by its prefix.
SECRET_PREFIX = "jcs_"  # noqa: S105
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A credential and its secret, which is stored nowhere and stays out of the ``repr``."""

    credential: Credential
    client_secret: str = field(repr=False)


@sensitive_variables()
def create_credential(
    *,
    name: str,
    user: AbstractBaseUser | None = None,
    audience: str | None = None,
    tenant: str = "",
    claims: dict[str, Any] | None = None,
    may_introspect: bool = False,
    expires_at: datetime | None = None,
) -> NewCredential:
    """
    Make a credential: a personal one for a user, else one for an API client.

    Args:
        name: What it is for, at most 100 characters.
        user: The owner, for whom its tokens speak.
        audience: One of ``AUDIENCES``, which its tokens are for; the first of them by default.
        tenant: The tenant that its tokens are for, if any.
        claims: Claims of its tokens.
        may_introspect: Whether it may ask about tokens.
        expires_at: When it ends by itself, and its tokens with it.

    Raises:
        InvalidCredentials: The user is not active.
        TooManyCredentials: The user has as many as may be.
        InvalidTarget: The audience may not be issued.
        TenantForbidden: The user is no accepted member of the tenant.
        ValidationError: A value that the model does not take, as reserved claims or an expiry that has passed.
    """
    if user is not None and not user.is_active:
        raise InvalidCredentials
    most = conf.current().MAX_PERSONAL_CREDENTIALS
    if user is not None and most is not None and len(own_credentials(user)) >= most:
        raise TooManyCredentials
    if user is not None and tenant:
        sessions.accepted_tenants(user, tenant)
    secret = SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    credential = Credential(
        kind=CredentialKind.API if user is None else CredentialKind.PERSONAL,
        user=user,  # type: ignore[misc]  # any user model
        created_at=timezone.now(),
        expires_at=expires_at,
        may_introspect=may_introspect,
        secret_hash=secret_digest(secret),
        name=name,
        audience=sessions.issuable_audience(audience),
        tenant=tenant,
        claims=claims or {},
    )
    # The user is one, and to look for the row again is not worth a query.
    credential.clean_fields(exclude={"user"})
    credential.clean()
    credential.save(force_insert=True)
    security_log.info("%s credential %s of user %s created", credential.kind, credential.pk, credential.user_id)
    return NewCredential(credential, secret)


def own_credentials(user: AbstractBaseUser) -> list[Credential]:
    """The personal credentials of a user that were not revoked, the newest first."""
    return list(Credential.objects.owned_by(user).order_by("-pk"))


def revoke_credential(credential: Credential) -> bool:
    """Revoke a credential: its access tokens die with it, at once. Answers whether it was not revoked before."""
    now = timezone.now()
    revoked = Credential.objects.mark_revoked(credential, now)
    if revoked:
        credential.revoked_at = now
        security_log.info("credential %s revoked", credential.pk)
    return revoked
