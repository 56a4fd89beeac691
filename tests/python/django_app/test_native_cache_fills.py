"""What a handler missed, and what it stores after that: fills move no word, writes do."""

import itertools
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.signals import request_finished, request_started

from oxicache import _native
from oxicache.django.backends import NativeCache, native

_numbers = itertools.count()


@pytest.fixture
def cache() -> NativeCache:
    return NativeCache(f"fills-{next(_numbers)}", {})


class TestTokens:
    @pytest.fixture
    def word(self, cache: NativeCache) -> Iterator[Any]:
        """A function that says whether storing moved the word of `key`, which other processes read."""

        def moves(act: Any) -> bool:
            stamp = _native.capture([f"key:{cache._location}::1:key"])
            act()
            return not stamp.is_current()

        return moves

    def test_a_request_ends_what_was_missed_in_it(self, cache: NativeCache, word: Any) -> None:
        """A `set` after a miss fills; after the end or the beginning of a request it writes."""
        assert cache.get("key") is None
        assert not word(lambda: cache.set("key", 1))
        cache.delete("key")
        for signal in (request_started, request_finished):
            assert cache.get("key") is None
            signal.send(sender=None)
            assert word(lambda: cache.set("key", 1))
            cache.delete("key")

    def test_get_or_set_fills(self, cache: NativeCache, word: Any) -> None:
        """What it stores outdates no other copy, and a `set` after it is a write."""
        assert not word(lambda: cache.get_or_set("key", lambda: 1))
        assert cache.get("key") == 1
        assert word(lambda: cache.set("key", 2))
        cache.delete("key")
        assert not word(lambda: cache.get_or_set("key", 3, timeout=0))
        assert word(lambda: cache.set("key", 2))

    def test_a_value_invalidated_while_it_was_computed_is_not_stored(self, cache: NativeCache) -> None:
        """`delete` during the load makes the result dead on arrival."""

        def compute() -> int:
            cache.delete("key")
            return 1

        assert cache.get_or_set("key", compute) == 1
        assert "key" not in cache

    def test_greenlets_are_told_apart_where_there_are_any(
        self, monkeypatch: pytest.MonkeyPatch, cache: NativeCache, word: Any
    ) -> None:
        """Under gevent what one greenlet missed is not what another stores."""

        class Greenlet:
            pass

        greenlets = [Greenlet(), Greenlet()]
        stub = types.ModuleType("greenlet")
        stub.getcurrent = lambda: greenlets[0]  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "greenlet", stub)
        monkeypatch.setitem(sys.modules, "gevent", types.ModuleType("gevent"))
        stub.getcurrent = lambda: greenlets[0]  # type: ignore[attr-defined]
        native.tell_greenlets_apart()
        try:
            assert cache.get("key") is None
            greenlets.reverse()
            assert word(lambda: cache.set("key", 1))
            greenlets.reverse()
            cache.delete("key")
            assert cache.get("key") is None
            assert not word(lambda: cache.set("key", 1))
        finally:
            _native.set_task_of(None)
