"""What a token says whose session cannot be asked for: this project's own, or another issuer's. No database."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Container
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from jwt_sessions import conf
from jwt_sessions.conf.trusted_issuers import TrustedIssuer
from jwt_sessions.exceptions import InvalidToken, IssuerUnavailable
from jwt_sessions.issuers import ended
from jwt_sessions.issuers.documents import Document, Rhythm
from jwt_sessions.issuers.transport import Source
from jwt_sessions.tokens.access import check_claims, check_times, claimed_origin, verified_claims
from jwt_sessions.tokens.jwks import inline_key_set, key_set
from jwt_sessions.tokens.keys import KeySet, ring
from jwt_sessions.tokens.verified import BareToken

KEYS_RHYTHM = Rhythm(lifetime=300, shortest=60, longest=24 * 3600, pause=30, outage=24 * 3600)
# Its own Cache-Control is not asked: how late an end may be noticed is for the verifier to say. A minute is enough for
# a server to start anew. In a longer outage access tokens are not renewed either, so little is lost by a refusal.
ENDED_RHYTHM = Rhythm(lifetime=10, shortest=10, longest=10, pause=10, outage=60, whole=True)
MAX_KEYS_BYTES = 256 * 1024
# A million ends in the compact form. Were it few, who can sign in and out often enough could stop the service.
MAX_ENDED_BYTES = 16 * 1024 * 1024


def verify(token: str) -> BareToken:
    """
    Verify an access token of an issuer in ``TRUSTED_ISSUERS``, or where there is none of this project itself.

    Args:
        token: The compact JWS.

    Raises:
        InvalidToken: Malformed, forged, of an unknown issuer, for another audience; or its session is known to have
            ended.
        ExpiredToken: Genuine, but past ``exp`` or ``softexp``.
        IssuerUnavailable: The keys, or the list of ended sessions, are elsewhere and cannot be had.
    """
    settings = conf.current()
    kid, name = claimed_origin(token)
    if not settings.TRUSTED_ISSUERS:
        if name != settings.ISSUER:
            raise InvalidToken
        claims = verified_claims(token, ring())
        return _judged(claims, name, settings.AUDIENCES)
    issuer = settings.TRUSTED_ISSUERS.get(name)
    if issuer is None:
        raise InvalidToken
    claims = verified_claims(token, _keys(issuer, kid), issuer.types)
    verified = _judged(claims, name, issuer.audiences or settings.AUDIENCES)
    # The token of a credential is of no session.
    if issuer.revoked is not None and "sid" in claims and str(claims["sid"]) in _ended(issuer, issuer.revoked):
        raise InvalidToken
    return verified


def check_settings() -> None:
    """
    Whether the settings name keys with which tokens can be verified. Nothing is fetched.

    Raises:
        ImproperlyConfigured: ``JWT_SESSIONS`` is wrong, or keys in it cannot be used; the message names the key.
    """
    issuers = conf.current().TRUSTED_ISSUERS
    if not issuers:
        ring()
    for name, issuer in issuers.items():
        try:
            if not issuer.is_remote:
                inline_key_set(issuer.jwks, issuer.algorithms)
        except ImproperlyConfigured as error:
            raise ImproperlyConfigured(f"JWT_SESSIONS: TRUSTED_ISSUERS: {name!r}: {error}") from None


def _judged(claims: dict[str, Any], issuer: str, audiences: Collection[str]) -> BareToken:
    check_claims(claims, issuer, audiences)
    soft_expiry = claims.get("softexp")
    expires = min(claims["exp"], soft_expiry) if type(soft_expiry) is int else claims["exp"]
    check_times(claims, timezone.now(), conf.current().LEEWAY, expires)
    return BareToken(claims)


def _keys(issuer: TrustedIssuer, kid: str | None) -> KeySet:
    if not issuer.is_remote:
        return inline_key_set(issuer.jwks, issuer.algorithms)
    source = Source(issuer.jwks, issuer.timeout, MAX_KEYS_BYTES)
    document: Document[KeySet] = _document(source, KEYS_RHYTHM, partial(_read_keys, issuer.algorithms))
    keys = document.value()
    if keys is None or kid not in keys.by_kid:
        # A key that is not known may be new. Whether it is has to be asked, but not once for each token: anybody can
        # make up key ids.
        keys = document.renewed()
    if keys is None or (kid not in keys.by_kid and document.is_failing):
        raise IssuerUnavailable(document.next_attempt_in)
    return keys


def _read_keys(algorithms: tuple[str, ...], body: bytes, media_type: str) -> KeySet:
    return key_set(json.loads(body), algorithms)


def _ended(issuer: TrustedIssuer, url: str) -> Container[str]:
    """
    The ids of the sessions known to have ended.

    Raises:
        IssuerUnavailable: The list is not to be had, or not in full. Who could make it so could use an ended session.
    """
    source = Source(url, issuer.timeout, MAX_ENDED_BYTES, ended.ACCEPT, issuer.client_id, issuer.client_secret)
    document: Document[Container[str]] = _document(source, ENDED_RHYTHM, ended.read)
    known = document.value()
    if known is None:
        raise IssuerUnavailable(document.next_attempt_in)
    return known


_documents: dict[tuple[Any, ...], Document[Any]] = {}


def _document(source: Source, rhythm: Rhythm, read: Any) -> Document[Any]:
    # What is read is part of what it is: two issuers may share a URL, and accept other algorithms.
    key = (source, getattr(read, "args", ()))
    # setdefault is atomic: of two threads that come first, both get the same document.
    return _documents.get(key) or _documents.setdefault(key, Document(source, rhythm, read))


if hasattr(os, "register_at_fork"):
    # The thread of a fetch on its way does not live in the child, nor will a lock that it held be released there.
    os.register_at_fork(after_in_child=_documents.clear)
