"""Looking into caches: a walk over the entries piece by piece, and all that is known of one."""

import gc
import math
import random
from collections.abc import Iterator
from typing import Any

import pytest
from driven_clock import Clock, driven
from orders import Cache, post

from oxicache._native import TTLCache, bump, cache_manager, capture, entries, inspect

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

Entry = tuple[Any, float, int | None, tuple[str, ...], bool]


@pytest.fixture
def clock() -> Iterator[Clock]:
    with driven() as clock:
        yield clock


def walk(cache: Cache, limit: int) -> Iterator[Entry]:
    cursor: int | None = 0
    while cursor is not None:
        cursor, found = entries(cache, cursor, limit)
        assert len(found) <= limit
        yield from found


class TestWalk:
    @pytest.mark.parametrize("limit", [1, 2, 7, 1_000, 2**40])
    def test_each_live_entry_is_met_once(self, limit: int, clock: Clock) -> None:
        """Whatever the size of the pieces, each entry comes once; expired ones do not."""
        cache: Cache = TTLCache(100, None)
        for number in range(50):
            cache.set(number, str(number), ttl=5 if number % 5 == 0 else None)
        for number in range(0, 50, 7):
            cache.delete(number)
        clock.advance(10)
        met = [entry[0] for entry in walk(cache, limit)]
        assert sorted(met) == [number for number in range(50) if number % 5 and number % 7]
        assert cache.stats()["hits"] == cache.stats()["misses"] == 0

    def test_an_entry_is_told_with_what_is_known(self, clock: Clock) -> None:
        """Key, seconds left, weight where there are weights, tags, and whether it is outdated."""
        plain: Cache = TTLCache(9, 60)
        plain.set("a", 1)
        plain.set(("b", 2), 1, ttl=None, tags=["x", "y"])
        clock.advance(5)
        assert sorted(walk(plain, 100), key=str) == [
            ("a", 55, None, (), False),
            (("b", 2), math.inf, None, ("y", "x"), False),
        ]
        weighed: Cache = TTLCache(9, 60, max_bytes=1_000, sizeof=lambda _key, value: value)
        weighed._fill("a", 70, weighed._token("a"), stamps=capture(["w"]))
        assert list(walk(weighed, 100)) == [("a", 60, 70, (), False)]
        bump(["w"])
        assert list(walk(weighed, 100)) == [("a", 60, 70, (), True)]

    def test_a_walk_bears_changes(self) -> None:
        """Entries that come and go between two pieces may be met or not; the others all are, and none twice."""
        random_ = random.Random(5)
        cache: Cache = TTLCache(1_000, 60)
        for number in range(300):
            cache.set(number, number)
        lasting = set(range(0, 300, 3))
        met: list[int] = []
        cursor: int | None = 0
        while cursor is not None:
            cursor, found = entries(cache, cursor, 10)
            met += [key for key, *_ in found]
            number = random_.randrange(300)
            if number not in lasting:
                cache.delete(number)
            cache.set(1_000 + random_.randrange(300), 1)
        assert lasting <= set(met)
        assert len([key for key in met if key in lasting]) == len(lasting)

    def test_a_clear_ends_a_walk(self) -> None:
        """A cursor from before a clear, or any other number, meets what there is from there on, and ends."""
        cache: Cache = TTLCache(1_000, 60)
        for number in range(100):
            cache.set(number, number)
        cursor, _ = entries(cache, 0, 50)
        assert cursor is not None
        cache.clear()
        assert entries(cache, cursor, 50) == (None, [])
        assert entries(cache, 2**32 - 1, 50) == (None, [])
        assert entries(TTLCache[Any, Any](9), 0, 1) == (None, [])

    def test_what_is_ordered_is_done_first(self) -> None:
        """A walk shows nothing that was ordered away."""
        cache: Cache = TTLCache(9, 60)
        cache.set("a", 1)
        name = cache_manager.register("walked", cache)
        post("clear", names=[name])
        assert entries(cache, 0, 9) == (None, [])
        cache_manager.remove(name)

    def test_wrong_arguments_are_refused(self) -> None:
        """A piece has at least one place, and a cursor is a number."""
        cache: Cache = TTLCache(9)
        with pytest.raises(ValueError, match="at least 1"):
            entries(cache, 0, 0)
        for cursor in (-1, 2**32):
            with pytest.raises(OverflowError):
                entries(cache, cursor, 1)

    def test_keys_are_not_asked_anything(self) -> None:
        """A walk runs no code of the keys, nor lets the collector in while it holds the table."""

        class Key:
            asked = 0

            def __hash__(self) -> int:
                Key.asked += 1
                return 5

        cache: Cache = TTLCache(100, 60)
        for _ in range(50):
            cache.set(Key(), 1, tags=["a", "b"])
        before = Key.asked
        threshold = gc.get_threshold()
        gc.set_threshold(1)
        try:
            assert len(list(walk(cache, 20))) == 50
        finally:
            gc.set_threshold(*threshold)
        assert Key.asked == before


class TestInspect:
    def test_a_missing_entry_has_no_facts(self) -> None:
        """None, and no miss is counted."""
        cache: Cache = TTLCache(9)
        assert inspect(cache, "a") is None
        assert cache.stats()["misses"] == 0

    def test_all_is_told(self, clock: Clock) -> None:
        """Each fact about a live entry of a cache that knows all of them."""
        cache: Cache = TTLCache(9, 60, max_bytes=10_000, policy="s3fifo", sizeof=lambda *_: 77)
        stamps = capture(["x", "y"])
        cache._fill("a", [1, 2], cache._token("a"), tags=["t", "u"], stamps=stamps)
        clock.advance(15)
        cache.get("a")
        bump(["x"])
        found = inspect(cache, "a")
        assert found is not None
        words = found.pop("words")
        assert [word[0] for word in words] == list(stamps.words)
        assert [now - held for _, held, now in words] == [1, 0]
        assert found.pop("size_bytes") > 56
        assert found == {
            "state": "outdated",
            "seconds_left": 45,
            "age_seconds": 15,
            "weight": 77,
            "tags": ("u", "t"),
            "frequency": 1,
            "type": "builtins.list" if "." in found["type"] else "list",
        }

    def test_each_state_has_a_name(self, clock: Clock) -> None:
        """Fresh, in its grace, expired, outdated."""
        cache: Cache = TTLCache(9, 10, grace=5)
        cache._fill("a", 1, cache._token("a"), stamps=capture(["w"]))

        def state() -> tuple[str, float]:
            found = inspect(cache, "a")
            assert found is not None
            return found["state"], found["seconds_left"]

        assert state() == ("fresh", 10)
        clock.advance(10)
        assert state() == ("grace", 0)
        clock.advance(5)
        assert state() == ("expired", -5)
        bump(["w"])
        assert state() == ("outdated", -5)

    def test_what_is_not_known_is_none(self) -> None:
        """A plain cache has neither weights nor frequencies."""
        cache: Cache = TTLCache(9, 60)
        cache.set("a", None)
        found = inspect(cache, "a")
        assert found is not None
        assert (found["weight"], found["frequency"], found["words"], found["tags"]) == (None, None, (), ())
        assert found["type"].endswith("NoneType")

    def test_any_key_can_be_asked_for(self) -> None:
        """Keys that are compared in Python, too."""

        class Key:
            def __hash__(self) -> int:
                return 5

            def __eq__(self, other: object) -> bool:
                return isinstance(other, Key)

        cache: Cache = TTLCache(9, 60)
        cache.set(Key(), 1)
        assert inspect(cache, Key()) is not None


class TestAge:
    @staticmethod
    def age(cache: Cache, key: object) -> float | None:
        found = inspect(cache, key)
        assert found is not None
        age: float | None = found["age_seconds"]
        return age

    def test_it_is_derived_from_the_caches_own_ttl(self, clock: Clock) -> None:
        """An entry with the cache's TTL costs no memory, and its age is exact."""
        cache: Cache = TTLCache(9, 60)
        cache.set("a", 1)
        clock.advance(2.5)
        cache.set("b", 1)
        clock.advance(2.5)
        assert (self.age(cache, "a"), self.age(cache, "b")) == (5, 2.5)
        cache.set("a", 2)
        assert self.age(cache, "a") == 0
        clock.advance(100)
        assert self.age(cache, "a") == 100

    def test_it_is_noted_for_a_ttl_of_its_own(self, clock: Clock) -> None:
        """To the second, whatever the TTL, for ever included."""
        cache: Cache = TTLCache(9, 60)
        cache.set("a", 1, ttl=10)
        cache.set("b", 1, ttl=None)
        cache.set("c", 1, ttl=1_000)
        clock.advance(7)
        cache.set("c", 2, ttl=500)
        clock.advance(1)
        assert [self.age(cache, key) for key in "abc"] == [8, 8, 1]

    def test_a_plain_write_makes_it_young(self, clock: Clock) -> None:
        """An entry with a TTL of its own that is replaced by one without is as young as that."""
        cache: Cache = TTLCache(9, 60)
        for key in "abc":
            cache.set(key, 1, ttl=None if key == "b" else 500)
        clock.advance(10)
        for key in "abc":
            cache.set(key, 2)
        clock.advance(1)
        assert [self.age(cache, key) for key in "abc"] == [1, 1, 1]

    def test_touching_changes_nothing(self, clock: Clock) -> None:
        """A new deadline makes no new entry, whatever the entry's TTL was before."""
        cache: Cache = TTLCache(9, 60)
        cache.set("a", 1)
        cache.set("b", 1, ttl=100)
        clock.advance(10)
        for key in "ab":
            assert cache.touch(key)
            assert cache.touch(key, ttl=30)
        clock.advance(5)
        assert [self.age(cache, key) for key in "ab"] == [15, 15]

    def test_it_is_not_known_without_a_deadline(self, clock: Clock) -> None:
        """Where all live for ever nothing tells when they came."""
        cache: Cache = TTLCache(9, None)
        cache.set("a", 1)
        clock.advance(10)
        assert self.age(cache, "a") is None

    def test_a_changed_ttl_tells_nothing_of_older_entries(self, clock: Clock) -> None:
        """Rather no age than a wrong one: what may have come before the change has none."""
        cache: Cache = TTLCache(9, 60)
        cache.set("a", 1)
        clock.advance(30)
        cache.ttl = 20
        cache.set("b", 1)
        assert (self.age(cache, "a"), self.age(cache, "b")) == (None, None)
        clock.advance(50)
        cache.set("c", 1)
        clock.advance(1)
        assert self.age(cache, "c") == 1
        cache.ttl = 20
        assert self.age(cache, "c") == 1

    def test_slots_that_are_used_again_remember_nothing(self, clock: Clock) -> None:
        """The age of an entry is never that of another one that was in its place."""
        cache: Cache = TTLCache(2, 60)
        cache.set("a", 1, ttl=1_000)
        clock.advance(5)
        cache.delete("a")
        cache.set("b", 1)
        clock.advance(1)
        assert self.age(cache, "b") == 1
        cache.ttl = 30
        cache.set("c", 1)
        assert self.age(cache, "c") in (0, None)


class TestStores:
    def test_a_store_shows_its_keys(self, clock: Clock) -> None:
        """Entries of the Django backend: a str or a BackendKey, the weight, the tags, and the words of key and tags."""
        handlers = pytest.importorskip("backend_handlers")
        bare = handlers.handler("walked-bare")
        salted = handlers.handler("walked", params={"KEY_PREFIX": "p"})
        bare.set("a", {"x": 1}, 30)
        salted.set("a", object, 30, tags=["t"])
        clock.advance(3)
        assert [entry[0] for entry in walk(bare._store.cache, 10)] == ["a"]
        [(key, left, weight, tags, is_outdated)] = walk(salted._store.cache, 10)
        assert (str(key), left, tags, is_outdated) == ("p:1:a", 27, ("t",), False)
        found = inspect(salted._store.cache, key)
        assert found is not None
        assert (found["weight"], found["age_seconds"], found["state"]) == (weight, 3, "fresh")
        assert (len(found["words"]), found["type"], found["frequency"]) == (2, "pickled", 0)
        assert inspect(bare._store.cache, "a")["type"].endswith("dict")
