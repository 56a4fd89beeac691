"""Fixtures of a site with two workers that operators reach. What a test stores there is under a name of its own."""

from collections.abc import Iterator
from itertools import count

import pytest
from site_worker import LiveSite, SiteWorker, a_site

from oxicache.sites import Site

_numbers = count()


@pytest.fixture(scope="module")
def live_pair() -> Iterator[tuple[LiveSite, list[SiteWorker]]]:
    """The site and its workers, for all tests of a file."""
    with a_site() as site, site.serving(2) as workers:
        yield site, workers


@pytest.fixture
def live_site(live_pair: tuple[LiveSite, list[SiteWorker]]) -> Site:
    """What operations take."""
    return live_pair[0].site


@pytest.fixture
def live_workers(live_pair: tuple[LiveSite, list[SiteWorker]]) -> list[SiteWorker]:
    """Its two workers."""
    return live_pair[1]


@pytest.fixture
def cache_name() -> str:
    """A cache that no other test knows."""
    return f"cache{next(_numbers)}"
