"""Database and cache servers of this suite's own, on free ports of this machine, to be killed at will."""

from __future__ import annotations

import ctypes
import getpass
import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import redis

HOST = "127.0.0.1"
PATIENCE = 60  # seconds
PR_SET_PDEATHSIG = 1  # prctl(2)
NAME = "faults"


class ServerMissing(Exception):
    """A program that this suite cannot do without is not installed."""


def program(name: str, of: str) -> str:
    """The path of a server's program. Debian keeps those of PostgreSQL outside the PATH."""
    places = [os.environ.get("PATH", ""), "/usr/sbin", *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        raise ServerMissing(f"{of} is needed, and its program {name} was not found. No test was run.")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait until something holds; an error counts as that it does not yet."""
    deadline, error = time.monotonic() + PATIENCE, None
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except (psycopg.Error, pymysql.Error, redis.RedisError, OSError) as failure:
            error = failure
        time.sleep(0.05)
    raise AssertionError(f"{what} took longer than {PATIENCE} s: {error}")


def run(command: list[str], **options: Any) -> None:
    """Run a program to its end; what it said is part of the error."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, **options)
    assert done.returncode == 0, f"{command[0]}: {done.stderr or done.stdout}"


def die_with_parent() -> None:
    """
    Called in a child: it does not outlive the thread that started it, and so not this process, however that ends.

    Linux only. Servers are therefore started by the main thread.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server(ABC):
    """One server process: started, killed like in a crash, started again on the same data."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """What is run."""

    @abstractmethod
    def ping(self) -> object:
        """Ask it something."""

    def as_user(self) -> dict[str, Any]:
        """As which user it runs, if that is another."""
        return {}

    def start(self) -> None:
        self._launch()
        wait_until(self._answers, f"the start of {self.command()[0]} (log: {self.directory / 'log'})")

    def _answers(self) -> object:
        if self.process is not None and self.process.poll() is not None:
            # Processes of the one that was killed were still there, and it refused.
            time.sleep(0.5)
            self._launch()
        return self.ping()

    def _launch(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                stdout=log,
                stderr=log,
                # A group of its own: a crash takes all its processes at once, and Ctrl-C none of them by accident.
                start_new_session=True,
                preexec_fn=die_with_parent,
                **self.as_user(),
            )

    def kill(self) -> None:
        """As a crash: nothing is written, nobody is told."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
            with socket.socket() as probe:
                assert probe.connect_ex((HOST, self.port)), "the server that was killed still answers"

    def freeze(self) -> None:
        """It accepts, and never answers."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGCONT)

    def restart(self) -> None:
        self.kill()
        self.start()


class Database(Server):
    """A database server with one database, ``faults``."""

    kind: str
    engine: str
    user: str
    # How to connect without the database.
    whole: Mapping[str, Any]

    @abstractmethod
    def create(self) -> None:
        """Make its data directory, start it, and make the database."""

    @abstractmethod
    def connect(self, **more: Any) -> Any:
        """A connection of one's own, in autocommit."""

    @abstractmethod
    def standby(self, directory: Path) -> Database:
        """Another that follows this one; a commit here waits until that has it."""

    @abstractmethod
    def promote(self) -> None:
        """Make the standby the primary, once the one that it followed is dead."""

    def ask(self, *statements: str) -> list[Any]:
        """Execute statements that concern the server as a whole; the rows of the last."""
        with self.connect(**self.whole) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def ping(self) -> object:
        return self.ask("SELECT 1")

    @property
    def url(self) -> str:
        return f"{self.engine}://{self.user}@{HOST}:{self.port}/{NAME}"


class PostgreSQL(Database):
    kind = "PostgreSQL"
    engine = "postgres"
    user = "postgres"
    whole = {"dbname": "postgres"}

    def as_user(self) -> dict[str, Any]:
        # It refuses to run as root.
        return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}

    def command(self) -> list[str]:
        # Processes are killed here, never the machine, so what was written need not be forced out to the disk.
        settings = (
            "fsync=off",
            "max_wal_size=16MB",
            "min_wal_size=2MB",
            "wal_keep_size=64MB",
            "wal_sender_timeout=5s",
            "log_checkpoints=off",
        )
        options = [part for setting in settings for part in ("-c", setting)]
        data = str(self.directory / "data")
        place = ["-D", data, "-p", str(self.port), "-h", HOST, "-k", str(self.directory)]
        return [program("postgres", self.kind), *place, *options]

    def run(self, name: str, *arguments: str) -> None:
        run([program(name, self.kind), *arguments], cwd=self.directory, **self.as_user())

    def prepare(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            shutil.chown(self.directory, "postgres", "postgres")

    def create(self) -> None:
        self.prepare()
        options = ("--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "--wal-segsize=1")
        self.run("initdb", "-D", str(self.directory / "data"), "-U", self.user, *options)
        self.start()
        self.ask(f"CREATE DATABASE {NAME}")

    def connect(self, **more: Any) -> Any:
        options = {"dbname": NAME, "autocommit": True, "connect_timeout": 3, **more}
        return psycopg.connect(host=HOST, port=self.port, user=self.user, **options)

    def standby(self, directory: Path) -> Database:
        other = PostgreSQL(directory, free_port())
        other.prepare()
        source = ("-h", HOST, "-p", str(self.port), "-U", self.user)
        self.run("pg_basebackup", "-D", str(directory / "data"), *source, "-R", "--checkpoint=fast", "--no-sync")
        other.start()
        # A commit is answered once it has been applied there.
        self.ask(
            "ALTER SYSTEM SET synchronous_standby_names = '*'",
            "ALTER SYSTEM SET synchronous_commit = 'remote_apply'",
            "SELECT pg_reload_conf()",
        )
        wait_until(lambda: self.ask("SELECT sync_state FROM pg_stat_replication") == [("sync",)], "replication")
        return other

    def promote(self) -> None:
        self.ask("ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()", "SELECT pg_promote()")
        wait_until(lambda: self.ask("SELECT pg_is_in_recovery()") == [(False,)], "promotion")


class MariaDB(Database):
    kind = "MariaDB"
    engine = "mysql"
    user = NAME
    whole = {"database": None}
    replicates = True

    def command(self) -> list[str]:
        names = {
            **{"datadir": self.directory / "data", "socket": self.directory / "socket", "port": self.port},
            **{"bind-address": HOST, "user": getpass.getuser(), "init-file": self.directory / "init.sql"},
            **{"pid-file": self.directory / "pid", "skip-name-resolve": "ON", "innodb-buffer-pool-size": "64M"},
            **{"innodb-log-file-size": "4M", "character-set-server": "utf8mb4"},
        }
        if self.replicates:
            names |= {"server-id": self.port, "log-bin": "binlog", "log-slave-updates": "ON", "slave-net-timeout": 5}
        options = [f"--{name}={value}" for name, value in names.items()]
        return [program("mariadbd", self.kind), "--no-defaults", *options]

    def initialise(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "init.sql").write_text(
            f"SET sql_log_bin = 0;\nCREATE USER IF NOT EXISTS {self.user}@'{HOST}';\n"
            f"GRANT ALL ON *.* TO {self.user}@'{HOST}' WITH GRANT OPTION;\n"
        )
        install = program("mariadb-install-db", self.kind)
        data = (f"--datadir={self.directory / 'data'}", f"--user={getpass.getuser()}")
        options = ("--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-log-file-size=4M")
        run([install, "--no-defaults", *data, *options])
        self.start()

    def create(self) -> None:
        self.initialise()
        self.ask(f"CREATE DATABASE {NAME}")

    def connect(self, **more: Any) -> Any:
        options = {"database": NAME, "autocommit": True, "connect_timeout": 3, "read_timeout": PATIENCE, **more}
        return pymysql.connect(host=HOST, port=self.port, user=self.user, **options)

    def standby(self, directory: Path) -> Database:
        other = MariaDB(directory, free_port())
        other.initialise()
        # It reads the log of the other from the beginning. A commit is answered once its log has arrived there.
        self.ask("SET GLOBAL rpl_semi_sync_master_timeout = 60000", "SET GLOBAL rpl_semi_sync_master_enabled = 1")
        other.ask(
            "SET GLOBAL rpl_semi_sync_slave_enabled = 1",
            f"CHANGE MASTER TO MASTER_HOST = '{HOST}', MASTER_PORT = {self.port}, MASTER_USER = '{self.user}', "
            "MASTER_USE_GTID = slave_pos",
            "START SLAVE",
        )
        wait_until(lambda: self.ask("SHOW STATUS LIKE 'Rpl_semi_sync_master_clients'")[0][1] == "1", "replication")
        mine = "SELECT @@gtid_binlog_pos"
        wait_until(lambda: self.ask(mine) == other.ask("SELECT @@gtid_slave_pos"), "catching up")
        return other

    def promote(self) -> None:
        self.ask("STOP SLAVE IO_THREAD")
        wait_until(lambda: "has read all relay log" in str(self.ask("SHOW SLAVE STATUS")), "what arrived is applied")
        self.ask("STOP SLAVE", "RESET SLAVE ALL")


class Redis(Server):
    """A Redis that stores nothing: restarted, it is empty."""

    def command(self) -> list[str]:
        options = ("--bind", HOST, "--save", "", "--appendonly", "no", "--dir", str(self.directory))
        return [program("redis-server", "Redis"), "--port", str(self.port), *options]

    def client(self) -> redis.Redis:
        return redis.Redis(HOST, self.port, socket_timeout=PATIENCE)

    def ping(self) -> object:
        with self.client() as client:
            return client.ping()

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        super().start()


DATABASES: dict[str, type[Database]] = {"postgresql": PostgreSQL, "mariadb": MariaDB}
