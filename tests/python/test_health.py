"""Healthy, warning, critical: the words of documents 000 and 001 to the letter, and what health says besides."""

from pathlib import Path
from typing import Any

import pytest
from figures import cache_stats, histogram, one_process, pattern_stats, worker

from oxicache import health, metrics
from oxicache.thresholds import Thresholds, in_force, put_in_force, thresholds_table


class TestMonitor:
    """001, `manage_cache monitor`, as SETTLED has its strings and thresholds."""

    @pytest.mark.parametrize(
        ("size", "issues"),
        [
            (750, ()),
            (751, ("MEDIUM: Global cache utilization > 75%",)),
            (800, ("MEDIUM: Global cache utilization > 75%",)),
            (801, ("MEDIUM: Global cache utilization > 75%", "MEDIUM: Cache 'c' utilization > 80%")),
            (900, ("MEDIUM: Global cache utilization > 75%", "MEDIUM: Cache 'c' utilization > 80%")),
            (901, ("HIGH: Global cache utilization > 90%", "MEDIUM: Cache 'c' utilization > 80%")),
            (950, ("HIGH: Global cache utilization > 90%", "MEDIUM: Cache 'c' utilization > 80%")),
            (951, ("HIGH: Global cache utilization > 90%", "HIGH: Cache 'c' utilization > 95%")),
        ],
    )
    def test_utilization(self, size: int, issues: tuple[str, ...]) -> None:
        """Limits are passed by more, not by as much; each cache is named."""
        found = health.monitor({"c": cache_stats(size, 1000)})
        assert found.issues == issues
        high = issues[:1] == ("HIGH: Global cache utilization > 90%",)
        assert found.recommendations == (("Consider increasing cache size limits",) if high else ())

    @pytest.mark.parametrize(("expired", "many"), [(10, False), (11, True)])
    def test_expired_entries(self, expired: int, many: bool) -> None:
        """More than a tenth of what a cache holds is many."""
        found = health.monitor({"c": cache_stats(100, 1000, expired_entries=expired)})
        assert found.issues == (("MEDIUM: Cache 'c' has many expired entries",) if many else ())

    def test_the_issues_of_a_cache_stand_together(self) -> None:
        """The global one comes first, then each cache's in the order of the caches."""
        found = health.monitor(
            {
                "b": cache_stats(99, 100, expired_entries=20),
                "a": cache_stats(85, 100),
            }
        )
        assert found.issues == (
            "HIGH: Global cache utilization > 90%",
            "HIGH: Cache 'b' utilization > 95%",
            "MEDIUM: Cache 'b' has many expired entries",
            "MEDIUM: Cache 'a' utilization > 80%",
        )

    def test_what_get_global_stats_returns_is_taken_too(self) -> None:
        """`_global` is no cache."""
        stats = {"c": cache_stats(1)}
        assert health.monitor({**stats, "_global": metrics.global_stats(stats)}) == health.monitor(stats)
        assert health.monitor({}) == health.Monitored((), ())

    def test_one_cache_alone(self) -> None:
        """Asked about one cache it judges that one, and says nothing of all together."""
        caches = {"full": cache_stats(99), "empty": cache_stats(0, 1)}
        assert health.monitor(caches, only="empty") == health.Monitored((), ())
        assert health.monitor(caches, only="full").issues == ("HIGH: Cache 'full' utilization > 95%",)
        assert health.assess(one_process(**caches), only="empty").status == "healthy"

    def test_the_limits_are_settings(self) -> None:
        """Another limit is passed at another figure, and stands in the text."""
        limits = Thresholds(
            global_utilization_high=99.5, global_utilization_medium=60, cache_utilization_medium=50
        )
        assert health.monitor({"c": cache_stats(70, 100)}, limits).issues == (
            "MEDIUM: Global cache utilization > 60%",
            "MEDIUM: Cache 'c' utilization > 50%",
        )
        assert health.monitor({"c": cache_stats(100, 100)}, limits).issues[0] == (
            "HIGH: Global cache utilization > 99.5%"
        )


class TestMemoryWarnings:
    """000, "Health Check Endpoints"."""

    @pytest.mark.parametrize(
        ("figures", "warnings"),
        [
            ((80, 100, 50), []),
            ((80.1, 100, 50), ["High cache utilization"]),
            ((80, 101, 50), ["Large deletion tracker"]),
            ((80, 100, 51), ["High number of expired cache entries"]),
            (
                (81, 101, 51),
                ["High cache utilization", "Large deletion tracker", "High number of expired cache entries"],
            ),
        ],
    )
    def test_its_limits(self, figures: tuple[float, int, int], warnings: list[str]) -> None:
        """More than 80 percent, 100 ids, 50 entries."""
        assert health.memory_warnings(*figures) == warnings

    def test_they_are_settings(self) -> None:
        """Each can be moved."""
        limits = Thresholds(memory_check_utilization=10, deletion_tracker_size=0, expired_entries=1000)
        assert health.memory_warnings(11, 1, 999, limits) == [
            "High cache utilization",
            "Large deletion tracker",
        ]


class TestAssess:
    def test_nothing_wrong(self) -> None:
        """A site whose workers answer and whose caches have room is healthy, and gives no reason."""
        found = health.assess(one_process(c=cache_stats(5)))
        assert (found.status, found.reasons) == ("healthy", ())

    def test_the_worst_reason_is_the_status(self) -> None:
        """MEDIUM is a warning, HIGH is critical, and one critical reason is enough."""
        assert health.assess(one_process(c=cache_stats(76))).status == "warning"
        found = health.assess(one_process(c=cache_stats(96), d=cache_stats(0, 1000)))
        assert found.status == "critical"
        assert [(one.status, one.message) for one in found.reasons] == [
            ("critical", "Cache 'c' utilization > 95%")
        ]

    @pytest.mark.parametrize(
        ("workers", "status", "reason"),
        [
            ([worker(1, {})], "warning", "1 of 3 workers answered; silent: 8, 9"),
            ([], "critical", "0 of 2 workers answered; silent: 8, 9"),
        ],
    )
    def test_silent_workers(self, workers: list[Any], status: str, reason: str) -> None:
        """Some that do not answer are a warning that names them; none that does is critical."""
        found = health.assess(metrics.merge(workers, silent=[8, 9]))
        assert (found.status, [one.message for one in found.reasons]) == (status, [reason])

    def test_disabled_workers(self) -> None:
        """Whose caches are switched off is a warning, and named."""
        found = health.assess(metrics.merge([worker(4, {}, enabled=False), worker(5, {})]))
        assert [one.message for one in found.reasons] == ["Caching is disabled in 4"]
        assert found.status == "warning"

    @pytest.mark.parametrize(
        ("python", "reasons"),
        [
            ({"answers": True, "after_ms": 1.0}, []),
            ({"answers": False, "silent_for_ms": 5000.0}, []),
            (
                {"answers": False, "silent_for_ms": 5001.0},
                ["Python of worker 4 has not answered for 5001 ms"],
            ),
        ],
    )
    def test_a_worker_whose_python_hangs(self, python: dict[str, Any], reasons: list[str]) -> None:
        """A long call that holds the GIL is no illness; one that holds it for longer than the limit is named."""
        found = health.assess(metrics.merge([worker(4, {}, health={"python": python})]))
        assert [one.message for one in found.reasons] == reasons

    @pytest.mark.parametrize(
        ("percent", "status"), [(None, "healthy"), (85, "healthy"), (85.1, "warning"), (90.1, "critical")]
    )
    def test_memory(self, percent: float | None, status: str) -> None:
        """Memory in use is judged where it was looked up, by the limits of document 000."""
        assert health.assess(metrics.merge([]), memory_percent=percent).status == status

    def test_as_json(self) -> None:
        """Status, reasons and targets, as the detailed view shows them."""
        shown = health.assess(one_process(c=cache_stats(79))).as_json()
        assert shown["status"] == "warning"
        assert shown["reasons"] == [{"status": "warning", "message": "Global cache utilization > 75%"}]
        assert {"name", "unit", "target", "measured", "met"} == set(shown["targets"][0])


class TestTargets:
    def test_measured_figures_stand_beside_them(self) -> None:
        """The defaults are the documents' figures; each is met or missed by what was measured."""
        latency = {"get": histogram([10], seconds=0.002), "load": histogram([0, 0, 0, 10], seconds=5.0)}
        snapshot = one_process(
            {
                "c": [
                    pattern_stats("form:*", hits=85, misses=15),
                    pattern_stats("formula:*", hits=1, misses=99),
                ]
            },
            c=cache_stats(40, expired_entries=10, hits=78, misses=22, latency=latency),
        )
        found = {one.name: (one.target, one.measured, one.met) for one in health.targets(snapshot)}
        assert found == {
            "Hit rate of 'c'": (80, 78.0, False),
            "Hit rate of form choices": (90, 85.0, False),
            "Hit rate of all caches": (75, 78.0, True),
            "Mean time of a get": (10, pytest.approx(0.2), True),
            "95th percentile of loads": (500, pytest.approx(955), False),
            "Memory efficiency": (70, 75.0, True),
            "Warming success": (95, None, None),
        }

    def test_too_few_reads_are_not_judged(self) -> None:
        """Below MIN_READS a hit rate is unknown, as are times that nobody took."""
        found = {one.name: one.met for one in health.targets(one_process(c=cache_stats(hits=1, misses=98)))}
        assert set(found.values()) == {None}

    def test_a_missed_target_is_no_illness(self) -> None:
        """A low hit rate is advised upon, and leaves the status alone."""
        assert health.assess(one_process(c=cache_stats(hits=1, misses=999))).status == "healthy"


class TestThresholds:
    def test_the_table_of_the_documentation(self) -> None:
        """docs/monitoring.md lists every threshold with its default."""
        page = (Path(__file__).resolve().parents[2] / "docs" / "monitoring.md").read_text()
        table = page.partition("thresholds.thresholds_table -->\n")[2].partition("<!-- thresholds: end")[0]
        assert table.strip() == thresholds_table().strip()

    def test_they_are_given_in_capitals(self) -> None:
        """As settings have them; what is not given keeps its default."""
        limits = Thresholds.of({"CACHE_UTILIZATION_HIGH": 99, "MIN_READS": 1})
        assert (limits.cache_utilization_high, limits.min_reads) == (99, 1)
        assert limits.cache_utilization_medium == 80

    def test_those_in_force_count_where_none_are_given(self) -> None:
        """What the settings say reaches every function that is called without limits of its own."""
        before = in_force()
        put_in_force(Thresholds(cache_utilization_medium=1))
        try:
            assert health.monitor({"c": cache_stats(2)}).issues == ("MEDIUM: Cache 'c' utilization > 1%",)
        finally:
            put_in_force(before)
        assert health.monitor({"c": cache_stats(2)}).issues == ()

    @pytest.mark.parametrize(
        ("given", "error", "message"),
        [
            ({"HIGH": 1}, ValueError, "there is no threshold HIGH; there are GLOBAL_UTILIZATION_HIGH, "),
            ({"MIN_READS": "1"}, TypeError, "the threshold MIN_READS must be a number, not '1'"),
            ({"MIN_READS": True}, TypeError, "the threshold MIN_READS must be a number, not True"),
            ({"MIN_READS": -1}, ValueError, "the threshold MIN_READS must be at least 0, not -1"),
            ({"MIN_READS": float("nan")}, ValueError, "the threshold MIN_READS must be at least 0, not nan"),
        ],
    )
    def test_wrong_ones_are_named(self, given: dict[str, Any], error: type[Exception], message: str) -> None:
        """The message has the name, the value and what it must be."""
        with pytest.raises(error) as raised:
            Thresholds.of(given)
        assert str(raised.value).startswith(message)
