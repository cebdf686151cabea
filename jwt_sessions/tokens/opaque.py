"""
Refresh tokens: opaque strings that say just enough about themselves.

Format 1, 69 bytes in base64url behind ``jsr_``::

    version 1 | session id 16 | generation 4 | secret 32 | tag 16

The *secret* comes from the system's CSPRNG and is all that makes the token worth anything. The *tag* is an HMAC under
a key derived from ``SECRET_KEY``: it tells garbage from what once was issued without a query, and proves that a token
of an earlier generation was genuine after its row is gone. It is an envelope only: each answer carries the token with
a tag under the current key, so a token that is in use outlives a change of ``SECRET_KEY``. Threats met:

- guessing or forging ids to end other people's sessions: a token without the right tag is refused unseen;
- whoever reads the database finds SHA-256 digests of 256-bit secrets, and successors sealed under secrets that are
  stored nowhere; ``SECRET_KEY`` opens neither, it only makes tags.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import struct
from dataclasses import dataclass, field
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.views.decorators.debug import sensitive_variables

from jwt_sessions.exceptions import InvalidToken
from jwt_sessions.tokens.keys import derived

PREFIX = "jsr_"
FORMAT = 1
_PUBLIC = struct.Struct(">B16sI")
SECRET_BYTES = 32
TAG_BYTES = 16
TAG_PURPOSE = "refresh-tag"
TOKEN_BYTES = _PUBLIC.size + SECRET_BYTES + TAG_BYTES
_SPELLING = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{{TOKEN_BYTES * 4 // 3}}}")

# A key that seals one message only may use one nonce (NIST SP 800-38D §8: a nonce must not repeat under a key).
_NONCE = bytes(12)


@dataclass(frozen=True, slots=True)
class OpaqueToken:
    """A refresh token taken apart. Its ``repr`` shows no secret."""

    session_id: UUID
    generation: int
    secret: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The token as clients carry it, tagged under the current ``SECRET_KEY``."""
        signed = self._public + self.secret
        return PREFIX + base64.urlsafe_b64encode(signed + _tag(derived(TAG_PURPOSE)[0], signed)).decode()

    @property
    def digest(self) -> bytes:
        """
        What is stored: SHA-256 of all but the tag, which follows ``SECRET_KEY``.

        A slow hash has nothing to add to 256 random bits.
        """
        return hashlib.sha256(self._public + self.secret).digest()

    @property
    def _public(self) -> bytes:
        return _PUBLIC.pack(FORMAT, self.session_id.bytes, self.generation)

    def seal(self, successor: OpaqueToken) -> bytes:
        """Encrypt the successor so that only who holds this token can read it (AES-256-GCM)."""
        return AESGCM(self._sealing_key).encrypt(_NONCE, successor.secret, successor._public)

    def unseal(self, sealed: bytes) -> OpaqueToken | None:
        """The successor sealed under this token, or ``None`` if it was sealed under another."""
        public = _PUBLIC.pack(FORMAT, self.session_id.bytes, self.generation + 1)
        try:
            secret = AESGCM(self._sealing_key).decrypt(_NONCE, sealed, public)
        except InvalidTag:
            return None
        return OpaqueToken(self.session_id, self.generation + 1, secret)

    @property
    def _sealing_key(self) -> bytes:
        return hmac.digest(self.secret, b"jwt_sessions:seal", "sha256")


def make(session_id: UUID, generation: int) -> OpaqueToken:
    """A new token for a generation of a session."""
    return OpaqueToken(session_id, generation, secrets.token_bytes(SECRET_BYTES))


@sensitive_variables()
def parse(text: str) -> OpaqueToken:
    """
    Take a presented token apart.

    Raises:
        InvalidToken: It was not made by this project, or under a ``SECRET_KEY`` that is no longer among the fallbacks.
    """
    if not _SPELLING.fullmatch(text):
        raise InvalidToken
    raw = base64.urlsafe_b64decode(text[len(PREFIX) :])
    signed, tag = raw[:-TAG_BYTES], raw[-TAG_BYTES:]
    if not any(hmac.compare_digest(tag, _tag(key, signed)) for key in derived(TAG_PURPOSE)):
        raise InvalidToken
    version, session_id, generation = _PUBLIC.unpack(signed[: _PUBLIC.size])
    if version != FORMAT:
        raise InvalidToken
    return OpaqueToken(UUID(bytes=session_id), generation, signed[_PUBLIC.size :])


def looks_like_refresh_token(text: str) -> bool:
    """Whether a token of unknown kind (RFC 7009 §2.1) is to be read as a refresh token."""
    return text.startswith(PREFIX)


def _tag(key: bytes, signed: bytes) -> bytes:
    return hmac.digest(key, signed, "sha256")[:TAG_BYTES]
