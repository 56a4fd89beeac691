"""Enumerators of what needs no server, under the contract of all; who has one, and what others are told."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from backend_handlers import handler
from contracts.enumerated_caches import cache_table
from contracts.enumerator_contract import EnumeratorContract
from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from sessions import rolled_back

from oxicache._native import KeyPattern
from oxicache.compat.the_bot import CacheKeyBuilder
from oxicache.django import enumeration
from oxicache.django.enumerating import memory
from oxicache.django.enumerating.memory import NothingEnumerator
from oxicache.django.enumeration import (
    ALL_VERSIONS,
    Enumerator,
    enumerator_of,
    enumerators,
    patterns_of,
    register_enumerator,
)
from oxicache.errors import CannotEnumerateError
from oxicache.keys import make_key, normal_pattern
from oxicache.selection import Selection

_numbers = itertools.count()


class TestNativeCache(EnumeratorContract):
    emptied_by_all_versions = ("function",)

    def place(self) -> dict[str, Any]:
        return {
            "BACKEND": "oxicache.django.backends.NativeCache",
            "LOCATION": f"enumerated-{next(_numbers)}",
            # Of thousands of writes a few share a version word with another key, which they outdate.
            "OPTIONS": {"COHERENCE": "process"},
        }


class TestLocMemCache(EnumeratorContract):
    def place(self) -> dict[str, Any]:
        return {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": f"enumerated-{next(_numbers)}",
            "OPTIONS": {"MAX_ENTRIES": 100_000},
        }


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, Any]]:
    """An entry of CACHES whose table exists, in the database of the tests."""
    with cache_table() as place:
        yield place


class TestDatabaseCache(EnumeratorContract):
    shares_threads = False

    @pytest.fixture(autouse=True)
    def _place(self, table: dict[str, Any]) -> None:
        self.table = table

    def place(self) -> dict[str, Any]:
        return self.table


# ---------------------------------------------------------------- who has one

PLACES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "oxicache.django.backends.NativeCache"},
    "memory": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "who has one"},
    "files": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": "/nowhere"},
    "memcached": {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": "127.0.0.1:1",
    },
    "nothing": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
    "own": {"BACKEND": f"{__name__}.Own"},
    "of locmem": {"BACKEND": f"{__name__}.OfLocMem", "LOCATION": "of locmem"},
    "wrong": {"BACKEND": "no.such.backend"},
    "misspelt": {
        "BACKEND": "oxicache.django.backends.NativeCache",
        "LOCATION": "misspelt",
        "OPTIONS": {"MAX_ENTRYS": 1},
    },
}
CANNOT = ("files", "memcached", "own")


class Own(BaseCache):
    """A backend that nobody knows."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)


class OfLocMem(LocMemCache):
    """A project's own, as for tenants: its keys have a part that Django does not know of."""

    def make_key(self, key: Any, version: Any = None) -> str:
        return f"schema:{super().make_key(key, version)}"


class TestWhoHasOne:
    @pytest.fixture(autouse=True)
    def _caches(self) -> Iterator[None]:
        with override_settings(CACHES=PLACES):
            yield

    @pytest.mark.parametrize("alias", CANNOT)
    def test_an_error_says_who_cannot_and_what_to_do(self, alias: str) -> None:
        """It names alias and backend, why not, and the remedy; it is never a cache without entries."""
        with pytest.raises(CannotEnumerateError) as caught:
            enumerator_of(alias)
        said = str(caught.value)
        assert caught.value.alias == alias
        assert repr(alias) in said
        assert type(caches[alias]).__name__ in said
        assert "DatabaseCache" in said

    def test_all_of_them(self) -> None:
        """Each alias has one or an error, also where its backend cannot even be made."""
        found = enumerators()
        assert found.keys() == PLACES.keys()
        assert {alias for alias, one in found.items() if isinstance(one, CannotEnumerateError)} == {
            *CANNOT,
            "wrong",
            "misspelt",
        }
        assert "no.such.backend" in str(found["wrong"])
        assert "MAX_ENTRYS" in str(found["misspelt"])

    def test_an_unknown_alias(self) -> None:
        """Django's own error."""
        with pytest.raises(InvalidCacheBackendError):
            enumerator_of("none")

    def test_nothing_is_nothing(self) -> None:
        """A DummyCache has no entries, and 0 is the truth."""
        found, cache = enumerator_of("nothing"), caches["nothing"]
        found.set_tagged("a", 1, ["x"])
        cache.set("a", 1)
        assert isinstance(found, Enumerator)
        assert (list(found.keys("*")), found.count(), found.delete_matching("*"), found.delete(["a"])) == (
            [],
            0,
            0,
            0,
        )
        assert (found.keys_of(["x"]), found.delete_by_tag(["x"])) == (frozenset(), 0)
        with pytest.raises(TypeError):
            found.delete_by_tag("x")

    def test_a_backend_of_the_projects_own(self) -> None:
        """A subclass has its parent's, and is asked how it makes keys."""
        found = enumerator_of("of locmem")
        caches["of locmem"].set("a:1", 1)
        assert list(found.keys("a:*")) == ["a:1"]
        found.set_tagged("b", 1, ["x"])
        assert found.delete_by_tag(["x"]) == 1
        assert found.delete_matching("*") == 1

    def test_others_register_theirs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is registered for a class counts before what is built in, for its subclasses too."""
        monkeypatch.setattr(enumeration, "_registered", {})
        register_enumerator(Own, NothingEnumerator)
        assert isinstance(enumerator_of("own"), NothingEnumerator)
        register_enumerator(LocMemCache, NothingEnumerator)
        assert isinstance(enumerator_of("of locmem"), NothingEnumerator)
        wrong: Any = dict
        with pytest.raises(TypeError, match="BaseCache"):
            register_enumerator(wrong, NothingEnumerator)

    def test_a_prefix_may_change(self) -> None:
        """What is set on a handler counts at once: one enumerator serves every tenant."""
        found, cache = enumerator_of("memory"), caches["memory"]
        for prefix in ("one", "two"):
            cache.key_prefix = prefix
            cache.set("k", prefix)
        assert list(found.keys()) == ["k"]
        assert found.delete_matching("*") == 1
        cache.key_prefix = "one"
        assert cache.get("k") == "one"

    def test_patterns_of_a_selection(self) -> None:
        """A tenant's are below its scope's prefix: tenant 1 is not 12, and 0 is one too."""
        found, cache = enumerator_of("memory"), caches["memory"]
        cache.clear()
        keys = [f"tenant:{tenant}:asset:{number}" for tenant in (0, 1, 12) for number in (1, 2)]
        cache.set_many(dict.fromkeys([*keys, "asset:1"], 1))
        assert set(found.keys(patterns_of(Selection(globs=("asset:*",), tenant=1)))) == set(keys[2:4])
        assert set(found.keys(patterns_of(Selection(tenant=0)))) == set(keys[:2])
        assert set(found.keys(patterns_of(Selection(globs=("asset:*",), regex="tenant:12")))) == {
            *keys[4:],
            "asset:1",
        }


class TestDefectsOfTheDocuments:
    """What projects got wrong that looked for keys by pattern, on the backends where they did."""

    @pytest.fixture(autouse=True)
    def _caches(self) -> Iterator[None]:
        with override_settings(CACHES={"default": PLACES["memory"]}):
            caches["default"].clear()
            yield

    def test_locmem_is_really_cleared(self) -> None:
        """002 answered "Cache cleared" on LocMemCache, which has no `delete_pattern`, and cleared nothing."""
        assert not hasattr(caches["default"], "delete_pattern")
        caches["default"].set("materials:list", 1)
        assert enumerator_of("default").delete_matching("materials:*") == 1
        assert caches["default"].get("materials:list") is None

    def test_the_prefix_of_django_is_no_part_of_a_pattern(self) -> None:
        """004 matched its patterns against keys that begin with ":1:", and so none; nor does ":1:" match anything."""
        caches["default"].set("tenant:1:dropdown", 1)
        assert list(caches["default"]._cache) == [":1:tenant:1:dropdown"]
        assert enumerator_of("default").count("tenant:1:*") == 1
        assert enumerator_of("default").count(":1:*") == 0

    def test_a_pattern_matches_whole_segments(self) -> None:
        """004 turned 'asset' into '*asset*', which takes any key with these letters."""
        cache = caches["default"]
        cache.set_many(dict.fromkeys(["asset", "shop:asset:7", "assets:1", "asset_status", "my_asset"], 1))
        assert set(enumerator_of("default").keys(normal_pattern("asset"))) == {"asset", "shop:asset:7"}

    def test_a_long_key_is_found_by_its_start(self) -> None:
        """004 replaced long keys by a digest, which no pattern matched any more."""
        long = make_key("dropdown", "x" * 300, prefix="tenant:1")
        caches["default"].set(long, 1)
        assert len(long) <= 200
        assert list(enumerator_of("default").keys("tenant:1:dropdown:*")) == [long]

    def test_a_namespace_has_the_colons_that_its_keys_have(self) -> None:
        """002 cleared 'thebot:production:ns:*' where its keys had two colons, so that it never matched."""
        builder = CacheKeyBuilder
        caches["default"].set(builder.make_key("materials", "list"), 1)
        assert enumerator_of("default").delete_matching(builder.pattern_key("materials")) == 1


# ---------------------------------------------------------------- of one backend alone


class TestOneLocMemCache:
    def test_an_index_of_tags_stays_small(self) -> None:
        """What was evicted is forgotten: the index holds at most twice the entries, and some spare ones."""
        place = PLACES["memory"] | {"LOCATION": "small index", "OPTIONS": {"MAX_ENTRIES": 50}}
        with override_settings(CACHES={"default": place}):
            found = enumerator_of("default")
            for number in range(5000):
                found.set_tagged(f"k{number}", 1, [f"t{number % 7}", f"own {number}"])
            index = memory._index(caches["default"])
            held = sum(map(len, index.members.values()))
            assert held <= 2 * 50 + memory.SPARE
            assert len(index.members) <= held
            live = set(found.keys())
            assert found.keys_of([f"t{number}" for number in range(7)]) == live
            assert found.delete_by_tag([f"t{number}" for number in range(7)]) == len(live)


class TestOneNativeCache:
    def test_other_processes_lose_what_matches(self) -> None:
        """An enumerator lists this process; what it deletes dies in all of the host."""
        place = PLACES["default"] | {"LOCATION": "enumerated by two"}
        with override_settings(CACHES={"default": place}):
            found, elsewhere = enumerator_of("default"), handler("enumerated by two")
            for deleted in (
                lambda: found.delete_matching("a:*"),
                lambda: found.delete_matching(KeyPattern("a:", "regex")),
                lambda: found.delete_matching("a:*", ALL_VERSIONS),
                lambda: found.delete(["a:1"]),
                lambda: found.delete_by_tag(["x"]),
            ):
                elsewhere.get("a:1")  # so that what it stores is a fill, which outdates nothing
                elsewhere.set("a:1", 1, tags=["x"])
                assert elsewhere.get("a:1") == 1
                assert found.count() == 0
                assert deleted() == 0
                assert elsewhere.get("a:1") is None


class Halves:
    """A router that reads from one database and writes to another."""

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return "default" if model._meta.app_label == "django_cache" else None

    def db_for_write(self, model: Any, **_: Any) -> str | None:
        return "other" if model._meta.app_label == "django_cache" else None

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool | None:
        return True if app_label == "django_cache" else None


class TestOneDatabaseCache:
    @pytest.fixture(autouse=True)
    def _caches(self, table: dict[str, Any]) -> Iterator[None]:
        self.table = table
        with override_settings(CACHES={"default": table}):
            yield
            caches["default"].clear()

    def test_what_makes_room_leaves_no_entry_without_its_tag(self) -> None:
        """Django deletes the first keys when there are too many: an entry may go before its marker, never after it."""
        with override_settings(
            CACHES={"default": self.table | {"OPTIONS": {"MAX_ENTRIES": 30, "CULL_FREQUENCY": 2}}}
        ):
            found = enumerator_of("default")
            for number in range(200):
                found.set_tagged(f"{number * 7919 % 997:03}", 1, ["x", "y"])
                assert found.keys_of(["x"]) == found.keys_of(["y"]) == set(found.keys())

    def test_a_key_that_leaves_no_room_for_a_tag(self) -> None:
        """The column has 255 characters: the error says how many are left, and nothing stays in the cache."""
        found = enumerator_of("default")
        found.set_tagged("k" * 228, 1, ["x"])
        assert found.delete_by_tag(["x"]) == 1
        with pytest.raises(ValueError, match="255"):
            found.set_tagged("k" * 229, 1, ["x"])
        assert found.count() == 0

    def test_it_asks_the_database_that_is_written_to(self) -> None:
        """A replica may be behind: what it does not know yet would stay."""
        with (
            override_settings(DATABASE_ROUTERS=[Halves()]),
            cache_table("other") as place,
            override_settings(CACHES={"default": place}),
        ):
            found = enumerator_of("default")
            found.set_tagged("a", 1, ["x"])
            assert list(found.keys()) == ["a"]
            assert found.keys_of(["x"]) == {"a"}
            assert found.delete_by_tag(["x"]) == 1
            found.set_tagged("a", 1, [])
            assert found.delete_matching("*") == 1

    def test_a_rolled_back_deletion_did_not_happen(self) -> None:
        """The table is one of a database: what is deleted in a transaction comes back with it."""
        found = enumerator_of("default")
        found.set_tagged("a", 1, ["x"])
        for deleted in (lambda: found.delete_matching("*"), lambda: found.delete_by_tag(["x"])):
            with rolled_back():
                assert deleted() == 1
                assert found.count() == 0
            assert list(found.keys()) == ["a"]
            assert found.keys_of(["x"]) == {"a"}

    def test_it_takes_a_statement_for_many_keys(self) -> None:
        """A page is read by one statement and deleted by two, within a transaction."""
        found = enumerator_of("default")
        caches["default"].set_many({f"k{number}": 1 for number in range(400)})
        with CaptureQueriesContext(connection) as queries:
            assert found.delete_matching("k*") == 400
        assert len([query for query in queries if "SAVEPOINT" not in query["sql"]]) <= 5
