"""Authorizing a request by its access token: the door of every protected view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import connections, router, transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property
from django.views.decorators.debug import sensitive_variables

from jwt_sessions import cache_tags, conf
from jwt_sessions.exceptions import InvalidToken, JWTSessionsError, SessionEnded
from jwt_sessions.models import Credential, Session
from jwt_sessions.principal import Principal
from jwt_sessions.sessions.activity import note_activity, note_end, note_first_use, note_tenant_activity
from jwt_sessions.tokens import access
from jwt_sessions.tokens.verified import BareToken
from jwt_sessions.verdict.cache import VerdictCache
from jwt_sessions.verdict.credential import CredentialState
from jwt_sessions.verdict.session import SessionState, find
from jwt_sessions.verdict.token import find_good

M = TypeVar("M", Session, Credential)


class VerifiedToken(BareToken):
    """
    A verified access token, and what it belongs to: what ``request.auth`` is.

    Attributes:
        claims: The claims, read-only.
        session: The session; ``None`` for the token of a credential.
        credential: The credential of a token of the type "personal" or "api", else ``None``.
        tenant: The ``tenantId`` claim, or ``None``.
        refusal: Makes of an error of this package the exception to raise where session or credential are gone when
            they are asked for. A door that can answer it sets its own.

    Unless ``SESSION_CHECK`` is "database", session and credential are read when asked for.
    """

    refusal: Callable[[JWTSessionsError], Exception] = staticmethod(lambda error: error)

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
        return self._read(Session, "sid") if self.claims["type"] == "user" else None

    @cached_property
    def credential(self) -> Credential | None:
        return None if self.claims["type"] == "user" else self._read(Credential, "client_id")

    def _read(self, model: type[M], claim: str) -> M:
        try:
            return model.objects.get(pk=self.claims[claim])
        except model.DoesNotExist:
            raise self.refusal(InvalidToken()) from None


@sensitive_variables()
def authorize(
    token: str, *, request: HttpRequest | None = None, background: bool = False, always: bool = False
) -> tuple[Any, VerifiedToken]:
    """
    Who a request acts for, and its verified token.

    One read; none with ``SESSION_CHECK="none"``, nor with "cache" while the cache knows that nothing has changed.

    Args:
        token: The access token as presented.
        request: The request that presents it. What it leaves behind is written after the transaction that it is in.
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
    cache = VerdictCache(claims, now) if check == "cache" else None
    if cache is not None and cache.says_yes(background=background):
        return cache.user or Principal(claims), VerifiedToken(claims)
    found: SessionState | CredentialState | None
    if claims["type"] == "user":
        tenant = claims.get("tenantId")
        found = _judged(claims, now, tenant, request=request)
        found = _noted(found, claims["gen"], tenant, now, request, background=background)
    else:
        found = find_good(claims, now)
    if found is None:
        raise InvalidToken
    if cache is not None:
        _remember(cache, found)
    if isinstance(found, SessionState):
        return found.user, VerifiedToken(claims, found.session)
    return found.user or Principal(claims), VerifiedToken(claims, credential=found.credential)


@sensitive_variables()
def session_of(
    token: str,
    now: datetime,
    *,
    tenant: str | None = None,
    to_reauthenticate: bool = False,
    check_soft_expiry: bool = True,
) -> tuple[SessionState, dict[str, Any]]:
    """
    The session of an access token, for who wants something of the session itself, and the token's claims.

    Nothing is noted but an end. One read; two where another tenant is asked for than the token's.

    Args:
        token: The access token as presented.
        now: The moment to judge it at.
        tenant: Read the session's idle clock for this tenant instead of the token's.
        to_reauthenticate: Accept a token that has expired, whose tenant has gone idle, or from just before a
            re-authentication whose answer was lost, to give the password again.
        check_soft_expiry: ``False`` accepts a token past its ``softexp``, to renew it.

    Raises:
        InvalidToken: As :func:`authorize`; and the token of a credential has no session.
        ExpiredToken, SessionEnded, TenantIdle: As :func:`authorize`.
    """
    claims = access.decode(token, now, check_expiry=not to_reauthenticate, check_soft_expiry=check_soft_expiry)
    if claims["type"] != "user":
        raise InvalidToken
    own = claims.get("tenantId")
    found = _judged(claims, now, own, to_reauthenticate=to_reauthenticate)
    if tenant not in (None, own):
        found = _judged(claims, now, tenant, idle_tenant=True)
    return found, claims


def _judged(
    claims: Mapping[str, Any],
    now: datetime,
    tenant: str | None,
    *,
    request: HttpRequest | None = None,
    idle_tenant: bool = False,
    to_reauthenticate: bool = False,
) -> SessionState:
    """The session of a token, read with the clock of a tenant and found living."""
    found = find(UUID(claims["sid"]), tenant=tenant)
    if found is None:
        raise InvalidToken
    error = found.refusal(claims, now, idle_tenant=idle_tenant, to_reauthenticate=to_reauthenticate)
    if isinstance(error, SessionEnded):
        note_end(found.session, error.reason, now, request)
    if error is not None:
        raise error
    return found


def _noted(
    found: SessionState,
    generation: int,
    tenant: str | None,
    now: datetime,
    request: HttpRequest | None,
    *,
    background: bool,
) -> SessionState:
    """Note what a request leaves behind on its session; the state with what is written by now."""
    note_first_use(found.session, generation, now, request)
    if background:
        return found
    note_activity(found.session, now, request)
    if tenant is None:
        return found
    active_at = note_tenant_activity(found.session, tenant, found.tenant_active_at, now, request)
    return replace(found, tenant_active_at=active_at)


def _remember(cache: VerdictCache, found: SessionState | CredentialState) -> None:
    """
    Cache that a token was found good. In a transaction (``ATOMIC_REQUESTS``) it is judged again after the commit.

    What a transaction has read may be older than the tags (REPEATABLE READ), or its own and never be stored. Of one
    without autocommit, managed by hand, nothing is cached: nobody tells when it commits.
    """
    connection = connections[router.db_for_write(Session)]
    if cache_tags.is_manual(connection):
        return
    if connection.in_atomic_block:
        transaction.on_commit(partial(_judge_again, cache.claims), using=connection.alias, robust=True)
    else:
        cache.keep(found)


def _judge_again(claims: Mapping[str, Any]) -> None:
    now = timezone.now()
    cache = VerdictCache(claims, now)
    found = find_good(claims, now)
    if found is not None:
        cache.keep(found)


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
