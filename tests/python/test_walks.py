"""Walks through the caches of a process: keys as people read them, and turns for whoever else wants to work."""

import itertools
import json
import threading
from datetime import date
from enum import Enum
from typing import Any

import pytest

from oxicache import TTLCache, cached_function, cached_method, live, walks


def keys_of(cache: TTLCache[Any, Any]) -> list[str]:
    """All keys of a cache, in order, as an operator sees them."""
    return sorted(walks.shown_key("a cache", entry.key) for entry in walks.walk(cache, walks.Pace()))


def explained(key: str) -> int:
    """How many entries `explain` finds under what it is given."""
    return len(json.loads(live.answer("explain", json.dumps({"key": key})))["found"])


class Costly:
    """A key whose repr would ask a database."""

    def __repr__(self) -> str:
        raise AssertionError("the key's own code ran")


class Size(Enum):
    """What a key may be."""

    SMALL = 1


class Shelf:
    """Its methods are cached for each instance."""

    @cached_method
    def book(self, number: int, *more: Any, binding: str = "cloth", **rest: Any) -> int:
        """Any book."""
        return number

    def __repr__(self) -> str:
        raise AssertionError("an instance's own code ran")


@cached_function
def priced(title: str, year: int = 2026, **rest: Any) -> str:
    """The price of a book."""
    return f"{title} {year}"


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    priced.cache_clear()
    Shelf.book.cache_clear()


class TestShownKeys:
    @pytest.mark.parametrize(
        ("key", "shown"),
        [
            ("user:1", "user:1"),
            (1, "1"),
            ((1, "a", None), "(1, 'a', None)"),
            ((1, (2, (3, 4))), "(1, (...))"),
            (date(2026, 1, 2), "datetime.date(2026, 1, 2)"),
            (Size.SMALL, "Size.SMALL"),
            (int, "int"),
            (b"x" * 100, f"b'{'x' * 35}..."),
            (10**400, "<int>"),
            (Costly(), "<Costly>"),
            ("half \ud800", "half \\ud800"),
            ("naïve", "naïve"),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_a_key_is_shown_as_one_would_write_it(self, key: Any, shown: str) -> None:
        """Without running its code; what would be long is cut, and what JSON has no place for is escaped."""
        assert walks.shown_key("a cache", key) == shown

    def test_keys_of_decorated_calls_read_like_calls(self) -> None:
        """Whose the call was, then what it was given, abbreviated."""
        shelf = Shelf()
        shelf.book(1)
        shelf.book(2, [1, 2], binding="paper")
        assert keys_of(Shelf.book.cache) == ["<Shelf>(1)", "<Shelf>(2, [...], binding='paper')"]

    def test_a_long_call_is_cut(self) -> None:
        """Long arguments, and many of them, end in dots."""
        priced("x" * 100)
        priced("y", 1, **{f"k{number}": number for number in range(20)})
        first, second = keys_of(priced.cache)
        assert first == f"('{'x' * 36}...)"
        assert second.startswith("('y', 1, k0=0, k1=1")
        assert second.endswith(", ...)")

    def test_explain_finds_a_call_by_what_keys_show(self) -> None:
        """What `keys` prints is what `explain` takes; without the arguments it means all of them."""
        priced("tea")
        priced("tea", 2000)
        assert explained("('tea', 2000)") == 1
        shelf = Shelf()
        shelf.book(1)
        shelf.book(2)
        assert explained("<Shelf>") == 2
        assert explained("<Shelf>(2)") == 1

    def test_the_entry_of_a_dead_instance_is_nobodys(self) -> None:
        """An entry that is about to go says what it was given, and not whose it was."""
        key = Shelf.book.key(Shelf(), 1)
        assert walks.shown_key("a cache", key) == "(1)"


class TestPace:
    def test_a_long_walk_lets_others_work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Between two rests no more than the allowed time passes, as its own clock has it."""
        cache: TTLCache[Any, Any] = TTLCache(10_000, 60)
        for number in range(10_000):
            cache.set(f"book:{number}", number)
        now = [0.0]
        rests: list[float] = []

        def perf_counter() -> float:
            now[0] += 0.0001  # what a bite takes
            return now[0]

        def sleep(seconds: float) -> None:
            assert threading.current_thread() is threading.main_thread()
            rests.append(now[0])

        monkeypatch.setattr(walks.time, "perf_counter", perf_counter)
        monkeypatch.setattr(walks.time, "sleep", sleep)
        assert len(keys_of(cache)) == 10_000
        assert len(rests) >= 10_000 / walks.BITE / 3
        assert max(after - before for before, after in itertools.pairwise(rests)) <= 0.0005
