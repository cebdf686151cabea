"""The list of ended sessions, for services that ask no database about each token."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.http import HttpRequest
from django.utils import timezone

from jwt_sessions import conf
from jwt_sessions.models import RevokedSession
from jwt_sessions.sessions.credentials import authenticate_client
from jwt_sessions.types import ClientSecret


def longest_access_token_lifetime() -> timedelta:
    """How long an access token of a session can live. Policies and ``pre_issue`` only shorten that."""
    settings = conf.current()
    return settings.ACCESS_TOKEN_LIFETIME["user"] + settings.LEEWAY


def revoked_sessions(presented: ClientSecret, *, request: HttpRequest) -> list[str]:
    """
    The ids of the sessions that ended while access tokens of them may still be valid. One read besides the check.

    Args:
        presented: The credential of the caller, which has to be one that may introspect.
        request: The request.

    Raises:
        InvalidClient, Throttled: See :func:`jwt_sessions.sessions.credentials.authenticate_client`.
    """
    authenticate_client(presented, request=request, to_introspect=True)
    return [str(each) for each in RevokedSession.objects.since(forgotten_since(timezone.now()))]


def forgotten_since(now: datetime) -> datetime:
    """Who ended before this moment has no valid access token left."""
    return now - longest_access_token_lifetime()
