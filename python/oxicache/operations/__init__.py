"""One function per verb of an operator: a Site and a Selection in, a Report out.

Whom a Site reaches is in sites.py, what a worker answers in live.py and natively, how a Report reads in reports.
Commands and views call these, and print.
"""

from oxicache.operations.changes import cleanup, clear, disable, enable, reset, warm
from oxicache.operations.figures import TOP_LIMIT, exposition, snapshot, stats
from oxicache.operations.findings import MEASURES, explain, models, patterns, top, tracker
from oxicache.operations.invalidation import cancel, clear_all, invalidate, schedule
from oxicache.operations.judgements import monitor, optimize, status

__all__ = [
    "MEASURES",
    "TOP_LIMIT",
    "cancel",
    "cleanup",
    "clear",
    "clear_all",
    "disable",
    "enable",
    "explain",
    "exposition",
    "invalidate",
    "models",
    "monitor",
    "optimize",
    "patterns",
    "reset",
    "schedule",
    "snapshot",
    "stats",
    "status",
    "top",
    "tracker",
    "warm",
]
