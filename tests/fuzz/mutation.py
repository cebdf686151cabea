"""Changing inputs at random, with an eye for JSON, headers and tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

LONGEST = 70_000  # bytes; more than a body may have
WORDS = (
    *(b"\0", b"\xff", b"\xe2\x80\x80", b"\xc2\xa0", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\\u0000", b"\\ud800", b"%00"),
    *(b"%ff", b"%", b"..", b"/", b"//", b"=", b"==", b"&", b";", b",", b":", b'"', b"'", b"{", b"[", b"}", b" ", b"\n"),
    *(b"-1", b"0", b"1e400", b"NaN", b"Infinity", b"9" * 400, b"9" * 5000, b"18446744073709551616", b"1970-01-01"),
    *(b"none", b"None", b"null", b"true", b"jsr_", b"jcs_", b"Bearer ", b"Basic ", b"HS256", b"ES256", b"at+jwt"),
    *(b"api", b"reports", b"acme", b"current", b"__in", b"__regex", b"__isnull", b"_popup", b"password", b"token"),
    *(b"https://evil.example", b"https://testserver", b"::1", b"127.0.0.1:80", b"fe80::1%eth0", b"[", b"]"),
    *(b"a" * 300, b"[" * 2000, b'{"a":' * 2000),
)
ODD = (
    *(None, True, False, 0, -1, 1, 0.5, 2**31, 2**63, 2**64, -(2**63), 10**400, 1e308),
    *("", " ", "\0", "\ud800", "é", "\u2000", "a" * 300, "-", "null", "0", "1e5", "2026-02-30T25:61:61Z", "P1D"),
    *([], {}, [[]], [{}], [None], {"": None}, {"a": {"b": []}}, ["api"], {"$ref": "#"}),
)


def mutated(data: bytes, seeds: Sequence[bytes], source: Random) -> bytes:
    """An input like ``data``, one to four changes away."""
    for _change in range(source.choice((1, 1, 2, 4))):
        data = source.choice(CHANGES)(data, seeds, source)
    return data[:LONGEST]


def _position(data: bytes, source: Random) -> int:
    return source.randint(0, len(data))


def _span(data: bytes, source: Random) -> tuple[int, int]:
    start = _position(data, source)
    return start, min(len(data), start + source.choice((1, 1, 2, 4, 16, 64)))


def _byte(data: bytes, seeds: Sequence[bytes], source: Random) -> bytes:
    start, _end = _span(data, source)
    return data[:start] + bytes([source.randrange(256)]) + data[start + 1 :]


def _word(data: bytes, seeds: Sequence[bytes], source: Random) -> bytes:
    start, end = _span(data, source)
    return data[:start] + source.choice(WORDS) + data[source.choice((start, end)) :]


def _cut(data: bytes, seeds: Sequence[bytes], source: Random) -> bytes:
    start, end = _span(data, source)
    return data[:start] + data[end:]


def _repeat(data: bytes, seeds: Sequence[bytes], source: Random) -> bytes:
    start, end = _span(data, source)
    return data[:end] + data[start:end] * source.choice((1, 1, 2, 50, 5000)) + data[end:]


def _splice(data: bytes, seeds: Sequence[bytes], source: Random) -> bytes:
    other = source.choice(seeds)
    return data[: _position(data, source)] + other[_position(other, source) :]


def _json(data: bytes, seeds: Sequence[bytes], source: Random) -> bytes:
    """One member of a JSON text becomes something odd, or goes, or is there twice."""
    start = data.find(b"{")
    try:
        document = json.loads(data[start:]) if start >= 0 else {}
    except (ValueError, RecursionError):
        document = {}
    if not document:
        return _word(data, seeds, source)
    place: Any = document
    while place:
        key = source.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not isinstance(place[key], dict | list) or source.random() < 0.5:
            _change_member(place, key, source)
            break
        place = place[key]
    return data[:start] + json.dumps(document).encode("utf-8", "surrogatepass")


def _change_member(place: Any, key: Any, source: Random) -> None:
    match source.randrange(4):
        case 0 if isinstance(place, dict):
            place[source.choice(("", "a", "\0", key * 2, key.upper(), key.strip("_")))] = place.pop(key)
        case 1:
            del place[key]
        case 2 if isinstance(place[key], str):
            text = place[key]
            at = source.randint(0, len(text))
            place[key] = (
                text[:at] + source.choice(("\0", " ", "\ud800", "\u2000", "é", "'", "-", "9" * 400)) + text[at:]
            )
        case _:
            place[key] = source.choice(ODD)


CHANGES = (_byte, _word, _cut, _repeat, _splice, _json, _json, _json)
