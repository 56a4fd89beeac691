"""Document 001 (akvo), "Memory Protection API Reference": its signatures, shapes and examples, one by one."""

# Long because the document shows 54 blocks of code, and each is checked by itself.

import dataclasses
import gc
import inspect
import io
import json
import logging
import types
from collections.abc import Iterator
from typing import Any, Optional

import pytest
from django.core.management import call_command, load_command_class
from django.test import override_settings
from document_pages import Example, example, examples

from oxicache import DELETION_SET, TTLCache, cache_manager
from oxicache.compat import akvo_rsr
from oxicache.django import conf

TYPING = {"Any": Any, "Optional": Optional, "Dict": dict}
DEFAULTS = {"DEFAULT_CACHE_MAX_SIZE": 1000, "DEFAULT_CACHE_TTL": 3600}


@pytest.fixture(autouse=True)
def _own(django_databases: None) -> Iterator[None]:
    """Caches that an example makes are removed again, and nothing stays tracked."""
    gc.collect()  # what other tests' aliases left behind is counted until then
    before = set(cache_manager.names())
    yield
    for name in set(cache_manager.names()) - before:
        cache_manager.remove(name)
    DELETION_SET.clear_all()


@pytest.fixture
def cache() -> TTLCache[Any, Any]:
    return TTLCache(max_size=500, ttl=1800)


def record(**fields: Any) -> types.SimpleNamespace:
    return types.SimpleNamespace(**fields)


class TestSignatures:
    @examples(
        "001",
        ("TTLCache Class", 1),
        ("CacheManager Class", 1),
        ("ProjectDeletionTracker Class", 1),
    )
    def test_classes(self, shown: Example) -> None:
        """Each is a class of the dialect, with a docstring."""
        name = shown.key.heading.removesuffix(" Class")
        assert name in shown.run()
        assert isinstance(getattr(akvo_rsr, name), type)
        assert inspect.getdoc(getattr(akvo_rsr, name))

    def check(self, shown: Example, function: Any, bound: int) -> None:
        """What the document gives can be given here, by position and by name; what may be omitted there may be here."""
        there = list(
            inspect.signature(shown.signature(**TYPING, **DEFAULTS, TTLCache=TTLCache)).parameters.values()
        )
        here = list(inspect.signature(function).parameters.values())
        there, here = there[bound:], here[bound:]
        for documented, found in zip(there, here, strict=False):
            assert found.kind in {found.POSITIONAL_OR_KEYWORD, found.POSITIONAL_ONLY}
            assert documented.name == found.name or found.kind is found.POSITIONAL_ONLY
            assert (documented.default is documented.empty) == (found.default is found.empty)
        assert len(here) >= len(there)
        for further in here[len(there) :]:
            assert further.default is not further.empty or further.kind is further.VAR_KEYWORD

    @examples(
        "001",
        ("TTLCache Class / Constructor", 1),
        ("CacheManager Class / Constructor", 1),
        ("ProjectDeletionTracker Class / Constructor", 1),
    )
    def test_constructors(self, shown: Example) -> None:
        """They take what is documented, and need nothing."""
        made = getattr(akvo_rsr, shown.key.heading.removesuffix(" Class / Constructor"))
        there = inspect.signature(shown.signature(**DEFAULTS)).parameters
        here = inspect.signature(made).parameters
        assert list(here)[: len(there) - 1] == list(there)[1:]
        made()

    @examples(
        "001",
        ("get(key)", 1),
        ("set(key, value)", 1),
        ("clear()", 1),
        ("stats()", 1),
        ("_cleanup_expired()", 1),
    )
    def test_methods_of_a_cache(self, shown: Example) -> None:
        """By the documented names."""
        self.check(shown, getattr(TTLCache, shown.key.heading.partition("(")[0]), 1)

    @examples(
        "001",
        ("get_cache(name, max_size, ttl)", 1),
        ("cleanup_all()", 1),
        ("clear_all()", 1),
        ("get_global_stats()", 1),
    )
    def test_methods_of_the_manager(self, shown: Example) -> None:
        """By the documented names."""
        self.check(shown, getattr(akvo_rsr.CacheManager, shown.key.heading.partition("(")[0]), 1)

    @examples(
        "001",
        ("add(project_id)", 1),
        ("discard(project_id)", 1),
        ("force_cleanup()", 1),
        ("_maybe_cleanup()", 1),
        ("_cleanup_stale_entries(current_time)", 1),
        ("__contains__(project_id)", 1),
    )
    def test_methods_of_the_tracker(self, shown: Example) -> None:
        """By the documented names, but for the argument of `in`, which has none."""
        self.check(shown, getattr(akvo_rsr.ProjectDeletionTracker, shown.key.heading.partition("(")[0]), 1)

    @examples("001", ("@ttl_cached_property", 1), ("@cached_method", 1))
    def test_decorators(self, shown: Example) -> None:
        """Ttl and max_size, which may both be omitted."""
        self.check(shown, getattr(akvo_rsr, shown.key.heading.removeprefix("@")), 0)


def same_shape(documented: Any, found: Any) -> None:
    """The documented keys first and in their order, each value of the type that is named."""
    assert list(found)[: len(documented)] == list(documented)
    for name, kind in documented.items():
        if isinstance(kind, dict):
            same_shape(kind, found[name])
        else:
            assert isinstance(found[name], (int, float) if kind is float else kind), name


class TestShapes:
    @example("001", "stats()", 2)
    def test_stats(self, shown: Example, cache: TTLCache[Any, Any]) -> None:
        """What `stats` returns, in the documented order."""
        same_shape(shown.evaluated(), cache.stats())

    @example("001", "cleanup_all()", 2)
    def test_cleanup_all(self, shown: Example) -> None:
        """A number for the name of each cache."""
        documented = shown.evaluated()
        for name in documented:
            cache_manager.get_cache(name)
        found = cache_manager.cleanup_all()
        assert documented.keys() <= found.keys()
        assert all(isinstance(found[name], kind) for name, kind in documented.items())

    @example("001", "get_global_stats()", 2)
    def test_get_global_stats(self, shown: Example) -> None:
        """The figures of each cache, and `_global` after them."""
        documented = shown.evaluated()
        cache_manager.get_cache("cache_name_1").set("a", 1)
        found = cache_manager.get_global_stats()
        assert list(found)[-1] == list(documented)[-1] == "_global"
        same_shape(documented, {name: found[name] for name in documented})


class TestCaches:
    @example("001", "TTLCache Class / Constructor", 2)
    def test_constructor(self, shown: Example) -> None:
        """500 entries, half an hour."""
        made = shown.run(TTLCache=akvo_rsr.TTLCache)["cache"]
        assert (made.max_size, made.ttl) == (500, 1800)

    @example("001", "get(key)", 2)
    def test_get(self, shown: Example, cache: TTLCache[Any, Any]) -> None:
        """Computed once, found afterwards."""
        calls: list[int] = []
        for _ in range(2):
            names = shown.run(cache=cache, expensive_computation=lambda: calls.append(1) or "computed")
            assert names["value"] == "computed"
        assert calls == [1]

    @example("001", "set(key, value)", 2)
    def test_set(self, shown: Example, cache: TTLCache[Any, Any]) -> None:
        """A dict, as it was given."""
        shown.run(cache=cache)
        assert cache.get("user_123") == {"name": "John", "email": "john@example.com"}

    @example("001", "clear()", 2)
    def test_clear(self, shown: Example, cache: TTLCache[Any, Any]) -> None:
        """Nothing is left."""
        cache.set("a", 1)
        shown.run(cache=cache)
        assert len(cache) == 0

    @example("001", "stats()", 3)
    def test_stats(
        self, shown: Example, cache: TTLCache[Any, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The utilization in percent."""
        cache.set("a", 1)
        shown.run(cache=cache)
        assert capsys.readouterr().out == "Cache utilization: 0.2%\n"


class TestManager:
    @example("001", "get_cache(name, max_size, ttl)", 2)
    def test_get_cache(self, shown: Example) -> None:
        """Two caches, each with its size and ttl, registered under their names."""
        names = shown.run(cache_manager=cache_manager)
        made = [names["user_cache"], names["project_cache"]]
        assert [(one.max_size, one.ttl) for one in made] == [(500, 1800), (200, 3600)]
        assert made == [cache_manager.get_cache(name) for name in ("users", "projects")]

    @example("001", "cleanup_all()", 3)
    def test_cleanup_all(self, shown: Example, capsys: pytest.CaptureFixture[str], wall: Any) -> None:
        """How many entries of all caches were expired."""
        for name in ("users", "projects"):
            cache_manager.get_cache(name, ttl=60).set("a", 1)
        wall.advance(60)
        cache_manager.get_cache("users").set("b", 2)
        shown.run(cache_manager=cache_manager)
        assert capsys.readouterr().out == "Cleaned 2 expired entries\n"

    @example("001", "clear_all()", 2)
    def test_clear_all(self, shown: Example) -> None:
        """Entries of every cache go."""
        for name in ("users", "projects"):
            cache_manager.get_cache(name).set("a", 1)
        shown.run(cache_manager=cache_manager)
        assert [len(cache_manager.get_cache(name)) for name in ("users", "projects")] == [0, 0]

    @example("001", "get_global_stats()", 3)
    def test_get_global_stats(self, shown: Example, capsys: pytest.CaptureFixture[str]) -> None:
        """How many caches there are, and how full they are together."""
        names = cache_manager.names()
        used, room = (
            sum(cache_manager.get_cache(name).stats()[figure] for name in names)
            for figure in ("size", "max_size")
        )
        shown.run(cache_manager=cache_manager)
        utilization = used / room * 100 if room else 0
        assert capsys.readouterr().out == (
            f"Total caches: {len(names)}\nGlobal utilization: {utilization:.1f}%\n"
        )

    @example("001", "cache_manager")
    def test_the_one_manager(self, shown: Example) -> None:
        """What is imported is the manager that everything else uses."""
        found = shown.run(CacheManager=akvo_rsr.CacheManager)["cache_manager"]
        assert found is cache_manager
        assert isinstance(found, akvo_rsr.CacheManager)


class TestDecorators:
    @example("001", "@ttl_cached_property", 2)
    def test_ttl_cached_property(self, shown: Example) -> None:
        """Computed once, and anew after `del`."""
        model = shown.run(ttl_cached_property=akvo_rsr.ttl_cached_property)["MyModel"]()
        model.complex_data_processing = lambda: [1, 2, 3]
        assert model.expensive_calculation == 6
        model.complex_data_processing = lambda: [4]
        assert model.expensive_calculation == 6
        model.forget()
        assert model.expensive_calculation == 4

    @example("001", "@cached_method", 2)
    def test_cached_method(self, shown: Example) -> None:
        """By its arguments, those too that are omitted."""

        class Rows(list[Any]):
            def filter(self, field: str) -> list[Any]:
                return [one for one in self if one.field == field]

        model = shown.run(cached_method=akvo_rsr.cached_method)["MyModel"]()
        model.objects = Rows(record(field="x", number=number) for number in range(20))
        assert [one.number for one in model.expensive_query("x")] == list(range(10))
        model.objects = Rows()
        assert len(model.expensive_query("x", limit=10)) == 10
        assert model.expensive_query("x", limit=11) == []


class TestTracker:
    @example("001", "add(project_id)", 2)
    def test_add(self, shown: Example) -> None:
        """While it is deleted its id is tracked, and afterwards not, though Django has taken the id from it."""
        seen: list[bool] = []
        project = record(pk=3, id=3)

        def delete() -> None:
            seen.append(3 in DELETION_SET)
            project.pk = project.id = None

        project.delete = delete
        shown.run(DELETION_SET=DELETION_SET, project=project)
        assert (seen, 3 in DELETION_SET) == ([True], False)

    @example("001", "discard(project_id)", 2)
    def test_discard(self, shown: Example) -> None:
        """Tracked or not."""
        DELETION_SET.add(3)
        for _ in range(2):
            shown.run(DELETION_SET=DELETION_SET, project=record(id=3))
            assert 3 not in DELETION_SET

    @example("001", "__contains__(project_id)", 2)
    def test_contains(self, shown: Example) -> None:
        """A handler passes over projects that are being deleted."""
        processed: list[int] = []
        handler = shown.run(DELETION_SET=DELETION_SET, processed=processed)["handler"]
        DELETION_SET.add(3)
        for pk in (3, 4):
            handler(record(id=pk))
        assert processed == [4]

    @example("001", "force_cleanup()", 2)
    def test_force_cleanup(self, shown: Example, capsys: pytest.CaptureFixture[str], wall: Any) -> None:
        """How many stale entries went."""
        for pk in (1, 2):
            DELETION_SET.add(pk)
        DELETION_SET._timestamps[1] = wall.now - 3601
        shown.run(DELETION_SET=DELETION_SET)
        assert capsys.readouterr().out == "Removed 1 stale deletion entries\n"
        assert (1 in DELETION_SET, 2 in DELETION_SET) == (False, True)

    @example("001", "DELETION_SET")
    def test_the_one_tracker(self, shown: Example) -> None:
        """What is imported is the tracker that everything else uses."""
        found = shown.run(ProjectDeletionTracker=akvo_rsr.ProjectDeletionTracker)["DELETION_SET"]
        assert found is DELETION_SET
        assert isinstance(found, akvo_rsr.ProjectDeletionTracker)


class TestConfiguration:
    @example("001", "Default Settings")
    def test_default_settings(self, shown: Example) -> None:
        """The constants of the dialect have the documented values."""
        documented = {name: value for name, value in shown.run().items() if name.isupper()}
        assert documented == {name: getattr(akvo_rsr, name) for name in documented}
        assert len(documented) == 6

    @example("001", "Django Settings")
    def test_django_settings(self, shown: Example) -> None:
        """They say what the defaults say, and are read: so are others in their place."""
        documented = {name: value for name, value in shown.run().items() if name.startswith("RSR_")}
        with override_settings(**documented):
            assert conf.current() == conf.defaults()
        with override_settings(**{name: value + 7 for name, value in documented.items()}):
            read = conf.current()
        names = [field.name for field in dataclasses.fields(read)]
        changed = [(getattr(read, name), getattr(conf.defaults(), name)) for name in names]
        assert sorted(documented.values()) == sorted(now - 7 for now, before in changed if now != before)


class TestErrors:
    @example("001", "Error Recovery")
    @pytest.mark.parametrize("works", [True, False])
    def test_cache_failures(
        self, shown: Example, cache: TTLCache[Any, Any], caplog: pytest.LogCaptureFixture, *, works: bool
    ) -> None:
        """With a cache, and with something else in its place."""
        names = shown.run(
            cache=cache if works else None,
            key="a",
            fallback_computation=lambda: 9,
            logger=logging.getLogger("example"),
        )
        assert names["result"] == 9
        assert (cache.get("a"), len(caplog.records)) == ((9, 0) if works else (None, 1))

    @example("001", "Error Recovery", 2)
    def test_deletion_tracking_failures(self, shown: Example, caplog: pytest.LogCaptureFixture) -> None:
        """Nothing fails, and nothing stays tracked."""
        shown.run(DELETION_SET=DELETION_SET, project_id=4, logger=logging.getLogger("example"))
        assert 4 not in DELETION_SET
        assert not caplog.records


def told(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


class TestCommands:
    """Each as it is typed; what they print to the byte: test_akvo_commands.py."""

    @examples("001", ("manage_cache Command", 1), ("cleanup_deletion_tracker Command", 1))
    def test_synopses(self, shown: Example) -> None:
        """The command is there, with the actions and options that the document goes on to name."""
        [[name, *_]] = shown.commands()
        parser = load_command_class("oxicache.django", name).create_parser("manage.py", name)
        options = {"manage_cache": ("--cache-name", "--json", "--dry-run")}.get(
            name, ("--stats", "--dry-run")
        )
        assert all(option in parser.format_help() for option in options)
        for action in ("stats", "cleanup", "clear", "monitor") if name == "manage_cache" else ():
            parser.parse_args([action])

    @examples("001", ("Actions", 1), ("Actions", 2), ("Actions", 3), ("Actions", 4))
    def test_actions(self, shown: Example, wall: Any) -> None:
        """With each of the options in brackets, and with none."""
        [[name, action, *optional]] = shown.commands()
        cache_manager.get_cache("NAME", ttl=60).set("a", 1)
        wall.advance(60)
        found = [told(name, action)]
        for words in " ".join(optional).strip("[]").split("] ["):
            found.append(told(name, action, *words.split()))
            if words == "--json":
                assert isinstance(json.loads(found[-1]), dict)
        assert all(found)
        assert len(cache_manager.get_cache("NAME")) == (1 if action in {"stats", "monitor"} else 0)

    @example("001", "Examples")
    def test_cleanup_deletion_tracker(self, shown: Example, wall: Any) -> None:
        """Statistics, what would go, and then it goes."""
        DELETION_SET.add(1)
        DELETION_SET._timestamps[1] = wall.now - 3601
        first, second, third = (told(*words) for words in shown.commands())
        assert first.startswith("Deletion tracker stats:\n  Active deletions: 1\n")
        assert second == "Would clean up 1 stale deletion tracker entries:\n  Project IDs: 1\n"
        assert third == "Successfully cleaned up 1 stale deletion tracker entries\n"
        assert 1 not in DELETION_SET
