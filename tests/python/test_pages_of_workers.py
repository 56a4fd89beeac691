"""Any worker answers for all of its host: the page of metrics, asked of one of several processes."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from site_worker import LiveSite, SiteWorker, a_site

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="sockets are served on Linux only")  # noqa: PTH112

TOKEN = "s3cret"  # noqa: S105 -- opens nothing but these tests


@pytest.fixture
def site() -> Iterator[LiveSite]:
    with a_site(OXICACHE={"METRICS_TOKEN": TOKEN}) as found:
        yield found


def metrics(worker: SiteWorker, query: str = "") -> dict[tuple[str, str | None, str | None], float]:
    """What one worker's page shows: samples by name, cache and pid."""
    status, text = worker.ask("page", f"/cache/metrics/{query}", TOKEN)
    assert status == 200
    return {
        (sample.name, sample.labels.get("cache"), sample.labels.get("pid")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_one_worker_answers_for_all(site: LiveSite) -> None:
    """The figures of three workers are summed on the page of each, and the memory of each is shown."""
    with site.serving(3) as workers:
        for number, worker in enumerate(workers, 1):
            worker.fill("reports", 10 * number)
            worker.ask("read", "reports", number, 1)
        for worker in workers:
            found = metrics(worker)
            assert (
                found["oxicache_workers", None, None] == found["oxicache_workers_answered", None, None] == 3
            )
            assert found["oxicache_entries", "reports", None] == 60
            assert found["oxicache_hits_total", "reports", None] == 6
            assert found["oxicache_misses_total", "reports", None] == 3
            resident = {pid for name, _, pid in found if name == "oxicache_resident_memory_bytes"}
            assert len(resident) == 3


def test_workers_kept_apart(site: LiveSite) -> None:
    """`?by=process`: each worker's counters are its own, whichever of them answers."""
    with site.serving(2) as workers:
        workers[0].fill("reports", 10)
        workers[1].fill("reports", 20)
        pages: list[Any] = [metrics(worker, "?by=process") for worker in workers]
        entries = [
            {
                value
                for (name, cache, _), value in found.items()
                if (name, cache) == ("oxicache_entries", "reports")
            }
            for found in pages
        ]
        assert entries == [{10, 20}, {10, 20}]


def test_a_worker_that_serves_no_socket_answers_for_itself_too(site: LiveSite) -> None:
    """The page is answered by a process that others cannot ask, and its own figures are on it."""
    with site.serving(1) as workers, SiteWorker(site) as alone:
        workers[0].fill("reports", 10)
        alone.fill("reports", 5)
        assert metrics(alone)["oxicache_entries", "reports", None] == 15
        assert metrics(workers[0])["oxicache_entries", "reports", None] == 10


def test_a_worker_that_was_killed_is_not_waited_for(site: LiveSite) -> None:
    """What kill -9 left behind is no worker."""
    with site.serving(2) as workers:
        workers[0].fill("reports", 10)
        workers[1].fill("reports", 20)
        workers[1].process.kill()
        workers[1].process.wait(60)
        found = metrics(workers[0])
        assert found["oxicache_workers", None, None] == 1
        assert found["oxicache_entries", "reports", None] == 10


def test_without_the_token(site: LiveSite) -> None:
    """Somebody who is nobody is told nothing."""
    with site.serving(1) as workers:
        assert workers[0].ask("page", "/cache/metrics/", "wrong") == [401, ""]
