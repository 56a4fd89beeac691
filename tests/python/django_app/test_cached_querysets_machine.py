"""Cached querysets under random questions and changes, and with mistakes that the machine must find."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from library_histories import DEFECTS, EACH_ALONE, HISTORIES, play
from library_machine import Library, library_databases
from library_mistakes import MISTAKES
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


def run(machine: type[Library], examples: int, **given: Any) -> None:
    # Without shrinking, which takes minutes: a failure tells the question, and what is right.
    phases = [Phase.generate] if given else [Phase.reuse, Phase.generate]
    run_state_machine_as_test(
        machine,
        settings=settings(MODEL, max_examples=examples, stateful_step_count=25, phases=phases, **given),
    )


def test_every_answer_is_the_databases(machine: type[Library]) -> None:
    """Whatever is asked between whatever changes; and most of it is asked of the cache."""
    run(machine, max(MODEL.max_examples // 25, 6))
    assert sum(machine.hits.values()) > 20, machine.hits


@pytest.mark.parametrize("name", [*HISTORIES, *DEFECTS])
def test_a_short_history_is_right(name: str, machine: type[Library]) -> None:
    """What finds a mistake finds none where there is none; and what was wrong once is not any more."""
    play(machine, *(HISTORIES | DEFECTS)[name])


@pytest.mark.parametrize("model", EACH_ALONE)
def test_each_way_to_ask(model: str, machine: type[Library]) -> None:
    """Is right before and after a change, by itself, and held."""
    play(machine, *EACH_ALONE[model])


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_short_history_finds_a_mistake(
    mistake: str, machine: type[Library], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defective oxicache fails."""
    MISTAKES[mistake](monkeypatch)
    with pytest.raises(AssertionError):
        play(machine, *HISTORIES[mistake])


# What chance finds at once; the rest is rarer.
@pytest.mark.parametrize("mistake", ["words_do_not_move"])
def test_chance_finds_a_mistake(
    mistake: str, machine: type[Library], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so does the machine by itself: the same examples in each run, lest chance passes the mistake by."""
    MISTAKES[mistake](monkeypatch)
    with pytest.raises(AssertionError):
        run(machine, 300, derandomize=True, database=None, print_blob=False)
