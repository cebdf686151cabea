"""The claims that this package puts into access tokens: the one list of them. docs/claims.md is compared with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from jwt_sessions.conf import TOKEN_TYPES

USER, PERSONAL, API = EVERY = TOKEN_TYPES


class Claim(NamedTuple):
    """
    A claim.

    Attributes:
        kind: The type of its value.
        required: The types of token that are refused without it.
        meaning: What it says, and where it is defined.
    """

    kind: type
    required: tuple[str, ...]
    meaning: str


CLAIMS: Mapping[str, Claim] = {
    "iss": Claim(str, EVERY, "The setting `ISSUER` (RFC 7519 §4.1.1)."),
    "sub": Claim(str, EVERY, "The user's key as text; of an API credential its id (RFC 7519 §4.1.2)."),
    "aud": Claim(str, EVERY, "The audience that the token is for (RFC 7519 §4.1.3)."),
    "exp": Claim(int, EVERY, "When it expires, never after the session's own end (RFC 7519 §4.1.4)."),
    "nbf": Claim(int, (), "Never issued, and obeyed where it stands (RFC 7519 §4.1.5)."),
    "iat": Claim(int, EVERY, "When it was issued (RFC 7519 §4.1.6)."),
    "jti": Claim(str, EVERY, "An id of 128 random bits (RFC 7519 §4.1.7)."),
    "client_id": Claim(
        str,
        (PERSONAL, API),
        "The id of the credential; of a session the audience it signed in to (RFC 9068 §2.2).",
    ),
    "auth_time": Claim(int, (USER,), "When the password was last given (RFC 9068 §2.2.1)."),
    "amr": Claim(list, (), 'How the user was authenticated then, where that is known (RFC 8176), as `["pwd"]`.'),
    "sid": Claim(str, (USER,), "The id of the session."),
    "type": Claim(str, EVERY, "Whose token it is: `user`, `personal` or `api`."),
    "jwt_version": Claim(int, (USER, PERSONAL), "The user's token version at sign-in."),
    "gen": Claim(int, (USER,), "The generation of the session's refresh token."),
    "tenantId": Claim(str, (), "The tenant that the token is for."),
    "softexp": Claim(int, (), "With `SOFT_EXPIRY`: from when on a request gets `EXPIRED_TOKEN`."),
    "omitted": Claim(list, (), "The `OPTIONAL_CLAIMS` that were left out because the token was too large."),
}
# Names that neither `CLAIMS` nor a receiver of `pre_issue` nor a credential may set.
RESERVED_CLAIMS = frozenset(CLAIMS)
