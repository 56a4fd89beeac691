"""`invalidate_caches` from a shell: exit codes, terminals, workers, aliases of other backends."""

import contextlib
import io
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import site_worker
from django.core.cache import caches
from django.core.management import CommandError, call_command
from django.test import override_settings
from django_app.test_manage_cache_workers import stopped
from site_worker import LiveSite, SiteWorker, a_site
from terminals import Terminal, on_terminal

pytestmark = pytest.mark.any_methods

NATIVE = "oxicache.django.backends.NativeCache"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
SETTINGS: dict[str, Any] = {
    "default": {"BACKEND": NATIVE},
    "prefixed": {"BACKEND": NATIVE, "LOCATION": "apart", "KEY_PREFIX": "shop", "VERSION": 7},
    "memory": {"BACKEND": LOCMEM, "LOCATION": "invalidate_caches"},
    "files": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": "/nowhere/oxicache",
    },
}
DONE = "Cache invalidation completed successfully!\n"


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[LiveSite, list[SiteWorker]]]:
    """A site with two workers, for tests that each use keys of their own."""
    native = {name: SETTINGS[name] for name in ("default", "prefixed")}
    with a_site(CACHES=native) as site, site.serving(2) as workers:
        yield site, workers


def set_everywhere(workers: list[SiteWorker], *keys: str, alias: str = "default", version: int = 1) -> None:
    """Store in each worker what was not there: a fill, so that none outdates the other's."""
    for key in keys:
        for worker in workers:
            worker.ask("call", alias, "get", [key], {"version": version})
            worker.ask("call", alias, "set", [key, "old"], {"version": version})


def held(worker: SiteWorker, *keys: str, alias: str = "default", version: int = 1) -> list[str]:
    return [key for key in keys if worker.ask("call", alias, "get", [key], {"version": version}) is not None]


@contextlib.contextmanager
def terminal(site: LiveSite, *arguments: str) -> Iterator[Terminal]:
    """The command on a terminal."""
    environment = {**site.environment(), "TERM": "xterm", "NO_COLOR": "1"}
    command = [sys.executable, site_worker.__file__, "invalidate_caches", *arguments]
    with on_terminal(command, environment) as shown:
        yield shown


class TestLiveWorkers:
    def test_a_pattern_goes_in_every_worker(self, pair: tuple[LiveSite, list[SiteWorker]]) -> None:
        """The count is the sum of what each had, and nothing else is touched."""
        site, workers = pair
        set_everywhere(workers, "one:dashboard:x", "one:dashboards", "one:y")
        done = site.manage("invalidate_caches", "--pattern", "dashboard")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == (
            f"\u2713 Cleared 2 cache keys\n2 of 2 workers answered in {site.folder}.\n{DONE}"
        )
        for worker in workers:
            assert held(worker, "one:dashboard:x", "one:dashboards", "one:y") == ["one:dashboards", "one:y"]

    def test_of_every_prefix_and_version(self, pair: tuple[LiveSite, list[SiteWorker]]) -> None:
        """Patterns are matched against keys as code writes them."""
        site, workers = pair
        set_everywhere(workers[:1], "two:k", alias="prefixed", version=7)
        set_everywhere(workers[:1], "two:k", alias="prefixed", version=8)
        set_everywhere(workers[:1], "two:k", version=3)
        done = site.manage("invalidate_caches", "--pattern", "two:*")
        assert done.stdout.startswith("\u2713 Cleared 3 cache keys\n")

    def test_a_dry_run_counts_and_removes_nothing(self, pair: tuple[LiveSite, list[SiteWorker]]) -> None:
        """Each worker has its own, and all are counted."""
        site, workers = pair
        set_everywhere(workers, "three:k")
        done = site.manage("invalidate_caches", "--pattern", "three", "--dry-run", "--json")
        shown = json.loads(done.stdout)
        assert shown["would_remove"]["django:default"] == 2
        assert shown["total"] == 2
        assert shown["exact"] is True
        assert shown["patterns"] == ["three", "three:*", "*:three", "*:three:*"]
        assert [held(worker, "three:k") for worker in workers] == [["three:k"]] * 2

    def test_a_worker_that_does_not_answer(self) -> None:
        """Exit code 1, and its entries are outdated all the same."""
        with a_site(CACHES={"default": SETTINGS["default"]}) as site, site.serving(2) as (well, hanging):
            set_everywhere([well, hanging], "a:k", "b:k")
            with stopped(hanging):
                done = site.manage("invalidate_caches", "--pattern", "a")
            assert done.returncode == 1
            assert done.stderr == f"CommandError: 1 of 2 workers answered; not {hanging.pid}\n"
            assert DONE not in done.stdout
            assert held(hanging, "a:k", "b:k") == ["b:k"]

    def test_nobody_is_alive(self) -> None:
        """That is said instead of a count; processes without a socket are reached."""
        with a_site(CACHES={"default": SETTINGS["default"]}) as site, SiteWorker(site) as silent:
            set_everywhere([silent], "a:k", "b:k")
            done = site.manage("invalidate_caches", "--pattern", "a")
            assert done.returncode == 0
            assert "Cleared" not in done.stdout
            assert f"No live worker of this site was found in {site.folder}.\n" in done.stdout
            assert (
                "Every process of this host finds none of it in django:default from now on.\n" in done.stdout
            )
            assert held(silent, "a:k", "b:k") == ["b:k"]

    def test_local_memory_of_each_worker(self) -> None:
        """A LocMemCache is each process' own: the command's, which is empty, says nothing about the workers'."""
        with a_site(CACHES={"default": SETTINGS["memory"]}) as site, site.serving(2) as workers:
            for worker in workers:
                worker.ask("call", "default", "set_many", [{"a:k": 1, "b:k": 1}], {})
            done = site.manage("invalidate_caches", "--pattern", "a")
            assert done.stdout == (
                "\u2713 Cleared 2 cache keys\n  in default: 2 entries\n"
                f"2 of 2 workers answered in {site.folder}.\n{DONE}"
            )
            assert [held(worker, "a:k", "b:k") for worker in workers] == [["b:k"]] * 2
            site.manage("invalidate_caches", "--all", "--process", str(workers[0].pid))
            assert [held(worker, "a:k", "b:k") for worker in workers] == [[], ["b:k"]]

    def test_one_worker_alone(self, pair: tuple[LiveSite, list[SiteWorker]]) -> None:
        """With a pid the others keep theirs."""
        site, workers = pair
        set_everywhere(workers, "four:k")
        site.manage("invalidate_caches", "--pattern", "four", "--process", str(workers[0].pid))
        assert [held(worker, "four:k") for worker in workers] == [[], ["four:k"]]

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ([], "give one of --pattern, --model, --all, --list-patterns, --list-models"),
            (["--all", "--pattern", "a"], "--pattern and --all do not go together"),
            (["--pattern", ""], "pattern must not be empty"),
            (["--pattern", "a", "--tenant-id", ""], "tenant must not be empty"),
            (["--model", "Nobody"], "'Nobody' is no model"),
            (["--pattern", "a", "--alias", "nobodys"], "'nobodys' is no alias of CACHES"),
            (["--pattern", "a", "--process", "1"], "no live worker has the pid 1"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_wrong_use_is_two(
        self, pair: tuple[LiveSite, list[SiteWorker]], arguments: list[str], says: str
    ) -> None:
        """The exit code is 2, and stderr says what is wrong."""
        done = pair[0].manage("invalidate_caches", *arguments)
        assert done.returncode == 2
        assert says in done.stderr
        assert "Traceback" not in done.stderr

    def test_patterns_that_are_used_are_listed(self, pair: tuple[LiveSite, list[SiteWorker]]) -> None:
        """What the workers count under, beside what is registered."""
        site, workers = pair
        set_everywhere(workers, "five:1")
        assert held(workers[0], "five:1") == ["five:1"]
        done = site.manage("invalidate_caches", "--list-patterns")
        assert done.returncode == 0
        assert "five:*" in done.stdout
        assert held(workers[0], "five:1") == ["five:1"]


class TestOnATerminal:
    @pytest.mark.parametrize(
        ("answer", "code"), [("CLEAR ALL\n", 0), ("yes\n", 1), ("clear all\n", 1), ("\x04", 1)]
    )
    def test_all_asks(self, answer: str, code: int) -> None:
        """004: 'Type "CLEAR ALL" to confirm: '. Nothing else is a confirmation."""
        with a_site(CACHES={"default": SETTINGS["default"]}) as site, site.serving(1) as (worker,):
            set_everywhere([worker], "k")
            with terminal(site, "--all") as shown:
                shown.read_until('Type "CLEAR ALL" to confirm: ')
                shown.type(answer)
                assert shown.end() == code
            assert ("Cancelled: nothing was cleared" in shown.written) == bool(code)
            assert held(worker, "k") == (["k"] if code else [])

    @pytest.mark.parametrize("flag", ["--noinput", "--no-input", "--dry-run"])
    def test_it_does_not_ask(self, pair: tuple[LiveSite, list[SiteWorker]], flag: str) -> None:
        """Where it was told not to, and where nothing is removed."""
        site, workers = pair
        set_everywhere(workers, "tenant:unasked:k")
        with terminal(site, "--all", "--tenant-id", "unasked", flag) as shown:
            assert shown.end() == 0
        assert "CLEAR ALL" not in shown.written
        assert held(workers[0], "tenant:unasked:k") == (["tenant:unasked:k"] if flag == "--dry-run" else [])


@pytest.fixture
def aliases() -> Iterator[None]:
    """Aliases of several backends in this process, which is the site while Django's test environment is set up."""
    with override_settings(CACHES={name: SETTINGS[name] for name in ("default", "memory", "files")}):
        for alias in ("default", "memory"):
            caches[alias].set_many({"a:k": 1, "a:l": 1, "b:k": 1})
        yield
        for alias in ("default", "memory"):
            caches[alias].clear()


def invalidate(*given: str) -> tuple[str, CommandError | None]:
    out = io.StringIO()
    try:
        call_command("invalidate_caches", *given, stdout=out)
    except CommandError as error:
        return out.getvalue(), error
    return out.getvalue(), None


def left(alias: str) -> list[str]:
    return [key for key in ("a:k", "a:l", "b:k") if key in caches[alias]]


@pytest.mark.usefixtures("aliases")
class TestAliases:
    def test_all_that_can_are_reached_and_the_others_named(self) -> None:
        """A backend that cannot list its entries is an error, and no 0."""
        said, error = invalidate("--pattern", "a")
        assert said.startswith("\u2713 Cleared 4 cache keys\n  in memory: 2 entries\n  files: the entries of")
        assert DONE not in said
        assert error is not None
        assert (error.returncode, "CACHES['files'] cannot be listed" in str(error)) == (1, True)
        assert [left(alias) for alias in ("default", "memory")] == [["b:k"]] * 2

    def test_one_that_was_named_and_cannot(self) -> None:
        """Exit code 2, and nothing was done anywhere."""
        said, error = invalidate("--pattern", "a", "--alias", "files", "memory")
        assert said == ""
        assert error is not None
        assert error.returncode == 2
        assert left("memory") == ["a:k", "a:l", "b:k"]

    def test_one_that_was_named(self) -> None:
        """The others are left alone."""
        said, error = invalidate("--pattern", "a", "--alias", "memory")
        assert (said, error) == (f"\u2713 Cleared 2 cache keys\n  in memory: 2 entries\n{DONE}", None)
        assert [left(alias) for alias in ("default", "memory")] == [["a:k", "a:l", "b:k"], ["b:k"]]

    def test_native_ones_that_were_named(self) -> None:
        """By the name of the alias."""
        said, error = invalidate("--pattern", "a", "--alias", "default")
        assert (said, error) == (f"\u2713 Cleared 2 cache keys\n{DONE}", None)
        assert left("memory") == ["a:k", "a:l", "b:k"]

    def test_a_dry_run_counts_them(self) -> None:
        """An entry that several of the globs match counts once."""
        said, error = invalidate("--pattern", "a", "--alias", "memory", "default", "--dry-run")
        assert error is None
        assert re.search(r"\ndjango:default(#\d+)? +2\nmemory +2\ntogether +4\n", said)
        assert left("memory") == ["a:k", "a:l", "b:k"]

    def test_all_empties_one_alias(self) -> None:
        """`--all --alias` is all of these."""
        said, error = invalidate("--all", "--alias", "memory")
        assert (said, error) == (f"\u2713 Cleared 3 cache keys\n  in memory: 3 entries\n{DONE}", None)
        assert [left(alias) for alias in ("default", "memory")] == [["a:k", "a:l", "b:k"], []]

    def test_all_empties_what_cannot_be_listed(self) -> None:
        """How many entries that were is unknown, and no 0."""
        said, error = invalidate("--all")
        assert error is None
        assert "  in files: an unknown number of entries\n" in said
        assert [left(alias) for alias in ("default", "memory")] == [[], []]


@pytest.mark.usefixtures("aliases")
class TestManageCache:
    def test_aliases_of_other_backends_are_named(self) -> None:
        """`manage_cache` acts on them where they are named, and by itself on what workers hold."""
        out = io.StringIO()
        call_command("manage_cache", "invalidate", "--pattern", "a:", stdout=out)
        assert [left(alias) for alias in ("default", "memory")] == [["b:k"], ["a:k", "a:l", "b:k"]]
        call_command("manage_cache", "invalidate", "--pattern", "a:", "--alias", "memory", stdout=out)
        assert left("memory") == ["b:k"]
        assert out.getvalue().endswith(
            "Invalidated 2 cache entries\n  pattern: 2 entries\n  in memory: 2 entries\n"
        )

    def test_a_key_needs_no_list(self) -> None:
        """So any backend has it deleted."""
        out = io.StringIO()
        call_command("manage_cache", "invalidate", "a:k", "--alias", "memory", "files", stdout=out)
        assert out.getvalue() == (
            "Invalidated 1 cache entries\n  keys: 1 entries\n  in memory: 1 entries\n  in files: 0 entries\n"
        )
        assert left("memory") == ["a:l", "b:k"]
