"""What ends or questions every token of a user: the version, the re-authentication mark, deactivation."""

from __future__ import annotations

from django.contrib.auth.base_user import AbstractBaseUser
from django.utils import timezone

from jwt_sessions.exceptions import EndReason
from jwt_sessions.models import TokenVersion
from jwt_sessions.sessions.contention import with_retries
from jwt_sessions.sessions.ending import end_all, security_log


def raise_version(user: AbstractBaseUser) -> None:
    """Raise the user's ``jwt_version``: every token of the user is dead at once, and the sessions end."""
    # The sessions are judged by the version they began under; those that live are ended for this reason by it.
    with_retries(lambda: TokenVersion.objects.raise_for(user))
    security_log.info("token version of user %s raised", user.pk)
    end_all(user, reason=EndReason.VERSION_RAISED)


def require_reauthentication(user: AbstractBaseUser) -> None:
    """
    Refuse to refresh the sessions of a user that began before now, until the user signs in again.

    Access tokens in hand live to their ``exp``. For instance after a password reset that somebody else may have seen.
    """
    with_retries(lambda: TokenVersion.objects.mark_for(user, timezone.now()))
    security_log.info("user %s has to sign in again", user.pk)
