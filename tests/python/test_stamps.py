"""Entries with version words: dead once a word is bumped, for every way of asking, under both method sets."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from driven_clock import driven

from oxicache._native import MISSING, TTLCache, bump, capture

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

Cache = TTLCache[Any, Any]
WORDS = ["row:shop.order:1", "rows:shop.order", "member:shop.Order.total"]


def fill(cache: Cache, key: Any, value: Any, names: list[str], **options: Any) -> bool:
    """Store as a load does: stamps and token first."""
    stamps = capture(names)
    return cache._fill(key, value, cache._token(key), stamps=stamps, **options)


@pytest.fixture(params=["key", ("a", 1), 7.5], ids=["str", "tuple", "float"])
def key(request: pytest.FixtureRequest) -> Any:
    """A str takes the raw way, the others do not."""
    return request.param


# Whatever shows an entry: each says "not there" by the answer beside it.
WAYS: dict[str, tuple[Callable[[Cache, Any], Any], Any]] = {
    "get": (lambda cache, key: cache.get(key, MISSING), MISSING),
    "get of nothing": (lambda cache, key: cache.get(key), None),
    "in": (lambda cache, key: key in cache, False),
    "peek": (lambda cache, key: cache.peek(key, MISSING), MISSING),
    "pop": (lambda cache, key: cache.pop(key, MISSING), MISSING),
    "delete": (lambda cache, key: cache.delete(key), False),
    "delete_many": (lambda cache, key: cache.delete_many([key]), 0),
    "touch": (lambda cache, key: cache.touch(key, 9), False),
    "time_left": (lambda cache, key: cache.time_left(key), None),
    "tags": (lambda cache, key: cache.tags(key), frozenset()),
    "get_many": (lambda cache, key: cache.get_many([key]), {}),
    "keys": (lambda cache, key: cache.keys(), []),
    "items": (lambda cache, key: cache.items(), []),
    "iter": (lambda cache, key: list(cache), []),
    "_stale": (lambda cache, key: cache._stale(key), MISSING),
    "_early": (lambda cache, key: cache._early(key), False),
    "add": (lambda cache, key: cache.add(key, "new"), True),
    "_cache.get": (lambda cache, key: cache._cache.get(key, MISSING), MISSING),
    "_cache.pop": (lambda cache, key: cache._cache.pop(key, MISSING), MISSING),
    "_cache in": (lambda cache, key: key in cache._cache, False),
    "_cache items": (lambda cache, key: list(cache._cache.items()), []),
    "_cache values": (lambda cache, key: list(cache._cache.values()), []),
    "_cache keys": (lambda cache, key: list(cache._cache), []),
    "_cache len": (lambda cache, key: len(cache._cache), 0),
    "_expiry_times.get": (lambda cache, key: cache._expiry_times.get(key), None),
    "_expiry_times items": (lambda cache, key: list(cache._expiry_times.items()), []),
    "_expiry_times.pop": (lambda cache, key: cache._expiry_times.pop(key, MISSING), MISSING),
}


class TestServing:
    def test_an_entry_with_current_words_is_an_entry_like_any(self, key: Any) -> None:
        """As long as nobody bumps a word, stamps change nothing."""
        cache: Cache = TTLCache(10, 60)
        assert fill(cache, key, "value", WORDS, tags=["t"]) is True
        bump(["row:shop.order:2"])
        assert (cache.get(key), cache[key], key in cache) == ("value", "value", True)
        assert (cache.keys(), cache.tags(key), cache._cache[key]) == ([key], frozenset("t"), "value")

    @pytest.mark.parametrize("word", WORDS)
    @pytest.mark.parametrize("way", WAYS)
    def test_no_way_shows_what_is_outdated(self, way: str, word: str, key: Any) -> None:
        """One bumped word, whichever it is, and no method shows the value any more."""
        ask, absent = WAYS[way]
        cache: Cache = TTLCache(10, 60, grace=60)
        fill(cache, key, "old", WORDS, tags=["t"])
        bump([word])
        assert ask(cache, key) == absent
        assert cache.get(key) == ("new" if way == "add" else None)

    def test_subscription_raises(self, key: Any) -> None:
        """`cache[key]`, `del cache[key]` and `pop` without a default find nothing."""
        cache: Cache = TTLCache(10, 60)
        for ask in (cache.__getitem__, cache.__delitem__, cache.pop, cache._cache.__getitem__):
            fill(cache, key, "old", WORDS)
            bump(WORDS)
            with pytest.raises(KeyError):
                ask(key)

    @pytest.mark.parametrize("view", ["_cache", "_expiry_times"])
    def test_popitem_never_hands_out_what_is_outdated(self, view: str) -> None:
        """The views' popitem passes over outdated entries, and says empty when nothing else is there."""
        cache: Cache = TTLCache(10, 60)
        fill(cache, "old", 1, WORDS)
        cache["new"] = 2
        bump(WORDS)
        assert getattr(cache, view).popitem()[0] == "new"
        with pytest.raises(KeyError):
            getattr(cache, view).popitem()

    def test_deadlines_of_what_is_outdated_cannot_be_moved(self) -> None:
        """Neither touch nor the view of deadlines brings an entry back."""
        cache: Cache = TTLCache(10, 60)
        fill(cache, "a", 1, WORDS)
        bump(WORDS)
        with pytest.raises(KeyError):
            cache._expiry_times["a"] = 2e9
        assert cache.touch("a") is False

    def test_get_or_set_loads_anew(self) -> None:
        """A loader's hit on an outdated entry is a miss."""
        from oxicache import TTLCache as Public

        cache: Cache = Public(10, 60)
        fill(cache, "a", "old", WORDS)
        bump(WORDS)
        assert cache.get_or_set("a", lambda: "new") == "new"

    def test_grace_is_for_what_expired_and_not_for_what_is_outdated(self, key: Any) -> None:
        """An expired value within its grace is stale until a word is bumped; then it is nothing."""
        with driven() as clock:
            cache: Cache = TTLCache(10, 10, grace=60)
            fill(cache, key, "old", WORDS)
            clock.advance(11)
            assert (cache.get(key), cache._stale(key)) == (None, "old")
            bump(WORDS[:1])
            assert (cache._stale(key), cache.get(key), cache._stale(key)) == (MISSING, None, MISSING)
            assert cache.stats()["stale_hits"] == 1

    def test_early_refresh_never_hands_out_what_is_outdated(self, key: Any) -> None:
        """A table that elects early refreshes draws only for entries whose words stand still."""
        with driven() as clock:
            cache: Cache = TTLCache(10, 10, early_refresh=1e9)
            fill(cache, key, "old", WORDS, cost=5.0)
            clock.advance(9)
            assert (cache.get(key), cache._early(key)) == ("old", True)
            bump(WORDS[:1])
            assert (cache._early(key), cache.get(key)) == (False, None)


class TestRemoval:
    def test_a_reader_removes_it_and_it_counts_as_invalidated(self, key: Any) -> None:
        """The first reader takes the entry out: one miss, one invalidation, on_evict is told why."""
        told: list[tuple[Any, Any, str]] = []
        cache: Cache = TTLCache(10, 60, on_evict=lambda *gone: told.append(gone))
        fill(cache, key, "old", WORDS)
        bump(WORDS)
        assert (len(cache), cache.get(key), len(cache)) == (1, None, 0)
        assert told == [(key, "old", "invalidated")]
        stats = cache.stats()
        assert (stats["hits"], stats["misses"], stats["invalidations"], stats["expirations"]) == (0, 1, 1, 0)

    def test_on_evict_may_use_the_cache(self, key: Any) -> None:
        """The callback runs after the lock is gone, and so does the value's `__del__`."""
        seen: list[Any] = []

        class Nosy:
            def __del__(self) -> None:
                seen.append(("del", cache.get(key)))

        def told(gone: Any, _value: Any, _cause: str) -> None:
            seen.append(("evict", cache.get(gone)))
            cache.set(gone, "written back")

        cache: Cache = TTLCache(10, 60, on_evict=told)
        fill(cache, key, Nosy(), WORDS)
        bump(WORDS)
        assert cache.get(key) is None
        assert seen == [("evict", None), ("del", "written back")]

    def test_loads_in_flight_are_not_disturbed(self, key: Any) -> None:
        """Removing what is outdated outdates no token: the load that began meanwhile is stored."""
        cache: Cache = TTLCache(10, 60)
        fill(cache, key, "old", WORDS)
        bump(WORDS)
        stamps, token = capture(WORDS), cache._token(key)
        assert cache.get(key) is None
        assert cache._fill(key, "new", token, stamps=stamps) is True
        assert cache.get(key) == "new"


class TestStoring:
    @pytest.mark.parametrize("word", WORDS)
    def test_a_load_outdated_while_it_ran_is_not_stored(self, word: str, key: Any) -> None:
        """`_fill` refuses stamps that are no longer current, and leaves what is there."""
        cache: Cache = TTLCache(10, 60)
        stamps, token = capture(WORDS), cache._token(key)
        bump([word])
        assert cache._fill(key, "late", token, stamps=stamps) is False
        assert key not in cache
        assert cache._fill(key, "in time", token, stamps=capture(WORDS)) is True
        assert cache._fill(key, "late", token, stamps=stamps) is False
        assert cache.get(key) == "in time"

    def test_a_token_counts_beside_the_stamps(self) -> None:
        """Current stamps do not excuse a token that a write outdated."""
        cache: Cache = TTLCache(10, 60)
        stamps, token = capture(WORDS), cache._token("a")
        cache["a"] = "written"
        assert cache._fill("a", "loaded", token, stamps=stamps) is False
        assert cache["a"] == "written"

    @pytest.mark.parametrize("way", ["set", "assign", "set with tags", "set_many", "_cache"])
    def test_a_write_drops_the_stamps(self, way: str, key: Any) -> None:
        """What is written by hand depends on no word, whatever was there before."""
        cache: Cache = TTLCache(10, 60)
        fill(cache, key, "loaded", WORDS)
        write: dict[str, Callable[[], None]] = {
            "set": lambda: cache.set(key, "written"),
            "assign": lambda: cache.__setitem__(key, "written"),
            "set with tags": lambda: cache.set(key, "written", tags=["t"]),
            "set_many": lambda: cache.set_many({key: "written"}),
            "_cache": lambda: cache._cache.__setitem__(key, "written"),
        }
        write[way]()
        bump(WORDS)
        assert (cache.get(key), key in cache) == ("written", True)

    def test_a_fill_without_stamps_drops_them_too(self) -> None:
        """A load that depends on nothing replaces one that did."""
        cache: Cache = TTLCache(10, 60)
        fill(cache, "a", "old", WORDS)
        assert cache._fill("a", "new", cache._token("a")) is True
        bump(WORDS)
        assert cache["a"] == "new"

    def test_each_entry_has_words_of_its_own(self) -> None:
        """Entries of one cache with none, one and many words die apart, also where one takes another's place."""
        cache: Cache = TTLCache(3, 60)
        fill(cache, "none", 0, [])
        fill(cache, "one", 1, ["w:1"])
        fill(cache, "many", 32, [f"w:{number}" for number in range(100, 132)])
        bump(["w:131"])
        assert (cache.get("many"), cache["one"], cache["none"]) == (None, 1, 0)
        cache["new"] = 2  # in the place of "many"
        bump([f"w:{number}" for number in range(100, 132)])
        assert cache["new"] == 2
        bump(["w:1"])
        assert (cache.get("one"), cache["none"]) == (None, 0)

    def test_only_stamps_are_stamps(self) -> None:
        """What did not come from `capture` is refused by its type."""
        cache: Cache = TTLCache(3, 60)
        with pytest.raises(TypeError):
            cache._fill("a", 1, cache._token("a"), stamps=["row:x"])  # type: ignore[arg-type]

    def test_a_weighed_and_tagged_entry_may_have_stamps(self) -> None:
        """Weights, costs, tags and stamps are kept side by side."""
        cache: Cache = TTLCache(10, 60, max_bytes=100, sizeof=lambda _key, value: value, early_refresh=1)
        fill(cache, "a", 40, ["w:1"], tags=["t"], cost=1.0)
        fill(cache, "b", 40, ["w:2"], tags=["t"])
        bump(["w:1"])
        assert (cache.get("a"), cache.get("b")) == (None, 40)
        assert cache.stats()["size_bytes"] == 40
        assert cache.delete_by_tag("t") == 1


class TestThreads:
    def test_no_reader_sees_a_value_older_than_a_finished_bump(self) -> None:
        """Whoever reads after a bump returned sees nothing that was captured before it."""
        cache: Cache = TTLCache(100, 60)
        source, finished, wrong = [0], [0], []
        stop = threading.Event()

        def read() -> None:
            while not stop.is_set():
                least = finished[0]
                stamps, token = capture(["w:source"]), cache._token("a")
                value = cache.get("a")
                if value is None:
                    cache._fill("a", source[0], token, stamps=stamps)
                elif value < least:
                    wrong.append((value, least))

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for number in range(1, 2_000):
            source[0] = number
            bump(["w:source"])
            finished[0] = number
        stop.set()
        for reader in readers:
            reader.join(20)
        assert wrong == []
        assert finished == [1_999]
