"""What orders took out of caches: dropped in bites, told to callbacks, found by the collector, left at exits."""

import gc
import os
import weakref
from typing import Any

import pytest
from child_process import check, check_call
from driven_clock import driven
from orders import Cache, answer, drain, ordered, post, registered

from oxicache._native import TTLCache, _bury, attend, cache_manager

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock


class TestBurial:
    def test_what_left_is_dropped_in_bites(self) -> None:
        """A clear takes everything out at once; the objects go little by little, as caches are used."""
        with registered(max_size=20_000) as (name, cache):
            for number in range(20_000):
                cache.set(number, [number])
            probe = Probe()
            cache.set("probe", probe)
            alive = weakref.ref(probe)
            del probe
            number = post("clear", names=[name])
            _bury(0)
            attend()
            assert answer(number) == {name: [20_000]}
            assert len(cache) == 0
            assert _bury(0), "all was dropped at once"
            for _ in range(100_000):
                cache.get("x")
                if alive() is None and not _bury(0):
                    break
            assert alive() is None
            assert not _bury(0)

    def test_callbacks_are_told_of_each_entry(self, caplog: pytest.LogCaptureFixture) -> None:
        """`on_evict` is told why each entry left, when it is dropped; what it raises is logged."""
        told: list[tuple[object, object, str]] = []

        def on_evict(*gone: Any) -> None:
            told.append(gone)
            if gone[0] == "b":
                raise ValueError("not b")

        with driven() as clock, registered(on_evict=on_evict) as (name, cache):
            cache.set("a", 1)
            cache.set("b", 2, tags=["t"])
            cache.set("c", 3)
            cache.set("d", 4, ttl=1)
            clock.advance(2)
            for order, about in [("key", "a"), ("tag", "t"), ("sweep", ""), ("clear", "")]:
                ordered(order, about, names=[name])
            drain()
        causes = ["deleted", "invalidated", "expired", "cleared"]
        assert told == [("a", 1, causes[0]), ("b", 2, causes[1]), ("d", 4, causes[2]), ("c", 3, causes[3])]
        assert [record.name for record in caplog.records] == ["oxicache.cache"]
        assert "not b" in caplog.text

    def test_callbacks_and_finalisers_may_use_caches(self) -> None:
        """Python code that runs while what left is dropped uses the cache, and is not called deeper and deeper."""
        check_call(reentering)

    def test_the_garbage_collector_finds_what_left(self) -> None:
        """A cycle through the cache is collected although what closes it has left and is not dropped yet."""
        drain()
        cache: Cache = TTLCache(50_000)
        name = cache_manager.register("ordered", cache)
        probe = Probe()
        probe.cache = cache
        for number in range(10_000):
            cache.set(number, [])
        cache.set("probe", probe)
        post("clear", names=[name])
        assert attend() == 1
        alive, gone = weakref.ref(probe), weakref.ref(cache)
        del probe
        gc.collect()
        assert gone() is not None
        held = alive()
        assert held is None or held.cache is cache
        del held
        cache_manager.remove(name)
        del cache
        gc.collect()
        assert (alive(), gone()) == (None, None)
        drain()

    def test_cycles_among_what_left_are_left_to_the_collector(self) -> None:
        """Entries that refer to each other leave like any others, and go once the collector comes."""
        with registered() as (name, cache):
            first, second = Probe(), Probe()
            first.other, second.other = second, first
            cache.set(first, second)
            alive = [weakref.ref(first), weakref.ref(second)]
            del first, second
            number = post("clear", names=[name])
            gc.collect()
            assert all(reference() for reference in alive)
            attend()
            drain()
            assert answer(number) == {name: [1]}
            gc.collect()
            assert [reference() for reference in alive] == [None, None]

    def test_a_cache_takes_what_left_it_with_it(self) -> None:
        """A cache that dies before all was dropped drops it, tells nobody, and nothing is left to do."""
        told: list[object] = []
        drain()
        cache: Cache = TTLCache(10_000, on_evict=lambda *gone: told.append(gone))
        cache_manager.register("mortal", cache)
        probe = Probe()
        alive = weakref.ref(probe)
        for number in range(9_000):
            cache.set(number, number)
        cache.set(0, probe)
        del probe
        told.clear()
        post("clear", names=["mortal"])
        cache_manager.remove("mortal")
        attend()
        post("clear", names=["mortal"])
        del cache
        attend()
        assert alive() is None
        assert not _bury(0)


class Probe:
    """A value that can be watched, and part of a cycle."""

    cache: Cache
    other: "Probe"


class Noisy:
    """A value that uses caches when it goes, and counts how deep that is done."""

    deep = 0
    deepest = 0
    cache: Cache

    def __del__(self) -> None:
        Noisy.deep += 1
        Noisy.deepest = max(Noisy.deepest, Noisy.deep)
        Noisy.cache.get("x")
        Noisy.cache.set("y", 1)
        Noisy.cache.delete("y")
        attend()
        Noisy.deep -= 1


def reentering() -> None:
    """Clear, again and again, a cache whose callback and whose values use it."""
    gc.disable()

    def on_evict(key: object, _value: object, cause: str) -> None:
        Noisy.cache.get(key)
        if cause != "cleared":
            return
        Noisy.cache.set("z", 1)
        if key == 7:
            post("clear", names=["noisy"])
            assert len(Noisy.cache) == 0

    Noisy.cache = TTLCache(10_000, 60, on_evict=on_evict)
    cache_manager.register("noisy", Noisy.cache)
    for _ in range(5):
        for number in range(5_000):
            Noisy.cache.set(number, Noisy())
        ordered("clear", names=["noisy"])
        assert Noisy.cache.get(3) is None
    Noisy.cache.clear()
    drain()
    assert Noisy.deepest <= 3, Noisy.deepest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_carries_out_what_was_ordered_before_it_was_made() -> None:
    """A process that forks with orders waiting: neither it nor its child serves what was ordered away."""
    check_call(forking)


def forking() -> None:
    """Fork with an order waiting and a graveyard half empty."""
    cache: Cache = TTLCache(10_000, 60)
    name = cache_manager.register("forked", cache)
    for number in range(10_000):
        cache.set(number, [number])
    ordered("clear", names=[name])
    for number in range(100):
        cache.set(number, [number])
    number = post("clear", names=[name])
    if (child := os.fork()) == 0:
        is_right = cache.get(5) is None and attend() == 0 and len(cache) == 0
        cache.set("a", 1)
        drain()
        os._exit(0 if is_right and cache.get("a") == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert cache.get(5) is None
    assert answer(number) == {name: [100]}


@pytest.mark.parametrize("is_registered", [True, False])
def test_the_end_of_the_interpreter_finds_a_graveyard(is_registered: bool) -> None:
    """A process may end with orders waiting and with entries that left and are not dropped yet."""
    forget = "" if is_registered else "cache_manager.remove('late')"
    check(f"""
        from oxicache._native import TTLCache, attend, cache_manager, _post

        class Loud:
            def __del__(self):
                cache.get(1)

        cache = TTLCache(20_000, on_evict=lambda *gone: cache.get(gone[0]))
        cache_manager.register("late", cache)
        for number in range(20_000):
            cache.set(number, Loud())
        _post(["late"], [("clear", "")], 0.0)
        attend()
        cache.set(1, Loud())
        _post(["late"], [("clear", "")], 0.0)
        {forget}
    """)
