"""
The values that settings take.

Each parser turns a value as given into the value as used, or raises :class:`Wrong`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from django.utils.module_loading import import_string

ALGORITHMS = ("ES256", "RS256", "EdDSA", "Ed25519", "HS256")
# Values of ``typ``, in lower case: RFC 9068 §4 asks for both spellings of the media type.
ACCESS_TOKEN_TYPES = ("at+jwt", "application/at+jwt")
TOKEN_TYPES = ("user", "personal", "api")
DEFAULT_ACCESS_TOKEN_LIFETIME = timedelta(minutes=5)
LONGEST = timedelta(days=50 * 365)
# Where servers cut a header line at the latest; no access token may be larger, and none larger is looked at.
MAX_HEADER_BYTES = 16384
# The media type of revoked.json in its compact form: the 16 bytes of each id, one after the other.
PACKED_IDS = "application/octet-stream"


class Wrong(ValueError):
    """A value that a setting does not take; the text says what it takes."""


def text(value: Any) -> str:
    """A non-empty string."""
    if not isinstance(value, str) or not value.strip():
        raise Wrong("a non-empty string")
    return value


def issuer(value: Any) -> str:
    """A non-empty string, and a URL if it looks like one."""
    name = text(value)
    try:
        urlsplit(name)
    except ValueError:
        raise Wrong("a non-empty string; as a URL it has to be one") from None
    return name


def boolean(value: Any) -> bool:
    """``True`` or ``False``."""
    if not isinstance(value, bool):
        raise Wrong("True or False")
    return value


def token_bytes(value: Any) -> int:
    """A size that fits a header line."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_HEADER_BYTES:
        raise Wrong(f"an integer from 1 to {MAX_HEADER_BYTES}")
    return value


def count_or_none(value: Any) -> int | None:
    """A positive number, or ``None`` for no limit."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise Wrong("an integer of at least 1, or None for no limit")
    return value


def number_or_none(value: Any) -> int | None:
    """A number that may be zero, or ``None`` for no limit."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise Wrong("an integer of at least 0, or None for no limit")
    return value


def duration(value: Any) -> timedelta:
    """A timedelta that may be zero."""
    if not isinstance(value, timedelta) or not timedelta(0) <= value <= LONGEST:
        raise Wrong("a timedelta from zero to 50 years")
    return value


def lifetime(value: Any) -> timedelta:
    """A timedelta of at least a second."""
    if not isinstance(value, timedelta) or not timedelta(seconds=1) <= value <= LONGEST:
        raise Wrong("a timedelta of at least one second and at most 50 years")
    return value


def lifetime_or_none(value: Any) -> timedelta | None:
    """A lifetime, or ``None`` for no limit."""
    if value is None:
        return None
    try:
        return lifetime(value)
    except Wrong:
        raise Wrong("a timedelta of at least one second and at most 50 years, or None for no limit") from None


def lifetimes_by_type(value: Any) -> Mapping[str, timedelta]:
    """A lifetime for each type of token."""
    wanted = f"a timedelta of at least one second, or a dict of them by token type ({', '.join(TOKEN_TYPES)})"
    given = value if isinstance(value, dict) else dict.fromkeys(TOKEN_TYPES, value)
    if not set(given) <= set(TOKEN_TYPES):
        raise Wrong(wanted)
    try:
        parsed = {token_type: lifetime(each) for token_type, each in given.items()}
    except Wrong:
        raise Wrong(wanted) from None
    return {**dict.fromkeys(TOKEN_TYPES, DEFAULT_ACCESS_TOKEN_LIFETIME), **parsed}


def strings(value: Any) -> tuple[str, ...]:
    """A list of strings."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) and item for item in value):
        raise Wrong("a list of non-empty strings")
    return tuple(value)


def audiences(value: Any) -> tuple[str, ...]:
    """A list of audiences, each named once."""
    audiences = strings(value)
    if not audiences or len(set(audiences)) != len(audiences):
        raise Wrong("a list of at least one audience, each named once")
    if any(len(audience) > 255 for audience in audiences):
        raise Wrong("a list of audiences of at most 255 characters each")
    return audiences


def one_of(*choices: str) -> Callable[[Any], str]:
    """A parser that takes these values and no others."""

    def parse_choice(value: Any) -> str:
        if value not in choices:
            raise Wrong("one of " + ", ".join(repr(choice) for choice in choices))
        return str(value)

    return parse_choice


def dotted_callable(value: Any) -> Callable[..., Any] | None:
    """A callable, or the dotted path of one, or ``None``."""
    if value is None:
        return None
    try:
        found = import_string(value) if isinstance(value, str) else value
    except ImportError as error:
        raise Wrong(f"the dotted path of a callable ({error})") from error
    if not callable(found):
        raise Wrong("the dotted path of a callable")
    return found  # type: ignore[no-any-return]


def claims(value: Any) -> Mapping[str, Callable[..., Any] | str]:
    """Claim names, each with a callable, the dotted path of one, or a path of attributes of the user."""
    if not isinstance(value, dict) or not all(isinstance(name, str) and name for name in value):
        raise Wrong("a dict of claim names")
    return {name: _claim_source(source) for name, source in value.items()}


def _claim_source(source: Any) -> Callable[..., Any] | str:
    if callable(source):
        return source  # type: ignore[no-any-return]
    if not isinstance(source, str) or not all(part.isidentifier() for part in source.split(".")):
        raise Wrong("a dict of claim names, each with the dotted path of a callable or of attributes of the user")
    try:
        found = import_string(source)
    except ImportError:
        return source
    return found if callable(found) else source


@dataclass(frozen=True, slots=True)
class Rate:
    """So many (``count``) in so many seconds (``period``)."""

    count: int
    period: int


def rate(value: Any) -> Rate | None:
    """A rate in the syntax of Django REST framework, or ``None`` for no limit."""
    if value is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,8})/([smhd])[a-z]*", value) if isinstance(value, str) else None
    if match is None:
        raise Wrong("a rate like '10/min' (per s, m, h or d), or None for no limit")
    return Rate(int(match[1]), {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]])


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieSettings:
    """How the refresh cookie is set (RFC 6265bis)."""

    NAME: str = "jwt_sessions_refresh"
    PATH: str = "/"
    DOMAIN: str | None = None
    SAMESITE: Literal["Strict", "Lax", "None"] = "Strict"
    SECURE: bool = True

    @property
    def full_name(self) -> str:
        """
        The name with the ``__Host-Http-`` prefix wherever browsers accept it: Secure, Path "/", no Domain.

        Such a cookie was set by this host and by no script (RFC 6265bis). Browsers that do not know the second half
        keep the rules of ``__Host-``.
        """
        host_only = self.SECURE and self.PATH == "/" and self.DOMAIN is None
        return f"__Host-Http-{self.NAME}" if host_only else self.NAME


def cookie(value: Any) -> CookieSettings:
    """How the refresh cookie is set."""
    keys = tuple(field.name for field in dataclasses.fields(CookieSettings))
    if not isinstance(value, dict) or not set(value) <= set(keys):
        raise Wrong(f"a dict with the keys {', '.join(keys)}")
    cookie = CookieSettings(**value)
    if not isinstance(cookie.NAME, str) or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", cookie.NAME):
        raise Wrong("a dict whose NAME is a cookie name (RFC 6265 token)")
    if not isinstance(cookie.PATH, str) or not cookie.PATH.startswith("/"):
        raise Wrong('a dict whose PATH begins with "/"')
    if not isinstance(cookie.DOMAIN, str | None) or not isinstance(cookie.SECURE, bool):
        raise Wrong("a dict whose DOMAIN is a string or None and whose SECURE is True or False")
    if cookie.SAMESITE not in ("Strict", "Lax", "None"):
        raise Wrong('a dict whose SAMESITE is "Strict", "Lax" or "None"')
    if cookie.SAMESITE == "None" and not cookie.SECURE:
        raise Wrong('a dict with SECURE True where SAMESITE is "None": browsers drop the cookie otherwise')
    return cookie
