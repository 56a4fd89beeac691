"""Decorated calls and garbage: entries die with their instance, and no cycle through a decorator is kept."""

import contextlib
import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from driven_clock import driven

from oxicache._native import Memo, MemoKey, MemoProperty, TTLCache

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

Cache = TTLCache[Any, Any]


class Thing:
    """Something that can be watched dying, and can refer to anything."""

    def __init__(self, **links: Any) -> None:
        self.__dict__.update(links)


class Unkeyed:
    """Neither hashable nor a list, dict or set."""

    __hash__ = None  # type: ignore[assignment]


def _storing(cache: Cache, func: Callable[..., Any]) -> Callable[..., Any]:
    """What the loader does at the least: compute, store, return."""

    def load(key: MemoKey, args: tuple[Any, ...], kwargs: dict[str, Any], _current: Any) -> Any:
        value = func(*args, **kwargs)
        cache._fill(key, value, cache._token(key))
        return value

    return load


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Only reference counts free anything."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class TestMemo:
    def test_a_class_with_a_cached_method_is_collected(self) -> None:
        """Class -> decorated method -> cache -> value -> instance -> class is garbage in the end."""

        def make() -> list[weakref.ref[Any]]:
            cache: Cache = TTLCache(10, 60)
            other: Cache = TTLCache(10, 60)

            def itself(self: Any) -> Any:
                return self

            class Model:
                method = Memo(itself, cache, _storing(cache, itself), identity="class")
                shown = MemoProperty(itself, other, _storing(other, itself), identity="class")

            model: Any = Model()
            assert model.method() is model
            assert model.shown is model
            assert model.method() is model
            assert len(cache) == len(other) == 1
            return [weakref.ref(Model), weakref.ref(model), weakref.ref(cache)]

        alive = make()
        gc.collect()
        assert [reference() for reference in alive] == [None, None, None]

    def test_entries_die_with_their_instance(self, no_collector: None) -> None:
        """When an instance goes, what was cached for it goes at once, and nothing else."""
        cache: Cache = TTLCache(10, 60)

        def compute(self: Any, number: int = 0) -> Any:
            return Thing(number=number)

        class Model:
            method = Memo(
                compute,
                cache,
                _storing(cache, compute),
                identity="instance",
                parameters=("number",),
                defaults=(0,),
            )

        first: Any = Model()
        second: Any = Model()
        alive = [weakref.ref(first.method(number)) for number in range(3)]
        kept = weakref.ref(second.method(1))
        assert len(cache) == 4
        assert first.method(1) is alive[1]()
        del first
        assert [reference() for reference in alive] == [None] * 3
        assert len(cache) == 1
        assert second.method(1) is kept()

    def test_a_memo_does_not_keep_its_instance(self) -> None:
        """Calling a cached method leaves no reference to the instance, neither in the key nor in the bound method."""
        cache: Cache = TTLCache(10, 60)

        def compute(self: Any) -> int:
            return 1

        class Model:
            method = Memo(compute, cache, _storing(cache, compute), identity="instance")

        model: Any = Model()
        assert model.method() == 1
        bound = model.method
        assert bound() == 1
        alive = weakref.ref(model)
        del model
        assert alive() is not None, "a bound method refers to its instance"
        del bound
        gc.collect()
        assert alive() is None
        assert len(cache) == 0

    def test_a_value_that_refers_to_its_instance_is_collected(self) -> None:
        """Instance -> nothing, cache -> value -> instance: the entry keeps the instance until it expires, no longer."""
        with driven() as clock:
            cache: Cache = TTLCache(10, 60)

            def compute(self: Any) -> Any:
                return [self]

            class Model:
                method = Memo(compute, cache, _storing(cache, compute), identity="instance")

            model: Any = Model()
            alive = weakref.ref(model)
            model.method()
            del model
            clock.advance(60)
            cache._cleanup_expired()
            gc.collect()
            assert alive() is None
            assert len(cache) == 0

    def test_an_address_used_again_is_another_object(self) -> None:
        """Python gives a dead object's address to a new one, which must not find the old one's values."""
        cache: Cache = TTLCache(1000, 60)

        def compute(self: Any) -> int:
            return int(self.number)

        class Model:
            method = Memo(compute, cache, _storing(cache, compute), identity="instance")

            def __init__(self, number: int) -> None:
                self.number = number

        addresses = set()
        for number in range(500):
            model: Any = Model(number)
            addresses.add(id(model))
            assert model.method() == number
            assert model.method() == number
        assert len(addresses) < 500, "the case itself: addresses were used again"
        assert len(cache) == 1

    def test_a_value_stored_for_a_dead_object_is_nobody_s(self) -> None:
        """What a load stores after its instance died is not found by a new instance at the same address."""
        cache: Cache = TTLCache(1000, 60)

        def compute(self: Any) -> int:
            return int(self.number)

        memo = Memo(compute, cache, _storing(cache, compute), identity="instance")

        class Model:
            method = memo

            def __init__(self, number: int) -> None:
                self.number = number

        again = 0
        for number in range(200):
            model: Any = Model(number)
            key, address = memo.key(model), id(model)
            del model
            cache.set(key, "of the dead")
            model = Model(number)
            again += id(model) == address
            assert model.method() == number
            assert memo.lookup(model)[1] == number
            del model
        assert again, "the case itself: an address was used again"

    @pytest.mark.parametrize("identity", ["none", "instance", "class"])
    def test_references_are_counted_rightly(self, identity: Any) -> None:
        """Hits, misses, failures and lookups leave every reference count where it was."""
        cache: Cache = TTLCache(10, 600)
        value = Thing()

        def compute(*_args: Any, **_kwargs: Any) -> Any:
            return value

        memo = Memo(
            compute,
            cache,
            _storing(cache, compute),
            identity=identity,
            parameters=("one", "two") if identity != "none" else ("itself", "one", "two"),
            defaults=(None,),
        )

        class Model:
            method = memo

        model: Any = Model()
        one, two, unkeyed = "first of two", ("second", "of two"), [Thing().__dict__, {1, 2}]

        def counts() -> list[int]:
            return [sys.getrefcount(held) for held in (model, Model, one, two, unkeyed, value, memo, cache)]

        def calls() -> None:
            for _ in range(200):
                model.method(one)
                model.method(one, two)
                model.method(two=two, one=one)
                model.method(one, two=unkeyed)
                Model.method(model, one)
                model.method.__call__(one)
                memo.lookup(model, one, two)
                memo.key(model, one)
                memo.invalidate(model, one)
                for wrong in ((), (one, two, one, two), (one, object.__new__(Unkeyed))):
                    with contextlib.suppress(TypeError):
                        model.method(*wrong)
            cache.clear()

        calls()
        gc.collect()
        before = counts()
        calls()
        gc.collect()
        assert counts() == before

    def test_references_of_a_property_are_counted_rightly(self) -> None:
        """Reading, invalidating and deleting leave the counts of instance, value and property where they were."""
        cache: Cache = TTLCache(10, 600)
        value = Thing()

        def compute(_self: Any) -> Any:
            return value

        shown = MemoProperty(compute, cache, _storing(cache, compute))

        class Model:
            attribute = shown

        model: Any = Model()

        def counts() -> list[int]:
            return [sys.getrefcount(held) for held in (model, Model, value, shown, cache)]

        def calls() -> None:
            for _ in range(200):
                assert model.attribute is value
                assert model.attribute is value
                shown.key(model)
                shown.invalidate(model)
                assert Model.attribute is shown
                assert model.attribute is value
                del model.attribute
                with contextlib.suppress(AttributeError):
                    model.attribute = 1

        calls()
        gc.collect()
        before = counts()
        calls()
        gc.collect()
        assert counts() == before

    def test_a_memo_alone_in_a_cycle_is_collected(self) -> None:
        """A memo that refers to itself by its own attributes is garbage like any function."""
        cache: Cache = TTLCache(10, 60)

        def compute() -> int:
            return 1

        memo = Memo(compute, cache, _storing(cache, compute))
        memo.me = memo  # type: ignore[attr-defined]
        assert memo() == 1
        marker = Thing()
        memo.marker = marker  # type: ignore[attr-defined]
        alive = weakref.ref(marker)
        del memo, marker
        gc.collect()
        assert alive() is None
