"""Cached querysets under random questions and changes, and with mistakes that the machine must find."""

from collections import Counter
from collections.abc import Iterator

import pytest
from django.test import override_settings
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from library_machine import Library, library_databases
from library_questions import FAR, NEAR
from profiles import MODEL

from oxicache.django import execution

CACHES = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "library"}}


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory, django_databases: None) -> Iterator[None]:
    """WAL, so that readers are never in the writer's way. What raw SQL writes is watched on one of them."""
    folder = tmp_path_factory.mktemp("library")
    options = {"timeout": 20, "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"}
    found = {
        alias: {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(folder / f"{alias}.sqlite3"),
            "OPTIONS": options,
        }
        for alias in (NEAR, FAR)
    }
    with override_settings(CACHES=CACHES):
        execution.configure((NEAR,))  # the setting takes databases that DATABASES names
        with library_databases(found):
            yield
        execution.configure(False)


@pytest.fixture
def machine(databases: None) -> type[Library]:
    """The machine, with a count of its own."""
    hits: Counter[str] = Counter()
    return type("AMachine", (Library,), {"hits": hits})


def run(machine: type[Library], examples: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            MODEL, max_examples=examples, stateful_step_count=25, phases=[Phase.reuse, Phase.generate]
        ),
    )


def test_every_answer_is_the_databases(machine: type[Library]) -> None:
    """Whatever is asked between whatever changes; and most of it is asked of the cache."""
    run(machine, max(MODEL.max_examples // 25, 6))
    assert sum(machine.hits.values()) > 20, machine.hits
