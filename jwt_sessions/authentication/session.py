"""Authentication that asks whether the session lives."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db import models
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables
from rest_framework.request import Request

from jwt_sessions import conf, sessions
from jwt_sessions.authentication.bearer import BearerAuthentication, bearer_token, is_background, text_of
from jwt_sessions.exceptions import InvalidToken
from jwt_sessions.http.errors import TokenRefused


class JWTSessionAuthentication(BearerAuthentication):
    """
    Authenticates ``Authorization: Bearer <access token>`` (RFC 6750 §2.1) and asks whether the session lives.

    ``request.user`` is the user, ``request.auth`` the verified token (:class:`jwt_sessions.sessions.VerifiedToken`).
    A request with the header ``X-Session-Background: 1`` is no sign of the user.
    """

    @sensitive_variables()
    def authorize(self, request: Request) -> tuple[Any, sessions.VerifiedToken] | None:
        return authorize_bearer(request)


class CheckedSessionAuthentication(JWTSessionAuthentication):
    """
    The same, and asks the database whatever ``SESSION_CHECK`` says.

    For this package's own endpoints: they must not serve a token whose session has ended, as to make a credential that
    outlives it; nor one that was made for another service, which could use what it was shown. A token has to be for
    the audience that the session signed in to, or for the default one.
    """

    @sensitive_variables()
    def authorize(self, request: Request) -> tuple[Any, sessions.VerifiedToken] | None:
        authorized = authorize_bearer(request, always=True)
        if authorized is not None:
            _user, token = authorized
            own, audience = {conf.current().default_audience, token.claims["client_id"]}, token.claims["aud"]
            named = audience if isinstance(audience, list) else [audience]
            if token.claims["type"] == "user" and not any(each in own for each in named if isinstance(each, str)):
                raise InvalidToken("The token is for another audience.")
        return authorized


@sensitive_variables()
def authorize_bearer(
    request: Request | HttpRequest, *, always: bool = False
) -> tuple[Any, sessions.VerifiedToken] | None:
    """
    The user and the verified token of a request, or ``None`` where it presents no access token.

    Args:
        request: The request.
        always: Ask the database whatever ``SESSION_CHECK`` says.

    Raises:
        JWTSessionsError: The token is refused (:func:`jwt_sessions.sessions.authorize`).
    """
    token = bearer_token(request)
    if token is None:
        return None
    # What Django closes is its own request, which REST framework wraps.
    closed = request._request if isinstance(request, Request) else request
    user, verified = sessions.authorize(
        text_of(token), request=closed, background=is_background(request), always=always
    )
    # A view may look at what is gone since the token was issued: that is the token's fault, and no error of the view.
    verified.refusal = TokenRefused
    if isinstance(user, models.Model) and user.get_deferred_fields():
        user.refresh_from_db = RowReader(user)  # type: ignore[method-assign]
    return user, verified


class RowReader:
    """
    Reads the fields of a user that were not read before the view, as with ``SESSION_CHECK="none"``.

    Where the row is gone since the token was issued, the answer is 401 rather than an error of the view.
    """

    def __init__(self, user: models.Model) -> None:
        self.user = user

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """As ``Model.refresh_from_db``. Raises TokenRefused."""
        try:
            type(self.user).refresh_from_db(self.user, *args, **kwargs)
        except ObjectDoesNotExist:
            raise TokenRefused(InvalidToken()) from None
