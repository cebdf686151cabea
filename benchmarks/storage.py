"""What a sign-in and a rotation leave in PostgreSQL, with all indexes and what plain VACUUM cannot give back."""

import random
from collections import Counter
from dataclasses import dataclass

from django.apps import apps
from django.db import connection
from django.http import HttpRequest
from django.test import RequestFactory

from benchmarks.isolation import in_child, scratch_postgresql
from benchmarks.report import Report, machine, table
from benchmarks.rivals import USER_AGENTS, make_users
from jwt_sessions import sessions

LOGINS = 5_000
# PostgreSQL's autovacuum runs once a fifth of a table has changed (autovacuum_vacuum_scale_factor).
ROTATIONS_PER_VACUUM = LOGINS // 5
LOGIN_BUDGET = 400
GENERATION_BUDGET = 300

Sizes = Counter[str]

devices = random.Random(0)


@dataclass(frozen=True, slots=True)
class Growth:
    """Bytes that every table and index grew by."""

    by_logins: Sizes
    by_rotations: Sizes


def measure_storage(postgresql: str) -> Report:
    """Sign in on many devices, rotate each session's refresh token once, and see what the tables grow by."""
    with scratch_postgresql(postgresql):
        growth = in_child(_grow)
    login, generation = growth.by_logins.total() / LOGINS, growth.by_rotations.total() / LOGINS
    rows = [
        [name, f"{growth.by_logins[name] / LOGINS:.0f}", f"{growth.by_rotations[name] / LOGINS:.0f}"]
        for name in growth.by_logins
    ]
    rows.append(["**all**", f"**{login:.0f}**", f"**{generation:.0f}**"])
    kept = login <= LOGIN_BUDGET and generation <= GENERATION_BUDGET
    budgets = (
        f"Budgets: at most {LOGIN_BUDGET} bytes a login and {GENERATION_BUDGET} a stored generation; "
        f"{'kept' if kept else 'BROKEN'}."
    )
    header = ["table or index", "bytes a login", "bytes a stored generation"]
    return Report("storage", "\n\n".join([table(header, rows), budgets, machine()]), kept)


def _grow() -> Growth:
    empty = _vacuumed_sizes()
    tokens = [sessions.start(user, request=_a_request()).refresh_token for user in make_users(LOGINS)]
    signed_in = _vacuumed_sizes()
    for first in range(0, LOGINS, ROTATIONS_PER_VACUUM):
        for token in tokens[first : first + ROTATIONS_PER_VACUUM]:
            sessions.refresh(token, request=_a_request())
        rotated = _vacuumed_sizes()
    return Growth(signed_in - empty, rotated - signed_in)


def _a_request() -> HttpRequest:
    address = ".".join(str(devices.randint(1, 254)) for _ in range(4))
    return RequestFactory().post("/", headers={"User-Agent": devices.choice(USER_AGENTS)}, REMOTE_ADDR=address)


def _vacuumed_sizes() -> Sizes:
    """
    Bytes of each table of this package, without its indexes, and of each index.

    Their free-space and visibility maps are left out: a few pages each from the first row on, and next to nothing of a
    table of any size, but many bytes a row of a small one.
    """
    sizes = Sizes()
    with connection.cursor() as cursor:
        for model in apps.get_app_config("jwt_sessions").get_models():
            cursor.execute(f"VACUUM {model._meta.db_table}")
            cursor.execute(
                "SELECT %(table)s, pg_table_size(%(table)s)"
                " - pg_relation_size(%(table)s, 'fsm') - pg_relation_size(%(table)s, 'vm')"
                " UNION ALL SELECT indexrelid::regclass::text, pg_relation_size(indexrelid)"
                " FROM pg_index WHERE indrelid = %(table)s::regclass",
                {"table": model._meta.db_table},
            )
            sizes.update(dict(cursor.fetchall()))
    return sizes
