"""
The settings: one dict, ``JWT_SESSIONS``, read when used.

:func:`current` answers the parsed settings. They are parsed again whenever the dict has changed, so
``override_settings`` works and nothing is captured at import. :func:`parse` reports what is wrong with a dict
without raising, one :class:`Problem` for each mistake; the system checks are made of these.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

TOKEN_TYPES = ("user", "personal", "api")
ALGORITHMS = ("ES256", "RS256", "EdDSA", "Ed25519", "HS256")
SESSION_CHECKS = ("database", "none")
LONGEST = timedelta(days=50 * 365)
# Where servers cut a header line at the latest; no access token may be larger, and none larger is looked at.
MAX_HEADER_BYTES = 16384


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in ``JWT_SESSIONS``: the key it is about, what is wrong, how to mend it, the id of its check."""

    key: str
    message: str
    hint: str
    id: str


class _Wrong(ValueError):
    """A value that a setting does not take; the text says what it takes."""


# Parsers: the value as given → the value as used, or _Wrong.


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _Wrong("a non-empty string")
    return value


def _issuer(value: Any) -> str:
    issuer = _text(value)
    try:
        urlsplit(issuer)
    except ValueError:
        raise _Wrong("a non-empty string; as a URL it has to be one") from None
    return issuer


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Wrong("True or False")
    return value


def _token_bytes(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_HEADER_BYTES:
        raise _Wrong(f"an integer from 1 to {MAX_HEADER_BYTES}")
    return value


def _duration(value: Any) -> timedelta:
    if not isinstance(value, timedelta) or not timedelta(0) <= value <= LONGEST:
        raise _Wrong("a timedelta from zero to 50 years")
    return value


def _lifetime(value: Any) -> timedelta:
    if not isinstance(value, timedelta) or not timedelta(seconds=1) <= value <= LONGEST:
        raise _Wrong("a timedelta of at least one second and at most 50 years")
    return value


def _lifetime_or_none(value: Any) -> timedelta | None:
    if value is None:
        return None
    try:
        return _lifetime(value)
    except _Wrong:
        raise _Wrong("a timedelta of at least one second and at most 50 years, or None for no limit") from None


def _lifetimes_by_type(value: Any) -> Mapping[str, timedelta]:
    wanted = f"a timedelta of at least one second, or a dict of them by token type ({', '.join(TOKEN_TYPES)})"
    given = value if isinstance(value, dict) else dict.fromkeys(TOKEN_TYPES, value)
    if not set(given) <= set(TOKEN_TYPES):
        raise _Wrong(wanted)
    try:
        parsed = {token_type: _lifetime(lifetime) for token_type, lifetime in given.items()}
    except _Wrong:
        raise _Wrong(wanted) from None
    return {**dict.fromkeys(TOKEN_TYPES, timedelta(minutes=5)), **parsed}


def _strings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) and item for item in value):
        raise _Wrong("a list of non-empty strings")
    return tuple(value)


def _audiences(value: Any) -> tuple[str, ...]:
    audiences = _strings(value)
    if not audiences or len(set(audiences)) != len(audiences):
        raise _Wrong("a list of at least one audience, each named once")
    if any(len(audience) > 255 for audience in audiences):
        raise _Wrong("a list of audiences of at most 255 characters each")
    return audiences


def _one_of(*choices: str) -> Callable[[Any], str]:
    def parse_choice(value: Any) -> str:
        if value not in choices:
            raise _Wrong("one of " + ", ".join(repr(choice) for choice in choices))
        return str(value)

    return parse_choice


def _callable(value: Any) -> Callable[..., Any] | None:
    if value is None:
        return None
    try:
        found = import_string(value) if isinstance(value, str) else value
    except ImportError:
        found = None
    if not callable(found):
        raise _Wrong("the dotted path of a callable")
    return found  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Rate:
    """So many (``count``) in so many seconds (``period``)."""

    count: int
    period: int


def _rate(value: Any) -> Rate | None:
    if value is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,8})/([smhd])[a-z]*", value) if isinstance(value, str) else None
    if match is None:
        raise _Wrong("a rate like '10/min' (per s, m, h or d), or None for no limit")
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
        """The name with the ``__Host-`` prefix wherever browsers accept it: Secure, Path "/", no Domain."""
        host_only = self.SECURE and self.PATH == "/" and self.DOMAIN is None
        return f"__Host-{self.NAME}" if host_only else self.NAME


def _cookie(value: Any) -> CookieSettings:
    keys = tuple(field.name for field in dataclasses.fields(CookieSettings))
    if not isinstance(value, dict) or not set(value) <= set(keys):
        raise _Wrong(f"a dict with the keys {', '.join(keys)}")
    cookie = CookieSettings(**value)
    if not isinstance(cookie.NAME, str) or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", cookie.NAME):
        raise _Wrong("a dict whose NAME is a cookie name (RFC 6265 token)")
    if not isinstance(cookie.PATH, str) or not cookie.PATH.startswith("/"):
        raise _Wrong('a dict whose PATH begins with "/"')
    if not isinstance(cookie.DOMAIN, str | None) or not isinstance(cookie.SECURE, bool):
        raise _Wrong("a dict whose DOMAIN is a string or None and whose SECURE is True or False")
    if cookie.SAMESITE not in ("Strict", "Lax", "None"):
        raise _Wrong('a dict whose SAMESITE is "Strict", "Lax" or "None"')
    if cookie.SAMESITE == "None" and not cookie.SECURE:
        raise _Wrong('a dict with SECURE True where SAMESITE is "None": browsers drop the cookie otherwise')
    return cookie


def _setting(default: Any, parse: Callable[[Any], Any], check_id: str) -> Any:
    return dataclasses.field(
        default_factory=lambda: parse(default), metadata={"parse": parse, "id": f"jwt_sessions.{check_id}"}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The parsed settings. Durations are timedeltas, ``None`` means no limit; docs/settings.md describes each."""

    ISSUER: str = _setting("jwt-sessions", _issuer, "E010")
    AUDIENCES: tuple[str, ...] = _setting(["api"], _audiences, "E011")
    ALGORITHM: str = _setting("ES256", _one_of(*ALGORITHMS), "E012")
    SIGNING_KEYS: tuple[str, ...] = _setting([], _strings, "E013")
    ACCESS_TOKEN_LIFETIME: Mapping[str, timedelta] = _setting(timedelta(minutes=5), _lifetimes_by_type, "E014")
    REFRESH_TOKEN_LIFETIME: timedelta | None = _setting(timedelta(days=7), _lifetime_or_none, "E015")
    ROTATE_REFRESH_TOKENS: bool = _setting(True, _boolean, "E016")
    REUSE_GRACE_PERIOD: timedelta = _setting(timedelta(seconds=30), _duration, "E017")
    LOST_RESPONSE_WINDOW: timedelta = _setting(timedelta(hours=24), _duration, "E018")
    IDLE_TIMEOUT: timedelta | None = _setting(None, _lifetime_or_none, "E019")
    MAX_SESSION_LIFETIME: timedelta | None = _setting(timedelta(days=30), _lifetime_or_none, "E020")
    SESSION_CHECK: str = _setting("database", _one_of(*SESSION_CHECKS), "E021")
    ACTIVITY_RESOLUTION: timedelta = _setting(timedelta(seconds=60), _duration, "E022")
    LEEWAY: timedelta = _setting(timedelta(0), _duration, "E023")
    MAX_ACCESS_TOKEN_BYTES: int = _setting(4096, _token_bytes, "E024")
    COOKIE: CookieSettings = _setting({}, _cookie, "E025")
    CLIENT_IP: Callable[..., str | None] | None = _setting(None, _callable, "E026")
    PASSWORD_CHANGE_ENDS_SESSIONS: bool = _setting(True, _boolean, "E027")
    LOGIN_THROTTLE: Rate | None = _setting("10/min", _rate, "E028")

    @property
    def default_audience(self) -> str:
        return self.AUDIENCES[0]

    @property
    def issuer_is_url(self) -> bool:
        """Whether ISSUER is an https URL (http too under DEBUG), which turns on the metadata of RFC 8414 §2."""
        parts = urlsplit(self.ISSUER)
        schemes = ("https", "http") if django_settings.DEBUG else ("https",)
        return parts.scheme in schemes and bool(parts.netloc) and not parts.query and not parts.fragment


def _combinations(settings: Settings) -> list[Problem]:
    problems = []
    if settings.ALGORITHM == "RS256" and not settings.SIGNING_KEYS:
        problems.append(
            Problem(
                "SIGNING_KEYS",
                "RS256 needs a key of your own: an RSA key cannot be derived from SECRET_KEY.",
                "List a PEM private key (RSA, 2048 bits or more) in SIGNING_KEYS, or use ES256.",
                "jwt_sessions.E040",
            )
        )
    if settings.LOST_RESPONSE_WINDOW < settings.REUSE_GRACE_PERIOD:
        problems.append(
            Problem(
                "LOST_RESPONSE_WINDOW",
                "The window for a lost response is shorter than the grace period that lies within it.",
                "Make LOST_RESPONSE_WINDOW at least as long as REUSE_GRACE_PERIOD.",
                "jwt_sessions.E041",
            )
        )
    if settings.IDLE_TIMEOUT is not None and settings.IDLE_TIMEOUT < settings.ACTIVITY_RESOLUTION:
        problems.append(
            Problem(
                "IDLE_TIMEOUT",
                "The idle timeout is shorter than the resolution in which activity is recorded.",
                "Make IDLE_TIMEOUT longer than ACTIVITY_RESOLUTION, or ACTIVITY_RESOLUTION shorter.",
                "jwt_sessions.E042",
            )
        )
    return problems


def parse(raw: object) -> tuple[Settings | None, list[Problem]]:
    """
    Parse a ``JWT_SESSIONS`` dict.

    Answers the settings, or ``None`` where a value cannot be used, and all that is wrong. Settings that can be used
    but make no sense together are answered with their problems.
    """
    if not isinstance(raw, dict):
        return None, [Problem("JWT_SESSIONS", "JWT_SESSIONS is not a dict.", "Make it a dict.", "jwt_sessions.E001")]
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    problems = []
    values = {}
    for key, value in raw.items():
        if key not in fields:
            hint = f"The keys are {', '.join(fields)}."
            problems.append(Problem(str(key), f"{key!r} is not a setting.", hint, "jwt_sessions.E002"))
            continue
        try:
            values[key] = fields[key].metadata["parse"](value)
        except _Wrong as wrong:
            # The value itself is not quoted: it may be a signing key.
            message = f"{key} has a value that it does not take ({type(value).__name__})."
            problems.append(Problem(key, message, f"Set it to {wrong}.", fields[key].metadata["id"]))
    if problems:
        return None, problems
    settings = Settings(**values)
    return settings, _combinations(settings)


_parsed: tuple[object, Settings] | None = None


def current() -> Settings:
    """
    The settings in force.

    Raises:
        ImproperlyConfigured: ``JWT_SESSIONS`` is wrong; ``manage.py check`` says the same and more.
    """
    global _parsed
    raw = getattr(django_settings, "JWT_SESSIONS", {})
    if _parsed is not None and _parsed[0] == raw:
        return _parsed[1]
    settings, problems = parse(raw)
    if settings is None:
        raise ImproperlyConfigured(f"JWT_SESSIONS: {problems[0].message} {problems[0].hint}")
    # A copy, so that a dict changed in place is seen as changed.
    _parsed = (copy.deepcopy(raw), settings)
    return settings
