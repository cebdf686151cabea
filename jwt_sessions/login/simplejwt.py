"""
What djangorestframework-simplejwt says about its own refresh tokens.

It imports that library, which is an extra: nothing imports this module but
:func:`jwt_sessions.login.exchange_token`, by its name and when it is used.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import MultipleObjectsReturned, ValidationError
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import RefreshToken

from jwt_sessions.exceptions import InvalidToken

# Where simplejwt rotates, a token says when it was last rotated, and not when the password was given. Without this, who
# stole one could rotate it and pass for somebody who has signed in just now.
LEAST_AGE_IF_ROTATED = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class SimpleJWT:
    """
    A refresh token of simplejwt that is good.

    Attributes:
        user: Whose it is.
        signed_in_at: The last moment at which the password may have been given.
        expires_at: From when on simplejwt refuses it.
        digest: What it is recognised by.
    """

    user: AbstractBaseUser
    signed_in_at: datetime
    expires_at: datetime
    digest: UUID
    token: RefreshToken = field(repr=False)

    def blacklist(self) -> None:
        """Let simplejwt's own endpoints refuse it from now on, where its blacklist is installed."""
        blacklist = getattr(self.token, "blacklist", None)
        if blacklist is not None:
            blacklist()


@sensitive_variables()
def verify(text: str) -> SimpleJWT:
    """
    Verify a refresh token of simplejwt by that library's own rules: settings, blacklist, revocation, users.

    Raises:
        InvalidToken: It is none, or it is expired, blacklisted, or not of an active user.
    """
    if api_settings.TOKEN_TYPE_CLAIM is None:
        # An access token would pass for a refresh token.
        raise InvalidToken
    now = timezone.now()
    try:
        token = RefreshToken(text)  # type: ignore[arg-type]  # annotated as a Token, takes a string
        user = _user_of(token)
        age = timedelta(seconds=max(0.0, now.timestamp() - float(token["iat"])))
        left = timedelta(seconds=token["exp"] - now.timestamp()) + token.get_token_backend().get_leeway()
        expires_at, signed_in_at = now + left, now - age
    except (TokenError, AuthenticationFailed, ValidationError, MultipleObjectsReturned):
        raise InvalidToken from None
    except (KeyError, TypeError, ValueError, OverflowError):
        # Signed by this project's key, but with claims missing or of types that simplejwt does not expect.
        raise InvalidToken from None
    if api_settings.ROTATE_REFRESH_TOKENS:
        signed_in_at = min(signed_in_at, now - LEAST_AGE_IF_ROTATED)
    return SimpleJWT(user, signed_in_at, expires_at, _digest(text), token)


def _user_of(token: RefreshToken) -> AbstractBaseUser:
    """The token's user, by the rules of simplejwt's authentication and of its refresh view."""
    if type(token[api_settings.USER_ID_CLAIM]) not in (str, int):
        # null would find a user whose field is empty, true the one with key 1.
        raise InvalidToken
    user: AbstractBaseUser = JWTAuthentication().get_user(token)
    if not user.is_active or not api_settings.USER_AUTHENTICATION_RULE(user):
        raise InvalidToken
    return user


def _digest(text: str) -> UUID:
    """
    What a token is recognised by. Not its id, which JTI_CLAIM may have turned off; nor all of its text, because the
    encoding of a signature can be varied. Of what the signature covers no byte can (RFC 7515 §5.2).

    122 bits of SHA-256 in the form of a random UUID (RFC 9562 §5.4): MariaDB does not take 128 bits of any form.
    """
    return UUID(bytes=hashlib.sha256(text.rpartition(".")[0].encode("ascii")).digest()[:16], version=4)
