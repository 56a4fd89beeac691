"""CacheManager: caches by name."""

import copy
import logging
import pickle
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from driven_clock import Clock, driven

from oxicache._native import CacheManager, TTLCache, cache_manager

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock


@pytest.fixture
def clock() -> Iterator[Clock]:
    with driven() as clock:
        yield clock


@pytest.fixture
def manager() -> CacheManager:
    return CacheManager()


class TestGetCache:
    def test_it_makes_a_cache_once(self, manager: CacheManager) -> None:
        """The same name gives the same cache."""
        users = manager.get_cache("users", max_size=500, ttl=1800)
        assert type(users) is TTLCache
        assert (users.name, users.max_size, users.ttl) == ("users", 500, 1800)
        assert manager.get_cache("users") is users
        assert manager.get_cache("users", 500, 1800) is users
        assert manager.get_cache("projects", 500, 1800) is not users

    def test_the_first_callers_parameters_win_and_a_difference_is_logged(
        self, manager: CacheManager, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A second call that asks for something else gets the cache as it is, and one warning that names both."""
        users = manager.get_cache("users", 500, 1800)
        with caplog.at_level(logging.DEBUG):
            assert manager.get_cache("users", max_size=200, ttl=60) is users
        assert (users.max_size, users.ttl) == (500, 1800)
        warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert warnings
        text = " ".join(record.getMessage() for record in warnings)
        for part in ("users", "500", "200", "1800", "60"):
            assert part in text

    @pytest.mark.parametrize(
        "arguments", [{}, {"max_size": 500}, {"ttl": 1800}, {"max_size": 500, "ttl": 1800.0}]
    )
    def test_asking_for_nothing_else_is_not_logged(
        self, manager: CacheManager, caplog: pytest.LogCaptureFixture, arguments: dict[str, Any]
    ) -> None:
        """Parameters left out, or equal to what the cache has, are no reason for a warning."""
        manager.get_cache("users", 500, 1800)
        with caplog.at_level(logging.DEBUG):
            manager.get_cache("users", **arguments)
        assert caplog.records == []

    def test_options_reach_the_cache(self, manager: CacheManager) -> None:
        """Everything the constructor takes can be given here."""
        told: list[Any] = []
        cache = manager.get_cache(
            "all",
            10,
            60,
            max_bytes=100,
            policy="s3fifo",
            on_evict=lambda *gone: told.append(gone),
            grace=5,
            early_refresh=0.5,
            sizeof=lambda _key, _value: 7,
        )
        assert (cache.max_bytes, cache.policy, cache.grace, cache.early_refresh) == (100, "s3fifo", 5, 0.5)
        cache.set("a", 1)
        assert cache.stats()["size_bytes"] == 7
        cache.delete("a")
        assert told == [("a", 1, "deleted")]

    def test_the_reserved_name_is_refused(self, manager: CacheManager) -> None:
        """`_global` is where the sums stand in the statistics."""
        for refused in (
            lambda: manager.get_cache("_global"),
            lambda: manager.register("_global", TTLCache(1, 1)),
        ):
            with pytest.raises(ValueError, match="_global"):
                refused()
        assert manager.names() == []

    @pytest.mark.parametrize("name", [None, 1, b"users", ["users"]], ids=repr)
    def test_a_name_is_a_str(self, manager: CacheManager, name: Any) -> None:
        """Anything else is a TypeError."""
        with pytest.raises(TypeError):
            manager.get_cache(name)
        assert len(manager) == 0

    @pytest.mark.parametrize("name", ["", "users", "app.models.Project.total", "\u00e9\U0001f600", "a b\n"])
    def test_any_str_is_a_name(self, manager: CacheManager, name: str) -> None:
        """Names are not restricted, as keys are not."""
        assert manager.get_cache(name).name == name
        assert manager.names() == [name]
        assert name in manager


class TestRegistry:
    def test_register_takes_an_existing_cache(self, manager: CacheManager) -> None:
        """A taken name gets a number; a cache already there keeps the name it has."""
        first, second, third = (TTLCache[str, int](1, 1) for _ in range(3))
        assert manager.register("a", first) == "a"
        assert manager.register("a", second) == "a#2"
        assert manager.register("a", third) == "a#3"
        assert manager.register("a", second) == "a#2"
        assert manager.register("a", first) == "a"
        assert manager.names() == ["a", "a#2", "a#3"]
        assert manager.get_cache("a#2") is second

    def test_remove_forgets_the_name_and_leaves_the_cache(self, manager: CacheManager) -> None:
        """True when something was removed; with a cache given, only that very one."""
        cache = manager.get_cache("a", 5, 60)
        cache.set("k", 1)
        assert manager.remove("a", TTLCache(1, 1)) is False
        assert manager.remove("a", cache) is True
        assert manager.remove("a") is False
        assert manager.remove("never") is False
        assert cache.get("k") == 1
        assert manager.get_cache("a") is not cache

    def test_configure_changes_only_what_is_given(self, manager: CacheManager) -> None:
        """The cache stays, and so does every setting that was not named."""
        cache = manager.get_cache("a", 5, 60, grace=3)
        for number in range(5):
            cache.set(str(number), number)
        assert manager.configure("a", max_size=2) is cache
        assert (cache.max_size, cache.ttl, cache.grace, len(cache)) == (2, 60, 3, 2)
        manager.configure("a", ttl=None, grace=0, early_refresh=1.0, max_bytes=10**6)
        assert (cache.max_size, cache.ttl, cache.grace, cache.early_refresh, cache.max_bytes) == (
            2,
            None,
            0,
            1,
            10**6,
        )
        manager.configure("a", max_bytes=None)
        assert cache.max_bytes is None

    def test_configure_of_an_unknown_name_is_a_key_error(self, manager: CacheManager) -> None:
        """The message names what was asked for and what there is; nothing is made."""
        manager.get_cache("users")
        with pytest.raises(KeyError, match="projects") as caught:
            manager.configure("projects", max_size=7)
        assert "users" in str(caught.value)
        assert manager.names() == ["users"]

    def test_a_refused_configuration_changes_nothing(self, manager: CacheManager) -> None:
        """Either all of the call counts or none of it."""
        cache = manager.get_cache("a", 5, 60)
        with pytest.raises(ValueError, match="ttl"):
            manager.configure("a", max_size=2, ttl=-1)
        with pytest.raises(ValueError, match="max_size"):
            manager.configure("a", ttl=1, max_size=-2)
        assert (cache.max_size, cache.ttl) == (5, 60)

    def test_it_reads_as_a_container_of_names(self, manager: CacheManager) -> None:
        """`in`, `len` and iteration are of names, in the order of registration."""
        for name in ("b", "a", "c"):
            manager.get_cache(name)
        assert manager.names() == list(manager) == ["b", "a", "c"]
        assert len(manager) == 3
        assert "a" in manager
        assert "x" not in manager
        assert 1 not in manager

    def test_the_private_mapping_reads_as_documented(self, manager: CacheManager) -> None:
        """`_caches` answers `in`, `[name]` and `.get(name)` with the caches themselves."""
        cache = manager.get_cache("a")
        caches = manager._caches
        assert isinstance(caches, Mapping)
        assert "a" in caches
        assert caches["a"] is cache
        assert caches.get("a") is cache
        assert caches.get("x") is None
        assert list(caches) == ["a"]
        assert len(caches) == 1
        with pytest.raises(KeyError):
            caches["x"]
        manager.get_cache("b")
        assert "b" in manager._caches

    def test_iteration_is_a_snapshot(self, manager: CacheManager) -> None:
        """Caches may come and go while names are walked."""
        for name in "abc":
            manager.get_cache(name)
        for name in manager:
            manager.remove(name)
            manager.get_cache(name + "2")
        assert manager.names() == ["a2", "b2", "c2"]


class TestAllCaches:
    def test_cleanup_all_counts_by_name(self, manager: CacheManager, clock: Clock) -> None:
        """What each cache lost, in the order of registration, zero included."""
        manager.get_cache("a", 10, 5).set_many({"k": 1, "l": 2})
        manager.get_cache("b", 10, 50).set("k", 1)
        manager.get_cache("empty")
        assert manager.cleanup_all() == {"a": 0, "b": 0, "empty": 0}
        clock.advance(5)
        assert list(manager.cleanup_all().items()) == [("a", 2), ("b", 0), ("empty", 0)]
        assert manager.get_cache("b").get("k") == 1

    def test_a_failing_callback_is_no_failed_cleanup(self, manager: CacheManager, clock: Clock) -> None:
        """The callback's error is logged; the cleanup itself succeeded and counts."""
        cache = manager.get_cache("a", 10, 5, on_evict=lambda *_gone: 1 / 0)
        cache.set("k", 1)
        clock.advance(5)
        assert manager.cleanup_all() == {"a": 1}

    def test_clear_all_empties_every_cache(self, manager: CacheManager) -> None:
        """Names stay, entries go."""
        for name in "ab":
            manager.get_cache(name).set("k", 1)
        assert manager.clear_all() is None  # type: ignore[func-returns-value]
        assert [len(manager.get_cache(name)) for name in "ab"] == [0, 0]
        assert manager.names() == ["a", "b"]

    def test_global_stats_end_with_the_sums(self, manager: CacheManager, clock: Clock) -> None:
        """One dict per cache, then `_global`, last, with the documented names in order."""
        manager.get_cache("a", 10, 5).set_many({"k": 1, "l": 2})
        manager.get_cache("b", 30, 50).set("k", 1)
        clock.advance(5)
        stats = manager.get_global_stats()
        assert list(stats) == ["a", "b", "_global"]
        assert stats["a"] == manager.get_cache("a").stats()
        assert list(stats["_global"].items()) == [
            ("total_caches", 2),
            ("total_entries", 3),
            ("total_max_entries", 40),
            ("global_utilization_percent", 7.5),
        ]

    def test_global_stats_of_nothing(self, manager: CacheManager) -> None:
        """With no cache, and with no room at all, utilisation is 0."""
        assert manager.get_global_stats() == {
            "_global": {
                "total_caches": 0,
                "total_entries": 0,
                "total_max_entries": 0,
                "global_utilization_percent": 0,
            }
        }
        manager.get_cache("none", 0, 1)
        assert manager.get_global_stats()["_global"]["global_utilization_percent"] == 0


class TestItself:
    def test_the_global_one_is_one(self) -> None:
        """`cache_manager` is a CacheManager, and another one shares nothing with it."""
        assert type(cache_manager) is CacheManager
        name = f"{__name__}.only-here"
        cache_manager.get_cache(name)
        try:
            assert name in cache_manager
            assert name not in CacheManager()
        finally:
            assert cache_manager.remove(name)

    @pytest.mark.parametrize(
        "duplicate", [pickle.dumps, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"]
    )
    def test_it_cannot_be_pickled_or_copied(
        self, manager: CacheManager, duplicate: Callable[[Any], object]
    ) -> None:
        """Both raise a TypeError that names the class."""
        with pytest.raises(TypeError, match="CacheManager"):
            duplicate(manager)

    def test_it_has_a_short_repr(self, manager: CacheManager) -> None:
        """The repr names the class."""
        assert "CacheManager" in repr(manager)
