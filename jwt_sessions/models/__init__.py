"""What is stored: sessions, the generations of their refresh tokens, token versions, policies, credentials."""

from jwt_sessions.models.credential import Credential
from jwt_sessions.models.exchanged_token import ExchangedToken
from jwt_sessions.models.refresh_token import RefreshToken
from jwt_sessions.models.revoked_session import RevokedSession
from jwt_sessions.models.session import Session
from jwt_sessions.models.session_policy import SessionPolicy
from jwt_sessions.models.tenant_activity import TenantActivity
from jwt_sessions.models.token_version import TokenVersion

__all__ = [
    "Credential",
    "ExchangedToken",
    "RefreshToken",
    "RevokedSession",
    "Session",
    "SessionPolicy",
    "TenantActivity",
    "TokenVersion",
]
