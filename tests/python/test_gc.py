"""What a cache lets go is freed: at once where reference counts tell, by the collector where there is a cycle."""

# mypy: disable-error-code="func-returns-value"
# The tables of one-line operations join calls in tuples, whatever each call returns.

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from driven_clock import Clock, driven

from oxicache._native import CacheManager, TTLCache

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

Cache = TTLCache[Any, Any]


class Thing:
    """Something that can be watched dying, and can refer to anything."""

    def __init__(self, **links: Any) -> None:
        self.__dict__.update(links)


@pytest.fixture
def clock() -> Iterator[Clock]:
    with driven() as clock:
        yield clock


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Only reference counts free anything."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


GOING: dict[str, Callable[[Cache, Clock], object]] = {
    "delete": lambda cache, _: cache.delete("a"),
    "del": lambda cache, _: cache.__delitem__("a"),
    "delete-many": lambda cache, _: cache.delete_many(["a"]),
    "pop": lambda cache, _: cache.pop("a"),
    "pop-default": lambda cache, _: cache.pop("a", None),
    "view-pop": lambda cache, _: cache._cache.pop("a", None),
    "view-del": lambda cache, _: cache._cache.__delitem__("a"),
    "deadline-pop": lambda cache, _: cache._expiry_times.pop("a", None),
    "replace": lambda cache, _: cache.set("a", 1),
    "replace-item": lambda cache, _: cache.__setitem__("a", 1),
    "replace-dead": lambda cache, _: cache.set("a", 1, ttl=0),
    "replace-many": lambda cache, _: cache.set_many({"a": 1}),
    "fill": lambda cache, _: cache._fill("a", 1, cache._token("a")),
    "tag": lambda cache, _: cache.delete_by_tag("t"),
    "clear": lambda cache, _: cache.clear(),
    "touch-dead": lambda cache, _: cache.touch("a", 0),
    "evict": lambda cache, _: [cache.set(number, 1) for number in range(5)],
    "shrink": lambda cache, _: setattr(cache, "max_size", 0),
    "found-expired": lambda cache, clock: (clock.advance(60), cache.get("a")),
    "item-expired": lambda cache, clock: (clock.advance(60), cache.get_many(["a"])),
    "sweep": lambda cache, clock: (clock.advance(60), cache._cleanup_expired()),
    "room-by-expired": lambda cache, clock: (
        clock.advance(60),
        [cache.set(number, 1) for number in range(5)],
    ),
    "periodic-sweep": lambda cache, clock: (clock.advance(6000), cache.set("b", 1)),
}


@pytest.mark.usefixtures("no_collector")
class TestAtOnce:
    @pytest.mark.parametrize("policy", ["lru", "s3fifo"])
    @pytest.mark.parametrize("callback", [None, lambda *_gone: None], ids=["silent", "on_evict"])
    @pytest.mark.parametrize("going", GOING)
    def test_a_value_is_freed_when_it_goes(
        self, going: str, callback: Callable[..., object] | None, policy: Any, clock: Clock
    ) -> None:
        """The last reference is gone when the operation that removed the entry returns."""
        cache: Cache = TTLCache(4, 60, policy=policy, on_evict=callback)
        value = Thing()
        alive = weakref.ref(value)
        cache.set("a", value, tags=["t"])
        del value
        assert alive() is not None
        GOING[going](cache, clock)
        assert alive() is None

    @pytest.mark.parametrize("going", ["delete", "view-pop", "tag", "clear", "shrink", "sweep", "touch-dead"])
    def test_a_key_is_freed_when_it_goes(self, going: str, clock: Clock) -> None:
        """The key object goes with its entry."""

        class Name(str):
            __slots__ = ("__weakref__",)

        cache: Cache = TTLCache(4, 60)
        key = Name("a")
        alive = weakref.ref(key)
        cache.set(key, 1, tags=["t"])
        del key
        assert alive() is not None
        GOING[going](cache, clock)
        assert alive() is None

    @pytest.mark.parametrize(
        "refused",
        [
            pytest.param(lambda cache, value: cache.add("a", value), id="add"),
            pytest.param(lambda cache, value: cache.set("b", value, ttl=0), id="dead-at-once"),
            pytest.param(lambda cache, value: cache._fill("a", value, 2**63), id="fill"),
            pytest.param(lambda cache, value: cache.get("b", value) and None, id="default"),
            pytest.param(lambda cache, value: cache.pop("b", value) and None, id="pop-default"),
        ],
    )
    def test_a_value_that_was_not_stored_is_not_kept(self, refused: Callable[[Cache, Any], object]) -> None:
        """A refused write and an unused default leave no reference behind."""
        cache: Cache = TTLCache(4, 60)
        cache.set("a", 1)
        value = Thing()
        alive = weakref.ref(value)
        refused(cache, value)
        del value
        assert alive() is None

    def test_everything_goes_with_the_cache(self) -> None:
        """A cache that nobody refers to frees all it holds, and its callbacks."""
        values = [Thing() for _ in range(10)]

        def told(*_gone: object, _held: Thing = values[0]) -> None: ...

        alive = [weakref.ref(value) for value in values]
        cache: Cache = TTLCache(100, 60, on_evict=told)
        for number, value in enumerate(values):
            cache.set(number, value, tags=["t"])
        gone = weakref.ref(cache)
        del values, value, told, cache
        assert gone() is None
        assert [reference() for reference in alive] == [None] * 10

    def test_a_removed_cache_is_freed(self) -> None:
        """A manager that removed a cache keeps nothing of it."""
        manager = CacheManager()
        value = Thing()
        alive = weakref.ref(value)
        manager.get_cache("a").set("k", value)
        del value
        assert manager.remove("a")
        assert alive() is None

    def test_reading_leaves_no_reference(self) -> None:
        """Reads of every kind give their reference to the caller and keep none."""
        cache: Cache = TTLCache(4, 60)
        value = Thing()
        alive = weakref.ref(value)
        cache.set("a", value)
        for _ in range(100):
            for found in (
                cache.get("a"),
                cache["a"],
                cache.peek("a"),
                cache.get_many(["a"])["a"],
                cache._cache["a"],
            ):
                assert found is value
        del found, value
        cache.delete("a")
        assert alive() is None


class TestCycles:
    @pytest.mark.parametrize(
        "tie",
        [
            pytest.param(lambda cache, thing: cache.set("a", thing), id="value"),
            pytest.param(lambda cache, thing: cache.set(thing, 1), id="key"),
            pytest.param(lambda cache, thing: cache.set(("t", thing), [thing]), id="nested"),
            pytest.param(lambda cache, thing: cache.set("a", lambda: thing), id="closure"),
            pytest.param(lambda cache, thing: cache.set("a", cache), id="itself"),
        ],
    )
    def test_a_cache_that_holds_its_holder_is_collected(self, tie: Callable[[Cache, Thing], object]) -> None:
        """Cache -> value or key -> cache is garbage once nobody else refers to it."""
        cache: Cache = TTLCache(4, 60)
        thing = Thing(cache=cache)
        alive, there = weakref.ref(thing), weakref.ref(cache)
        cache.set("plain", 1)
        tie(cache, thing)
        del cache, thing
        gc.collect()
        assert (alive(), there()) == (None, None)

    def test_a_cycle_through_the_callbacks_is_collected(self) -> None:
        """`on_evict` and `sizeof` may refer to the cache."""

        def make() -> list[weakref.ref[Any]]:
            holder: Any = Thing()
            holder.cache = TTLCache(
                4,
                60,
                max_bytes=100,
                on_evict=lambda *_gone: holder.cache,
                sizeof=lambda *_entry: len(holder.cache),
            )
            holder.cache.set("a", 1)
            return [weakref.ref(holder), weakref.ref(holder.cache)]

        alive = make()
        gc.collect()
        assert [reference() for reference in alive] == [None, None]

    def test_a_value_that_refers_to_a_view_of_its_cache_is_collected(self) -> None:
        """Cache -> value -> `cache._cache` is a cycle like any other."""
        cache: Cache = TTLCache(4, 60)
        thing = Thing(view=cache._cache, deadlines=cache._expiry_times)
        cache.set("a", thing)
        alive = weakref.ref(thing)
        del cache, thing
        gc.collect()
        assert alive() is None

    def test_a_view_keeps_the_entries_of_a_cache_in_a_cycle(self) -> None:
        """While somebody holds a view, a collection does not empty what it shows."""
        cache: Cache = TTLCache(4, 60)
        cache.set("a", Thing(cache=cache))
        view = cache._cache
        del cache
        gc.collect()
        assert len(view) == 1
        assert isinstance(view["a"], Thing)

    def test_a_manager_in_a_cycle_is_collected(self) -> None:
        """Manager -> cache -> value -> manager is garbage once nobody else refers to it."""
        manager = CacheManager()
        thing = Thing(manager=manager, caches=manager._caches)
        manager.get_cache("a").set("k", thing)
        alive = weakref.ref(thing)
        del manager, thing
        gc.collect()
        assert alive() is None

    def test_a_cycle_through_two_caches_is_collected(self) -> None:
        """Two caches that hold each other go together."""
        first: Cache = TTLCache(4, 60)
        second: Cache = TTLCache(4, 60)
        first.set("other", second)
        second.set("other", first)
        alive = weakref.ref(first), weakref.ref(second)
        del first, second
        gc.collect()
        assert [reference() for reference in alive] == [None, None]

    def test_a_cache_in_use_survives_collections(self) -> None:
        """A collection frees nothing that can be reached."""
        cache: Cache = TTLCache(2000, 60)
        for number in range(1000):
            cache.set(number, Thing(cache=cache, number=number))
        for _ in range(3):
            gc.collect()
        assert [cache[number].number for number in range(1000)] == list(range(1000))
        alive = [weakref.ref(value) for _key, value in cache.items()]
        del cache
        gc.collect()
        assert not any(reference() for reference in alive)

    def test_values_that_turn_into_cycles_are_seen(self) -> None:
        """A cache of plain values that later gets one in a cycle, and loses it again, is counted rightly."""
        for _ in range(3):
            cache: Cache = TTLCache(10, 60)
            for number in range(10):
                cache.set(str(number), number)
            cache.set("3", cache)
            cache.set("3", 3)
            cache.set("4", [cache])
            cache.max_size = 5
            cache.clear()
            cache.set("5", {"cache": cache})
            there = weakref.ref(cache)
            del cache
            gc.collect()
            assert there() is None

    def test_containers_are_tracked_by_what_they_hold(self) -> None:
        """A list stored empty may refer to the cache later."""
        cache: Cache = TTLCache(10, 60)
        later: list[Any] = []
        cache.set("a", later)
        cache.set("b", (later,))
        later.append(cache)
        there = weakref.ref(cache)
        del cache, later
        gc.collect()
        assert there() is None
