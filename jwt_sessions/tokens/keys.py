"""
Keys: the ring that signs and verifies access tokens, and the secrets derived from ``SECRET_KEY``.

Parsing a key costs a hundred times what signing with it does, so a ring is built once for a set of settings.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os.path
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.encoding import force_bytes
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from jwt_sessions import conf

MIN_RSA_BITS = 2048  # RFC 7518 §3.3
MIN_HMAC_BYTES = 32  # RFC 7518 §3.2: at least the size of the hash
# What a path has and a secret of this package must not: a slash of either kind, or a file extension.
PATH = re.compile(r"[/\\]|\.[A-Za-z][A-Za-z0-9]{0,9}$")
# Order of the P-256 base point (SEC 2 §2.4.2).
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """
    One key of the ring.

    Attributes:
        kid: RFC 7638 thumbprint; for a symmetric key a value that tells nothing about it.
        algorithm: The ``alg`` that it signs with.
        accepted: The ``alg`` values under which its signatures are accepted: never more than its own.
        signing_key: What signs, or ``None`` for a key that only verifies.
        verifying_key: What verifies.
        jwk: The public key as a JWK (RFC 7517), or ``None`` for a symmetric one, which is never published.
    """

    kid: str
    algorithm: str
    accepted: tuple[str, ...]
    signing_key: Any = field(repr=False)
    verifying_key: Any = field(repr=False)
    jwk: dict[str, str] | None = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class KeySet:
    """Keys that verify, by ``kid``. Under ``None``, if at all, stands the key of tokens that name none."""

    by_kid: Mapping[str | None, Key] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class KeyRing(KeySet):
    """The key that signs, and by ``kid`` all that verify (the signer among them)."""

    signer: Key

    @property
    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The public keys as a JWK set (RFC 7517 §5), the signer's first."""
        return {"keys": [key.jwk for key in self.by_kid.values() if key.jwk is not None]}


def secrets() -> tuple[bytes, ...]:
    """``SECRET_KEY`` and its fallbacks, the current one first."""
    return tuple(map(force_bytes, (django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS)))


def derived(purpose: str) -> tuple[bytes, ...]:
    """A 32-byte key for a purpose from each of :func:`secrets` (HKDF, RFC 5869), the current one first."""
    return _derived(secrets(), purpose)


@lru_cache(maxsize=64)
def _derived(secrets: tuple[bytes, ...], purpose: str) -> tuple[bytes, ...]:
    return tuple(_hkdf(secret, purpose, 32) for secret in secrets)


def _hkdf(secret: bytes, purpose: str, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt=None, info=b"jwt_sessions:" + purpose.encode()).derive(secret)


def ring() -> KeyRing:
    """
    The keys in force.

    Raises:
        ImproperlyConfigured: A key in ``SIGNING_KEYS`` cannot be read, or the first does not fit ``ALGORITHM``.
    """
    settings = conf.current()
    return _ring(settings.ALGORITHM, settings.SIGNING_KEYS, () if settings.SIGNING_KEYS else secrets())


@lru_cache(maxsize=8)
def _ring(algorithm: str, signing_keys: tuple[str, ...], secrets: tuple[bytes, ...]) -> KeyRing:
    if signing_keys:
        keys = [given_key(algorithm, text, number) for number, text in enumerate(signing_keys)]
        if keys[0].signing_key is None:
            raise ImproperlyConfigured("SIGNING_KEYS[0] signs, so it has to be a private key.")
        if keys[0].algorithm != algorithm:
            raise ImproperlyConfigured(f"SIGNING_KEYS[0] is not a key for {algorithm}.")
    else:
        keys = [_derived_key(algorithm, secret) for secret in secrets]
    return KeyRing(signer=keys[0], by_kid={key.kid: key for key in keys})


def _derived_key(algorithm: str, secret: bytes) -> Key:
    if algorithm == "HS256":
        return _symmetric_key(_hkdf(secret, "HS256", MIN_HMAC_BYTES))
    return asymmetric_key(derived_private_key(algorithm, secret), algorithm)


def derived_private_key(algorithm: str, secret: bytes) -> ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey:
    """
    The private key that follows from a ``SECRET_KEY``.

    Raises:
        ImproperlyConfigured: No private key of this algorithm is derived.
    """
    if algorithm in ("EdDSA", "Ed25519"):
        return ed25519.Ed25519PrivateKey.from_private_bytes(_hkdf(secret, "Ed25519", 32))
    if algorithm == "ES256":
        # 128 bits more than the order has, so that the reduction favours no key (FIPS 186-5 §A.2.1).
        number = int.from_bytes(_hkdf(secret, "ES256", 48), "big") % (P256_ORDER - 1) + 1
        return ec.derive_private_key(number, ec.SECP256R1())
    raise ImproperlyConfigured(f"{algorithm} needs a key in SIGNING_KEYS.")


def given_key(algorithm: str, text: str, number: int) -> Key:
    """Read an entry of ``SIGNING_KEYS``. Errors name its place in the list and never quote it."""
    name = f"SIGNING_KEYS[{number}]"
    # Environment variables carry a PEM with its line ends written as "\n".
    material = text.replace("\\n", "\n") if "-----BEGIN" in text else _read(text, name, algorithm)
    is_pem = "-----BEGIN" in material
    if algorithm == "HS256" and not is_pem:
        # Of a secret in a file, the line end that editors and ``>`` write is no part.
        material = material.rstrip("\r\n")
        if len(material.encode()) < MIN_HMAC_BYTES:
            raise ImproperlyConfigured(f"{name} is shorter than {MIN_HMAC_BYTES} bytes (RFC 7518 §3.2).")
        return _symmetric_key(material.encode())
    if algorithm == "HS256" and number == 0:
        # A public PEM used as an HMAC secret is the classic confusion of algorithms (RFC 8725 §2.1).
        raise ImproperlyConfigured(f"{name} is a PEM; HS256 takes a secret of {MIN_HMAC_BYTES} bytes or more.")
    try:
        if "PUBLIC KEY" in material:
            return asymmetric_key(load_pem_public_key(material.encode()), algorithm)
        return asymmetric_key(load_pem_private_key(material.encode(), password=None), algorithm)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ImproperlyConfigured(f"{name} is not a readable, unencrypted PEM key.") from None


def _read(path: str, name: str, algorithm: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, ValueError):
        if algorithm != "HS256":
            raise ImproperlyConfigured(f"{name} is neither a PEM text nor the path of a readable file.") from None
    # A symmetric secret is written as it is. A path that cannot be read must not become one: paths are no secret.
    if PATH.search(path) or os.path.exists(path):
        raise ImproperlyConfigured(
            f"{name} looks like a path, and no readable file is there. A secret has no slash and no file extension."
        )
    return path


def _symmetric_key(secret: bytes) -> Key:
    # Not the RFC 7638 thumbprint: of a symmetric key that is a hash of the secret (RFC 7638 §7).
    kid = _base64url(hmac.digest(secret, b"jwt_sessions:kid", "sha256"))
    return Key(kid, "HS256", ("HS256",), secret, secret, None)


def asymmetric_key(key: Any, algorithm: str) -> Key:
    """
    A P-256, RSA or Ed25519 key, private or public, with what follows from it.

    Args:
        key: As ``cryptography`` has it.
        algorithm: Which of its names an Ed25519 key signs under; of no matter to the others.

    Raises:
        ImproperlyConfigured: It is of another kind, or an RSA key that is too short (RFC 7518 §3.3).
    """
    public = key.public_key() if hasattr(key, "public_key") else key
    if isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1):
        accepted: tuple[str, ...] = ("ES256",)
        own, jwk = "ES256", ECAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ed25519.Ed25519PublicKey):
        # "Ed25519" is RFC 9864's name for what RFC 8037 calls "EdDSA": one algorithm, two spellings.
        own = "Ed25519" if algorithm == "Ed25519" else "EdDSA"
        accepted, jwk = ("EdDSA", "Ed25519"), OKPAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, rsa.RSAPublicKey):
        if public.key_size < MIN_RSA_BITS:
            raise ImproperlyConfigured(f"An RSA key in SIGNING_KEYS has fewer than {MIN_RSA_BITS} bits.")
        own, accepted, jwk = "RS256", ("RS256",), RSAAlgorithm.to_jwk(public, as_dict=True)
    else:
        raise ImproperlyConfigured("A key in SIGNING_KEYS is of a kind that is not supported: P-256, RSA or Ed25519.")
    required: dict[str, str] = {name: jwk[name] for name in ("crv", "e", "kty", "n", "x", "y") if name in jwk}
    # RFC 7638 §3: the required members in lexicographic order, no white space.
    thumbprint = hashlib.sha256(json.dumps(required, sort_keys=True, separators=(",", ":")).encode()).digest()
    kid = _base64url(thumbprint)
    # Many libraries do not know the name "Ed25519" and drop a key that bears it, and those that know it refuse tokens
    # under the other name. The curve says all that "alg", which is optional, would (RFC 7517 §4.4, RFC 8037 §3.1).
    named = {} if required["kty"] == "OKP" else {"alg": own}
    return Key(
        kid=kid,
        algorithm=own,
        accepted=accepted,
        signing_key=None if key is public else key,
        verifying_key=public,
        jwk={**required, "kid": kid, "use": "sig", **named},
    )


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
