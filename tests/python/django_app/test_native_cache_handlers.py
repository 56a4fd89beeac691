"""Handlers of NativeCache: what may be set on them, copies, key functions, and Django's own key warnings."""

import asyncio
import copy
import itertools
import pickle
import warnings
import weakref
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import Group
from django.core.cache.backends.base import InvalidCacheKey
from django.test import TestCase
from project.catalogue import models as catalogue

from oxicache import _native
from oxicache.django.backends import NativeCache, patches

_numbers = itertools.count()


def make(**params: Any) -> NativeCache:
    return NativeCache(f"handlers-{next(_numbers)}", params)


@pytest.fixture
def cache() -> NativeCache:
    return make()


class TestAttributes:
    def test_a_key_function_may_be_set_later(self, cache: NativeCache) -> None:
        """From then on keys are made by it, and by Django's own again when that comes back."""
        original = cache.key_func
        cache.set("key", "before")
        cache.key_func = lambda key, prefix, version: f"other-{key}"
        assert cache.get("key") is None
        cache.set("key", "after")
        assert cache.get("key") == "after"
        assert cache.keys() == ["key"]
        cache.key_func = original
        assert cache.get("key") == "before"

    def test_methods_may_be_replaced(self, cache: NativeCache) -> None:
        """`make_key` and `validate_key` of an instance count, and those patched on the class do too."""
        cache.set("key", 1)
        cache.make_key = lambda key, version=None: f"mine:{key}"  # type: ignore[method-assign]
        assert cache.get("key") is None
        del cache.make_key
        assert cache.get("key") == 1
        with mock.patch.object(NativeCache, "make_key", lambda self, key, version=None: f"class:{key}"):
            assert cache.get("key") is None
            cache.set("key", 2)
            assert cache.get("key") == 2
        assert cache.get("key") == 1
        with mock.patch.object(NativeCache, "validate_key", side_effect=InvalidCacheKey("no")):
            with pytest.raises(InvalidCacheKey):
                cache.set("key", 3)
            with pytest.raises(InvalidCacheKey):
                cache.get("other")

    def test_prefix_version_and_timeout_may_be_set(self, cache: NativeCache) -> None:
        """They are Django's attributes, and count from the next call."""
        cache.set("key", 1)
        cache.key_prefix = "p"
        assert cache.get("key") is None
        cache.key_prefix, cache.version = "", 2
        assert cache.get("key") is None
        assert cache.get("key", version=1) == 1
        cache.default_timeout = 10
        cache.set("key", 2)
        assert cache.ttl("key") == 10

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("key_prefix", "p"),
            ("version", 2),
            ("key_func", lambda key, prefix, version: f"x{key}"),
            ("default_timeout", 5),
            ("_max_entries", 5),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_what_a_mock_sets_it_can_take_back(self, name: str, value: Any) -> None:
        """`mock.patch.object` deletes what it has set, as these are in no instance's dict."""
        cache = make(KEY_PREFIX="site", VERSION=3, TIMEOUT=77, OPTIONS={"MAX_ENTRIES": 50})
        before = getattr(cache, name)
        with mock.patch.object(cache, name, value):
            assert getattr(cache, name) == value
        assert getattr(cache, name) == before
        assert not patches.is_any_changed()

    @pytest.mark.parametrize("most", [3, 3.0])
    def test_max_entries_may_be_set(self, cache: NativeCache, most: Any) -> None:
        """LocMemCache's users set `_max_entries` on a handler, and the store obeys."""
        cache.set_many({f"key{n}": n for n in range(10)})
        cache._max_entries = most
        assert cache._max_entries == 3
        cache.set("new", 1)
        assert cache.stats()["size"] <= 3

    def test_a_change_is_noted_for_as_long_as_it_lasts(self, cache: NativeCache) -> None:
        """Wrapped methods are known until they are taken back or the handler is gone."""
        assert not patches.is_any_changed()
        with mock.patch.object(cache, "get"):
            assert patches.is_any_changed()
        assert not patches.is_any_changed()
        cache.get = lambda *_: "wrapped"  # type: ignore[method-assign]
        assert cache.get("key") == "wrapped"
        assert patches.is_any_changed()
        gone = weakref.ref(cache)
        other = copy.copy(cache)
        assert other.get("key") is None
        del cache
        # The fixture of this test holds it; another handler shows what happens at the end of one.
        assert gone() is not None
        patches.restored(gone(), "get")
        third = make()
        third.note = 1  # type: ignore[attr-defined]
        assert patches.is_any_changed()
        del third
        assert not patches.is_any_changed()


class TestCopies:
    @pytest.mark.parametrize("way", ["copy", "deepcopy", "pickle"])
    def test_a_copy_reaches_the_same_memory(self, way: str) -> None:
        """Copies and pickles of a handler are handlers of its LOCATION."""
        cache = make(KEY_PREFIX="p", VERSION=3, TIMEOUT=77, OPTIONS={"DEPLOY_VERSION": "r1"})
        cache.set("key", [1])
        other = pickle.loads(pickle.dumps(cache)) if way == "pickle" else getattr(copy, way)(cache)  # noqa: S301 -- made here
        assert type(other) is NativeCache
        assert other.get("key") == [1]
        assert (other.default_timeout, other.key_prefix, other.version) == (77, "p@r1", 3)


class Hashing(NativeCache):
    def make_key(self, key: Any, version: Any = None) -> str:
        return str(hash(key))


class Wrapping(NativeCache):
    """Has its own way with single values, as subclasses of LocMemCache have."""

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        found = super().get(key, default, version)
        return found[1] if isinstance(found, tuple) else found

    def set(self, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        return super().set(key, ("wrapped", value), *args, **kwargs)

    def add(self, key: Any, value: Any, *args: Any, **kwargs: Any) -> bool:
        return super().add(key, ("wrapped", value), *args, **kwargs)

    def delete(self, key: Any, version: Any = None) -> bool:
        return key != "kept" and super().delete(key, version)


class WrappingMany(Wrapping):
    def get_many(self, keys: Any, version: Any = None) -> Any:
        return dict.fromkeys(keys, "own")


class TestSubclasses:
    def test_own_methods_are_asked_for_many_too(self) -> None:
        """What Django makes of `get`, `set`, `add` and `delete` is made of the subclass's."""
        cache = Wrapping(f"handlers-{next(_numbers)}", {})
        cache.set_many({"a": 1, "kept": 2})
        assert super(Wrapping, cache).get("a") == ("wrapped", 1)
        assert cache.get_many(["a", "kept"]) == {"a": 1, "kept": 2}
        cache.delete_many(["a", "kept"])
        assert cache.get_many(["a", "kept"]) == {"kept": 2}
        assert cache.get_or_set("b", lambda: 3) == 3
        assert asyncio.run(cache.aget_or_set("c", 4)) == 4
        assert super(Wrapping, cache).get("c") == ("wrapped", 4)

    def test_a_subclass_may_have_its_own_way_with_many(self) -> None:
        """Its own method stays its own; without any, the native ones stay."""
        assert WrappingMany(f"handlers-{next(_numbers)}", {}).get_many(["a"]) == {"a": "own"}
        assert Hashing.get_many is NativeCache.get_many


class TestPatterns:
    def test_keys_that_are_hidden_cannot_be_matched(self) -> None:
        """A key function that keeps nothing of the key makes patterns an error, never an empty answer."""
        cache = Hashing(f"handlers-{next(_numbers)}", {})
        cache.set("key", 1)
        assert cache.get("key") == 1
        with pytest.raises(NotImplementedError, match="KEY_FUNCTION"):
            cache.keys("*")
        with pytest.raises(NotImplementedError, match="KEY_FUNCTION"):
            cache.delete_pattern("*")

    def test_handlers_of_one_memory_see_their_own_keys(self) -> None:
        """Prefixes part the keys of handlers, and `prefix` reaches those of another."""
        where = f"handlers-{next(_numbers)}"
        one, two = NativeCache(where, {"KEY_PREFIX": "one"}), NativeCache(where, {"KEY_PREFIX": "two"})
        one.set_many({"a:1": 1, "a:2": 2})
        two.set("a:3", 3)
        assert sorted(one.keys("a:*")) == ["a:1", "a:2"]
        assert two.keys() == ["a:3"]
        assert two.delete_pattern("a:*", prefix="one") == 2
        assert one.keys() == []
        assert two.keys() == ["a:3"]
        assert not patches.is_any_changed()

    def test_a_prefix_is_that_of_the_same_deployment(self) -> None:
        """`prefix` is a KEY_PREFIX as the settings have it, whatever DEPLOY_VERSION adds."""
        where = f"handlers-{next(_numbers)}"
        options = {"OPTIONS": {"DEPLOY_VERSION": "r1"}}
        one = NativeCache(where, {"KEY_PREFIX": "one", **options})
        two = NativeCache(where, {"KEY_PREFIX": "two", **options})
        one.set_many({"a": 1, "b": 2})
        assert one.delete_pattern("a", prefix="one") == 1
        assert two.delete_pattern("*", prefix="one") == 1

    def test_another_prefix_has_what_was_set_on_the_handler(self) -> None:
        """A key function and a version that were set later count for `prefix`, too."""
        cache = NativeCache(f"handlers-{next(_numbers)}", {"KEY_PREFIX": "one"})
        cache.version, cache.key_func = 7, lambda key, prefix, version: f"{prefix}|{key}|{version}"
        cache.set("a", 1)
        cache.key_prefix = "two"
        assert cache.delete_pattern("*", prefix="one") == 1

    def test_delete_pattern_reaches_what_another_process_may_hold(self) -> None:
        """The word of the store moves, and this process's other entries stay."""
        cache = make()
        cache.set_many({"a": 1, "b": 2})
        word = _native.capture([f"store:{cache._location}"])
        assert cache.delete_pattern("a") == 1
        assert not word.is_current()
        assert cache.get("b") == 2
        word = _native.capture([f"store:{cache._location}"])
        assert cache.delete_pattern("nothing*") == 0
        assert not word.is_current()
        assert cache.get("b") == 2

    def test_delete_pattern_is_a_processes_own_without_coherence(self) -> None:
        """No word moves."""
        cache = make(OPTIONS={"COHERENCE": "process"})
        cache.set("a", 1)
        word = _native.capture([f"store:{cache._location}"])
        assert cache.delete_pattern("*") == 1
        assert word.is_current()


class TestSharedWords:
    @pytest.fixture(autouse=True)
    def _few_words(self) -> Iterator[None]:
        _native.versions_keep_private(2**16)
        yield
        _native.versions_keep_private()

    def test_a_key_may_have_the_word_of_its_tag(self) -> None:
        """One in a million has. What is written with the tag can be read, and goes with it."""
        cache = make()
        word = _native.capture([f"tag:{cache._location}:red"]).words
        keys = (f"k{number}" for number in itertools.count())
        key = next(key for key in keys if _native.capture([f"key:{cache._location}::1:{key}"]).words == word)
        cache.set(key, 1, tags=["red", "blue"])
        assert cache.get(key) == 1
        assert cache.delete_by_tag("red") == 1
        assert cache.get(key) is None


class TestLoads:
    def test_an_error_about_a_result_names_the_callers_function(self, cache: NativeCache) -> None:
        """Who returns what can be read once only is told which function did."""
        with pytest.raises(TypeError, match=r"\.only_once returned a list_iterator"):
            cache.get_or_set("key", only_once)


def only_once() -> Iterator[int]:
    return iter([1])


class TestTags:
    def test_tagged_entries_go_together(self, cache: NativeCache) -> None:
        """`delete_by_tag` removes what was stored with the tag, by whichever method."""
        cache.set("a", 1, tags=["red", "blue"])
        cache.add("b", 2, tags=["red"])
        cache.set_many({"c": 3}, tags=["blue"])
        cache.get_or_set("d", lambda: 4, tags=["red"])
        cache.set("e", 5)
        assert cache.delete_by_tag("red") == 3
        assert cache.get_many("abcde") == {"c": 3, "e": 5}

    def test_a_load_whose_tag_was_deleted_meanwhile_is_not_stored(self, cache: NativeCache) -> None:
        """What was invalidated while it was computed is returned, and not kept."""

        def compute() -> int:
            cache.delete_by_tag("red")
            return 1

        assert cache.get_or_set("key", compute, tags=["red"]) == 1
        assert cache.get("key") is None

    def test_get_with_ttl(self, cache: NativeCache) -> None:
        """Value and seconds left in one call."""
        cache.set("key", [1], 100)
        value, left = cache.get_with_ttl("key")
        assert value == [1]
        assert left is not None
        assert 99 < left <= 100
        cache.set("ever", 2, None)
        assert cache.get_with_ttl("ever") == (2, None)
        assert cache.get_with_ttl("missing", "default") == ("default", 0)


class TestWarnings:
    def test_hits_are_not_asked_again(self, cache: NativeCache) -> None:
        """A key that was stored has been warned of; reading it says nothing."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cache.set("with space", 1)
        assert cache.get("with space") == 1

    def test_recursion_names_the_key(self, cache: NativeCache) -> None:
        """A default that asks for its own key would wait for itself."""
        with pytest.raises(RecursionError, match="loading 'key' into cache"):
            cache.get_or_set("key", lambda: cache.get_or_set("key", lambda: 1))


class TestModels(TestCase):
    def test_instances_and_querysets(self) -> None:
        """Rows, querysets and exceptions of models come back as pickles bring them."""
        cache = make()
        Group.objects.create(name="a")
        Group.objects.create(name="b")
        cache.set("rows", {"first": Group.objects.get(name="a"), "all": list(Group.objects.order_by("name"))})
        cache.set("queryset", Group.objects.order_by("name"))
        cache.set("error", Group.DoesNotExist("none"))
        with self.assertNumQueries(0):
            found = cache.get("rows")
            assert found["first"] == found["all"][0]
            assert [row.name for row in found["all"]] == ["a", "b"]
            assert [row.name for row in cache.get("queryset")] == ["a", "b"]
        found["first"].name = "changed"
        assert cache.get("rows")["first"].name == "a"
        assert isinstance(cache.get("error"), Group.DoesNotExist)
        assert catalogue.__name__
