"""`manage_cache`: see and change what the running workers keep, in the vocabularies of documents 001 and 003.

Argument parsing and printing; what the verbs do is in oxicache.operations, which options they take in arguments.py.
"""

from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from oxicache import operations
from oxicache.django import conf, dependants, probes
from oxicache.django.management import arguments
from oxicache.django.management.arguments import WRONG_USE
from oxicache.django.management.printing import Printer, failures_told, is_agreed
from oxicache.django.site import store_name, this_site
from oxicache.errors import UnknownCacheError
from oxicache.reports import MonitorReport, Report, StatsReport, StatusReport
from oxicache.selection import Selection
from oxicache.sites import Site

__all__ = ["Command"]

Run = Callable[[Site, Selection, dict[str, Any]], Report]
SECONDS_PER_MINUTE = 60.0
SEVERITY = {"healthy": 0, "warning": 1, "critical": 2}
QUESTIONS = {
    "clear": "Remove every entry of {what}",
    "disable": "Empty every cache and switch caching off",
}


class Command(BaseCommand):
    """Sources: API reference (akvo), "manage_cache Command"; EnterpriseLand, "Cache Management"."""

    help = "Shows and changes what the live workers of this site keep in their caches"
    requires_system_checks: list[str] = []  # noqa: RUF012 -- Django's own attribute; an outage is no time for checks

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Verb, key and options."""
        arguments.add_to(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        """Do what the verb says, print the report, and end with 1 where not all workers did it."""
        action = options["action"]
        arguments.check(action, options)
        printer = Printer(self.stdout, options)
        try:
            with failures_told():
                site = this_site(options["process"])
                selection = _selection(options)
                if options["watch"]:
                    printer.watch(lambda: _run(action, site, selection, options), options["watch"], _lines)
                    return
                self._confirm(action, site, selection, options)
                report = _run(action, site, selection, options)
                printer.report(report, _text(report, site, selection, options))
        except UnknownCacheError as error:
            self.stdout.write(f"Cache '{error.name}' not found")  # 001's own words, on its own stream
            raise CommandError(str(error), returncode=WRONG_USE) from error
        _judge(report, options["fail_on"])

    def _confirm(self, action: str, site: Site, selection: Selection, options: dict[str, Any]) -> None:
        """Ask before what cannot be undone, on a terminal only. The process's own caches are gone with it anyway."""
        if action not in QUESTIONS or not options["interactive"] or options["dry_run"] or site.is_local:
            return
        workers = len(site.live())
        what = f"{', '.join(map(repr, selection.caches)) or 'all caches'}"
        question = (
            f"{QUESTIONS[action].format(what=what)} in {workers} live workers? Type 'yes' to continue: "
        )
        if workers and not is_agreed(self.stdout, question):
            raise CommandError(f"Cancelled: {action} was not done")


def _selection(options: dict[str, Any]) -> Selection:
    cache = store_name(options["cache_name"])
    return Selection(
        caches=() if cache is None else (cache,),
        keys=() if options["key"] is None else (options["key"],),
        tags=tuple(options["tags"] or ()),
        regex=options["pattern"],
        models=() if options["model"] is None else (dependants.label(options["model"]),),
        aliases=tuple(options["alias"] or ()),
        rows=tuple(map(_row, options["rows"] or ())),
    )


def _row(text: str) -> tuple[str, str]:
    model, found, pk = text.partition(":")
    if not (found and pk):
        raise ValueError(f'{text!r} is no row; write it as "app.Model:pk"')
    return model, pk


def _run(action: str, site: Site, selection: Selection, options: dict[str, Any]) -> Report:
    return RUNS[action](site, selection, options)


def _monitor(site: Site, selection: Selection, options: dict[str, Any]) -> Report:
    settings = conf.current()
    return operations.monitor(
        site,
        selection,
        thresholds=settings.thresholds,
        sensitive=settings.sensitive,
        limit=options["limit"] or operations.TOP_LIMIT,
    )


def _status(site: Site, _: Selection, __: dict[str, Any]) -> Report:
    return operations.status(site, document=probes.document(), thresholds=conf.current().thresholds)


def _optimize(site: Site, _: Selection, __: dict[str, Any]) -> Report:
    settings = conf.current()
    return operations.optimize(
        site,
        default_timeout=settings.default_ttl or 0.0,  # for ever is long enough
        unhealthy={alias: one.error for alias, one in probes.probe_all().items() if one.error is not None},
        thresholds=settings.thresholds,
        sensitive=settings.sensitive,
    )


def _explain(site: Site, selection: Selection, options: dict[str, Any]) -> Report:
    return operations.explain(site, options["key"], Selection(caches=selection.caches))


def _top(site: Site, selection: Selection, options: dict[str, Any]) -> Report:
    return operations.top(
        site, selection, by=options["by"] or "hits", limit=options["limit"] or operations.TOP_LIMIT
    )


def _invalidate(site: Site, selection: Selection, options: dict[str, Any]) -> Report:
    """Aliases of other backends are acted on where they are named: `invalidate_caches` has them by default."""
    cascade = options["cascade"]
    if options["cancel"]:
        return operations.cancel(site, options["cancel"])
    if options["schedule"]:
        delay = options["schedule"] * SECONDS_PER_MINUTE
        return operations.schedule(site, selection, delay, cascade=cascade, foreign=False)
    return operations.invalidate(site, selection, cascade=cascade, dry_run=options["dry_run"], foreign=False)


RUNS: dict[str, Run] = {
    "stats": lambda site, selection, _: operations.stats(site, selection),
    "cleanup": lambda site, selection, given: operations.cleanup(site, selection, dry_run=given["dry_run"]),
    "clear": lambda site, selection, given: operations.clear(site, selection, dry_run=given["dry_run"]),
    "monitor": _monitor,
    "status": _status,
    "optimize": _optimize,
    "warm": lambda site, selection, _: operations.warm(site, selection),
    "invalidate": _invalidate,
    "disable": lambda site, _, given: operations.disable(site, dry_run=given["dry_run"]),
    "enable": lambda site, _, __: operations.enable(site),
    "reset": lambda site, selection, _: operations.reset(site, selection),
    "explain": _explain,
    "top": _top,
}


def _text(report: Report, site: Site, selection: Selection, options: dict[str, Any]) -> str | None:
    """Return what is written instead of the report: the figures, in the format that `--export` names."""
    if options["export"] == "prometheus":
        return operations.exposition(site, selection, sensitive=conf.current().sensitive)[0]
    if options["export"] == "json" and isinstance(report, MonitorReport):
        return Printer.json(report.metrics)
    return Printer.json(report.as_json()) if options["export"] == "json" else None


def _lines(report: Report, earlier: Report | None, style: Any) -> Iterator[str]:
    """Yield what is looked at again and again: figures as one table, with what came since."""
    yield datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(report, StatsReport):
        yield from report.table(style, earlier if isinstance(earlier, StatsReport) else None)
    else:
        yield from report.lines(style)


def _judge(report: Report, fail_on: str | None) -> None:
    """CommandError with exit code 1 where not all was done, or where the caches are as bad as `--fail-on` says."""
    if (lacking := report.shortfall()) is not None:
        raise CommandError(lacking)
    judged = report.status if isinstance(report, MonitorReport | StatusReport) else "healthy"
    if fail_on and SEVERITY[judged] >= SEVERITY[fail_on]:
        raise CommandError(f"The caches are in the state {judged}")
