"""
Access tokens: JWTs as RFC 9068 profiles them, read as RFC 8725 asks.

A token is judged here by itself: signature, shape, issuer, audience, time. Whether its session lives is another
question, asked in :mod:`jwt_sessions.sessions.verdict`.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from jwt.algorithms import OKPAlgorithm
from jwt.api_jws import PyJWS
from jwt.exceptions import PyJWTError
from jwt.utils import base64url_encode

from jwt_sessions import conf
from jwt_sessions.exceptions import ExpiredToken, InvalidToken
from jwt_sessions.tokens.keys import KeyRing, ring

TYPE = "at+jwt"
# RFC 9068 §4 asks for both spellings of the media type.
ACCEPTED_TYPES = ("at+jwt", "application/at+jwt")
# RFC 8725 §3.5, RFC 7515 §4.1: a token must not bring the key that verifies it, nor extensions unknown here.
REFUSED_HEADERS = ("jwk", "jku", "x5u", "x5c", "crit", "b64")

RESERVED_CLAIMS = frozenset(
    ("iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "auth_time")  # RFC 7519, RFC 9068
    + ("sid", "type", "jwt_version", "gen", "tenantId", "softexp", "omitted")  # this package
)

_jws = PyJWS(algorithms=["ES256", "RS256", "EdDSA", "HS256"])
_jws.register_algorithm("Ed25519", OKPAlgorithm())


def make_jti() -> str:
    """A fresh token id of 128 random bits."""
    return secrets.token_urlsafe(16)


def encode(claims: Mapping[str, Any]) -> str:
    """
    Sign claims with the ring's signer.

    Raises:
        TypeError, ValueError: The claims are not JSON (RFC 8259: no NaN, no infinity).
    """
    signer = ring().signer
    payload = json.dumps(claims, separators=(",", ":"), allow_nan=False).encode()
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
    if len(token) > conf.MAX_HEADER_BYTES:
        raise InvalidToken
    claims: dict[str, Any] = json.loads(_verified_payload(token, ring()))
    _check_claims(claims)
    settings = conf.current()
    leeway = settings.LEEWAY.total_seconds()
    moment = now.timestamp()
    if claims["iat"] > moment + leeway or claims.get("nbf", 0) > moment + leeway:
        raise InvalidToken
    expires = min(claims["exp"], claims.get("softexp", claims["exp"])) if check_soft_expiry else claims["exp"]
    if check_expiry and expires <= moment - leeway:
        raise ExpiredToken
    return claims


# A client sends the same token with each request until it expires, and a signature does not change its mind: what
# was verified once under a ring is remembered. The key is the whole token, so another spelling of it is verified anew.
@lru_cache(maxsize=4096)
def _verified_payload(token: str, ring: KeyRing) -> bytes:
    """The payload of a token whose header and signature are right. Raises InvalidToken, which is not remembered."""
    try:
        key = ring.by_kid[_kid(token)]
        complete = _jws.decode_complete(token, key.verifying_key, key.accepted)
        header, payload = complete["header"], complete["payload"]
        if any(name in header for name in REFUSED_HEADERS):
            raise InvalidToken
        if str(header.get("typ", "")).lower() not in ACCEPTED_TYPES:
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
    header = token.partition(".")[0]
    return json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"]


def _check_claims(claims: dict[str, Any]) -> None:
    settings = conf.current()
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if claims.get("iss") != settings.ISSUER or not any(item in settings.AUDIENCES for item in audiences):
        raise InvalidToken
    if not all(isinstance(claims.get(name), str) and claims[name] for name in ("sub", "jti", "sid")):
        raise InvalidToken
    if not all(type(claims.get(name)) is int for name in ("exp", "iat", "auth_time", "jwt_version", "gen")):
        raise InvalidToken
    if claims.get("type") != "user" or type(claims.get("nbf", 0)) is not int:
        raise InvalidToken
    try:
        UUID(claims["sid"])
    except ValueError:
        raise InvalidToken from None
