"""Authorizing a request by its access token: the door of every protected view."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import router
from django.utils import timezone
from django.utils.functional import cached_property
from django.views.decorators.debug import sensitive_variables

from jwt_sessions import conf
from jwt_sessions.exceptions import ExpiredToken, InvalidToken, SessionEnded, TenantIdle
from jwt_sessions.models import Session
from jwt_sessions.models.lookup import find
from jwt_sessions.sessions.activity import note_activity, note_end, note_first_use, note_tenant_activity
from jwt_sessions.sessions.verdict import tenant_is_idle, verdict
from jwt_sessions.tokens import access


class VerifiedToken:
    """
    A verified access token: what ``request.auth`` is.

    Attributes:
        claims: The claims, read-only.
        session: The session. With ``SESSION_CHECK="none"`` it is read when asked for, and may be gone.
        tenant: The ``tenantId`` claim, or ``None``.
    """

    def __init__(self, claims: Mapping[str, Any], session: Session | None) -> None:
        self.claims = MappingProxyType(claims) if isinstance(claims, dict) else claims
        if session is not None:
            self.session = session

    def __repr__(self) -> str:
        return f"<{type(self).__name__} sid={self.claims['sid']}>"

    @cached_property
    def session(self) -> Session:
        return Session.objects.get(pk=self.claims["sid"])

    @property
    def tenant(self) -> str | None:
        """The tenant the token is for, if any."""
        return self.claims.get("tenantId")


@sensitive_variables()
def authorize(
    token: str, *, background: bool = False, for_renewal: bool = False, open_tenant: bool = False
) -> tuple[AbstractBaseUser, VerifiedToken]:
    """
    The user and the verified token of a request: one read, and with ``SESSION_CHECK="none"`` none.

    Args:
        token: The access token as presented.
        background: The client acts by itself: no sign of the user.
        for_renewal: Accept a token past its ``softexp``.
        open_tenant: Accept a token whose tenant has gone idle, to give the password for it again.

    Raises:
        InvalidToken, ExpiredToken: See :func:`jwt_sessions.tokens.access.decode`.
        SessionEnded: The token is good but its session is over; the end is stored if it was not yet.
        TenantIdle: The session lives, but nobody was active for the token's tenant for too long.
    """
    now = timezone.now()
    claims = access.decode(token, now, check_soft_expiry=not for_renewal)
    tenant = claims.get("tenantId")
    if conf.current().SESSION_CHECK == "none":
        return _user_by_claim(claims), VerifiedToken(claims, None)
    found = find(UUID(claims["sid"]), tenant=tenant)
    if found is None or str(found.session.user.pk) != claims["sub"] or claims["gen"] > found.session.generation:
        raise InvalidToken
    session = found.session
    reason = verdict(session, found.jwt_version, found.policy(), now)
    if reason is not None:
        note_end(session, reason, now)
        raise SessionEnded(reason)
    if claims["gen"] < session.oldest_generation:
        # The password was given again since; who did that holds a newer token.
        raise ExpiredToken
    if tenant is not None and not open_tenant and tenant_is_idle(found, tenant, now):
        raise TenantIdle
    note_first_use(session, claims["gen"], now)
    if not background:
        note_activity(session, now)
        if tenant is not None:
            note_tenant_activity(session, tenant, found.tenant_active_at, now)
    return session.user, VerifiedToken(claims, session)


def _user_by_claim(claims: Mapping[str, Any]) -> AbstractBaseUser:
    """The user with nothing but the key loaded; Django reads the rest should a view ask for it."""
    user_model = get_user_model()
    key = user_model._meta.pk
    try:
        value = key.to_python(claims["sub"])
    except ValidationError:
        raise InvalidToken from None
    return user_model.from_db(router.db_for_read(user_model), [key.attname], [value])
