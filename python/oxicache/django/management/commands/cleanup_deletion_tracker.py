"""`cleanup_deletion_tracker`: which projects the workers hold for being deleted, and which they hold for too long."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from oxicache import operations
from oxicache.django.management.arguments import process_id
from oxicache.django.management.printing import Printer, failures_told
from oxicache.django.site import this_site

__all__ = ["Command"]


class Command(BaseCommand):
    """Source: API reference (akvo), "cleanup_deletion_tracker Command"."""

    help = "Cleanup stale entries of the deletion trackers of the live workers"
    requires_system_checks: list[str] = []  # noqa: RUF012 -- Django's own attribute; see manage_cache

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The documented options, and those of `manage_cache` that have a meaning here."""
        parser.add_argument("--stats", action="store_true", help="Show current deletion tracker statistics")
        parser.add_argument(
            "--dry-run", action="store_true", help="Show what would be cleaned without changes"
        )
        parser.add_argument("--json", action="store_true", help="Print JSON")
        parser.add_argument(
            "--process",
            metavar="PID",
            type=process_id,
            help='Only the worker with this pid, or "self" for the process of the command',
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Ask every worker, print the sums, and end with 1 where one did not answer."""
        with failures_told():
            site = this_site(options["process"])
            report = operations.tracker(
                site, "stats" if options["stats"] else "dry" if options["dry_run"] else "cleanup"
            )
            Printer(self.stdout, options).report(report)
        if report.reach.is_partial:
            raise CommandError(report.reach.shortfall())
