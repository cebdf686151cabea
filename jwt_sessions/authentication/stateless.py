"""Authentication by what the token says alone."""

from __future__ import annotations

from django.apps import apps
from django.views.decorators.debug import sensitive_variables
from rest_framework.request import Request

from jwt_sessions import issuers
from jwt_sessions.authentication.bearer import BearerAuthentication, bearer_token, text_of
from jwt_sessions.principal import Principal


class JWTStatelessAuthentication(BearerAuthentication):
    """
    Authenticates ``Authorization: Bearer <access token>`` (RFC 6750 §2.1) by signature, issuer, audience and time.

    For services without the user table. It accepts the tokens of the issuers in ``TRUSTED_ISSUERS``, and where there
    are none this project's own. It asks no database: neither this app nor ``django.contrib.auth`` has to be installed.
    ``request.user`` is a :class:`jwt_sessions.principal.Principal`, ``request.auth`` the verified token
    (:class:`jwt_sessions.issuers.BareToken`). A session that ends goes on here until its access token expires, or
    until the issuer's list of ended sessions (``revoked``) names it.
    """

    @sensitive_variables()
    def authorize(self, request: Request) -> tuple[Principal, issuers.BareToken] | None:
        presented = bearer_token(request)
        if presented is None:
            return None
        token = issuers.verify(text_of(presented))
        return Principal(token.claims), token


# Where this app is not installed no system check looks at JWT_SESSIONS. Views are imported when Django starts or checks
# a project, so a mistake is told then, and not to each request. Where it is installed its checks tell of all mistakes.
if apps.apps_ready and not apps.is_installed("jwt_sessions"):
    issuers.check_settings()
