"""Credentials: making them, telling who presents one, exchanging it for access tokens, revoking it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from jwt_sessions.client_info import client_info
from jwt_sessions.exceptions import InvalidClient, InvalidCredentials, InvalidTarget, TenantForbidden
from jwt_sessions.models import Credential
from jwt_sessions.models.credential import CredentialKind
from jwt_sessions.models.lookup import FoundCredential, find_credential
from jwt_sessions.sessions.activity import note_credential_use
from jwt_sessions.sessions.end import security_log
from jwt_sessions.sessions.issue import mint_for
from jwt_sessions.sessions.start import issuable_audience
from jwt_sessions.sessions.tenants import memberships
from jwt_sessions.sessions.throttle import Attempt
from jwt_sessions.sessions.verdict import credential_lives
from jwt_sessions.types import ClientSecret, CredentialToken, TokenRequest

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
        InvalidTarget: The audience may not be issued.
        TenantForbidden: The user is no accepted member of the tenant.
        ValidationError: A value that the model does not take, as reserved claims or an expiry that has passed.
    """
    if user is not None and not user.is_active:
        raise InvalidCredentials
    if user is not None and tenant:
        memberships(user, tenant)
    secret = SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    credential = Credential(
        kind=CredentialKind.API if user is None else CredentialKind.PERSONAL,
        user=user,  # type: ignore[misc]  # any user model
        created_at=timezone.now(),
        expires_at=expires_at,
        may_introspect=may_introspect,
        secret_hash=_digest(secret),
        name=name,
        audience=issuable_audience(audience),
        tenant=tenant,
        claims=claims or {},
    )
    # The user is one, and to look for the row again is not worth a query.
    credential.clean_fields(exclude={"user"})
    credential.clean()
    credential.save(force_insert=True)
    security_log.info("%s credential %s of user %s created", credential.kind, credential.pk, credential.user_id)
    return NewCredential(credential, secret)


@sensitive_variables()
def authenticate_client(
    presented: ClientSecret, *, request: HttpRequest, to_introspect: bool = False
) -> FoundCredential:
    """
    The living credential of a client id and secret (RFC 6749 §2.3.1). One read; its use is noted once in a while.

    Failures are throttled by client and by address. The right secret passes at any time: it cannot be guessed, so
    nobody locks out an honest client by failing in its name.

    Args:
        presented: The client id and secret as sent.
        request: The request that presents them.
        to_introspect: It has to be one that may ask about tokens.

    Raises:
        InvalidClient: Unknown, wrong, revoked, expired, not allowed to, or its owner is deactivated; all alike.
        Throttled: It is none, and there were too many such before.
    """
    found, now = _authenticated(presented, request), timezone.now()
    if to_introspect and not found.credential.may_introspect:
        security_log.info("credential %s may not introspect", found.credential.pk)
        raise InvalidClient
    note_credential_use(found.credential, now)
    return found


@sensitive_variables()
def _authenticated(presented: ClientSecret, request: HttpRequest) -> FoundCredential:
    now, client_id = timezone.now(), _parsed(presented.client_id)
    found = None if client_id is None else find_credential(client_id)
    stored = bytes(found.credential.secret_hash) if found is not None else bytes(32)
    genuine = hmac.compare_digest(stored, _digest(presented.client_secret))
    if found is None or not genuine or not credential_lives(found.credential, now):
        # By the id and not by its spelling, of which a UUID has several.
        Attempt("client", str(client_id or presented.client_id), client_info(request).ip_address).begin()
        security_log.info("client authentication failed")
        raise InvalidClient
    return found


def _parsed(client_id: str) -> UUID | None:
    try:
        return UUID(client_id)
    except ValueError:
        return None


def _digest(secret: str) -> bytes:
    """What is stored of a secret. A slow hash has nothing to add to 256 random bits."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


@sensitive_variables()
def exchange_credential(
    presented: ClientSecret, *, request: HttpRequest, audience: str | None = None, tenant: str | None = None
) -> CredentialToken:
    """
    Exchange a credential for an access token (``client_credentials``, RFC 6749 §4.4). At most two statements.

    Args:
        presented: The client id and secret as sent.
        request: The request that presents them.
        audience: If told, the audience of the credential.
        tenant: If told, the tenant of the credential; or, for a personal one without, any that accepted its owner.

    Raises:
        InvalidClient, Throttled: See :func:`authenticate_client`.
        InvalidTarget: The credential is for another audience, or for one that is no longer issued.
        TenantForbidden: It is for another tenant, or its owner is no accepted member.
        IssueDenied, IssueFailed: No token was issued.
    """
    now = timezone.now()
    found = _authenticated(presented, request)
    credential = found.credential
    if audience not in (None, issuable_audience(credential.audience)):
        raise InvalidTarget("The credential is for another audience.", field="audience")
    asked = TokenRequest(client_info(request), credential.audience, _tenant(credential, tenant))
    token = mint_for(found, asked, now)
    note_credential_use(credential, now)
    return CredentialToken(token.text, token.expires_in, credential, asked.tenant, token.omitted)


def _tenant(credential: Credential, asked: str | None) -> str | None:
    tenant = asked or credential.tenant or None
    if tenant is None:
        return None
    if credential.tenant not in ("", tenant):
        raise TenantForbidden
    if credential.user is not None:
        memberships(credential.user, tenant)
    elif credential.tenant != tenant:
        raise TenantForbidden
    return tenant


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
