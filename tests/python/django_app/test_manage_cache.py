"""`manage_cache` as an operator meets it: options, output, errors. In this process, which is all that tests reach."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cache_worker import BACKEND
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.core.management.base import CommandParser
from django.test import override_settings
from project.projects.models import Project

from oxicache import TTLCache, cache_manager
from oxicache.django.management import arguments
from oxicache.django.management.commands.manage_cache import RUNS, Command

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def users() -> Iterator[TTLCache[Any, Any]]:
    """A named cache with three entries."""
    cache = cache_manager.get_cache("test.users", max_size=10, ttl=60)
    for number in range(3):
        cache.set(f"user:{number}", number, tags=["user"])
    yield cache
    cache_manager.remove("test.users")


def manage(*given: str, **options: Any) -> str:
    """What the command prints."""
    out = io.StringIO()
    call_command("manage_cache", *given, stdout=out, **options)
    return out.getvalue()


def refused(*given: str, **options: Any) -> CommandError:
    """The error that it ends with."""
    with pytest.raises(CommandError) as caught:
        manage(*given, **options)
    return caught.value


class TestVerbs:
    @pytest.mark.parametrize("verb", sorted(set(arguments.VERBS) - {"warm", "explain", "invalidate"}))
    def test_every_verb_prints_json(self, users: TTLCache[Any, Any], verb: str) -> None:
        """What `--json` prints is one JSON document."""
        try:
            assert isinstance(json.loads(manage(verb, "--json")), dict)
        finally:
            manage("enable")

    @pytest.mark.parametrize(
        "given", [("explain", "user:1"), ("invalidate", "--tags", "user")], ids=lambda given: given[0]
    )
    def test_verbs_with_an_argument_print_json(
        self, users: TTLCache[Any, Any], given: tuple[str, ...]
    ) -> None:
        """The same of those that need to know what."""
        assert isinstance(json.loads(manage(*given, "--json")), dict)

    def test_each_verb_is_run_by_one_function(self) -> None:
        """A verb that the parser takes is one that is done."""
        assert set(RUNS) == set(arguments.VERBS)

    def test_stats_shows_a_cache_of_this_process(self, users: TTLCache[Any, Any]) -> None:
        """Under Django's test environment the process that tests is the site."""
        assert "  Size: 3/10\n" in manage("stats", "--cache-name", "test.users")

    def test_clear_empties_one_cache(self, users: TTLCache[Any, Any]) -> None:
        """By its name."""
        assert manage("clear", cache_name="test.users") == "Cleared cache 'test.users'\n"
        assert len(users) == 0

    def test_invalidate_by_tags(self, users: TTLCache[Any, Any]) -> None:
        """Several tags after one option, from a shell and from Python."""
        assert manage("invalidate", "--tags", "nobodys", "user").startswith("Invalidated 3 cache entries\n")
        users.set("a", 1, tags=["user"])
        assert manage("invalidate", tags=["user"]).startswith("Invalidated 1 cache entries\n")

    def test_invalidate_by_key(self, users: TTLCache[Any, Any]) -> None:
        """One entry, as the code that caches names it."""
        manage("invalidate", "user:1", "--cache-name", "test.users")
        assert list(users.keys()) == ["user:0", "user:2"]

    def test_invalidate_by_model(self) -> None:
        """What was computed from its rows is computed again."""
        project = Project.objects.create(title="One")
        try:
            before = project.label()
            Project.objects.filter(pk=project.pk).update(title="Two")
            assert Project.objects.get(pk=project.pk).label() == before
            said = manage("invalidate", "--model", "projects.Project")
            assert said.startswith("Invalidated 0 cache entries\n")
            assert "  projects.Project: what was computed from its rows is outdated" in said
            assert Project.objects.get(pk=project.pk).label() != before
        finally:
            project.delete()  # no transaction takes it back

    def test_a_cascade_adds_the_models_that_refer_to_it(self) -> None:
        """One level of foreign keys; the report names them."""
        said = json.loads(manage("invalidate", "--model", "catalogue.Author", "--cascade", "--json"))
        assert said["models"]["catalogue.Author"]
        assert "catalogue.Author" not in said["models"]["catalogue.Author"]

    def test_explain_names_the_alias_of_a_backend(self) -> None:
        """A key of Django's cache is found under the name that code uses."""
        with override_settings(CACHES={"default": {"BACKEND": BACKEND, "LOCATION": "explained"}}):
            cache.set("explained", [1, 2])
            name = cache._store.name  # another test's store may be django:default
            said = manage("explain", "explained", "--cache-name", name)
        assert f"{name} (CACHES['default']), worker" in said
        assert "  state:     fresh\n" in said

    def test_disable_and_enable(self, users: TTLCache[Any, Any]) -> None:
        """Every get is a miss until it is enabled."""
        try:
            manage("disable")
            users.set("a", 1)
            assert users.get("a") is None
        finally:
            manage("enable")
        users.set("a", 1)
        assert users.get("a") == 1

    def test_top_sorts_by_what_is_asked(self, users: TTLCache[Any, Any]) -> None:
        """The heading says by what."""
        users.get("user:1")
        said = manage("top", "--by", "hits", "--limit", "1", "--cache-name", "test.users")
        assert said.startswith("Top Key Patterns by hits:\npattern")
        assert "user:*" in said


class TestExport:
    def test_prometheus(self, users: TTLCache[Any, Any]) -> None:
        """003: `monitor --export=prometheus` prints its figures and nothing else."""
        said = manage("monitor", "--export=prometheus")
        assert 'oxicache_entries{cache="test.users"} 3' in said
        assert all(re.match(r"#|\w+(\{.*\})? \S+$", line) for line in said.splitlines())
        own = manage("stats", "--export", "prometheus", "--cache-name", "test.users")
        assert set(re.findall(r'cache="([^"]+)"', own)) == {"test.users"}

    def test_json(self, users: TTLCache[Any, Any]) -> None:
        """003: `--export=json` is its dashboard's figures, without 001's shape around them."""
        assert {"hit_rate", "key_statistics"} <= set(json.loads(manage("monitor", "--export", "json")))

    def test_a_report_goes_into_a_file(self, users: TTLCache[Any, Any], tmp_path: Path) -> None:
        """003: `optimize --output=recommendations.json` writes JSON, and says where."""
        path = tmp_path / "recommendations.json"
        assert manage("optimize", f"--output={path}") == f"Wrote {path}\n"
        assert "recommendations" in json.loads(path.read_text())

    @pytest.mark.parametrize(
        ("given", "begins"),
        [
            (("stats", "--cache-name", "test.users"), "Cache Statistics\n"),
            (("stats", "--json"), "{\n"),
            (("monitor", "--export", "prometheus"), "# HELP "),
            (("top",), "Top Key Patterns"),
            (("cleanup",), "Cleaned 0 expired"),
        ],
        ids=["text", "json", "prometheus", "table", "change"],
    )
    def test_every_report_can(
        self, users: TTLCache[Any, Any], tmp_path: Path, given: tuple[str, ...], begins: str
    ) -> None:
        """A file gets what the screen would have got, ending with one line end."""
        path = tmp_path / "report"
        manage(*given, "--output", str(path))
        text = path.read_text()
        assert text.startswith(begins)
        assert text.endswith("\n")
        assert not text.endswith("\n\n")

    def test_who_reads_the_file_meanwhile_finds_a_whole_one(
        self, users: TTLCache[Any, Any], tmp_path: Path
    ) -> None:
        """It is replaced: an open file keeps the old text, and its mode and its being a link stay."""
        path, link = tmp_path / "report", tmp_path / "link"
        path.write_text("old")
        path.chmod(0o640)
        link.symlink_to(path)
        with path.open() as reader:
            manage("stats", "--output", str(link))
            assert reader.read() == "old"
        assert path.read_text().startswith("Cache Statistics")
        assert (link.is_symlink(), path.stat().st_mode & 0o777) == (True, 0o640)
        assert sorted(tmp_path.iterdir()) == [link, path]

    def test_what_is_no_file_is_written_into(self, users: TTLCache[Any, Any]) -> None:
        """/dev/null stays what it is."""
        manage("stats", "--output", "/dev/null")
        assert not Path("/dev/null").is_file()

    @pytest.mark.parametrize("place", ["missing/report", "."], ids=["no folder", "a folder"])
    def test_a_file_that_cannot_be_written(
        self, users: TTLCache[Any, Any], tmp_path: Path, place: str
    ) -> None:
        """The error names the file and why; the exit code is 2, and nothing is left behind."""
        error = refused("stats", "--output", str(tmp_path / place))
        assert re.match(rf"Cannot write {re.escape(str(tmp_path / place))}: \w+", str(error))
        assert error.returncode == 2
        assert not list(tmp_path.iterdir())


class TestWrongUse:
    @pytest.mark.parametrize(
        ("given", "why"),
        [
            (("stats", "--tags", "a"), "--tags does not apply to stats; it applies to invalidate"),
            (
                ("clear", "--model", "auth.User"),
                "--model does not apply to clear; it applies to warm, invalidate",
            ),
            (
                ("status", "--cache-name", "a"),
                "--cache-name does not apply to status; it applies to stats, cleanup",
            ),
            (("cleanup", "--watch"), "--watch does not apply to cleanup; it applies to stats, monitor"),
            (("stats", "--noinput"), "--noinput does not apply to stats; it applies to clear, disable"),
            (("stats", "key"), "stats takes no key, and 'key' was given; invalidate, explain do"),
            (("explain",), "explain needs a key: manage_cache explain KEY"),
            (("stats", "--watch", "--output", "f"), "--watch and --output do not go together"),
            (("monitor", "--export", "json", "--json"), "--export and --json do not go together"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_what_does_not_go_together(self, given: tuple[str, ...], why: str) -> None:
        """Exit code 2, and what would."""
        error = refused(*given)
        assert str(error).startswith(why)
        assert error.returncode == 2

    @pytest.mark.parametrize(
        ("given", "why"),
        [
            (("fly",), "invalid choice: 'fly'"),
            (("stats", "--watch", "0"), "0 is no number of seconds from 0.1 on"),
            (("stats", "--watch", "nan"), "nan is no number of seconds"),
            (("top", "--limit", "0"), "0 is no whole number from 1 on"),
            (("top", "--by", "colour"), "invalid choice: 'colour'"),
            (("stats", "--process", "me"), "'me' is neither a pid nor"),
            (("monitor", "--fail-on", "healthy"), "invalid choice: 'healthy'"),
            (("stats", "--nonsense"), "unrecognized arguments: --nonsense"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_what_means_nothing(self, given: tuple[str, ...], why: str) -> None:
        """The parser says what is wrong."""
        assert why in str(refused(*given))

    @pytest.mark.parametrize("verb", ["stats", "cleanup", "clear", "monitor", "reset", "top"])
    def test_an_unknown_cache(self, users: TTLCache[Any, Any], verb: str) -> None:
        """Exit code 2; the error lists what exists, and the document's own words stand on stdout."""
        out = io.StringIO()
        with pytest.raises(CommandError, match=r"'nobodys' not found; these exist: .*test\.users") as caught:
            call_command("manage_cache", verb, cache_name="nobodys", stdout=out)
        assert caught.value.returncode == 2
        assert out.getvalue() == "Cache 'nobodys' not found\n"

    @pytest.mark.parametrize(
        ("given", "why"),
        [
            (("invalidate",), "nothing is selected"),
            (("invalidate", "--model", "nobody.Knows"), "is no model"),
            (("invalidate", "--model", "Nobody"), "'Nobody' is no model; write it as"),
            (("invalidate", "--pattern", "^user:("), "pattern"),
            (("invalidate", "--pattern", "(?=user)"), "pattern"),
            (("invalidate", "--rows", "auth.User"), 'write it as "app.Model:pk"'),
            (("invalidate", "--rows", "auth.User:x"), "'x' is no primary key of auth.User"),
            (
                ("invalidate", "--tags", "a", "--alias", "nobodys"),
                "'nobodys' is no alias of CACHES; these are: default",
            ),
            (("warm",), "warming is not configured"),
            (("warm", "--model", "auth.User", "--schedule", "5"), "warming is not configured"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_what_cannot_be_done(self, given: tuple[str, ...], why: str) -> None:
        """003: "Cache operation failed: ..."; here with exit code 2, as nothing was done."""
        error = refused(*given)
        assert str(error).startswith("Cache operation failed: ")
        assert why in str(error)
        assert error.returncode == 2


class TestFailOn:
    @pytest.mark.parametrize(
        ("full", "fail_on", "ends"),
        [(10, "warning", 1), (10, "critical", 1), (9, "warning", 1), (9, "critical", 0), (5, "warning", 0)],
    )
    def test_the_exit_code_tells_the_state(self, full: int, fail_on: str, ends: int) -> None:
        """As bad as that, or worse, is 1; the report is printed before."""
        high = {"GLOBAL_UTILIZATION_HIGH": 100, "GLOBAL_UTILIZATION_MEDIUM": 100, "MEMORY_HIGH": 100}
        cache = cache_manager.get_cache("test.full", max_size=10)
        try:
            for number in range(full):
                cache.set(number, number)
            out = io.StringIO()
            with override_settings(OXICACHE={"THRESHOLDS": high}):
                try:
                    call_command(
                        "manage_cache", "monitor", cache_name="test.full", fail_on=fail_on, stdout=out
                    )
                    code = 0
                except CommandError as error:
                    code = error.returncode
            assert code == ends
            assert out.getvalue().startswith("Cache Health Monitor\n")
        finally:
            cache_manager.remove("test.full")


class TestHelp:
    def parser(self) -> CommandParser:
        return Command().create_parser("manage.py", "manage_cache")

    def test_every_verb_and_option_is_in_the_help(self) -> None:
        """With the verbs that take it."""
        shown = " ".join(self.parser().format_help().split())
        for verb in arguments.VERBS.values():
            assert f"{verb.name}: {verb.about}" in shown
        for option in arguments.OPTIONS:
            assert option.about in shown

    def test_the_parser_has_no_option_that_is_not_checked(self) -> None:
        """Beside Django's own."""
        django = {
            "help",
            "version",
            "verbosity",
            "settings",
            "pythonpath",
            "traceback",
            "no_color",
            "force_color",
        }
        own = {action.dest for action in self.parser()._actions} - django - {"skip_checks", "action", "key"}
        assert own == {option.name for option in arguments.OPTIONS}

    @pytest.mark.parametrize("name", ["verbs", "options"])
    def test_the_documentation_has_the_tables(self, name: str) -> None:
        """What docs/operations.md lists is what arguments.py generates."""
        page = (ROOT / "docs" / "operations.md").read_text()
        table = page.partition(f"arguments.{name}_table -->\n")[2].partition(f"<!-- {name}: end -->")[0]
        assert table.strip() == getattr(arguments, f"{name}_table")().strip()

    def test_every_verb_of_an_option_exists(self) -> None:
        """No option is for a verb that is spelt otherwise."""
        assert {verb for option in arguments.OPTIONS for verb in option.verbs} <= set(arguments.VERBS)


class TestStartUp:
    def test_system_checks_do_not_stand_in_the_way(self) -> None:
        """An operator's command runs while the database is down, too."""
        assert list(Command.requires_system_checks) == []

    def test_commands_load_no_views(self) -> None:
        """Starting a command imports what it needs: neither the demo nor the views."""
        source = (
            "import django, sys; django.setup();"
            "import oxicache.django.management.commands.manage_cache;"
            "print([name for name in sys.modules if name.startswith(('oxicache.demo', 'oxicache.django.views'))])"
        )
        done = subprocess.run(
            [sys.executable, "-c", source],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT / "tests",
            timeout=90,
        )
        assert done.stdout == "[]\n"
