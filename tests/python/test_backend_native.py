"""The native half of the Django backend by itself: keys, settings, values and lifetimes."""

import logging
import pickle
import sys
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

pytest.importorskip("django")

from backend_handlers import Handler, handler
from django.core.cache.backends import base
from driven_clock import driven

from oxicache._native import BackendKey, NativeStore

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock


def store_of(cache: Handler) -> NativeStore:
    assert cache._store is not None
    return cache._store


class TestKeys:
    def test_no_string_is_made_of_a_key(self) -> None:
        """A bare key is stored as it is, another as its parts."""
        cache = handler()
        key = "".join(["a", "b"])
        assert cache._key(key) is key
        cache.key_prefix = "p"
        made = cache._key(key)
        assert isinstance(made, BackendKey)
        assert (made.prefix, made.version, made.key, str(made)) == ("p", 1, "ab", "p:1:ab")
        assert made == cache._key("ab")
        assert hash(made) == hash(cache._key("ab"))
        assert made != cache._key("ab", version=2)
        assert made != "ab"

    def test_spellings_of_one_key(self) -> None:
        """What gives one key with Django is one key."""
        cache = handler()
        cache.set("1", "value")
        assert [cache.get(key) for key in (1, "1")] == ["value"] * 2
        assert cache.get("1", version="1") == "value"
        cache.set("b", 2, version="1:a")
        assert cache.get("a:b") == 2

    def test_a_subclass_of_str_is_its_text(self) -> None:
        """The key that is held is an exact str, whatever asked for it."""

        class Text(str):
            __slots__ = ()

        cache = handler()
        cache.set(Text("a"), 1)
        assert cache.get("a") == 1
        assert [list(map(type, parts)) for parts in NativeStore.keys(store_of(cache))] == [[str, int, str]]

    def test_a_key_function_is_asked(self) -> None:
        """A key that is not of Django's form is one as a whole."""
        cache = handler(params={"KEY_FUNCTION": lambda key, prefix, version: f"{key}|{version}"})
        cache.set("a", 1, version=2)
        assert (cache.get("a", version=2), cache.get("a")) == (1, None)
        assert store_of(cache).keys() == [(None, 0, "a|2")]

    @pytest.mark.parametrize("where", ["instance", "class", "django"])
    @pytest.mark.parametrize("name", ["make_key", "make_and_validate_key"])
    def test_a_patched_method_is_called(self, name: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """On the instance, on its class or on Django's own, and no longer than it is patched."""
        cache = handler(where + name)
        cache.set("a", 1)
        assert cache.get("a") == 1
        owner = {"instance": cache, "class": Handler, "django": base.BaseCache}[where]
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, lambda *_args, version=None: "other", raising=False)
            assert cache.get("a") is None
            cache.set("a", 2)
        assert cache.get("a") == 1
        assert store_of(cache).keys() == [("", 1, "a"), (None, 0, "other")]

    def test_a_handler_whose_key_function_gives_djangos_keys_shares_them(self) -> None:
        """The same final key is the same entry, however it was made."""
        cache = handler()
        cache.set("a", 1)
        cache.key_func = lambda key, prefix, version: f"{prefix}:{version}:{key}"
        assert cache.get("a") == 1


class TestValidation:
    @pytest.mark.parametrize("key", ["a b", "\x7f", "x" * 251])
    def test_who_stores_or_misses_is_warned(self, key: str) -> None:
        """Django warns of keys that memcached would refuse."""
        cache = handler()
        for call in (cache.get, cache.delete, cache.touch, lambda key: cache.set(key, 1)):
            with pytest.warns(base.CacheKeyWarning):
                call(key)

    def test_a_hit_is_not_looked_at_again(self) -> None:
        """The key was validated when it was set."""
        cache = handler()
        with pytest.warns(base.CacheKeyWarning):
            cache.set("a b", 1)
        assert cache.get("a b") == 1

    @pytest.mark.parametrize("length", [225, 246, 247, 248, 249])
    def test_the_limit_is_djangos(self, length: int) -> None:
        """Keys as long as memcached allows pass, prefix and version included."""
        cache = handler()
        key = "x" * (length - len(":1:"))
        cache.set(key, 1)
        assert cache.get(key) == 1

    def test_a_bad_prefix_is_bad_in_each_key(self) -> None:
        """The prefix is part of what is validated."""
        cache = handler(params={"KEY_PREFIX": "a b"})
        with pytest.warns(base.CacheKeyWarning):
            cache.get("key")

    def test_an_own_validation_is_obeyed(self) -> None:
        """A handler that refuses keys refuses them on each call."""

        def refuse(key: str) -> None:
            raise base.InvalidCacheKey(key)

        cache = handler()
        cache.set("a", 1)
        cache.validate_key = refuse  # type: ignore[method-assign]
        with pytest.raises(base.InvalidCacheKey, match=":1:a"):
            cache.get("a")
        del cache.validate_key
        assert cache.get("a") == 1


class TestValues:
    def test_what_is_read_is_the_readers_own(self) -> None:
        """Neither who stored a value nor who read it can change what is held."""
        cache = handler()
        value: dict[str, Any] = {"list": [1]}
        cache.set("a", value)
        value["list"].append(2)
        cache.get("a")["list"].append(3)
        assert cache.get("a") == {"list": [1]}

    def test_what_cannot_be_pickled_is_refused(self) -> None:
        """The error is pickle's, and what was there stays."""
        cache = handler()
        cache.set("a", 1)
        with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
            cache.set("a", lambda: 1)
        assert cache.get("a") == 1

    def test_references(self) -> None:
        """With isolation "none" the very object comes back."""
        cache = handler(isolation="none")
        value = [1]
        cache.set("a", value)
        assert cache.get("a") is value

    def test_a_value_that_cannot_be_read_any_more_is_a_miss(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One line says so, and the entry is gone."""
        cache = handler()
        cache.set("a", Gone())
        monkeypatch.delattr(sys.modules[__name__], "Gone")
        with caplog.at_level(logging.WARNING):
            assert cache.get("a", "none") == "none"
            assert cache.get("a", "none") == "none"
        assert [record.name for record in caplog.records] == ["oxicache.backend"]
        assert ":1:a" in caplog.text

    def test_pickling_may_use_the_cache(self) -> None:
        """No lock is held while a value's own code runs."""
        cache = handler()
        Meddling.cache = cache
        cache.set("a", Meddling())
        assert isinstance(cache.get("a"), Meddling)
        assert (cache.get("stored"), cache.get("loaded")) == (1, 1)


class Gone:
    """A class that a later release has no more."""


class Meddling:
    """Its pickling and its loading store something."""

    cache: Any = None

    def __getstate__(self) -> dict[str, int]:
        self.cache.set("stored", 1)
        return {"one": 1}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.cache.set("loaded", 1)


class TestIncr:
    def test_the_sum_is_what_plus_gives(self) -> None:
        """Ints beyond 64 bits, floats, texts and lists are added to as LocMemCache adds to them."""
        cache = handler()
        for value, delta, total in (
            (2**64, 1, 2**64 + 1),
            (1, 0.5, 1.5),
            ("a", "b", "ab"),
            ([1], [2], [1, 2]),
        ):
            cache.set("n", value)
            assert cache.incr("n", delta) == total
            assert cache.get("n") == total

    def test_the_timeout_and_the_tags_stay(self) -> None:
        """A counter is not renewed by counting."""
        with driven() as clock:
            cache = handler()
            cache.set("n", 1, 10, tags=["t"])
            clock.advance(4)
            cache.incr("n")
            assert cache.time_left("n") == 6
            assert cache.delete_by_tag("t") == 1

    def test_a_change_in_between_is_not_lost(self) -> None:
        """When adding runs code that changes the entry, the sum is made again."""
        cache = handler(isolation="none")

        class Number:
            changed = False

            def __radd__(self, other: int) -> int:
                if not Number.changed:
                    Number.changed = True
                    cache.set("n", 100)
                return other + 1

        cache.set("n", 1)
        assert cache.incr("n", Number()) == 101
        assert cache.get("n") == 101

    def test_threads_lose_no_count(self) -> None:
        """Reading and writing are one step for all threads."""
        cache = handler()
        cache.set("n", 0)
        threads = [threading.Thread(target=lambda: [cache.incr("n") for _ in range(2_000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert cache.get("n") == 8_000


class TestLifetimes:
    def test_ways_to_see_and_to_change_them(self) -> None:
        """time_left, get_with_ttl, expire_at and persist."""
        with driven():
            cache = handler()
            assert cache.time_left("a") is None
            assert cache.get_with_ttl("a", "none") == ("none", 0)
            assert cache.persist("a") is False
            cache.set("a", 1, 20)
            assert cache.get_with_ttl("a") == (1, 20)
            assert cache.persist("a") is True
            assert cache.get_with_ttl("a") == (1, None)
            assert cache.time_left("a") == float("inf")

    def test_expire_at(self) -> None:
        """A second of the wall clock, or a datetime; one that has passed removes the entry."""
        cache = handler()
        now = datetime.now(UTC).timestamp()
        for when in (now + 100, datetime.fromtimestamp(now + 100, UTC)):
            cache.set("a", 1)
            assert cache.expire_at("a", when)
            assert cache.time_left("a") == pytest.approx(100, abs=5)
        assert cache.expire_at("a", now - 1)
        assert cache.get("a") is None

    def test_jitter(self) -> None:
        """A fraction is added to each timeout or taken from it, and none to for ever."""
        with driven():
            cache = handler(jitter=0.1)
            lefts = []
            for number in range(200):
                cache.set(f"k{number}", 1, 100)
                lefts.append(cache.time_left(f"k{number}"))
            assert all(left is not None and 90 <= left <= 110 for left in lefts)
            assert len(set(lefts)) > 100
            cache.set("a", 1, None)
            assert cache.time_left("a") == float("inf")

    @pytest.mark.parametrize("timeout", ["10", [], "x"])
    def test_what_is_no_number_is_refused(self, timeout: Any) -> None:
        """As Django does, which adds it to the time."""
        with pytest.raises(TypeError):
            handler().set("a", 1, timeout)
