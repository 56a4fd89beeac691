"""The endpoints see and change all live workers of the host, whichever of them answers."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from site_worker import SiteWorker, a_site

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="sockets are served on Linux only")  # noqa: PTH112

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
STAFF = {"is_staff": True}


def stats(worker: SiteWorker) -> dict[str, Any]:
    status, body = worker.ask("endpoint", "GET", "/cache-stats/", None, STAFF)
    assert status == 200, body
    found: dict[str, Any] = body
    return found


def post(worker: SiteWorker, name: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    status, said = worker.ask("endpoint", "POST", f"/{name}/", body, STAFF)
    return status, said


@contextmanager
def stopped(worker: SiteWorker) -> Iterator[None]:
    """Have it answer nobody for the length of the block."""
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker.pid, signal.SIGCONT)


def store(worker: SiteWorker, *keys: str) -> None:
    for key in keys:
        worker.ask("call", "default", "set", [key, 1], {})


def get(worker: SiteWorker, key: str) -> Any:
    return worker.ask("call", "default", "get", [key], {})


class TestNative:
    def test_figures_of_all(self) -> None:
        """Each of three workers shows the sums of all three, and how many they are."""
        with a_site() as site, site.serving(3) as workers:
            for number, worker in enumerate(workers):
                store(worker, f"key:{number}")
                assert get(worker, f"key:{number}") == 1
            for worker in workers:
                found = stats(worker)
                assert (found["workers"], found["answered"]) == (3, 3)
                assert found["cache_stats"]["keys_count"] == 3
                assert found["cache_stats"]["hit_rate"] == 100.0

    @pytest.mark.parametrize("body", [None, {"pattern": "key:*"}, {"namespace": "key"}])
    def test_one_clears_all(self, body: dict[str, str] | None) -> None:
        """What one worker is told to clear is gone from the others, natively and at once."""
        with a_site() as site, site.serving(3) as workers:
            for number, worker in enumerate(workers):
                store(worker, f"key:{number}")
            status, said = post(workers[0], "cache-clear", body)
            assert (status, said["message"], said["answered"]) == (200, "Cache cleared", 3)
            assert [get(worker, f"key:{number}") for number, worker in enumerate(workers)] == [None] * 3
            assert stats(workers[1])["cache_stats"]["keys_count"] == 0

    def test_a_worker_that_serves_no_socket(self) -> None:
        """It cannot be asked, and finds what was cleared outdated all the same; and it answers for itself."""
        with a_site() as site, site.serving(1) as (worker,), SiteWorker(site) as alone:
            store(alone, "a:1", "b:1")
            assert stats(alone)["workers"] == 2
            assert post(worker, "cache-clear", {"pattern": "a:*"})[0] == 200
            assert [get(alone, key) for key in ("a:1", "b:1")] == [None, 1]
            assert post(worker, "cache-clear")[0] == 200
            assert get(alone, "b:1") is None

    def test_one_resets_all(self) -> None:
        """Counts of every worker begin at zero."""
        with a_site() as site, site.serving(2) as workers:
            for worker in workers:
                store(worker, "a")
                get(worker, "nothing")
            assert stats(workers[0])["cache_stats"]["hit_rate"] == 0.0
            assert post(workers[0], "cache-reset-stats")[0] == 200
            get(workers[1], "a")
            assert stats(workers[0])["cache_stats"]["hit_rate"] == 100.0

    def test_a_worker_that_is_stopped(self) -> None:
        """Statistics say that one did not answer; what is shared is cleared for it; a reset is not claimed."""
        with a_site() as site, site.serving(2) as workers:
            store(workers[1], "a")
            with stopped(workers[1]):
                found = stats(workers[0])
                assert (found["workers"], found["answered"]) == (2, 1)
                assert post(workers[0], "cache-clear")[0] == 200
                status, said = post(workers[0], "cache-reset-stats")
                assert (status, said["status"]) == (503, "error")
                assert "1 of 2 workers answered" in said["message"]
            assert get(workers[1], "a") is None

    def test_a_cache_that_is_each_workers_own(self) -> None:
        """COHERENCE "process": nothing tells a stopped worker, so it is not said to be cleared."""
        own = {"BACKEND": "oxicache.django.backends.NativeCache", "OPTIONS": {"COHERENCE": "process"}}
        with a_site(CACHES={"default": own}) as site, site.serving(2) as workers:
            for worker in workers:
                store(worker, "a")
            with stopped(workers[1]):
                status, said = post(workers[0], "cache-clear")
                assert (status, said["status"]) == (503, "error")
                assert "Cache cleared" not in said["message"]
            assert post(workers[0], "cache-clear")[0] == 200
            assert [get(worker, "a") for worker in workers] == [None, None]


class TestLocMem:
    def test_all_processes_are_reached(self) -> None:
        """Each process has entries of its own; all are counted, and all are cleared."""
        with a_site(CACHES={"default": {"BACKEND": LOCMEM}}) as site, site.serving(2) as workers:
            store(workers[0], "materials:1", "other")
            store(workers[1], "materials:2", "materials:3", "other")
            found = stats(workers[0])
            assert found["cache_stats"]["keys_count"] == 5
            assert (found["workers"], found["answered"]) == (2, 2)
            assert post(workers[0], "cache-clear", {"namespace": "materials"})[0] == 200
            assert stats(workers[1])["cache_stats"]["keys_count"] == 2
            assert post(workers[1], "cache-clear")[0] == 200
            assert [get(worker, "other") for worker in workers] == [None, None]

    def test_a_worker_that_serves_no_socket_clears_its_own(self) -> None:
        """Who answers is one of those that are cleared."""
        with a_site(CACHES={"default": {"BACKEND": LOCMEM}}) as site, SiteWorker(site) as alone:
            store(alone, "materials:1", "other")
            assert stats(alone)["cache_stats"]["keys_count"] == 2
            assert post(alone, "cache-clear", {"pattern": "materials:*"})[0] == 200
            assert [get(alone, key) for key in ("materials:1", "other")] == [None, 1]

    def test_a_worker_that_is_stopped(self) -> None:
        """Its entries are still there, so nobody is told that the cache was cleared."""
        with a_site(CACHES={"default": {"BACKEND": LOCMEM}}) as site, site.serving(2) as workers:
            for worker in workers:
                store(worker, "a")
            with stopped(workers[1]):
                status, said = post(workers[0], "cache-clear")
                assert (status, said["status"]) == (503, "error")
                assert "Cache cleared" not in said["message"]


class TestFolder:
    def test_a_folder_that_others_may_write_into(self) -> None:
        """Nobody is asked through it: figures are those of the process itself, and clearing is refused."""
        with a_site() as site, site.serving(1) as (worker,):
            store(worker, "a")
            site.folder.chmod(0o777)
            assert stats(worker)["cache_stats"]["keys_count"] == 1
            for name in ("cache-clear", "cache-reset-stats"):
                status, said = post(worker, name)
                assert (status, said["status"]) == (503, "error")
                assert str(site.folder) in said["message"]
            site.folder.chmod(0o700)
            assert post(worker, "cache-clear")[0] == 200
