"""Orders by pattern, large tags, and counts of what an order would remove: a little at a time, answered at the end."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

pytest.importorskip("django")

from backend_handlers import Handler
from control_worker import ask, error, result, short_folder
from driven_clock import driven
from orders import Cache, answer, drain, ordered, post, registered

from oxicache import TTLCache
from oxicache._native import (
    NativeStore,
    _answer,
    _post,
    attend,
    cache_manager,
    control_ask,
    control_orders,
    control_start,
    control_stop,
)

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

ENTRIES = 100_000
_numbers = count()


@contextmanager
def stored() -> Iterator[tuple[str, NativeStore]]:
    """A store of its own, under its name with the process-wide manager."""
    store = NativeStore(f"orders-{next(_numbers)}")
    name = cache_manager.register("ordered", store.cache)
    try:
        yield name, store
    finally:
        cache_manager.remove(name, store.cache)


def invalidate(**arguments: Any) -> dict[str, Any]:
    """Ask this very process, as an operator would."""
    answered = json.loads(control_ask(json.dumps({"v": 1, "verb": "invalidate", **arguments})))
    assert answered["ok"], answered
    result: dict[str, Any] = answered["result"]
    return result


class TestPatterns:
    @pytest.mark.parametrize(
        ("kind", "pattern", "left"),
        [
            ("glob", "user:*", ["post:1"]),
            ("glob", "user:?", ["user:12", "post:1"]),
            ("regex", "[a-z]+:1", ["user:2"]),
            ("regex", "ser", ["user:1", "user:12", "user:2", "post:1"]),
        ],
    )
    def test_what_matches_is_removed(self, kind: str, pattern: str, left: list[str]) -> None:
        """A glob is the whole key, a regular expression its beginning; keys of other types stay."""
        with registered() as (name, cache):
            for key in ("user:1", "user:12", "user:2", "post:1", 1):
                cache.set(key, key)
            assert ordered(kind, pattern, names=[name]) == {name: [5 - len(left) - 1]}
            assert cache.keys() == [*left, 1]

    def test_it_is_done_in_bites(self) -> None:
        """No operation walks through all of a large cache; who ordered it is told when the last has gone."""
        with registered(max_size=ENTRIES) as (name, cache):
            for number in range(ENTRIES):
                cache.set(f"key:{number}", number)
            other: Cache = TTLCache(1)
            number = post("glob", "key:*", names=[name])
            bites = 0
            while len(cache):
                assert _answer(number) is None, "told before the last had gone"
                other.get("x")
                bites += 1
            assert bites > 10
            assert answer(number) == {name: [ENTRIES]}
            drain()

    def test_what_has_expired_is_not_counted(self) -> None:
        """Nobody would have been given it."""
        with driven() as clock, registered() as (name, cache):
            cache.set("a", 1, ttl=1)
            cache.set("b", 1, ttl=9)
            clock.advance(5)
            assert ordered("glob", "*", names=[name]) == {name: [1]}
            assert len(cache) == 0

    def test_a_load_that_began_before_is_not_stored(self) -> None:
        """One that begins afterwards is."""
        with registered() as (name, cache):
            cache.get_or_set("a", lambda: ordered("glob", "a", names=[name]))
            assert "a" not in cache
            cache.get_or_set("a", lambda: 2)
            assert cache["a"] == 2

    def test_callbacks_are_told(self) -> None:
        """`on_evict` hears of an order as of any other invalidation."""
        told: list[tuple[str, int, str]] = []
        with registered(on_evict=lambda *what: told.append(what)) as (name, cache):
            cache.set("a", 1)
            ordered("glob", "?", names=[name])
            drain()
        assert told == [("a", 1, "invalidated")]

    def test_prefix_and_version_narrow_it(self) -> None:
        """They are those of Django's keys; other caches have neither, and nothing of them is removed then."""
        with stored() as (name, store), registered() as (plain, cache):
            handlers = [
                Handler(store, {"KEY_PREFIX": prefix, "VERSION": version})
                for prefix, version in (("", 1), ("site", 1), ("site", 2))
            ]
            for handler in handlers:
                handler.set("a", 1)
            cache.set("a", 1)
            both = [name, plain]

            def held() -> list[int]:
                return [int(handler.has_key("a")) for handler in handlers] + [len(cache)]

            done = invalidate(patterns=["a"], prefix="site", version=2, caches=both)
            assert (done["invalidated"], held()) == ({name: 1, plain: 0}, [1, 1, 0, 1])
            done = invalidate(patterns=["a"], version=1, kind="regex", caches=both)
            assert (done["invalidated"], held()) == ({name: 2, plain: 0}, [0, 0, 0, 1])
            assert invalidate(patterns=["a"], caches=both)["invalidated"] == {name: 0, plain: 1}

    def test_operators_can_look_it_up(self) -> None:
        """The list of orders names the patterns."""
        invalidate(patterns=["user:*", "post:?"], keys=["k"])
        assert control_orders()[0]["patterns"] == ["user:*", "post:?"]
        invalidate(patterns=["counted"], count=True)
        assert control_orders()[0]["patterns"] == ["user:*", "post:?"]

    def test_one_that_takes_too_long_removes_everything(self, caplog: pytest.LogCaptureFixture) -> None:
        """A linear match may still be slow; after two seconds of it nothing is matched any more, and that is logged."""
        slow = r"(((a{0,10}){0,10}){0,10}){0,10}x"
        with registered() as (name, cache), caplog.at_level(logging.WARNING, "oxicache.control"):
            for number in range(1_000):
                cache.set("a" * 2_000 + str(number), number)
            number = post("regex", slow, names=[name])
            while len(cache):
                attend()
            assert answer(number) == {name: [1_000]}
            assert "everything is removed instead" in caplog.text
            drain()


class TestTags:
    def test_a_large_tag_is_removed_in_bites(self) -> None:
        """While somebody waits for the answer, which comes after the last; other entries stay."""
        with registered(max_size=ENTRIES + 1) as (name, cache):
            cache.set("other", 1, tags=["few"])
            for number in range(ENTRIES):
                cache.set(number, number, tags=["many"])
            number = post("tag", "many", names=[name])
            bites = 0
            while len(cache) > 1:
                assert _answer(number) is None, "told before the last had gone"
                bites += 1
            assert bites > 10
            assert answer(number) == {name: [ENTRIES]}
            assert cache.keys() == ["other"]
            drain()

    def test_nothing_of_it_is_read_once_nobody_waits(self) -> None:
        """Whoever gave up waiting was told that nobody would see it: the next operation removes the rest."""
        with registered(max_size=ENTRIES) as (name, cache):
            for number in range(ENTRIES):
                cache.set(number, number, tags=["many"])
            _post([name], [("glob", "*"), ("tag", "many")], 0.0)
            assert [cache.get(number) for number in range(0, ENTRIES, 99)] == [None] * len(
                range(0, ENTRIES, 99)
            )
            assert len(cache) == 0
            drain()

    def test_a_load_of_a_key_that_is_still_held_is_not_stored(self) -> None:
        """It began before the order, and may not take the place of what is to be removed."""
        with registered(max_size=ENTRIES) as (name, cache):
            for number in range(ENTRIES):
                cache.set(number, number, tags=["many"])
            token = cache._token(0)
            number = post("tag", "many", names=[name])
            attend()
            assert _answer(number) is None
            assert not cache._fill(0, "old", token)
            while len(cache):
                pass
            drain()


def test_many_tags_are_removed_in_bites_together() -> None:
    """An order of many tags keeps nobody waiting longer than one of a single large tag."""
    with registered(max_size=ENTRIES) as (name, cache):
        tags = [f"tag:{number}" for number in range(100)]
        for tag in tags:
            for number in range(200):
                cache.set(f"{tag}:{number}", 1, tags=[tag])
        number = _post([name], [("tag", tag) for tag in tags], 60.0)
        attend()
        assert len(cache) > 0
        while (found := _answer(number)) is None:
            attend()
        assert found == {name: [200] * 100}
        assert len(cache) == 0


class TestCounts:
    def test_each_entry_is_counted_once(self) -> None:
        """Though it has a key, a tag and a pattern that are asked for; nothing is removed."""
        with registered() as (name, cache):
            cache.set("a:1", 1, tags=["t", "u"])
            cache.set("a:2", 1)
            cache.set("b", 1, tags=["t"])
            cache.set("c", 1)
            cache.set("d", 1)
            asked = {"keys": ["a:1", "c", "none"], "tags": ["t", "u"], "patterns": ["a:*"], "caches": [name]}
            expected = {"invalidated": {name: 4}, "words": 0, "done": True, "counted": True}
            assert invalidate(**asked, count=True) == expected
            assert invalidate(**asked, count=True) == expected
            assert len(cache) == 5
            assert invalidate(**asked)["done"]
            assert cache.keys() == ["d"]

    @pytest.mark.parametrize("asked", [{"keys": ["a"]}, {"tags": ["t"]}, {"patterns": ["a"]}], ids=str)
    def test_only_what_is_live_is_counted(self, asked: dict[str, Any]) -> None:
        """What has expired would be given to nobody."""
        with driven() as clock, registered() as (name, cache):
            cache.set("a", 1, tags=["t"])
            assert invalidate(**asked, count=True, caches=[name])["invalidated"] == {name: 1}
            clock.advance(100)
            assert invalidate(**asked, count=True, caches=[name])["invalidated"] == {name: 0}

    def test_a_key_is_counted_as_django_makes_it(self) -> None:
        """And where it is a part of a pattern's, too, once."""
        with stored() as (name, store):
            Handler(store, {"KEY_PREFIX": "p", "VERSION": 2}).set("a:b", 1)
            done = invalidate(keys=["p:2:a:b", "a:b"], count=True, caches=[name])
            assert done["invalidated"] == {name: 1}
            done = invalidate(keys=["p:2:a:b"], patterns=["a:?"], count=True, caches=[name])
            assert done["invalidated"] == {name: 1}

    def test_a_cache_of_many_bites_is_counted_to_its_end(self) -> None:
        """None is left out between two bites, and all are there afterwards."""
        with registered(max_size=ENTRIES) as (name, cache):
            for number in range(ENTRIES):
                cache.set(f"key:{number}", number)
            assert invalidate(patterns=["*[13579]"], count=True, caches=[name])["invalidated"] == {
                name: ENTRIES // 2
            }
            assert len(cache) == ENTRIES


@pytest.mark.skipif(sys.platform != "linux", reason="control sockets are served on Linux")
def test_who_asks_over_the_socket_is_told_when_all_was_looked_at() -> None:
    """What would go is counted, then removed; a pattern that cannot be used is refused with its reason."""
    with short_folder() as folder, registered(max_size=ENTRIES) as (name, cache):
        for number in range(ENTRIES):
            cache.set(f"key:{number}", number)
        path = control_start(str(folder), "matched")["path"]
        assert path is not None
        asked = {"patterns": ["key:.*[13579]$"], "kind": "regex", "keys": ["key:8"], "caches": [name]}
        expected = {"invalidated": {name: ENTRIES // 2 + 1}, "words": 0, "done": True}
        try:
            assert result(ask(path, "invalidate", **asked, count=True)) == {**expected, "counted": True}
            assert result(ask(path, "invalidate", **asked)) == expected
            assert len(cache) == ENTRIES // 2 - 1
            kind, message = error(ask(path, "invalidate", patterns=["a(?=b)"], kind="regex"))
            assert (kind, "linear time" in message) == ("wrong_argument", True)
        finally:
            control_stop()
        drain()
