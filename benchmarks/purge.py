"""How long a purge of expired rows takes, what memory it needs, and for how long it keeps a transaction open."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from threading import Event, Thread
from time import perf_counter

import psycopg
from django.core.management import call_command
from django.db import connection
from django.db.models import Model
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from rest_framework_simplejwt.tokens import RefreshToken as SimpleJWTRefreshToken

from benchmarks.isolation import in_child, scratch_postgresql
from benchmarks.report import Report, machine, table
from benchmarks.rivals import OURS, make_users
from jwt_sessions.models import RefreshToken, Session

SIZES = (10_000, 100_000, 1_000_000)
LARGEST_OF_SIMPLEJWT = 100_000
SECONDS_BETWEEN_LOOKS = 0.002
MEMORY_BUDGET = 32 * 2**20
TRANSACTION_BUDGET = 0.1

OLDEST_TRANSACTION = """
SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::float FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""

NTH_UUID = "lpad(to_hex(n), 32, '0')::uuid"


@dataclass(frozen=True, slots=True)
class Job:
    """What to measure: how to store expired rows, the command that purges them, the tables that they are in."""

    fill: Callable[[int], None]
    command: str
    models: tuple[type[Model], ...]


@dataclass(frozen=True, slots=True)
class Purge:
    """How many rows went, in how many seconds, and the bytes by which the process grew for it, at its peak."""

    rows: int
    seconds: float
    memory: int

    @property
    def seconds_per_row(self) -> float:
        return self.seconds / self.rows


@dataclass(slots=True)
class Watch:
    """The oldest transaction seen from outside. It may have grown older by `gap`, the longest time not looking."""

    oldest: float = 0
    gap: float = 0


def measure_purge(postgresql: str) -> Report:
    """Purge ever more rows with our command, and with simplejwt's up to where its memory use becomes a nuisance."""
    rows = []
    kept = True
    for size in SIZES:
        ours, watch = _measure(postgresql, OURS_JOB, size)
        rows.append(["ours", *_figures(ours, watch)])
        kept = kept and ours.memory < MEMORY_BUDGET and watch.oldest < TRANSACTION_BUDGET
        if size <= LARGEST_OF_SIMPLEJWT:
            theirs, their_watch = _measure(postgresql, SIMPLEJWT_JOB, size)
            rows.append(["simplejwt", *_figures(theirs, their_watch)])
            time, memory = ours.seconds_per_row / theirs.seconds_per_row, ours.memory / theirs.memory
            rows.append(["ratio", f"{ours.rows:,}", "", f"**{time:.3f}**", f"**{memory:.3f}**", ""])
    budgets = (
        f"Budgets: under {MEMORY_BUDGET >> 20} MiB and no transaction of {TRANSACTION_BUDGET * 1000:.0f} ms; "
        f"{'kept' if kept else 'BROKEN'}."
    )
    header = ["purge", "rows", "seconds", "a row", "memory", "longest transaction"]
    return Report("purge", "\n\n".join([table(header, rows), budgets, machine()]), kept)


def _figures(purge: Purge, watch: Watch) -> list[str]:
    return [
        f"{purge.rows:,}",
        f"{purge.seconds:.2f}",
        f"{purge.seconds_per_row * 1e6:.1f} µs",
        f"{purge.memory / 2**20:.1f} MiB",
        f"{watch.oldest * 1000:.0f} ms (+{watch.gap * 1000:.0f})",
    ]


def _measure(postgresql: str, job: Job, size: int) -> tuple[Purge, Watch]:
    with scratch_postgresql(postgresql) as url:
        in_child(job.fill, size)
        stored = in_child(_count, job.models)
        with _watched(url) as watch:
            seconds, memory = in_child(_purge, job.command)
        left = in_child(_count, job.models)
    if left != len(job.models):
        raise RuntimeError(f"{job.command} left {left} rows of {stored}; one in each table lives.")
    return Purge(stored - left, seconds, memory), watch


def _count(models: tuple[type[Model], ...]) -> int:
    return sum(model._default_manager.count() for model in models)


def _purge(command: str) -> tuple[float, int]:
    connection.ensure_connection()
    idle = _reset_peak_memory()
    begin = perf_counter()
    call_command(command, stdout=StringIO(), stderr=StringIO())
    return perf_counter() - begin, _memory("VmHWM") - idle


def _reset_peak_memory() -> int:
    """
    Forget the peak so far, and return the bytes resident now.

    `ru_maxrss` cannot be reset, and a child begins with its parent's: what the process did before would hide what
    the purge does. Linux only, see proc_pid_clear_refs(5).
    """
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


@contextmanager
def _watched(url: str) -> Iterator[Watch]:
    """Look at the age of other connections' transactions all the time until the block ends."""
    watch, done = Watch(), Event()

    def look() -> None:
        with psycopg.connect(url, autocommit=True) as observer:
            last = perf_counter()
            while not done.wait(SECONDS_BETWEEN_LOOKS):
                age = observer.execute(OLDEST_TRANSACTION).fetchone()
                now = perf_counter()
                watch.oldest, watch.gap = max(watch.oldest, age[0] if age else 0), max(watch.gap, now - last)
                last = now

    thread = Thread(target=look)
    thread.start()
    try:
        yield watch
    finally:
        done.set()
        thread.join()


def _fill_ours(size: int) -> None:
    """Beside a session that lives, store as many expired ones with a refresh token each."""
    OURS.sign_in(*make_users(1))
    moments = _aged("created_at", "last_active_at", "refresh_expires_at")
    _copy(Session, size, {"id": NTH_UUID, **moments})
    token = {"jti": NTH_UUID, "session_id": NTH_UUID, "token_hash": "sha256(n::text::bytea)"}
    _copy(RefreshToken, size, {**token, **_aged("created_at", "expires_at")})


def _fill_simplejwt(size: int) -> None:
    """Beside a refresh token that lives, store as many expired ones, rotated and so on the blacklist."""
    token = SimpleJWTRefreshToken.for_user(*make_users(1))
    token.blacklist()
    _copy(OutstandingToken, size, {"id": "id + n", "jti": "md5(n::text)", **_aged("created_at", "expires_at")})
    _copy(BlacklistedToken, size, {"id": "id + n", "token_id": "token_id + n", **_aged("blacklisted_at")})


OURS_JOB = Job(_fill_ours, "purge_expired_tokens", (Session, RefreshToken))
SIMPLEJWT_JOB = Job(_fill_simplejwt, "flushexpiredtokens", (OutstandingToken, BlacklistedToken))


def _aged(*columns: str) -> dict[str, str]:
    return {column: f"{column} - interval '100 days' - n * interval '1 second'" for column in columns}


def _copy(model: type[Model], size: int, expressions: dict[str, str]) -> None:
    """Repeat the only row of a table `size` times; `n` numbers the repetitions, in which some columns differ."""
    name = model._meta.db_table
    columns = [field.column for field in model._meta.concrete_fields if field.column]
    values = ", ".join(expressions.get(column, column) for column in columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {name} ({', '.join(columns)}) SELECT {values} FROM {name}, generate_series(1, %s) AS n",
            [size],
        )
        cursor.execute(f"VACUUM ANALYZE {name}")
