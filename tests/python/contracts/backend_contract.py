"""What every backend for CACHES must do: Django's cache API, and what all of oxicache's have beyond it.

A new backend subclasses `BackendContract` and says in `make` how one of its handlers is made. The clock is the
engine's, driven by hand.
"""

# Long because it is one list of behaviours, each of a few lines.

import asyncio
import copy
import datetime as dt
import enum
import itertools
import math
import pickle
import threading
import time
import uuid
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.cache.backends.base import BaseCache, CacheKeyWarning
from django.utils.functional import lazystr
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy

from oxicache import testing
from oxicache.django.backends import locks
from oxicache.errors import LockError, LockNotOwnedError


class Text(str):
    __slots__ = ("note",)


class Number(int):
    pass


class Mapping(dict[str, Any]):
    pass


class Row(list[Any]):
    pass


class Colour(enum.Enum):
    RED = 1


Point = namedtuple("Point", "x y")  # noqa: PYI024 -- the untyped kind is what pickles have


class Plain:
    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return type(other) is Plain and self.value == other.value

    __hash__ = None  # type: ignore[assignment]


def module_function() -> None:
    """Stand for functions that a pickle names."""


def shared_containers() -> list[Any]:
    inner = [1]
    return [inner, inner, {"again": inner}]


VALUES: dict[str, Any] = {
    "none": None,
    "true": True,
    "zero": 0,
    "huge": 2**200,
    "negative": -(2**70),
    "float": 1.5,
    "infinity": math.inf,
    "text": "text",
    "empty": "",
    "wide": "naïve \U0001f600",
    "surrogate": "\ud800 alone",
    "bytes": b"\x00\xff",
    "bytearray": bytearray(b"abc"),
    "complex": 1 + 2j,
    "decimal": Decimal("1.10"),
    "uuid": uuid.UUID(int=7),
    "datetime": dt.datetime(2024, 2, 29, 12, tzinfo=ZoneInfo("Europe/Zurich")),
    "naive": dt.datetime(2024, 2, 29, 12),  # noqa: DTZ001 -- without a zone is the case
    "date": dt.date(2024, 2, 29),
    "time": dt.time(1, 2, 3),
    "timedelta": dt.timedelta(days=1, microseconds=1),
    "tuple": (1, "a", (2.5, None)),
    "frozenset": frozenset({1, 2}),
    "list": [1, [2, [3]]],
    "dict": {"a": 1, "b": {"c": [1, 2]}},
    "set": {1, 2, 3},
    "odd keys": {1: "int", (1, 2): "tuple", None: "none"},
    "tree": {"rows": [{"id": n, "name": f"row {n}", "tags": {"x", "y"}} for n in range(20)]},
    "deep": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["bottom"]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]],
    "str subclass": Text("text"),
    "int subclass": Number(5),
    "dict subclass": Mapping(a=1),
    "list subclass": Row([1]),
    "ordered": OrderedDict([("b", 1), ("a", 2)]),
    "default": defaultdict(list, {"a": [1]}),
    "namedtuple": Point(1, 2),
    "enum": Colour.RED,
    "safe": mark_safe("<b>"),
    "subclasses within": [Text("a"), {"n": Number(1)}, SafeString("c")],
    "object": Plain([1]),
    "exception": ValueError("wrong", 3),
    "function": module_function,
    "class": Plain,
    "range": range(3),
    "shared": shared_containers(),
}

UNPICKLABLE: dict[str, Any] = {
    "lambda": lambda: None,
    "lambda within": {"a": [lambda: None]},
    "lock": threading.Lock(),
    "generator": (n for n in range(3)),
}


@pytest.fixture
def clock() -> Iterator[testing.Clock]:
    with testing.clock(1000.0) as driven:
        yield driven


class BackendContract:
    """Subclass it, and say how a handler is made."""

    def make(self, **params: Any) -> Any:
        """Return a handler of an empty cache with these parameters of CACHES."""
        raise NotImplementedError

    @pytest.fixture
    def cache(self) -> Any:
        """A handler without parameters; a subclass may try others."""
        return self.make()

    # ------------------------------------------------------------ Django's API

    def test_is_a_cache_of_django(self, cache: Any) -> None:
        """Code that asks for BaseCache gets one."""
        assert isinstance(cache, BaseCache)

    def test_get_gives_what_was_set(self, cache: Any) -> None:
        """A value comes back, and a missing one is the default, None unless given."""
        cache.set("key", "value")
        assert cache.get("key") == "value"
        assert cache.get("other") is None
        assert cache.get("other", "default") == "default"
        assert cache.get(key="other", default=7, version=cache.version) == 7

    def test_none_is_a_value(self, cache: Any) -> None:
        """A stored None is no miss."""
        cache.set("key", None)
        assert cache.get("key", "default") is None
        assert cache.add("key", 1) is False
        assert "key" in cache

    def test_set_replaces_value_and_timeout(self, cache: Any, clock: testing.Clock) -> None:
        """The last `set` counts, with its own timeout."""
        cache.set("key", 1, 10)
        cache.set("key", 2, 100)
        clock.advance(50)
        assert cache.get("key") == 2

    def test_set_says_nothing(self, cache: Any) -> None:
        """`set` returns None, as Django's own backends do."""
        assert cache.set("key", 1) is None

    def test_add_stores_only_what_is_not_there(self, cache: Any, clock: testing.Clock) -> None:
        """`add` says whether it stored, and an expired entry is not there."""
        assert cache.add("key", 1, 10) is True
        assert cache.add("key", 2) is False
        assert cache.get("key") == 1
        clock.advance(11)
        assert cache.add("key", 3) is True
        assert cache.get("key") == 3

    def test_set_with_nx_is_an_add(self, cache: Any) -> None:
        """`nx=True` stores only what is not there, and says so, as django-redis has it."""
        assert cache.set("key", 1, timeout=50, nx=True) is True
        assert cache.set("key", 2, nx=True) is False
        assert cache.get("key") == 1
        assert cache.ttl("key") == 50
        assert asyncio.run(cache.aset("key", 3, nx=True)) is False

    def test_delete_says_whether_there_was_one(self, cache: Any) -> None:
        """`delete` gives True only for a live entry."""
        cache.set("key", 1)
        assert cache.delete("key") is True
        assert cache.delete("key") is False
        assert cache.get("key") is None

    def test_membership(self, cache: Any, clock: testing.Clock) -> None:
        """`has_key` and `in` see live entries."""
        cache.set("key", 1, 10)
        assert cache.has_key("key") is True
        assert "key" in cache
        assert "other" not in cache
        clock.advance(10)
        assert cache.has_key("key") is False

    def test_many_at_once(self, cache: Any) -> None:
        """`set_many` stores all, `get_many` leaves missing keys out, `delete_many` takes any iterable."""
        assert cache.set_many({"a": 1, "b": 2, "c": None}) == []
        assert cache.get_many(["a", "b", "c", "d"]) == {"a": 1, "b": 2, "c": None}
        assert cache.get_many(key for key in ("b", "x")) == {"b": 2}
        assert cache.get_many([]) == {}
        cache.delete_many(key for key in ("a", "b", "z"))
        assert cache.get_many(["a", "b", "c"]) == {"c": None}

    def test_set_many_has_a_timeout(self, cache: Any, clock: testing.Clock) -> None:
        """All of them expire together."""
        cache.set_many({"a": 1, "b": 2}, timeout=10)
        clock.advance(10)
        assert cache.get_many(["a", "b"]) == {}

    def test_incr_and_decr(self, cache: Any) -> None:
        """Numbers are changed in place, and what comes back is the sum."""
        cache.set("n", 41)
        assert cache.incr("n") == 42
        assert cache.incr("n", 10) == 52
        assert cache.decr("n", delta=2) == 50
        assert cache.incr("n", -50) == 0
        assert cache.decr("n") == -1
        cache.set("n", 2**64)
        assert cache.incr("n") == 2**64 + 1

    @pytest.mark.parametrize("method", ["incr", "decr"])
    def test_incr_needs_an_entry(self, cache: Any, clock: testing.Clock, method: str) -> None:
        """A missing or expired number is a ValueError."""
        with pytest.raises(ValueError, match="not found"):
            getattr(cache, method)("missing")
        cache.set("n", 1, 5)
        clock.advance(6)
        with pytest.raises(ValueError, match="not found"):
            getattr(cache, method)("n")

    def test_incr_needs_a_number(self, cache: Any) -> None:
        """What cannot be added to raises what adding raises, and stays."""
        cache.set("text", "a")
        with pytest.raises(TypeError):
            cache.incr("text")
        assert cache.get("text") == "a"

    def test_incr_keeps_the_timeout(self, cache: Any, clock: testing.Clock) -> None:
        """A counter that is counted up expires when it was to expire."""
        cache.set("n", 1, 10)
        clock.advance(9)
        cache.incr("n")
        clock.advance(1)
        assert cache.get("n") is None

    def test_touch_gives_another_timeout(self, cache: Any, clock: testing.Clock) -> None:
        """`touch` prolongs and shortens live entries only."""
        cache.set("key", 1, 10)
        assert cache.touch("key", 100) is True
        clock.advance(50)
        assert cache.get("key") == 1
        assert cache.touch("key", None) is True
        clock.advance(10**6)
        assert cache.touch("key") is True
        clock.advance(301)
        assert cache.get("key") is None
        assert cache.touch("key") is False
        assert cache.touch("other", 10) is False

    @pytest.mark.parametrize("timeout", [0, -1, -100, 0.0])
    def test_a_timeout_that_is_over_stores_nothing(self, cache: Any, timeout: float) -> None:
        """Zero and less is over at once, and what was there is gone."""
        cache.set("key", "old")
        cache.set("key", "new", timeout)
        assert cache.get("key") is None
        cache.set_many({"key": 1}, timeout)
        assert "key" not in cache
        cache.set("touched", 1)
        assert cache.touch("touched", timeout) is True
        assert cache.get("touched") is None

    def test_timeouts(self, cache: Any, clock: testing.Clock) -> None:
        """300 seconds unless told, None for ever, fractions as given."""
        cache.set("default", 1)
        cache.set("ever", 1, None)
        cache.set("half", 1, 0.5)
        clock.advance(0.4)
        assert cache.get("half") == 1
        clock.advance(0.2)
        assert cache.get("half") is None
        clock.advance(299)
        assert cache.get("default") == 1
        clock.advance(1)
        assert cache.get("default") is None
        clock.advance(10**9)
        assert cache.get("ever") == 1

    def test_the_default_timeout_is_a_parameter(self, clock: testing.Clock) -> None:
        """TIMEOUT counts where none is given, and None is for ever."""
        short = self.make(TIMEOUT=10)
        short.set("key", 1)
        clock.advance(10)
        assert short.get("key") is None
        ever = self.make(TIMEOUT=None)
        ever.set("key", 1)
        assert ever.ttl("key") is None

    def test_versions_are_apart(self, cache: Any) -> None:
        """One key has a value in each version."""
        other = cache.version + 5
        cache.set("key", 1)
        cache.set("key", 2, version=other)
        assert cache.get("key") == 1
        assert cache.get("key", version=other) == 2
        assert cache.get_many(["key"], version=other) == {"key": 2}
        assert cache.incr("key", version=other) == 3
        assert cache.delete("key", version=other) is True
        assert cache.get("key") == 1

    def test_a_version_may_be_text(self, cache: Any) -> None:
        """Versions are part of a text: "7" is 7, and any other text a version of its own."""
        cache.set("key", 1, version="7")
        assert cache.get("key", version=7) == 1
        cache.set("key", 2, version="beta")
        assert cache.get("key", version="beta") == 2
        assert cache.get("key", version="7") == 1

    def test_incr_version_moves_an_entry(self, cache: Any) -> None:
        """The value is found in the next version only; a missing one is a ValueError."""
        now = cache.version
        cache.set("key", 1)
        assert cache.incr_version("key") == now + 1
        assert cache.get("key") is None
        assert cache.get("key", version=now + 1) == 1
        assert cache.decr_version("key", version=now + 1) == now
        assert cache.get("key") == 1
        with pytest.raises(ValueError, match="not found"):
            cache.incr_version("missing")

    def test_clear_removes_everything(self, cache: Any) -> None:
        """No version survives `clear`."""
        cache.set("a", 1)
        cache.set("b", 1, version=9)
        cache.clear()
        assert cache.get("a") is None
        assert cache.get("b", version=9) is None

    def test_close_leaves_everything(self, cache: Any) -> None:
        """Django closes handlers after each request."""
        cache.set("key", 1)
        cache.close()
        assert cache.get("key") == 1

    # ------------------------------------------------------------ keys

    @pytest.mark.parametrize("key", [1, 1.5, True, None, ("a", 1), b"bytes", Text("text")], ids=repr)
    def test_keys_are_texts(self, cache: Any, key: Any) -> None:
        """A key is what `str` makes of it."""
        with pytest.warns(CacheKeyWarning) if " " in str(key) else _no_warning():
            cache.set(key, "value")
            assert cache.get(str(key)) == "value"
            assert cache.get_many([key]) == {key: "value"}
            assert cache.delete(str(key)) is True

    @pytest.mark.parametrize("key", ["naïve", "\U0001f600", "\ud800", "a:b:c", ":1:x", "%s", "*"], ids=ascii)
    def test_odd_keys_are_keys(self, cache: Any, key: str) -> None:
        """Whatever text a key is, it is found, and nothing else with it."""
        cache.set(key, 1)
        assert cache.get(key) == 1
        assert cache.get(key + "x") is None
        assert cache.keys() == [key]

    @pytest.mark.parametrize(
        "key", ["with space", "tab\t", "new\nline", "null\x00", "del\x7f", "x" * 251], ids=ascii
    )
    def test_what_memcached_could_not_have_is_warned_of(self, cache: Any, key: str) -> None:
        """Such keys work, and Django's warning says that elsewhere they would not."""
        with pytest.warns(CacheKeyWarning):
            cache.set(key, 1)
        with pytest.warns(CacheKeyWarning):
            assert cache.get(key + "!") is None
        with pytest.warns(CacheKeyWarning):
            assert cache.delete(key) is True

    # ------------------------------------------------------------ values

    @pytest.mark.parametrize("name", VALUES)
    def test_values_come_back_equal_and_of_their_type(self, cache: Any, name: str) -> None:
        """What is read equals what was stored, down to the types within."""
        value = VALUES[name]
        cache.set("key", value)
        found = cache.get("key")
        assert type(found) is type(value)
        assert _shape(found) == _shape(pickle.loads(pickle.dumps(value)))  # noqa: S301 -- made here
        assert cache.get_many(["key"]).keys() == {"key"}

    def test_nan_comes_back(self, cache: Any) -> None:
        """NaN equals nothing, and is stored all the same, alone and within."""
        cache.set("nan", math.nan)
        assert math.isnan(cache.get("nan"))
        cache.set("within", {"a": [math.nan]})
        assert math.isnan(cache.get("within")["a"][0])

    @pytest.mark.parametrize(
        "name", [name for name, value in VALUES.items() if isinstance(value, list | dict | set)]
    )
    def test_values_cannot_be_changed_from_outside(self, cache: Any, name: str) -> None:
        """Neither what was stored nor what was read has a part in common with the cache."""
        value = copy.deepcopy(VALUES[name])
        wanted = _shape(VALUES[name])
        cache.set("key", value)
        _spoil(value)
        first = cache.get("key")
        assert _shape(first) == wanted
        _spoil(first)
        assert _shape(cache.get("key")) == wanted
        many = cache.get_many(["key"])["key"]
        _spoil(many)
        assert _shape(cache.get("key")) == wanted

    def test_what_comes_in_by_other_ways_is_a_copy_too(self, cache: Any) -> None:
        """`add`, `set_many` and `get_or_set` keep nothing of the caller's."""
        value: list[Any] = [1]
        cache.add("add", value)
        cache.set_many({"many": value})
        got = cache.get_or_set("callable", lambda: value)
        got.append(3)
        value.append(2)
        assert cache.get_many(["add", "many", "callable"]) == {"add": [1], "many": [1], "callable": [1]}

    def test_get_or_set_returns_a_copy_of_its_default(self, cache: Any) -> None:
        """Who changes what it returned changes neither the default nor what the callable has of its own."""
        plain: list[Any] = [1]
        own: dict[str, Any] = {"a": 1}
        cache.get_or_set("plain", plain).append(2)
        cache.get_or_set("callable", lambda: own)["b"] = 2
        cache.get_or_set("over", plain, timeout=0).append(3)
        asyncio.run(cache.aget_or_set("async", plain)).append(4)
        assert plain == [1]
        assert own == {"a": 1}

    def test_shared_containers_stay_shared(self, cache: Any) -> None:
        """A list that occurs twice is one list after reading too."""
        cache.set("key", shared_containers())
        found = cache.get("key")
        assert found[0] is found[1]
        assert found[2]["again"] is found[0]

    def test_recursive_containers(self, cache: Any) -> None:
        """A container within itself comes back within itself."""
        value: list[Any] = [1]
        value.append(value)
        mapping: dict[str, Any] = {}
        mapping["self"] = mapping
        cache.set("list", value)
        cache.set("dict", mapping)
        found = cache.get("list")
        assert found is not value
        assert found[1] is found
        assert cache.get("dict")["self"]["self"].keys() == {"self"}

    @pytest.mark.parametrize("name", UNPICKLABLE)
    def test_what_no_pickle_holds_raises_and_stores_nothing(self, cache: Any, name: str) -> None:
        """The error is pickle's own, and the old value is still there."""
        value = UNPICKLABLE[name]
        with pytest.raises(Exception) as own:  # noqa: PT011 -- compared below
            pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        cache.set("key", "old")
        for store in (
            cache.set,
            lambda key, it: cache.set_many({key: it}),
            lambda key, it: cache.add("new", it),
        ):
            with pytest.raises(own.type):
                store("key", value)
        with pytest.raises(own.type):
            cache.get_or_set("other", lambda: value)
        assert cache.get_many(["key", "new", "other"]) == {"key": "old"}

    def test_lazy_texts(self, cache: Any) -> None:
        """Lazy strings can be stored, and read like any other."""
        cache.set("lazy", gettext_lazy("Yes"))
        assert str(cache.get("lazy")) == "Yes"
        cache.set("within", {"label": lazystr("text")})
        assert str(cache.get("within")["label"]) == "text"

    def test_safe_texts_stay_safe(self, cache: Any) -> None:
        """What templates need not escape, they need not escape after reading."""
        cache.set("html", {"body": mark_safe("<b>")})
        assert type(cache.get("html")["body"]) is SafeString

    def test_pickling_may_use_the_cache(self, cache: Any) -> None:
        """A value whose pickling and unpickling ask the same cache is stored and read."""
        _Reentrant.cache = cache
        cache.set("key", [_Reentrant()])
        assert isinstance(cache.get("key")[0], _Reentrant)
        assert cache.get("pickled") == 1
        assert cache.get("unpickled") == 1

    # ------------------------------------------------------------ get_or_set

    def test_get_or_set_stores_a_value_or_what_a_callable_returns(self, cache: Any) -> None:
        """The default is stored and returned; a callable is called only when needed."""
        calls: list[int] = []
        assert cache.get_or_set("value", 1) == 1
        assert cache.get_or_set("value", 2) == 1
        assert cache.get_or_set("call", lambda: calls.append(1) or "made") == "made"
        assert cache.get_or_set("call", lambda: calls.append(1) or "again") == "made"
        assert calls == [1]
        assert cache.get("call") == "made"

    def test_get_or_set_has_timeout_and_version(self, cache: Any, clock: testing.Clock) -> None:
        """Both count for what is stored."""
        cache.get_or_set("key", 1, timeout=10, version=8)
        assert cache.get("key") is None
        assert cache.get("key", version=8) == 1
        clock.advance(10)
        assert cache.get_or_set("key", lambda: 2, 10, 8) == 2
        assert cache.get_or_set("over", 3, timeout=0) == 3
        assert cache.get("over") is None

    @pytest.mark.parametrize("value", [None, 0, "", False, []], ids=repr)
    def test_get_or_set_takes_falsy_values_for_values(self, cache: Any, value: Any) -> None:
        """What is false is stored like anything else."""
        calls: list[int] = []
        for _ in range(2):
            assert cache.get_or_set("key", lambda: calls.append(1) or value) == value
        assert calls == [1]
        assert cache.get_or_set("plain", value) == value
        assert "plain" in cache

    def test_get_or_set_passes_errors_on(self, cache: Any) -> None:
        """What the callable raises is raised, and nothing is stored."""
        with pytest.raises(ZeroDivisionError):
            cache.get_or_set("key", lambda: 1 / 0)
        assert "key" not in cache
        assert cache.get_or_set("key", 5) == 5

    def test_threads_that_miss_together_compute_once(self, cache: Any) -> None:
        """One thread computes, the others wait for it and get values of their own."""
        running, let_go = threading.Event(), threading.Event()
        calls: list[int] = []

        def compute() -> list[int]:
            calls.append(1)
            running.set()
            assert let_go.wait(30)
            return [1]

        found: list[Any] = []
        threads = [
            threading.Thread(target=lambda: found.append(cache.get_or_set("key", compute))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        assert running.wait(30)
        let_go.set()
        for thread in threads:
            thread.join(30)
        assert found == [[1]] * 8
        assert calls == [1]
        assert len({id(value) for value in found}) == 8

    # ------------------------------------------------------------ async twins

    def test_every_async_twin_answers(self, cache: Any) -> None:
        """The async API of Django does what the sync one does."""

        async def use() -> None:
            assert await cache.aget("key", "default") == "default"
            await cache.aset("key", [1], 60)
            assert await cache.aget("key") == [1]
            assert await cache.aadd("key", 2) is False
            assert await cache.ahas_key("key") is True
            assert await cache.atouch("key", 100) is True
            assert await cache.aset_many({"n": 1, "m": 2}) == []
            assert await cache.aget_many(["n", "m", "x"]) == {"n": 1, "m": 2}
            assert await cache.aincr("n", 4) == 5
            assert await cache.adecr("n") == 4
            with pytest.raises(ValueError, match="not found"):
                await cache.aincr("missing")
            assert await cache.aincr_version("m") == cache.version + 1
            assert await cache.adecr_version("m", version=cache.version + 1) == cache.version
            assert await cache.adelete("n") is True
            await cache.adelete_many(["m"])
            assert await cache.aget_or_set("made", lambda: None) is None
            assert await cache.ahas_key("made") is True
            await cache.aclear()
            assert await cache.ahas_key("key") is False
            await cache.aclose()

        asyncio.run(use())

    def test_every_async_twin_of_the_rest_answers(self, cache: Any) -> None:
        """What goes beyond Django has twins too."""

        async def use() -> None:
            await cache.aset("user:1", 1, 50)
            await cache.aset("user:2", 2, None)
            assert sorted(await cache.akeys("user:*")) == ["user:1", "user:2"]
            assert sorted([key async for key in cache.aiter_keys("user:?")]) == ["user:1", "user:2"]
            assert await cache.attl("user:2") is None
            assert await cache.aexpire("user:2", 20) is True
            assert await cache.attl("user:2") == 20
            assert await cache.apexpire("user:2", 30_000) is True
            assert await cache.apttl("user:2") in range(29_000, 30_001)
            assert await cache.apersist("user:2") is True
            assert await cache.aexpire_at("user:2", time.time() - 1) is True
            assert await cache.apexpire_at("user:1", (time.time() + 40) * 1000) is True
            assert await cache.attl("user:1") in {39, 40}
            assert await cache.adelete_pattern("user:*") == 1

        asyncio.run(use())

    def test_an_async_default_is_awaited(self, cache: Any) -> None:
        """`aget_or_set` takes async functions, and tasks that miss together compute once."""
        calls: list[int] = []

        async def compute() -> list[str]:
            calls.append(1)
            await asyncio.sleep(0)
            return ["made"]

        async def use() -> list[Any]:
            return list(await asyncio.gather(*(cache.aget_or_set("key", compute) for _ in range(5))))

        assert asyncio.run(use()) == [["made"]] * 5
        assert calls == [1]
        assert cache.get("key") == ["made"]

    # ------------------------------------------------------------ keys by pattern

    def test_keys_by_pattern(self, cache: Any) -> None:
        """`keys` gives the caller's own keys of one version, expired ones not."""
        for key in ("user:1", "user:12", "user:x", "team:1"):
            cache.set(key, 1)
        cache.set("user:other", 1, version=9)
        assert sorted(cache.keys()) == ["team:1", "user:1", "user:12", "user:x"]
        assert sorted(cache.keys("user:*")) == ["user:1", "user:12", "user:x"]
        assert sorted(cache.keys("user:?")) == ["user:1", "user:x"]
        assert cache.keys("user:[0-9]") == ["user:1"]
        assert cache.keys("*other", version=9) == ["user:other"]
        assert cache.keys("user") == []
        assert sorted(cache.iter_keys("*:1", itersize=10)) == ["team:1", "user:1"]
        assert next(iter(cache.iter_keys("team:*"))) == "team:1"

    def test_what_is_stored_after_a_deletion_stays(self, cache: Any) -> None:
        """A key that was missed before everything or something else was deleted can be stored all the same."""
        for delete in (cache.clear, lambda: cache.delete_pattern("none:*"), lambda: cache.delete("other")):
            assert cache.get("key") is None
            delete()
            cache.set("key", 1)
            assert cache.get("key") == 1
            cache.delete("key")

    def test_delete_pattern_counts(self, cache: Any) -> None:
        """What matches is gone, and only that."""
        cache.set_many({"a:1": 1, "a:2": 2, "b:1": 3, "*": 4})
        cache.set("a:1", 9, version=9)
        assert cache.delete_pattern("a:*") == 2
        assert cache.delete_pattern("a:*") == 0
        assert cache.delete_pattern("\\*", itersize=100) == 1
        assert cache.keys() == ["b:1"]
        assert cache.delete_pattern("*", version=9) == 1

    def test_delete_pattern_of_another_prefix(self, cache: Any) -> None:
        """`prefix` reaches the keys of a handler with that KEY_PREFIX, as with django-redis."""
        cache.set("a:1", 1)
        assert cache.delete_pattern("a:*", prefix="nobody") == 0
        assert cache.delete_pattern("a:*", prefix=cache.key_prefix) == 1

    @pytest.mark.parametrize("pattern", [None, 1, b"a*"], ids=repr)
    def test_a_pattern_is_text(self, cache: Any, pattern: Any) -> None:
        """Anything else is a TypeError."""
        with pytest.raises(TypeError, match="pattern"):
            cache.keys(pattern)
        with pytest.raises(TypeError, match="pattern"):
            cache.delete_pattern(pattern)

    # ------------------------------------------------------------ time to live

    def test_ttl(self, cache: Any, clock: testing.Clock) -> None:
        """Seconds and milliseconds left, None for ever, 0 for no entry, as django-redis has it."""
        cache.set("key", 1, 100)
        cache.set("ever", 1, None)
        clock.advance(40)
        assert cache.ttl("key") == 60
        assert cache.pttl("key") == 60_000
        assert (cache.ttl("ever"), cache.pttl("ever")) == (None, None)
        assert (cache.ttl("missing"), cache.pttl("missing")) == (0, 0)
        clock.advance(60)
        assert cache.ttl("key") == 0

    def test_expire_and_persist(self, cache: Any, clock: testing.Clock) -> None:
        """Live entries get another time to live, or none; missing ones give False."""
        cache.set("key", 1, None)
        assert cache.expire("key", 10) is True
        assert cache.ttl("key") == 10
        assert cache.pexpire("key", 2500) is True
        assert cache.pttl("key") == 2500
        assert cache.persist("key") is True
        assert cache.ttl("key") is None
        assert cache.expire("key", 5) is True
        clock.advance(5)
        assert cache.expire("key", 10) is False
        assert cache.pexpire("key", 10) is False
        assert cache.persist("key") is False

    def test_expire_at(self, cache: Any) -> None:
        """A moment may be a datetime or Unix time, and one in the past ends the entry."""
        cache.set("key", 1)
        assert cache.expire_at("key", time.time() + 50) is True
        assert cache.ttl("key") in {49, 50}
        assert cache.expire_at("key", dt.datetime.now(dt.UTC) + dt.timedelta(seconds=70)) is True
        assert cache.ttl("key") in {69, 70}
        assert cache.pexpire_at("key", int((time.time() + 90) * 1000)) is True
        assert cache.ttl("key") in {89, 90}
        assert cache.expire_at("key", time.time() - 1) is True
        assert cache.get("key") is None
        assert cache.expire_at("key", time.time() + 50) is False

    # ------------------------------------------------------------ locks

    def test_a_lock_parts_threads(self, cache: Any) -> None:
        """Who comes second waits, or is told that it is held."""
        with cache.lock("job", timeout=60) as held:
            assert held.locked()
            assert held.owned()
            assert cache.lock("job", blocking=False).acquire() is False
            assert cache.lock("job").acquire(blocking=False) is False
            assert cache.lock("job", blocking_timeout=0.01).acquire() is False
            with cache.lock("other", blocking=False):
                pass
            with pytest.raises(LockError), cache.lock("job", blocking_timeout=0.01):
                pass
        assert not held.locked()
        waiting = cache.lock("job")
        first = cache.lock("job")
        assert first.acquire()
        got: list[bool] = []
        thread = threading.Thread(target=lambda: (got.append(waiting.acquire()), waiting.release()))
        thread.start()
        first.release()
        thread.join(30)
        assert got == [True]

    def test_a_lock_is_its_owners(self, cache: Any) -> None:
        """What is not held cannot be released, and a lock is no entry of the cache."""
        with pytest.raises(LockError):
            cache.lock("job").release()
        lock = cache.lock("job", 1)
        assert lock.acquire()
        with pytest.raises(LockError):
            cache.lock("job", 1).release()
        cache.clear()
        assert cache.lock("job", 1).locked()
        assert not cache.lock("job", 2).locked()
        assert cache.keys() == []
        lock.release()

    def test_a_lock_runs_out(self, cache: Any) -> None:
        """After its timeout somebody else may have it, and its first owner is told so."""
        lost = cache.lock("job", timeout=0.001)
        assert lost.acquire()
        with cache.lock("job", timeout=60, blocking_timeout=30) as lock:
            with pytest.raises(LockNotOwnedError):
                lost.release()
            assert lock.extend(10) is True
            assert lock.reacquire() is True
            assert lock.owned()
        with pytest.raises(ValueError, match="timeout"):
            cache.lock("job", timeout=0)

    def test_locks_that_ran_out_are_forgotten(self, cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Names that nobody asks for again take no memory, and what is held stays held."""
        # A table of its own: locks of other tests may last beyond the time at which this clock begins.
        monkeypatch.setattr(locks, "_table", locks._Table())
        kept = cache.lock("kept", timeout=3600)
        assert kept.acquire()
        start, passed = time.monotonic(), itertools.count()
        monkeypatch.setattr(time, "monotonic", lambda: start + next(passed) / 1000)
        for number in range(3 * locks.SWEEP_FROM):
            assert cache.lock(f"job:{number}", timeout=0.001).acquire(blocking=False)
        assert len(locks._table.held) <= locks.SWEEP_FROM
        assert kept.owned()
        kept.release()

    def test_whoever_waits_for_a_lock_hears_that_its_time_was_cut(self, cache: Any) -> None:
        """`extend` may leave less time than there was, also for those who wait already."""
        held = cache.lock("job", timeout=3600)
        assert held.acquire()
        got: list[bool] = []
        waiter = cache.lock("job", blocking_timeout=30)
        thread = threading.Thread(target=lambda: (got.append(waiter.acquire()), waiter.release()))
        thread.start()
        assert held.extend(0.001, replace_ttl=True)
        thread.join(20)
        assert got == [True]

    def test_a_lock_that_runs_out_between_two_looks_is_taken(
        self, cache: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody tells who waits that a time has run out, so nobody may wait for that."""
        assert cache.lock("job", timeout=100).acquire()
        start, asked = time.monotonic(), iter(range(200))
        # The holder is found at the first look only.
        monkeypatch.setattr(time, "monotonic", lambda: start + (200 if next(asked) > 1 else 0))
        got: list[bool] = []

        def take() -> None:
            with cache.lock("job"):
                got.append(True)

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        thread.join(60)
        assert got == [True]

    def test_a_lock_parts_tasks(self, cache: Any) -> None:
        """In `async with` nobody is blocked while it waits."""
        order: list[str] = []

        async def work(name: str) -> None:
            async with cache.lock("job", sleep=0.001):
                order.append(f"{name} in")
                await asyncio.sleep(0)
                order.append(f"{name} out")

        async def use() -> None:
            await asyncio.gather(work("a"), work("b"))

        asyncio.run(use())
        assert order in (["a in", "a out", "b in", "b out"], ["b in", "b out", "a in", "a out"])


class _Reentrant:
    cache: Any = None

    def __reduce__(self) -> Any:
        self.cache.set("pickled", 1)
        self.cache.get("missed")
        return _reentrant, ()


def _reentrant() -> _Reentrant:
    _Reentrant.cache.set("unpickled", 1)
    return _Reentrant()


def _no_warning() -> Any:
    import contextlib

    return contextlib.nullcontext()


def _shape(value: Any) -> Any:
    """What a value is, with the type of each part."""
    if isinstance(value, dict):
        items: Any = [(_shape(key), _shape(item)) for key, item in value.items()]
        return type(value), items
    if isinstance(value, list | tuple):
        return type(value), [_shape(item) for item in value]
    if isinstance(value, set | frozenset):
        return type(value), sorted(map(repr, value))
    if isinstance(value, BaseException):
        return type(value), value.args
    return type(value), value


def _spoil(value: Any) -> None:
    """Change a container and all containers within."""
    for part in list(value.values()) if isinstance(value, dict) else list(value):
        if isinstance(part, list | dict | set):
            _spoil(part)
    if isinstance(value, dict):
        value["spoilt"] = True
    elif isinstance(value, set):
        value.add("spoilt")
    else:
        value.append("spoilt")
