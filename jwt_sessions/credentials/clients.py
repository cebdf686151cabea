"""Client authentication: who presents a client id and secret."""

from __future__ import annotations

import hmac
import logging
from datetime import datetime
from uuid import UUID

from django.db import OperationalError, connections, router
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from jwt_sessions import conf, sessions
from jwt_sessions.client_info import client_address
from jwt_sessions.exceptions import InvalidClient
from jwt_sessions.models import Credential
from jwt_sessions.models.credential import secret_digest
from jwt_sessions.policies import activity_is_due
from jwt_sessions.throttle import Attempt
from jwt_sessions.types import ClientSecret
from jwt_sessions.verdict.credential import CredentialState, find_credential

logger = logging.getLogger("jwt_sessions")
security_log = logging.getLogger("jwt_sessions.security")


@sensitive_variables()
def authenticate_client(
    presented: ClientSecret, *, request: HttpRequest, to_introspect: bool = False
) -> CredentialState:
    """
    The living credential of a client id and secret (RFC 6749 §2.3.1). One read; its use is noted once in a while.

    Failures are throttled by client and by address. The right secret passes at any time: it cannot be guessed, so
    nobody locks out an honest client by failing in its name.

    Args:
        presented: The client id and secret as sent.
        request: The request that presents them.
        to_introspect: It has to be one that may ask about tokens.

    Raises:
        InvalidClient: Unknown, wrong, revoked, expired, not allowed to, or its owner is deactivated; all alike.
        Throttled: It is none, and there were too many such before.
    """
    found, now = authenticated_client(presented, request), timezone.now()
    if to_introspect and not found.credential.may_introspect:
        security_log.info("credential %s may not introspect", found.credential.pk)
        raise InvalidClient
    note_credential_use(found.credential, now)
    return found


@sensitive_variables()
def authenticated_client(presented: ClientSecret, request: HttpRequest) -> CredentialState:
    """The living credential of a client id and secret, as :func:`authenticate_client`; its use is not noted."""
    now, client_id = timezone.now(), _parsed(presented.client_id)
    found = None if client_id is None else find_credential(client_id)
    stored = bytes(found.credential.secret_hash) if found is not None else bytes(32)
    genuine = hmac.compare_digest(stored, secret_digest(presented.client_secret))
    if found is None or not genuine or not found.lives(now):
        # By the id and not by its spelling, of which a UUID has several.
        with Attempt("client", str(client_id or presented.client_id), client_address(request)):
            security_log.info("client authentication failed")
            raise InvalidClient
    return found


def _parsed(client_id: str) -> UUID | None:
    try:
        return UUID(client_id)
    except ValueError:
        return None


def note_credential_use(credential: Credential, now: datetime) -> None:
    """Note that a credential was used; written at most once per ``ACTIVITY_RESOLUTION``."""
    if credential.last_used_at is None or activity_is_due(credential.last_used_at, now):
        seen_before = now - conf.current().ACTIVITY_RESOLUTION
        try:
            sessions.with_retries(lambda: Credential.objects.mark_used(credential, seen_before, now))
        except OperationalError:
            if connections[router.db_for_write(Credential)].in_atomic_block:
                raise
            logger.warning("the use of a credential could not be written")
