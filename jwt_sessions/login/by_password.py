"""Signing in and giving the password again."""

from __future__ import annotations

from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from jwt_sessions import sessions
from jwt_sessions.exceptions import InvalidCredentials
from jwt_sessions.login.password import verify_password
from jwt_sessions.tokens import opaque
from jwt_sessions.types import TokenPair

PASSWORD = ("pwd",)  # RFC 8176 §2


@sensitive_variables()
def sign_in(
    request: HttpRequest,
    username: str,
    password: str,
    *,
    audience: str | None = None,
    tenant: str | None = None,
    device_name: str = "",
    replace_others: bool = False,
) -> TokenPair:
    """
    Verify a name and a password and start a session.

    Django's ``user_logged_in`` and ``user_login_failed`` are sent as for a login by form. A receiver of
    ``user_logged_in`` that breaks is logged and undoes nothing; to refuse is for ``pre_issue``.

    Raises:
        InvalidCredentials: No backend accepts them, or the user is not active.
        Throttled: There were too many failures for this name or from this address.
        InvalidTarget, TenantForbidden, SessionLimit, IssueDenied, IssueFailed: See
            :func:`jwt_sessions.sessions.start`. Nothing was stored.
    """
    audience = sessions.issuable_audience(audience)
    user = verify_password(request, username, password)
    pair = sessions.start(
        user,
        request=request,
        audience=audience,
        tenant=tenant,
        device_name=device_name,
        replace_others=replace_others,
        amr=PASSWORD,
    )
    # The session is stored: its tokens have to reach the client, whatever a receiver does. Django's own, which writes
    # last_login, is broken off by MariaDB now and then where sign-ins race. What breaks is logged by the dispatcher.
    user_logged_in.send_robust(sender=user.__class__, request=request, user=user)
    return pair


@sensitive_variables()
def reauthenticate(
    token: str,
    password: str,
    *,
    request: HttpRequest,
    tenant: str | None = None,
) -> TokenPair:
    """
    Give the password again within a session, as :func:`jwt_sessions.sessions.reauthenticated`.

    Nothing is noted, and no tenant is opened, before the password was right.

    Args:
        token: The access token of the session, which may have expired, or its refresh token.
        password: The password of its user.
        request: The request.
        tenant: The tenant to act for; that of the access token unless told.

    Raises:
        InvalidCredentials: The password is wrong.
        Throttled: There were too many failures.
        InvalidToken, ExpiredToken: As for a request, or a refresh, with this token.
        SessionEnded, TenantForbidden, IssueDenied, IssueFailed: See
            :func:`jwt_sessions.sessions.reauthenticated`. Nothing is changed.
    """
    now, audience = timezone.now(), None
    if opaque.looks_like_refresh_token(token):
        found, _standing = sessions.resolve(opaque.parse(token), now, request=request)
    else:
        found, claims = sessions.session_of(token, now, to_reauthenticate=True)
        tenant, audience = tenant or claims.get("tenantId"), claims["aud"]
    user = found.user
    if verify_password(request, user.get_username(), password).pk != user.pk:
        raise InvalidCredentials
    return sessions.reauthenticated(found.session, amr=PASSWORD, request=request, tenant=tenant, audience=audience)
