"""Each verb against processes that serve their sockets: what they hold is summed, changed, looked up."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from site_worker import LiveSite, SiteWorker, a_site

from oxicache import cache_manager, operations
from oxicache.errors import NotConfiguredError, UnknownCacheError, UnknownProcessError
from oxicache.reports import Preview, Removed, Report, StatsReport
from oxicache.selection import Selection
from oxicache.sites import Site
from oxicache.workers import is_disabled

_numbers = count()


@pytest.fixture(scope="module")
def live() -> Iterator[tuple[LiveSite, list[SiteWorker]]]:
    """A site with two workers. What a test stores there is under a name of its own."""
    with a_site() as site, site.serving(2) as workers:
        yield site, workers


@pytest.fixture
def site(live: tuple[LiveSite, list[SiteWorker]]) -> Site:
    return live[0].site


@pytest.fixture
def workers(live: tuple[LiveSite, list[SiteWorker]]) -> list[SiteWorker]:
    return live[1]


@pytest.fixture
def name() -> str:
    """A cache that no other test knows."""
    return f"cache{next(_numbers)}"


def text(report: Report) -> list[str]:
    return list(report.lines())


class TestStats:
    def test_figures_are_summed(self, site: Site, workers: list[SiteWorker], name: str) -> None:
        """Two workers with the same cache are one cache: what they hold is added, shares are computed anew."""
        for worker, size in zip(workers, (9, 3), strict=True):
            worker.fill(name, size, max_size=10)
        workers[0].ask("read", name, 3, 1)
        stats = operations.stats(site).caches[name]
        assert (stats["size"], stats["max_size"], stats["utilization_percent"]) == (12, 20, 60.0)
        assert (stats["hits"], stats["misses"], stats["hit_rate"]) == (3, 1, 0.75)

    def test_a_cache_counts_once_however_many_have_it(
        self, site: Site, workers: list[SiteWorker], name: str
    ) -> None:
        """`total_caches` is how many names there are."""
        for worker in workers:
            worker.fill(name, 1)
        report = operations.stats(site)
        assert report.totals["total_caches"] == len(report.caches)
        assert name in report.caches

    def test_each_process_is_shown_alone_in_json(
        self, site: Site, workers: list[SiteWorker], name: str
    ) -> None:
        """`_global.processes` has what each worker holds, by pid; `_global` is last, the documented names first."""
        for worker, size in zip(workers, (1, 2), strict=True):
            worker.fill(name, size)
        shown = operations.stats(site).as_json()
        whole = shown["_global"]
        assert list(shown)[-1] == "_global"
        assert list(whole)[:4] == [
            "total_caches",
            "total_entries",
            "total_max_entries",
            "global_utilization_percent",
        ]
        assert {pid: found[name]["size"] for pid, found in whole["processes"].items()} == {
            str(worker.pid): size for worker, size in zip(workers, (1, 2), strict=True)
        }
        assert (whole["workers"], whole["answered"]) == (2, 2)

    def test_one_cache_is_shown_alone(self, site: Site, workers: list[SiteWorker], name: str) -> None:
        """With a cache that only one worker has there is no block of sums, and nothing is missing."""
        workers[1].fill(name, 4)
        report = operations.stats(site, Selection(caches=(name,)))
        assert list(report.as_json()) == [name]
        assert "Total Caches" not in "\n".join(text(report))
        assert not report.reach.is_partial

    def test_an_unknown_cache_is_an_error_that_lists_what_exists(
        self, site: Site, workers: list[SiteWorker], name: str
    ) -> None:
        """Nobody has it: the error knows who exists."""
        workers[0].fill(name, 1)
        with pytest.raises(UnknownCacheError, match="Cache 'nobodys' not found; these exist:") as caught:
            operations.stats(site, Selection(caches=("nobodys",)))
        assert name in caught.value.existing

    @pytest.mark.parametrize("verb", ["cleanup", "clear", "reset", "explain", "top", "monitor"])
    def test_every_verb_refuses_an_unknown_cache(
        self, site: Site, workers: list[SiteWorker], name: str, verb: str
    ) -> None:
        """Whatever is done, it is not done to a cache that nobody has."""
        workers[0].fill(name, 1)
        key = ("key",) if verb == "explain" else ()
        with pytest.raises(UnknownCacheError, match="nobodys"):
            getattr(operations, verb)(site, *key, Selection(caches=("nobodys",)))

    def test_the_last_line_says_who_answered(self, site: Site) -> None:
        """The folder is there so that somebody in another container sees that it is not his."""
        assert text(operations.stats(site))[-1] == f"2 of 2 workers answered in {site.folders[0]}."

    def test_a_table_shows_what_came_since(self, site: Site, workers: list[SiteWorker], name: str) -> None:
        """Looked at again, the table has a column of the reads since the last look."""
        workers[0].fill(name, 1)
        selection = Selection(caches=(name,))
        before = operations.stats(site, selection)
        workers[0].ask("read", name, 5, 2)
        lines = list(operations.stats(site, selection).table(earlier=before))
        assert lines[0].endswith("reads since")
        assert lines[1].split()[-1] == "7"


class TestNobody:
    def test_without_workers_there_are_no_figures(self, tmp_path: Path) -> None:
        """Zeros would say that caches are empty: it is said instead that nobody was found, and where."""
        report = operations.stats(Site(folders=(tmp_path / "none",)))
        assert text(report)[0] == f"No live worker of this site was found in {tmp_path / 'none'}."
        assert not [line for line in text(report) if "0" in line.replace(str(tmp_path), "")]
        assert report.as_json()["_global"]["total_entries"] is None
        assert report.as_json()["_global"]["workers"] == 0

    @pytest.mark.parametrize(
        "verb", ["cleanup", "clear", "monitor", "status", "optimize", "reset", "enable", "top", "tracker"]
    )
    def test_every_verb_says_so(self, tmp_path: Path, verb: str) -> None:
        """No verb claims to have done something."""
        with a_site() as site:
            report = getattr(operations, verb)(site.site)
        assert any(line.startswith("No live worker") for line in text(report))
        assert not [
            line for line in text(report) if line.startswith(("Cleared", "Cleaned", "Enabled", "Reset"))
        ]

    def test_siblings_are_told_of(self, tmp_path: Path) -> None:
        """Who runs as another user, or meets elsewhere, may be why nobody is found."""
        report = operations.stats(Site(folders=(tmp_path,), siblings=("Processes run as user 33 too.",)))
        assert text(report)[-1] == "Warning: Processes run as user 33 too."
        assert report.as_json()["_global"]["siblings"] == ["Processes run as user 33 too."]


class TestPartial:
    def test_a_worker_that_hangs_is_named(self) -> None:
        """A stopped process accepts and says nothing: the others are shown, and it is told which one is missing."""
        with a_site() as site, site.serving(2) as (well, stopped):
            well.fill("users", 2)
            stopped.fill("users", 5)
            os.kill(stopped.pid, signal.SIGSTOP)
            try:
                report = operations.stats(replace(site.site, deadline=0.3))
            finally:
                os.kill(stopped.pid, signal.SIGCONT)
            assert report.reach.is_partial
            assert report.caches["users"]["size"] == 2
            assert text(report)[-2:] == [
                f"1 of 2 workers answered in {site.folder}.",
                f"  Worker {stopped.pid}: did not answer within 0.3 s",
            ]
            assert report.as_json()["_global"]["missing"] == [
                {"pid": stopped.pid, "why": "did not answer within 0.3 s"}
            ]

    def test_a_worker_that_was_killed_is_nobody(self) -> None:
        """Its socket refuses: it does not count among the workers, and nothing is missing."""
        with a_site() as site, site.serving(2) as (well, killed):
            well.fill("users", 2)
            os.kill(killed.pid, signal.SIGKILL)
            killed.process.wait(60)
            report = operations.stats(site.site)
            assert (report.reach.workers, report.reach.is_partial) == (1, False)
            assert len(list(site.folder.glob("*.sock"))) == 1


class TestCleanup:
    def test_expired_entries_go_in_every_worker(
        self, site: Site, workers: list[SiteWorker], name: str
    ) -> None:
        """The sum is what went everywhere; what lives stays."""
        for worker, size in zip(workers, (2, 3), strict=True):
            worker.fill(name, size, ttl=0.0)
            worker.ask("add", name, "alive")
        report = operations.cleanup(site, Selection(caches=(name,)))
        assert isinstance(report, Removed)
        assert text(report)[0] == f"Cleaned 5 expired entries from '{name}'"
        assert report.as_json()["cleaned"] == {name: 5}
        assert report.as_json()["total"] == 5
        assert [worker.size(name) for worker in workers] == [1, 1]

    def test_a_dry_run_counts_and_removes_nothing(
        self, site: Site, workers: list[SiteWorker], name: str
    ) -> None:
        """Expired entries are counted by cache, and are still there."""
        workers[0].fill(name, 2, ttl=0.0)
        selection = Selection(caches=(name,))
        report = operations.cleanup(site, selection, dry_run=True)
        assert isinstance(report, Preview)
        assert text(report)[0] == "DRY RUN: Would cleanup expired cache entries"
        assert report.as_json()["would_remove"] == {name: 2}
        assert operations.stats(site, selection).caches[name]["expired_entries"] == 2


class TestClear:
    def test_everything_goes_in_every_worker(self, site: Site, workers: list[SiteWorker], name: str) -> None:
        """Each worker answers how many entries it dropped."""
        for worker, size in zip(workers, (2, 3), strict=True):
            worker.fill(name, size)
        report = operations.clear(site)
        assert text(report)[0] == "Cleared all caches"
        assert report.as_json()["cleared"][name] == 5
        assert [worker.size(name) for worker in workers] == [0, 0]

    def test_one_cache_alone(self, site: Site, workers: list[SiteWorker], name: str) -> None:
        """The others keep what they hold."""
        for cache in (name, f"{name}.other"):
            workers[0].fill(cache, 2)
        report = operations.clear(site, Selection(caches=(name,)))
        assert text(report)[0] == f"Cleared cache '{name}'"
        assert [workers[0].size(cache) for cache in (name, f"{name}.other")] == [0, 2]

    def test_a_dry_run_counts_and_removes_nothing(
        self, site: Site, workers: list[SiteWorker], name: str
    ) -> None:
        """The first line is the document's; the counts follow, those first that lose most."""
        for worker, size in zip(workers, (2, 3), strict=True):
            worker.fill(name, size)
        report = operations.clear(site, Selection(caches=(name,)), dry_run=True)
        assert text(report)[:4] == [
            "DRY RUN: Would clear cache entries",
            f"{'cache':<{max(len(name), 8)}}  entries",
            f"{name:<8}        5",
            "together        5",
        ]
        assert [worker.size(name) for worker in workers] == [2, 3]

    def test_one_process_alone(self, site: Site, workers: list[SiteWorker], name: str) -> None:
        """With a pid the other workers keep what they hold."""
        for worker in workers:
            worker.fill(name, 2)
        report = operations.clear(replace(site, process=workers[0].pid))
        assert report.reach.answered == (workers[0].pid,)
        assert [worker.size(name) for worker in workers] == [0, 2]

    def test_a_pid_that_no_worker_has(self, site: Site, workers: list[SiteWorker]) -> None:
        """The error lists the pids that are alive."""
        with pytest.raises(UnknownProcessError, match="no live worker has the pid 1; alive in") as caught:
            operations.clear(replace(site, process=1))
        assert set(caught.value.existing) == {worker.pid for worker in workers}


class TestInvalidate:
    def test_entries_with_a_tag_go_everywhere(self, site: Site, workers: list[SiteWorker], name: str) -> None:
        """Document 003's words, with the sum over the workers."""
        for worker in workers:
            worker.fill(name, 2, tags=["user", name])
            worker.ask("add", name, "untagged")
        report = operations.invalidate(site, Selection(tags=(name, "nobodys")))
        assert text(report)[:2] == ["Invalidated 4 cache entries", "  tags: 4 entries"]
        assert report.as_json()["invalidated"][name] == 4
        assert [worker.size(name) for worker in workers] == [1, 1]

    def test_only_in_the_caches_that_are_named(
        self, site: Site, workers: list[SiteWorker], name: str
    ) -> None:
        """The same tag lives on in another cache."""
        for cache in (name, f"{name}.other"):
            workers[0].fill(cache, 2, tags=["user"])
        operations.invalidate(site, Selection(caches=(name,), tags=("user",)))
        assert [workers[0].size(cache) for cache in (name, f"{name}.other")] == [0, 2]

    def test_keys_go_everywhere(self, site: Site, workers: list[SiteWorker], name: str) -> None:
        """A key is one entry in each worker that has it."""
        for worker in workers:
            worker.fill(name, 3)
        report = operations.invalidate(site, Selection(caches=(name,), keys=("key:0", "key:1")))
        assert text(report)[:2] == ["Invalidated 4 cache entries", "  keys: 4 entries"]
        assert [worker.size(name) for worker in workers] == [1, 1]

    def test_nothing_selected_is_no_clear(self, site: Site) -> None:
        """What would remove everything has a name of its own."""
        with pytest.raises(ValueError, match="`clear` removes everything"):
            operations.invalidate(site, Selection())

    def test_a_pattern_removes_nothing_silently(self, site: Site) -> None:
        """Where patterns are not followed that is an error, and no 0."""
        with pytest.raises(NotConfiguredError, match=r"'\^user' removes nothing"):
            operations.invalidate(site, Selection(pattern="^user"))


class TestReset:
    def test_counters_begin_again(self, site: Site, workers: list[SiteWorker], name: str) -> None:
        """Hits and misses are 0, entries stay."""
        for worker in workers:
            worker.fill(name, 2)
            worker.ask("read", name, 3, 1)
        report = operations.reset(site, Selection(caches=(name,)))
        assert text(report)[0] == "Reset the counters of 1 cache"
        stats = operations.stats(site).caches[name]
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

    def test_one_process_leaves_no_mark(self, site: Site, workers: list[SiteWorker]) -> None:
        """What is meant for one worker says nothing about those to come."""
        one = replace(site, process=workers[0].pid)
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
            assert not is_disabled(site.folders[0])
            assert workers[1].ask("is_enabled")
        finally:
            operations.enable(one)

    def test_a_dry_run_switches_nothing(self, site: Site, workers: list[SiteWorker], name: str) -> None:
        """It counts what would be dropped."""
        workers[0].fill(name, 2)
        report = operations.disable(site, dry_run=True)
        assert text(report)[0] == "DRY RUN: Would clear and disable every cache"
        assert report.as_json()["would_remove"][name] == 2
        assert workers[0].ask("is_enabled")


class TestFindings:
    def test_explain_finds_a_key_in_every_worker(
        self, site: Site, workers: list[SiteWorker], name: str
    ) -> None:
        """Each entry is told with its worker, and caches that lack it are named."""
        for worker in workers:
            worker.fill(name, 2, tags=["user"])
        workers[0].fill(f"{name}.other", 0)
        report = operations.explain(site, "key:1")
        found = [entry for entry in report.found if entry["cache"] == name]
        assert {entry["pid"] for entry in found} == {worker.pid for worker in workers}
        assert {(entry["state"], tuple(entry["tags"])) for entry in found} == {("fresh", ("user",))}
        assert f"{name}.other" in report.absent
        assert f"{name}, worker {workers[0].pid}" in text(report)

    def test_explain_says_who_invalidated_a_stale_entry(self) -> None:
        """The worker that has the entry does not know who moved its word; the worker that did is asked."""
        with a_site() as site, site.serving(2) as (holder, culprit):
            holder.ask("call", "default", "set", ["user", "Ann"], {"tags": ["people"]})
            culprit.ask("call", "default", "delete_by_tag", ["people"], {})
            (entry,) = operations.explain(site.site, "user").found
            assert (entry["pid"], entry["state"]) == (holder.pid, "outdated")
            assert f"process {culprit.pid}" in entry["why"]

    def test_top_sums_key_patterns(self, site: Site, workers: list[SiteWorker], name: str) -> None:
        """One pattern of one cache is one row, whichever workers read it."""
        for worker in workers:
            worker.fill(name, 2)
            worker.ask("read", name, 4, 0)
        report = operations.top(site, Selection(caches=(name,)), by="hits", limit=5)
        (row,) = report.patterns
        assert (row["pattern"], row["cache"], row["hits"], row["sets"]) == ("key:*", name, 8, 4)
        assert text(report)[0] == "Top Key Patterns by hits:"

    def test_top_shows_the_largest_entries(self, site: Site, workers: list[SiteWorker], name: str) -> None:
        """By bytes single entries are ranked too, over all workers."""
        workers[0].ask("add", name, "small", "x")
        workers[1].ask("add", name, "large", "x" * 10_000)
        report = operations.top(site, Selection(caches=(name,)), by="bytes", limit=1)
        (entry,) = report.entries
        assert (entry["key"], entry["pid"]) == ("large", workers[1].pid)

    def test_top_by_what_is_no_measure(self, site: Site) -> None:
        """The error lists the measures."""
        with pytest.raises(ValueError, match="one of hits, misses, bytes, loads, age"):
            operations.top(site, by="colour")


class TestTracker:
    def test_trackers_are_summed(self) -> None:
        """Ids that are being deleted add up, stale ids are named once, and cleaning removes them everywhere."""
        with a_site() as site, site.serving(2) as (one, other):
            one.ask("track", [1], 0)
            one.ask("track", [2], 4000)
            other.ask("track", [2, 3], 4000)
            shown = operations.tracker(site.site, "stats").as_json()
            assert (shown["active"], shown["timestamps"], shown["threshold"]) == (4, 4, 3600)
            dry = operations.tracker(site.site, "dry")
            assert text(dry)[:2] == [
                "Would clean up 2 stale deletion tracker entries:",
                "  Project IDs: 2, 3",
            ]
            done = operations.tracker(site.site, "cleanup")
            assert text(done)[0] == "Successfully cleaned up 3 stale deletion tracker entries"
            assert operations.tracker(site.site, "stats").as_json()["active"] == 1
            again = operations.tracker(site.site, "cleanup")
            assert text(again)[0] == "No stale entries found - deletion tracker is clean"


class TestJudgements:
    def test_monitor_checks_the_sums(self, site: Site, workers: list[SiteWorker], name: str) -> None:
        """A cache that is full in one worker and empty in another is half full, which is no issue."""
        workers[0].fill(name, 10, max_size=10)
        full = operations.monitor(replace(site, process=workers[0].pid), Selection(caches=(name,)))
        assert f"HIGH: Cache '{name}' utilization > 95%" in full.issues
        assert full.status == "critical"
        workers[1].fill(name, 0, max_size=10)
        both = operations.monitor(site, Selection(caches=(name,)))
        assert (both.issues, both.status) == ((), "healthy")

    def test_status_tells_of_the_workers(self, site: Site, workers: list[SiteWorker]) -> None:
        """Who answers is shown with how long it is up and whether its Python answers."""
        report = operations.status(site, document={"health": {"default": {"healthy": True}}})
        assert set(report.as_json()["processes"]) == {str(worker.pid) for worker in workers}
        assert "  \u2713 default: Healthy" in text(report)

    def test_an_alias_that_fails_is_critical(self, site: Site) -> None:
        """Whatever the workers say, a backend that does not work is as bad as it gets."""
        document = {"health": {"redis": {"healthy": False, "error": "ConnectionError: refused"}}}
        report = operations.status(site, document=document)
        assert report.status == "critical"
        assert "  \u2717 redis: ConnectionError: refused" in text(report)

    def test_optimize_advises_by_measured_figures(
        self, site: Site, workers: list[SiteWorker], name: str
    ) -> None:
        """A hit rate that is low over enough reads is told, with the figure."""
        workers[0].fill(name, 1)
        workers[0].ask("read", name, 10, 190)
        report = operations.optimize(replace(site, process=workers[0].pid))
        assert any(name in one["issue"] for one in report.document["recommendations"])
        assert text(report)[1] == "CACHE OPTIMIZATION ANALYSIS"


class TestLocal:
    def test_this_process_answers_itself(self, name: str) -> None:
        """Without any socket, in the same shapes; and nothing is said of workers."""
        cache = cache_manager.get_cache(name, max_size=10)
        try:
            cache.set("a", 1)
            report: StatsReport = operations.stats(Site(is_local=True), Selection(caches=(name,)))
            assert report.caches[name]["size"] == 1
            assert report.reach.answered == (os.getpid(),)
            assert text(report) == [
                "Cache Statistics",
                "=" * 50,
                f"Cache: {name}",
                "  Size: 1/10",
                "  Utilization: 10.0%",
                "  TTL: 3600s",
                "",
            ]
            assert operations.clear(Site(is_local=True), Selection(caches=(name,))).as_json()["total"] == 1
            assert len(cache) == 0
        finally:
            cache_manager.remove(name)

    def test_its_python_answers_too(self, name: str) -> None:
        """What only Python can say needs no socket either."""
        cache = cache_manager.get_cache(name, max_size=10)
        try:
            cache.set("a", 1)
            report = operations.explain(Site(is_local=True), "a", Selection(caches=(name,)))
            assert [(entry["cache"], entry["state"]) for entry in report.found] == [(name, "fresh")]
        finally:
            cache_manager.remove(name)

    def test_there_are_no_models_without_django(self) -> None:
        """A site that shares nothing knows no models."""
        with pytest.raises(ValueError, match="'shop.Order' is no model"):
            operations.invalidate(Site(is_local=True), Selection(models=("shop.Order",)))

    def test_warming_is_not_configured(self) -> None:
        """It says so, instead of having warmed 0 entries."""
        with pytest.raises(NotConfiguredError, match="warming is not configured"):
            operations.warm(Site(is_local=True))
