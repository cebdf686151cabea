"""Ours against djangorestframework-simplejwt, call by call: in process and over HTTP."""

from functools import partial

from benchmarks.in_process import Comparison, compare_calls, time_without_authentication
from benchmarks.isolation import environment, in_child, scratch_postgresql, scratch_sqlite
from benchmarks.over_http import Throughput, compare_throughput
from benchmarks.pairing import Pairing
from benchmarks.report import Report, machine, table

ALGORITHMS = ("ES256", "HS256")


def measure_requests(postgresql: str, blocks: int) -> Report:
    """Compare on SQLite and PostgreSQL, ours signing with its own default algorithm and with simplejwt's."""
    in_process_blocks = blocks * 4
    calls: list[list[str]] = []
    throughputs: list[list[str]] = []
    for database, scratch in (("SQLite", scratch_sqlite), ("PostgreSQL", partial(scratch_postgresql, postgresql))):
        for algorithm in ALGORITHMS:
            with scratch(), environment(BENCHMARK_ALGORITHM=algorithm):
                calls += [_call_row(database, algorithm, each) for each in in_child(compare_calls, in_process_blocks)]
                throughputs += [
                    _throughput_row(database, algorithm, each) for each in in_child(compare_throughput, blocks)
                ]
    bare = in_child(time_without_authentication, in_process_blocks)
    text = [
        f"Time of a call in process. To the same view without authentication it takes {_microseconds(bare)}:",
        table(["call", "database", "ours signs", "ours", "simplejwt", "time (quartiles)", "SQL", "its SQL"], calls),
        "Calls a second over HTTP:",
        table(["call", "clients", "database", "ours signs", "ours", "simplejwt", "speed (quartiles)"], throughputs),
        machine(),
    ]
    return Report("requests", "\n\n".join(text))


def _call_row(database: str, algorithm: str, comparison: Comparison) -> list[str]:
    pairing = comparison.pairing
    times = [_microseconds(pairing.ours), _microseconds(pairing.theirs)]
    statements = [str(comparison.our_statements), str(comparison.their_statements)]
    return [comparison.name, database, algorithm, *times, _ratio(pairing), *statements]


def _throughput_row(database: str, algorithm: str, throughput: Throughput) -> list[str]:
    pairing = throughput.pairing
    rates = [f"{rate:.0f}/s" for rate in (pairing.ours, pairing.theirs)]
    return [throughput.name, str(throughput.clients), database, algorithm, *rates, _ratio(pairing)]


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs"


def _ratio(pairing: Pairing) -> str:
    low, high = pairing.quartiles
    return f"**{pairing.ratio:.2f}** ({low:.2f} to {high:.2f})"
