"""The management commands of document 001 ("Management Commands API", akvo), their words and shapes to the byte.

Where the exit codes differ from the document's, DESIGN 9 decided: each such test says so.
"""

import gc
import io
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from django.core.management import CommandError, call_command, load_command_class

from oxicache import DELETION_SET, TTLCache, cache_manager


@pytest.fixture(autouse=True)
def _test_environment(django_databases: None) -> None:
    """Commands act on this process alone while Django's test environment is set up, as their callers' tests expect."""


@pytest.fixture
def users(wall: Any) -> Iterator[TTLCache[Any, Any]]:
    """A cache with four entries that live for a minute."""
    gc.collect()  # caches that other tests left behind go before caches are counted
    cache = cache_manager.get_cache("akvo.users", max_size=10, ttl=60)
    for number in range(4):
        cache.set(f"user:{number}", number)
    yield cache
    cache_manager.remove("akvo.users")


def run(name: str, *given: str, **options: Any) -> str:
    out = io.StringIO()
    call_command(name, *given, stdout=out, **options)
    return out.getvalue()


def manage(*given: str, **options: Any) -> str:
    return run("manage_cache", *given, **options)


def documented(figures: dict[str, Any]) -> dict[str, Any]:
    """The five figures that the document has of a cache."""
    names = ("size", "max_size", "expired_entries", "ttl_seconds", "utilization_percent")
    return {name: figures[name] for name in names}


def stats_text(stats: dict[str, Any], *, whole: bool = True) -> str:
    """What the command of the document prints of `get_global_stats()`."""
    lines = ["Cache Statistics", "=" * 50]
    if whole:
        sums = stats["_global"]
        lines += [
            f"Total Caches: {sums['total_caches']}",
            f"Total Entries: {sums['total_entries']}",
            f"Global Utilization: {sums['global_utilization_percent']:.1f}%",
            "",
        ]
    for name, figures in stats.items():
        if name != "_global":
            lines += [
                f"Cache: {name}",
                f"  Size: {figures['size']}/{figures['max_size']}",
                f"  Utilization: {figures['utilization_percent']:.1f}%",
                # The document's caches all had a TTL; others may live in this process while its tests run.
                "  TTL: for ever" if figures["ttl_seconds"] is None else f"  TTL: {figures['ttl_seconds']}s",
                "",
            ]
    return "\n".join(lines) + "\n"


class TestStats:
    def test_text(self, users: Any) -> None:
        """001, "stats: Display cache statistics": all caches, the sums first."""
        assert manage("stats") == stats_text(cache_manager.get_global_stats())

    def test_text_of_one_cache(self, users: Any) -> None:
        """001, "--cache-name NAME: Target specific cache": without the block of sums."""
        stats = {"akvo.users": users.stats()}
        assert manage("stats", "--cache-name", "akvo.users") == stats_text(stats, whole=False)
        assert manage("stats", cache_name="akvo.users") == stats_text(stats, whole=False)

    def test_json(self, users: Any) -> None:
        """001, "--json: Output in JSON format": `get_global_stats()`, indented by 2, `_global` last.

        What follows the documented figures under each name is oxicache's own.
        """
        said = manage("stats", "--json")
        shown, expected = json.loads(said), cache_manager.get_global_stats()
        assert list(shown) == list(expected)
        own = {name: documented(figures) for name, figures in shown.items() if name != "_global"}
        assert own == {name: documented(figures) for name, figures in expected.items() if name != "_global"}
        assert list(shown["_global"].items())[:4] == list(expected["_global"].items())
        assert said == json.dumps(shown, indent=2) + "\n"

    def test_json_of_one_cache(self, users: Any) -> None:
        """001, "--cache-name" with "--json": `{name: {...}}`, the documented figures first."""
        shown = json.loads(manage("stats", "--cache-name", "akvo.users", "--json"))
        assert list(shown) == ["akvo.users"]
        assert dict(list(shown["akvo.users"].items())[:5]) == documented(users.stats())

    def test_the_sums_have_a_name_of_their_own(self, users: Any) -> None:
        """Callers of 001: `_global` is accepted as a name; here it prints the sums instead of failing."""
        shown = json.loads(manage("stats", "--cache-name", "_global", "--json"))
        assert list(shown) == ["_global"]
        assert manage("stats", "--cache-name", "_global").startswith(
            f"Cache Statistics\n{'=' * 50}\nTotal Caches: "
        )

    @pytest.mark.parametrize("json_", [False, True], ids=["text", "json"])
    def test_an_unknown_cache(self, users: Any, json_: bool) -> None:
        """Callers of 001: "Cache 'X' not found" on stdout, plain even with --json. DESIGN 9: exit code 2, not 0."""
        out = io.StringIO()
        with pytest.raises(CommandError) as caught:
            call_command("manage_cache", "stats", cache_name="X", json=json_, stdout=out)
        assert out.getvalue() == "Cache 'X' not found\n"
        assert caught.value.returncode == 2

    def test_no_caches_divide_by_nothing(self) -> None:
        """Defect of akvo: `stats()` of a cache with max_size 0 raised ZeroDivisionError."""
        cache_manager.get_cache("akvo.nothing", max_size=0)
        try:
            assert "  Size: 0/0\n  Utilization: 0.0%\n" in manage("stats", "--cache-name", "akvo.nothing")
        finally:
            cache_manager.remove("akvo.nothing")

    def test_dry_run_is_ignored(self, users: Any) -> None:
        """Callers of 001: stats and monitor change nothing anyway."""
        assert manage("stats", "--dry-run") == manage("stats")
        assert manage("monitor", dry_run=True).startswith("Cache Health Monitor\n")


class TestCleanup:
    def test_all_caches(self, users: Any, wall: Any) -> None:
        """001, "cleanup: Clean expired entries": how many, across all caches."""
        cache_manager.cleanup_all()
        wall.advance(60)
        assert manage("cleanup") == "Cleaned 4 expired entries across all caches\n"
        assert manage("cleanup") == "Cleaned 0 expired entries across all caches\n"

    def test_one_cache(self, users: Any, wall: Any) -> None:
        """001, "cleanup [--cache-name NAME]": how many, and from which."""
        wall.advance(60)
        assert manage("cleanup", cache_name="akvo.users") == "Cleaned 4 expired entries from 'akvo.users'\n"

    def test_dry_run(self, users: Any, wall: Any) -> None:
        """001, "cleanup [--dry-run]": the document's line; DESIGN 9: then what would go. Nothing does."""
        wall.advance(60)
        lines = manage("cleanup", "--dry-run").splitlines()
        assert lines[0] == "DRY RUN: Would cleanup expired cache entries"
        assert lines[1:] == ["cache       entries", "akvo.users        4", "together          4"]
        assert users.stats()["expired_entries"] == 4


class TestClear:
    def test_all_caches(self, users: Any) -> None:
        """001, "clear: Clear cache entries"; no question off a terminal."""
        assert manage("clear") == "Cleared all caches\n"
        assert len(users) == 0

    def test_one_cache(self, users: Any) -> None:
        """001, "clear [--cache-name NAME]"."""
        assert manage("clear", "--cache-name", "akvo.users") == "Cleared cache 'akvo.users'\n"
        assert len(users) == 0

    def test_dry_run(self, users: Any) -> None:
        """001, "clear [--dry-run]": the document's line; DESIGN 9: then what would go. Nothing does."""
        lines = manage("clear", "--cache-name", "akvo.users", "--dry-run").splitlines()
        assert lines[0] == "DRY RUN: Would clear cache entries"
        assert lines[-1] == "together          4"
        assert len(users) == 4


class TestMonitor:
    def test_json(self, users: Any) -> None:
        """001, "monitor [--json]": time, figures, issues, recommendations; 003's metrics under a key of their own."""
        shown = json.loads(manage("monitor", "--json"))
        assert list(shown)[:4] == ["timestamp", "stats", "issues", "recommendations"]
        assert datetime.fromisoformat(shown["timestamp"]).tzinfo is not None
        assert shown["stats"]["_global"]["total_caches"] == len(cache_manager.names())
        assert (shown["issues"], shown["recommendations"]) == ([], [])
        assert "hit_rate" in shown["metrics"]

    def test_a_healthy_site(self, users: Any) -> None:
        """001, "monitor: Health monitoring": its first lines where nothing is wrong."""
        assert manage("monitor").startswith(
            f"Cache Health Monitor\n{'=' * 50}\nAll caches are healthy\n\n{'=' * 60}\nCACHE MONITORING DASHBOARD\n"
        )

    @pytest.mark.parametrize(
        ("size", "issue"),
        [
            (100, "HIGH: Cache 'akvo.full' utilization > 95%"),
            (95, "MEDIUM: Cache 'akvo.full' utilization > 80%"),
            (81, "MEDIUM: Cache 'akvo.full' utilization > 80%"),
            (80, None),
        ],
    )
    def test_a_cache_that_fills_up(self, size: int, issue: str | None) -> None:
        """Callers of 001: the thresholds are strict."""
        cache = cache_manager.get_cache("akvo.full", max_size=100)
        try:
            for number in range(size):
                cache.set(number, number)
            lines = manage("monitor", "--cache-name", "akvo.full").splitlines()
            found = [line for line in lines if line.startswith("  ") and "akvo.full" in line]
            assert found == ([] if issue is None else [f"  {issue}"])
            assert lines[2] == ("All caches are healthy" if size == 80 else "Issues Found:")
        finally:
            cache_manager.remove("akvo.full")

    def test_a_full_site(self) -> None:
        """Callers of 001: beyond 90 % of all caches there is a recommendation, after an empty line."""
        others = [(one, one.max_size) for one in cache_manager._caches.values()]
        for one, _ in others:
            one.max_size = 1  # what other tests have left may have room for millions
        sums = cache_manager.get_global_stats()["_global"]
        assert sums["total_max_entries"] < 10_000
        cache = cache_manager.get_cache("akvo.all", max_size=100 * max(1, sums["total_max_entries"]))
        try:
            for number in range(cache.max_size):
                cache.set(number, number)
            lines = manage("monitor").splitlines()
            assert lines[2:4] == ["Issues Found:", "  HIGH: Global cache utilization > 90%"]
            at = lines.index("Recommendations:")
            assert (lines[at - 1], lines[at + 1]) == ("", "  Consider increasing cache size limits")
        finally:
            cache_manager.remove("akvo.all")
            for one, max_size in others:
                one.max_size = max_size

    def test_many_expired_entries(self, users: Any, wall: Any) -> None:
        """Callers of 001: more than a tenth of the entries have expired."""
        wall.advance(60)
        said = manage("monitor", "--cache-name", "akvo.users")
        assert "Issues Found:\n  MEDIUM: Cache 'akvo.users' has many expired entries\n" in said


class TestCleanupDeletionTracker:
    @pytest.fixture(autouse=True)
    def _empty(self) -> Iterator[None]:
        DELETION_SET.clear_all()
        yield
        DELETION_SET.clear_all()

    def test_stats(self) -> None:
        """001, "--stats: Show current deletion tracker statistics"."""
        DELETION_SET.add(5)
        assert run("cleanup_deletion_tracker", "--stats") == (
            "Deletion tracker stats:\n"
            "  Active deletions: 1\n"
            "  Tracked timestamps: 1\n"
            "  Cleanup threshold: 3600s\n"
            f"  Last cleanup: {DELETION_SET._last_cleanup}\n"
        )

    def test_dry_run(self, wall: Any) -> None:
        """001, "--dry-run: Show what would be cleaned without changes"."""
        for pk in (1, 2):
            DELETION_SET.add(pk)
            DELETION_SET._timestamps[pk] = wall.now - 3601
        assert run("cleanup_deletion_tracker", "--dry-run") == (
            "Would clean up 2 stale deletion tracker entries:\n  Project IDs: 1, 2\n"
        )
        assert 1 in DELETION_SET

    def test_cleanup(self, wall: Any) -> None:
        """001, "Actually cleanup": how many went, and then that there is nothing left."""
        for pk in (1, 2):
            DELETION_SET.add(pk)
            DELETION_SET._timestamps[pk] = wall.now - 3601
        assert run("cleanup_deletion_tracker") == "Successfully cleaned up 2 stale deletion tracker entries\n"
        clean = "No stale entries found - deletion tracker is clean\n"
        assert run("cleanup_deletion_tracker") == clean
        assert run("cleanup_deletion_tracker", "--dry-run") == clean

    def test_stats_win(self, wall: Any) -> None:
        """Callers of 001: with both options nothing is removed, and the statistics are shown."""
        DELETION_SET.add(1)
        DELETION_SET._timestamps[1] = wall.now - 3601
        assert run("cleanup_deletion_tracker", "--stats", "--dry-run").startswith("Deletion tracker stats:\n")
        assert run("cleanup_deletion_tracker", stats=True).startswith("Deletion tracker stats:\n")
        assert 1 in DELETION_SET

    def test_help(self) -> None:
        """Callers of 001: its help contains 'Cleanup stale entries'."""
        assert (
            "Cleanup stale entries" in load_command_class("oxicache.django", "cleanup_deletion_tracker").help
        )
