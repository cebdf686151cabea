"""
Signing in and out: with a password, or with a token of djangorestframework-simplejwt.

``from jwt_sessions import login`` is the way in; nothing outside this package imports its modules.
"""

from jwt_sessions.login.by_password import reauthenticate, sign_in
from jwt_sessions.login.exchange import exchange_token
from jwt_sessions.login.logout import sign_out
from jwt_sessions.login.password import verify_password

__all__ = ["exchange_token", "reauthenticate", "sign_in", "sign_out", "verify_password"]
