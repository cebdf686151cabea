"""
The verbs: what can be done with sessions, and the only place with transactions.

``from jwt_sessions import sessions`` is the Python interface of this package.
"""

from jwt_sessions.sessions.account import raise_version, require_reauthentication
from jwt_sessions.sessions.authorize import VerifiedToken, authorize
from jwt_sessions.sessions.end import end, end_all, live_sessions
from jwt_sessions.sessions.reauthenticate import reauthenticate, renew
from jwt_sessions.sessions.refresh import refresh
from jwt_sessions.sessions.sign_in import sign_in
from jwt_sessions.sessions.sign_out import sign_out
from jwt_sessions.sessions.start import start

__all__ = [
    "VerifiedToken",
    "authorize",
    "end",
    "end_all",
    "live_sessions",
    "raise_version",
    "reauthenticate",
    "refresh",
    "renew",
    "require_reauthentication",
    "sign_in",
    "sign_out",
    "start",
]
