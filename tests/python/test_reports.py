"""Reports read as documented, whatever the names in them, and as JSON hold the same."""

import json
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from figures import cache_stats, pattern_stats
from scripted_workers import answer, says, scripted, short_folder

from oxicache import operations, reports
from oxicache.reports import Missing, Reach, Report
from oxicache.selection import Selection
from oxicache.sites import Site
from oxicache.tables import Style

HOSTILE = "\x1b[2Jkey\nCleared all caches\u202e"
ALL = Reach(answered=(1, 2), place="/run/oxicache-0-shop")
NOBODY = Reach(place="/run/oxicache-0-shop")
SILENT = Reach(place="/run/oxicache-0-shop", missing=(Missing(7, "did not answer within 1 s"),))
EVENT = {
    "at": 1_700_000_000.0,
    "pid": 7,
    "kind": "save",
    "names": [HOSTILE],
    "where": f"{HOSTILE}:12",
    "actor": HOSTILE,
    "detail": None,
}
ENTRY = {
    "pid": 1,
    "cache": HOSTILE,
    "alias": None,
    "key": HOSTILE,
    "state": "outdated",
    "why": f"moved by {HOSTILE}",
    "age_seconds": 12.5,
    "seconds_left": None,
    "size_bytes": 90,
    "weight": 90,
    "tags": [HOSTILE],
    "frequency": 1,
    "pattern": HOSTILE,
    "pattern_hits": 3,
    "type": "str",
    "sensitive": False,
    "words": [{"word": 5, "held": 1, "now": 2, "name": HOSTILE}],
}


def stats(reach: Reach = ALL, name: str = HOSTILE) -> reports.StatsReport:
    figures = cache_stats(9, 10, hits=3, misses=1, ttl_seconds=None)
    return reports.StatsReport(
        reach=reach,
        caches={name: figures},
        totals={
            "total_caches": 1,
            "total_entries": 9,
            "total_max_entries": 10,
            "global_utilization_percent": 90.0,
        },
        processes={1: {name: figures}},
        disabled=(2,),
        is_exact=False,
    )


def monitor(reach: Reach = ALL) -> reports.MonitorReport:
    return reports.MonitorReport(
        reach=reach,
        timestamp="2026-11-21T10:00:00+00:00",
        stats=stats(reach),
        status="critical",
        issues=[f"HIGH: Cache '{HOSTILE}' utilization > 95%"],
        recommendations=["Consider increasing cache size limits"],
        metrics={"hit_rate": 0.75, "avg_response_time_ms": 0.5},
        patterns=[{**pattern_stats(HOSTILE, hits=3, misses=1), "cache": HOSTILE}],
        limit=10,
    )


def status(reach: Reach = ALL) -> reports.StatusReport:
    return reports.StatusReport(
        reach=reach,
        status="critical",
        document={
            "health": {HOSTILE: {"healthy": False, "error": HOSTILE}},
            "performance": {"hit_rate": None, "avg_response_time_ms": None},
        },
        reasons=[{"status": "critical", "message": HOSTILE}],
        targets=[
            {"name": HOSTILE, "unit": "percent", "target": 80, "measured": 75.0, "met": False},
            {"name": "p95", "unit": "milliseconds", "target": 500, "measured": 12.5, "met": True},
            {"name": "warming", "unit": "percent", "target": 95, "measured": None, "met": None},
        ],
        hosts={
            1: {"python": {"answers": False, "silent_for_ms": 5000}, "uptime_seconds": 3, "rss_bytes": 2**20}
        },
    )


def optimize(reach: Reach = ALL) -> reports.OptimizeReport:
    one = {"issue": HOSTILE, "error": HOSTILE, "recommendation": HOSTILE, "priority": "critical"}
    return reports.OptimizeReport(
        reach=reach,
        document={
            "timestamp": "2026-11-21T10:00:00+00:00",
            "current_performance": {"hit_rate": 0.5, "avg_response_time": 1.5},
            "recommendations": [one],
            "suggested_config": {"default_timeout": 5400},
        },
    )


def removed(reach: Reach = ALL) -> reports.Removed:
    return reports.Removed(
        reach=reach,
        verb="cleanup",
        counts={HOSTILE: -1, "users": 3, "late": None},
        processes={1: {HOSTILE: -1, "users": 3, "late": None}},
        pending=(2,),
        cache=HOSTILE,
        outdated=(HOSTILE,),
    )


def preview(reach: Reach = ALL) -> reports.Preview:
    return reports.Preview(
        reach=reach, verb="clear", counts={HOSTILE: 3}, processes={1: {HOSTILE: 3}}, is_exact=False
    )


def selected(reach: Reach) -> dict[str, Any]:
    return {
        "reach": reach,
        "by_strategy": {"tags": 2, "keys": None},
        "counts": {HOSTILE: 2},
        "processes": {1: {HOSTILE: 2}},
        "models": {"shop.Order": ("shop.Line",)},
        "rows": (f"shop.Order:{HOSTILE}",),
        "aliases": {HOSTILE: {"tags": None}} if reach.answered else {},
        "failures": {HOSTILE: HOSTILE},
        "pending": (2,),
        "is_wider": True,
    }


def invalidated(reach: Reach = ALL) -> reports.Invalidated:
    return reports.Invalidated(**selected(reach), outdated=(HOSTILE,))


def invalidation_preview(reach: Reach = ALL) -> reports.InvalidationPreview:
    return reports.InvalidationPreview(**selected(reach))


def patterns(reach: Reach = ALL) -> reports.PatternsListed:
    used = [{**pattern_stats(HOSTILE, hits=3), "cache": HOSTILE}]
    return reports.PatternsListed(reach=reach, registered={HOSTILE: ("shop.Order",)}, used=used)


def explained(reach: Reach = ALL) -> reports.ExplainReport:
    return reports.ExplainReport(reach=reach, key=HOSTILE, found=[ENTRY], absent={HOSTILE: 2}, trail=[EVENT])


def top(reach: Reach = ALL) -> reports.TopReport:
    entry = {"pid": 1, "cache": HOSTILE, "key": HOSTILE, "weight": 90, "type": "str", "seconds_left": 3.5}
    patterns = [{**pattern_stats(HOSTILE, hits=3, loads=2, load_seconds=0.5), "cache": HOSTILE}]
    return reports.TopReport(reach=reach, by="hits", patterns=patterns, entries=[entry])


def tracker(reach: Reach = ALL) -> reports.TrackerReport:
    found = {
        "active": 1,
        "timestamps": 1,
        "threshold": 3600,
        "last_cleanup": 5.5,
        "stale": [HOSTILE],
        "removed": 0,
    }
    return reports.TrackerReport(reach=reach, action="dry", processes={1: found})


def reset(reach: Reach = ALL) -> reports.CountersReset:
    return reports.CountersReset(reach=reach, caches=(HOSTILE, "users"))


def switched(reach: Reach = ALL) -> reports.Switched:
    return reports.Switched(reach=reach, enabled=False, cleared=5, is_lasting=True)


MAKERS = [
    stats, monitor, status, optimize, removed, preview, invalidated, invalidation_preview, explained, top, patterns,
    tracker, reset, switched,
]  # fmt: skip
EVERY = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)


class TestEveryReport:
    @EVERY
    def test_no_name_moves_the_cursor(self, make: Callable[[], Report]) -> None:
        """Names come from keys and caches; no escape sequence and no line end of theirs reaches a terminal."""
        lines = list(make().lines())
        assert all(line.isprintable() for line in lines), [line for line in lines if not line.isprintable()]
        assert "Cleared all caches" not in lines

    @EVERY
    def test_colour_is_all_that_a_terminal_adds(self, make: Callable[[], Report]) -> None:
        """The words are the same with and without."""
        coloured = list(make().lines(Style(colour=True)))
        bare = [line.replace("\x1b[0m", "") for line in coloured]
        for code in ("1", "2", "31", "32", "33"):
            bare = [line.replace(f"\x1b[{code}m", "") for line in bare]
        assert [line.rstrip() for line in bare] == [line.rstrip() for line in make().lines()]

    @EVERY
    def test_it_is_json(self, make: Callable[[], Report]) -> None:
        """Plain values, keys that are text, and no NaN."""
        shown = make().as_json()
        assert json.loads(json.dumps(shown, allow_nan=False)) == shown

    @EVERY
    def test_who_answered_is_told(self, make: Callable[..., Report]) -> None:
        """Every report ends with it, in JSON too."""
        report = make()
        assert list(report.lines())[-1] == "2 of 2 workers answered in /run/oxicache-0-shop."
        shown = report.as_json()
        told = shown.get("_global", shown)
        assert (told["workers"], told["answered"], told["folder"]) == (2, 2, "/run/oxicache-0-shop")

    @EVERY
    @pytest.mark.parametrize("reach", [NOBODY, SILENT], ids=["nobody", "silent"])
    def test_without_an_answer_nothing_is_claimed(self, make: Callable[..., Report], reach: Reach) -> None:
        """Neither figures nor deeds: only what was done or found without the workers, and that nobody answered."""
        lines = list(make(reach).lines())
        claims = (
            "Cache Stat",
            "Cleaned",
            "DRY RUN",
            "Invalidated",
            "Key:",
            "Top ",
            "Would",
            "Reset",
            "Disabled",
        )
        assert not [
            line for line in lines if line.startswith((*claims, "Performance", "Hit Rate", "Current"))
        ]
        assert any("/run/oxicache-0-shop" in line for line in lines)


class TestWords:
    def test_a_time_to_live_without_end(self) -> None:
        """What never expires has no seconds."""
        assert "  TTL: for ever" in list(stats(name="users").lines())

    def test_what_is_unusual_is_said(self) -> None:
        """Workers whose caches are off, and figures that are not the latest."""
        text = "\n".join(stats(name="users").lines())
        assert "Caches are disabled in 2" in text
        assert "A worker is busy" in text

    def test_a_cleanup_that_failed_is_not_hidden(self) -> None:
        """The sum counts what went; the cache that failed is named, and so is who has yet to do it."""
        lines = list(removed().lines())
        assert lines[0].startswith("Cleaned 3 expired entries from '")
        assert lines[1].endswith(": failed")
        assert lines[2].startswith("Ordered, and not yet counted, in 2")

    def test_a_sensitive_value_is_not_described(self) -> None:
        """Of what is sensitive not even the type is told."""
        entry = {**ENTRY, "sensitive": True, "key": None, "type": None, "tags": []}
        report = reports.ExplainReport(reach=ALL, key="k", found=[entry], absent={}, trail=[])
        assert "  value:     sensitive" in list(report.lines())

    def test_a_local_report_says_nothing_of_workers(self) -> None:
        """A process that asked itself has reached all there is."""
        local = Reach(answered=(1,))
        assert list(removed(local).lines())[-1].startswith("Ordered")

    @pytest.mark.parametrize(
        "report",
        [
            reports.Scheduled(reach=ALL, what=HOSTILE, delay=5, job=HOSTILE, pid=1, due=1.0),
            reports.CancelledJob(reach=ALL, job=HOSTILE, pid=1),
            reports.ModelsListed(
                reach=Reach(), models={"shop.Order": (HOSTILE,)}, rules={"shop.Line": (HOSTILE,)}
            ),
        ],
        ids=lambda report: type(report).__name__,
    )
    def test_what_nobody_else_was_asked_about(self, report: Report) -> None:
        """No name moves the cursor, and JSON is plain; how many answered says nothing there."""
        assert all(line.isprintable() for line in report.lines())
        shown = report.as_json()
        assert json.loads(json.dumps(shown, allow_nan=False)) == shown


class TestAnswersOfAllKinds:
    """What workers answer that are busy, of another version, or wrong: told, and never taken for figures."""

    FIGURES: ClassVar[dict[str, Any]] = {
        "caches": {"users": cache_stats(4, 10)},
        "exact": True,
        "enabled": True,
    }

    def ask(self, *lines: bytes) -> tuple[Report, str]:
        with short_folder() as folder, scripted(folder, *(says(line) for line in lines)):
            report = operations.stats(Site(folders=(folder,)))
            return report, "\n".join(report.lines())

    @pytest.mark.parametrize(
        ("line", "why"),
        [
            (
                b'{"v":1,"ok":false,"pid":2,"error":"busy","message":"Python does not answer"}\n',
                "Python does not answer",
            ),
            (b'{"v":1,"ok":false,"pid":2,"error":"too_many","message":""}\n', "too_many"),
            (b'{"v":9,"ok":true}\n', "speaks version 9"),
            (b"garbage\n", "no JSON"),
        ],
        ids=["busy", "too many", "other version", "garbled"],
    )
    def test_what_is_no_answer_is_told(self, line: bytes, why: str) -> None:
        """The figures are those of the others, and the report is partial."""
        report, text = self.ask(answer(self.FIGURES, pid=1), line)
        assert report.reach.is_partial
        assert "Total Entries: 4" in text
        assert why in text

    def test_an_order_that_waits_is_not_counted(self) -> None:
        """A worker that is busy has the order and counts later; the sum says what is known."""
        waiting = answer({"cleaned": {"users": None}, "done": False}, pid=2)
        done = answer({"cleaned": {"users": 3}, "done": True}, pid=1)
        with short_folder() as folder, scripted(folder, says(done), says(waiting)):
            report = operations.cleanup(Site(folders=(folder,)))
        shown = report.as_json()
        assert (shown["cleaned"], shown["pending"], shown["total"]) == ({"users": 3}, [2], 3)

    def test_loads_are_ranked_by_the_time_they_took(self) -> None:
        """A few slow loads come before many quick ones, whichever worker loads."""
        slow = {**pattern_stats("slow", loads=2, load_seconds=3.0), "cache": "users"}
        quick = {**pattern_stats("quick", loads=900, load_seconds=0.5), "cache": "users"}
        lines = [answer({"patterns": [one], "entries": []}, pid=pid) for pid, one in ((1, quick), (2, slow))]
        with short_folder() as folder, scripted(folder, *map(says, lines)):
            report = operations.top(Site(folders=(folder,)), by="loads")
        assert [one["pattern"] for one in report.patterns] == ["slow", "quick"]

    def test_one_failure_outweighs_what_others_cleaned(self) -> None:
        """-1 of a cleanup that failed is kept for the cache; what went elsewhere counts."""
        lines = [
            answer({"cleaned": {"users": number}, "done": True}, pid=pid) for pid, number in ((1, 3), (2, -1))
        ]
        with short_folder() as folder, scripted(folder, *map(says, lines)):
            report = operations.cleanup(Site(folders=(folder,)))
        assert report.as_json()["cleaned"] == {"users": -1}
        assert list(report.lines())[:2] == ["Cleaned 3 expired entries across all caches", "  users: failed"]

    def test_a_cache_that_one_worker_lacks_is_no_failure(self) -> None:
        """Who has it answers for it."""
        unknown = b'{"v":1,"ok":false,"pid":2,"error":"unknown_cache","message":"there are: books"}\n'
        done = answer({"cleared": {"users": 3}, "done": True}, pid=1)
        with short_folder() as folder, scripted(folder, says(done), says(unknown)):
            report = operations.clear(Site(folders=(folder,)), Selection(caches=("users",)))
        assert (report.as_json()["cleared"], report.reach.is_partial) == ({"users": 3}, False)


class TestSelection:
    @pytest.mark.parametrize(
        ("given", "why"),
        [
            ({"tags": "user"}, "must be a sequence of str, not 'user'"),
            ({"tags": (1,)}, "must hold str, not 1"),
            ({"keys": ("",)}, "no empty name"),
            ({"models": ("User",)}, "write it as"),
            ({"regex": ""}, "would match every key"),
            ({"regex": b"x"}, "must be a str"),
            ({"caches": tuple(map(str, range(1001)))}, "at most 1000"),
        ],
        ids=["text", "number", "empty", "bare model", "empty pattern", "bytes", "too many"],
    )
    def test_what_names_nothing_is_refused(self, given: dict[str, Any], why: str) -> None:
        """The message names the value and the remedy."""
        with pytest.raises((TypeError, ValueError), match=why):
            Selection(**given)

    def test_names_are_kept_once(self) -> None:
        """Whoever repeats a tag asks once."""
        assert Selection(tags=("b", "a", "b")).tags == ("b", "a")

    def test_it_says_what_is_selected(self) -> None:
        """For messages."""
        assert str(Selection()) == "everything"
        assert str(Selection(caches=("users",), tags=("a", "b"))) == "cache 'users', tag 'a', 'b'"
