"""The stand on which faults are tried: servers of our own, proxies before them, and the served project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection

from tests.factories import UserFactory
from tests.faults.client import Client
from tests.faults.proxy import Proxy
from tests.faults.report import Row
from tests.faults.servers import DATABASES, HOST, Database, Redis, die_with_parent, free_port, wait_until

ROOT = Path(__file__).resolve().parent.parent.parent


class Stand:
    """
    What a test may break.

    Attributes:
        database: The database server, which this process reaches directly and the project through :attr:`to_database`.
        redis: The cache, reached through :attr:`to_redis`.
        origin: Where the project is served.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        kind = DATABASES[os.environ["FAULTS_DATABASE"]]
        self.database: Database = kind(directory / "primary", int(connection.settings_dict["PORT"]))
        self.databases = [self.database]
        self.redis = Redis(directory / "redis", free_port())
        self.to_database = Proxy(free_port(), self.database.port)
        self.to_redis = Proxy(free_port(), self.redis.port)
        self.origin = f"http://{HOST}:{free_port()}"
        self.served: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.database.create()
        self.redis.start()
        call_command("migrate", verbosity=0)
        self.serve()

    def serve(self) -> None:
        """Serve the project, in a process that replaces its child whenever that is killed."""
        url = self.database.url.replace(f":{self.database.port}/", f":{self.to_database.port}/")
        variables = {"DATABASE_URL": url, "CACHE_URL": f"redis://{HOST}:{self.to_redis.port}/0"}
        command = [sys.executable, "-m", "tests.faults.serve", self.origin.rsplit(":", 1)[1]]
        with (self.directory / "served.log").open("ab") as log:
            self.served = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.faults.settings"} | variables,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        client = Client(self.origin, UserFactory.build())
        wait_until(lambda: client.send("GET", "/") is not None, "serving")

    def use(self, database: Database) -> None:
        """Go on with another database server, as after a failover."""
        self.database = database
        self.databases.append(database)
        self.to_database.target = database.port
        connection.close()
        connection.settings_dict["PORT"] = str(database.port)

    def stop(self) -> None:
        for proxy in (self.to_database, self.to_redis):
            proxy.close()
        if self.served is not None:
            self.served.kill()
            self.served.wait()
        for database in self.databases:
            database.kill()
        self.redis.kill()

    def client(self) -> Client:
        """A client that nobody has signed in yet, of a new user."""
        return Client(self.origin, UserFactory())

    def signed_in(self) -> Client:
        client = self.client()
        assert client.insist("sign_in").status_code == 200
        return client


@pytest.fixture(scope="session")
def shared_stand(tmp_path_factory, django_db_blocker) -> Iterator[Stand]:
    # Short: the path of a socket may have a hundred characters.
    stand = Stand(Path(os.environ["FAULTS_DIRECTORY"]))
    with django_db_blocker.unblock():
        try:
            stand.start()
            yield stand
        finally:
            connection.close()
            stand.stop()


@pytest.fixture
def stand(shared_stand) -> Iterator[Stand]:
    yield shared_stand
    # It may lead to a server that is gone.
    connection.close()


@pytest.fixture
def report(stand):
    """Add a row to the table that is printed at the end; called when all that the row says has been found to hold."""

    def add(fault: str, *clients: Client, after: str) -> None:
        row = Row.of(fault.replace("_", " "), stand.database.kind, clients, after)
        with Path(os.environ["FAULTS_REPORT"]).open("a") as lines:
            lines.write(json.dumps(asdict(row)) + "\n")

    return add
