"""Marks everything in this folder `server`, and makes a missing server a failure under `make test-servers`.

A fixture that finds no server calls `pytest.skip`. On a developer's machine that is a skip; with
OXICACHE_SERVERS=required, as `make test-servers` sets it, it fails the test: a server that is silently missing would
leave CI green with nothing tested.
"""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.server)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and os.environ.get("OXICACHE_SERVERS") == "required":
        report.outcome = "failed"
        report.longrepr = f"OXICACHE_SERVERS=required, but the test was skipped: {report.longrepr}"
    return report
