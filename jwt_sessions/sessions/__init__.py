"""
The verbs: what can be done with sessions, and the only place with transactions.

``from jwt_sessions import sessions`` is the Python interface of this package, and the way in for the rest of it:
nothing outside imports the modules below.
"""

from jwt_sessions.sessions.access_token import AccessToken, size_with_claims
from jwt_sessions.sessions.accounts import raise_version, require_reauthentication
from jwt_sessions.sessions.authorization import VerifiedToken, authorize, session_of
from jwt_sessions.sessions.contention import with_retries
from jwt_sessions.sessions.creation import Voucher, start
from jwt_sessions.sessions.ending import end, end_all, end_many, live_sessions
from jwt_sessions.sessions.issuance import Step, issuable_audience, issue, until_stored
from jwt_sessions.sessions.memberships import accepted_tenants, remembered_members
from jwt_sessions.sessions.preview import sessions_ended_by
from jwt_sessions.sessions.reauthentication import reauthenticated
from jwt_sessions.sessions.renewal import look_up, refresh, renew, resolve
from jwt_sessions.sessions.retention import BATCH_SIZE, MAX_BATCH_SIZE, Purged, purge

__all__ = [
    "BATCH_SIZE",
    "MAX_BATCH_SIZE",
    "AccessToken",
    "Purged",
    "Step",
    "VerifiedToken",
    "Voucher",
    "accepted_tenants",
    "authorize",
    "end",
    "end_all",
    "end_many",
    "with_retries",
    "issuable_audience",
    "issue",
    "live_sessions",
    "look_up",
    "purge",
    "raise_version",
    "reauthenticated",
    "refresh",
    "remembered_members",
    "renew",
    "require_reauthentication",
    "resolve",
    "session_of",
    "sessions_ended_by",
    "size_with_claims",
    "start",
    "until_stored",
]
