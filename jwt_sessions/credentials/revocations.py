"""The list of ended sessions, for services that ask no database about each token."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest
from django.utils import timezone

from jwt_sessions import conf
from jwt_sessions.credentials.clients import authenticate_client
from jwt_sessions.models import RevokedSession
from jwt_sessions.types import ClientSecret


def revoked_sessions(presented: ClientSecret, *, request: HttpRequest) -> list[UUID]:
    """
    The ids of the sessions that ended while access tokens of them may still be valid. One read besides the check.

    Args:
        presented: The credential of the caller, which has to be one that may introspect.
        request: The request.

    Raises:
        InvalidClient, Throttled: See :func:`jwt_sessions.credentials.authenticate_client`.
    """
    authenticate_client(presented, request=request, to_introspect=True)
    since = timezone.now() - conf.current().longest_access_token_lifetime
    return RevokedSession.objects.since(since)
