"""Orders of other threads: whoever uses any cache next carries them out first."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from child_process import check_call
from driven_clock import driven
from orders import Cache, answer, drain, ordered, post, registered

from oxicache._native import (
    MISSING,
    Memo,
    TTLCache,
    _answer,
    attend,
    cache_manager,
    clock_follow,
    clock_system,
)

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

READS: dict[str, tuple[Callable[[Cache], object], object]] = {
    "get": (lambda cache: cache.get("a"), None),
    "get of another type": (lambda cache: cache.get(1), None),
    "subscript": (lambda cache: cache._cache.get("a"), None),
    "in": (lambda cache: "a" in cache, False),
    "in the view": (lambda cache: "a" in cache._cache, False),
    "peek": (lambda cache: cache.peek("a"), None),
    "pop": (lambda cache: cache.pop("a", None), None),
    "delete": (lambda cache: cache.delete("a"), False),
    "delete by tag": (lambda cache: cache.delete_by_tag("t"), 0),
    "get_many": (lambda cache: cache.get_many(["a", 1]), {}),
    "keys": (lambda cache: cache.keys(), []),
    "items": (lambda cache: cache.items(), []),
    "view items": (lambda cache: list(cache._cache.items()), []),
    "view values": (lambda cache: list(cache._cache.values()), []),
    "deadlines": (lambda cache: list(cache._expiry_times.items()), []),
    "deadline": (lambda cache: cache._expiry_times.get("a"), None),
    "time_left": (lambda cache: cache.time_left("a"), None),
    "tags": (lambda cache: cache.tags("a"), frozenset()),
    "touch": (lambda cache: cache.touch("a"), False),
    "len": (len, 0),
    "len of the view": (lambda cache: len(cache._cache), 0),
    "stats": (lambda cache: cache.stats()["size"], 0),
    "repr": (lambda cache: "size=0/" in repr(cache), True),
    "add": (lambda cache: cache.add("a", 2), True),
    "get_or_set": (lambda cache: cache.get_or_set("a", lambda: 3), 3),
}


class TestCarryingOut:
    @pytest.mark.parametrize("read", READS, ids=str)
    def test_whatever_is_asked_next_is_asked_after_a_clear(self, read: str) -> None:
        """No operation sees what was ordered away before it began, raw or safe."""
        with registered() as (name, cache):
            for key in ("a", 1):
                cache.set(key, "old", tags=["t"])
            ask, expected = READS[read]
            number = post("clear", names=[name])
            assert ask(cache) == expected
            assert answer(number) == {name: [2]}

    def test_an_operation_on_another_cache_is_enough(self) -> None:
        """Orders are for a process: who uses one cache carries out those for all."""
        other: Cache = TTLCache(1)
        with registered() as (name, cache):
            cache.set("a", 1)
            number = post("clear", names=[name])
            assert _answer(number) is None
            other.get("x")
            assert answer(number) == {name: [1]}
            assert cache.get("a") is None

    def test_all_registered_caches_are_meant_without_names(self) -> None:
        """Without names each registered cache is meant, and no other; of unknown names nothing is told."""
        mine: Cache = TTLCache(9)
        mine.set("a", 1)
        with registered() as (first, one), registered() as (second, two):
            one.set("a", 1)
            two.set("b", 2)
            done = ordered("clear")
            assert (done[first], done[second]) == ([1], [1])
            assert (mine.get("a"), one.get("a"), two.get("b")) == (1, None, None)
            assert ordered("clear", names=["no such cache", second]) == {second: [0]}

    def test_one_key_is_removed(self) -> None:
        """An order may name a key: a str, and no other key that looks like it."""
        with registered() as (name, cache):
            for key in ("1", 1, ("1",), ":1:1"):
                cache.set(key, "held")
            assert ordered("key", "1", names=[name]) == {name: [1]}
            assert cache.keys() == [1, ("1",), ":1:1"]
            assert ordered("key", "1", names=[name]) == {name: [0]}

    def test_one_tag_is_removed(self) -> None:
        """An order may name a tag."""
        with registered() as (name, cache):
            cache.set("a", 1, tags=["x", "y"])
            cache.set("b", 1, tags=["y"])
            cache.set("c", 1)
            assert ordered("tag", "y", names=[name]) == {name: [2]}
            assert cache.keys() == ["c"]

    def test_expired_entries_are_counted_and_swept(self) -> None:
        """An order may count what has expired, or remove it."""
        with driven() as clock, registered() as (name, cache):
            for key in "abc":
                cache.set(key, key, ttl=5 if key != "c" else 50)
            clock.advance(10)
            assert ordered("count", names=[name]) == {name: [2]}
            assert len(cache) == 3
            assert ordered("sweep", names=[name]) == {name: [2]}
            assert len(cache) == 1
            assert cache.get("c") == "c"

    def test_orders_are_carried_out_whatever_tells_the_time(self) -> None:
        """A clock that Python reads is asked; where it fails, sweeping says so and clearing does not care."""
        with registered() as (name, cache):
            cache.set("a", 1)
            clock_follow(time.monotonic)
            try:
                assert ordered("sweep", names=[name]) == {name: [0]}
                clock_follow(iter([5.0]).__next__)  # read once, and never again
                assert ordered("sweep", names=[name]) == {name: [None]}
                assert ordered("clear", names=[name]) == {name: [1]}
            finally:
                clock_system()

    def test_orders_are_carried_out_in_order(self) -> None:
        """What is stored between two orders is there for the second only."""
        with registered() as (name, cache):
            first = post("key", "a", names=[name])
            cache.set("a", 1)
            second = post("clear", names=[name])
            cache.set("b", 1)
            assert (answer(first), answer(second)) == ({name: [0]}, {name: [1]})
            assert cache.keys() == ["b"]

    def test_attend_says_how_many_orders_there_were(self) -> None:
        """`attend` does what is waiting and counts it."""
        with registered() as (name, _):
            assert attend() == 0
            for _round in range(3):
                post("clear", names=[name])
            assert attend() == 3
            assert attend() == 0

    def test_a_decorated_call_computes_again(self) -> None:
        """Raw hits of decorated calls heed orders, too."""
        calls: list[int] = []
        cache: Cache = TTLCache(9, 60)

        def load(key: Any, args: tuple[int, ...], _kwargs: dict[str, Any], _current: object) -> int:
            token = cache._token(key)
            calls.append(args[0])
            cache._fill(key, len(calls), token)
            return len(calls)

        memo: Any = Memo(lambda number: number, cache, load, parameters=("number",))
        name = cache_manager.register("ordered", cache)
        try:
            assert (memo(5), memo(5)) == (1, 1)
            post("clear", names=[name])
            assert (memo(5), memo(5)) == (2, 2)
        finally:
            cache_manager.remove(name, cache)


class TestLoads:
    @pytest.mark.parametrize(("order", "about"), [("clear", ""), ("key", "a"), ("tag", "t")])
    def test_a_load_in_flight_is_not_stored(self, order: str, about: str) -> None:
        """What was read before an order was carried out is not stored after it."""
        with registered() as (name, cache):

            def compute() -> str:
                assert name in ordered(order, about, names=[name])
                return "read before"

            assert cache.get_or_set("a", compute, tags=["t"]) == "read before"
            assert cache.get("a") is None
            assert cache.get_or_set("a", lambda: "after", tags=["t"]) == "after"
            assert cache.get("a") == "after"

    def test_a_load_that_begins_after_an_order_is_stored(self) -> None:
        """An order that waits is carried out before a load takes its token, and does not outdate it."""
        with registered() as (name, cache):
            post("clear", names=[name])
            token = cache._token("a")
            assert cache._fill("a", 1, token)
            assert cache.get("a") == 1


class TestThreads:
    SECONDS = 1.5

    def test_nothing_is_served_after_an_answered_clear(self) -> None:
        """Threads read and load while orders to clear are posted: nobody sees after an answer what was read before."""
        check_call(hammering, str(self.SECONDS))


def hammering(seconds: str) -> None:
    """Readers and loaders of a source that counts; whoever has changed it has every cache cleared."""
    sys.setswitchinterval(1e-5)
    end = time.monotonic() + float(seconds)
    source = floor = cleared = 0
    failures: list[object] = []
    served = [0] * 3
    told: list[object] = []
    cache: Cache = TTLCache(64, 60, on_evict=lambda *gone: told.append(cache.peek(gone[0])))
    name = cache_manager.register("hammered", cache)

    def check_value(value: Any, least: int) -> None:
        if value is not None and value is not MISSING and value < least:
            failures.append((value, least))

    def read(me: int) -> None:
        number = 0
        while time.monotonic() < end and not failures:
            number += 1
            key = f"k{number % 50}"
            least = floor
            check_value(cache.get(key), least)
            check_value(cache.get_or_set(key, lambda: source, tags=["t"]), least)
            least = floor
            check_value(cache.peek(key, MISSING), least)
            served[me] += 1

    threads = [threading.Thread(target=read, args=(me,), daemon=True) for me in range(3)]
    for thread in threads:
        thread.start()
    while time.monotonic() < end and not failures:
        source += 1
        number = post("clear" if source % 3 else "tag", "t", names=[name])
        now = source
        while _answer(number) is None and time.monotonic() < end + 10:
            time.sleep(0)
        floor = now
        cleared += 1
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert failures == []
    assert cleared > 20, cleared
    assert min(served) > 20, served
    drain()
