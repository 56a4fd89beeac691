"""What a process answers when only Python can: keys, top, explain, tracker and trail, and what it never shows."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from oxicache import (
    DELETION_SET,
    TTLCache,
    _native,
    cache_manager,
    live,
    walks,
)
from oxicache.testing import clock
from oxicache.trail import trail


def ask(verb: str, **given: Any) -> dict[str, Any]:
    """What the operator gets."""
    answer: dict[str, Any] = json.loads(live.answer(verb, json.dumps(given)))
    return answer


@pytest.fixture
def books() -> Iterator[TTLCache[Any, Any]]:
    """A named cache of the process."""
    cache = cache_manager.get_cache("test.books", max_size=10_000, ttl=60)
    yield cache
    cache_manager.remove("test.books")


@pytest.fixture(autouse=True)
def _nothing_concealed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    trail.clear()
    orders, began = _native.control_orders, time.time()
    # What tests before this one ordered is remembered for as long as the process lives.
    monkeypatch.setattr(
        _native, "control_orders", lambda: [order for order in orders() if order["at"] >= began]
    )
    yield
    walks.conceal([])
    trail.clear()


class TestKeys:
    def test_keys_that_match_are_listed_and_counted(self, books: TTLCache[Any, Any]) -> None:
        """The list ends at the limit, the total does not."""
        for number in range(5):
            books.set(f"book:{number}", number)
        books.set("author:1", "Ann")
        found = ask("keys", cache="test.books", pattern="book:*", limit=3)
        assert found["total"] == 5
        assert len(found["keys"]) == 3
        assert set(found["keys"]) <= {f"book:{number}" for number in range(5)}

    def test_what_is_not_live_is_not_listed(self, books: TTLCache[Any, Any]) -> None:
        """Expired entries are no keys of the cache."""
        with clock() as time_of_test:
            cache = cache_manager.get_cache("test.expiring", ttl=60)
            try:
                cache.set("old", 1, ttl=1)
                cache.set("new", 1)
                time_of_test.advance(2)
                assert ask("keys", cache="test.expiring")["keys"] == ["new"]
            finally:
                cache_manager.remove("test.expiring")

    def test_an_unknown_cache_is_named_with_those_there_are(self, books: TTLCache[Any, Any]) -> None:
        """The message tells what exists."""
        with pytest.raises(LookupError, match=r"no cache 'nope' in this process, but .*test\.books"):
            ask("keys", cache="nope")


class TestExplain:
    def test_a_fresh_entry_is_described(self, books: TTLCache[Any, Any]) -> None:
        """Cache, state, age, time left, size, tags and type; nothing of the value."""
        books.set("book:1", {"title": "secret of the tea"}, tags=["red", "blue"])
        found = ask("explain", key="book:1")
        (entry,) = found["found"]
        assert (entry["cache"], entry["key"], entry["state"]) == ("test.books", "book:1", "fresh")
        assert sorted(entry["tags"]) == ["blue", "red"]
        assert (entry["type"], entry["pattern"], entry["why"]) == ("dict", "book:*", None)
        assert 0 <= entry["age_seconds"] < 30
        assert 30 < entry["seconds_left"] <= 60
        assert entry["size_bytes"] > 0
        assert "test.books" not in found["missing"]
        assert "secret" not in json.dumps(found)

    def test_an_expired_entry_and_one_in_grace_say_so(self) -> None:
        """Why an entry is not served is told."""
        with clock() as time_of_test:
            cache = cache_manager.get_cache("test.graceful", ttl=10, grace=100)
            other = cache_manager.get_cache("test.graceless", ttl=10)
            try:
                cache.set("a", 1)
                other.set("a", 1)
                time_of_test.advance(20)
                states = {entry["cache"]: entry for entry in ask("explain", key="a")["found"]}
            finally:
                cache_manager.remove("test.graceful")
                cache_manager.remove("test.graceless")
        assert states["test.graceful"]["state"] == "grace"
        assert "kept to be served" in states["test.graceful"]["why"]
        assert (states["test.graceless"]["state"], states["test.graceless"]["why"]) == (
            "expired",
            "its time to live is over",
        )

    def test_an_entry_that_lives_for_ever_has_no_seconds_left(self, books: TTLCache[Any, Any]) -> None:
        """JSON has no infinity: null stands for it."""
        books.set("book:1", 1, ttl=None)
        (entry,) = ask("explain", key="book:1")["found"]
        assert entry["seconds_left"] is None

    def test_a_missing_key_is_missing_from_each_cache(self, books: TTLCache[Any, Any]) -> None:
        """Nothing is found, and where was looked is told."""
        found = ask("explain", key="nowhere", cache="test.books")
        assert found == {"found": [], "missing": ["test.books"], "trail": []}

    def test_a_number_is_found_too(self, books: TTLCache[Any, Any]) -> None:
        """A key that is an int is written as one writes it."""
        books.set(7, "seven")
        (entry,) = ask("explain", key="7")["found"]
        assert entry["key"] == "7"

    def test_a_moved_word_and_who_moved_it_are_told(self, books: TTLCache[Any, Any]) -> None:
        """An entry that is stale because its source changed says by which line."""
        stamps = _native.capture(["row:shop.book:1"])
        books._fill("book:1", "tea", books._token("book:1"), stamps=stamps)
        _native.bump(["row:shop.book:1"])
        trail.record("save", ["row:shop.book:1"])
        found = ask("explain", key="book:1")
        (entry,) = found["found"]
        assert entry["state"] == "outdated"
        assert live.moved_words([entry]) == list(stamps.words)
        assert "was moved by save at" in entry["why"]
        assert __file__.rpartition("/")[2] in entry["why"]
        assert [event["kind"] for event in found["trail"]] == ["save"]

    def test_what_was_moved_before_it_was_stored_is_no_reason(self) -> None:
        """An older invalidation of the same word is not blamed, however long after it was looked at one asks."""
        entry = {
            "state": "outdated",
            "at": 1_000.0,
            "age_seconds": 10.0,
            "words": [{"word": 3, "held": 1, "now": 2, "name": "row:shop.book:1"}],
        }
        event = {"kind": "save", "where": "shop/views.py:3", "actor": None, "pid": 1, "words": [3]}
        (told,) = live.attributed([entry], [{**event, "at": 995.0}])
        assert told["why"] == "row:shop.book:1 was moved by save at shop/views.py:3 (process 1)"
        (told,) = live.attributed([entry], [{**event, "at": 900.0}])
        assert told["why"] == "row:shop.book:1 moved since it was stored; who moved it is not remembered"


class TestTop:
    def test_patterns_are_ranked(self, books: TTLCache[Any, Any]) -> None:
        """What is read most comes first."""
        books.set("book:1", 1)
        books.set("author:1", 1)
        for _ in range(5):
            books.get("book:1")
        books.get("author:1")
        books.get("author:2")
        by_hits = ask("top", by="hits", caches=["test.books"])["patterns"]
        assert [one["pattern"] for one in by_hits] == ["book:*", "author:*"]
        assert by_hits[0]["cache"] == "test.books"
        by_misses = ask("top", by="misses", caches=["test.books"], limit=1)["patterns"]
        assert [one["pattern"] for one in by_misses] == ["author:*"]

    def test_the_largest_entries_are_found(self) -> None:
        """By bytes single entries are told too, where the cache weighs them."""
        cache = cache_manager.get_cache("test.weighed", max_bytes=10**6)
        try:
            for number in range(20):
                cache.set(f"text:{number}", "x" * (100 * number))
            entries = ask("top", by="bytes", limit=3, caches=["test.weighed"])["entries"]
        finally:
            cache_manager.remove("test.weighed")
        assert [entry["key"] for entry in entries] == ["text:19", "text:18", "text:17"]
        assert entries[0]["weight"] > 1900
        assert entries[0]["type"] == "str"

    def test_the_oldest_entries_are_found(self) -> None:
        """By age those come first that were stored first."""
        with clock() as time_of_test:
            cache = cache_manager.get_cache("test.ageing", ttl=1000)
            try:
                for number in range(5):
                    cache.set(f"text:{number}", "x")
                    time_of_test.advance(10)
                found = ask("top", by="age", limit=2, caches=["test.ageing"])
            finally:
                cache_manager.remove("test.ageing")
        assert [entry["key"] for entry in found["entries"]] == ["text:0", "text:1"]
        assert found["entries"][0]["age_seconds"] == pytest.approx(50, abs=1)
        assert found["patterns"] == []


class TestSensitive:
    def test_a_sensitive_cache_shows_no_keys(self, books: TTLCache[Any, Any]) -> None:
        """How many there are is told, and which is not; explain tells no more than its state."""
        books.set("session:abc", "x", tags=["ann"])
        walks.conceal(["test.bo*"])
        assert ask("keys", cache="test.books") == {"keys": [], "total": 1, "sensitive": True}
        (entry,) = ask("explain", key="session:abc")["found"]
        assert entry["sensitive"] is True
        assert entry["state"] == "fresh"
        assert (entry["key"], entry["type"], entry["tags"], entry["pattern"]) == (None, None, [], None)
        books.get("session:abc")
        shown = json.dumps([ask("top", by=by, caches=["test.books"]) for by in ("hits", "bytes", "age")])
        assert "session" not in shown

    def test_a_sensitive_pattern_hides_its_keys_only(self, books: TTLCache[Any, Any]) -> None:
        """Other keys of the same cache are shown."""
        books.set("session:abc", 1)
        books.set("book:1", 1)
        walks.conceal(["session:*"])
        assert ask("keys", cache="test.books") == {"keys": ["book:1"], "total": 1}
        (entry,) = ask("explain", key="session:abc")["found"]
        assert entry["key"] is None


class TestTracker:
    @pytest.fixture(autouse=True)
    def _untracked(self) -> Iterator[None]:
        DELETION_SET.clear_all()
        yield
        DELETION_SET.clear_all()

    def test_what_is_tracked_is_counted_and_cleaned(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stats and a dry run change nothing; a cleanup drops what is stale."""
        DELETION_SET.add(1)
        DELETION_SET._timestamps[1] = time.time() - 4000
        DELETION_SET.add(2)
        for action in ("stats", "dry"):
            found = ask("tracker", action=action)
            assert (found["active"], found["timestamps"], found["threshold"]) == (2, 2, 3600)
            assert (found["stale"], found["removed"]) == (["1"], 0)
        found = ask("tracker", action="cleanup")
        assert (found["active"], found["stale"], found["removed"]) == (1, ["1"], 1)

    def test_what_an_open_block_holds_is_not_stale(self) -> None:
        """A deletion that takes long is not a forgotten one."""
        with DELETION_SET.deleting(3):
            DELETION_SET._timestamps[3] = time.time() - 4000
            assert ask("tracker", action="dry")["stale"] == []
            assert ask("tracker", action="cleanup")["removed"] == 0


class TestTrail:
    def test_events_are_told_newest_first(self) -> None:
        """All of them, or those of some words."""
        trail.record("save", ["row:shop.book:1"])
        trail.record("tag", ["tag::red"])
        assert [event["kind"] for event in ask("trail")["events"]] == ["tag", "save"]
        words = list(_native.capture(["row:shop.book:1"]).words)
        assert [event["kind"] for event in ask("trail", words=words)["events"]] == ["save"]
        assert len(ask("trail", limit=1)["events"]) == 1

    def test_what_is_not_set_up_says_so(self) -> None:
        """Warming comes later."""
        with pytest.raises(NotImplementedError, match="not configured"):
            ask("warm")


class TestOrders:
    @staticmethod
    def order(verb: str, **given: Any) -> None:
        """As an operator orders it, from this very process."""
        answer = json.loads(_native.control_ask(json.dumps({"v": 1, "verb": verb, **given})))
        assert answer["ok"], answer

    def test_what_was_ordered_tells_why_a_key_is_missing(self, books: TTLCache[Any, Any]) -> None:
        """A cleared cache and an invalidated key say so, of the caches that were meant and of no other."""
        books.set("book:1", 1)
        self.order("clear", caches=["test.books"])
        self.order("invalidate", caches=["test.books"], keys=["book:1"])
        found = ask("explain", key="book:1", cache="test.books")
        assert [(event["kind"], event["actor"], event["detail"]) for event in found["trail"][:2]] == [
            ("invalidate", "order", "keys book:1; test.books"),
            ("clear", "order", "test.books"),
        ]
        other = ask("explain", key="book:2", cache="test.books")["trail"]
        assert [event["kind"] for event in other[:2]].count("invalidate") == 0

    def test_orders_are_in_the_trail(self, books: TTLCache[Any, Any]) -> None:
        """In the order of time, among what the process did itself."""
        trail.record("save", ["row:shop.book:1"])
        self.order("invalidate", words=["row:shop.book:1"])
        words = list(_native.capture(["row:shop.book:1"]).words)
        events = ask("trail", words=words)["events"]
        assert [event["kind"] for event in events[:2]] == ["invalidate", "save"]
        assert [event["kind"] for event in ask("trail")["events"][:2]] == ["invalidate", "save"]

    def test_keys_that_were_ordered_away_are_not_told_where_some_are_sensitive(
        self, books: TTLCache[Any, Any]
    ) -> None:
        """An order may name keys of any cache."""
        self.order("invalidate", caches=["test.books"], keys=["session:abc"])
        walks.conceal(["session:*"])
        assert "abc" not in json.dumps(ask("trail"))
