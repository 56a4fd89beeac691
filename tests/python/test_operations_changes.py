"""What operators change in processes that serve their sockets, and what stays."""

from dataclasses import replace

import pytest
from site_worker import SiteWorker, a_site

from oxicache import operations
from oxicache.errors import UnknownProcessError
from oxicache.reports import Preview, Removed, Report
from oxicache.selection import Selection
from oxicache.sites import Site
from oxicache.workers import is_disabled


def text(report: Report) -> list[str]:
    return list(report.lines())


class TestCleanup:
    def test_expired_entries_go_in_every_worker(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str
    ) -> None:
        """The sum is what went everywhere; what lives stays."""
        for worker, size in zip(live_workers, (2, 3), strict=True):
            worker.fill(cache_name, size, ttl=1)
            worker.ask("add", cache_name, "alive")
            worker.ask("advance", 2)
        report = operations.cleanup(live_site, Selection(caches=(cache_name,)))
        assert isinstance(report, Removed)
        assert text(report)[0] == f"Cleaned 5 expired entries from '{cache_name}'"
        assert report.as_json()["cleaned"] == {cache_name: 5}
        assert report.as_json()["total"] == 5
        assert [worker.size(cache_name) for worker in live_workers] == [1, 1]

    def test_a_dry_run_counts_and_removes_nothing(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str
    ) -> None:
        """Expired entries are counted by cache, and are still there."""
        live_workers[0].fill(cache_name, 2, ttl=1)
        live_workers[0].ask("advance", 2)
        selection = Selection(caches=(cache_name,))
        report = operations.cleanup(live_site, selection, dry_run=True)
        assert isinstance(report, Preview)
        assert text(report)[0] == "DRY RUN: Would cleanup expired cache entries"
        assert report.as_json()["would_remove"] == {cache_name: 2}
        assert operations.stats(live_site, selection).caches[cache_name]["expired_entries"] == 2


class TestClear:
    def test_everything_goes_in_every_worker(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str
    ) -> None:
        """Each worker answers how many entries it dropped."""
        for worker, size in zip(live_workers, (2, 3), strict=True):
            worker.fill(cache_name, size)
        report = operations.clear(live_site)
        assert text(report)[0] == "Cleared all caches"
        assert report.as_json()["cleared"][cache_name] == 5
        assert [worker.size(cache_name) for worker in live_workers] == [0, 0]

    def test_one_cache_alone(self, live_site: Site, live_workers: list[SiteWorker], cache_name: str) -> None:
        """The others keep what they hold."""
        for cache in (cache_name, f"{cache_name}.other"):
            live_workers[0].fill(cache, 2)
        report = operations.clear(live_site, Selection(caches=(cache_name,)))
        assert text(report)[0] == f"Cleared cache '{cache_name}'"
        assert [live_workers[0].size(cache) for cache in (cache_name, f"{cache_name}.other")] == [0, 2]

    def test_a_dry_run_counts_and_removes_nothing(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str
    ) -> None:
        """The first line is the document's; the counts follow, those first that lose most."""
        for worker, size in zip(live_workers, (2, 3), strict=True):
            worker.fill(cache_name, size)
        report = operations.clear(live_site, Selection(caches=(cache_name,)), dry_run=True)
        assert text(report)[:4] == [
            "DRY RUN: Would clear cache entries",
            f"{'cache':<{max(len(cache_name), 8)}}  entries",
            f"{cache_name:<8}        5",
            "together        5",
        ]
        assert [worker.size(cache_name) for worker in live_workers] == [2, 3]

    def test_one_process_alone(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str
    ) -> None:
        """With a pid the other workers keep what they hold."""
        for worker in live_workers:
            worker.fill(cache_name, 2)
        report = operations.clear(replace(live_site, process=live_workers[0].pid))
        assert report.reach.answered == (live_workers[0].pid,)
        assert [worker.size(cache_name) for worker in live_workers] == [0, 2]

    def test_a_pid_that_no_worker_has(self, live_site: Site, live_workers: list[SiteWorker]) -> None:
        """The error lists the pids that are alive."""
        with pytest.raises(UnknownProcessError, match="no live worker has the pid 1; alive in") as caught:
            operations.clear(replace(live_site, process=1))
        assert set(caught.value.existing) == {worker.pid for worker in live_workers}


class TestInvalidate:
    def test_entries_with_a_tag_go_everywhere(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str
    ) -> None:
        """Document 003's words, with the sum over the workers."""
        for worker in live_workers:
            worker.fill(cache_name, 2, tags=["user", cache_name])
            worker.ask("add", cache_name, "untagged")
        report = operations.invalidate(live_site, Selection(tags=(cache_name, "nobodys")))
        assert text(report)[:2] == ["Invalidated 4 cache entries", "  tags: 4 entries"]
        assert report.as_json()["invalidated"][cache_name] == 4
        assert [worker.size(cache_name) for worker in live_workers] == [1, 1]

    def test_only_in_the_caches_that_are_named(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str
    ) -> None:
        """The same tag lives on in another cache."""
        for cache in (cache_name, f"{cache_name}.other"):
            live_workers[0].fill(cache, 2, tags=["user"])
        operations.invalidate(live_site, Selection(caches=(cache_name,), tags=("user",)))
        assert [live_workers[0].size(cache) for cache in (cache_name, f"{cache_name}.other")] == [0, 2]

    def test_keys_go_everywhere(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str
    ) -> None:
        """A key is one entry in each worker that has it."""
        for worker in live_workers:
            worker.fill(cache_name, 3)
        report = operations.invalidate(live_site, Selection(caches=(cache_name,), keys=("key:0", "key:1")))
        assert text(report)[:2] == ["Invalidated 4 cache entries", "  keys: 4 entries"]
        assert [worker.size(cache_name) for worker in live_workers] == [1, 1]

    def test_nothing_selected_is_no_clear(self, live_site: Site) -> None:
        """What would remove everything has a name of its own."""
        with pytest.raises(ValueError, match="`clear` removes everything"):
            operations.invalidate(live_site, Selection())

    def test_patterns_go_everywhere(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str
    ) -> None:
        """Acknowledged by each worker once it has walked through its caches; a dry run counts and removes nothing."""
        for worker in live_workers:
            worker.fill(cache_name, 3)
            worker.ask("add", cache_name, "other")
        chosen = Selection(caches=(cache_name,), globs=("key:[01]",), regex="ot.*")
        dry = operations.invalidate(live_site, chosen, dry_run=True)
        assert dry.as_json()["would_remove"] == {cache_name: 6}
        assert [worker.size(cache_name) for worker in live_workers] == [4, 4]
        report = operations.invalidate(live_site, chosen)
        assert text(report)[:2] == ["Invalidated 6 cache entries", "  pattern: 6 entries"]
        assert [worker.size(cache_name) for worker in live_workers] == [1, 1]


class TestReset:
    def test_counters_begin_again(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str
    ) -> None:
        """Hits and misses are 0, entries stay."""
        for worker in live_workers:
            worker.fill(cache_name, 2)
            worker.ask("read", cache_name, 3, 1)
        report = operations.reset(live_site, Selection(caches=(cache_name,)))
        assert text(report)[0] == "Reset the counters of 1 cache"
        stats = operations.stats(live_site).caches[cache_name]
        assert (stats["hits"], stats["misses"], stats["size"]) == (0, 0, 4)


class TestSwitch:
    def test_disabling_lasts_until_it_is_enabled(self) -> None:
        """Workers store nothing, those that start later neither, until all may again."""
        with a_site() as site, site.serving(1) as (first,):
            first.fill("users", 3)
            report = operations.disable(site.site)
            assert text(report)[0] == (
                "Disabled all caches: every get is a miss, nothing is stored (3 entries dropped)"
            )
            assert is_disabled(site.folder)
            with site.serving(1) as (second,):
                assert [worker.ask("is_enabled") for worker in (first, second)] == [False, False]
                assert operations.stats(site.site).disabled == tuple(sorted([first.pid, second.pid]))
                assert text(operations.enable(site.site))[0] == "Enabled all caches"
                assert [worker.ask("is_enabled") for worker in (first, second)] == [True, True]
            assert not is_disabled(site.folder)

    def test_one_process_leaves_no_mark(self, live_site: Site, live_workers: list[SiteWorker]) -> None:
        """What is meant for one worker says nothing about those to come."""
        one = replace(live_site, process=live_workers[0].pid)
        try:
            report = operations.disable(one)
            assert report.as_json() | {"folder": None} == {
                "enabled": False,
                "cleared": report.as_json()["cleared"],
                "lasting": False,
                "workers": 1,
                "answered": 1,
                "folder": None,
            }
            assert not is_disabled(live_site.folders[0])
            assert live_workers[1].ask("is_enabled")
        finally:
            operations.enable(one)

    def test_a_dry_run_switches_nothing(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str
    ) -> None:
        """It counts what would be dropped."""
        live_workers[0].fill(cache_name, 2)
        report = operations.disable(live_site, dry_run=True)
        assert text(report)[0] == "DRY RUN: Would clear and disable every cache"
        assert report.as_json()["would_remove"][cache_name] == 2
        assert live_workers[0].ask("is_enabled")
