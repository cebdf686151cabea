"""
Access tokens: JWTs as RFC 9068 profiles them, read as RFC 8725 asks.

A token is judged here by itself: signature, shape, issuer, audience, time. Whether its session lives is another
question, asked in :mod:`jwt_sessions.verdict`.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from jwt.algorithms import OKPAlgorithm
from jwt.api_jws import PyJWS
from jwt.exceptions import PyJWTError
from jwt.utils import base64url_encode

from jwt_sessions import conf
from jwt_sessions.exceptions import ExpiredToken, InvalidToken
from jwt_sessions.tokens.claims import CLAIMS, EVERY, USER
from jwt_sessions.tokens.keys import KeySet, ring

TYPE = conf.ACCESS_TOKEN_TYPES[0]
# RFC 8725 §3.5, RFC 7515 §4.1: a token must not bring the key that verifies it, nor extensions unknown here.
REFUSED_HEADERS = ("jwk", "jku", "x5u", "x5c", "crit", "b64")
# How far ahead of this clock a token may have been issued, whatever LEEWAY says. No clocks agree to the millisecond.
LEAST_SKEW = 1  # seconds

_jws = PyJWS(algorithms=["ES256", "RS256", "EdDSA", "HS256"])
_jws.register_algorithm("Ed25519", OKPAlgorithm())


def make_jti() -> str:
    """A fresh token id of 128 random bits."""
    return secrets.token_urlsafe(16)


def encode(claims: Mapping[str, Any]) -> str:
    """
    Sign claims with the ring's signer.

    Raises:
        TypeError, ValueError: The claims are not JSON (RFC 8259: no NaN, no infinity, text that is Unicode).
    """
    signer = ring().signer
    payload = json.dumps(claims, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()
    return _jws.encode(payload, signer.signing_key, signer.algorithm, headers={"typ": TYPE, "kid": signer.kid})


def decode(token: str, now: datetime, *, check_expiry: bool = True, check_soft_expiry: bool = True) -> dict[str, Any]:
    """
    The claims of a token that this ring signed and that is good at ``now``.

    Args:
        token: The compact JWS.
        now: The moment to judge it at.
        check_soft_expiry: ``False`` reads a token past its ``softexp``: good enough to renew it.
        check_expiry: ``False`` reads a genuine token although it expired: good enough to sign out with.

    Raises:
        InvalidToken: Malformed, forged, or not meant for this issuer and its audiences.
        ExpiredToken: Genuine, but past ``exp``.
    """
    settings = conf.current()
    claims = verified_claims(token, ring())
    check_claims(claims, settings.ISSUER, settings.AUDIENCES)
    _check_own_claims(claims)
    soft_expiry = claims.get("softexp") if check_soft_expiry else None
    expires = claims["exp"] if soft_expiry is None else min(claims["exp"], soft_expiry)
    check_times(claims, now, settings.LEEWAY, expires if check_expiry else None)
    return claims


def verified_claims(token: str, ring: KeySet, types: tuple[str, ...] = conf.ACCESS_TOKEN_TYPES) -> dict[str, Any]:
    """
    The claims of a token whose header and signature are right; what they say is not looked at.

    Args:
        token: The compact JWS.
        ring: The keys that may have signed it. Only the key that the token names is tried, with its own algorithm.
        types: Values of ``typ`` that are accepted, in lower case.

    Raises:
        InvalidToken: Malformed or forged.
    """
    if len(token) > conf.MAX_HEADER_BYTES:
        raise InvalidToken
    claims: dict[str, Any] = json.loads(_verified_payload(token, ring, types))
    return claims


# A client sends the same token with each request until it expires, and a signature does not change its mind: what
# was verified once under a ring is remembered. The key is the whole token, so another spelling of it is verified anew.
@lru_cache(maxsize=4096)
def _verified_payload(token: str, ring: KeySet, types: tuple[str, ...]) -> bytes:
    """The payload of a token whose header and signature are right. Raises InvalidToken, which is not remembered."""
    try:
        key = ring.by_kid[_kid(token)]
        complete = _jws.decode_complete(token, key.verifying_key, key.accepted)
        header, payload = complete["header"], complete["payload"]
        if any(name in header for name in REFUSED_HEADERS):
            raise InvalidToken
        if str(header.get("typ", "")).lower() not in types:
            raise InvalidToken
        # The signature covers the spelling of all but itself: no padding, white space or spare bits in it either.
        if base64url_encode(complete["signature"]).decode() != token.rpartition(".")[2]:
            raise InvalidToken
        if not isinstance(json.loads(payload), dict):
            raise InvalidToken
    except (PyJWTError, KeyError, TypeError, ValueError, RecursionError):
        raise InvalidToken from None
    return bytes(payload)


def _kid(token: str) -> Any:
    """The key that a token names. Its header is read by halves here: PyJWT reads the whole token properly then."""
    return _read(token.partition(".")[0]).get("kid")


def claimed_origin(token: str) -> tuple[str | None, str]:
    """
    The key and the issuer that a token names, to find the keys with that it is verified with. Nothing is verified.

    Raises:
        InvalidToken: Malformed, or it names no issuer.
    """
    try:
        if len(token) > conf.MAX_HEADER_BYTES:
            raise InvalidToken
        header, payload, _signature = token.split(".")
        kid, issuer = _read(header).get("kid"), _read(payload)["iss"]
    except (KeyError, ValueError, RecursionError):
        raise InvalidToken from None
    if not isinstance(kid, str | None) or not isinstance(issuer, str):
        raise InvalidToken
    return kid, issuer


def _read(part: str) -> dict[str, Any]:
    """A part of a token: base64url of a JSON object. Raises ValueError, RecursionError."""
    value = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def check_claims(claims: dict[str, Any], issuer: str, audiences: Collection[str]) -> None:
    """
    Look at the claims that every access token has (RFC 9068 §2.2, RFC 8725 §3.8 to §3.10).

    Raises:
        InvalidToken: A claim is missing or malformed, or the issuer or all audiences are others.
    """
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if claims.get("iss") != issuer or not any(each in audiences for each in named if isinstance(each, str)):
        raise InvalidToken
    if not all(isinstance(claims.get(name), str) and claims[name] for name in ("sub", "jti")):
        raise InvalidToken
    if not all(type(claims.get(name)) is int for name in ("exp", "iat")) or type(claims.get("nbf", 0)) is not int:
        raise InvalidToken


def check_times(claims: dict[str, Any], now: datetime, leeway: timedelta, expires: int | None) -> None:
    """
    Judge a token by the clock.

    Args:
        claims: Claims that passed :func:`check_claims`.
        now: The moment to judge it at.
        leeway: The clock skew that is accepted; a second always is for the moment of issue.
        expires: When it expires, in seconds since the epoch; ``None``: expiry does not matter.

    Raises:
        InvalidToken: It is from the future.
        ExpiredToken: It is past its expiry.
    """
    moment, skew = now.timestamp(), leeway.total_seconds()
    issued, not_before = claims["iat"], claims.get("nbf", 0)
    # A clock a millisecond behind the issuer's must not refuse a fresh token for good. Many issuers set nbf to iat too.
    if issued > moment + max(skew, LEAST_SKEW) or (not_before > issued and not_before > moment + skew):
        raise InvalidToken
    if expires is not None and expires <= moment - skew:
        raise ExpiredToken


def _check_own_claims(claims: dict[str, Any]) -> None:
    """Look at what this package puts into each type of token."""
    token_type = claims.get("type")
    for name, claim in CLAIMS.items():
        if name == "aud":
            # May be a list. One of them was found good already.
            continue
        if type(claims[name]) is not claim.kind if name in claims else token_type in claim.required:
            raise InvalidToken
    if token_type not in EVERY:
        raise InvalidToken
    try:
        UUID(claims["sid"] if token_type == USER else claims["client_id"])
    except ValueError:
        raise InvalidToken from None
