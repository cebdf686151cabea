"""The value of ``TRUSTED_ISSUERS``: whose tokens ``JWTStatelessAuthentication`` accepts, and where their keys are."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings

from jwt_sessions.conf import values
from jwt_sessions.conf.values import ACCESS_TOKEN_TYPES, Wrong

# Not HS256: who verifies could sign.
ALGORITHMS = tuple(name for name in values.ALGORITHMS if name != "HS256")
LONGEST_TIMEOUT = 10  # seconds; a request may wait that long


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """
    An issuer whose tokens are accepted. Two that are equal share what was fetched.

    Attributes:
        name: Its ``iss``.
        jwks: The URL of its JWK set, or the set itself as a JSON text.
        audiences: The values of ``aud`` that are accepted; ``None`` for those in ``AUDIENCES``.
        algorithms: The values of ``alg`` that are accepted.
        types: The values of ``typ`` that are accepted, in lower case.
        timeout: The longest time to fetch a document, in seconds.
        revoked: The URL of its ``revoked.json``, or ``None``.
        client_id: Who asks for ``revoked``, by HTTP Basic; ``None`` for nobody in particular.
        client_secret: The secret of ``client_id``.
    """

    name: str
    jwks: str
    audiences: tuple[str, ...] | None = None
    algorithms: tuple[str, ...] = ALGORITHMS
    types: tuple[str, ...] = ACCESS_TOKEN_TYPES
    timeout: float = 3
    revoked: str | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)

    @property
    def is_remote(self) -> bool:
        """Whether the keys have to be fetched."""
        return not self.jwks.startswith("{")


def trusted_issuers(value: Any) -> Mapping[str, TrustedIssuer]:
    """Issuers, each with its keys and what is accepted from it."""
    if not isinstance(value, dict) or not all(isinstance(name, str) and name for name in value):
        raise Wrong("a dict of issuers")
    return {name: _trusted_issuer(name, entry) for name, entry in value.items()}


def _trusted_issuer(name: str, entry: Any) -> TrustedIssuer:
    keys = [each.name for each in dataclasses.fields(TrustedIssuer) if each.name != "name"]
    if not isinstance(entry, dict) or "jwks" not in entry or not set(entry) <= set(keys):
        takes = f"a dict of issuers, each with a dict with jwks and, if need be, {', '.join(keys[1:])}"
        raise Wrong(f"{takes}; {name!r} {_misfit(entry, keys)}")
    try:
        parsed = {key: PARSERS[key](given) for key, given in entry.items()}
    except Wrong as wrong:
        raise Wrong(f"a dict of issuers; for {name!r} {wrong}") from None
    if ("client_id" in parsed) != ("client_secret" in parsed) or ("client_id" in parsed and "revoked" not in parsed):
        raise Wrong(f"a dict of issuers; for {name!r} client_id and client_secret go together, and with revoked")
    return TrustedIssuer(name=name, **parsed)


def _misfit(entry: Any, keys: list[str]) -> str:
    """What is wrong with the dict of an issuer. Names are quoted, and no value."""
    if not isinstance(entry, dict):
        return "has no dict"
    unknown = next((str(key) for key in entry if key not in keys), None)
    if unknown is None:
        return "has no jwks"
    close = get_close_matches(unknown, keys, n=1)
    return f"has {unknown!r}, which is none of them" + (f": did you mean {close[0]!r}?" if close else "")


def _jwks(value: Any) -> str:
    if isinstance(value, dict):
        try:
            return json.dumps(value)
        except (TypeError, ValueError, RecursionError):
            raise Wrong("jwks is a JWK set that is not JSON") from None
    return _url(value)


def _url(value: Any) -> str:
    """An https URL; http too for this machine, and under DEBUG: over http anybody on the way could send other keys."""
    try:
        url = urlsplit(value if isinstance(value, str) and value.isascii() and value.isprintable() else "")
        url.port  # noqa: B018 - a port that is no number is noticed here
        secure = url.scheme == "https" or (
            url.scheme == "http" and (_is_loopback(url.hostname) or django_settings.DEBUG)
        )
    except ValueError:
        raise Wrong("a URL is malformed") from None
    if not secure or not url.hostname or " " in value:
        raise Wrong("jwks and revoked are https URLs (http ones for this machine alone, or under DEBUG)")
    if "@" in url.netloc or url.fragment:
        raise Wrong("a URL has a user or a fragment: client_id and client_secret say who asks")
    return str(value)


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


def _names(value: Any) -> tuple[str, ...]:
    names = values.strings(value)
    if not names:
        raise Wrong("every list names at least one")
    return names


def _algorithms(value: Any) -> tuple[str, ...]:
    names = _names(value)
    if not set(names) <= set(ALGORITHMS):
        raise Wrong("algorithms are of " + ", ".join(ALGORITHMS))
    return names


def _types(value: Any) -> tuple[str, ...]:
    return tuple(name.lower() for name in _names(value))


def _timeout(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST_TIMEOUT:
        raise Wrong(f"timeout is a number of seconds, above 0 and at most {LONGEST_TIMEOUT}")
    return float(value)


PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "jwks": _jwks,
    "audiences": _names,
    "algorithms": _algorithms,
    "types": _types,
    "timeout": _timeout,
    "revoked": _url,
    "client_id": values.text,
    "client_secret": values.text,
}
