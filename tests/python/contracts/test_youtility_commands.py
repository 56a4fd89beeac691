"""`invalidate_caches` as document 004 ("Advanced Caching Strategy", YOUTILITY5) has it, section "Cache Invalidation".

Each example of the section is run; what its words are where the document shows none, its callers rely on.
"""

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import CommandError, call_command
from django.test import override_settings
from project.facilities.models import People

from oxicache.django.rules import model_dependencies, register_dependency

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache"}}
DRY = "DRY RUN MODE - No caches will actually be cleared\n"
DONE = "Cache invalidation completed successfully!\n"
DASHBOARD, OTHER = "tenant:1:client:2:bu:3:dashboard:metrics", "tenant:2:client:2:bu:3:dashboard:metrics"
DROPDOWN, LONGER = "tenant:1:client:2:bu:3:dropdown:people:all", "tenant:1:client:2:bu:3:dropdowns:people"
KEYS = (DASHBOARD, OTHER, DROPDOWN, LONGER, "tenant:0:dashboard", "dashboard")


@pytest.fixture(autouse=True)
def _test_environment(django_databases: None) -> None:
    """Commands act on this process alone while Django's test environment is set up."""


@pytest.fixture(autouse=True)
def cache() -> Iterator[Any]:
    """The alias of the examples, with entries of two tenants."""
    with override_settings(CACHES=NATIVE):
        cache = caches["default"]
        cache.set_many(dict.fromkeys(KEYS, 1))
        yield cache
        cache.clear()


@pytest.fixture(autouse=True)
def _dependencies() -> Iterator[None]:
    """The map of the document's section "Intelligent Cache Invalidation", of one of its models."""
    register_dependency("People", {"dropdown:people", "dashboard:metrics", "attendance:summary"})
    yield
    model_dependencies.clear()


def invalidate(*given: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("invalidate_caches", *given, stdout=out, **options)
    return out.getvalue()


def left(cache: Any) -> set[str]:
    return {key for key in KEYS if key in cache}


def counted(said: str) -> int:
    """What the line of the alias says; a store that another test left behind takes the alias' own name."""
    found = re.search(r"^django:default(?:#\d+)? +(\d+)$", said, re.MULTILINE)
    assert found, said
    return int(found[1])


class TestPattern:
    def test_a_tenants_pattern(self, cache: Any) -> None:
        """004, "invalidate_caches --pattern dashboard --tenant-id 1": nobody else's go."""
        assert (
            invalidate("--pattern", "dashboard", "--tenant-id", "1") == f"\u2713 Cleared 1 cache keys\n{DONE}"
        )
        assert left(cache) == {*KEYS} - {DASHBOARD}

    def test_every_tenants(self, cache: Any) -> None:
        """Without --tenant-id the pattern is that of all tenants, and of keys of none."""
        assert invalidate("--pattern", "dashboard") == f"\u2713 Cleared 4 cache keys\n{DONE}"
        assert left(cache) == {DROPDOWN, LONGER}

    def test_tenant_0_is_a_tenant(self, cache: Any) -> None:
        """Defect of 004: 0 was taken for no tenant, and so for all of them."""
        assert "Cleared 1 " in invalidate("--pattern", "dashboard", "--tenant-id", "0")
        assert left(cache) == {*KEYS} - {"tenant:0:dashboard"}

    def test_tenant_1_is_not_tenant_10(self, cache: Any) -> None:
        """A tenant's id is a whole segment."""
        cache.set("tenant:10:dashboard", 1)
        invalidate("--pattern", "dashboard", "--tenant-id", "1")
        assert "tenant:10:dashboard" in cache

    def test_a_dry_run(self, cache: Any) -> None:
        """004, "invalidate_caches --pattern dropdown --dry-run": says what, counts it, and clears nothing."""
        said = invalidate("--pattern", "dropdown", "--tenant-id", "1", "--dry-run")
        lines = said.splitlines(keepends=True)
        assert lines[:2] == [DRY, "Would clear pattern: tenant:1:*dropdown*\n"]
        assert lines[-1] == DONE
        assert counted(said) == 1
        assert left(cache) == {*KEYS}

    def test_a_dry_run_of_all_tenants(self) -> None:
        """The same, without a tenant."""
        assert "Would clear pattern: tenant:*:*dropdown*\n" in invalidate(
            "--pattern", "dropdown", "--dry-run"
        )

    def test_it_is_no_part_of_a_word(self, cache: Any) -> None:
        """Defect of 004: `dropdown` matched `dropdowns`, `asset` any key with these letters."""
        invalidate("--pattern", "dropdown")
        assert left(cache) == {*KEYS} - {DROPDOWN}

    def test_a_glob(self, cache: Any) -> None:
        """004, "Wildcard Patterns for Invalidation": with wildcards a pattern is the whole key."""
        assert invalidate("--pattern", "tenant:1:*dropdown*") == f"\u2713 Cleared 2 cache keys\n{DONE}"
        assert left(cache) == {DASHBOARD, OTHER, "tenant:0:dashboard", "dashboard"}

    def test_nothing_matches(self) -> None:
        """That is no error."""
        assert invalidate("--pattern", "report") == f"\u2713 Cleared 0 cache keys\n{DONE}"


class TestModel:
    def test_what_depends_on_it_goes(self, cache: Any) -> None:
        """004, "invalidate_caches --model People": a bare name that one model has."""
        said = invalidate("--model", "People")
        assert said.startswith("\u2713 Cleared 3 cache keys\n")
        assert "  facilities.People: what was computed from its rows is outdated" in said
        assert said.endswith(DONE)
        assert left(cache) == {LONGER, "tenant:0:dashboard", "dashboard"}

    def test_within_a_tenant(self, cache: Any) -> None:
        """004, `invalidate_model_caches('People', tenant_id=1)`, from a shell."""
        invalidate("--model", "People", "--tenant-id", "1")
        assert left(cache) == {OTHER, LONGER, "tenant:0:dashboard", "dashboard"}

    def test_a_dry_run(self, cache: Any) -> None:
        """How many patterns these are, as there; and how many entries, which was not said there."""
        said = invalidate("--model", "People", "--dry-run")
        assert said.startswith(f"{DRY}Would invalidate 3 cache patterns for People\n")
        assert counted(said) == 3
        assert left(cache) == {*KEYS}

    def test_a_label_in_any_case(self) -> None:
        """Both spellings are one model."""
        assert "Cleared 3 " in invalidate("--model", "facilities.people")

    @pytest.mark.parametrize(
        ("name", "why"),
        [("Nobody", "'Nobody' is no model"), ("nowhere.Nobody", "'nowhere.Nobody' is no model")],
    )
    def test_what_is_no_model(self, name: str, why: str) -> None:
        """Exit code 2, and never "Cleared 0"."""
        with pytest.raises(CommandError, match=why) as caught:
            invalidate("--model", name)
        assert caught.value.returncode == 2


class TestAll:
    def test_everything_goes(self, cache: Any) -> None:
        """004, "invalidate_caches --all": off a terminal nobody could confirm it, and cron goes on."""
        said = invalidate("--all")
        assert said.startswith("\u2713 Cleared ")
        assert said.endswith(DONE)
        assert left(cache) == set()

    def test_a_dry_run(self, cache: Any) -> None:
        """Counts what would go."""
        said = invalidate("--all", "--dry-run")
        assert said.startswith(f"{DRY}Would clear all cache keys\n")
        assert "django:default" in said
        assert left(cache) == {*KEYS}

    def test_of_one_tenant(self, cache: Any) -> None:
        """There --tenant-id was not heeded, and everybody's were cleared."""
        assert invalidate("--all", "--tenant-id", "1") == f"\u2713 Cleared 3 cache keys\n{DONE}"
        assert left(cache) == {OTHER, "tenant:0:dashboard", "dashboard"}


class TestLists:
    def test_patterns(self) -> None:
        """004, "invalidate_caches --list-patterns": with the models that each depends on."""
        said = invalidate("--list-patterns")
        assert said.startswith(
            "Available Cache Patterns:\n"
            "  attendance:summary  facilities.People\n"
            "  dashboard:metrics   facilities.People\n"
            "  dropdown:people     facilities.People\n"
        )

    def test_models(self) -> None:
        """004, "invalidate_caches --list-models": with what depends on each."""
        assert invalidate("--list-models") == (
            "Models with Cache Dependencies:\n"
            "  facilities.People:\n    - attendance:summary\n    - dashboard:metrics\n    - dropdown:people\n"
        )

    def test_nothing_is_registered(self) -> None:
        """An empty list says how it is filled."""
        model_dependencies.clear()
        for given in ("--list-patterns", "--list-models"):
            assert "  none is registered: see oxicache.django.rules.register_dependency\n" in invalidate(
                given
            )

    def test_both_as_json(self) -> None:
        """For programs."""
        patterns = json.loads(invalidate("--list-patterns", "--json"))
        assert patterns["registered"]["dropdown:people"] == ["facilities.People"]
        models = json.loads(invalidate("--list-models", "--json"))["models"]
        assert models == {"facilities.People": ["attendance:summary", "dashboard:metrics", "dropdown:people"]}


class TestUse:
    def test_nothing_is_named(self) -> None:
        """There a CommandError too; --tenant-id alone names nothing."""
        for given in ((), ("--tenant-id", "1"), ("--dry-run",)):
            with pytest.raises(CommandError, match=r"give one of --pattern, --model, --all") as caught:
                invalidate(*given)
            assert caught.value.returncode == 2

    def test_a_save_by_the_same_names_works(self) -> None:
        """Defect of 004: any save of a mapped model, and the command's errors, ended in a NameError."""
        People.objects.create(tenant_id=1).delete()
        with pytest.raises(CommandError):
            invalidate("--model", "Nobody")
