"""Giving the password again within a session, and renewing a token without it."""

from __future__ import annotations

import copy
from datetime import datetime

from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from jwt_sessions import conf
from jwt_sessions.client_info import client_info
from jwt_sessions.exceptions import InvalidCredentials, InvalidToken, RenewalDisabled, TenantIdle
from jwt_sessions.models import Session
from jwt_sessions.models.lookup import Found, find
from jwt_sessions.policies import value_of
from jwt_sessions.sessions.activity import note_tenant_activity
from jwt_sessions.sessions.authorize import authorize_session
from jwt_sessions.sessions.contention import ATTEMPTS
from jwt_sessions.sessions.end import security_log
from jwt_sessions.sessions.issue import mint
from jwt_sessions.sessions.refresh import store_rotation
from jwt_sessions.sessions.sign_in import verify_password
from jwt_sessions.sessions.start import new_token_row
from jwt_sessions.sessions.tenants import memberships
from jwt_sessions.sessions.verdict import auth_hash, tenant_is_idle
from jwt_sessions.tokens import refresh as refresh_tokens
from jwt_sessions.types import TokenPair, TokenRequest


@sensitive_variables()
def reauthenticate(access_token: str, password: str, *, request: HttpRequest, tenant: str | None = None) -> TokenPair:
    """
    Give the password again: a new ``auth_time``, a new generation, and a tenant gone idle is open again.

    All tokens of earlier generations are refused from now on; that they are presented is no sign of a thief.

    Args:
        access_token: The access token of the session.
        password: The password of its user.
        request: The request.
        tenant: The tenant to act for; that of the access token unless told.

    Raises:
        InvalidCredentials: The password is wrong.
        Throttled: There were too many failures.
        TenantForbidden: The user is no accepted member of the tenant.
        InvalidToken, ExpiredToken, SessionEnded: As for a request with this token.
        IssueDenied, IssueFailed: No token was issued; everything is as it was.
    """
    session, token = authorize_session(access_token, open_tenant=True)
    user = session.user
    if verify_password(request, user.get_username(), password).pk != user.pk:
        raise InvalidCredentials
    asked = TokenRequest(client_info(request), token.claims["aud"], tenant or token.tenant)
    for _attempt in range(ATTEMPTS):
        now = timezone.now()
        found = find(session.pk, tenant=asked.tenant)
        if found is None or found.session.ended_at is not None:
            raise InvalidToken
        pair = _begin_again(found, asked, now)
        if pair is not None:
            security_log.info("user %s gave the password again in session %s", user.pk, found.session.pk)
            return pair
    raise InvalidToken


def _begin_again(found: Found, asked: TokenRequest, now: datetime) -> TokenPair | None:
    """Store the new generation. ``None``: another request changed the session first."""
    session, after = found.session, copy.copy(found.session)
    after.tenants = memberships(session.user, asked.tenant)
    policy = found.policies.applying(session.audience, after.tenants or ())
    lifetime = value_of(policy.refresh_token_lifetime)
    after.generation = after.first_generation = session.generation + 1
    after.reauthenticated_at = after.last_active_at = now
    after.first_used_at = None
    after.auth_hash = auth_hash(session.user)
    after.refresh_expires_at = None if lifetime is None else now + lifetime
    access = mint(after, found.policies, asked, None, now)
    token = refresh_tokens.make(session.pk, after.generation)
    row = new_token_row(token, after, lifetime, asked.client, now)
    if not store_rotation(session, after, row, now):
        return None
    if asked.tenant is not None:
        note_tenant_activity(session, asked.tenant, None, now)
    return access.paired(token.text, after, asked, rotated=True)


@sensitive_variables()
def renew(access_token: str, *, request: HttpRequest, tenant: str | None = None, background: bool = False) -> TokenPair:
    """
    Exchange an access token, while it is valid, for a fresh one of the same session and generation.

    Args:
        access_token: The access token; past its ``softexp`` it is good for this still.
        request: The request.
        tenant: The tenant to act for; that of the access token unless told.
        background: The client renews by itself: no sign of the user.

    Raises:
        RenewalDisabled: ``ALLOW_RENEWAL`` is off.
        TenantForbidden, TenantIdle, InvalidToken, ExpiredToken, SessionEnded: As for a request with this token.
        IssueDenied, IssueFailed: No token was issued.
    """
    if not conf.current().ALLOW_RENEWAL:
        raise RenewalDisabled
    session, token = authorize_session(access_token, background=background, for_renewal=True)
    now = timezone.now()
    asked = TokenRequest(client_info(request), token.claims["aud"], tenant or token.tenant, background)
    found = find(session.pk, tenant=asked.tenant)
    if found is None:
        raise InvalidToken
    after = copy.copy(found.session)
    # The generation of the token at hand: whether the current one was received is not known by this.
    after.generation = token.claims["gen"]
    after.tenants = memberships(session.user, asked.tenant)
    if tenant_is_idle(found, asked.tenant, now):
        raise TenantIdle
    access = mint(after, found.policies, asked, found.tenant_active_at, now)
    if after.tenants != found.session.tenants:
        Session.objects.remember_tenants(after.pk, after.tenants)
    if asked.tenant is not None and not (background and found.tenant_active_at):
        note_tenant_activity(after, asked.tenant, found.tenant_active_at, now)
    return access.paired("", after, asked, rotated=False)
