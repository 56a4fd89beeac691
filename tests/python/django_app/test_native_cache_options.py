"""OPTIONS of NativeCache, several aliases of one LOCATION, and what becomes of stores when settings change."""

import datetime as dt
import itertools
from typing import Any

import pytest
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from oxicache import cache_manager, testing
from oxicache.django.backends import NativeCache

BACKEND = "oxicache.django.backends.NativeCache"
_numbers = itertools.count()


def location() -> str:
    return f"options-{next(_numbers)}"


def aliases(**settings: dict[str, Any]) -> override_settings:
    return override_settings(CACHES={alias: {"BACKEND": BACKEND} | one for alias, one in settings.items()})


class TestOptions:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("MAX_ENTRIES", -1),
            ("MAX_ENTRIES", "many"),
            ("MAX_ENTRIES", None),
            ("MAX_ENTRIES", True),
            ("MAX_ENTRIES", float("inf")),
            ("MAX_ENTRIES", 2**40),
            ("MAX_BYTES", -1),
            ("MAX_BYTES", "64 MiB"),
            ("MAX_BYTES", float("nan")),
            ("POLICY", "fifo"),
            ("POLICY", ["lru"]),
            ("ISOLATION", "copy"),
            ("ISOLATION", None),
            ("COHERENCE", "cluster"),
            ("GRACE", -1),
            ("GRACE", "60"),
            ("GRACE", dt.timedelta(seconds=-1)),
            ("EARLY_REFRESH", -0.5),
            ("EARLY_REFRESH", True),
            ("JITTER", 1),
            ("JITTER", -0.1),
            ("DEPLOY_VERSION", "with space"),
            ("DEPLOY_VERSION", 1.5),
            ("DEPLOY_VERSION", True),
        ],
        ids=repr,
    )
    def test_a_wrong_option_is_named(self, name: str, value: object) -> None:
        """The message holds the alias, the LOCATION, the option and its value."""
        where = location()
        with (
            aliases(default={}, wrong={"LOCATION": where, "OPTIONS": {name: value}}),
            pytest.raises(ImproperlyConfigured) as error,
        ):
            caches["wrong"]
        message = str(error.value)
        assert message.startswith(
            f"CACHES['wrong'] (LOCATION {where!r}): the option {name} is {value!r}; it must be "
        )

    def test_an_unknown_option_is_named(self) -> None:
        """What is misspelt is said, with all that there is."""
        with (
            aliases(default={"OPTIONS": {"MAX_ENTRY": 1, "CLIENT_CLASS": "x"}}),
            pytest.raises(ImproperlyConfigured) as error,
        ):
            caches["default"]
        assert "OPTIONS has no key CLIENT_CLASS, MAX_ENTRY; its keys are" in str(error.value)
        assert "CULL_FREQUENCY, DEPLOY_VERSION, EARLY_REFRESH" in str(error.value)

    def test_options_must_be_a_dict(self) -> None:
        """Anything else is an error, not a cache without options."""
        with pytest.raises(ImproperlyConfigured, match="OPTIONS is \\[1\\]; it must be a dict"):
            NativeCache(location(), {"OPTIONS": [1]})

    def test_defaults(self) -> None:
        """What a project gets that says nothing."""
        cache = NativeCache(location(), {})
        stats = cache.stats()
        assert (stats["max_size"], stats["max_bytes"], stats["policy"]) == (10_000, 64 * 2**20, "s3fifo")
        assert cache.default_timeout == 300

    @pytest.mark.parametrize("value", [5, 5.9, "5"], ids=repr)
    def test_limits_are_numbers_as_django_takes_them(self, value: Any) -> None:
        """A float and a text are what int() makes of them."""
        for params in ({"OPTIONS": {"MAX_ENTRIES": value}}, {"MAX_ENTRIES": value}, {"max_entries": value}):
            cache = NativeCache(location(), params)
            assert cache._max_entries == 5
            cache.set_many({f"key{n}": n for n in range(20)})
            assert cache.stats()["size"] <= 5

    def test_bytes_are_limited(self) -> None:
        """What is stored stays below MAX_BYTES, and what is larger alone is not stored."""
        cache = NativeCache(location(), {"OPTIONS": {"MAX_BYTES": 20_000}})
        for n in range(50):
            cache.set(f"key{n}", "x" * 1000)
        assert cache.stats()["size_bytes"] <= 20_000
        assert 10 <= cache.stats()["size"] < 20
        cache.set("large", "x" * 50_000)
        assert cache.get("large") is None

    def test_the_other_options_reach_the_store(self) -> None:
        """Each option is what the store says of itself."""
        cache = NativeCache(
            location(),
            {
                "OPTIONS": {
                    "POLICY": "lru",
                    "MAX_BYTES": None,
                    "ISOLATION": "none",
                    "COHERENCE": "process",
                    "GRACE": dt.timedelta(minutes=1),
                    "EARLY_REFRESH": 2,
                    "JITTER": 0.1,
                    "CULL_FREQUENCY": 3,
                }
            },
        )
        store = cache._memory
        assert (store.isolation, store.coherence, store.jitter) == ("none", "process", 0.1)
        assert (store.cache.policy, store.cache.max_bytes) == ("lru", None)
        assert (store.grace, store.early_refresh) == (60, 2)
        value: list[int] = []
        cache.set("key", value)
        assert cache.get("key") is value

    def test_jitter_spreads_expiry(self) -> None:
        """What is stored together does not expire together."""
        cache = NativeCache(location(), {"OPTIONS": {"JITTER": 0.5}})
        cache.set_many({f"key{n}": n for n in range(100)}, 1000)
        times = {cache.ttl(f"key{n}") for n in range(100)}
        assert len(times) > 20
        assert all(time is not None and 499 <= time <= 1500 for time in times)

    def test_grace_serves_what_has_expired_when_the_source_fails(self) -> None:
        """`get_or_set` gives the old value for a ConnectionError, and raises other errors."""
        with testing.clock(1000.0) as clock:
            cache = NativeCache(location(), {"OPTIONS": {"GRACE": 100}})
            assert cache.get_or_set("key", lambda: ["old"], 10) == ["old"]
            clock.advance(11)
            assert cache.get("key") is None
            assert cache.get_or_set("key", _unreachable, 10) == ["old"]
            with pytest.raises(ZeroDivisionError):
                NativeCache(location(), {}).get_or_set("key", lambda: 1 / 0)

    def test_early_refresh_elects_a_caller(self) -> None:
        """Near its end one caller computes anew although the value is still fresh."""
        with testing.clock(1000.0) as clock:
            cache = NativeCache(location(), {"OPTIONS": {"EARLY_REFRESH": 1e12}})
            assert cache.get_or_set("key", lambda: _slow(["first"]), 10) == ["first"]
            clock.advance(9)
            assert cache.get_or_set("key", lambda: ["second"], 10) == ["second"]
            assert cache.get("key") == ["second"]


def _unreachable() -> Any:
    raise ConnectionError


def _slow(value: Any) -> Any:
    for _ in range(20_000):
        pass
    return value


class TestDeployVersion:
    def test_releases_do_not_see_each_other(self) -> None:
        """What one release stored is a miss to the next, whatever its keys are."""
        where = location()
        old = NativeCache(where, {"KEY_PREFIX": "p", "OPTIONS": {"DEPLOY_VERSION": "r1"}})
        new = NativeCache(where, {"KEY_PREFIX": "p", "OPTIONS": {"DEPLOY_VERSION": "r2"}})
        none = NativeCache(where, {"KEY_PREFIX": "p"})
        old.set("key", 1)
        assert new.get("key") is None
        assert none.get("key") is None
        assert new.keys() == []
        assert old.get("key") == 1
        assert old.make_key("key") == "p@r1:1:key"

    def test_it_reaches_key_functions(self) -> None:
        """A KEY_FUNCTION gets it as part of the prefix."""
        cache = NativeCache(
            location(),
            {
                "KEY_FUNCTION": lambda key, prefix, version: f"{prefix}/{key}",
                "OPTIONS": {"DEPLOY_VERSION": 7},
            },
        )
        assert cache.make_key("key") == "@7/key"


class TestLocations:
    def test_aliases_of_one_location_share_it(self) -> None:
        """What one alias stores another finds, as with LocMemCache."""
        where = location()
        with aliases(
            default={"LOCATION": where},
            same={"LOCATION": where, "TIMEOUT": 5},
            other={"LOCATION": location()},
        ):
            caches["default"].set("key", 1)
            assert caches["same"].get("key") == 1
            assert caches["other"].get("key") is None
            assert caches["same"]._memory is caches["default"]._memory

    def test_without_a_location_all_share_one(self) -> None:
        """LOCATION is empty unless given."""
        with aliases(default={}, same={}):
            caches["default"].set("key", 1)
            assert caches["same"].get("key") == 1
            caches["default"].clear()

    def test_what_one_alias_says_counts_for_all(self) -> None:
        """Whichever is used first: an option that is not given contradicts nobody."""
        where = location()
        with aliases(default={"LOCATION": where}, small={"LOCATION": where, "OPTIONS": {"MAX_ENTRIES": 7}}):
            assert caches["default"]._max_entries == 7
            assert caches["small"]._max_entries == 7

    @pytest.mark.parametrize("name", ["MAX_ENTRIES", "POLICY"])
    def test_aliases_that_contradict_each_other_are_named(self, name: str) -> None:
        """One memory cannot be two things; the message names both aliases and both values."""
        where = location()
        values: dict[str, tuple[Any, Any]] = {"MAX_ENTRIES": (5, 6), "POLICY": ("lru", "s3fifo")}
        first, second = values[name]
        one = {"LOCATION": where, "OPTIONS": {name: first}}
        other = {"LOCATION": where, "OPTIONS": {name: second}}
        with aliases(default=one, second=other):
            for alias in ("default", "second"):
                with pytest.raises(ImproperlyConfigured) as error:
                    caches[alias]
                message = str(error.value)
                assert f"CACHES['second'] (LOCATION {where!r}): the option {name} is {second!r}" in message
                assert f"CACHES['default'] says {first!r}" in message

    def test_what_differs_only_in_keys_does_not_contradict(self) -> None:
        """Prefix, version, timeout, key function and deploy version belong to the alias."""
        where = location()
        with aliases(
            default={
                "LOCATION": where,
                "KEY_PREFIX": "a",
                "OPTIONS": {"DEPLOY_VERSION": 1, "CULL_FREQUENCY": 2},
            },
            second={"LOCATION": where, "VERSION": 2, "OPTIONS": {"DEPLOY_VERSION": 2, "CULL_FREQUENCY": 0}},
        ):
            caches["default"].set("key", 1)
            assert caches["second"].get("key") is None

    def test_data_outlives_overridden_settings(self) -> None:
        """A LOCATION keeps its entries when CACHES changes, and its new limits hold."""
        where = location()
        with aliases(default={"LOCATION": where}):
            caches["default"].set_many({f"key{n}": n for n in range(100)})
            first = caches["default"]
        with aliases(default={"LOCATION": where, "OPTIONS": {"MAX_ENTRIES": 10}}):
            assert caches["default"] is not first
            assert caches["default"]._memory is first._memory
            assert caches["default"].stats()["size"] <= 10

    def test_a_store_of_another_kind_is_another_store(self) -> None:
        """What cannot be changed in a store that holds entries makes a new one, registered in its place."""
        where = location()
        with aliases(default={"LOCATION": where}):
            caches["default"].set("key", 1)
            old = caches["default"]
            name = old._memory.name
        with aliases(default={"LOCATION": where, "OPTIONS": {"POLICY": "lru"}}):
            assert caches["default"].get("key") is None
            assert caches["default"].stats()["policy"] == "lru"
            registered = [cache for cache in cache_manager._caches.values() if cache is old._memory.cache]
            assert registered == []
            assert caches["default"]._memory.name == name
        assert old.get("key") == 1

    def test_a_handler_made_by_hand_changes_only_what_it_names(self) -> None:
        """Without options it takes the memory of its LOCATION as it is."""
        where = location()
        first = NativeCache(where, {"OPTIONS": {"POLICY": "lru", "MAX_ENTRIES": 50, "GRACE": 5}})
        first.set("key", 1)
        second = NativeCache(where, {})
        assert second._memory is first._memory
        assert (second.get("key"), second._max_entries) == (1, 50)
        third = NativeCache(where, {"OPTIONS": {"MAX_ENTRIES": 20}})
        assert third._memory is first._memory
        assert (first._max_entries, third._memory.grace) == (20, 5)

    def test_stores_are_registered_under_the_first_alias(self) -> None:
        """The manager knows each memory once."""
        one, two = location(), location()
        with aliases(default={"LOCATION": one}, shared={"LOCATION": one}, lonely={"LOCATION": two}):
            names = {alias: caches[alias]._memory.name or "" for alias in ("shared", "default", "lonely")}
            assert names["shared"] == names["default"]
            assert names["shared"].startswith("django:default")
            assert names["lonely"].startswith("django:lonely")
            assert cache_manager._caches[names["lonely"]] is caches["lonely"]._memory.cache
            caches["lonely"].set("key", 1)
            assert cache_manager.get_global_stats()[names["lonely"]]["size"] == 1

    def test_threads_that_come_first_together_get_one_store(self) -> None:
        """Two threads that make the first handler of a LOCATION reach the same memory."""
        import threading

        where = location()
        barrier = threading.Barrier(8)
        found: list[Any] = []

        def make() -> None:
            barrier.wait(30)
            found.append(NativeCache(where, {})._memory)

        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(found) == 8
        assert len(set(map(id, found))) == 1

    def test_isolation_between_tests_empties_them(self) -> None:
        """What the plugin does before each test reaches the stores of CACHES."""
        cache = NativeCache(location(), {})
        cache.set("key", 1)
        testing.reset()
        assert cache.get("key") is None
        assert cache.stats()["misses"] == 1

    def test_a_backend_that_cannot_be_imported_is_its_own_problem(self) -> None:
        """Another alias of the same LOCATION may be broken."""
        where = location()
        with override_settings(
            CACHES={
                "default": {"BACKEND": BACKEND, "LOCATION": where},
                "broken": {"BACKEND": "no.such.Backend", "LOCATION": where},
                "locmem": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": where},
            }
        ):
            caches["default"].set("key", 1)
            assert caches["default"].get("key") == 1
