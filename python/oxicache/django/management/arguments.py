"""Which verbs `manage_cache` has, which options they take, and what is said of a wrong combination.

The tables in docs/operations.md and the command's help are made from what stands here; a test holds them together.
"""

import argparse
import math
from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.core.management.base import CommandError

from oxicache.django.site import SELF
from oxicache.operations import MEASURES

__all__ = [
    "OPTIONS",
    "VERBS",
    "WRONG_USE",
    "Option",
    "Verb",
    "add_to",
    "check",
    "options_table",
    "process_id",
    "verbs_table",
]

WRONG_USE: Final = 2  # the exit code; also argparse's own
# Options that mean nothing together.
APART: Final = (
    ("watch", "output"),
    ("export", "json"),
    ("export", "watch"),
    ("schedule", "dry_run"),
    ("cancel", "schedule"),
    ("cancel", "dry_run"),
)
WATCH_SECONDS: Final = 2.0  # between two looks, where nothing else is said
WATCH_LEAST_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Verb:
    """What one verb does, and where it comes from."""

    name: str
    about: str
    source: str  # the document that has it: 001 (akvo), 003 (EnterpriseLand), or oxicache itself
    takes_key: bool = False


VERBS: Final = {
    verb.name: verb
    for verb in (
        Verb("stats", "Show what each cache holds", "001"),
        Verb("cleanup", "Remove expired entries", "001"),
        Verb("clear", "Remove every entry", "001, 003"),
        Verb("monitor", "Check the health of the caches, then show their figures", "001, 003"),
        Verb("status", "Show whether each alias works, the targets, and the workers", "003"),
        Verb("optimize", "Recommend what to change, by measured figures", "003"),
        Verb("warm", "Fill caches before they are asked", "003"),
        Verb(
            "invalidate",
            "Remove what has a tag, matches a pattern, or shows a model's rows",
            "003",
            takes_key=True,
        ),
        Verb("disable", "Switch caching off in every worker, without a restart", "oxicache"),
        Verb("enable", "Switch caching on again", "oxicache"),
        Verb("reset", "Let the counters begin again at zero", "oxicache"),
        Verb("explain", "Show every entry of a key, and who invalidated it", "oxicache", takes_key=True),
        Verb("top", "Show the key patterns that are used most", "oxicache"),
    )
}

READING = ("stats", "monitor", "status", "optimize", "explain", "top")
CHANGING = ("cleanup", "clear", "invalidate", "disable", "enable", "reset")
REPORTING = (*READING, *CHANGING)


@dataclass(frozen=True, slots=True)
class Option:
    """One option: how it is given, and which verbs take it."""

    flags: tuple[str, ...]
    verbs: tuple[str, ...]
    about: str
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What `call_command` and `handle` call it."""
        return str(self.settings.get("dest", self.flags[-1].lstrip("-").replace("-", "_")))

    @property
    def default(self) -> Any:
        """What it is where it is not given."""
        return self.settings.get("default", False if self.settings.get("action") == "store_true" else None)


def _option(*flags: str, verbs: tuple[str, ...], about: str, **settings: Any) -> Option:
    return Option(flags, verbs, about, settings)


def _seconds(text: str) -> float:
    seconds = float(text)
    if math.isnan(seconds) or seconds < WATCH_LEAST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds from {WATCH_LEAST_SECONDS:g} on")
    return seconds


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 1 on")
    return number


def process_id(text: str) -> str:
    """Return a pid, or "self"; what argparse calls for `--process`."""
    if text != SELF and not text.isdigit():
        raise argparse.ArgumentTypeError(f'{text!r} is neither a pid nor "{SELF}"')
    return text


OPTIONS: Final = (
    _option(
        "--cache-name",
        verbs=("stats", "cleanup", "clear", "monitor", "invalidate", "reset", "explain", "top"),
        about="Only this cache; an alias of CACHES is called django:ALIAS",
        metavar="NAME",
    ),
    _option("--json", verbs=REPORTING, about="Print JSON", action="store_true"),
    _option(
        "--dry-run",
        verbs=("cleanup", "clear", "invalidate", "disable", "stats", "monitor"),
        about="Change nothing, and count what would be removed",
        action="store_true",
    ),
    _option(
        "--process",
        verbs=REPORTING,
        about=f'Only the worker with this pid, or "{SELF}" for the process of the command',
        metavar="PID",
        type=process_id,
    ),
    _option("--output", verbs=REPORTING, about="Write the report to this file", metavar="FILE"),
    _option(
        "--export",
        verbs=("stats", "monitor"),
        about="Print the figures in this format",
        choices=("json", "prometheus"),
    ),
    _option(
        "--watch",
        verbs=READING,
        about=f"Show it again every so many seconds ({WATCH_SECONDS:g}), until Ctrl-C",
        metavar="SECONDS",
        type=_seconds,
        nargs="?",
        const=WATCH_SECONDS,
    ),
    _option(
        "--fail-on",
        verbs=("monitor", "status"),
        about="Exit with 1 when the caches are in this state or a worse one",
        choices=("warning", "critical"),
    ),
    _option(
        "--model",
        verbs=("warm", "invalidate"),
        about="A model, as app.Model",
        metavar="APP.MODEL",
    ),
    _option("--view", verbs=("warm",), about="A view, by the name of its URL", metavar="NAME"),
    _option("--api", verbs=("warm",), about="An endpoint", metavar="NAME"),
    _option(
        "--tags", verbs=("invalidate",), about="Entries with one of these tags", metavar="TAG", nargs="+"
    ),
    _option(
        "--pattern",
        verbs=("warm", "invalidate"),
        about="Keys that match a regular expression",
        metavar="REGEX",
    ),
    _option(
        "--cascade",
        verbs=("invalidate",),
        about="Also the models that refer to the named one, one level",
        action="store_true",
    ),
    _option(
        "--rows",
        verbs=("invalidate",),
        about="What was computed from these rows",
        metavar="APP.MODEL:PK",
        nargs="+",
    ),
    _option(
        "--alias",
        verbs=("invalidate",),
        about="Only in these aliases of CACHES, whatever their backend",
        metavar="ALIAS",
        nargs="+",
    ),
    _option(
        "--schedule",
        verbs=("warm", "invalidate"),
        about="warm: again every so many minutes; invalidate: once, in so many minutes, by a live worker",
        metavar="N",
        type=_positive,
    ),
    _option(
        "--cancel",
        verbs=("invalidate",),
        about="Take back the job that --schedule handed over",
        metavar="JOB",
    ),
    _option(
        "--noinput",
        "--no-input",
        verbs=("clear", "disable"),
        about="Do not ask, on a terminal either",
        action="store_false",
        dest="interactive",
        default=True,
    ),
    _option("--by", verbs=("top",), about="What to sort by (hits)", choices=MEASURES),
    _option(
        "--limit", verbs=("monitor", "top"), about="How many rows to show (10)", metavar="N", type=_positive
    ),
)


def add_to(parser: ArgumentParser) -> None:
    """Add the verb, its key and all options to the command's parser."""
    parser.add_argument("action", choices=tuple(VERBS), metavar="action", help=_verbs_help())
    keyed = ", ".join(verb.name for verb in VERBS.values() if verb.takes_key)
    parser.add_argument("key", nargs="?", help=f"The key, as the code that caches has it ({keyed})")
    for option in OPTIONS:
        help_ = f"{option.about} ({_named(option.verbs)})".replace("%", "%%")
        parser.add_argument(*option.flags, help=help_, **option.settings)


def _verbs_help() -> str:
    return "; ".join(f"{verb.name}: {verb.about}" for verb in VERBS.values()).replace("%", "%%")


def _named(verbs: tuple[str, ...], quote: str = "") -> str:
    if verbs == REPORTING:
        return f"every verb but {quote}warm{quote}"
    return ", ".join(f"{quote}{verb}{quote}" for verb in verbs)


def check(action: str, options: Mapping[str, Any]) -> None:
    """CommandError with exit code 2 for an option that the verb does not take, and for a missing or needless key."""
    if options.get("key") is not None and not VERBS[action].takes_key:
        keyed = ", ".join(verb.name for verb in VERBS.values() if verb.takes_key)
        raise CommandError(
            f"{action} takes no key, and {options['key']!r} was given; {keyed} do", returncode=WRONG_USE
        )
    if action == "explain" and options.get("key") is None:
        raise CommandError(
            "explain needs a key: manage_cache explain KEY [--cache-name NAME]", returncode=WRONG_USE
        )
    for option in OPTIONS:
        given = options.get(option.name, option.default)
        if action not in option.verbs and given != option.default and given is not None:
            raise CommandError(
                f"{option.flags[0]} does not apply to {action}; it applies to {', '.join(option.verbs)}",
                returncode=WRONG_USE,
            )
    for one, other in APART:
        if options.get(one) and options.get(other):
            named = f"--{one} and --{other.replace('_', '-')}"
            raise CommandError(f"{named} do not go together", returncode=WRONG_USE)
    if options.get("schedule") and options.get("process") == SELF:
        raise CommandError(
            f"--schedule needs a worker that stays; the process of the command, --process {SELF}, ends with it",
            returncode=WRONG_USE,
        )


def verbs_table() -> str:
    """The verbs as Markdown: a table in docs/operations.md."""
    rows = ["| verb | what it does | from |", "|---|---|---|"]
    for verb in VERBS.values():
        key = " KEY" if verb.name == "explain" else " [KEY]" if verb.takes_key else ""
        rows.append(f"| `{verb.name}{key}` | {verb.about} | {verb.source} |")
    return "\n".join(rows) + "\n"


def options_table() -> str:
    """The options as Markdown: the other table there."""
    rows = ["| option | what it does | verbs |", "|---|---|---|"]
    rows += [f"| `{_shown(option)}` | {option.about} | {_named(option.verbs, '`')} |" for option in OPTIONS]
    return "\n".join(rows) + "\n"


def _shown(option: Option) -> str:
    flag = option.flags[0]
    if "choices" in option.settings:
        return f"{flag} {'/'.join(option.settings['choices'])}"
    if "metavar" not in option.settings:
        return flag
    value = option.settings["metavar"]
    return {"?": f"{flag} [{value}]", "+": f"{flag} {value}..."}.get(
        option.settings.get("nargs", ""), f"{flag} {value}"
    )
