"""What every enumerator does, whatever its backend. A subclass says what CACHES has, and gives an empty cache.

Several aliases of one place, with prefixes and versions that could be taken for each other, are part of it: each must
find its own entries, and leave those of the others alone.
"""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from contracts.enumerated_caches import ALIASES, GLOBS, MANY, ODD_KEYS, Unreadable, digested, digested_if_long
from django.core.cache import caches
from django.db import connections
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import MODEL

from oxicache._native import KeyPattern
from oxicache.django.enumeration import ALL_VERSIONS, Enumerator, enumerator_of
from oxicache.errors import CannotEnumerateError


class EnumeratorContract:
    """Subclass it, and say what an entry of CACHES is. All aliases share one place, which is empty for each test."""

    #: Whether other threads may write at once.
    shares_threads = True
    #: Aliases where deleting in all versions takes the whole place: what matches elsewhere is not known.
    emptied_by_all_versions: tuple[str, ...] = ()

    def place(self) -> dict[str, Any]:
        """Return what CACHES has for each of the aliases, but for ALIASES."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _place(self) -> None:
        """For what a subclass needs to say it."""

    @pytest.fixture(autouse=True)
    def _caches(self, _place: None) -> Iterator[None]:
        place = self.place()
        others = {
            "default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
            "digested": place | {"KEY_FUNCTION": digested},
            "digested if long": place | {"KEY_FUNCTION": digested_if_long},
        }
        with override_settings(CACHES={name: place | params for name, params in ALIASES.items()} | others):
            caches["plain"].clear()
            yield
            caches["plain"].clear()

    @pytest.fixture(params=["plain", "glob prefix", "versioned", "function"])
    def alias(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def cache(self, alias: str) -> Any:
        return caches[alias]

    @pytest.fixture
    def found(self, alias: str) -> Enumerator:
        return enumerator_of(alias)

    # ------------------------------------------------------------ keys

    def test_it_has_the_role(self, found: Enumerator, alias: str) -> None:
        """It has every method of the role, and names its alias."""
        assert isinstance(found, Enumerator)
        assert found.alias == alias

    def test_nothing_is_found_in_an_empty_cache(self, found: Enumerator) -> None:
        """No key, no count, nothing deleted."""
        assert (list(found.keys()), found.count("*"), found.delete_matching("*"), found.delete(["a"])) == (
            [],
            0,
            0,
            0,
        )

    def test_keys_are_those_that_were_given(self, cache: Any, found: Enumerator) -> None:
        """Each key comes once, without prefix and version, whatever is in it."""
        for key in ODD_KEYS:
            cache.set(key, 1)
        assert sorted(found.keys()) == sorted(ODD_KEYS)
        assert found.count() == len(ODD_KEYS)

    @pytest.mark.parametrize("glob", GLOBS)
    def test_globs_mean_the_same_everywhere(self, cache: Any, found: Enumerator, glob: str) -> None:
        """What a server understands by a pattern changes nothing: it is KeyPattern that decides."""
        for key in ODD_KEYS:
            cache.set(key, 1)
        wanted = sorted(key for key in ODD_KEYS if KeyPattern(glob).matches(key))
        assert sorted(found.keys(glob)) == wanted
        assert sorted(found.keys(KeyPattern(glob))) == wanted
        assert found.count(glob) == len(wanted)
        assert found.delete_matching(glob) == len(wanted)
        assert sorted(found.keys()) == sorted(set(ODD_KEYS) - set(wanted))
        assert all((cache.get(key) is None) == (key in wanted) for key in ODD_KEYS)

    def test_random_keys_and_patterns(self, cache: Any, found: Enumerator) -> None:
        """A list of keys and KeyPattern say what must be found."""
        text = st.text("ab:*?[]\\^-_%é", min_size=1, max_size=6)

        @settings(MODEL, max_examples=60)
        @given(keys=st.sets(text, max_size=12), globs=st.lists(text, min_size=1, max_size=3))
        def check(keys: set[str], globs: list[str]) -> None:
            cache.clear()
            for key in keys:
                cache.set(key, 1)
            wanted = {key for key in keys if any(KeyPattern(glob).matches(key) for glob in globs)}
            assert sorted(found.keys(globs)) == sorted(wanted)
            assert found.delete_matching(globs) == len(wanted)
            assert set(found.keys()) == keys - wanted

        check()

    def test_several_patterns_select_what_one_of_them_matches(self, cache: Any, found: Enumerator) -> None:
        """An entry that several match is found, counted and deleted once."""
        cache.set_many(dict.fromkeys(ODD_KEYS, 1))
        patterns = ["b:*", KeyPattern("b:1"), "[ab]"]
        assert sorted(found.keys(patterns)) == ["a", "b:1", "b:2"]
        assert found.count(patterns) == 3
        assert found.count([]) == 0
        assert found.delete_matching(patterns) == 3

    @pytest.mark.parametrize("alias", ["plain"])
    @pytest.mark.parametrize("batch", [1, 7, 1000])
    def test_many_keys(self, cache: Any, found: Enumerator, batch: int) -> None:
        """More than a batch holds: each once."""
        keys = [f"k:{number}" for number in range(MANY if batch > 1 else 60)]
        cache.set_many(dict.fromkeys(keys, 1))
        cache.set("other", 1)
        assert sorted(found.keys("k:*", batch=batch)) == sorted(keys)
        assert found.delete_matching("k:*") == len(keys)
        assert list(found.keys()) == ["other"]

    def test_an_unread_iterator_costs_nothing_later(self, cache: Any, found: Enumerator) -> None:
        """Keys may be deleted, and others stored, while one iterates."""
        cache.set_many({f"k:{number}": 1 for number in range(20)})
        seen = []
        for key in found.keys("k:*", batch=3):
            seen.append(key)
            found.delete([key])
            cache.set(f"new:{key}", 1)
        assert sorted(seen) == sorted(f"k:{number}" for number in range(20))
        assert found.count("k:*") == 0

    def test_what_is_over_is_not_there(self, cache: Any, found: Enumerator) -> None:
        """An entry past its deadline is neither listed nor counted."""
        cache.set("live", 1)
        cache.set("over", 1, -1)
        assert list(found.keys()) == ["live"]
        assert found.count() == 1
        assert found.delete(["over"]) == 0
        cache.set("over", 1, -1)
        assert found.delete_matching("*") == 1

    def test_nothing_is_unpickled(self, cache: Any, found: Enumerator) -> None:
        """A value that cannot be read any more is listed and deleted like any."""
        cache.set("bad", Unreadable())
        assert list(found.keys()) == ["bad"]
        assert found.count("b*") == 1
        assert found.delete_matching("b*") == 1

    def test_delete(self, cache: Any, found: Enumerator) -> None:
        """It counts what was there, and takes any iterable of keys; a single str is a mistake."""
        cache.set_many({"a": 1, "b": 2, "c": 3})
        assert found.delete(iter(["a", "b", "none"])) == 2
        assert (cache.get("a"), cache.get("c")) == (None, 3)
        assert found.delete([]) == 0
        with pytest.raises(TypeError, match="single 'c'"):
            found.delete("c")

    @pytest.mark.parametrize("wrong", [0, -1])
    def test_a_batch_has_keys(self, found: Enumerator, wrong: int) -> None:
        """A batch of none would never end: it is refused at the call."""
        with pytest.raises(ValueError, match="at least 1"):
            found.keys(batch=wrong)
        with pytest.raises(TypeError, match="int"):
            found.keys(batch=True)

    def test_a_pattern_is_text(self, found: Enumerator) -> None:
        """What is no pattern is refused at the call, by every method that takes one."""
        wrong: Any = [1]
        for method in (found.keys, found.count, found.delete_matching):
            with pytest.raises(TypeError):
                method(wrong)

    # ------------------------------------------------------------ whose keys

    def test_neighbours_are_left_alone(self, alias: str, found: Enumerator) -> None:
        """Wildcards in a prefix are literal, and one prefix that begins like another is another."""
        for name in ALIASES:
            caches[name].set("k", name)
        assert list(found.keys()) == ["k"]
        assert found.delete_matching("*") == 1
        assert {name for name in ALIASES if caches[name].get("k") is None} == {alias}

    def test_versions(self, alias: str, cache: Any, found: Enumerator) -> None:
        """None is the cache's own version; ALL_VERSIONS are all; tenants with other prefixes stay apart."""
        for version in (7, 11, 111):
            cache.set("k", version, version=version)
        cache.set("own", 1)
        caches["near prefix"].set("k", 1, version=11)
        assert list(found.keys()) == ["own"]
        assert list(found.keys(version=11)) == ["k"]
        assert sorted(found.keys("[ko]*", version=ALL_VERSIONS)) == ["k", "k", "k", "own"]
        assert found.count("k", version=ALL_VERSIONS) == 3
        assert found.delete(["k"], version=7) == 1
        assert found.delete_matching("k", version=11) == 1
        assert found.delete_matching("*", version=ALL_VERSIONS) == 2
        if alias not in self.emptied_by_all_versions:
            assert caches["near prefix"].get("k", version=11) == 1

    @pytest.mark.parametrize("name", ["digested", "digested if long"])
    def test_a_key_function_that_hides_keys(self, name: str) -> None:
        """Keys that are digested, be it only the long ones, cannot be found by pattern: an error, never 0."""
        with pytest.raises(CannotEnumerateError, match="KEY_FUNCTION") as caught:
            enumerator_of(name)
        assert caught.value.alias == name

    # ------------------------------------------------------------ tags

    def test_tags(self, cache: Any, found: Enumerator) -> None:
        """A tag finds and deletes what carries it, once, and nothing else."""
        found.set_tagged("a", 1, ["x", "y"])
        found.set_tagged("b", 2, ["x"])
        found.set_tagged("c", 3, [])
        cache.set("d", 4)
        assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, 2, 3)
        assert found.keys_of(["x"]) == {"a", "b"}
        assert found.keys_of(["y", "none"]) == {"a"}
        assert found.delete_by_tag(["y", "x"]) == 2
        assert found.delete_by_tag(["x"]) == 0
        assert sorted(found.keys()) == ["c", "d"]

    def test_a_tag_index_is_no_entry(self, cache: Any, found: Enumerator) -> None:
        """What the backend needs to know of tags is neither listed nor counted nor matched."""
        found.set_tagged("a", 1, ["x", "*"])
        assert list(found.keys()) == ["a"]
        assert found.count(version=ALL_VERSIONS) == 1
        assert found.delete_matching("*", version=ALL_VERSIONS) == 1
        found.set_tagged("a", 1, ["x"])
        assert found.delete_by_tag(["x"]) == 1
        assert cache.get("a") is None

    def test_what_is_gone_carries_no_tag(self, cache: Any, found: Enumerator) -> None:
        """A deleted entry is neither named nor counted by its tags."""
        found.set_tagged("a", 1, ["x"])
        found.set_tagged("b", 1, ["x"])
        cache.delete("a")
        assert found.keys_of(["x"]) == {"b"}
        assert found.delete_by_tag(["x"]) == 1

    def test_a_tag_reaches_all_versions(self, cache: Any, found: Enumerator) -> None:
        """Entries of every version die with their tag; they are listed by version."""
        found.set_tagged("a", 1, ["x"], version=5)
        found.set_tagged("b", 1, ["x"])
        assert found.keys_of(["x"]) == {"b"}
        assert found.keys_of(["x"], version=5) == {"a"}
        assert found.keys_of(["x"], version=ALL_VERSIONS) == {"a", "b"}
        assert found.delete_by_tag(["x"]) == 2
        assert cache.get("a", version=5) is None

    @pytest.mark.parametrize("alias", ["plain"])
    def test_a_tag_of_many(self, found: Enumerator) -> None:
        """More than a batch holds."""
        for number in range(MANY):
            found.set_tagged(f"k:{number}", 1, ["x"])
        assert len(found.keys_of(["x"])) == MANY
        assert found.delete_by_tag(["x"]) == MANY
        assert found.count() == 0

    def test_odd_tags(self, found: Enumerator) -> None:
        """A tag is a text like any: wildcards, separators and other letters mean themselves."""
        tags = ["*", "x:y", "x", "x*", "%", "ü", "a" * 250]
        for tag in tags:
            found.set_tagged(f"k{tags.index(tag)}", 1, [tag])
        for tag in tags:
            assert found.keys_of([tag]) == {f"k{tags.index(tag)}"}
            assert found.delete_by_tag([tag]) == 1

    @pytest.mark.parametrize(
        ("wrong", "error", "said"),
        [
            ("x", TypeError, "not 'x'"),
            ([1], TypeError, r"not \[1\]"),
            ([""], ValueError, "empty"),
            (["x" * 251], ValueError, "250"),
        ],
        ids=["a str", "a number", "empty", "long"],
    )
    def test_what_is_no_tag(self, found: Enumerator, wrong: Any, error: type[Exception], said: str) -> None:
        """It is named, and nothing is stored."""
        for call in (found.keys_of, found.delete_by_tag, lambda tags: found.set_tagged("k", 1, tags)):
            with pytest.raises(error, match=said):
                call(wrong)
        assert found.count() == 0

    def test_tags_of_what_is_stored(self, cache: Any, found: Enumerator) -> None:
        """A tag is added to those that an entry has."""
        cache.set("a", 1, 60)
        found.tag("a", ["x"], 60)
        found.tag("a", ["y"], None)
        found.tag("a", ["x", "z"], 30)
        for tag in "xyz":
            assert found.keys_of([tag]) == {"a"}
        assert found.delete_by_tag(["y"]) == 1
        assert found.keys_of(["x"]) == frozenset()

    # ------------------------------------------------------------ others at the same time

    def test_async_twins(self, cache: Any, found: Enumerator) -> None:
        """Each does what its twin does."""

        async def run() -> None:
            await found.aset_tagged("a", 1, ["x"])
            await found.aset_tagged("b:1", 1, ["y"])
            await cache.aset("b:2", 1)
            await found.atag("b:2", ["z"])
            assert await found.akeys_of(["z"]) == {"b:2"}
            assert sorted([key async for key in found.akeys(batch=1)]) == ["a", "b:1", "b:2"]
            assert await found.acount("b:*") == 2
            assert await found.akeys_of(["x"]) == {"a"}
            assert await found.adelete_by_tag(["x"]) == 1
            assert await found.adelete(["b:1", "b:1"]) == 1
            assert await found.adelete_matching("b:*") == 1

        async_to_sync(run)()

    def test_threads_share_one(self, found: Enumerator) -> None:
        """What threads tag at once is all found, whatever is deleted meanwhile: nothing stays without its tag."""
        if not self.shares_threads:
            pytest.skip("SQLite in memory lets one thread write at a time")
        deleted: list[int] = []

        def store(name: str) -> None:
            try:
                for number in range(60):
                    found.set_tagged(f"{name}:{number}", 1, ["x"])
                    if number % 20 == 19:
                        deleted.append(found.delete_by_tag(["x"]))
            finally:
                connections.close_all()

        threads = [threading.Thread(target=store, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        deleted.append(found.delete_by_tag(["x"]))
        assert found.count() == 0
        assert sum(deleted) == 240
