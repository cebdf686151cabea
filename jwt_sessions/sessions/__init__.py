"""
The verbs: what can be done with sessions, and the only place with transactions.

``from jwt_sessions import sessions`` is the Python interface of this package.
"""

from jwt_sessions.sessions.account import raise_version, require_reauthentication
from jwt_sessions.sessions.authorize import VerifiedToken, authorize, authorize_session
from jwt_sessions.sessions.credentials import (
    NewCredential,
    authenticate_client,
    create_credential,
    exchange_credential,
    own_credentials,
    revoke_credential,
)
from jwt_sessions.sessions.end import end, end_all, live_sessions
from jwt_sessions.sessions.exchange import exchange_token
from jwt_sessions.sessions.introspect import introspect
from jwt_sessions.sessions.reauthenticate import reauthenticate, renew
from jwt_sessions.sessions.refresh import refresh
from jwt_sessions.sessions.revoked import revoked_sessions
from jwt_sessions.sessions.sign_in import sign_in
from jwt_sessions.sessions.sign_out import sign_out
from jwt_sessions.sessions.start import start

__all__ = [
    "NewCredential",
    "VerifiedToken",
    "authenticate_client",
    "authorize",
    "authorize_session",
    "create_credential",
    "end",
    "end_all",
    "exchange_credential",
    "exchange_token",
    "introspect",
    "live_sessions",
    "own_credentials",
    "raise_version",
    "reauthenticate",
    "refresh",
    "renew",
    "require_reauthentication",
    "revoke_credential",
    "revoked_sessions",
    "sign_in",
    "sign_out",
    "start",
]
