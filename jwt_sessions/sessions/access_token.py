"""Making access tokens: the draft, the hook, the clamp to the deadlines, the signature. Nothing is stored here."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.utils import timezone

from jwt_sessions import conf, signals
from jwt_sessions.claims import configured_claims
from jwt_sessions.exceptions import IssueDenied, IssueFailed
from jwt_sessions.models import Credential, Session
from jwt_sessions.policies import Deadlines
from jwt_sessions.tokens import access
from jwt_sessions.tokens.claims import RESERVED_CLAIMS
from jwt_sessions.types import ClientInfo, Draft, TokenRequest
from jwt_sessions.verdict.credential import CredentialState
from jwt_sessions.verdict.session import SessionState

logger = logging.getLogger("jwt_sessions")


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A signed access token.

    Attributes:
        text: The compact JWS.
        expires_in: Its lifetime in whole seconds.
        omitted: The optional claims that found no room in it.
        deadlines: The deadlines that it keeps.
    """

    text: str = field(repr=False)
    expires_in: int
    omitted: tuple[str, ...]
    deadlines: Deadlines


def sign_for(state: SessionState | CredentialState, asked: TokenRequest, now: datetime) -> AccessToken:
    """
    Sign the access token that was asked for. Stores nothing and needs no transaction.

    The token never outlives the deadlines, so verifiers without a database obey them too. Those of an audience that is
    not the session's own bind the token, and are not told: the session does not end by them.

    Args:
        state: The session as it will be once stored, or the credential.
        asked: Audience, tenant, client.
        now: The moment of issue.

    Raises:
        IssueDenied: A receiver of ``pre_issue`` refused.
        IssueFailed: A receiver broke, touched a reserved claim or set no sensible lifetime; or the token is too large.
    """
    # Before anybody else sees the draft, and of a copy: what others do to it changes nothing here.
    own, limits = _own_claims(state), state.deadlines(asked.tenant)
    soft_expiry = conf.current().SOFT_EXPIRY
    if isinstance(state, SessionState):
        draft = _draft_of_session(state, asked)
        longest = draft.expires_in
        if soft_expiry is not None:
            own["softexp"] = _epoch(now, soft_expiry)
        _ask_receivers(draft, Session)
    else:
        draft, longest = _draft_of_credential(state, asked), conf.LONGEST
        _ask_receivers(draft, Credential)
    lifetime = min(draft.expires_in, longest)
    last = state.deadlines(asked.tenant, draft.audience).next
    if last is not None:
        lifetime = min(lifetime, last.at - now)
    own |= _common_claims(draft, now, lifetime)
    if "softexp" in own:
        own["softexp"] = min(own["exp"], own["softexp"])
    text, omitted = _fit(draft.claims, own)
    return AccessToken(text, max(0, own["exp"] - own["iat"]), omitted, limits)


def _draft_of_session(state: SessionState, asked: TokenRequest) -> Draft:
    audience = asked.audience or state.session.audience
    lifetime = state.policies.access_token_lifetime("user", audience)
    seen = copy.copy(state.session)
    draft = Draft("user", state.user, None, seen, audience, asked.tenant, asked.client, lifetime)
    draft.claims.update(configured_claims(draft, state.policies.applying(audience).excluded_claims))
    return draft


def _draft_of_credential(state: CredentialState, asked: TokenRequest) -> Draft:
    credential, policies = state.credential, state.policies
    lifetime = policies.access_token_lifetime(credential.kind, credential.audience)
    seen = copy.copy(credential)
    draft = Draft(credential.kind, state.user, seen, None, credential.audience, asked.tenant, asked.client, lifetime)
    if state.user is not None:
        draft.claims.update(configured_claims(draft, policies.applying(credential.audience).excluded_claims))
    # A fixture may have stored anything.
    if not isinstance(credential.claims, dict):
        raise _failed("the claims of credential %s are no JSON object", credential.pk)
    draft.claims.update(credential.claims)
    return draft


def size_with_claims(user: AbstractBaseUser) -> int:
    """
    How many bytes an access token of a user has with all of ``CLAIMS``, and without those of receivers.

    Raises:
        IssueDenied, IssueFailed: A callable in ``CLAIMS`` refused or broke.
    """
    now = timezone.now()
    audience = conf.current().default_audience
    session = Session(user=user, created_at=now, audience=audience)  # type: ignore[misc]  # any user model
    draft = Draft("user", user, None, session, audience, None, ClientInfo(), timedelta(0))
    claims, lifetime = configured_claims(draft, ()), conf.current().ACCESS_TOKEN_LIFETIME["user"]
    return len(_encode({**claims, **_claims_of_session(session), **_common_claims(draft, now, lifetime)}))


def _own_claims(state: SessionState | CredentialState) -> dict[str, Any]:
    """What a token says of its session or credential."""
    if isinstance(state, SessionState):
        return _claims_of_session(state.session)
    own: dict[str, Any] = {"sub": str(state.credential.pk), "client_id": str(state.credential.pk)}
    return own if state.user is None else {**own, "sub": str(state.user.pk), "jwt_version": state.jwt_version}


def _claims_of_session(session: Session) -> dict[str, Any]:
    methods = {"amr": session.amr.split()} if session.amr else {}
    return methods | {
        "sub": str(session.user.pk),
        "client_id": session.audience,
        "sid": str(session.pk),
        "auth_time": int(session.authenticated_at.timestamp()),
        "jwt_version": session.jwt_version,
        "gen": session.generation,
    }


def _common_claims(draft: Draft, now: datetime, lifetime: timedelta) -> dict[str, Any]:
    """What a token of any type says of itself."""
    claims = {
        "iss": conf.current().ISSUER,
        "aud": draft.audience,
        "exp": _epoch(now, lifetime),
        "iat": _epoch(now),
        "jti": access.make_jti(),
        "type": draft.token_type,
    }
    return claims if draft.tenant is None else {**claims, "tenantId": draft.tenant}


def _epoch(now: datetime, later: timedelta = timedelta(0)) -> int:
    """
    A moment from now on, in seconds since the epoch.

    Without USE_TZ ``now`` is local time. It is turned into UTC before anything is added: a sum of local times forgets
    which of the two passes of a repeated hour it is of, and a token would be born dead.
    """
    return int((now.astimezone(UTC) + later).timestamp())


def _fit(claims: dict[str, Any], own: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Sign claims, without optional ones as far as the token would be too large with them."""
    settings, left, omitted = conf.current(), dict(claims), []
    text = _encode({**left, **own})
    for name in settings.OPTIONAL_CLAIMS:
        if len(text) <= settings.MAX_ACCESS_TOKEN_BYTES:
            break
        if name in left:
            del left[name]
            omitted.append(name)
            text = _encode({**left, **own, "omitted": omitted})
    if len(text) > settings.MAX_ACCESS_TOKEN_BYTES:
        raise _failed("the access token has %d bytes, more than MAX_ACCESS_TOKEN_BYTES", len(text))
    return text, tuple(omitted)


def _encode(claims: dict[str, Any]) -> str:
    try:
        if not _has_text_keys(claims):
            raise TypeError
        return access.encode(claims)
    except (TypeError, ValueError, RecursionError) as error:
        raise _failed("the claims of a pre_issue receiver are not JSON (%s)", type(error).__name__) from None


def _has_text_keys(value: Any) -> bool:
    """Whether all names in a value are texts: Python would make texts of others (RFC 8259 §4)."""
    if isinstance(value, dict):
        return all(isinstance(name, str) and _has_text_keys(each) for name, each in value.items())
    return not isinstance(value, list | tuple) or all(map(_has_text_keys, value))


def _ask_receivers(draft: Draft, sender: type[Session] | type[Credential]) -> None:
    try:
        signals.pre_issue.send(sender, draft=draft)
    except IssueDenied:
        raise
    except Exception as error:
        logger.exception("a receiver of pre_issue failed, so no token was issued")
        raise IssueFailed from error
    if not isinstance(draft.claims, dict) or not all(isinstance(name, str) for name in draft.claims):
        raise _failed("a receiver of pre_issue left claims that are not a dict with string keys")
    reserved = sorted(RESERVED_CLAIMS.intersection(draft.claims))
    if reserved:
        raise _failed("a receiver of pre_issue set reserved claims: %s", ", ".join(reserved))
    if not isinstance(draft.expires_in, timedelta) or draft.expires_in < timedelta(seconds=1):
        raise _failed("a receiver of pre_issue set an expires_in that is not a timedelta of at least one second")


def _failed(message: str, *arguments: object) -> IssueFailed:
    logger.error(f"{message}; no token was issued", *arguments)
    return IssueFailed()
