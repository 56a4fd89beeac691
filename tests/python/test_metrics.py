"""Sums over workers: what is added, what is computed anew, what of a histogram survives two versions of a worker."""

import itertools

import pytest
from figures import cache_stats, histogram, one_process, pattern_stats, worker
from hypothesis import given
from hypothesis import strategies as st

from oxicache import metrics

COUNTS = st.lists(st.integers(0, 50), min_size=5, max_size=5)


class TestStats:
    def test_counts_are_added_and_shares_computed_anew(self) -> None:
        """Two workers' figures become one: sums, and percentages of the sums rather than sums of percentages."""
        merged = metrics.merge_stats(
            [
                cache_stats(10, 100, hits=90, misses=10, loads=3, load_seconds=0.5, expired_entries=1),
                cache_stats(80, 100, hits=0, misses=100, loads=4, load_seconds=0.25, expired_entries=2),
            ]
        )
        assert (merged["size"], merged["max_size"], merged["expired_entries"]) == (90, 200, 3)
        assert merged["utilization_percent"] == 45.0
        assert (merged["hits"], merged["misses"], merged["hit_rate"]) == (90, 110, 0.45)
        assert (merged["loads"], merged["load_seconds"]) == (7, 0.75)

    def test_the_documented_fields_stay_first_and_nothing_is_lost(self) -> None:
        """Field names and their order are those of one process."""
        one = cache_stats(1)
        merged = metrics.merge_stats([one, cache_stats(2)])
        assert list(merged) == list(one)
        assert list(merged)[:5] == [
            "size",
            "max_size",
            "expired_entries",
            "ttl_seconds",
            "utilization_percent",
        ]
        assert metrics.merge_stats([one]) == one

    def test_without_reads_there_is_no_hit_rate(self) -> None:
        """Nothing read is None, not 0; an empty cache of size 0 is 0 percent full."""
        merged = metrics.merge_stats([cache_stats(0, 0), cache_stats(0, 0)])
        assert (merged["hit_rate"], merged["utilization_percent"]) == (None, 0.0)

    @pytest.mark.parametrize(
        ("name", "values", "expected"),
        [
            ("ttl_seconds", (60, 3600), 3600),
            ("ttl_seconds", (60, None), None),
            ("max_bytes", (100, 200), 300),
            ("max_bytes", (100, None), None),
            ("size_bytes", (100, None), 100),
            ("size_bytes", (None, None), None),
            ("sampled_every", (1, 64), 64),
            ("policy", ("lru", "s3fifo"), "lru"),
            ("expired_entries", (3, None), 3),
        ],
    )
    def test_settings_and_unknowns(self, name: str, values: tuple[object, object], expected: object) -> None:
        """A setting is the longest or the first; None is no limit, or unknown."""
        assert metrics.merge_stats([cache_stats(**{name: value}) for value in values])[name] == expected

    def test_a_cache_that_one_worker_lacks_is_still_there(self) -> None:
        """Workers made different caches; each name counts once, whoever has it."""
        snapshot = metrics.merge(
            [
                worker(1, {"a": cache_stats(1), "b": cache_stats(2)}),
                worker(2, {"b": cache_stats(3)}),
            ]
        )
        assert {name: stats["size"] for name, stats in snapshot.caches.items()} == {"a": 1, "b": 5}
        assert (snapshot.holders("a"), snapshot.holders("b")) == (1, 2)
        assert metrics.global_stats(snapshot.caches) == {
            "total_caches": 2,
            "total_entries": 6,
            "total_max_entries": 300,
            "global_utilization_percent": 2.0,
        }

    def test_who_did_not_answer_is_known(self) -> None:
        """A snapshot says how many of how many answered, who is disabled, and whether all figures are exact."""
        snapshot = metrics.merge(
            [worker(1, {}, enabled=False), worker(2, {}, exact=False)],
            silent=[7],
        )
        assert (snapshot.answered, snapshot.known, snapshot.silent) == (2, 3, (7,))
        assert (snapshot.disabled, snapshot.is_exact) == ((1,), False)

    def test_who_answered_in_part_is_counted_once(self) -> None:
        """A worker that told its figures and nothing else is not silent, nor two workers."""
        snapshot = metrics.merge([worker(1, {})], silent=[1, 2])
        assert (snapshot.known, snapshot.silent) == (2, (2,))

    def test_nothing_at_all(self) -> None:
        """No worker is an empty snapshot, and 0 percent of nothing."""
        snapshot = metrics.merge([])
        assert (snapshot.caches, snapshot.known, snapshot.is_exact) == ({}, 0, True)
        assert metrics.global_stats({})["global_utilization_percent"] == 0.0


class TestHistograms:
    @given(st.lists(COUNTS, min_size=1, max_size=4))
    def test_same_bounds_are_added_bucket_by_bucket(self, rows: list[list[int]]) -> None:
        """Each bucket is the sum of the same bucket of all."""
        merged = metrics.merge_histograms([histogram(row, seconds=1.5) for row in rows])
        assert merged["counts"] == [sum(column) for column in zip(*rows, strict=True)]
        assert merged["count"] == sum(map(sum, rows))
        assert merged["sum_seconds"] == 1.5 * len(rows)

    @given(COUNTS, st.lists(st.integers(0, 50), min_size=4, max_size=4))
    def test_of_different_bounds_the_common_ones_remain(self, first: list[int], second: list[int]) -> None:
        """What was counted at most at a common bound stays so, whatever other bounds there were."""
        bounds = (0.005, 0.01, 1.0)
        merged = metrics.merge_histograms([histogram(first), histogram(second, bounds)])
        assert merged["bounds_seconds"] == [0.01, 1.0]

        def at_most(part: dict[str, list[float]], bound: float) -> float:
            pairs = zip(part["bounds_seconds"], part["counts"], strict=False)
            return sum(count for edge, count in pairs if edge <= bound)

        for bound in (0.01, 1.0):
            parts = [histogram(first), histogram(second, bounds)]
            assert at_most(merged, bound) == sum(at_most(part, bound) for part in parts)
        assert sum(merged["counts"]) == sum(first) + sum(second)

    def test_none_to_merge_is_an_empty_one(self) -> None:
        """Without any there is one empty bucket, so that what reads it needs no other case."""
        empty = metrics.merge_histograms([])
        assert (empty["counts"], empty["count"]) == ([0], 0)
        assert metrics.quantile(empty, 0.5) is None
        assert metrics.mean_ms(empty) is None
        assert metrics.mean_ms(None) is None

    @pytest.mark.parametrize(
        ("counts", "share", "expected"),
        [
            ([10], 0.5, 0.0005),
            ([10, 10], 0.5, 0.001),
            ([10, 10], 0.75, 0.0055),
            ([0, 0, 0, 0, 4], 0.5, 1.0),
            ([1, 0, 0, 3], 0.25, 0.001),
            ([0, 4], 0.0, 0.001),
            ([4], 1.0, 0.001),
        ],
    )
    def test_quantiles(self, counts: list[int], share: float, expected: float) -> None:
        """Interpolated within the bucket the rank falls into; beyond the last bound the last bound."""
        assert metrics.quantile(histogram(counts), share) == pytest.approx(expected)

    @given(COUNTS.filter(any), st.lists(st.floats(0, 1), min_size=2, max_size=8))
    def test_quantiles_rise(self, counts: list[int], shares: list[float]) -> None:
        """A larger share never takes less time."""
        found = [metrics.quantile(histogram(counts), share) for share in sorted(shares)]
        assert all(low <= high for low, high in itertools.pairwise(found))  # type: ignore[operator]

    def test_the_mean(self) -> None:
        """In milliseconds, of what was observed."""
        assert metrics.mean_ms(histogram([1, 3], seconds=0.01)) == pytest.approx(2.5)


class TestPatterns:
    def test_the_same_pattern_of_two_workers_is_one(self) -> None:
        """Figures are added, the mean size is computed anew, and the most used come first."""
        merged = metrics.merge_patterns(
            [
                pattern_stats("user:*", hits=5, sets=1, bytes=100, avg_size=100.0),
                pattern_stats("page:*", hits=50),
                pattern_stats("user:*", hits=7, sets=3, bytes=100, avg_size=33.3),
            ]
        )
        assert [(part["pattern"], part["hits"]) for part in merged] == [("page:*", 50), ("user:*", 12)]
        assert merged[1]["avg_size"] == 50.0

    @given(
        st.lists(st.tuples(st.sampled_from(["a", "b", "c", "d", "other"]), st.integers(0, 9)), max_size=20)
    )
    def test_what_is_beyond_the_limit_is_other(self, found: list[tuple[str, int]]) -> None:
        """At most `limit` patterns are named; nothing that was counted is lost."""
        merged = metrics.merge_patterns([pattern_stats(name, hits=hits) for name, hits in found], limit=2)
        assert sum(part["hits"] for part in merged) == sum(hits for _, hits in found)
        assert len({part["pattern"] for part in merged} - {"other"}) <= 2

    def test_sensitive_patterns_are_not_named(self) -> None:
        """A sensitive cache names none of its patterns, a sensitive pattern is named nowhere; both are counted."""
        shown = metrics.conceal(
            {
                "sessions": [pattern_stats("session:*", hits=3), pattern_stats("other", hits=1)],
                "pages": [pattern_stats("page:*", hits=5), pattern_stats("token:*", hits=2)],
            },
            ["sess*", "token:*"],
        )
        assert [(part["pattern"], part["hits"]) for part in shown["sessions"]] == [("other", 4)]
        assert [(part["pattern"], part["hits"]) for part in shown["pages"]] == [("page:*", 5), ("other", 2)]

    def test_patterns_of_all_workers(self) -> None:
        """A snapshot has the patterns of each cache, summed; one that was not asked for them has none."""
        snapshot = metrics.merge(
            [
                worker(1, {"a": cache_stats()}, {"a": [pattern_stats("x", hits=1)]}),
                worker(2, {"a": cache_stats()}, {"a": [pattern_stats("x", hits=2)]}),
            ]
        )
        assert [part["hits"] for part in snapshot.patterns["a"]] == [3]
        assert one_process(a=cache_stats()).patterns == {}
