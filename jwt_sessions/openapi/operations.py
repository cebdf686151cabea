"""Every operation of this package: what it takes, what it answers, and what can go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from jwt_sessions import exceptions
from jwt_sessions.api.credentials import (
    CredentialAnswer,
    CredentialDetailView,
    CredentialListView,
    NewCredentialAnswer,
    NewCredentialSerializer,
)
from jwt_sessions.api.introspection import IntrospectView, RevokedView
from jwt_sessions.api.metadata import AuthorizationServerView, JWKSView
from jwt_sessions.api.own_sessions import EndAllView, EndOthersView, SessionAnswer, SessionDetailView, SessionListView
from jwt_sessions.api.policies import PolicyDetailView, PolicyListView, PolicySerializer
from jwt_sessions.api.serializers import (
    DeviceNameSerializer,
    LoginSerializer,
    LogoutSerializer,
    ReauthenticateSerializer,
    RenewSerializer,
    TokenSerializer,
)
from jwt_sessions.api.tokens import LoginView, LogoutView, ReauthenticateView, RenewView, RevokeView, TokenView
from jwt_sessions.openapi import answers
from jwt_sessions.openapi.bearer import ACCESS_TOKEN
from jwt_sessions.responses import AccessTokenAnswer, ExchangeAnswer, RenewalAnswer, TokenAnswer

Errors = tuple[type[exceptions.JWTSessionsError], ...]

# Names of security schemes.
CLIENT = "clientSecret"
COOKIE = "refreshCookie"


@dataclass(frozen=True, slots=True)
class Operation:
    """
    One method of one view.

    Attributes:
        id: Its name in generated clients, after the prefix of this package.
        summary: What it does, in a line.
        answers: What it answers if all goes well, by status: a serializer, several of which one fits, a JSON schema, or
            nothing.
        takes: The serializer of its body.
        errors: The errors it answers in the words of this package.
        details: Statuses of errors that it answers in the words of the framework, without a code.
        security: What may authenticate it, and whether it can do without (``None``). By default the view's own.
        anonymous: Whether a 401 may lack its code, because nothing was presented.
        sets_cookie: Whether it may set or clear the refresh cookie.
        conditional: Whether it takes ``If-None-Match``.
        packed: Whether it answers in :data:`jwt_sessions.conf.PACKED_IDS` too, to who asks for that.
        background: Whether it looks at ``X-Session-Background``.
        by_grant: Whether its body depends on the ``grant_type``.
    """

    id: str
    summary: str
    answers: Mapping[int, Any]
    takes: type[Serializer[Any]] | None = None
    errors: Errors = ()
    details: tuple[int, ...] = ()
    security: tuple[str | None, ...] = ()
    anonymous: bool = False
    sets_cookie: bool = False
    conditional: bool = False
    packed: bool = False
    background: bool = False
    by_grant: bool = False


REQUEST: Errors = (exceptions.InvalidRequest,)
AUDIENCE: Errors = (exceptions.InvalidRequest, exceptions.InvalidTarget, exceptions.TenantForbidden)
ISSUE: Errors = (exceptions.IssueDenied, exceptions.IssueFailed)
BEARER: Errors = (exceptions.InvalidToken, exceptions.ExpiredToken, exceptions.SessionEnded, exceptions.TenantIdle)
SIGN_IN: Errors = (exceptions.InvalidCredentials, exceptions.SessionLimit, exceptions.Throttled)
CLIENT_ERRORS: Errors = (exceptions.InvalidClient, exceptions.Throttled)
CROSS_SITE: Errors = (exceptions.CrossSiteRequest,)
SIGN_IN_AND_ISSUE: Errors = AUDIENCE + SIGN_IN + CROSS_SITE + ISSUE


def _own(id: str, summary: str, answers: Mapping[int, Any], *, errors: Errors = (), **options: Any) -> Operation:
    """An operation that the view's own authentication guards."""
    return Operation(id, summary, answers, errors=BEARER + errors, anonymous=True, background=True, **options)


OPERATIONS: Mapping[tuple[type[APIView], str], Operation] = {
    (LoginView, "POST"): Operation(
        "login",
        "Sign in",
        {200: TokenAnswer},
        LoginSerializer,
        SIGN_IN_AND_ISSUE,
        security=(None,),
        sets_cookie=True,
    ),
    (TokenView, "POST"): Operation(
        "token",
        "Refresh, or another grant",
        {200: (TokenAnswer, AccessTokenAnswer, ExchangeAnswer)},
        None,
        (
            *(exceptions.InvalidToken, exceptions.SessionEnded, exceptions.ReauthenticationRequired),
            *(exceptions.NoSession, exceptions.TenantIdle),
            *(exceptions.UnsupportedGrantType, exceptions.InvalidClient),
            *SIGN_IN_AND_ISSUE,
        ),
        security=(None, CLIENT, COOKIE),
        sets_cookie=True,
        by_grant=True,
    ),
    (RenewView, "POST"): Operation(
        "renew",
        "Get a fresh access token for a valid one",
        {200: RenewalAnswer},
        RenewSerializer,
        (*BEARER, *REQUEST, exceptions.TenantForbidden, exceptions.RenewalDisabled, *ISSUE),
        security=(ACCESS_TOKEN,),
        anonymous=True,
        background=True,
    ),
    (ReauthenticateView, "POST"): Operation(
        "reauthenticate",
        "Give the password again",
        {200: TokenAnswer},
        ReauthenticateSerializer,
        (
            *(*BEARER, *REQUEST, exceptions.TenantForbidden),
            *(exceptions.InvalidCredentials, exceptions.Throttled, *CROSS_SITE, *ISSUE),
        ),
        security=(ACCESS_TOKEN,),
        anonymous=True,
        sets_cookie=True,
    ),
    (LogoutView, "POST"): Operation(
        "logout",
        "Sign out",
        {204: None},
        LogoutSerializer,
        REQUEST + CROSS_SITE,
        security=(None, ACCESS_TOKEN, COOKIE),
        sets_cookie=True,
    ),
    (RevokeView, "POST"): Operation(
        "revoke",
        "Revoke a token",
        {200: {"type": "object"}},
        TokenSerializer,
        (*REQUEST, *CLIENT_ERRORS, exceptions.UnsupportedTokenType),
        security=(None, CLIENT),
    ),
    (IntrospectView, "POST"): Operation(
        "introspect",
        "Ask about a token",
        {200: answers.IntrospectionAnswer},
        TokenSerializer,
        REQUEST + CLIENT_ERRORS,
        # Without, the client authenticates in the body.
        security=(None, CLIENT),
    ),
    (RevokedView, "GET"): Operation(
        "revoked",
        "List the sessions that ended lately",
        {200: answers.RevokedAnswer, 304: None},
        errors=REQUEST + CLIENT_ERRORS,
        security=(CLIENT,),
        conditional=True,
        packed=True,
    ),
    (SessionListView, "GET"): _own("session_list", "List the own sessions", {200: SessionAnswer(many=True)}),
    (SessionDetailView, "GET"): _own("session_detail", "Look at an own session", {200: SessionAnswer}, details=(404,)),
    (SessionDetailView, "PATCH"): _own(
        "session_rename",
        "Name the device of an own session",
        {200: SessionAnswer},
        takes=DeviceNameSerializer,
        errors=REQUEST,
        details=(404,),
    ),
    (SessionDetailView, "DELETE"): _own(
        "session_end", "End an own session", {204: None}, details=(404,), sets_cookie=True
    ),
    (EndOthersView, "POST"): _own("session_end_others", "End the other own sessions", {200: answers.EndedAnswer}),
    (EndAllView, "POST"): _own("session_end_all", "End all own sessions", {200: answers.EndedAnswer}, sets_cookie=True),
    (CredentialListView, "GET"): _own(
        "credential_list", "List the own credentials", {200: CredentialAnswer(many=True)}
    ),
    (CredentialListView, "POST"): _own(
        "credential_create",
        "Make a credential",
        {201: NewCredentialAnswer},
        takes=NewCredentialSerializer,
        errors=(*AUDIENCE, exceptions.IssueFailed, exceptions.ReauthenticationRequired, exceptions.TooManyCredentials),
    ),
    (CredentialDetailView, "DELETE"): _own("credential_revoke", "Revoke a credential", {204: None}, details=(404,)),
    (PolicyListView, "GET"): _own(
        "policy_list", "List the policies", {200: answers.PolicyAnswer(many=True)}, details=(403,)
    ),
    (PolicyListView, "POST"): _own(
        "policy_create",
        "Make a policy",
        {201: answers.PolicyAnswer},
        takes=PolicySerializer,
        errors=REQUEST,
        details=(403,),
    ),
    (PolicyDetailView, "GET"): _own(
        "policy_detail", "Look at a policy", {200: answers.PolicyAnswer}, details=(403, 404)
    ),
    (PolicyDetailView, "PATCH"): _own(
        "policy_change",
        "Change a policy",
        {200: answers.PolicyAnswer},
        takes=PolicySerializer,
        errors=REQUEST,
        details=(403, 404),
    ),
    (PolicyDetailView, "DELETE"): _own("policy_delete", "Delete a policy", {204: None}, details=(403, 404)),
    (JWKSView, "GET"): Operation(
        "jwks", "Get the public keys", {200: answers.KeysAnswer, 304: None}, security=(None,), conditional=True
    ),
    (AuthorizationServerView, "GET"): Operation(
        "authorization_server",
        "Discover the endpoints",
        {200: answers.ServerAnswer, 304: None},
        details=(404,),
        security=(None,),
        conditional=True,
    ),
}


def operation_of(view: type[APIView], method: str) -> Operation | None:
    """The operation of a view or of what it inherits from; ``None`` for a view that is none of this package's."""
    found = (OPERATIONS.get((kind, method)) for kind in view.__mro__)
    return next(filter(None, found), None)
