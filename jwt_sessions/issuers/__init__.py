"""Other issuers: their keys and their ended sessions, fetched and kept; and what a token of theirs says."""

from jwt_sessions.issuers.verification import check_settings, verify
from jwt_sessions.tokens.verified import BareToken

__all__ = ["BareToken", "check_settings", "verify"]
