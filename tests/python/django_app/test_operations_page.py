"""docs/operations.md: every command it shows exists with these options, and those that need no other site run."""

import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command, load_command_class
from django.core.management.base import BaseCommand

from oxicache import _native, jobs
from oxicache.django import conf
from oxicache.django.management import arguments

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "operations.md").read_text()
README = (ROOT / "README.md").read_text()
COMMANDS = ("manage_cache", "cleanup_deletion_tracker", "invalidate_caches")
# As they are typed: after a prompt, in a cron table, in a sentence.
TYPED = re.compile(rf"python (?:-m django|manage\.py) ((?:{'|'.join(COMMANDS)})\b[^|>&\n`]*)")
SHOWN = sorted({match.strip() for match in TYPED.findall(PAGE)})
REFUSED = "manage_cache stats --cache-name nope"
OF_THE_DEMO = ("--cache-name", "--process", "atlas.")  # what only the demo's site has
RUNNABLE = [typed for typed in SHOWN if not any(word in typed for word in OF_THE_DEMO)]


@pytest.fixture(autouse=True)
def _enabled() -> Iterator[None]:
    """One of the commands disables all caches, and one has something done later."""
    yield
    _native.set_enabled(True)
    for job in jobs.waiting():
        jobs.cancel(job.id)


def command(name: str) -> BaseCommand:
    return load_command_class("oxicache.django", name)


class TestCommands:
    def test_the_page_shows_each_verb_that_the_issue_asks_for(self) -> None:
        """Output of all of them was pasted."""
        prompts = re.findall(r"^\$ (.*)$", PAGE, re.MULTILINE)
        shown = {match for prompt in prompts for match in TYPED.findall(prompt)}
        begins = {" ".join(typed.split()[:2]) for typed in shown}
        wanted = {"stats", "top", "explain", "clear", "monitor", "status", "cleanup", "invalidate", "reset"}
        wanted |= {"disable", "enable"}
        assert {f"manage_cache {verb}" for verb in wanted} <= begins
        assert any("stats" in typed and "--json" in typed for typed in shown)
        assert any("clear --dry-run" in typed for typed in shown)
        assert any("--export=prometheus" in typed for typed in shown)
        assert "cleanup_deletion_tracker --stats" in shown

    @pytest.mark.parametrize("typed", SHOWN)
    def test_a_command_of_the_page_is_understood(self, typed: str) -> None:
        """The verb exists, takes these options, and they go together."""
        name, *words = shlex.split(typed)
        parser = command(name).create_parser("manage.py", name)
        options = vars(parser.parse_args(words))
        if name == "manage_cache":
            arguments.check(options["action"], options)

    @pytest.mark.parametrize("typed", [typed for typed in RUNNABLE if "--output" not in typed])
    def test_a_command_of_the_page_runs(self, typed: str) -> None:
        """It ends well, on whatever caches this process has."""
        name, *words = shlex.split(typed)
        said = io.StringIO()
        call_command(name, *words, stdout=said)
        assert said.getvalue().strip()

    def test_wrong_use_is_refused_as_the_page_says(self) -> None:
        """With exit code 2."""
        assert REFUSED in SHOWN
        name, *words = shlex.split(REFUSED)
        with pytest.raises(CommandError) as caught:
            call_command(name, *words, stdout=io.StringIO())
        assert caught.value.returncode == arguments.WRONG_USE

    def test_the_readme_names_verbs_that_exist(self) -> None:
        """Each verb in the README's table of commands is one, and so is each option beside it."""
        rows = re.findall(
            r"^\| `manage\.py (manage_cache|cleanup_deletion_tracker)(.*)$", README, re.MULTILINE
        )
        assert len(rows) == 7
        verbs, options = set(), set()
        for name, rest in rows:
            first, _, about = rest.partition(" | ")
            verbs |= set(re.findall(r"\b([a-z]+)\b", first)) if name == "manage_cache" else set()
            options |= {(name, option) for option in re.findall(r"`(--[a-z-]+)", about)}
        assert verbs == set(arguments.VERBS) - {"warm"}
        for name, option in options:
            parser = command(name).create_parser("manage.py", name)
            assert option in parser._option_string_actions, (name, option)


class TestFacts:
    def test_the_size_of_the_trail_is_the_default(self) -> None:
        """The page names the number that the code has."""
        assert re.search(rf"\b{conf.defaults().trail_size} unless the setting says otherwise", PAGE)

    def test_every_setting_of_the_page_exists(self) -> None:
        """OXICACHE["..."] names a key that conf.py knows."""
        named = set(re.findall(r'OXICACHE\["([A-Z_]+)"\]', PAGE))
        assert named
        assert named <= set(conf._KEYS)
