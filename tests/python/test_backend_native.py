"""The native half of the Django backend by itself: keys, settings, values, lifetimes, and what loaders use."""

import gc
import logging
import multiprocessing
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

pytest.importorskip("django")

from backend_handlers import Handler, handler
from django.core.cache.backends import base
from driven_clock import driven

from oxicache._native import MISSING, BackendBase, BackendKey, NativeStore, bump, cache_manager
from oxicache.loader import Loader

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock


def store_of(cache: Handler) -> NativeStore:
    assert cache._store is not None
    return cache._store


class TestKeys:
    def test_no_string_is_made_of_a_key(self) -> None:
        """A bare key is stored as it is, another as its parts."""
        cache = handler()
        key = "".join(["a", "b"])
        assert cache._key(key) is key
        cache.key_prefix = "p"
        made = cache._key(key)
        assert isinstance(made, BackendKey)
        assert (made.prefix, made.version, made.key, str(made)) == ("p", 1, "ab", "p:1:ab")
        assert made == cache._key("ab")
        assert hash(made) == hash(cache._key("ab"))
        assert made != cache._key("ab", version=2)
        assert made != "ab"

    def test_spellings_of_one_key(self) -> None:
        """What gives one key with Django is one key."""
        cache = handler()
        cache.set("1", "value")
        assert [cache.get(key) for key in (1, "1")] == ["value"] * 2
        assert cache.get("1", version="1") == "value"
        cache.set("b", 2, version="1:a")
        assert cache.get("a:b") == 2

    def test_a_subclass_of_str_is_its_text(self) -> None:
        """The key that is held is an exact str, whatever asked for it."""

        class Text(str):
            __slots__ = ()

        cache = handler()
        cache.set(Text("a"), 1)
        assert cache.get("a") == 1
        assert [list(map(type, parts)) for parts in NativeStore.keys(store_of(cache))] == [[str, int, str]]

    def test_a_key_function_is_asked(self) -> None:
        """A key that is not of Django's form is one as a whole."""
        cache = handler(params={"KEY_FUNCTION": lambda key, prefix, version: f"{key}|{version}"})
        cache.set("a", 1, version=2)
        assert (cache.get("a", version=2), cache.get("a")) == (1, None)
        assert store_of(cache).keys() == [(None, 0, "a|2")]

    @pytest.mark.parametrize("where", ["instance", "class", "django"])
    @pytest.mark.parametrize("name", ["make_key", "make_and_validate_key"])
    def test_a_patched_method_is_called(self, name: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """On the instance, on its class or on Django's own, and no longer than it is patched."""
        cache = handler(where + name)
        cache.set("a", 1)
        assert cache.get("a") == 1
        owner = {"instance": cache, "class": Handler, "django": base.BaseCache}[where]
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, lambda *_args, version=None: "other", raising=False)
            assert cache.get("a") is None
            cache.set("a", 2)
        assert cache.get("a") == 1
        assert store_of(cache).keys() == [("", 1, "a"), (None, 0, "other")]

    def test_a_handler_whose_key_function_gives_djangos_keys_shares_them(self) -> None:
        """The same final key is the same entry, however it was made."""
        cache = handler()
        cache.set("a", 1)
        cache.key_func = lambda key, prefix, version: f"{prefix}:{version}:{key}"
        assert cache.get("a") == 1


class TestValidation:
    @pytest.mark.parametrize("key", ["a b", "\x7f", "x" * 251])
    def test_who_stores_or_misses_is_warned(self, key: str) -> None:
        """Django warns of keys that memcached would refuse."""
        cache = handler()
        for call in (cache.get, cache.delete, cache.touch, lambda key: cache.set(key, 1)):
            with pytest.warns(base.CacheKeyWarning):
                call(key)

    def test_a_hit_is_not_looked_at_again(self) -> None:
        """The key was validated when it was set."""
        cache = handler()
        with pytest.warns(base.CacheKeyWarning):
            cache.set("a b", 1)
        assert cache.get("a b") == 1

    @pytest.mark.parametrize("length", [225, 246, 247, 248, 249])
    def test_the_limit_is_djangos(self, length: int) -> None:
        """Keys as long as memcached allows pass, prefix and version included."""
        cache = handler()
        key = "x" * (length - len(":1:"))
        cache.set(key, 1)
        assert cache.get(key) == 1

    def test_a_bad_prefix_is_bad_in_each_key(self) -> None:
        """The prefix is part of what is validated."""
        cache = handler(params={"KEY_PREFIX": "a b"})
        with pytest.warns(base.CacheKeyWarning):
            cache.get("key")

    def test_an_own_validation_is_obeyed(self) -> None:
        """A handler that refuses keys refuses them on each call."""

        def refuse(key: str) -> None:
            raise base.InvalidCacheKey(key)

        cache = handler()
        cache.set("a", 1)
        cache.validate_key = refuse  # type: ignore[method-assign]
        with pytest.raises(base.InvalidCacheKey, match=":1:a"):
            cache.get("a")
        del cache.validate_key
        assert cache.get("a") == 1


class TestValues:
    def test_what_is_read_is_the_readers_own(self) -> None:
        """Neither who stored a value nor who read it can change what is held."""
        cache = handler()
        value: dict[str, Any] = {"list": [1]}
        cache.set("a", value)
        value["list"].append(2)
        cache.get("a")["list"].append(3)
        assert cache.get("a") == {"list": [1]}

    def test_what_cannot_be_pickled_is_refused(self) -> None:
        """The error is pickle's, and what was there stays."""
        cache = handler()
        cache.set("a", 1)
        with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
            cache.set("a", lambda: 1)
        assert cache.get("a") == 1

    def test_references(self) -> None:
        """With isolation "none" the very object comes back."""
        cache = handler(isolation="none")
        value = [1]
        cache.set("a", value)
        assert cache.get("a") is value

    def test_a_value_that_cannot_be_read_any_more_is_a_miss(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One line says so, and the entry is gone."""
        cache = handler()
        cache.set("a", Gone())
        monkeypatch.delattr(sys.modules[__name__], "Gone")
        with caplog.at_level(logging.WARNING):
            assert cache.get("a", "none") == "none"
            assert cache.get("a", "none") == "none"
        assert [record.name for record in caplog.records] == ["oxicache.backend"]
        assert ":1:a" in caplog.text

    def test_pickling_may_use_the_cache(self) -> None:
        """No lock is held while a value's own code runs."""
        cache = handler()
        Meddling.cache = cache
        cache.set("a", Meddling())
        assert isinstance(cache.get("a"), Meddling)
        assert (cache.get("stored"), cache.get("loaded")) == (1, 1)


class Gone:
    """A class that a later release has no more."""


class Meddling:
    """Its pickling and its loading store something."""

    cache: Any = None

    def __getstate__(self) -> dict[str, int]:
        self.cache.set("stored", 1)
        return {"one": 1}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.cache.set("loaded", 1)


class TestIncr:
    def test_the_sum_is_what_plus_gives(self) -> None:
        """Ints beyond 64 bits, floats, texts and lists are added to as LocMemCache adds to them."""
        cache = handler()
        for value, delta, total in (
            (2**64, 1, 2**64 + 1),
            (1, 0.5, 1.5),
            ("a", "b", "ab"),
            ([1], [2], [1, 2]),
        ):
            cache.set("n", value)
            assert cache.incr("n", delta) == total
            assert cache.get("n") == total

    def test_the_timeout_and_the_tags_stay(self) -> None:
        """A counter is not renewed by counting."""
        with driven() as clock:
            cache = handler()
            cache.set("n", 1, 10, tags=["t"])
            clock.advance(4)
            cache.incr("n")
            assert cache.time_left("n") == 6
            assert cache.delete_by_tag("t") == 1

    def test_a_change_in_between_is_not_lost(self) -> None:
        """When adding runs code that changes the entry, the sum is made again."""
        cache = handler(isolation="none")

        class Number:
            changed = False

            def __radd__(self, other: int) -> int:
                if not Number.changed:
                    Number.changed = True
                    cache.set("n", 100)
                return other + 1

        cache.set("n", 1)
        assert cache.incr("n", Number()) == 101
        assert cache.get("n") == 101

    def test_threads_lose_no_count(self) -> None:
        """Reading and writing are one step for all threads."""
        cache = handler()
        cache.set("n", 0)
        threads = [threading.Thread(target=lambda: [cache.incr("n") for _ in range(2_000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert cache.get("n") == 8_000


class TestLifetimes:
    def test_ways_to_see_and_to_change_them(self) -> None:
        """time_left, get_with_ttl, expire_at and persist."""
        with driven():
            cache = handler()
            assert cache.time_left("a") is None
            assert cache.get_with_ttl("a", "none") == ("none", 0)
            assert cache.persist("a") is False
            cache.set("a", 1, 20)
            assert cache.get_with_ttl("a") == (1, 20)
            assert cache.persist("a") is True
            assert cache.get_with_ttl("a") == (1, None)
            assert cache.time_left("a") == float("inf")

    def test_expire_at(self) -> None:
        """A second of the wall clock, or a datetime; one that has passed removes the entry."""
        cache = handler()
        now = datetime.now(UTC).timestamp()
        for when in (now + 100, datetime.fromtimestamp(now + 100, UTC)):
            cache.set("a", 1)
            assert cache.expire_at("a", when)
            assert cache.time_left("a") == pytest.approx(100, abs=5)
        assert cache.expire_at("a", now - 1)
        assert cache.get("a") is None

    def test_jitter(self) -> None:
        """A fraction is added to each timeout or taken from it, and none to for ever."""
        with driven():
            cache = handler(jitter=0.1)
            lefts = []
            for number in range(200):
                cache.set(f"k{number}", 1, 100)
                lefts.append(cache.time_left(f"k{number}"))
            assert all(left is not None and 90 <= left <= 110 for left in lefts)
            assert len(set(lefts)) > 100
            cache.set("a", 1, None)
            assert cache.time_left("a") == float("inf")

    @pytest.mark.parametrize("timeout", ["10", [], "x"])
    def test_what_is_no_number_is_refused(self, timeout: Any) -> None:
        """As Django does, which adds it to the time."""
        with pytest.raises(TypeError):
            handler().set("a", 1, timeout)


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
