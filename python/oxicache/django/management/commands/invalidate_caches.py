"""`invalidate_caches`: removes what a key pattern or a model stands for, for one tenant or all, or everything.

Argument parsing and printing; what is done is in oxicache.operations. Where `manage_cache invalidate` acts on the
workers and on the aliases that are named, this command acts on all of both.
"""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from oxicache import operations
from oxicache.django import dependants
from oxicache.django.management.arguments import WRONG_USE, process_id
from oxicache.django.management.printing import Printer, failures_told, has_somebody, is_agreed
from oxicache.django.scope import Scope
from oxicache.django.site import this_site
from oxicache.keys import has_wildcards, normal_pattern
from oxicache.reports import Invalidated, InvalidationPreview, Report
from oxicache.selection import Selection
from oxicache.sites import Site

__all__ = ["Command"]

CONFIRMATION: Final = "CLEAR ALL"  # Source: 004
ACTIONS: Final = ("pattern", "model", "all", "list_patterns", "list_models")
TOGETHER: Final = frozenset({"pattern", "model"})  # the others stand alone


class Command(BaseCommand):
    """Source: document 004 (YOUTILITY5), "Cache Invalidation"."""

    help = "Invalidates what the live workers and all aliases of CACHES hold, by key pattern, model or tenant"
    requires_system_checks: list[str] = []  # noqa: RUF012 -- Django's own attribute; an outage is no time for checks

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The documented options, and those of `manage_cache` that have a meaning here."""
        add = parser.add_argument
        add(
            "--pattern",
            metavar="PATTERN",
            help="Keys that have these segments, as in `dashboard` or `dropdown:people`, or match a glob",
        )
        add(
            "--model",
            metavar="MODEL",
            help="What depends on a model: app.Model, or Model where one app has it",
        )
        add("--tenant-id", metavar="ID", help="Only what belongs to this tenant; 0 is one, too")
        add(
            "--all",
            action="store_true",
            help="Everything; asks on a terminal. With --tenant-id all of a tenant",
        )
        add(
            "--alias",
            metavar="ALIAS",
            nargs="+",
            help="Only in these aliases of CACHES, whatever their backend",
        )
        add("--dry-run", action="store_true", help="Clear nothing, and count what would go")
        add(
            "--list-patterns", action="store_true", help="List the key patterns that are registered, and used"
        )
        add("--list-models", action="store_true", help="List the models that caches depend on")
        add("--json", action="store_true", help="Print JSON")
        add("--noinput", "--no-input", action="store_false", dest="interactive", help="Do not ask")
        add(
            "--process",
            metavar="PID",
            type=process_id,
            help='Only the worker with this pid, or "self" for the process of the command',
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Do it, print what came of it, and end with 1 where not all of it was done."""
        _check(options)
        printer = Printer(self.stdout, options)
        with failures_told():
            site = this_site(options["process"])
            if options["list_patterns"]:
                report: Report = operations.patterns(site, dependants.patterns())
            elif options["list_models"]:
                report = operations.models(dependants.models(), dependants.rules())
            else:
                report = self._invalidate(site, options)
            if options["json"] or not isinstance(report, Invalidated | InvalidationPreview):
                printer.report(report)
            else:
                printer.lines(_lines(report, options, printer))
        if (lacking := report.shortfall()) is not None:
            raise CommandError(lacking)

    def _invalidate(self, site: Site, options: dict[str, Any]) -> Invalidated | InvalidationPreview:
        dry_run = options["dry_run"]
        if options["all"]:
            self._confirm(site, options)
        if options["all"] and options["tenant_id"] is None:
            return operations.clear_all(site, tuple(options["alias"] or ()), dry_run=dry_run)
        return operations.invalidate(site, _selection(options), dry_run=dry_run)

    def _confirm(self, site: Site, options: dict[str, Any]) -> None:
        """Ask before what cannot be undone, on a terminal only."""
        if not options["interactive"] or options["dry_run"] or not has_somebody(self.stdout):
            return
        whose = "" if options["tenant_id"] is None else f" of tenant {options['tenant_id']}"
        workers = 1 if site.is_local else len(site.live())
        aliases = ", ".join(options["alias"] or ()) or "all aliases of CACHES"
        self.stdout.write(f"This clears everything{whose} in {aliases}, and in {workers} live workers.")
        if not is_agreed(self.stdout, f'Type "{CONFIRMATION}" to confirm: ', CONFIRMATION):
            raise CommandError("Cancelled: nothing was cleared")


def _check(options: dict[str, Any]) -> None:
    """CommandError with exit code 2 where nothing, or too much, was asked for."""
    given = [name for name in ACTIONS if options[name] not in {None, False}]
    if not given:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in ACTIONS)
        raise CommandError(f"nothing is named to be invalidated; give one of {named}", returncode=WRONG_USE)
    if len(given) > 1 and not set(given) <= TOGETHER:
        named = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        raise CommandError(f"{named} do not go together", returncode=WRONG_USE)


def _selection(options: dict[str, Any]) -> Selection:
    """What the options name. A pattern without wildcards means whole segments."""
    pattern, tenant = options["pattern"], options["tenant_id"]
    below = "" if tenant is None else Scope(tenant=tenant).prefix()
    globs = () if pattern is None else normal_pattern(pattern, below)
    return Selection(
        globs=globs,
        models=() if options["model"] is None else (dependants.label(options["model"]),),
        aliases=tuple(options["alias"] or ()),
        tenant=tenant,
    )


# ---------------------------------------------------------------- what is said


def _lines(
    report: Invalidated | InvalidationPreview, options: dict[str, Any], printer: Printer
) -> Iterator[str]:
    """Yield the documented lines, and between them what they have no words for."""
    style = printer.style
    if isinstance(report, InvalidationPreview):
        yield style.paint("DRY RUN MODE - No caches will actually be cleared", "warning")
        yield from _announced(report, options)
        if report.has_acted:
            yield from report.table_lines(style)
    elif report.has_acted:
        yield style.paint(f"\u2713 Cleared {report.total} cache keys", "good")
        yield from report.alias_lines(style)
    yield from report.unasked_lines(style)
    yield from report.reach.lines(style)
    if report.shortfall() is None:
        yield style.paint("Cache invalidation completed successfully!", "good")


def _announced(report: InvalidationPreview, options: dict[str, Any]) -> Iterator[str]:
    if options["all"] and options["tenant_id"] is None:
        yield "Would clear all cache keys"
    if options["pattern"] is not None:
        yield f"Would clear pattern: {_documented(options['pattern'], options['tenant_id'])}"
        if not has_wildcards(options["pattern"]):
            yield f"  as whole segments of a key: {', '.join(report.patterns)}"
    if options["model"] is not None:
        (label,) = report.models
        patterns = dependants.models().get(label, ())
        yield f"Would invalidate {len(patterns)} cache patterns for {options['model']}"


def _documented(pattern: str, tenant: Any) -> str:
    """Return the pattern as 004 shows it."""
    if has_wildcards(pattern):
        return pattern if tenant is None else f"tenant:{tenant}:{pattern}"
    return f"tenant:{'*' if tenant is None else tenant}:*{pattern}*"
