"""What is recommended at which figures, with the cache, the figure, the limit and the remedy in each."""

from typing import Any, ClassVar

import pytest
from figures import cache_stats, histogram, one_process, pattern_stats, worker

from oxicache import advice, cached_method, metrics
from oxicache.advice import Recommendation
from oxicache.thresholds import Thresholds


def of(name: str = "c", *, identities: dict[str, Any] | None = None, **figures: Any) -> list[Recommendation]:
    """What is said of one cache, beside what is said of all together."""
    found = advice.advise(one_process(**{name: cache_stats(**figures)}), identities=identities)
    return [one for one in found if one.cache == name]


class TestHitRates:
    @pytest.mark.parametrize(
        ("hits", "misses", "said"), [(69, 30, False), (70, 30, False), (69, 31, True), (0, 0, False)]
    )
    def test_the_hit_rate_of_all_caches(self, hits: int, misses: int, said: bool) -> None:
        """Below 70 percent is high (003), from MIN_READS reads on."""
        found = advice.advise(one_process(c=cache_stats(hits=hits, misses=misses)))
        overall = [one for one in found if one.issue == "Low cache hit rate"]
        assert len(overall) == said
        if said:
            assert (overall[0].priority, overall[0].current, overall[0].limit) == (
                "high",
                "69.0% of 100 reads",
                "70%",
            )

    @pytest.mark.parametrize(("hits", "said"), [(50, False), (49, True)])
    def test_the_hit_rate_of_a_pattern(self, hits: int, said: bool) -> None:
        """Below 50 percent is medium (003), and names pattern and cache."""
        patterns = {"c": [pattern_stats("user:*", hits=hits, misses=100 - hits)]}
        found = [
            one for one in advice.advise(one_process(patterns, c=cache_stats())) if "user:*" in one.issue
        ]
        assert [(one.priority, one.cache, one.current) for one in found] == (
            [("medium", "c", f"{hits}.0% of 100 reads")] if said else []
        )

    def test_the_limits_are_settings(self) -> None:
        """Another limit is another advice, and stands in it."""
        snapshot = one_process(c=cache_stats(hits=95, misses=5))
        assert advice.advise(snapshot) == []
        found = advice.advise(snapshot, Thresholds(hit_rate_low=99))
        assert {one.limit for one in found} == {"99%"}


class TestCauses:
    LOW: ClassVar = {"hits": 20, "misses": 80, "sets": 80}

    def test_evictions_want_more_room(self) -> None:
        """A cache that evicts live entries while it misses is to be larger: by what it evicted, in each worker."""
        (found,) = of(size=100, max_size=100, evictions=60, **self.LOW)
        assert "evicts live entries" in found.issue
        assert found.recommendation == "Raise max_size from 100 to 160 in each worker."
        assert found.priority == "high"
        assert found.current == "hit rate 20.0% of 100 reads, 60 evicted, 0 expired, 0 invalidated"

    def test_room_grows_by_steps(self) -> None:
        """At most four times as much at once, in round numbers; measure, then go on."""
        (found,) = of(size=1000, max_size=1000, evictions=10**6, **self.LOW)
        assert "from 1,000 to 4,000" in found.recommendation
        (found,) = of(size=1000, max_size=1000, evictions=1234, hits=0, misses=2000)
        assert "from 1,000 to 2,300" in found.recommendation

    def test_room_is_counted_in_each_worker(self) -> None:
        """Figures are sums, and a setting is each worker's."""
        parts = {pid: {"c": cache_stats(size=100, evictions=60, **self.LOW)} for pid in (1, 2, 3)}
        snapshot = metrics.merge([worker(pid, caches) for pid, caches in parts.items()])
        found = next(one for one in advice.advise(snapshot) if one.cache == "c")
        assert found.recommendation == "Raise max_size from 100 to 160 in each worker."

    def test_weight_may_be_what_fills_it(self) -> None:
        """Where max_bytes evicts before max_size does, it is max_bytes that is to grow."""
        (found,) = of(size=50, max_size=100, size_bytes=5000, max_bytes=5000, evictions=60, **self.LOW)
        assert found.recommendation == "Raise max_bytes from 5,000 to 11,000 in each worker."

    def test_expiry_before_the_second_read_wants_a_longer_ttl(self) -> None:
        """Entries that die before anybody reads them again: half as long again, or not at all."""
        (found,) = of(expirations=70, ttl_seconds=60, **self.LOW)
        assert found.issue == "Cache 'c' expires its entries after 0.25 reads each, and its hit rate is low"
        assert "from 60 to 90 seconds" in found.recommendation

    def test_invalidations(self) -> None:
        """Entries that are invalidated before they are read: look who does it."""
        (found,) = of(invalidations=60, **self.LOW)
        assert "loses 75% of its entries to invalidations" in found.issue
        assert "explain" in found.recommendation

    def test_keys_that_nobody_asks_for_twice(self) -> None:
        """With no such cause the keys themselves are at fault."""
        (found,) = of(**self.LOW)
        assert "leave out of the key" in found.recommendation

    def test_a_cache_that_hits_is_left_alone(self) -> None:
        """Evictions and expiry are what a cache is for, as long as it hits."""
        assert of(size=100, hits=900, misses=100, evictions=90, expirations=90, invalidations=90) == []


class TestIdentities:
    def test_instances_that_are_not_asked_twice(self) -> None:
        """identity="instance" without one hit is said to be that, and not advised to grow or to live longer."""
        (found,) = of(hits=0, misses=500, evictions=400, identities={"c": "instance"})
        assert 'identity="instance" never hits' in found.issue
        assert 'identity="class"' in found.recommendation
        assert (found.current, found.priority) == ("0 hits of 500 reads", "high")

    @pytest.mark.parametrize("identity", ["class", "row", "none", None, len])
    def test_others_have_other_causes(self, identity: Any) -> None:
        """A cache that is shared and never hits has a low hit rate like any other."""
        (found,) = of(hits=0, misses=500, identities={"c": identity})
        assert "has a low hit rate" in found.issue

    def test_one_hit_is_enough(self) -> None:
        """An instance that is asked twice is what it is meant for."""
        (found,) = of(hits=1, misses=500, identities={"c": "instance"})
        assert "never hits" not in found.issue

    def test_decorated_members_are_known(self) -> None:
        """The identity of each decorated member is found by the name of its cache."""

        class View:
            @cached_method(identity="instance", name="test_advice.View.total")
            def total(self) -> int:
                return 1

        assert advice.identities()["test_advice.View.total"] == "instance"
        assert View().total() == 1


class TestOtherCauses:
    def test_early_refresh_for_slow_computations(self) -> None:
        """A well used cache whose misses are expiries, and whose computations are slow, is to refresh early."""
        (found,) = of(hits=900, misses=100, expirations=80, loads=100, load_seconds=25.0)
        assert "early_refresh=1" in found.recommendation
        assert (found.current, found.limit) == ("250 ms a computation, 80 expired entries", "100 ms")
        assert of(hits=900, misses=100, expirations=80, loads=100, load_seconds=5.0) == []

    def test_values_that_are_too_heavy(self) -> None:
        """Refused values are counted, with the limit of each worker."""
        (found,) = of(rejected=3, sets=10, max_bytes=4096)
        assert (found.current, found.limit) == ("3 refused, 10 stored", "4,096 bytes in each worker")

    def test_computations_that_fail(self) -> None:
        """More than a tenth of the computations fail: high; a few do not."""
        (found,) = of(loads=100, load_errors=11)
        assert (found.priority, found.current, found.limit) == ("high", "11.0% of 100 computations", "10%")
        assert of(loads=100, load_errors=10) == []
        assert of(loads=10, load_errors=10) == []

    def test_patterns_that_take_much_of_the_memory(self) -> None:
        """More than 30 percent of the bytes is medium (003); "other" is no pattern."""
        parts = [
            pattern_stats("big:*", sets=10, bytes=310),
            pattern_stats("small:*", sets=10, bytes=300),
            pattern_stats("other", sets=10, bytes=390),
        ]
        found = list(advice.of_memory(parts))
        assert [(one.issue, one.priority) for one in found] == [
            ("Key pattern 'big:*' takes much of the memory", "medium")
        ]
        assert found[0].current == "31.0% of the bytes stored, 31 bytes a value"
        assert list(advice.of_memory([])) == []


class TestWorkers:
    def test_disabled_ones(self) -> None:
        """They are named, and how to enable them."""
        snapshot = metrics.merge([worker(4, {}, enabled=False), worker(5, {})])
        (found,) = advice.advise(snapshot)
        assert (found.current, found.priority) == ("1 of 2 workers: 4", "high")
        assert "manage_cache enable" in found.recommendation

    def test_other_versions(self) -> None:
        """Workers of two versions are a deploy that is not through."""
        snapshot = metrics.merge([worker(pid, {}, config={"version": f"0.{pid}.0"}) for pid in (1, 2, 2)])
        (found,) = advice.advise(snapshot)
        assert found.current == "0.1.0, 0.2.0"

    def test_other_words(self) -> None:
        """Workers that share no words do not see each other's invalidations: nothing is more urgent."""
        snapshot = metrics.merge(
            [worker(pid, {}, config={"versions": {"path": f"/{pid}"}}) for pid in (1, 2)]
        )
        (found,) = advice.advise(snapshot)
        assert (found.priority, found.current) == ("critical", "/1, /2")

    def test_other_settings(self) -> None:
        """A cache that two workers made with different limits is named, with both."""
        snapshot = metrics.merge(
            [
                worker(1, {"c": cache_stats(max_size=1000)}),
                worker(2, {"c": cache_stats(max_size=2000, ttl_seconds=None)}),
                worker(3, {"d": cache_stats(max_size=3)}),
            ]
        )
        found = advice.advise(snapshot)
        assert [(one.cache, one.current) for one in found] == [("c", "1,000, 2,000"), ("c", "3,600, None")]

    def test_collisions_of_words(self) -> None:
        """Many invalidations and long lives make entries die with others: the words that are wanted are named."""
        answers = {
            "config": {"versions": {"words": 2**16, "bumps": 36_000, "path": "/w"}},
            "health": {"uptime_seconds": 3600.0},
        }
        snapshot = metrics.merge([worker(1, {"c": cache_stats(ttl_seconds=300)}, **answers)])
        (found,) = advice.advise(snapshot)
        assert found.current == "about 16.7% of those that live 300 s, at 10.0 invalidations/s"
        assert "VERSION_WORDS'] to 262144 instead of 65536" in found.recommendation
        answers["config"]["versions"]["words"] = 2**18
        assert advice.advise(metrics.merge([worker(1, {"c": cache_stats(ttl_seconds=300)}, **answers)])) == []


class TestForm:
    def test_the_most_urgent_come_first(self) -> None:
        """critical, high, medium; what is unhealthy gives its error in place of a figure."""
        snapshot = one_process(
            {"c": [pattern_stats("a:*", hits=1, misses=99)]},
            c=cache_stats(rejected=1, hits=10, misses=90),
        )
        found = advice.advise(snapshot, unhealthy={"default": "ConnectionError: refused"})
        priorities = [one.priority for one in found]
        assert priorities == sorted(priorities, key=["critical", "high", "medium", "low"].index)
        assert set(priorities) == {"critical", "high", "medium"}
        assert found[0].as_json() == {
            "issue": "Cache 'default' is unhealthy",
            "error": "ConnectionError: refused",
            "recommendation": "See that CACHES['default'] can be reached and written to; until then all of it is "
            "missed.",
            "priority": "critical",
            "cache": "default",
        }

    def test_as_json_has_the_documented_fields_first(self) -> None:
        """003: issue, current, recommendation, priority; then cache and limit."""
        (found,) = of(rejected=1, max_bytes=10)
        assert list(found.as_json()) == ["issue", "current", "recommendation", "priority", "cache", "limit"]

    def test_the_suggested_configuration(self) -> None:
        """003: the default timeout half as long again where hit rates are low, and nothing elsewhere."""
        low = advice.advise(one_process(c=cache_stats(hits=10, misses=90)))
        assert advice.suggested_config(low, 300) == {"default_timeout": 450}
        assert advice.suggested_config([], 300) == {}

    def test_nothing_to_say(self) -> None:
        """A site without a figure to its discredit is told nothing; nor is one without workers."""
        latency = {"get": histogram([1]), "load": histogram()}
        assert advice.advise(one_process(c=cache_stats(50, hits=99, misses=1, latency=latency))) == []
        assert advice.advise(metrics.merge([])) == []

    def test_every_recommendation_says_what_is_what(self) -> None:
        """Each names a figure or an error and a remedy, as a sentence."""
        snapshot = metrics.merge(
            [
                worker(
                    1,
                    {"c": cache_stats(rejected=1, hits=10, misses=90, loads=100, load_errors=50)},
                    enabled=False,
                ),
                worker(2, {"c": cache_stats(max_size=7)}),
            ]
        )
        for one in advice.advise(snapshot, unhealthy={"x": "y"}):
            assert one.current or one.error
            assert one.recommendation.endswith(".")
