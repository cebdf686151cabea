"""Authorizing a request by its access token: the door of every protected view."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import connections, router, transaction
from django.utils import timezone
from django.utils.functional import cached_property
from django.views.decorators.debug import sensitive_variables

from jwt_sessions import conf
from jwt_sessions.exceptions import InvalidToken, SessionEnded
from jwt_sessions.issuers import BareToken
from jwt_sessions.models import Credential, Session
from jwt_sessions.models.lookup import Found, FoundCredential, find
from jwt_sessions.principal import Principal
from jwt_sessions.sessions.activity import note_activity, note_end, note_first_use, note_tenant_activity
from jwt_sessions.sessions.remembered import VerdictCache
from jwt_sessions.sessions.verdict import find_good, refusal
from jwt_sessions.tokens import access


class VerifiedToken(BareToken):
    """
    A verified access token, and what it belongs to: what ``request.auth`` is.

    Attributes:
        claims: The claims, read-only.
        session: The session; ``None`` for the token of a credential.
        credential: The credential of a token of the type "personal" or "api", else ``None``.
        tenant: The ``tenantId`` claim, or ``None``.

    Unless ``SESSION_CHECK`` is "database", session and credential are read when asked for, and may be gone.
    """

    def __init__(
        self, claims: Mapping[str, Any], session: Session | None = None, credential: Credential | None = None
    ) -> None:
        super().__init__(claims)
        if session is not None:
            self.session = session
        if credential is not None:
            self.credential = credential

    @cached_property
    def session(self) -> Session | None:
        return Session.objects.get(pk=self.claims["sid"]) if self.claims["type"] == "user" else None

    @cached_property
    def credential(self) -> Credential | None:
        return None if self.claims["type"] == "user" else Credential.objects.get(pk=self.claims["client_id"])


@sensitive_variables()
def authorize(token: str, *, background: bool = False, always: bool = False) -> tuple[Any, VerifiedToken]:
    """
    Who a request acts for, and its verified token.

    One read; none with ``SESSION_CHECK="none"``, nor with "cache" while the cache knows that nothing has changed.

    Args:
        token: The access token as presented.
        background: The client acts by itself: no sign of the user.
        always: Ask the database whatever ``SESSION_CHECK`` says.

    Returns:
        The user; for the token of an API credential a :class:`jwt_sessions.principal.Principal`, which has no row.

    Raises:
        InvalidToken, ExpiredToken: See :func:`jwt_sessions.tokens.access.decode`. A credential's token is invalid once
            the credential was revoked, or its owner deactivated or given another version.
        SessionEnded: The token is good but its session is over; the end is stored if it was not yet.
        TenantIdle: The session lives, but nobody was active for the token's tenant for too long.
    """
    now = timezone.now()
    claims = access.decode(token, now)
    check = "database" if always else conf.current().SESSION_CHECK
    if check == "none":
        return _by_claims(claims), VerifiedToken(claims)
    memory = VerdictCache(claims, now) if check == "cache" else None
    if memory is not None and memory.says_yes(background=background):
        return memory.user or Principal(claims), VerifiedToken(claims)
    is_session = claims["type"] == "user"
    found = _checked(claims, now, background=background) if is_session else find_good(claims, now)
    if found is None:
        raise InvalidToken
    if memory is not None:
        _remember(memory, found)
    if isinstance(found, Found):
        return found.session.user, VerifiedToken(claims, found.session)
    credential = found.credential
    return credential.user or Principal(claims), VerifiedToken(claims, credential=credential)


@sensitive_variables()
def authorize_session(
    token: str, *, background: bool = False, for_renewal: bool = False, open_tenant: bool = False
) -> tuple[Session, VerifiedToken]:
    """
    The session and the verified access token of somebody who wants something of the session itself. One read.

    Args:
        token: The access token as presented.
        background: The client acts by itself: no sign of the user.
        for_renewal: Accept a token past its ``softexp``.
        open_tenant: Accept a token whose tenant has gone idle, to give the password for it again.

    Raises:
        InvalidToken: As :func:`authorize`; and the token of a credential has no session.
        ExpiredToken, SessionEnded, TenantIdle: As :func:`authorize`.
    """
    now = timezone.now()
    claims = access.decode(token, now, check_soft_expiry=not for_renewal)
    if claims["type"] != "user":
        raise InvalidToken
    session = _checked(claims, now, background=background, open_tenant=open_tenant).session
    return session, VerifiedToken(claims, session)


def _checked(claims: Mapping[str, Any], now: datetime, *, background: bool = False, open_tenant: bool = False) -> Found:
    """The session of a token, found living; what its request leaves behind is noted."""
    tenant = claims.get("tenantId")
    found = find(UUID(claims["sid"]), tenant=tenant)
    error = refusal(claims, found, now, open_tenant=open_tenant)
    if isinstance(error, SessionEnded) and found is not None:
        note_end(found.session, error.reason, now)
    if error is not None or found is None:
        raise error or InvalidToken
    note_first_use(found.session, claims["gen"], now)
    if not background:
        note_activity(found.session, now)
        if tenant is not None:
            active_at = note_tenant_activity(found.session, tenant, found.tenant_active_at, now)
            found = dataclasses.replace(found, tenant_active_at=active_at)
    return found


def _remember(memory: VerdictCache, found: Found | FoundCredential) -> None:
    """
    Let the cache know a token that was found good. In a transaction (``ATOMIC_REQUESTS``) it is looked at again after.

    What a transaction has read may be older than the stamps (REPEATABLE READ), or its own and never be stored.
    """
    alias = router.db_for_write(Session)
    if connections[alias].in_atomic_block:
        transaction.on_commit(partial(_look_again, memory.claims), using=alias, robust=True)
    else:
        memory.keep(found)


def _look_again(claims: Mapping[str, Any]) -> None:
    now = timezone.now()
    memory = VerdictCache(claims, now)
    found = find_good(claims, now)
    if found is not None:
        memory.keep(found)


def _by_claims(claims: Mapping[str, Any]) -> AbstractBaseUser | Principal:
    """The user with nothing but the key loaded; Django reads the rest should a view ask for it."""
    if claims["type"] == "api":
        return Principal(claims)
    user_model = get_user_model()
    key = user_model._meta.pk
    try:
        value = key.to_python(claims["sub"])
    except ValidationError:
        raise InvalidToken from None
    return user_model.from_db(router.db_for_read(user_model), [key.attname], [value])
