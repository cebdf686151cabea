"""What a verified access token says by itself."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


class BareToken:
    """
    A verified token without a session at hand: ``request.auth`` of ``JWTStatelessAuthentication``.

    Attributes:
        claims: The claims, read-only.
        session: ``None``; the id of the session, if there is one, is the claim ``sid``.
    """

    session: Any = None

    def __init__(self, claims: Mapping[str, Any]) -> None:
        self.claims = MappingProxyType(dict(claims))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} jti={self.claims['jti']!r}>"

    @property
    def tenant(self) -> str | None:
        """The tenant the token is for, if any."""
        tenant = self.claims.get("tenantId")
        return tenant if isinstance(tenant, str) else None
