"""
Runs the suite on PostgreSQL and on MariaDB, and prints one table. ``python -m tests.faults``; see ``make faults``.

It starts the servers itself, from the programs that are installed, on free ports with data in a temporary directory.
Arguments go to pytest.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.faults.report import table
from tests.faults.servers import DATABASES, HOST, ServerMissing, free_port, program

ROOT = Path(__file__).resolve().parent.parent.parent
NEEDED = {
    "PostgreSQL": ("postgres", "initdb", "pg_basebackup"),
    "MariaDB": ("mariadbd", "mariadb-install-db"),
    "Redis": ("redis-server",),
}


def run(name: str, directory: Path, report: Path, arguments: list[str]) -> bool:
    """Run the suite on one database; whether all went well."""
    # Servers that do not run as root have to get into it.
    directory.mkdir(mode=0o755)
    kind = DATABASES[name]
    options = ("--ds=tests.faults.settings", "-p", "no:randomly", "-p", "no:cacheprovider")
    variables = {
        "FAULTS_DATABASE": name,
        "FAULTS_DIRECTORY": str(directory),
        "FAULTS_REPORT": str(report),
        "DATABASE_URL": kind(directory, free_port()).url,
        "CACHE_URL": f"redis://{HOST}:{free_port()}/0",
    }
    command = [sys.executable, "-m", "pytest", *options, *(arguments or ["tests/faults"])]
    return subprocess.run(command, cwd=ROOT, env=os.environ | variables).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=DATABASES, help="run on this database only")
    options, arguments = parser.parse_known_args()
    try:
        for server, programs in NEEDED.items():
            for name in programs:
                program(name, server)
    except ServerMissing as missing:
        print(missing)
        return 1
    with tempfile.TemporaryDirectory(prefix="faults-") as directory:
        place = Path(directory)
        place.chmod(0o755)
        report = place / "report.jsonl"
        passed = {}
        for name in [options.only] if options.only else DATABASES:
            kind = DATABASES[name]
            print(f"\nFaults on {kind.kind}", flush=True)
            passed[kind.kind] = run(name, place / name, report, arguments)
        print(f"\n{table(report)}\n")
    for kind_name, good in passed.items():
        print(f"{kind_name}: {'passed' if good else 'FAILED'}")
    return 0 if all(passed.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
