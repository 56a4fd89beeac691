"""`monitor`, `status`, `optimize`: what the figures mean, in the words of documents 001 and 003."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from oxicache.reports.figures import StatsReport, ratio
from oxicache.reports.findings import pattern_table
from oxicache.reports.reach import Report
from oxicache.tables import Column, Style, bar, count, duration, plain, size, table

__all__ = ["MonitorReport", "OptimizeReport", "StatusReport"]

Status = Literal["healthy", "warning", "critical"]

RULE = "=" * 60
SIGNS = {True: "\u2713", False: "\u2717"}  # Source: EnterpriseLand's `manage_cache status`
COLOURS = {"healthy": "good", "warning": "warning", "critical": "bad"}
PRIORITIES = {"critical": "bad", "high": "bad", "medium": "warning"}


def _title(text: str, style: Style) -> Iterator[str]:
    """Write a heading as document 003 has them."""
    yield RULE
    yield style.paint(text, "bold")
    yield RULE


def _performance(rate: float | None, milliseconds: float | None) -> Iterator[str]:
    yield f"  Hit Rate: {ratio(rate)}"
    yield f"  Average Response Time: {_milliseconds(milliseconds)}"


def _milliseconds(number: float | None) -> str:
    return duration(None if number is None else number / 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorReport(Report):
    """Document 001's health check, then document 003's dashboard; the latter in JSON under `metrics`."""

    timestamp: str  # ISO 8601
    stats: StatsReport
    status: Status
    issues: Sequence[str]
    recommendations: Sequence[str]
    metrics: Mapping[
        str, Any
    ]  # hit_rate (0 to 1), avg_response_time_ms, operations, key_statistics, recommendations
    patterns: Sequence[Mapping[str, Any]]  # the most used first, each with its `cache`
    limit: int  # rows of each table

    def _json(self) -> dict[str, Any]:
        return {
            "timestamp": self.timestamp,
            "stats": self.stats.as_json(),
            "issues": list(self.issues),
            "recommendations": list(self.recommendations),
            "status": self.status,
            "metrics": dict(self.metrics),
        }

    def _lines(self, style: Style) -> Iterator[str]:
        yield style.paint("Cache Health Monitor", "bold")
        yield "=" * 50
        if self.issues:
            yield "Issues Found:"
            for issue in self.issues:
                yield style.paint(f"  {plain(issue)}", "bad" if issue.startswith("HIGH") else "warning")
        else:
            yield style.paint("All caches are healthy", "good")
        if self.recommendations:
            yield ""
            yield "Recommendations:"
            for recommendation in self.recommendations:
                yield f"  {plain(recommendation)}"
        yield ""
        yield from self._dashboard(style)
        yield ""

    def _dashboard(self, style: Style) -> Iterator[str]:
        yield from _title("CACHE MONITORING DASHBOARD", style)
        yield ""
        rate = self.metrics.get("hit_rate")
        yield f"Hit Rate: [{bar((rate or 0.0) * 100)}] {ratio(rate)}"
        full = self.stats.totals["global_utilization_percent"]
        yield f"Utilization: [{bar(full)}] {full:.1f}%"
        yield f"Average Response Time: {_milliseconds(self.metrics.get('avg_response_time_ms'))}"
        yield ""
        yield "Caches:"
        yield from self.stats.table_lines(style, limit=self.limit)
        yield ""
        yield "Top Key Patterns:"
        if self.patterns:
            yield from pattern_table(self.patterns, style)
        else:
            yield "  none was used yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport(Report):
    """Whether each alias works, what is reached of the targets, who the workers are. Source: EnterpriseLand."""

    status: Status
    document: Mapping[str, Any]  # what `get_cache_status` of document 003 returns
    reasons: Sequence[Mapping[str, str]]  # status and message
    targets: Sequence[Mapping[str, Any]]  # name, unit, target, measured, met
    hosts: Mapping[int, Mapping[str, Any]]  # the `health` of each worker, by pid

    def _json(self) -> dict[str, Any]:
        return {
            **self.document,
            "status": self.status,
            "reasons": [dict(reason) for reason in self.reasons],
            "targets": [dict(target) for target in self.targets],
            "processes": {str(pid): dict(found) for pid, found in self.hosts.items()},
        }

    def _host_lines(self, style: Style) -> Iterator[str]:
        yield from _title("CACHE STATUS", style)
        yield ""
        yield "Cache Health:"
        for alias, found in self.document["health"].items():
            well = bool(found["healthy"])
            said = "Healthy" if well else plain(str(found.get("error", "does not keep what is stored")))
            yield style.paint(f"  {SIGNS[well]} {plain(alias)}: {said}", "good" if well else "bad")
        if self.reach.answered:
            yield from self._worker_lines(style)
        yield ""

    def _lines(self, style: Style) -> Iterator[str]:  # noqa: ARG002 -- said above, with and without workers
        return iter(())

    def _worker_lines(self, style: Style) -> Iterator[str]:
        performance = self.document["performance"]
        yield ""
        yield "Performance Metrics:"
        yield from _performance(performance["hit_rate"], performance["avg_response_time_ms"])
        yield ""
        yield f"Status: {style.paint(self.status, COLOURS[self.status])}"
        for reason in self.reasons:
            yield style.paint(f"  {plain(reason['message'])}", COLOURS[reason["status"]])
        yield ""
        yield "Targets:"
        measured = [_target(one) for one in self.targets if one["measured"] is not None]
        yield from table(TARGET_COLUMNS, measured, style)
        if len(measured) < len(self.targets):
            yield f"  not measured yet: {len(self.targets) - len(measured)} more"
        yield ""
        yield "Workers:"
        yield from table(WORKER_COLUMNS, [_worker(pid, one) for pid, one in self.hosts.items()], style)


TARGET_COLUMNS = (
    Column("figure", flexible=True),
    Column("measured", right=True),
    Column("target", right=True),
    Column("reached"),
)
WORKER_COLUMNS = (
    Column("worker", right=True),
    Column("up", right=True),
    Column("memory", right=True),
    Column("python"),
    Column("caches"),
    Column("refused", right=True),
)


def _target(one: Mapping[str, Any]) -> tuple[str, ...]:
    is_time = one["unit"] == "milliseconds"
    measured = _milliseconds(one["measured"]) if is_time else f"{one['measured']:.1f}%"
    target = _milliseconds(one["target"]) if is_time else f"{one['target']:g}%"
    return str(one["name"]), measured, target, "yes" if one["met"] else "no"


def _worker(pid: int, found: Mapping[str, Any]) -> tuple[str, ...]:
    python = found.get("python") or {}
    silent = f"silent for {_milliseconds(python.get('silent_for_ms'))}"
    answers = "answers" if python.get("answers", True) else silent
    return (
        str(pid),
        duration(found.get("uptime_seconds")),
        size(found.get("rss_bytes")),
        answers,
        "enabled" if found.get("enabled", True) else "disabled",
        count(found.get("refused")),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizeReport(Report):
    """What to change, by measured figures, the most urgent first. Source: EnterpriseLand."""

    document: Mapping[str, Any]  # what `optimize_cache_configuration` of document 003 returns

    def _json(self) -> dict[str, Any]:
        return dict(self.document)

    def _lines(self, style: Style) -> Iterator[str]:
        yield from _title("CACHE OPTIMIZATION ANALYSIS", style)
        performance = self.document["current_performance"]
        yield ""
        yield "Current Performance:"
        yield from _performance(performance["hit_rate"], performance["avg_response_time"])
        yield ""
        yield "Recommendations:"
        if not self.document["recommendations"]:
            yield "  None: nothing measured so far calls for a change"
        for one in self.document["recommendations"]:
            priority = str(one["priority"])
            mark = style.paint(f"[{priority.upper()}]", PRIORITIES.get(priority, "quiet"))
            yield f"  {mark} {plain(str(one['issue']))}"
            yield f"    {plain(str(one['recommendation']))}"
            current = one.get("current", one.get("error"))
            if current is not None:
                yield style.paint(f"    now: {plain(str(current))}", "quiet")
        suggested = self.document.get("suggested_config")
        if suggested:
            yield ""
            yield "Suggested Configuration:"
            for name, value in suggested.items():
                yield f"  {plain(str(name))}: {plain(str(value))}"
        yield ""
