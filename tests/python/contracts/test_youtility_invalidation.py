"""Document 004 (YOUTILITY5), "Intelligent Cache Invalidation", "Manual Cache Invalidation" and "Key Patterns".

Each example is run as it is printed; `apps.core.caching.invalidation` and `.utils` are oxicache.compat.youtility. What
was wrong there: test_youtility_defects.py.
"""

from collections.abc import Callable
from typing import Any

import pytest
from dialect_caches import filled, left
from document_pages import Example, example
from project.facilities.models import Asset, NewModel, People, PeopleEventlog, YourModel
from youtility_site import ALL_OF_IT, mapped, of_tenant, row, youtility_cache

from oxicache.compat.youtility import (
    cache_invalidation_manager,
    clear_cache_pattern,
    invalidate_cache_pattern,
    invalidate_model_caches,
)

__all__ = ["row", "youtility_cache"]  # fixtures


@pytest.fixture(autouse=True)
def cache(youtility_cache: Any) -> Any:
    """The default alias, empty."""
    return youtility_cache


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
    @example("004", "Intelligent Cache Invalidation")
    def test_intelligent_cache_invalidation(
        self, shown: Example, cache: Any, row: Callable[..., Any], model: Any, gone: set[str]
    ) -> None:
        """004, "Intelligent Cache Invalidation": what each model maps to, in the tenant of the row, at each save."""
        shown.run()
        instance = row(model, tenant_id=1)
        for change in (instance.save, instance.delete):
            mine, others = filled(cache, *of_tenant(1, *ALL_OF_IT)), filled(cache, *of_tenant(2, *ALL_OF_IT))
            change()
            assert set(left(cache, mine)) == set(of_tenant(1, *(set(ALL_OF_IT) - gone)))
            assert left(cache, others) == others

    def test_many_to_many_changes(self, cache: Any, row: Callable[..., Any]) -> None:
        """004, "Invalidation Triggers": m2m_changed of a mapped model's relation."""
        mapped()
        asset, person = row(Asset, tenant_id=1), row(People, tenant_id=1)
        for change in (
            lambda: asset.users.add(person),
            lambda: asset.users.remove(person),
            lambda: person.asset_set.set([asset]),
            asset.users.clear,
        ):
            keys = filled(cache, *of_tenant(1, "dropdown:asset", "dropdown:people:all", "trends:monthly"))
            change()
            assert left(cache, keys) == of_tenant(1, "trends:monthly")

    @example("004", "Example 4: Manual Cache Invalidation")
    def test_manual_cache_invalidation(
        self, shown: Example, cache: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """004, "Example 4: Manual Cache Invalidation": the figures are what went."""
        mapped()
        filled(cache, *of_tenant(1, *ALL_OF_IT, "dashboard:trends"))
        others = filled(cache, *of_tenant(2, *ALL_OF_IT))
        shown.run()
        assert capsys.readouterr().out == "Cleared 2 cache keys\nCleared 2 keys across 3 patterns\n"
        assert left(cache, others) == others

    def test_a_missing_dependency(self, cache: Any, row: Callable[..., Any]) -> None:
        """004, "Issue: Stale Cached Data": a dependency that is registered counts from then on."""
        cache_invalidation_manager.register_dependency("YourModel", ["pattern:to:invalidate"])
        keys = filled(cache, *of_tenant(1, "pattern:to:invalidate", "pattern:to:keep"))
        row(YourModel, tenant_id=1)
        assert left(cache, keys) == keys[1:]

    @example("004", "Do's")
    def test_best_practices(self, shown: Example, cache: Any, row: Callable[..., Any]) -> None:
        """004, "Do's": dependencies of a new model."""
        shown.run(
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
    @example("004", "Wildcard Patterns for Invalidation")
    def test_wildcard_patterns_for_invalidation(
        self, shown: Example, cache: Any, pattern: str, gone: list[str]
    ) -> None:
        """004, "Wildcard Patterns for Invalidation": each by clear_cache_pattern, which says how many went."""
        assert pattern in [line.split()[0] for line in shown.lines()]
        rests = ("dashboard:metrics", "dropdown:people:all", "form:Schd_I_TourJobForm:people:1.0", "user:9:x")
        keys = filled(cache, *of_tenant(1, *rests), *of_tenant(5, *rests))
        assert clear_cache_pattern(pattern) == {
            "pattern": pattern,
            "keys_cleared": len(gone),
            "success": True,
        }
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
        cache_invalidation_manager.register_dependency(
            "People", ["dropdown:people", "dashboard", "dashboard:metrics"]
        )
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

    def test_an_operation_that_is_none(self) -> None:
        """An error that lists them."""
        with pytest.raises(ValueError, match="'vanish' is no event"):
            cache_invalidation_manager.invalidate_for_model(People(pk=5), "vanish")

    def test_a_row_of_several_tables(self) -> None:
        """What depends on a parent depends on its children; not the other way round."""
        cache_invalidation_manager.register_dependency("catalogue.Item", ["items"])
        cache_invalidation_manager.register_dependency("catalogue.Book", ["books"])
        found = [
            cache_invalidation_manager.get_patterns_for_model(name) for name in ("Book", "Item", "Dozen")
        ]
        assert found == [{"items", "books"}, {"items"}, {"items"}]

    def test_the_mapping(self) -> None:
        """It reads as it was assigned, and is changed in place as a dict of sets is."""
        mapped()
        mapping = cache_invalidation_manager.model_dependencies
        assert mapping == {
            "People": {"dropdown:people", "dashboard:metrics", "attendance:summary"},
            "Asset": {"dropdown:asset", "dashboard:metrics", "asset:status"},
            "PeopleEventlog": {"dashboard:metrics", "attendance:summary", "trends:monthly"},
        }
        mapping["People"].add("more")
        del mapping["Asset"]
        assert cache_invalidation_manager.get_patterns_for_model("people") == mapping["People"]
        assert cache_invalidation_manager.get_patterns_for_model("Asset") == set()

    def test_a_model_has_several_names(self, cache: Any) -> None:
        """What is registered under its label counts under its bare name, in any case."""
        cache_invalidation_manager.register_dependency("facilities.People", ["a"])
        cache_invalidation_manager.register_dependency("people", ["b"])
        filled(cache, *of_tenant(1, "a", "b"))
        assert invalidate_model_caches("PEOPLE", 1)["total_cleared"] == 2
