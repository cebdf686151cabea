"""
Credentials: client ids and secrets that are exchanged for access tokens without a session, and what they may ask.

``from jwt_sessions import credentials`` is the way in; nothing outside this package imports its modules.
"""

from jwt_sessions.credentials.clients import authenticate_client
from jwt_sessions.credentials.creation import NewCredential, create_credential, own_credentials, revoke_credential
from jwt_sessions.credentials.exchange import exchange_credential
from jwt_sessions.credentials.introspection import introspect
from jwt_sessions.credentials.revocations import revoked_sessions

__all__ = [
    "NewCredential",
    "authenticate_client",
    "create_credential",
    "exchange_credential",
    "introspect",
    "own_credentials",
    "revoke_credential",
    "revoked_sessions",
]
