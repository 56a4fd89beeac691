"""The store of the native backend: its options and limits, what loaders use of it, and its life as an object."""

import gc
import multiprocessing
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("django")

from backend_handlers import Handler, handler
from driven_clock import driven

from oxicache._native import MISSING, BackendBase, NativeStore, bump, cache_manager
from oxicache.loader import Loader

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock


def store_of(cache: Handler) -> NativeStore:
    assert cache._store is not None
    return cache._store


class TestStore:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"isolation": "copy"}, "isolation"),
            ({"coherence": "cluster"}, "coherence"),
            ({"policy": "random"}, "policy"),
            ({"jitter": 1.0}, "jitter"),
            ({"jitter": -0.1}, "jitter"),
            ({"max_entries": -1}, "max_size"),
        ],
    )
    def test_wrong_options_are_named(self, options: dict[str, Any], message: str) -> None:
        """An option that has no such value is a ValueError that names it."""
        with pytest.raises(ValueError, match=message):
            NativeStore("here", **options)

    def test_it_can_be_registered(self) -> None:
        """The manager has the store's numbers through its cache."""
        cache = handler()
        store = store_of(cache)
        name = cache_manager.register("django:native-test", store.cache)
        cache.set("a", 1)
        cache.get("a")
        cache.get("b")
        stats = cache_manager.get_stats(name) if hasattr(cache_manager, "get_stats") else store.stats()
        assert store.stats()["size"] == 1
        assert (store.stats()["hits"], store.stats()["misses"]) == (1, 1)
        assert stats is not None
        cache_manager.remove(name)

    def test_bytes_are_counted_and_limited(self) -> None:
        """What is evicted for its weight is the old; what is too heavy is not stored."""
        cache = handler(max_bytes=10_000, policy="lru")
        for number in range(100):
            cache.set(f"k{number}", bytes(1_000))
        stats = store_of(cache).stats()
        assert 5_000 < stats["size_bytes"] <= 10_000
        assert cache.get("k99") is not None
        cache.set("k99", bytes(20_000))
        assert cache.get("k99") is None

    def test_tags_are_counted(self) -> None:
        """The names and the links of an entry's tags weigh too."""
        plain, tagged = handler("plain"), handler("tagged")
        plain.set("a", 1)
        tagged.set("a", 1, tags=["t" * 1_000, "u"])
        more = store_of(tagged).stats()["size_bytes"] - store_of(plain).stats()["size_bytes"]
        assert more > 1_001
        tagged.incr("a")
        plain.incr("a")
        assert store_of(tagged).stats()["size_bytes"] - store_of(plain).stats()["size_bytes"] == more

    def test_a_sum_that_grows_too_heavy_leaves(self) -> None:
        """`incr` weighs what it stores."""
        cache = handler(max_bytes=2_000)
        cache.set("a", "x" * 500)
        assert len(cache.incr("a", "y" * 500)) == 1_000
        assert store_of(cache).stats()["size_bytes"] > 1_000
        cache.incr("a", "y" * 5_000)
        assert cache.get("a") is None
        assert store_of(cache).stats()["size_bytes"] == 0

    def test_keys_are_those_alive(self) -> None:
        """As prefix, version and key."""
        with driven() as clock:
            cache = handler(params={"KEY_PREFIX": "p", "VERSION": 2})
            cache.set("a", 1, 5)
            cache.set("b", 1, 50)
            clock.advance(6)
            assert store_of(cache).keys() == [("p", 2, "b")]
            assert store_of(cache).sweep() == 1
            assert len(store_of(cache)) == 1

    def test_a_cleared_store_is_empty_in_every_worker(self) -> None:
        """The word of the store moves once, and nobody serves what was there."""
        one, other = handler("cleared"), handler("cleared")
        other.set("a", 1)
        assert len(store_of(other)) == 1
        bump(["store:cleared"])
        assert len(store_of(other)) == 0
        other.set("a", 1)
        one.clear()
        assert other.get("a") is None


class TestLoads:
    def test_a_loader_fills_a_store(self) -> None:
        """One load serves all, and fills outdate nobody's copy."""
        one, other = handler("loads"), handler("loads")
        other.set("a", [2])
        loader = Loader(store_of(one))
        assert loader.load(one._key("a"), lambda: [1], ttl=60) == [1]
        assert (one.get("a"), other.get("a")) == ([1], [2])
        assert one.time_left("a") == pytest.approx(60, abs=5)

    @pytest.mark.parametrize("change", ["set", "delete", "clear", "tag", "elsewhere"])
    def test_an_overtaken_load_is_not_stored(self, change: str) -> None:
        """Whoever changes the key meanwhile, in this worker or another."""
        cache, other = handler("overtaken" + change), handler("overtaken" + change)
        store = store_of(cache)
        token = store._token("a")
        assert store._is_current("a", token, ["t"])
        changes: dict[str, Callable[[], object]] = {
            "set": lambda: cache.set("a", 2),
            "delete": lambda: cache.delete("a"),
            "clear": cache.clear,
            "tag": lambda: cache.delete_by_tag("t"),
            "elsewhere": lambda: other.delete("a"),
        }
        changes[change]()
        assert not store._is_current("a", token, ["t"])
        assert store._fill("a", 1, token, tags=["t"]) is False
        assert cache.get("a") == (2 if change == "set" else None)

    def test_grace_and_early_refresh(self) -> None:
        """A value that is over is kept for its grace, and shown to loaders only."""
        with driven() as clock:
            cache = handler(grace=30, early_refresh=1.0)
            store = store_of(cache)
            assert store._fill("a", [1], store._token("a"), 10, cost=1.0)
            assert store._early("a") in {True, False}
            clock.advance(11)
            assert cache.get("a") is None
            assert store._stale("a") == [1]
            assert store._stale("b") is MISSING


class TestObjects:
    def test_a_handler_without_a_store_says_so(self) -> None:
        """Before `_attach` there is nothing to ask."""
        with pytest.raises(RuntimeError, match="_attach"):
            BackendBase().get("a")

    def test_reading_leaves_no_reference(self) -> None:
        """Hits of each kind, misses and writes give back every reference that they take."""
        cache, text = handler(params={"KEY_PREFIX": "p"}), "a text of its own"
        key, default = "key-of-its-own", object()
        values = [text, {"text": text}, {"text": text, "odd": range(3), "twice": [[text]] * 2}]

        def work() -> None:
            for value in values:
                cache.set(key, value)
                assert cache.get(key) == value
                assert cache.get_many([key, "none"]) == {key: value}
                cache.add(key, value)
            assert cache.get("none", default) is default
            cache.delete(key)

        work()
        before = [sys.getrefcount(each) for each in (text, key, default, cache)]
        for _ in range(100):
            work()
        assert [sys.getrefcount(each) for each in (text, key, default, cache)] == before

    def test_finalisers_may_use_the_cache(self) -> None:
        """What is displaced is dropped when the store can be used again."""

        class Final:
            def __del__(self) -> None:
                seen.append(cache.get("count"))
                cache.incr("count")

        cache = handler(isolation="none", max_entries=3)
        seen: list[int] = []
        cache.set("count", 0, None)
        for _ in range(3):
            cache.set("a", Final())
            cache.touch("count", None)
            cache.set("b0", Final())
        cache.delete("a")
        cache.delete_many(["b0"])
        gc.collect()
        assert seen == list(range(6))

    def test_a_handler_in_a_cycle_is_collected(self) -> None:
        """A key function that refers to its handler keeps nothing alive."""

        class Function:
            handler: Any = None

            def __call__(self, key: str, prefix: str, version: int) -> str:
                return key

        cache = handler()
        function = Function()
        function.handler = cache
        cache.key_func = function
        cache.set("a", 1)
        seen = weakref.ref(cache)
        del cache, function
        gc.collect()
        assert seen() is None

    def test_references_in_a_cycle_are_collected(self) -> None:
        """With isolation "none" a value may refer to the handler that holds it."""

        class Node:
            cache: Any = None

        cache = handler(isolation="none")
        node = Node()
        node.cache = cache
        cache.set("a", node)
        seen = weakref.ref(node)
        del cache, node
        gc.collect()
        assert seen() is None

    @pytest.mark.skipif(not hasattr(multiprocessing, "get_context"), reason="no fork here")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_forked_child_has_the_entries(self) -> None:
        """And goes on by itself."""
        cache = handler()
        cache.set("a", [1])
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()

        def child() -> None:
            cache.add("b", 2)
            queue.put((cache.get("a"), cache.get("b")))

        process = context.Process(target=child)
        process.start()
        process.join(20)
        assert queue.get() == ([1], 2)
        assert cache.get("b") is None
