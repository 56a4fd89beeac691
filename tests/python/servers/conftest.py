"""Marks everything in this folder `server`, starts the servers, and lets `make test-servers` fail for a missing one.

Each server is started by the first test that asks for it and stopped after the last test; server_process.py says how.
A fixture that finds no server calls `pytest.skip`. On a developer's machine that is a skip; with
OXICACHE_SERVERS=required, as `make test-servers` sets it, it fails the test: a server that is silently missing would
leave CI green with nothing tested.
"""

import contextlib
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import server_process

pytest.register_assert_rewrite("live_workers")

HERE = Path(__file__).parent
Server = TypeVar("Server")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    inside = f"{HERE}{os.sep}"
    for item in items:  # of the whole suite: to take each path apart would take seconds
        if str(item.path).startswith(inside):
            item.add_marker(pytest.mark.server)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and os.environ.get("OXICACHE_SERVERS") == "required":
        report.outcome = "failed"
        report.longrepr = f"OXICACHE_SERVERS=required, but the test was skipped: {report.longrepr}"
    return report


@contextlib.contextmanager
def started(start: Callable[[], contextlib.AbstractContextManager[Server]]) -> Iterator[Server]:
    """What `start` gives; a skip where the program is not installed."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(start())
        except server_process.NoServerError as missing:
            pytest.skip(str(missing))
        yield server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[server_process.Postgresql]:
    """A PostgreSQL of this run's own; `postgresql.database()` makes a database in it."""
    with started(server_process.postgresql) as server:
        yield server


@pytest.fixture(scope="module")
def postgresql_settings(postgresql: server_process.Postgresql) -> Iterator[dict[str, Any]]:
    """An entry of Django's DATABASES: a database that is empty when the first test of a module asks for it."""
    with postgresql.database() as settings:
        yield settings


@pytest.fixture(scope="session")
def redis_server() -> Iterator[server_process.Listening]:
    """A Redis of this run's own, empty at first; tests that need an empty one take a prefix or flush it."""
    with started(server_process.redis) as server:
        yield server


@pytest.fixture(scope="session")
def memcached_server() -> Iterator[server_process.Listening]:
    """A memcached of this run's own, empty at first."""
    with started(server_process.memcached) as server:
        yield server
