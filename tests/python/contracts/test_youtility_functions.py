"""Document 004 (YOUTILITY5): `method_cache`, `warm_cache_pattern` and `get_cache_stats`, and what was wrong there."""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from dialect_caches import BACKENDS, BROKEN, left, own_default
from django.db import connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from document_pages import Example, example
from project.facilities.models import Asset, People
from youtility_site import row, youtility_cache

from oxicache.compat.youtility import (
    clear_cache_pattern,
    get_cache_stats,
    invalidate_cache_pattern,
    method_cache,
    warm_cache_pattern,
)
from oxicache.django.backends import NativeCache
from oxicache.django.scope import Scope, use_scope

__all__ = ["row", "youtility_cache"]  # fixtures

Attach = Callable[..., list[Any]]


@pytest.fixture(autouse=True)
def cache(youtility_cache: Any) -> Any:
    """The default alias, empty."""
    return youtility_cache


@pytest.fixture
def attach(monkeypatch: pytest.MonkeyPatch) -> Attach:
    """Give a model a method `figure` that is cached, and counts its calls."""

    def attach(model: Any = People, result: Any = None, **options: Any) -> list[Any]:
        calls: list[Any] = []

        def figure(self: Any, *args: Any) -> Any:
            calls.append(args)
            return (self.name, args) if result is None else result(self, *args)

        figure.__qualname__ = f"{model.__name__}.figure"
        figure.__module__ = model.__module__
        monkeypatch.setattr(model, "figure", method_cache(**options)(figure), raising=False)
        return calls

    return attach


class TestExamples:
    @example("004", "Method Caching for Model Instances")
    def test_method_caching(self, shown: Example) -> None:
        """004, "Method Caching for Model Instances"."""
        calculated: list[int] = []
        names = shown.run(
            models=SimpleNamespace(Model=object),
            complex_calculation=lambda: calculated.append(1) or 7,
        )
        one, other = names["MyModel"](), names["MyModel"]()
        assert [one.expensive_calculation(), one.expensive_calculation(), other.expensive_calculation()] == [
            7
        ] * 3
        assert len(calculated) == 2


class TestMethodCache:
    """SETTLED, section 4."""

    def test_the_key(self, cache: Any, row: Any, attach: Attach) -> None:
        """Class, method, row and arguments, below the row's tenant: patterns of the tenant find it."""
        calls = attach(key_prefix="calc")
        person = row(People, name="Ada", tenant_id=3)
        assert person.figure(1) == People.objects.get(pk=person.pk).figure(1) == ("Ada", (1,))
        key = f"tenant:3:calc:{People.__module__}.People.figure:id:{person.pk}:args=~tuple(1)"
        assert (cache.has_key(key), len(calls)) == (True, 1)
        assert invalidate_cache_pattern("calc", tenant_id=4)["keys_cleared"] == 0
        assert invalidate_cache_pattern("calc", tenant_id=3)["keys_cleared"] == 1
        person.figure(1)
        assert len(calls) == 2

    def test_none_is_no_hit(self, row: Any, attach: Attach) -> None:
        """As there; what else is false is a result."""
        outcomes = iter([None, 0, "never"])
        attach(result=lambda self: next(outcomes))
        person = row(People)
        assert [person.figure() for _ in range(3)] == [None, 0, 0]

    def test_shared_by_all_instances(self, row: Any, attach: Attach) -> None:
        """With per_instance=False, and each tenant has its own."""
        calls = attach(per_instance=False, result=lambda self: len(calls))
        first, second, other = row(People, tenant_id=1), row(People, tenant_id=1), row(People, tenant_id=2)
        assert [first.figure(), second.figure(), other.figure(), People(tenant_id=1).figure()] == [1, 1, 2, 1]

    def test_by_hand(self, cache: Any, row: Any, attach: Attach) -> None:
        """`invalidate` forgets a result in whatever scope it was stored; `cache_clear` all of the method."""
        calls = attach()
        others = attach(Asset)
        person, asset = row(People), row(Asset)
        with use_scope(Scope(tenant=8)):
            person.figure(1)
        person.figure(2), asset.figure(1)
        assert (People.figure.invalidate(person, 1), People.figure.invalidate(person, 1)) == (1, 0)
        with use_scope(Scope(tenant=8)):
            person.figure(1)
        assert People.figure.cache_clear() == 2
        person.figure(2), asset.figure(1)
        assert (len(calls), len(others)) == (4, 1)

    def test_async_methods(self, row: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """They are awaited."""
        calls: list[int] = []

        class Report:
            @method_cache()
            async def total(self) -> int:
                calls.append(1)
                return 7

        report = Report()

        async def twice() -> list[int]:
            return [await report.total(), await report.total()]

        assert (asyncio.run(twice()), calls) == ([7, 7], [1])

    def test_wrong_arguments_are_named(self) -> None:
        """Where the decorator stands."""
        for given, error, named in (
            ({"timeout": -1}, ValueError, "timeout"),
            ({"key_prefix": 5}, TypeError, "key_prefix"),
            ({"key_prefix": ""}, ValueError, "key_prefix"),
            ({"per_instance": 1}, TypeError, "per_instance"),
            ({"timeout": len}, TypeError, "parentheses"),
        ):
            with pytest.raises(error, match=named):
                method_cache(**given)  # type: ignore[arg-type]


class TestDefects:
    """Known defects of the earlier system."""

    def test_unsaved_instances_share_nothing(self, cache: Any, attach: Attach) -> None:
        """There all of them were `id:None`."""
        calls = attach(key_prefix="calc")
        one, other = People(name="Ada"), People(name="Eve")
        assert [one.figure(), other.figure(), one.figure()] == [("Ada", ()), ("Eve", ()), ("Ada", ())]
        assert (len(calls), clear_cache_pattern("*calc*")["keys_cleared"]) == (2, 0)

    def test_two_classes_with_one_prefix_share_nothing(self, row: Any, attach: Attach) -> None:
        """There the prefix stood in the class's place."""
        attach(People, key_prefix="calc")
        attach(Asset, key_prefix="calc", result=lambda self: "asset")
        person, asset = row(People, name="Ada"), row(Asset)
        Asset.objects.filter(pk=asset.pk).update(id=person.pk)
        asset = Asset.objects.get(pk=person.pk)
        try:
            assert (person.figure(), asset.figure()) == (("Ada", ()), "asset")
        finally:
            asset.delete()

    def test_two_classes_with_one_name_share_nothing(self, row: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """As where an app's model is called like the one of another app that it inherits the method from."""

        def figure(self: Any) -> str:
            return type(self).__module__

        figure.__module__, figure.__qualname__ = "core.models", "People.figure"
        monkeypatch.setattr(People, "figure", method_cache()(figure), raising=False)
        assert ":of:" in People.figure.key(row(People))
        figure.__module__ = People.__module__
        monkeypatch.setattr(People, "figure", method_cache()(figure))
        assert ":of:" not in People.figure.key(row(People))

    def test_arguments_of_a_wrapper(self, row: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """One that names none, not even the instance, is told apart by all of them."""

        def price(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
            return (*args[1:], kwargs)

        monkeypatch.setattr(People, "price", method_cache()(price), raising=False)
        person = row(People)
        assert [person.price("EUR"), person.price("USD"), person.price(to="EUR"), person.price()] == [
            ("EUR", {}),
            ("USD", {}),
            ({"to": "EUR"},),
            ({},),
        ]

    def test_tenants_share_nothing(self, row: Any, attach: Attach) -> None:
        """There no key had a tenant."""
        calls = attach()
        person = row(People)
        for tenant in (0, 1, 0, 1):
            with use_scope(Scope(tenant=tenant)):
                person.figure()
        assert len(calls) == 2

    def test_an_unknown_tenant(self, row: Any, attach: Attach) -> None:
        """Where the settings want one and neither they nor the row say which, nothing is kept."""
        calls = attach()
        unowned, owned = row(People), row(People, tenant_id=1)
        with override_settings(OXICACHE={"TENANT": lambda: None}):
            for person in (unowned, unowned, owned, owned):
                person.figure()
        assert len(calls) == 3

    def test_the_row_as_it_is(self, row: Any, attach: Attach) -> None:
        """Unsaved edits of one instance are in nobody else's result."""
        attach()
        person = row(People, name="Ada")
        edited = People.objects.get(pk=person.pk)
        edited.name = "changed, and not saved"
        assert edited.figure() == ("Ada", ())
        assert person.figure() == ("Ada", ())

    def test_a_change_of_the_row(self, cache: Any, row: Any, attach: Attach) -> None:
        """In a NativeCache it invalidates, after the commit; there what was old was shown for an hour."""
        attach()
        person = row(People, name="Ada")
        person.figure()
        with transaction.atomic():
            person.name = "Eve"
            person.save()
            assert person.figure() == ("Eve", ())  # passes the cache by
        expected = ("Eve", ()) if isinstance(cache, NativeCache) else ("Ada", ())
        assert person.figure() == expected

    def test_a_hit_asks_no_database(self, row: Any, attach: Attach) -> None:
        """A miss loads the row; a hit does not."""
        attach()
        person = row(People, name="Ada")
        person.figure()
        with CaptureQueriesContext(connection) as queries:
            assert person.figure() == ("Ada", ())
        assert len(queries) == 0

    def test_subclasses_are_apart(self) -> None:
        """Who inherits a method has results of its own, where instances share them."""

        class Base:
            kind = "base"

            @method_cache(per_instance=False)
            def what(self) -> str:
                return self.kind

        class Derived(Base):
            kind = "derived"

        assert [Base().what(), Derived().what(), Base().what()] == ["base", "derived", "base"]


class TestWarming:
    def test_in_chunks(self, cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """No more than chunk_size pairs are held; the report counts them."""
        sizes: list[int] = []
        set_many = type(cache).set_many

        def counted(self: Any, data: Any, *args: Any, **kwargs: Any) -> Any:
            sizes.append(len(data))
            return set_many(self, data, *args, **kwargs)

        monkeypatch.setattr(type(cache), "set_many", counted)
        done = warm_cache_pattern("p", lambda: ((f"p:{number}", number) for number in range(7)), chunk_size=3)
        assert done == {"pattern": "p", "keys_warmed": 7, "errors": [], "success": True}
        assert (sizes, cache.get("p:6")) == ([3, 3, 1], 6)

    def test_a_generator_that_fails(self, cache: Any) -> None:
        """Its error is its caller's; what it gave before is stored."""

        def pairs() -> Iterator[tuple[str, int]]:
            yield "p:1", 1
            raise LookupError("no more")

        with pytest.raises(LookupError):
            warm_cache_pattern("p", pairs)
        assert cache.get("p:1") == 1

    def test_a_cache_that_fails(self) -> None:
        """Each key that was not stored is an error of the report."""
        with override_settings(CACHES={"default": {"BACKEND": BROKEN}}):
            done = warm_cache_pattern("p", lambda: [("p:1", 1), ("p:2", 2)])
        assert (done["keys_warmed"], done["success"], len(done["errors"])) == (0, False, 2)
        assert "out of reach" in done["errors"][0]

    def test_inside_a_transaction(self, cache: Any) -> None:
        """What a transaction that has written reads is nobody else's."""
        with transaction.atomic():
            People.objects.create()
            done = warm_cache_pattern("p", lambda: [("p:1", People.objects.count())])
            transaction.set_rollback(True)
        assert (done["success"], left(cache, ["p:1"])) == (False, [])

    def test_wrong_arguments_are_named(self) -> None:
        """And what is no pair."""
        for call, named in (
            (lambda: warm_cache_pattern("p", [("a", 1)]), "data_generator must be callable"),  # type: ignore[arg-type]
            (lambda: warm_cache_pattern("p", lambda: ["ab"]), "pairs"),  # type: ignore[list-item]
            (lambda: warm_cache_pattern("p", lambda: [(1, 2)]), "pairs"),  # type: ignore[list-item]
            (lambda: warm_cache_pattern("p", list, chunk_size=0), "chunk_size"),
            (lambda: warm_cache_pattern("p", list, timeout=-1), "timeout"),
        ):
            with pytest.raises((TypeError, ValueError), match=named):
                call()


class TestStatistics:
    def test_off_redis(self, cache: Any) -> None:
        """Figures of its server are None; the ratio is that of the workers where these count."""
        cache.set("a", 1)
        list(itertools.starmap(cache.get, [("a",), ("a",), ("a",), ("b",)]))
        found = get_cache_stats()
        assert list(found) == [
            "redis_connected_clients",
            "redis_total_commands",
            "redis_keyspace_hits",
            "redis_keyspace_misses",
            "redis_memory_used",
            "redis_memory_peak",
            "cache_backend",
            "hit_ratio",
        ]
        assert {value for name, value in found.items() if name.startswith("redis_")} == {None}
        assert found["cache_backend"].endswith(type(cache).__name__)
        assert found["hit_ratio"] == (75.0 if isinstance(cache, NativeCache) else None)

    def test_without_its_own_backend(self) -> None:
        """Other backends count nothing."""
        with own_default(BACKENDS["locmem"]):
            assert get_cache_stats()["hit_ratio"] is None
