"""What operators look up in processes that serve their sockets: keys, patterns, trackers of deletions."""

import pytest
from site_worker import SiteWorker, a_site

from oxicache import operations
from oxicache.reports import Report
from oxicache.selection import Selection
from oxicache.sites import Site


def text(report: Report) -> list[str]:
    return list(report.lines())


class TestFindings:
    def test_explain_finds_a_key_in_every_worker(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str
    ) -> None:
        """Each entry is told with its worker, and caches that lack it are named."""
        for worker in live_workers:
            worker.fill(cache_name, 2, tags=["user"])
        live_workers[0].fill(f"{cache_name}.other", 0)
        report = operations.explain(live_site, "key:1")
        found = [entry for entry in report.found if entry["cache"] == cache_name]
        assert {entry["pid"] for entry in found} == {worker.pid for worker in live_workers}
        assert {(entry["state"], tuple(entry["tags"])) for entry in found} == {("fresh", ("user",))}
        assert f"{cache_name}.other" in report.absent
        assert f"{cache_name}, worker {live_workers[0].pid}" in text(report)

    def test_explain_says_who_invalidated_a_stale_entry(self) -> None:
        """The worker that has the entry does not know who moved its word; the worker that did is asked."""
        with a_site() as site, site.serving(2) as (holder, culprit):
            holder.ask("call", "default", "set", ["user", "Ann"], {"tags": ["people"]})
            culprit.ask("call", "default", "delete_by_tag", ["people"], {})
            (entry,) = operations.explain(site.site, "user").found
            assert (entry["pid"], entry["state"]) == (holder.pid, "outdated")
            assert f"process {culprit.pid}" in entry["why"]

    def test_top_sums_key_patterns(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str
    ) -> None:
        """One pattern of one cache is one row, whichever workers read it."""
        for worker in live_workers:
            worker.fill(cache_name, 2)
            worker.ask("read", cache_name, 4, 0)
        report = operations.top(live_site, Selection(caches=(cache_name,)), by="hits", limit=5)
        (row,) = report.patterns
        assert (row["pattern"], row["cache"], row["hits"], row["sets"]) == ("key:*", cache_name, 8, 4)
        assert text(report)[0] == "Top Key Patterns by hits:"

    def test_top_shows_the_largest_entries(
        self, live_site: Site, live_workers: list[SiteWorker], cache_name: str
    ) -> None:
        """By bytes single entries are ranked too, over all workers."""
        for worker, size in zip(live_workers, (1, 10_000), strict=True):
            worker.ask("call", "default", "set", [f"{cache_name}.{size}", "x" * size], {})
        report = operations.top(live_site, Selection(caches=("django:default",)), by="bytes", limit=1)
        (entry,) = report.entries
        assert (entry["pid"], entry["weight"] > 10_000) == (live_workers[1].pid, True)
        assert f"{cache_name}.10000" in entry["key"]

    def test_top_by_what_is_no_measure(self, live_site: Site) -> None:
        """The error lists the measures."""
        with pytest.raises(ValueError, match="one of hits, misses, bytes, loads, age"):
            operations.top(live_site, by="colour")


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
