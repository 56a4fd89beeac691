"""Entries by what their keys look like: `NativeStore.select` and `remove_matching`, and the like of TTLCache."""

from itertools import count
from typing import Any

import pytest

pytest.importorskip("django")

from backend_handlers import Handler, handler
from driven_clock import driven
from hypothesis import given
from hypothesis import strategies as st

from oxicache import TTLCache
from oxicache._native import KeyPattern, bump

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

_numbers = count()
ALL = KeyPattern("*")


class Text(str):
    """A str of a caller's own kind."""

    __slots__ = ()


def fresh(**options: Any) -> Handler:
    return handler(f"matching-{next(_numbers)}", **options)


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

    def test_a_load_that_began_before_is_not_stored(self) -> None:
        """Whoever loads a key that a pattern takes may have read what was before."""
        cache: TTLCache[str, int] = TTLCache()

        def load() -> int:
            cache._remove_matching(KeyPattern("a*"))
            return 1

        assert cache.get_or_set("a", load) == 1
        assert "a" not in cache
        assert cache.get_or_set("a", lambda: 2) == 2
        assert cache["a"] == 2


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
