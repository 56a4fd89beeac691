"""Figures and judgements of processes that serve their sockets: summed, and never zeros where nobody answers."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from site_worker import SiteWorker, a_site

from oxicache import cache_manager, operations
from oxicache.errors import NotConfiguredError, UnknownCacheError
from oxicache.reports import Report, StatsReport
from oxicache.selection import Selection
from oxicache.sites import Site


def text(report: Report) -> list[str]:
    return list(report.lines())


class TestStats:
    def test_figures_are_summed(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str
    ) -> None:
        """Two workers with the same cache are one cache: what they hold is added, shares are computed anew."""
        for worker, size in zip(live_workers, (9, 3), strict=True):
            worker.fill(cache_name, size, max_size=10)
        live_workers[0].ask("read", cache_name, 3, 1)
        stats = operations.stats(live_site).caches[cache_name]
        assert (stats["size"], stats["max_size"], stats["utilization_percent"]) == (12, 20, 60.0)
        assert (stats["hits"], stats["misses"], stats["hit_rate"]) == (3, 1, 0.75)

    def test_a_cache_counts_once_however_many_have_it(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str
    ) -> None:
        """`total_caches` is how many names there are."""
        for worker in live_workers:
            worker.fill(cache_name, 1)
        report = operations.stats(live_site)
        assert report.totals["total_caches"] == len(report.caches)
        assert cache_name in report.caches

    def test_each_process_is_shown_alone_in_json(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str
    ) -> None:
        """`_global.processes` has what each worker holds, by pid; `_global` is last, the documented names first."""
        for worker, size in zip(live_workers, (1, 2), strict=True):
            worker.fill(cache_name, size)
        shown = operations.stats(live_site).as_json()
        whole = shown["_global"]
        assert list(shown)[-1] == "_global"
        assert list(whole)[:4] == [
            "total_caches",
            "total_entries",
            "total_max_entries",
            "global_utilization_percent",
        ]
        assert {pid: found[cache_name]["size"] for pid, found in whole["processes"].items()} == {
            str(worker.pid): size for worker, size in zip(live_workers, (1, 2), strict=True)
        }
        assert (whole["workers"], whole["answered"]) == (2, 2)

    def test_one_cache_is_shown_alone(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str
    ) -> None:
        """With a cache that only one worker has there is no block of sums, and nothing is missing."""
        live_workers[1].fill(cache_name, 4)
        report = operations.stats(live_site, Selection(caches=(cache_name,)))
        assert list(report.as_json()) == [cache_name]
        assert "Total Caches" not in "\n".join(text(report))
        assert not report.reach.is_partial

    def test_an_unknown_cache_is_an_error_that_lists_what_exists(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str
    ) -> None:
        """Nobody has it: the error knows who exists."""
        live_workers[0].fill(cache_name, 1)
        with pytest.raises(UnknownCacheError, match="Cache 'nobodys' not found; these exist:") as caught:
            operations.stats(live_site, Selection(caches=("nobodys",)))
        assert cache_name in caught.value.existing

    @pytest.mark.parametrize("verb", ["cleanup", "clear", "reset", "explain", "top", "monitor"])
    def test_every_verb_refuses_an_unknown_cache(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str, verb: str
    ) -> None:
        """Whatever is done, it is not done to a cache that nobody has."""
        live_workers[0].fill(cache_name, 1)
        key = ("key",) if verb == "explain" else ()
        with pytest.raises(UnknownCacheError, match="nobodys"):
            getattr(operations, verb)(live_site, *key, Selection(caches=("nobodys",)))

    def test_the_last_line_says_who_answered(self, live_site: Site) -> None:
        """The folder is there so that somebody in another container sees that it is not his."""
        assert text(operations.stats(live_site))[-1] == f"2 of 2 workers answered in {live_site.folders[0]}."

    def test_a_table_shows_what_came_since(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str
    ) -> None:
        """Looked at again, the table has a column of the reads since the last look."""
        live_workers[0].fill(cache_name, 1)
        selection = Selection(caches=(cache_name,))
        before = operations.stats(live_site, selection)
        live_workers[0].ask("read", cache_name, 5, 2)
        lines = list(operations.stats(live_site, selection).table(earlier=before))
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


class TestJudgements:
    def test_monitor_checks_the_sums(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str
    ) -> None:
        """A cache that is full in one worker and empty in another is half full, which is no issue."""
        live_workers[0].fill(cache_name, 10, max_size=10)
        full = operations.monitor(
            replace(live_site, process=live_workers[0].pid), Selection(caches=(cache_name,))
        )
        assert f"HIGH: Cache '{cache_name}' utilization > 95%" in full.issues
        assert full.status == "critical"
        live_workers[1].fill(cache_name, 0, max_size=10)
        live_workers[0].fill(f"{cache_name}.other", 1)
        both = operations.monitor(live_site, Selection(caches=(cache_name,)))
        assert {row["cache"] for row in both.patterns} == {cache_name}
        assert (both.issues, both.status) == ((), "healthy")

    def test_status_tells_of_the_workers(self, live_site: Site, live_workers: list[SiteWorker]) -> None:
        """Who answers is shown with how long it is up and whether its Python answers."""
        report = operations.status(live_site, document={"health": {"default": {"healthy": True}}})
        assert set(report.as_json()["processes"]) == {str(worker.pid) for worker in live_workers}
        assert "  \u2713 default: Healthy" in text(report)

    def test_an_alias_that_fails_is_critical(self, live_site: Site) -> None:
        """Whatever the workers say, a backend that does not work is as bad as it gets."""
        document = {"health": {"redis": {"healthy": False, "error": "ConnectionError: refused"}}}
        report = operations.status(live_site, document=document)
        assert report.status == "critical"
        assert "  \u2717 redis: ConnectionError: refused" in text(report)

    def test_optimize_advises_by_measured_figures(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str
    ) -> None:
        """A hit rate that is low over enough reads is told, with the figure."""
        live_workers[0].fill(cache_name, 1)
        live_workers[0].ask("read", cache_name, 10, 190)
        report = operations.optimize(replace(live_site, process=live_workers[0].pid))
        assert any(cache_name in one["issue"] for one in report.document["recommendations"])
        assert text(report)[1] == "CACHE OPTIMIZATION ANALYSIS"


class TestLocal:
    def test_this_process_answers_itself(self, cache_name: str) -> None:
        """Without any socket, in the same shapes; and nothing is said of workers."""
        cache = cache_manager.get_cache(cache_name, max_size=10)
        try:
            cache.set("a", 1)
            report: StatsReport = operations.stats(Site(is_local=True), Selection(caches=(cache_name,)))
            assert report.caches[cache_name]["size"] == 1
            assert report.reach.answered == (os.getpid(),)
            assert text(report) == [
                "Cache Statistics",
                "=" * 50,
                f"Cache: {cache_name}",
                "  Size: 1/10",
                "  Utilization: 10.0%",
                "  TTL: 3600s",
                "",
            ]
            assert (
                operations.clear(Site(is_local=True), Selection(caches=(cache_name,))).as_json()["total"] == 1
            )
            assert len(cache) == 0
        finally:
            cache_manager.remove(cache_name)

    def test_its_python_answers_too(self, cache_name: str) -> None:
        """What only Python can say needs no socket either."""
        cache = cache_manager.get_cache(cache_name, max_size=10)
        try:
            cache.set("a", 1)
            report = operations.explain(Site(is_local=True), "a", Selection(caches=(cache_name,)))
            assert [(entry["cache"], entry["state"]) for entry in report.found] == [(cache_name, "fresh")]
        finally:
            cache_manager.remove(cache_name)

    def test_there_are_no_models_without_django(self) -> None:
        """A site that shares nothing knows no models."""
        with pytest.raises(ValueError, match=r"'shop\.Order' is no model"):
            operations.invalidate(Site(is_local=True), Selection(models=("shop.Order",)))

    def test_warming_is_not_configured(self) -> None:
        """It says so, instead of having warmed 0 entries."""
        with pytest.raises(NotConfiguredError, match="warming is not configured"):
            operations.warm(Site(is_local=True))
