"""Whole requests through Django's WSGI handler, no server: routing, middleware, DRF, library, database, answer."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from statistics import median
from typing import Any
from wsgiref.util import setup_testing_defaults

from django.conf import settings
from django.contrib.auth.models import User
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.test import override_settings

from benchmarks.pairing import Pairing, pair, seconds_per_call
from benchmarks.rivals import OURS, SIMPLEJWT, USER_AGENTS, Rival, make_users

CALLS_PER_BLOCK = 20
TRANSACTION_CONTROL = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")

handle = get_wsgi_application()


@dataclass(frozen=True, slots=True)
class Comparison:
    """One kind of call: how both rivals fared (seconds a call), and the SQL statements each sent for it."""

    name: str
    pairing: Pairing
    our_statements: int
    their_statements: int


def compare_calls(blocks: int) -> list[Comparison]:
    """Compare authenticated requests and refreshes, on the database and with the algorithm of the environment."""
    users = make_users(100)
    comparisons = [
        _compare("request, the same token again", _same_token, users, blocks),
        _compare("request, a token never seen", _new_tokens, users, blocks),
        _compare("request, stateless", _stateless, users, blocks),
        _compare("refresh, the first of its session", _first_refreshes, users, blocks),
    ]
    with override_settings(JWT_SESSIONS=settings.JWT_SESSIONS | {"SESSION_CHECK": "cache"}):
        comparisons.append(_compare("request, verdict in the cache", _same_token, users, blocks))
    with override_settings(JWT_SESSIONS=settings.JWT_SESSIONS | settings.STRICT):
        comparisons.append(_compare("refresh, chain in strict mode", _refresh_chain, users, blocks))
    return comparisons


def time_without_authentication(blocks: int) -> float:
    """Seconds that a request to the same view takes when it is open to anybody: what both rivals build on."""
    return median(seconds_per_call(lambda: _call("GET", "/open/whoami/"), CALLS_PER_BLOCK) for _ in range(blocks))


def _same_token(rival: Rival, users: list[User], calls: int) -> Callable[[], object]:
    token = rival.sign_in(users[0]).access
    return lambda: _call("GET", rival.whoami_path, token=token)


def _stateless(rival: Rival, users: list[User], calls: int) -> Callable[[], object]:
    token = rival.sign_in(users[0]).access
    return lambda: _call("GET", rival.stateless_path, token=token)


def _new_tokens(rival: Rival, users: list[User], calls: int) -> Callable[[], object]:
    tokens = iter([rival.sign_in(user).access for user in islice(cycle(users), calls)])
    return lambda: _call("GET", rival.whoami_path, token=next(tokens))


def _first_refreshes(rival: Rival, users: list[User], calls: int) -> Callable[[], object]:
    tokens = iter([rival.sign_in(user).refresh for user in islice(cycle(users), calls)])
    return lambda: _call("POST", rival.refresh_path, body=rival.refresh_body(next(tokens)))


def _refresh_chain(rival: Rival, users: list[User], calls: int) -> Callable[[], object]:
    token = rival.sign_in(users[0]).refresh

    def refresh() -> None:
        nonlocal token
        token = rival.refreshed(_call("POST", rival.refresh_path, body=rival.refresh_body(token)))

    return refresh


def _compare(
    name: str, prepare: Callable[[Rival, list[User], int], Callable[[], object]], users: list[User], blocks: int
) -> Comparison:
    calls = (blocks + 1) * CALLS_PER_BLOCK + 1
    ours, theirs = prepare(OURS, users, calls), prepare(SIMPLEJWT, users, calls)
    pairing = pair(
        lambda: seconds_per_call(ours, CALLS_PER_BLOCK), lambda: seconds_per_call(theirs, CALLS_PER_BLOCK), blocks
    )
    return Comparison(name, pairing, _statements(ours), _statements(theirs))


def _statements(operation: Callable[[], object]) -> int:
    """How many SQL statements an operation sends, transaction control not counted."""
    seen: list[str] = []

    def note(execute: Callable[..., Any], query: str, *rest: Any) -> Any:
        seen.append(query)
        return execute(query, *rest)

    with connection.execute_wrapper(note):
        operation()
    return sum(not query.startswith(TRANSACTION_CONTROL) for query in seen)


def _call(method: str, path: str, *, token: str = "", body: bytes = b"") -> bytes:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "HTTP_HOST": "127.0.0.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_USER_AGENT": USER_AGENTS[0],
        "wsgi.input": io.BytesIO(body),
    }
    if token:
        environ["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    if body:
        environ |= {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body))}
    setup_testing_defaults(environ)
    response = handle(environ, _ignore)
    try:
        answer = b"".join(response)
    finally:
        response.close()
    if response.status_code != 200:
        raise RuntimeError(f"{method} {path} answered {response.status_code}: {answer!r}")
    return answer


def _ignore(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
    """The start_response of PEP 3333; Django's handler does not call what it returns."""
    return len
