"""What an operation did or found: a frozen dataclass for each verb, as JSON for programs and as lines for people.

The words and shapes of the source documents are kept to the byte; what they have no words for follows after them. How
the figures come about is in operations.py, how they are aligned and painted in tables.py.
"""

from oxicache.reports.changes import (
    CountersReset,
    Preview,
    Removed,
    Switched,
)
from oxicache.reports.deletions import TrackerReport
from oxicache.reports.figures import StatsReport
from oxicache.reports.findings import ExplainReport, TopReport
from oxicache.reports.invalidation import CancelledJob, Invalidated, InvalidationPreview, Scheduled
from oxicache.reports.judgements import MonitorReport, OptimizeReport, StatusReport
from oxicache.reports.listings import ModelsListed, PatternsListed
from oxicache.reports.reach import Missing, Reach, Report

__all__ = [
    "CancelledJob",
    "CountersReset",
    "ExplainReport",
    "Invalidated",
    "InvalidationPreview",
    "Missing",
    "ModelsListed",
    "MonitorReport",
    "OptimizeReport",
    "PatternsListed",
    "Preview",
    "Reach",
    "Removed",
    "Report",
    "Scheduled",
    "StatsReport",
    "StatusReport",
    "Switched",
    "TopReport",
    "TrackerReport",
]
