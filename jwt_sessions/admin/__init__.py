"""The admin: sessions, refresh tokens, policies, credentials, token versions."""

from jwt_sessions.admin.credential import CredentialAdmin
from jwt_sessions.admin.refresh_token import RefreshTokenAdmin
from jwt_sessions.admin.session import SessionAdmin
from jwt_sessions.admin.session_policy import SessionPolicyAdmin
from jwt_sessions.admin.token_version import TokenVersionAdmin

__all__ = ["CredentialAdmin", "RefreshTokenAdmin", "SessionAdmin", "SessionPolicyAdmin", "TokenVersionAdmin"]
