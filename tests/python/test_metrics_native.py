"""What the native half counts: by cache, by key pattern, by sample. Loads: test_metrics_loads.py."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from driven_clock import driven

from oxicache import TTLCache, _native, cached_function
from oxicache._native import CacheManager, cache_manager

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

NAME = "tests:metrics"
EXACT = 1_024
Cache = TTLCache[Any, Any]


@pytest.fixture
def cache() -> Iterator[Cache]:
    cache: Cache = TTLCache(10_000, 600)
    name = cache_manager.register(NAME, cache)
    yield cache
    cache_manager.remove(name, cache)


def patterns(name: str = NAME) -> dict[str, dict[str, Any]]:
    """What is told of each key pattern of a cache."""
    return {told["pattern"]: told for told in _native.metrics(True)["patterns"][name]}


def counts(told: dict[str, Any]) -> tuple[int, int, int, int]:
    return told["hits"], told["misses"], told["sets"], told["deletes"]


class TestWhatAProcessShows:
    def test_it_is_what_the_caches_say_themselves(self, cache: Cache) -> None:
        """Each registered cache by its name with its own `stats()`; patterns only where they are asked for."""
        cache.set("a", 1)
        cache.get("a")
        told = _native.metrics()
        assert list(told) == ["caches", "exact", "enabled"]
        assert told["caches"][NAME] == cache.stats()
        assert (told["exact"], told["enabled"]) == (True, True)
        told = _native.metrics(True)
        assert list(told) == ["caches", "patterns", "exact", "enabled"]
        assert list(told["patterns"]) == list(told["caches"])

    def test_names_are_the_managers(self) -> None:
        """Whatever is done with the process-wide manager, its names are shown and no others, in its order."""

        def shown() -> list[str]:
            # Of other tests' decorated functions some may just be dying.
            told, known = (
                [name for name in names if name.startswith(NAME)]
                for names in (_native.metrics()["caches"], cache_manager.names())
            )
            assert told == known
            return told

        one, two = (TTLCache[str, int](size, 5) for size in (1, 2))
        try:
            assert cache_manager.register(NAME, one) == NAME
            assert cache_manager.register(NAME, one) == NAME
            assert cache_manager.register(NAME, two) == NAME + "#2"
            cache_manager.get_cache(NAME + ":3")
            cache_manager.get_cache(NAME + ":3")
            assert shown() == [NAME, NAME + "#2", NAME + ":3"]
            assert not cache_manager.remove(NAME, two)
            cache_manager._caches[NAME] = two  # type: ignore[index]
            assert shown() == [NAME + "#2", NAME + ":3", NAME]
            assert _native.metrics()["caches"][NAME]["max_size"] == 2
            del cache_manager._caches[NAME]  # type: ignore[attr-defined]
            assert shown() == [NAME + "#2", NAME + ":3"]
        finally:
            for name in (NAME, NAME + "#2", NAME + ":3"):
                cache_manager.remove(name)
        assert shown() == []

    def test_other_managers_are_their_owners_business(self) -> None:
        """A manager that somebody made is not shown, and takes no name from the process-wide one."""
        manager = CacheManager()
        manager.get_cache(NAME)
        assert NAME not in _native.metrics()["caches"]
        kept = cache_manager.get_cache(NAME)
        manager.remove(NAME)
        assert NAME in _native.metrics()["caches"]
        assert cache_manager.remove(NAME, kept)

    def test_a_decorated_function_is_shown_while_it_lives(self) -> None:
        """Under its name, as a memo; gone with its function."""

        def label(number: int) -> int:
            return number

        name = f"{label.__module__}.{label.__qualname__}"
        decorated = cached_function(label)
        assert decorated(1) == decorated(1) == 1
        told = _native.metrics()["caches"][name]
        assert (told["kind"], told["hits"], told["misses"], told["loads"]) == ("memo", 1, 1, 1)
        assert counts(patterns(name)[name]) == (1, 1, 1, 0)
        del decorated
        assert name not in _native.metrics()["caches"]

    def test_expired_entries_are_counted(self) -> None:
        """As `stats()` counts them; of a cache with more than 20,000 that many are told, and that it is not exact."""
        with driven() as clock:
            large: Cache = TTLCache(30_000, 5)
            name = cache_manager.register(NAME, large)
            try:
                large.set_many(dict.fromkeys(range(20_001), 0))
                assert _native.metrics()["exact"]
                clock.advance(5)
                told = _native.metrics()
                assert (told["caches"][name]["expired_entries"], told["exact"]) == (20_000, False)
                assert large.stats()["expired_entries"] == 20_001
                for number in range(2):
                    large.delete(number)
                told = _native.metrics()
                assert (told["caches"][name]["expired_entries"], told["exact"]) == (19_999, True)
            finally:
                cache_manager.remove(name)

    def test_gauges_follow_the_cache(self) -> None:
        """Sizes, weights and limits are shown as they are after each change."""
        cache: Cache = TTLCache(5, 60, max_bytes=1_000, sizeof=lambda _key, value: value, grace=2)
        name = cache_manager.register(NAME, cache)

        def shown(*fields: str) -> list[Any]:
            told = _native.metrics()["caches"][name]
            return [told[field] for field in fields]

        try:
            for number in range(7):
                cache.set(number, 10)
            assert shown("size", "size_bytes", "evictions") == [5, 50, 2]
            cache.set(6, 30)
            assert shown("size", "size_bytes") == [5, 70]
            cache.delete(6)
            assert shown("size", "size_bytes", "utilization_percent") == [4, 40, 80.0]
            cache.max_bytes = 20
            assert shown("size", "size_bytes", "max_bytes") == [2, 20, 20]
            cache.max_size, cache.ttl, cache.grace = 1, None, 0.5
            assert shown("size", "max_size", "ttl_seconds", "grace_seconds") == [1, 1, None, 0.5]
            cache.max_bytes = None
            assert shown("size_bytes", "max_bytes") == [None, None]
            cache.clear()
            assert shown("size", "utilization_percent") == [0, 0.0]
        finally:
            cache_manager.remove(name)


class TestPatterns:
    @pytest.mark.parametrize(
        ("key", "pattern"),
        [
            ("users:7:posts", "users:*:posts"),
            ("session:0123456789abcdef", "session:*"),
            ("x:123e4567-e89b-12d3-a456-426614174000", "x:*"),
            ("x:" + "y" * 41, "x:*"),
            ("a:b:c:d:e:f:g:h", "a:b:c:d:e:*"),
            ("", ""),
            ("lone:\ud800:1", "lone:\ufffd\ufffd\ufffd:*"),
        ],
    )
    def test_ids_are_left_out(self, cache: Cache, key: str, pattern: str) -> None:
        """Ids are `*`, and nothing is deeper than six segments; the cache counts keys under just that."""
        assert _native.key_pattern(key) == pattern
        cache.set(key, 1)
        assert list(patterns()) == [pattern]

    def test_keys_that_are_no_text_go_by_their_type(self, cache: Cache) -> None:
        """A tuple, an int and a caller's class; of a subclass of str its text, whatever its `__str__` says."""

        class Text(str):
            __slots__ = ()

            def __str__(self) -> str:
                raise AssertionError("asked for what it has")

        class Id:
            pass

        for key in (("a", 1), 7, Id(), Text("t:1")):
            cache.set(key, 1)
        assert set(patterns()) == {"<tuple>", "<int>", "<Id>", "t:*"}

    def test_the_first_operations_are_exact(self, cache: Cache) -> None:
        """Of the first 1,024 of each kind every one is counted under its pattern."""
        draw = random.Random(5)
        expected: dict[str, list[int]] = {}
        for _ in range(EXACT):
            kind, number = draw.choice(("page", "user", "feed")), draw.randrange(50)
            told = expected.setdefault(f"{kind}:*", [0, 0, 0, 0])
            key = f"{kind}:{number}"
            match draw.randrange(3):
                case 0:
                    told[0 if cache.get(key) is not None else 1] += 1
                case 1:
                    cache[key] = number
                    told[2] += 1
                case _:
                    told[3] += cache.delete(key)
        assert {pattern: list(counts(told)) for pattern, told in patterns().items()} == expected

    def test_later_ones_are_estimated(self, cache: Cache) -> None:
        """Of a million hits each pattern has its share within a fifth, and at most 2,047 are missing."""
        keys = ["a:1", "b:1", "b:2", "b:3"]  # in turns, which must not be taken for a pattern of samples
        cache.set_many(dict.fromkeys(keys, 1))
        hits = 1_000_000
        for _ in range(hits // len(keys)):
            for key in keys:
                cache.get(key)
        told, stats = patterns(), cache.stats()
        assert (stats["hits"], stats["sampled_every"]) == (hits, 1_024)
        assert 0 <= hits - (told["a:*"]["hits"] + told["b:*"]["hits"]) < 2 * 1_024
        assert told["b:*"]["hits"] == pytest.approx(0.75 * hits, rel=0.2)
        assert stats["latency"]["get"]["count"] == told["a:*"]["hits"] + told["b:*"]["hits"]

    def test_misses_and_writes_are_estimated_likewise(self, cache: Cache) -> None:
        """Raw misses and writes are counted one by one, and sampled like hits."""
        for number in range(100_000):
            cache.get("absent:1")
            cache.set(f"w:{number % 7}", number)
        told, stats = patterns(), cache.stats()
        assert (stats["misses"], stats["sets"]) == (100_000, 100_000)
        assert 0 <= 100_000 - told["absent:*"]["misses"] < 2_048
        assert 0 <= 100_000 - told["w:*"]["sets"] < 2_048

    def test_their_number_is_bounded(self, cache: Cache) -> None:
        """256 at most, and one for all others, under which nothing is lost."""
        for name in range(400):
            for _ in range(2):
                cache.set(f"p{name}", 1)
        told = patterns()
        assert len(told) == 257
        assert told["other"]["sets"] == 2 * (400 - 256)
        assert sum(one["sets"] for one in told.values()) == 800

    def test_sizes_are_those_of_what_is_set(self) -> None:
        """Where entries are weighed: their sum, and the average of a set; else none is made up."""
        weighed: Cache = TTLCache(100, 60, max_bytes=10_000, sizeof=lambda _key, value: value)
        plain: Cache = TTLCache(100, 60)
        names = [cache_manager.register(NAME, one) for one in (weighed, plain)]
        try:
            for one in (weighed, plain):
                one.set("a:1", 10)
                one.set("a:2", 30)
            first, second = (patterns(name)["a:*"] for name in names)
            assert (first["sets"], first["bytes"], first["avg_size"]) == (2, 40, 20.0)
            assert (second["sets"], second["bytes"], second["avg_size"]) == (2, 0, None)
        finally:
            for name in names:
                cache_manager.remove(name)

    def test_a_read_in_a_comparison_is_counted_too(self, cache: Cache) -> None:
        """A key whose `__eq__` reads the cache: both reads are counted, each under its own pattern."""

        class Asking:
            def __hash__(self) -> int:
                return 1

            def __eq__(self, other: object) -> bool:
                cache.get("inner")
                return self is other

        held, asked = Asking(), Asking()
        cache.set(held, 1)
        cache.get(asked)
        told = patterns()
        assert told["<Asking>"]["misses"] == 1
        assert told["inner"]["misses"] >= 1
        assert cache.stats()["misses"] == told["inner"]["misses"] + 1


class TestReset:
    def test_everything_starts_at_zero(self, cache: Cache) -> None:
        """Counts, patterns and latencies are as those of a new cache; entries stay, and the first are exact again."""
        cache.set("old:1", 1)
        for _ in range(5_000):
            cache.get("old:1")
        cache.get_or_set("old:2", lambda: 2)
        cache.reset_stats()
        fresh: Cache = TTLCache(10_000, 600)
        assert cache.stats() == fresh.stats() | {"size": 2, "utilization_percent": 0.02}
        assert patterns() == {}
        for _ in range(EXACT):
            cache.get("old:1")
        assert counts(patterns()["old:*"]) == (EXACT, 0, 0, 0)

    def test_cache_info_follows(self) -> None:
        """What a decorated function tells of itself counts from the reset, too."""

        @cached_function
        def double(number: int) -> int:
            return 2 * number

        assert [double(number) for number in (1, 1, 2)] == [2, 2, 4]
        assert double.cache_info()[:2] == (1, 2)
        double.cache.reset_stats()
        assert double.cache_info()[:2] == (0, 0)


class TestLatency:
    def test_every_early_read_is_in_the_histogram(self, cache: Cache) -> None:
        """Hits and misses alike, with bounds that rise and one more count than bounds."""
        cache.set("a", 1)
        for _ in range(10):
            cache.get("a")
            cache.get("absent")
        told = cache.stats()["latency"]["get"]
        assert told["bounds_seconds"] == sorted(told["bounds_seconds"])
        assert len(told["counts"]) == len(told["bounds_seconds"]) + 1
        assert told["count"] == sum(told["counts"]) == 20
        assert told["sum_seconds"] > 0

    @pytest.mark.parametrize(
        "read",
        [
            lambda cache: cache.get("a"),
            lambda cache: cache["a"],
            lambda cache: cache.get_many(["a"]),
            lambda cache: cache.get_or_set("a", lambda: 2),
        ],
        ids=["get", "subscript", "get_many", "get_or_set"],
    )
    def test_each_way_to_read_is_measured(self, cache: Cache, read: Callable[[Cache], Any]) -> None:
        """A hit counts one read, and looking does not."""
        cache.set("a", 1)
        read(cache)
        cache.peek("a")
        assert "a" in cache
        assert cache.stats()["latency"]["get"]["count"] == cache.stats()["hits"] == 1
