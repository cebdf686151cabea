"""Measure, print Markdown, and fail if a budget is broken."""

import argparse
import os
import sys
from functools import partial

from benchmarks.purge import measure_purge
from benchmarks.requests import measure_requests
from benchmarks.storage import measure_storage


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("measurement", nargs="?", choices=["requests", "purge", "storage"], help="default: all of them")
    parser.add_argument(
        "--postgresql",
        default=os.environ.get("BENCHMARK_POSTGRESQL", "postgres://postgres@127.0.0.1:5432/postgres"),
        help="URL of a server, and a database on it to connect to for creating others (%(default)s)",
    )
    parser.add_argument(
        "--blocks",
        type=int,
        default=8,
        help="pairs of blocks over HTTP, at least 2 (%(default)s); in process four times that",
    )
    parser.add_argument("--markdown", action="store_true", help="write the results into benchmarks/README.md too")
    options = parser.parse_args()

    measurements = {
        "requests": partial(measure_requests, options.postgresql, options.blocks),
        "purge": partial(measure_purge, options.postgresql),
        "storage": partial(measure_storage, options.postgresql),
    }
    kept = True
    for name in [options.measurement] if options.measurement else measurements:
        report = measurements[name]()
        print(report.text, end="\n\n", flush=True)
        if options.markdown:
            report.write_into_readme()
        kept = kept and report.kept
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
