"""What rules and the map of dependencies name of a model or a row that an operator invalidates."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from project.catalogue.models import Author, Item
from project.facilities.models import Asset, People
from project.projects.models import Project

from oxicache import TTLCache, cache_manager
from oxicache.django import dependants
from oxicache.django.rules import model_dependencies, register_dependency, register_rule
from oxicache.invalidation import Rule


@pytest.fixture
def held() -> Iterator[TTLCache[Any, Any]]:
    """A named cache with entries of two rows."""
    cache = cache_manager.get_cache("test.dependants", max_size=100, ttl=60)
    for pk in (1, 2):
        cache.set(f"project:{pk}:title", pk, tags=[f"project:{pk}"])
    cache.set("list", 1, tags=["project_list"])
    cache.set("other", 1, tags=["other"])
    yield cache
    cache_manager.remove("test.dependants")


@pytest.fixture
def rule() -> Iterator[None]:
    """A rule with tags of the model and of each row."""
    end = register_rule(
        Rule("projects.Project", on=["update"], tags=("project_list", "project:{pk}"), name="of projects")
    )
    yield
    end()


@pytest.fixture(autouse=True)
def _no_dependencies() -> Iterator[None]:
    yield
    model_dependencies.clear()


def manage(*given: str) -> str:
    out = io.StringIO()
    call_command("manage_cache", "invalidate", *given, stdout=out)
    return out.getvalue()


class TestRules:
    @pytest.mark.usefixtures("rule")
    def test_of_a_model(self, held: TTLCache[Any, Any]) -> None:
        """Tags that do not depend on the row go; that those of rows were left out is said."""
        said = manage("--model", "projects.Project")
        assert said.startswith("Invalidated 1 cache entries\n  dependency: 1 entries\n")
        assert "  Left out: tags that rules make of each row; name the rows with --rows\n" in said
        assert sorted(held.keys()) == ["other", "project:1:title", "project:2:title"]

    @pytest.mark.usefixtures("rule")
    def test_of_a_row(self, held: TTLCache[Any, Any]) -> None:
        """With the row all its tags are known."""
        said = manage("--rows", "projects.Project:1", "--dry-run", "--json")
        shown = json.loads(said)
        assert shown["would_remove"]["test.dependants"] == 2
        assert (shown["rows"], shown["exact"]) == (["projects.Project:1"], False)
        said = manage("--rows", "projects.Project:1")
        assert said.startswith("Invalidated 2 cache entries\n  dependency: 2 entries\n")
        assert "projects.Project:1: what was computed from it is outdated" in said
        assert sorted(held.keys()) == ["other", "project:2:title"]

    def test_other_models_of_a_rule(self) -> None:
        """What was computed from rows of `models` goes with it."""
        end = register_rule(Rule(People, models=[Project]))
        project = Project.objects.create(title="One")
        try:
            before = project.label()
            Project.objects.filter(pk=project.pk).update(title="Two")
            assert Project.objects.get(pk=project.pk).label() == before
            manage("--model", "People")
            assert Project.objects.get(pk=project.pk).label() != before
        finally:
            project.delete()  # no transaction takes it back
            end()

    def test_a_cascade_brings_the_rules_of_what_refers_to_it(self, held: TTLCache[Any, Any]) -> None:
        """One level, as its models."""
        end = register_rule(Rule(Item, tags="project_list"))
        try:
            assert "Invalidated 0 " in manage("--model", "catalogue.Author")
            assert "Invalidated 1 " in manage("--model", "catalogue.Author", "--cascade")
        finally:
            end()


class TestLists:
    def test_labels_in_any_case_are_one_model(self) -> None:
        """And bare names; patterns of both are joined."""
        register_dependency("people", {"a"})
        register_dependency("facilities.People", {"b"})
        register_dependency(Asset, {"b"})
        assert dependants.models() == {"facilities.Asset": ("b",), "facilities.People": ("a", "b")}
        assert dependants.patterns() == {
            "a": ("facilities.People",),
            "b": ("facilities.Asset", "facilities.People"),
        }
        assert dependants.patterns_of("PEOPLE") == ("a", "b")

    @pytest.mark.usefixtures("rule")
    def test_rules_are_listed_by_their_models(self) -> None:
        """Those of the map stand in the map's own list."""
        register_dependency(Author, {"a"})
        assert dependants.rules() == {"projects.Project": ("of projects",)}
