"""Scratch databases and fresh processes, so that no measurement sees what another one left behind."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ParamSpec, TypeVar
from urllib.parse import urlsplit

import psycopg
from django.core.management import call_command
from psycopg import sql

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def scratch_sqlite() -> Iterator[str]:
    """An empty migrated SQLite file, in use by child processes until the block ends; yields its URL."""
    with TemporaryDirectory() as directory, _chosen(f"sqlite:///{Path(directory) / 'benchmark.sqlite3'}") as url:
        yield url


@contextmanager
def scratch_postgresql(server: str) -> Iterator[str]:
    """The same on a PostgreSQL server, given by the URL of a database on it."""
    name = f"jwt_sessions_benchmark_{os.getpid()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            with _chosen(urlsplit(server)._replace(path=f"/{name}").geturl()) as url:
                yield url
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set variables that processes started inside the block inherit."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def in_child(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a module-level function in a fresh interpreter and return its result."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


@contextmanager
def _chosen(url: str) -> Iterator[str]:
    with environment(BENCHMARK_DATABASE=url):
        in_child(call_command, "migrate", verbosity=0)
        yield url
