"""
What can go wrong, as the callers of this package see it.

Every error has a stable ``code`` (what clients switch on) and says with ``terminal`` whether the client has to
sign in again (``True``) or may try again later (``False``). How an error looks in HTTP is decided in one place,
``jwt_sessions.http.errors``. Messages are written for the person who calls the API and never quote a secret.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class EndReason(models.TextChoices):
    """Why a session ended."""

    LOGOUT = "logout", _("signed out")
    ENDED_BY_USER = "ended_by_user", _("ended by the user from another device")
    ENDED_BY_ADMIN = "ended_by_admin", _("ended by an administrator")
    REPLACED = "replaced", _("replaced by a newer sign-in")
    SESSION_LIMIT = "session_limit", _("too many sessions")
    IDLE_TIMEOUT = "idle_timeout", _("no activity")
    MAX_LIFETIME = "max_lifetime", _("maximum lifetime reached")
    PASSWORD_CHANGED = "password_changed", _("password changed")
    VERSION_RAISED = "version_raised", _("token version raised")
    TOKEN_REUSE = "token_reuse", _("refresh token reused")
    USER_INACTIVE = "user_inactive", _("user deactivated")
    EXPIRED = "expired", _("refresh token expired")


class JWTSessionsError(Exception):
    """Base of every error that this package raises for what a caller did."""

    code: ClassVar[str]
    terminal: ClassVar[bool] = False
    message: ClassVar[str]

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.message)


class InvalidToken(JWTSessionsError):
    """Malformed, forged, unknown, of the wrong type, audience or issuer; all alike, so that nobody learns which."""

    code = "INVALID_TOKEN"
    terminal = True
    message = "The token is invalid."


class ExpiredToken(JWTSessionsError):
    """A genuine access token past its ``exp``: refresh and retry."""

    code = "EXPIRED_TOKEN"
    message = "The access token expired."


class SessionEnded(JWTSessionsError):
    """
    The session of a genuine token has ended; ``reason`` says why.

    ``set_by`` names the policy whose timeout or lifetime ended it: "settings", "audience …" or "tenant …". It is empty
    for other reasons, and where no policy in force says it any more.
    """

    code = "SESSION_ENDED"
    terminal = True

    def __init__(self, reason: EndReason, set_by: str = "") -> None:
        super().__init__(f"The session has ended: {reason.value}.")
        self.reason = reason
        self.set_by = set_by


class NoSession(JWTSessionsError):
    """A refresh was asked for with neither a refresh token nor a cookie: nobody is signed in here."""

    code = "NO_SESSION"
    terminal = True
    message = "Nobody is signed in."


class ReauthenticationRequired(JWTSessionsError):
    """The user was marked after the password was last given. The session lives: giving it again opens it."""

    code = "REAUTHENTICATION_REQUIRED"
    message = "Give your password again to continue."


class RecentLoginRequired(ReauthenticationRequired):
    """What is asked for needs an authentication no longer than ``max_age`` ago, by the methods ``amr`` (RFC 9470)."""

    message = "Give your password again to do this."

    def __init__(self, max_age: timedelta, amr: Iterable[str] = ()) -> None:
        super().__init__()
        self.max_age = max_age
        self.amr = tuple(sorted(amr))


class TenantForbidden(JWTSessionsError):
    """The user is not an accepted member of the tenant. The session goes on."""

    code = "TENANT_FORBIDDEN"
    message = "You are not a member of this tenant."


class TenantIdle(JWTSessionsError):
    """The idle clock of this tenant ran out. The session goes on; giving the password again opens the tenant."""

    code = "TENANT_IDLE"
    message = "There was no activity for this tenant for too long."


class SessionLimit(JWTSessionsError):
    """The user has as many sessions as may be, and the policy refuses another."""

    code = "SESSION_LIMIT"
    message = "There are too many sessions."


class TooManyCredentials(JWTSessionsError):
    """The user has as many personal credentials as may be; none, where they are turned off."""

    code = "CREDENTIAL_LIMIT"
    message = "No more credentials may be made."


class RenewalDisabled(JWTSessionsError):
    """``ALLOW_RENEWAL`` is off: there is nothing at this address."""

    code = "INVALID_REQUEST"
    message = "Renewal is not available."


class InvalidCredentials(JWTSessionsError):
    """Wrong name, wrong password or inactive user; all alike."""

    code = "INVALID_CREDENTIALS"
    message = "No active account matches these credentials."


class InvalidClient(JWTSessionsError):
    """Wrong client id or secret, or a credential that is revoked, expired or not allowed to do this; all alike."""

    code = "INVALID_CLIENT"
    terminal = True
    message = "Client authentication failed."


class InvalidRequest(JWTSessionsError):
    """A parameter is missing, unknown or malformed; ``field`` names it."""

    code = "INVALID_REQUEST"
    message = "The request is malformed."

    def __init__(self, message: str = "", *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class UnsupportedGrantType(InvalidRequest):
    """The token endpoint does not know this ``grant_type`` (RFC 6749 §5.2)."""


class UnsupportedTokenType(InvalidRequest):
    """Tokens of this type cannot be revoked one by one (RFC 7009 §2.2.1)."""

    message = "Revoke the credential instead: its access tokens end with it."


class InvalidTarget(InvalidRequest):
    """The audience is not one that may be issued (RFC 8707 §2)."""


class CrossSiteRequest(InvalidRequest):
    """A foreign site made a browser send the refresh cookie."""

    message = "The refresh cookie is not accepted from an origin that is not in CSRF_TRUSTED_ORIGINS."


class Throttled(JWTSessionsError):
    """Too many failures; try again after ``retry_after`` seconds."""

    code = "THROTTLED"
    message = "Too many attempts."

    def __init__(self, retry_after: int) -> None:
        super().__init__()
        self.retry_after = retry_after


class IssuerUnavailable(JWTSessionsError):
    """
    The keys of a trusted issuer, or its list of ended sessions, are not known and cannot be fetched.

    Try again after ``retry_after`` seconds.
    """

    code = "ISSUER_UNAVAILABLE"
    message = "The token cannot be verified at the moment."

    def __init__(self, retry_after: int) -> None:
        super().__init__()
        self.retry_after = retry_after


class IssueDenied(JWTSessionsError):
    """
    Raised by a receiver of ``pre_issue`` to refuse a token.

    The message is shown to the client. Nothing has been stored: a presented refresh token is still unused.
    """

    code = "ISSUE_DENIED"
    message = "The token was denied."


class IssueFailed(JWTSessionsError):
    """A receiver of ``pre_issue`` broke, or the token cannot be made. The cause is logged, never shown."""

    code = "ISSUE_FAILED"
    message = "The token could not be issued."

    def __init__(self, message: str = "", *, claim: str = "") -> None:
        super().__init__(message)
        self.claim = claim  # of CLAIMS, where it was one; for the system check
