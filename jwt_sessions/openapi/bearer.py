"""
The access token as a security scheme.

It needs neither this app nor a database. A service that has only ``JWTStatelessAuthentication`` imports it by itself.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.drainage import set_override
from drf_spectacular.extensions import OpenApiAuthenticationExtension

from jwt_sessions.authentication.bearer import BearerAuthentication

ACCESS_TOKEN = "accessToken"  # noqa: S105  # the name of the scheme
BEARER_SCHEME = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}

# One scheme for all classes that read the same header, a project's subclasses too.
set_override(BearerAuthentication, "suppress_collision_warning", True)


class BearerExtension(OpenApiAuthenticationExtension):
    """The access token, for a project's own views too."""

    target_class = BearerAuthentication
    match_subclasses = True
    name = ACCESS_TOKEN

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """HTTP Bearer (RFC 6750 §2.1)."""
        return BEARER_SCHEME
