"""CacheManager as document 001 ("Memory Protection API Reference", akvo) has it, and as its callers rely on it."""

import logging
import threading
from typing import Any

import pytest

from oxicache import CacheManager, TTLCache, cache_manager
from oxicache.compat import akvo_rsr

DOCUMENTED_GLOBAL = ["total_caches", "total_entries", "total_max_entries", "global_utilization_percent"]


class CacheManagerContract:
    """What every manager gives: subclasses say which."""

    @pytest.fixture
    def manager(self) -> CacheManager:
        raise NotImplementedError

    def warnings(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]

    # ---------------------------------------------------------------- the document

    def test_get_cache_makes_a_cache_with_the_given_parameters(self, manager: CacheManager) -> None:
        """001, "get_cache(name, max_size, ttl)": the example's cache is made with its size and ttl."""
        cache = manager.get_cache("users", max_size=500, ttl=1800)
        assert isinstance(cache, TTLCache)
        assert (cache.max_size, cache.ttl) == (500, 1800)

    def test_get_cache_has_the_documented_defaults(self, manager: CacheManager) -> None:
        """001, "get_cache(name, max_size, ttl)": 1000 entries and an hour where they are omitted."""
        cache = manager.get_cache("defaults")
        assert (cache.max_size, cache.ttl) == (1000, 3600)

    def test_get_cache_gives_the_same_cache_for_the_same_name(self, manager: CacheManager) -> None:
        """001, "get_cache(name, max_size, ttl)": get or create."""
        assert manager.get_cache("users") is manager.get_cache("users")
        assert manager.get_cache("users") is not manager.get_cache("projects")

    def test_cleanup_all_counts_by_name(self, manager: CacheManager, wall: Any) -> None:
        """001, "cleanup_all()": how many expired entries went, for every cache, also where it was none."""
        users, projects = manager.get_cache("users", ttl=60), manager.get_cache("projects", ttl=600)
        users.set("a", 1)
        users.set("b", 2)
        projects.set("a", 1)
        wall.advance(60)
        counts = manager.cleanup_all()
        assert (counts["users"], counts["projects"]) == (2, 0)
        assert (len(users._cache), len(projects._cache)) == (0, 1)

    def test_clear_all_empties_every_cache(self, manager: CacheManager) -> None:
        """001, "clear_all()": the caches stay registered, their entries go."""
        users = manager.get_cache("users")
        users.set("a", 1)
        assert manager.clear_all() is None  # type: ignore[func-returns-value]
        assert users.get("a") is None
        assert manager.get_cache("users") is users

    def test_global_stats_has_each_cache_and_the_sums_last(self, manager: CacheManager) -> None:
        """001, "get_global_stats()": the stats of each cache by name, then "_global" with four figures."""
        manager.clear_all()
        others = manager.get_global_stats()["_global"]["total_max_entries"]
        users, projects = manager.get_cache("users", max_size=8), manager.get_cache("projects", max_size=2)
        users.set("a", 1)
        projects.set("b", 2)
        stats = manager.get_global_stats()
        assert list(stats)[-1] == "_global"
        assert stats["users"] == users.stats()
        assert list(stats["_global"])[:4] == DOCUMENTED_GLOBAL
        total = others + 10
        assert [stats["_global"][key] for key in DOCUMENTED_GLOBAL] == [
            len(stats) - 1,
            2,
            total,
            pytest.approx(100 * 2 / total),
        ]

    # ---------------------------------------------------------------- what callers rely on

    def test_caches_are_found_by_name(self, manager: CacheManager) -> None:
        """Callers of 001: `name in _caches`, `_caches[name]` and `_caches.get(name)`."""
        users = manager.get_cache("users")
        assert "users" in manager._caches
        assert manager._caches["users"] is users
        assert (manager._caches.get("users"), manager._caches.get("unknown")) == (users, None)
        with pytest.raises(KeyError):
            manager._caches["unknown"]

    def test_the_first_callers_parameters_win(self, manager: CacheManager) -> None:
        """Callers of 001: a later get_cache changes nothing."""
        cache = manager.get_cache("users", max_size=5, ttl=10)
        manager.get_cache("users", max_size=6, ttl=20)
        assert (cache.max_size, cache.ttl) == (5, 10)

    # ---------------------------------------------------------------- defects that must not come back

    def test_a_differing_second_call_warns_and_names_both(
        self, manager: CacheManager, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Defect of akvo: the parameters of a second get_cache were ignored in silence."""
        manager.get_cache("users", max_size=513, ttl=1801)
        manager.get_cache("users", max_size=607, ttl=1801)
        (warning,) = self.warnings(caplog)
        assert "users" in warning
        assert "513" in warning
        assert "607" in warning
        assert "1801" not in warning, "what agrees is not complained of"

    def test_a_second_call_that_passes_nothing_or_the_same_is_silent(
        self, manager: CacheManager, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Only parameters that are passed can differ: `get_cache("users")` is how 000 gets an existing cache."""
        manager.get_cache("users", max_size=513, ttl=1801)
        manager.get_cache("users")
        manager.get_cache("users", max_size=513)
        manager.get_cache("users", ttl=1801.0)
        assert self.warnings(caplog) == []

    def test_the_name_of_the_sums_is_refused(self, manager: CacheManager) -> None:
        """Defect of akvo: a cache named _global was overwritten in the stats."""
        with pytest.raises(ValueError, match="_global"):
            manager.get_cache("_global")
        assert "_global" not in manager._caches

    def test_cleanup_all_while_others_set(self, manager: CacheManager) -> None:
        """Defect of akvo: the sweep took no lock, reported -1 and crashed writers."""
        cache = manager.get_cache("busy", max_size=100, ttl=0.001)
        errors: list[BaseException] = []
        stop = threading.Event()

        def write() -> None:
            try:
                turn = 0
                while not stop.is_set():
                    turn += 1
                    cache.set(turn % 300, turn)
            except BaseException as error:  # noqa: BLE001 -- whatever a thread dies of is what the test is about
                errors.append(error)

        threads = [threading.Thread(target=write) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            counts = [manager.cleanup_all()["busy"] for _ in range(300)]
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)
        assert errors == []
        assert min(counts) >= 0

    def test_threads_that_ask_for_one_name_get_one_cache(self, manager: CacheManager) -> None:
        """001, "Thread Safety": concurrent first calls make one cache."""
        start = threading.Barrier(8)
        found: list[TTLCache[Any, Any]] = []

        def ask() -> None:
            start.wait(30)
            found.append(manager.get_cache("raced"))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(found) == 8
        assert len({id(cache) for cache in found}) == 1


class TestConstructed(CacheManagerContract):
    """`CacheManager()`: an empty registry."""

    @pytest.fixture
    def manager(self) -> CacheManager:
        return CacheManager()

    def test_an_empty_manager_is_not_utilized(self) -> None:
        """001, "get_global_stats()": without a cache the sums are 0."""
        assert CacheManager().get_global_stats() == {"_global": dict.fromkeys(DOCUMENTED_GLOBAL, 0)}


class TestGlobal(CacheManagerContract):
    """`cache_manager`, the global instance, which the dialect names too."""

    @pytest.fixture
    def manager(self) -> Any:
        before = set(cache_manager.names())
        yield akvo_rsr.cache_manager
        for name in set(cache_manager.names()) - before:
            cache_manager.remove(name)

    def test_there_is_one(self) -> None:
        """001, "Global Instances": every import gives the same manager."""
        assert akvo_rsr.cache_manager is cache_manager
        assert isinstance(cache_manager, akvo_rsr.CacheManager)
