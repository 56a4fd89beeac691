"""Entries by what their keys look like: `NativeStore.select` and `remove_matching`, and the like of TTLCache."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

pytest.importorskip("django")

from backend_handlers import Handler, handler
from driven_clock import driven
from hypothesis import given
from hypothesis import strategies as st
from orders import ordered, registered

from oxicache import TTLCache
from oxicache._native import KeyPattern, bump, cache_manager

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

_numbers = count()
ALL = KeyPattern("*")


class Text(str):
    """A str of a caller's own kind."""

    __slots__ = ()


def fresh(**options: Any) -> Handler:
    return handler(f"matching-{next(_numbers)}", **options)


@contextmanager
def registered_store(cache: Handler) -> Iterator[tuple[str, Handler]]:
    """A handler whose store is registered with the process-wide manager."""
    assert cache._store is not None
    name = cache_manager.register("matching", cache._store.cache)
    try:
        yield name, cache
    finally:
        cache_manager.remove(name, cache._store.cache)


def beside(cache: Handler, **params: Any) -> Handler:
    assert cache._store is not None
    return Handler(cache._store, params)


class TestCache:
    def test_str_keys_are_selected_and_removed(self) -> None:
        """Keys that are no str never match, whatever they look like."""
        cache: TTLCache[Any, Any] = TTLCache()
        for key in ("user:1", Text("user:2"), "post:1", 1, ("user:1",), b"user:1", None):
            cache.set(key, "value")
        assert sorted(cache._select(KeyPattern("user:*"))) == ["user:1", "user:2"]
        assert {type(key) for key in cache._select(ALL)} == {str}
        assert sorted(cache._select(KeyPattern("[a-z]+:1", kind="regex"))) == ["post:1", "user:1"]
        assert cache._remove_matching(KeyPattern("*:1")) == 2
        assert cache._remove_matching(ALL) == 1
        assert cache.keys() == [1, ("user:1",), b"user:1", None]

    def test_all_entries_are_met_whatever_their_number(self) -> None:
        """A table is walked in bites: none is left out at their ends, and free places are passed over."""
        cache: TTLCache[str, int] = TTLCache(10_000)
        for number in range(5_000):
            cache.set(f"key:{number}", number)
        assert cache._remove_matching(KeyPattern("*[13579]")) == 2_500
        assert sorted(cache._select(ALL)) == sorted(f"key:{number}" for number in range(0, 5_000, 2))
        assert cache._remove_matching(ALL) == 2_500
        assert len(cache) == 0

    def test_what_has_expired_is_removed_and_not_counted(self) -> None:
        """Nobody has it any more."""
        with driven() as clock:
            cache: TTLCache[str, int] = TTLCache(ttl=None)
            cache.set("a:1", 1, ttl=1)
            cache.set("a:2", 2)
            clock.advance(2)
            assert cache._select(ALL) == ["a:2"]
            assert cache._remove_matching(ALL) == 1
            assert len(cache) == 0

    def test_callbacks_are_told_that_it_was_invalidated(self) -> None:
        """As for a tag; a callback may use the cache."""
        told: list[tuple[str, int, str]] = []

        def tell(key: str, value: int, cause: str) -> None:
            told.append((key, value, cause))
            cache.set(f"again:{key}", value)

        cache: TTLCache[str, int] = TTLCache(on_evict=tell)
        cache.set("a", 1)
        cache.set("b", 2)
        assert cache._remove_matching(KeyPattern("a")) == 1
        assert told == [("a", 1, "invalidated")]
        assert cache.keys() == ["b", "again:a"]


class TestStore:
    def test_keys_are_the_callers_of_every_handler(self) -> None:
        """Without prefix and version, and as a whole where a key function made them."""
        cache = fresh()
        one, two = beside(cache, KEY_PREFIX="one"), beside(cache, VERSION=2)
        made = beside(cache, KEY_FUNCTION=lambda key, prefix, version: f"<{prefix}{version}{key}>")
        for at in (cache, one, two, made):
            at.set("user:1", 1)
        store = cache._store
        assert store is not None
        assert sorted(store.select(KeyPattern("user:*"))) == ["user:1"] * 3
        assert store.select(KeyPattern("<*")) == ["<1user:1>"]
        assert store.remove_matching(KeyPattern("user:?")) == 3
        assert [at.get("user:1") for at in (cache, one, two, made)] == [None, None, None, 1]

    def test_those_of_one_handler_begin_and_end_as_it_makes_them(self) -> None:
        """Prefix and version of others are not touched, nor keys that only look alike."""
        cache = fresh()
        one, two = beside(cache, KEY_PREFIX="one"), beside(cache, KEY_PREFIX="one", VERSION=2)
        made = beside(cache, KEY_FUNCTION=lambda key, prefix, version: f"<{key}|{version}>")
        for at in (cache, one, two, made):
            at.set("a", 1)
        store = cache._store
        assert store is not None
        assert store.select(ALL, ":1:", "") == ["a"]
        assert store.select(ALL, "one:2:", "") == ["a"]
        assert store.select(ALL, "<", "|1>") == ["a"]
        assert sorted(store.select(ALL, "one:", "")) == ["1:a", "2:a"]
        assert store.remove_matching(ALL, "one:1:") == 1
        assert [at.get("a") for at in (cache, one, two, made)] == [1, None, 1, 1]

    def test_what_was_invalidated_elsewhere_is_not_there(self) -> None:
        """A key whose word has moved is neither shown nor counted."""
        cache = fresh()
        store = cache._store
        assert store is not None
        cache.set_many({"a": 1, "b": 2})
        bump([f"key:{store.location}::1:a"])
        assert store.select(ALL) == ["b"]
        assert store.remove_matching(ALL) == 1

    @pytest.mark.parametrize("coherence", ["host", "process"])
    def test_what_is_being_loaded_is_not_stored(self, coherence: str) -> None:
        """A load that began before does not store its value; what its thread stores next comes after, and is."""
        cache = fresh(coherence=coherence)
        store = cache._store
        assert store is not None
        token = store._token("loaded")
        assert cache.get("missed") is None
        store.remove_matching(ALL)
        assert store._fill("loaded", 1, token) is False
        cache.set("missed", 1)
        assert cache.get("missed") == 1


class TestInFlight:
    """What a pattern takes of what is being loaded or was missed is not stored; the rest is."""

    def test_loads_of_a_cache(self) -> None:
        """Whoever loads a key that a pattern takes may have read what was before."""
        cache: TTLCache[str, int] = TTLCache()

        def load() -> int:
            cache._remove_matching(KeyPattern("a*"))
            return 1

        assert [cache.get_or_set(key, load) for key in ("a", "b")] == [1, 1]
        assert cache.keys() == ["b"]
        assert cache.get_or_set("a", lambda: 2) == 2
        assert cache["a"] == 2

    @pytest.mark.parametrize("coherence", ["host", "process"])
    def test_loads_of_a_store(self, coherence: str) -> None:
        """By the caller's key, whichever handler's it is."""
        cache = fresh(coherence=coherence)
        other, made = beside(cache, KEY_PREFIX="p"), beside(cache, KEY_FUNCTION=lambda key, *_: key)
        store = cache._store
        assert store is not None
        keys = [handler._key(key) for handler in (cache, other, made) for key in ("a", "b")]
        tokens = [store._token(key) for key in keys]
        store.remove_matching(KeyPattern("a"))
        current = [store._is_current(key, token) for key, token in zip(keys, tokens, strict=True)]
        assert current == [False, True] * 3
        stored = [store._fill(key, 1, token) for key, token in zip(keys, tokens, strict=True)]
        assert stored == [False, True] * 3

    def test_loads_of_a_store_that_an_order_comes_between(self) -> None:
        """As if the process itself had removed what matches."""
        with registered_store(fresh()) as (name, cache):
            store = cache._store
            assert store is not None
            tokens = {key: store._token(key) for key in "ab"}
            ordered("regex", "a", names=[name])
            assert [store._fill(key, 1, token) for key, token in tokens.items()] == [False, True]

    def test_fills_of_a_handler(self) -> None:
        """An order by pattern in this process voids the fills that it takes, one of another kind all of them."""
        with registered_store(fresh()) as (name, cache):
            for order, about, filled in (("glob", "a*", [None, 1, 1]), ("key", "none", [None] * 3)):
                cache.clear()
                assert cache.get_many(["a", "b", "c"]) == {}
                ordered(order, about, names=[name])
                for key in "abc":
                    cache.set(key, 1)
                assert [cache.get(key) for key in "abc"] == filled

    def test_more_patterns_than_are_kept(self) -> None:
        """What began before the oldest that is remembered is not stored, be it taken or not; what began later is."""
        cache: TTLCache[str, int] = TTLCache()
        early = cache._token("early")
        for number in range(31):
            cache._remove_matching(KeyPattern(f"some:{number}"))
        assert cache._is_current("early", early)
        late = cache._token("late")
        for number in range(31):
            cache._remove_matching(KeyPattern(f"other:{number}"))
        assert not cache._fill("early", 1, early)
        assert cache._fill("late", 1, late)

    def test_a_pattern_too_large_to_be_kept(self) -> None:
        """All that began before it is not stored."""
        large = KeyPattern(r"\w{40}:x", kind="regex")
        cache: TTLCache[str, int] = TTLCache()
        token = cache._token("a")
        cache._remove_matching(large)
        assert not cache._fill("a", 1, token)
        assert cache._fill("a", 1, cache._token("a"))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("load"), st.sampled_from(["a1", "a2", "b1"])),
        st.tuples(st.just("invalidate"), st.sampled_from(["a*", "b*", "*1", "zz", "a2"])),
        st.tuples(st.just("order"), st.sampled_from(["a*", "*2"])),
        st.tuples(st.just("store"), st.integers(0, 9)),
    ),
    max_size=25,
)


@given(STEPS)
def test_a_load_is_stored_unless_a_pattern_took_its_key(steps: list[tuple[str, Any]]) -> None:
    """Exactly: neither is anything stored that was invalidated since its load began, nor anything else refused."""
    with registered() as (name, cache):
        loads: list[tuple[str, int, bool]] = []
        for step, about in steps:
            if step == "load":
                loads.append((about, cache._token(about), True))
            elif step == "store" and loads:
                key, token, is_good = loads[about % len(loads)]
                assert cache._fill(key, "value", token) == is_good
                assert cache.get(key) == "value" or not is_good
            elif step in {"invalidate", "order"}:
                pattern = KeyPattern(about)
                if step == "order":
                    ordered("glob", about, names=[name])
                else:
                    cache._remove_matching(pattern)
                assert not any(map(pattern.matches, cache.keys()))
                loads = [(key, token, good and not pattern.matches(key)) for key, token, good in loads]


TEXTS = st.text(st.sampled_from("a:1é\ud800😀|"), max_size=6)
ENTRIES = st.lists(st.tuples(TEXTS, st.integers(-2, 12), TEXTS, st.booleans()), max_size=8)


@given(ENTRIES, TEXTS, TEXTS)
def test_selection_agrees_with_keys_that_are_put_together(
    entries: list[tuple[str, int, str, bool]], before: str, behind: str
) -> None:
    """The same as making each key as Django does and looking at its beginning and its end."""
    cache = fresh()
    store = cache._store
    assert store is not None
    for prefix, version, key, is_whole in entries:
        function = (lambda key, _prefix, _version: key) if is_whole else None
        at = beside(cache, KEY_PREFIX=prefix, VERSION=version, KEY_FUNCTION=function)
        at.set(key, 1, write=True)
    starts = {before, "", *(f"{prefix}:{version}:" for prefix, version, _, _ in entries)}
    for start in starts:
        wanted = []
        for prefix, version, key in store.keys():  # noqa: SIM118 -- a store is no dict
            made = key if prefix is None else f"{prefix}:{version}:{key}"
            if made.startswith(start) and made.endswith(behind) and len(made) >= len(start) + len(behind):
                wanted.append(made[len(start) : len(made) - len(behind)])
        assert sorted(store.select(ALL, start, behind)) == sorted(wanted)
        for pattern in ("*1", "?*", "*:*"):
            found = sorted(store.select(KeyPattern(pattern), start, behind))
            assert found == sorted(KeyPattern(pattern).select(wanted))
