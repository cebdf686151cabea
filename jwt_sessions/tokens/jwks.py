"""JWK sets of other issuers (RFC 7517), read as RFC 8725 asks: a key serves its own algorithm and no other."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from django.core.exceptions import ImproperlyConfigured
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from jwt_sessions.tokens.keys import Key, KeySet, asymmetric_key

# Verifying takes the longer the longer the key is, and the length is for the other side to choose.
MAX_RSA_BITS = 8192
# "oct" is not among them: whoever can read a published symmetric key can sign with it (RFC 7517 §9.2).
KINDS: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "EC": ECAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
    "RSA": RSAAlgorithm.from_jwk,
}


def key_set(jwks: object, algorithms: Collection[str]) -> KeySet:
    """
    The keys of a JWK set that verify signatures.

    A key that cannot be used is passed over, as RFC 7517 §5 asks: of an unknown kind, malformed, too short, for
    encryption, symmetric, private, or for other algorithms. One without ``kid`` is known by its thumbprint (RFC 7638).
    If there is but one that can be used, it is also the key of tokens that name none.

    Args:
        jwks: The set, as JSON has it.
        algorithms: The values of ``alg`` that are accepted.

    Raises:
        ValueError: It is not a JWK set, or no key of it can be used.
    """
    entries = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(entries, list):
        raise ValueError("it is not a JWK set")
    by_kid: dict[str | None, Key] = {}
    for entry in entries:
        key = _usable_key(entry, algorithms)
        if key is not None:
            by_kid.setdefault(key.kid, key)
    if not by_kid:
        raise ValueError("no key in it can be used")
    if len(by_kid) == 1:
        by_kid[None] = next(iter(by_kid.values()))
    return KeySet(by_kid=by_kid)


@lru_cache(maxsize=64)
def inline_key_set(jwks: str, algorithms: tuple[str, ...]) -> KeySet:
    """
    The keys of a JWK set that stands in the settings.

    Raises:
        ImproperlyConfigured: See the ValueError of :func:`key_set`.
    """
    try:
        return key_set(json.loads(jwks), algorithms)
    except ValueError as error:
        raise ImproperlyConfigured(f"A JWK set in TRUSTED_ISSUERS cannot be used: {error}.") from None


def _usable_key(entry: Any, algorithms: Collection[str]) -> Key | None:
    try:
        # A private key that was published is everybody's.
        if entry.get("use", "sig") != "sig" or "verify" not in entry.get("key_ops", ["verify"]) or "d" in entry:
            return None
        public = KINDS[entry["kty"]](entry)
        if getattr(public, "key_size", 0) > MAX_RSA_BITS:
            return None
        key = asymmetric_key(public, "")
        kid = entry.get("kid", key.kid)
        named = entry.get("alg")
    except (PyJWTError, ImproperlyConfigured, UnsupportedAlgorithm, KeyError, TypeError, ValueError, AttributeError):
        return None
    accepted = tuple(each for each in key.accepted if each in algorithms)
    if not accepted or (named is not None and named not in key.accepted) or not isinstance(kid, str):
        return None
    return dataclasses.replace(key, kid=kid, accepted=accepted)
