"""
The settings: one dict, ``JWT_SESSIONS``, read when used.

:func:`current` answers the parsed settings. They are parsed again whenever the dict has changed, so
``override_settings`` works and nothing is captured at import. :func:`parse` reports what is wrong with a dict
without raising, one :class:`Problem` for each mistake; the system checks are made of these.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from jwt_sessions.conf import values
from jwt_sessions.conf.trusted_issuers import TrustedIssuer, trusted_issuers
from jwt_sessions.conf.values import (
    ACCESS_TOKEN_TYPES,
    ALGORITHMS,
    DEFAULT_ACCESS_TOKEN_LIFETIME,
    LONGEST,
    MAX_HEADER_BYTES,
    PACKED_IDS,
    TOKEN_TYPES,
    CookieSettings,
    Rate,
)

__all__ = [
    "ACCESS_TOKEN_TYPES",
    "ALGORITHMS",
    "LONGEST",
    "MAX_HEADER_BYTES",
    "PACKED_IDS",
    "TOKEN_TYPES",
    "CookieSettings",
    "Problem",
    "Rate",
    "Settings",
    "TrustedIssuer",
    "current",
    "parse",
]

SESSION_CHECKS = ("database", "cache", "none")
# What happens at a limit on sessions, the strictest first.
LIMIT_ACTIONS = ("refuse", "end_least_active", "end_oldest")
# Values of these types are never shown.
SECRET_KINDS = (str, bytes, dict, list, tuple, set)


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in ``JWT_SESSIONS``: the key it is about, what is wrong, how to mend it, the id of its check."""

    key: str
    message: str
    hint: str
    id: str


def _setting(default: Any, parse: Callable[[Any], Any], check_id: str, *, shown: bool = True) -> Any:
    metadata = {"parse": parse, "id": f"jwt_sessions.{check_id}"}
    return dataclasses.field(default_factory=lambda: parse(default), metadata=metadata, repr=shown)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Settings:
    """The parsed settings. Durations are timedeltas, ``None`` means no limit; docs/settings.md describes each."""

    ISSUER: str = _setting("jwt-sessions", values.issuer, "E010")
    AUDIENCES: tuple[str, ...] = _setting(["api"], values.audiences, "E011")
    ALGORITHM: str = _setting("ES256", values.one_of(*ALGORITHMS), "E012")
    SIGNING_KEYS: tuple[str, ...] = _setting([], values.strings, "E013", shown=False)
    ACCESS_TOKEN_LIFETIME: Mapping[str, timedelta] = _setting(
        DEFAULT_ACCESS_TOKEN_LIFETIME, values.lifetimes_by_type, "E014"
    )
    REFRESH_TOKEN_LIFETIME: timedelta | None = _setting(timedelta(days=7), values.lifetime_or_none, "E015")
    ROTATE_REFRESH_TOKENS: bool = _setting(True, values.boolean, "E016")
    REUSE_GRACE_PERIOD: timedelta = _setting(timedelta(seconds=30), values.duration, "E017")
    LOST_RESPONSE_WINDOW: timedelta = _setting(timedelta(hours=24), values.duration, "E018")
    IDLE_TIMEOUT: timedelta | None = _setting(None, values.lifetime_or_none, "E019")
    MAX_SESSION_LIFETIME: timedelta | None = _setting(timedelta(days=30), values.lifetime_or_none, "E020")
    MAX_CONCURRENT_SESSIONS: int | None = _setting(None, values.count_or_none, "E029")
    ON_SESSION_LIMIT: str = _setting("end_oldest", values.one_of(*LIMIT_ACTIONS), "E030")
    SOFT_EXPIRY: timedelta | None = _setting(None, values.lifetime_or_none, "E031")
    ALLOW_RENEWAL: bool = _setting(False, values.boolean, "E032")
    TENANTS: Callable[..., Iterable[Any]] | None = _setting(None, values.dotted_callable, "E033")
    CLAIMS: Mapping[str, Callable[..., Any] | str] = _setting({}, values.claims, "E034")
    SESSION_CHECK: str = _setting("database", values.one_of(*SESSION_CHECKS), "E021")
    SESSION_CACHE: str = _setting("default", values.text, "E038")
    ACTIVITY_RESOLUTION: timedelta = _setting(timedelta(seconds=60), values.duration, "E022")
    LEEWAY: timedelta = _setting(timedelta(0), values.duration, "E023")
    MAX_ACCESS_TOKEN_BYTES: int = _setting(4096, values.token_bytes, "E024")
    OPTIONAL_CLAIMS: tuple[str, ...] = _setting(["permissions", "roles"], values.strings, "E035")
    TRUSTED_ISSUERS: Mapping[str, TrustedIssuer] = _setting({}, trusted_issuers, "E036")
    COOKIE: CookieSettings = _setting({}, values.cookie, "E025")
    CLIENT_IP: Callable[..., str | None] | None = _setting(None, values.dotted_callable, "E026")
    PASSWORD_CHANGE_ENDS_SESSIONS: bool = _setting(True, values.boolean, "E027")
    LOGIN_THROTTLE: Rate | None = _setting("10/min", values.rate, "E028")
    PASSWORD_GRANT: bool = _setting(True, values.boolean, "E049")
    CREDENTIAL_RECENT_LOGIN: timedelta | None = _setting(timedelta(hours=1), values.lifetime_or_none, "E050")
    MAX_PERSONAL_CREDENTIALS: int | None = _setting(None, values.number_or_none, "E051")
    DEVICE_PLACE: Callable[[str], str] | None = _setting(None, values.dotted_callable, "E052")
    DEVICES_RECENT_LOGIN: timedelta | None = _setting(None, values.lifetime_or_none, "E053")
    EXCHANGE_SIMPLEJWT_TOKENS: bool = _setting(False, values.boolean, "E037")

    @property
    def default_audience(self) -> str:
        """The audience of a sign-in that names none."""
        return self.AUDIENCES[0]

    @property
    def longest_access_token_lifetime(self) -> timedelta:
        """How long an access token of a session can count. Policies and ``pre_issue`` only shorten that."""
        return self.ACCESS_TOKEN_LIFETIME["user"] + self.LEEWAY

    @property
    def shortest_idle_timeout(self) -> timedelta:
        """
        The shortest idle timeout that makes sense.

        Activity on record is up to ACTIVITY_RESOLUTION old while a user is active, and is to be renewed before it has
        grown old enough to end the session.
        """
        return 2 * self.ACTIVITY_RESOLUTION

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
    idle, lifetime = settings.IDLE_TIMEOUT, settings.MAX_SESSION_LIFETIME
    if idle is not None and idle < settings.shortest_idle_timeout:
        problems.append(
            Problem(
                "IDLE_TIMEOUT",
                "The idle timeout is shorter than twice the resolution in which activity is recorded.",
                "Make IDLE_TIMEOUT at least twice ACTIVITY_RESOLUTION, or ACTIVITY_RESOLUTION shorter.",
                "jwt_sessions.E042",
            )
        )
    if idle is not None and lifetime is not None and idle > lifetime:
        problems.append(
            Problem(
                "IDLE_TIMEOUT",
                "The idle timeout is longer than the session can last.",
                "Make IDLE_TIMEOUT shorter than MAX_SESSION_LIFETIME.",
                "jwt_sessions.E044",
            )
        )
    if settings.SESSION_CACHE not in django_settings.CACHES:
        problems.append(
            Problem(
                "SESSION_CACHE",
                f"There is no cache {settings.SESSION_CACHE!r} in CACHES.",
                "Name one of the keys of CACHES.",
                "jwt_sessions.E048",
            )
        )
    if settings.SOFT_EXPIRY is not None and settings.ACCESS_TOKEN_LIFETIME["user"] <= settings.SOFT_EXPIRY:
        problems.append(
            Problem(
                "SOFT_EXPIRY",
                "Access tokens expire before they expire softly.",
                'Make SOFT_EXPIRY shorter than ACCESS_TOKEN_LIFETIME for "user".',
                "jwt_sessions.E045",
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
    given = {}
    for key, value in raw.items():
        if key not in fields:
            close = get_close_matches(str(key).upper(), fields, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"The keys are {', '.join(fields)}."
            problems.append(Problem(str(key), f"{key!r} is not a setting.", hint, "jwt_sessions.E002"))
            continue
        try:
            given[key] = fields[key].metadata["parse"](value)
        except values.Wrong as wrong:
            # A text or a collection is not quoted: it may hold a signing key.
            shown = type(value).__name__ if isinstance(value, SECRET_KINDS) else repr(value)
            message = f"{key} has a value that it does not take ({shown})."
            problems.append(Problem(key, message, f"Set it to {wrong}.", fields[key].metadata["id"]))
    if problems:
        return None, problems
    settings = Settings(**given)
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
    _parsed = (_copied(raw), settings)
    return settings


def _copied(value: Any) -> Any:
    """A copy of the containers, so that a dict changed in place is seen as changed. What they hold stays the same."""
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value
