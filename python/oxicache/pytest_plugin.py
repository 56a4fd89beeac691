"""The pytest plugin: each test starts with empty caches of its own process, and their clock follows `time.time`.

Installed with the package (entry point `pytest11`, name `oxicache`; `-p no:oxicache` leaves it out). It decides
nothing: what happens around a test is `oxicache.testing.isolated`. It never imports Django.
"""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from oxicache.testing import Clock

INI = "oxicache_isolation"
MARKER = "oxicache_real_clock"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ini option that switches the plugin off."""
    parser.addini(
        INI, "empty oxicache's caches before each test and let their clock follow time.time", "bool", True
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers", f"{MARKER}: count the time of caches by their own clock, not by time.time"
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Isolate the test with its fixtures; module and session fixtures run inside the test that needs them first."""
    if not item.config.getini(INI):
        return (yield)
    from oxicache.testing import isolated

    engine_clock = item.get_closest_marker(MARKER) is not None
    # With pytest-django a test's database is not what another thread would see.
    background = not item.config.pluginmanager.hasplugin("django")
    with isolated(engine_clock=engine_clock, background=background):
        return (yield)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Give the engine its own clock and its words back: a process may go on after pytest.main()."""
    testing = sys.modules.get("oxicache.testing")  # not there when no test ran
    if testing is not None and config.getini(INI):
        testing.stop_following()
        testing.release_words()


@pytest.fixture
def oxicache_clock() -> "Iterator[Clock]":
    """A clock driven by hand: `oxicache_clock.advance(61)` and every deadline within a minute has passed."""
    from oxicache.testing import clock

    with clock() as time:
        yield time
