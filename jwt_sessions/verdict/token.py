"""What a genuine access token belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from jwt_sessions.verdict.credential import CredentialState, find_credential
from jwt_sessions.verdict.session import SessionState, find


def find_good(claims: Mapping[str, Any], now: datetime) -> SessionState | CredentialState | None:
    """
    The session or credential of a genuine access token, while the token is good at ``now``. One read, no write.

    Args:
        claims: The claims of the token.
        now: The moment to judge it at.
    """
    if claims["type"] == "user":
        found = find(UUID(claims["sid"]), tenant=claims.get("tenantId"))
        return found if found is not None and found.refusal(claims, now) is None else None
    credential = find_credential(UUID(claims["client_id"]))
    return credential if credential is not None and credential.accepts(claims, now) else None
