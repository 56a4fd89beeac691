"""Random requests of random visitors to random pages, cached in every way: no response ever reaches another scope.

The model says what a view would say to this visitor now; every response must be that, or what was right within what its
ttl and grace allow. That caching happens at all is counted.
"""

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest
import visited_site as site
from django.contrib.auth.models import Group, User
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import override_settings
from django.utils import translation
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from profiles import MODEL
from visitor_choices import NAMES
from visitor_histories import HISTORIES
from visitor_mistakes import MISTAKES
from visitors import STAFF
from visits import AsyncVisits, SiteVisits, Visits


class Clock:
    """What `time.time` says, and with it every cache in a test."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[type[Visits]]:
    """The machine, on a site with users, a row and threads of its own."""
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    for name in ("django.request", "oxicache"):
        caplog.set_level(logging.CRITICAL, logger=name)
    users = [User.objects.create_user(name, is_staff=name == STAFF) for name in NAMES]
    row = Group.objects.create(name=f"{site.ROW} 0")
    with override_settings(**site.SETTINGS), translation.override("en"), ThreadPoolExecutor(2) as threads:
        hits: Counter[str] = Counter()
        both = threading.Barrier(2)
        yield type("AMachine", (Visits,), {"clock": clock, "row": row, "threads": threads, "hits": hits})
        for _ in range(2):
            threads.submit(_close_all, both)
        site.unpublish()
    for one in (*users, row):
        one.delete()


def _close_all(both: threading.Barrier) -> None:
    both.wait(60)  # each of the threads
    for one in connections.all(initialized_only=True):
        BaseDatabaseWrapper.close(one)  # SQLite's own leaves one in memory open, for fear of its data


def run(machine: type[Visits], examples: int) -> None:
    # Without shrinking, which takes minutes: a failure tells the page, the visitor and what is right.
    run_state_machine_as_test(
        machine,
        settings=settings(
            MODEL, max_examples=examples, stateful_step_count=40, phases=[Phase.reuse, Phase.generate]
        ),
    )


def was_cached(machine: type[Visits]) -> bool:
    """Whether there was a hit at all: else nothing was shown."""
    return any(name.startswith("HIT") for name in machine.hits)


def test_no_response_reaches_another_scope(machine: type[Visits]) -> None:
    """Whoever asks for whatever, in whichever order, gets what the view would say to him."""
    examples = max(MODEL.max_examples // 8, 10)
    run(machine, examples)
    assert was_cached(machine)
    if examples > 50:  # else chance may leave out some
        assert all(machine.hits[f"HIT {kind}"] for kind in ("anonymous", "guest", "user")), machine.hits


def test_no_response_of_a_coroutine_reaches_another_scope(machine: type[Visits]) -> None:
    """Through ASGI too, where tasks wait for one another."""
    amachine = type("AnAsyncMachine", (AsyncVisits,), dict(vars(machine)))
    run(amachine, max(MODEL.max_examples // 16, 10))
    assert was_cached(machine)


@pytest.mark.parametrize("has_users", [False, True])
def test_no_response_of_a_site_reaches_another_scope(machine: type[Visits], *, has_users: bool) -> None:
    """Where SiteCacheMiddleware caches what undecorated views say."""
    middleware = [*site.SETTINGS["MIDDLEWARE"], "oxicache.django.responses.SiteCacheMiddleware"]
    options = {**site.SETTINGS["OXICACHE"], "SITE_USERS": has_users, "SITE_TTL": 300}
    with override_settings(MIDDLEWARE=middleware, OXICACHE=options):
        run(type("AMachineOfASite", (SiteVisits,), dict(vars(machine))), max(MODEL.max_examples // 20, 10))
    assert was_cached(machine)
    assert has_users or not machine.hits["HIT user"]


@pytest.mark.parametrize("name", HISTORIES)
def test_a_short_history_is_right(name: str, machine: type[Visits]) -> None:
    """What finds a mistake finds none where there is none."""
    HISTORIES[name](machine())


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_short_history_finds_a_mistake(
    mistake: str, machine: type[Visits], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defective oxicache fails."""
    MISTAKES[mistake](monkeypatch)
    with pytest.raises(AssertionError):
        HISTORIES[mistake](machine())


# Those that chance finds at once; with OXICACHE_SOAK others that it finds within a minute or two. The rest is rarer.
AT_ONCE: Final = ["headers_are_not_learned", "hosts_share"]
OTHERS_IN_TIME: Final = [
    "guests_are_anonymous",
    "languages_share",
    "last_values_only",
    "tenants_share",
    "users_share",
]


@pytest.mark.parametrize("mistake", [*AT_ONCE, *(OTHERS_IN_TIME if os.environ.get("OXICACHE_SOAK") else [])])
def test_chance_finds_a_mistake(mistake: str, machine: type[Visits], monkeypatch: pytest.MonkeyPatch) -> None:
    """And so does the machine by itself."""
    MISTAKES[mistake](monkeypatch)
    with pytest.raises(AssertionError):
        run(machine, 2000)
