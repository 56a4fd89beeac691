"""The figures of all live workers of this project, for pages and dialects: any worker answers for all of its host.

Whom they reach: site.py. What is made of them: health.py, advice.py, prometheus.py.
"""

from dataclasses import replace

from oxicache import operations
from oxicache.django import conf
from oxicache.django.site import this_site
from oxicache.errors import UnsafeFolderError
from oxicache.metrics import Snapshot
from oxicache.reports import Reach
from oxicache.sites import Site

__all__ = ["live_snapshot", "own_site"]


def own_site(process: int | str | None = None) -> Site:
    """All live workers, and this process whether it serves a socket or not."""
    site = this_site(process)
    return replace(site, includes_self=process is None)


def live_snapshot(process: int | str | None = None) -> tuple[Snapshot, Reach]:
    """What they have counted, and who answered; no sensitive key pattern is named.

    `process` is a pid, or "self" for this one alone. Waits for one second at most for each of three requests.
    """
    site = own_site(process)
    try:
        snapshot, reach = operations.snapshot(site, patterns=True, details=True)
    except (
        UnsafeFolderError
    ) as error:  # who put the others' sockets there is not known, so nobody is asked there
        snapshot, reach = operations.snapshot(replace(site, is_local=True), patterns=True, details=True)
        reach = replace(reach, siblings=(*reach.siblings, str(error)))
    return snapshot.concealing(conf.current().sensitive), reach
