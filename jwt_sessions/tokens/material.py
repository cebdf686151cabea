"""Key material: fresh and derived keys as the texts that ``SIGNING_KEYS`` takes."""

from __future__ import annotations

import secrets

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.exceptions import ImproperlyConfigured

from jwt_sessions.tokens import keys

DEFAULT_RSA_BITS = 3072  # as strong as P-256 and Ed25519 (NIST SP 800-57 part 1, table 2)
# Each doubling makes signing seven times as slow; 8192 bits are stronger than anything else here already.
MAX_RSA_BITS = 8192
HMAC_BYTES = 48  # random bytes, before they are written as text

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def generate(algorithm: str, bits: int = DEFAULT_RSA_BITS) -> str:
    """
    A fresh private key as an unencrypted PEM (PKCS #8), or for ``HS256`` a secret text.

    Args:
        algorithm: One of the values of ``ALGORITHM``.
        bits: The size of an RSA key; others have one size only.

    Raises:
        ImproperlyConfigured: There is no such algorithm.
    """
    match algorithm:
        case "HS256":
            return secrets.token_urlsafe(HMAC_BYTES)
        case "RS256":
            return _pem(rsa.generate_private_key(65537, bits))
        case "ES256":
            return _pem(ec.generate_private_key(ec.SECP256R1()))
        case "EdDSA" | "Ed25519":
            return _pem(ed25519.Ed25519PrivateKey.generate())
    raise ImproperlyConfigured(f"{algorithm} is none of the algorithms.")


def derived(algorithm: str) -> str:
    """
    The private key that follows from ``SECRET_KEY``, in the same form.

    Raises:
        ImproperlyConfigured: No private key of this algorithm is derived, or there is no ``SECRET_KEY``.
    """
    if algorithm == "HS256":
        # Its derived secret is 32 bytes of any value; SIGNING_KEYS takes a text.
        raise ImproperlyConfigured("A secret derived for HS256 cannot be written as a text.")
    return _pem(keys.derived_private_key(algorithm, keys.secrets()[0]))


def kid(algorithm: str, text: str) -> str:
    """The ``kid`` of the tokens that this key would sign."""
    return keys.given_key(algorithm, text, 0).kid


def _pem(key: PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
