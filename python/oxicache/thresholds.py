"""At which figures health, advice and memory pressure speak up, and the targets that status shows.

Value, unit, reason. A Django project sets others in `OXICACHE["THRESHOLDS"]`, which oxicache.django.conf checks. Who
compares: health.py, advice.py and memory.py.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

__all__ = ["Thresholds", "in_force", "put_in_force", "thresholds_table"]


def _limit(default: float, unit: str, doc: str) -> Any:
    return field(default=default, metadata={"unit": unit, "doc": doc})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Each is passed when a figure is beyond it, not when it is equal."""

    # Source: API reference (akvo), "monitor".
    global_utilization_high: float = _limit(90, "percent", "All caches together are this full: critical.")
    global_utilization_medium: float = _limit(75, "percent", "All caches together are this full: a warning.")
    cache_utilization_high: float = _limit(95, "percent", "One cache is this full: critical.")
    cache_utilization_medium: float = _limit(80, "percent", "One cache is this full: a warning.")
    expired_share: float = _limit(10, "percent", "So much of what a cache holds has expired: a warning.")
    # Source: advanced usage patterns (akvo), "Health Check Endpoints".
    memory_check_utilization: float = _limit(80, "percent", "`memory_health_check`: all caches together.")
    deletion_tracker_size: float = _limit(100, "ids", "`memory_health_check`: ids that are being deleted.")
    expired_entries: float = _limit(
        50, "entries", "`memory_health_check`: expired entries that are still held."
    )
    # Source: advanced usage patterns (akvo), "Memory Pressure Handling".
    memory_high: float = _limit(
        85, "percent", "Memory in use: expired entries are removed; health has a warning."
    )
    memory_critical: float = _limit(
        90, "percent", "Memory in use: all caches are cleared; health is critical."
    )
    # Source: EnterpriseLand, `optimize_cache_configuration`.
    hit_rate_low: float = _limit(70, "percent", "A hit rate below it is advised upon, with priority high.")
    pattern_hit_rate_low: float = _limit(50, "percent", "The same of one key pattern, with priority medium.")
    pattern_memory_share: float = _limit(
        30, "percent", "A key pattern that takes more of the bytes stored is advised upon."
    )
    # Source: EnterpriseLand, "Performance Benchmarks", and YOUTILITY5, "Success Criteria".
    target_hit_rate: float = _limit(80, "percent", "What the hit rate of each cache is shown against.")
    target_hit_rate_forms: float = _limit(
        90, "percent", "The same of key patterns that begin with `form` or `dropdown`."
    )
    target_hit_rate_overall: float = _limit(
        75, "percent", "What the hit rate of all caches is shown against."
    )
    target_response_ms: float = _limit(10, "milliseconds", "What the mean time of a `get` is shown against.")
    target_p95_ms: float = _limit(
        500, "milliseconds", "What the 95th percentile of the loads is shown against."
    )
    target_warming_success: float = _limit(
        95, "percent", "What the share of warmed entries that succeeded is shown against."
    )
    target_memory_efficiency: float = _limit(
        70, "percent", "What the share of the entries held that are alive is shown against."
    )
    # The rest is oxicache's own.
    min_reads: float = _limit(100, "reads", "A hit rate of fewer reads says nothing, and is not judged.")
    load_error_share: float = _limit(
        10, "percent", "Computations that fail: advised upon, with priority high."
    )
    collision_share: float = _limit(
        5, "percent", "Entries that are invalidated with another's version word: advised upon."
    )
    python_silent_ms: float = _limit(
        5000, "milliseconds", "A worker whose Python has not answered for so long: a warning."
    )

    @classmethod
    def of(cls, given: Mapping[str, float]) -> "Thresholds":
        """Replace some of the defaults; names in capitals, as settings have them.

        ValueError names a threshold that does not exist, TypeError and ValueError a value that is no number from 0 on.
        """
        known = {item.name.upper(): item.name for item in fields(cls)}
        unknown = sorted(str(name) for name in given if name not in known)
        if unknown:
            raise ValueError(f"there is no threshold {', '.join(unknown)}; there are {', '.join(known)}")
        for name, value in given.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"the threshold {name} must be a number, not {value!r}")
            if math.isnan(value) or value < 0:
                raise ValueError(f"the threshold {name} must be at least 0, not {value!r}")
        return cls(**{known[name]: value for name, value in given.items()})


_in_force = [Thresholds()]  # always one


def in_force() -> Thresholds:
    """Those that count where none are given: the defaults, or what the settings have."""
    return _in_force[0]


def put_in_force(thresholds: Thresholds) -> None:
    """Have these count from now on."""
    _in_force[0] = thresholds


def thresholds_table() -> str:
    """The thresholds as a Markdown table: the one in docs/monitoring.md."""
    rows = ["| threshold | default | unit | what it is |", "|---|---|---|---|"]
    rows += [
        f"| `{item.name.upper()}` | `{item.default:g}` | {item.metadata['unit']} | {item.metadata['doc']} |"
        for item in fields(Thresholds)
    ]
    return "\n".join(rows) + "\n"
