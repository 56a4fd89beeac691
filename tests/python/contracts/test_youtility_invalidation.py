"""Document 004 (YOUTILITY5), "Intelligent Cache Invalidation", "Manual Cache Invalidation" and "Key Patterns".

Each example is run as it is printed; `apps.core.caching.invalidation` and `.utils` are oxicache.compat.youtility.
"""

import itertools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.db import transaction
from django.test import override_settings
from document_pages import dialect, run_example
from project.facilities.models import Asset, NewModel, People, PeopleEventlog, YourModel

from oxicache.compat import youtility
from oxicache.compat.youtility import (
    cache_invalidation_manager,
    clear_cache_pattern,
    get_tenant_cache_key,
    invalidate_cache_pattern,
    invalidate_model_caches,
)

NATIVE = "oxicache.django.backends.NativeCache"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
FILES = "django.core.cache.backends.filebased.FileBasedCache"

_numbers = itertools.count()


@pytest.fixture(params=[NATIVE, LOCMEM], ids=["native", "locmem"], autouse=True)
def cache(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, django_databases: None
) -> Iterator[Any]:
    """The default alias, empty, with a prefix and a version; no dependencies but a test's own."""
    names = ("apps__core__caching__invalidation", "apps__core__caching__utils")
    dialect(monkeypatch, **dict.fromkeys(names, youtility))
    default = {"BACKEND": request.param, "LOCATION": f"youtility-{next(_numbers)}", "KEY_PREFIX": "site"}
    before = {model: set(patterns) for model, patterns in cache_invalidation_manager.model_dependencies.items()}
    with override_settings(CACHES={"default": default}):
        yield caches["default"]
        caches["default"].clear()
    cache_invalidation_manager.model_dependencies = before


@pytest.fixture
def row() -> Iterator[Callable[..., Any]]:
    """Make a row, which is deleted when the test ends."""
    made: list[Any] = []

    def create(model: Any, **fields: Any) -> Any:
        made.append(model.objects.create(**fields))
        return made[-1]

    yield create
    cache_invalidation_manager.model_dependencies = {}
    for one in made:
        if one.pk is not None:
            one.delete()


def filled(cache: Any, *keys: str) -> list[str]:
    for key in keys:
        cache.set(key, "value")
    return list(keys)


def left(cache: Any, keys: list[str]) -> list[str]:
    """Which of these are still there."""
    return [key for key in keys if cache.get(key) is not None]


def of_tenant(tenant: int, *rests: str) -> list[str]:
    return [get_tenant_cache_key(rest, tenant_id=tenant, client_id=2, bu_id=3) for rest in rests]


DEPENDENCY_MAPPING = """
from apps.core.caching.invalidation import cache_invalidation_manager

# Dependency mapping
cache_invalidation_manager.model_dependencies = {
    'People': {'dropdown:people', 'dashboard:metrics', 'attendance:summary'},
    'Asset': {'dropdown:asset', 'dashboard:metrics', 'asset:status'},
    'PeopleEventlog': {'dashboard:metrics', 'attendance:summary', 'trends:monthly'}
}
"""
ALL_OF_IT = (
    "dropdown:people:all",
    "dropdown:asset",
    "dashboard:metrics",
    "attendance:summary",
    "asset:status:7",
    "trends:monthly",
)


class TestExamples:
    @pytest.mark.parametrize(
        ("model", "gone"),
        [
            (People, {"dropdown:people:all", "dashboard:metrics", "attendance:summary"}),
            (Asset, {"dropdown:asset", "dashboard:metrics", "asset:status:7"}),
            (PeopleEventlog, {"dashboard:metrics", "attendance:summary", "trends:monthly"}),
        ],
        ids=lambda value: getattr(value, "__name__", ""),
    )
    def test_intelligent_cache_invalidation(
        self, cache: Any, row: Callable[..., Any], model: Any, gone: set[str]
    ) -> None:
        """004, "Intelligent Cache Invalidation": what each model maps to, in the tenant of the row, at each save."""
        run_example(DEPENDENCY_MAPPING)
        instance = row(model, tenant_id=1)
        for change in (instance.save, instance.delete):
            mine, others = filled(cache, *of_tenant(1, *ALL_OF_IT)), filled(cache, *of_tenant(2, *ALL_OF_IT))
            change()
            assert set(left(cache, mine)) == set(of_tenant(1, *(set(ALL_OF_IT) - gone)))
            assert left(cache, others) == others

    def test_many_to_many_changes(self, cache: Any, row: Callable[..., Any]) -> None:
        """004, "Invalidation Triggers": m2m_changed of a mapped model's relation."""
        run_example(DEPENDENCY_MAPPING)
        asset, person = row(Asset, tenant_id=1), row(People, tenant_id=1)
        for change in (
            lambda: asset.users.add(person),
            lambda: asset.users.remove(person),
            lambda: person.asset_set.set([asset]),
            lambda: asset.users.clear(),
        ):
            keys = filled(cache, *of_tenant(1, "dropdown:asset", "dropdown:people:all", "trends:monthly"))
            change()
            assert left(cache, keys) == of_tenant(1, "trends:monthly")

    def test_manual_cache_invalidation(self, cache: Any, capsys: pytest.CaptureFixture[str]) -> None:
        """004, "Example 4: Manual Cache Invalidation": the figures are what went."""
        run_example(DEPENDENCY_MAPPING)
        filled(cache, *of_tenant(1, *ALL_OF_IT, "dashboard:trends"))
        others = filled(cache, *of_tenant(2, *ALL_OF_IT))
        run_example(
            """
from apps.core.caching.invalidation import invalidate_cache_pattern

# Invalidate all dashboard caches for tenant 1
result = invalidate_cache_pattern('dashboard', tenant_id=1)
print(f"Cleared {result['keys_cleared']} cache keys")

# Invalidate all People-related caches
from apps.core.caching.invalidation import invalidate_model_caches
result = invalidate_model_caches('People', tenant_id=1)
print(f"Cleared {result['total_cleared']} keys across {result['patterns_processed']} patterns")
"""
        )
        assert capsys.readouterr().out == "Cleared 2 cache keys\nCleared 2 keys across 3 patterns\n"
        assert left(cache, others) == others

    def test_a_missing_dependency(self, cache: Any, row: Callable[..., Any]) -> None:
        """004, "Issue: Stale Cached Data": a dependency that is registered counts from then on."""
        run_example(
            """
# Register model dependency if missing
from apps.core.caching.invalidation import cache_invalidation_manager
cache_invalidation_manager.register_dependency('YourModel', ['pattern:to:invalidate'])
"""
        )
        keys = filled(cache, *of_tenant(1, "pattern:to:invalidate", "pattern:to:keep"))
        row(YourModel, tenant_id=1)
        assert left(cache, keys) == keys[1:]

    def test_best_practices(self, cache: Any, row: Callable[..., Any]) -> None:
        """004, "Do's": dependencies of a new model."""
        run_example(
            """
cache_invalidation_manager.register_dependency(
    'NewModel',
    ['dropdown:newmodel', 'dashboard:metrics']
)
""",
            cache_invalidation_manager=cache_invalidation_manager,
        )
        keys = filled(cache, *of_tenant(1, "dropdown:newmodel", "dashboard:metrics", "dropdown:people"))
        row(NewModel, tenant_id=1)
        assert left(cache, keys) == keys[2:]

    @pytest.mark.parametrize(
        ("pattern", "gone"),
        [
            ("tenant:1:*dashboard:*", of_tenant(1, "dashboard:metrics")),
            (
                "tenant:*:*dropdown:people:*",
                [*of_tenant(1, "dropdown:people:all"), *of_tenant(5, "dropdown:people:all")],
            ),
            ("tenant:1:*form:*:people:*", of_tenant(1, "form:Schd_I_TourJobForm:people:1.0")),
        ],
    )
    def test_wildcard_patterns_for_invalidation(self, cache: Any, pattern: str, gone: list[str]) -> None:
        """004, "Wildcard Patterns for Invalidation": each by clear_cache_pattern, which says how many went."""
        rests = ("dashboard:metrics", "dropdown:people:all", "form:Schd_I_TourJobForm:people:1.0", "user:9:x")
        keys = filled(cache, *of_tenant(1, *rests), *of_tenant(5, *rests))
        assert clear_cache_pattern(pattern) == {"pattern": pattern, "keys_cleared": len(gone), "success": True}
        assert left(cache, keys) == [key for key in keys if key not in gone]


class TestSettled:
    """What callers rely on."""

    def test_the_result_for_a_pattern(self, cache: Any) -> None:
        """The glob that stands for it, how many keys went, and that it worked."""
        filled(cache, *of_tenant(1, "dashboard:metrics"), *of_tenant(2, "dashboard:metrics"))
        assert invalidate_cache_pattern("dashboard", tenant_id=1) == {
            "pattern": "tenant:1:*dashboard*",
            "keys_cleared": 1,
            "success": True,
        }
        assert invalidate_cache_pattern("dashboard") == {
            "pattern": "tenant:*:*dashboard*",
            "keys_cleared": 1,
            "success": True,
        }

    @pytest.mark.parametrize("pattern", ["dropdown:*", "dropdown", "*down:people:*", "dropdown:p??ple"])
    def test_wildcards_of_a_pattern(self, cache: Any, pattern: str) -> None:
        """They are kept, and match within the tenant's keys."""
        keys = filled(cache, *of_tenant(1, "dropdown:people:all"), *of_tenant(2, "dropdown:people:all"))
        assert invalidate_cache_pattern(pattern, 1)["keys_cleared"] == 1
        assert left(cache, keys) == keys[1:]

    def test_the_result_for_a_model(self, cache: Any) -> None:
        """Patterns, and keys of all of them, each once."""
        cache_invalidation_manager.register_dependency("People", ["dropdown:people", "dashboard", "dashboard:metrics"])
        filled(cache, *of_tenant(1, "dropdown:people:a", "dropdown:people:b", "dashboard:metrics"))
        assert invalidate_model_caches("People", 1) == {
            "model": "People",
            "patterns_processed": 3,
            "total_cleared": 3,
            "errors": [],
        }

    def test_all_tenants(self, cache: Any) -> None:
        """Without a tenant a model's caches go everywhere."""
        cache_invalidation_manager.register_dependency("People", ["dropdown:people"])
        keys = filled(cache, *of_tenant(1, "dropdown:people"), *of_tenant(2, "dropdown:people"))
        assert invalidate_model_caches("People")["total_cleared"] == 2
        assert left(cache, keys) == []

    @pytest.mark.parametrize("operation", ["create", "update", "delete", "m2m_change"])
    def test_an_instance(self, cache: Any, operation: str) -> None:
        """By hand: two positional arguments; the tenant is the instance's."""
        cache_invalidation_manager.register_dependency("People", ["dropdown:people"])
        filled(cache, *of_tenant(1, "dropdown:people"), *of_tenant(2, "dropdown:people"))
        assert cache_invalidation_manager.invalidate_for_model(People(pk=5, tenant_id=1), operation) == {
            "model": "People",
            "operation": operation,
            "instance_id": 5,
            "patterns_cleared": 1,
            "errors": [],
        }

    def test_the_mapping(self) -> None:
        """It reads as it was assigned, and is changed in place as a dict of sets is."""
        run_example(DEPENDENCY_MAPPING)
        mapping = cache_invalidation_manager.model_dependencies
        assert set(mapping) == {"facilities.People", "facilities.Asset", "facilities.PeopleEventlog"}
        assert mapping["People"] == {"dropdown:people", "dashboard:metrics", "attendance:summary"}
        cache_invalidation_manager.register_dependency("facilities.people", ["more"])
        assert "more" in mapping["People"]
        del mapping["Asset"]
        assert "facilities.Asset" not in cache_invalidation_manager.model_dependencies


class TestDefects:
    """Known defects of the earlier system."""

    def test_a_save_of_a_mapped_model(self, row: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
        """There it raised NameError, for names of an except tuple that nobody had imported."""
        run_example(DEPENDENCY_MAPPING)
        with caplog.at_level(logging.WARNING):
            assert row(People, tenant_id=1).pk is not None
        assert caplog.records == []

    def test_a_cache_that_fails_fails_no_save(
        self, cache: Any, row: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A backend out of reach is one line of the log; the row is saved."""
        run_example(DEPENDENCY_MAPPING)

        def fail(*args: Any, **kwargs: Any) -> Any:
            raise ConnectionError("out of reach")

        for name in ("delete", "delete_many", "delete_pattern", "invalidate_patterns", "keys"):
            if hasattr(type(cache), name):
                monkeypatch.setattr(type(cache), name, fail)
        assert row(People, tenant_id=1).pk is not None

    def test_what_cannot_be_enumerated(self, tmp_path: Any) -> None:
        """There is no count of what nobody can list: an error in the result, and never 0 keys."""
        with override_settings(CACHES={"default": {"BACKEND": FILES, "LOCATION": str(tmp_path)}}):
            result = clear_cache_pattern("tenant:*")
            assert (result["success"], result["keys_cleared"]) == (False, None)
            assert "default" in result["error"]
            cache_invalidation_manager.register_dependency("People", ["dropdown:people"])
            result = invalidate_model_caches("People", 1)
            assert len(result["errors"]) == 1
            by_hand = cache_invalidation_manager.invalidate_for_model(People(pk=5, tenant_id=1), "update")
            assert len(by_hand["errors"]) == 1

    def test_tenant_0_is_a_tenant(self, cache: Any) -> None:
        """There 0 stood for all of them."""
        keys = filled(cache, *of_tenant(0, "dropdown:people"), *of_tenant(1, "dropdown:people"))
        assert invalidate_cache_pattern("dropdown:people", tenant_id=0)["keys_cleared"] == 1
        assert left(cache, keys) == keys[1:]
        cache_invalidation_manager.register_dependency("People", ["dropdown:people"])
        filled(cache, *keys)
        assert invalidate_model_caches("People", tenant_id=0)["total_cleared"] == 1
        filled(cache, *keys)
        result = cache_invalidation_manager.invalidate_for_model(People(pk=5, tenant_id=0), "update")
        assert (result["patterns_cleared"], left(cache, keys)) == (1, keys[1:])

    def test_an_id_is_no_glob(self, cache: Any) -> None:
        """A tenant whose id holds a wildcard is that tenant alone."""
        keys = filled(cache, *(get_tenant_cache_key("dropdown", tenant_id=tenant) for tenant in ("a*", "ab")))
        assert invalidate_cache_pattern("dropdown", "a*")["keys_cleared"] == 1
        assert left(cache, keys) == keys[1:]

    def test_whole_segments(self, cache: Any) -> None:
        """There `asset` was looked for within any word: `my_assets` and `asset_status` went with it."""
        keys = filled(cache, *of_tenant(1, "asset:1", "my_assets:1", "asset_status", "x:asset"))
        assert invalidate_cache_pattern("asset", 1)["keys_cleared"] == 2
        assert left(cache, keys) == keys[1:3]

    def test_no_other_tenant_begins_alike(self, cache: Any) -> None:
        """Tenant 1 is not tenant 11, nor what has a 1 further behind."""
        keys = filled(cache, *of_tenant(1, "asset"), *of_tenant(11, "asset"), "x:tenant:1:asset")
        assert invalidate_cache_pattern("asset", 1)["keys_cleared"] == 1
        assert left(cache, keys) == keys[1:]

    def test_hashed_keys_are_found(self, cache: Any) -> None:
        """A long key keeps its readable start."""
        (key,) = of_tenant(1, "dashboard:metrics:" + "x" * 300)
        filled(cache, key)
        assert invalidate_cache_pattern("dashboard", 1)["keys_cleared"] == 1

    def test_prefix_and_version_are_no_part_of_a_key(self, cache: Any) -> None:
        """There the pattern was matched against `:1:tenant:...`, so it could not match."""
        filled(cache, *of_tenant(1, "dashboard"))
        assert clear_cache_pattern("tenant:1:*")["keys_cleared"] == 1
        assert clear_cache_pattern("site:*")["keys_cleared"] == 0

    def test_after_the_commit(self, cache: Any, row: Callable[..., Any]) -> None:
        """There a save invalidated before its commit, and after a rollback nothing had been changed."""
        run_example(DEPENDENCY_MAPPING)
        keys = filled(cache, *of_tenant(1, "dropdown:people"))
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            People.objects.create(tenant_id=1)
            raise ZeroDivisionError
        assert left(cache, keys) == keys
        with transaction.atomic():
            row(People, tenant_id=1)
            assert left(cache, keys) == keys
        assert left(cache, keys) == []

    def test_by_hand_within_a_transaction(self, cache: Any) -> None:
        """Nothing is gone before the commit, and the result says so."""
        keys = filled(cache, *of_tenant(1, "dashboard"))
        with transaction.atomic():
            result = invalidate_cache_pattern("dashboard", 1)
            assert (result["success"], result["keys_cleared"]) == (True, 0)
            assert "commit" in result["message"]
            assert left(cache, keys) == keys
        assert left(cache, keys) == []

    def test_model_names(self) -> None:
        """A name that no model has, or several, is an error; there it was never heard of again."""
        with pytest.raises(ValueError, match="Peple"):
            invalidate_model_caches("Peple", 1)

    def test_a_row_without_tenant(self, cache: Any) -> None:
        """Whose it is, is not known: that of all."""
        cache_invalidation_manager.register_dependency("People", ["dropdown:people"])
        keys = filled(cache, *of_tenant(1, "dropdown:people"), *of_tenant(2, "dropdown:people"))
        cache_invalidation_manager.invalidate_for_model(People(pk=5), "update")
        assert left(cache, keys) == []
