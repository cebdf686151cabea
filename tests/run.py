"""
Runs the tests once per database: always SQLite, and PostgreSQL and MariaDB where they answer.

By default all tests run on SQLite, with few rounds where they repeat themselves, and on the servers those whose result
the server decides (SERVER_DECIDES). With --all everything runs everywhere, with all rounds, and the run on SQLite
fails where too little of the package is covered. Tests that know no database (ANY_DATABASE) run once, on SQLite.

A run on PostgreSQL or MariaDB caches in Redis where that answers, otherwise in local memory. The servers are
looked for at TEST_POSTGRES_URL, TEST_MARIADB_URL and TEST_REDIS_URL, by default on this machine's standard
ports. The tests with JavaScript clients run where there is node (TEST_NODE, by default on the path) and npm, which
installs them; those in a browser where there is Chromium too (TEST_CHROMIUM, by default on the path). Arguments
that are not listed below go to pytest.
"""

import argparse
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
import pymysql
import redis

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
JAVASCRIPT = TESTS / "javascript"
WORKERS = 2
# What they test is the same whatever the database: they run once, on SQLite.
ANY_DATABASE = (
    *("test_access_tokens", "test_architecture", "test_browser", "test_browser_module", "test_checks"),
    *("test_client_info", "test_clients", "test_conf", "test_demo", "test_devices_browser", "test_docs"),
    *("test_from_simplejwt", "test_fuzz", "test_generate_signing_key", "test_javascript_clients", "test_keys"),
    *("test_messages", "test_metadata", "test_openapi", "test_other_origin", "test_policies", "test_principal"),
    *("test_python_client", "test_python_client_failures", "test_python_client_served"),
    *("test_python_client_stores", "test_refresh_tokens", "test_rollover", "test_run", "test_script_tag"),
    *("test_signing_in", "test_simulation", "test_stateless", "test_stranger", "test_verifiers"),
)
# What servers differ in: locks and isolation, the statements they are sent, batches of deleted rows, how values are
# stored and compared. The rest is the same through Django's ORM, and differs seldom enough to wait for --all.
SERVER_DECIDES = (
    *("test_races", "test_limits", "test_rotation_model"),
    *("test_statements", "test_purge"),
    *("test_login", "test_throttle", "test_sign_in_faults", "test_credentials", "test_example"),
    *("test_exact_text", "test_view_transactions", "test_session_cache_transactions"),
)
IN_CHROMIUM = ("test_browser", "test_devices_browser")
NO_TESTS = 5  # pytest's exit code
CONNECT_TIMEOUT = 3  # seconds
INSTALL_TIMEOUT = 300  # seconds


@dataclass(frozen=True)
class Server:
    """A server, or node, that the tests can use, and what it said when asked for its version."""

    name: str
    url: str
    version: str = ""
    failure: str = ""

    @property
    def answers(self) -> bool:
        return bool(self.version)

    def __str__(self) -> str:
        return f"{self.name} {self.version}" if self.answers else f"{self.name} did not answer: {self.failure}"


def postgresql_version(url: str) -> str:
    with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT) as connection:
        return connection.info.parameter_status("server_version") or "of unknown version"


def mariadb_version(url: str) -> str:
    parts = urlsplit(url)
    with pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=parts.path.removeprefix("/"),
        connect_timeout=CONNECT_TIMEOUT,
    ) as connection:
        return str(connection.get_server_info()).removeprefix("5.5.5-")  # set before for old replicas


def redis_version(url: str) -> str:
    with redis.Redis.from_url(url, socket_connect_timeout=CONNECT_TIMEOUT) as client:
        return str(client.info("server")["redis_version"])


def node_version(path: str) -> str:
    """Also installs the JavaScript clients; where that fails, node is no use."""
    version = output_of(path, "--version").removeprefix("v")
    npm = shutil.which("npm")
    if npm is None:
        raise OSError("there is no npm beside it")
    # In order: nothing is written beside the packages, nothing is sent, no other version of node is tolerated.
    options = ("--no-package-lock", "--no-save", "--no-audit", "--no-fund", "--engine-strict", "--prefer-offline")
    output_of(npm, "install", *options, "--loglevel=error")
    return version


def chromium_version(path: str) -> str:
    return output_of(path, "--version").removeprefix("Chromium ").split()[0]


def output_of(*command: str) -> str:
    try:
        return subprocess.run(
            command, cwd=JAVASCRIPT, check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT
        ).stdout.strip()
    except subprocess.CalledProcessError as error:
        raise OSError(error.stderr or error.stdout) from error
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{Path(command[0]).name} took longer than {INSTALL_TIMEOUT} s") from error


def look_for(name: str, variable: str, default_url: str, version: Callable[[str], str]) -> Server:
    """Ask the server at the URL in ``variable``, or at the default one, for its version."""
    url = os.environ.get(variable) or default_url
    try:
        return Server(name, url, version=version(url))
    except (psycopg.Error, pymysql.Error, redis.RedisError, OSError) as error:
        return Server(name, url, failure=" ".join(str(error).split()))


@dataclass(frozen=True)
class Run:
    """One run of the tests, on one database and with one cache, maybe with JavaScript clients."""

    database: Server
    redis: Server | None
    node: Server | None = None
    chromium: Server | None = None

    def __str__(self) -> str:
        platforms = [str(platform) for platform in (self.node, self.chromium) if platform]
        clients = f", clients on {' and '.join(platforms)}" if platforms else ""
        return f"{self.database}, cache in {self.redis or 'local memory'}{clients}"

    @property
    def on_sqlite(self) -> bool:
        """Whether this is the run on SQLite, which runs all there is."""
        return self.database.name == "SQLite"

    def left_out(self, everything: bool) -> tuple[str, ...]:
        """The modules that this run does not need or cannot run."""
        if self.on_sqlite:
            without_node = () if self.node else ("test_browser_module", "test_javascript_clients")
            return without_node + (() if self.node and self.chromium else IN_CHROMIUM)
        if everything:
            return ANY_DATABASE
        return tuple(path.stem for path in sorted(TESTS.glob("test_*.py")) if path.stem not in SERVER_DECIDES)

    def execute(self, everything: bool, pytest_arguments: list[str]) -> bool:
        """Run pytest; whether all went well."""
        left_out = self.left_out(everything)
        code = run_module(
            "pytest",
            f"--numprocesses={WORKERS}",
            # Measuring takes a third of the time, and the servers add hardly a line to it.
            *(("--cov", "--cov-report=term") if everything and self.on_sqlite else ()),
            *(f"--ignore=tests/{name}.py" for name in left_out),
            *pytest_arguments,
            DATABASE_URL=self.database.url,
            CACHE_URL=self.redis.url if self.redis else "locmemcache://",
            THOROUGH="1" if everything else "",
        )
        # Arguments may choose tests of which none is for this run.
        return code == 0 or (code == NO_TESTS and bool(pytest_arguments) and bool(left_out))


def run_module(name: str, *arguments: str, **variables: str) -> int:
    """Run ``python -m name`` with ``variables`` added to the environment; its exit code."""
    command = [sys.executable, "-m", name, *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ | variables).returncode


def say(text: str = "") -> None:
    print(text, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--require",
        default=os.environ.get("REQUIRE", ""),
        metavar="SERVER,...",
        help="run nothing unless these answer: postgresql, mariadb, redis, node, chromium"
        " (default: the variable REQUIRE)",
    )
    parser.add_argument("--all", action="store_true", help="run everything everywhere, with all rounds and coverage")
    options, pytest_arguments = parser.parse_known_args()

    postgresql = look_for(
        "PostgreSQL", "TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres", postgresql_version
    )
    mariadb = look_for("MariaDB", "TEST_MARIADB_URL", "mysql://root@127.0.0.1:3306/test", mariadb_version)
    redis_server = look_for("Redis", "TEST_REDIS_URL", "redis://127.0.0.1:6379/9", redis_version)
    node = look_for("node", "TEST_NODE", "node", node_version)
    chromium = look_for("Chromium", "TEST_CHROMIUM", "chromium", chromium_version)
    servers = {server.name.lower(): server for server in (postgresql, mariadb, redis_server, node, chromium)}

    say("Servers:")
    for server in servers.values():
        say(f"  {server}")
    required = [name.strip().lower() for name in options.require.split(",") if name.strip()]
    if unknown := [name for name in required if name not in servers]:
        parser.error(f"--require knows {', '.join(servers)}, not {', '.join(unknown)}")
    if missing := [name for name in required if not servers[name].answers]:
        say(f"Required, but no answer: {', '.join(missing)}. No test was run.")
        return 1

    with tempfile.TemporaryDirectory(prefix="jwt-sessions-tests-") as directory:
        sqlite = Server("SQLite", f"sqlite:///{directory}/db.sqlite3", version=sqlite3.sqlite_version)
        shared_cache = redis_server if redis_server.answers else None
        runs = [Run(sqlite, None, *(platform if platform.answers else None for platform in (node, chromium)))]
        runs += [Run(server, shared_cache) for server in (postgresql, mariadb) if server.answers]
        passed = {}
        for run in runs:
            say(f"\nTests on {run}")
            passed[run] = run.execute(options.all, pytest_arguments)

    say("\nSummary:")
    for run in runs:
        say(f"  {run}: {'passed' if passed[run] else 'FAILED'}")
    for server in servers.values():
        if not server.answers:
            say(f"  {server}")
    return 0 if all(passed.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
