"""Exchanging a token of djangorestframework-simplejwt for a session, for projects that come from there."""

from __future__ import annotations

import logging

from django.http import HttpRequest
from django.utils.module_loading import import_string
from django.views.decorators.debug import sensitive_variables

from jwt_sessions import sessions
from jwt_sessions.exceptions import InvalidToken
from jwt_sessions.models import ExchangedToken
from jwt_sessions.types import TokenPair

security_log = logging.getLogger("jwt_sessions.security")


@sensitive_variables()
def exchange_token(
    token: str,
    *,
    request: HttpRequest | None = None,
    audience: str | None = None,
    tenant: str | None = None,
    device_name: str = "",
) -> TokenPair:
    """
    Exchange a refresh token of simplejwt, once, for a session of its user.

    Nobody signs in by this: ``user_logged_in`` is not sent, and the session counts from when simplejwt issued the
    token, so it is no recent login and has no more of ``MAX_SESSION_LIFETIME`` than is left.

    Args:
        token: The refresh token, as simplejwt issued it.
        request: The request, for address and device.
        audience: One of ``AUDIENCES``; the first of them by default.
        tenant: The tenant that the access token is for.
        device_name: What the user calls the device.

    Raises:
        InvalidToken: simplejwt refuses it, its user is not active or had the token version raised, or it was
            exchanged before; all alike.
        SessionEnded: By its maximum lifetime such a session would be over.
        ReauthenticationRequired: The user has to sign in again.
        InvalidTarget, TenantForbidden, SessionLimit, IssueDenied, IssueFailed: See
            :func:`jwt_sessions.sessions.start`. Nothing was stored, and the token can still be exchanged.
    """
    # By name, because simplejwt is an extra: a project without it can import all of this package.
    old = import_string("jwt_sessions.login.simplejwt.verify")(token)

    def spend() -> None:
        if not ExchangedToken.objects.spend(old.digest, old.expires_at):
            security_log.warning("a token of user %s was exchanged before and presented again", old.user.pk)
            raise InvalidToken
        old.blacklist()

    pair = sessions.start(
        old.user,
        request=request,
        audience=audience,
        tenant=tenant,
        device_name=device_name,
        voucher=sessions.Voucher(old.signed_in_at, spend),
    )
    security_log.info("session %s of user %s is for a token of simplejwt", pair.session.pk, old.user.pk)
    return pair
