"""How much memory is in use, what the caches have of it, and what is done when it runs short. Source: document 000.

In a container it is the limit of its control group that counts, not the memory of the machine: whichever is nearer is
what is reported. psutil is asked where it is installed (extra `monitor`), else /proc/meminfo.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from oxicache.registry import DELETION_SET, cache_manager
from oxicache.thresholds import Thresholds, in_force

__all__ = ["Pressure", "Usage", "collect_memory_metrics", "handle_memory_pressure", "resident_bytes", "usage"]

logger = logging.getLogger("oxicache.memory")

ROOT = Path("/")
UNLIMITED = 2**62  # cgroup v1 writes a number near 2^63 where there is no limit


@dataclass(frozen=True, slots=True)
class Usage:
    """Memory in use, of the machine or of the control group, whichever is nearer to its limit."""

    percent: float
    source: Literal["psutil", "meminfo", "cgroup"]


@dataclass(frozen=True, slots=True)
class Pressure:
    """What was found, and what was done about it in this process."""

    action: Literal["none", "cleanup", "clear", "unknown"]
    percent: float | None  # None where the system does not say
    source: str | None = None
    cleaned: dict[str, int] = field(
        default_factory=dict
    )  # expired entries removed, by cache; -1 where that failed
    percent_after_cleanup: float | None = None
    cleared: tuple[str, ...] = ()  # caches that were emptied

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "action": self.action,
            "percent": self.percent,
            "source": self.source,
            "cleaned": dict(self.cleaned),
            "percent_after_cleanup": self.percent_after_cleanup,
            "cleared": list(self.cleared),
        }


def usage(root: Path = ROOT) -> Usage | None:
    """Look up how much memory is in use; None where the system does not say. Reads a few small files."""
    found = [one for one in (_of_machine(root), *_of_groups(root)) if one is not None]
    return max(found, key=lambda one: one.percent, default=None)


def resident_bytes(root: Path = ROOT) -> int | None:
    """What this process has in memory, shared pages included; None where the system does not say."""
    try:
        pages = int((root / "proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def collect_memory_metrics() -> dict[str, Any]:
    """The figures of this process: the documented names first, then its memory and what each cache weighs.

    A cache has `cache_<name>_bytes` where its weight is limited; elsewhere nobody counts it. Source: document 000,
    "Custom Monitoring Metrics".
    """
    caches = cache_manager.get_global_stats()
    total = caches.pop("_global", {})
    with DELETION_SET._lock:
        tracked, stamped = len(DELETION_SET._deletion_set), len(DELETION_SET._timestamps)
    metrics: dict[str, Any] = {
        "cache_total_entries": total.get("total_entries", 0),
        "cache_utilization_percent": total.get("global_utilization_percent", 0),
        "cache_count": total.get("total_caches", 0),
        "deletion_tracker_size": tracked,
        "deletion_tracker_timestamps": stamped,
    }
    for name, stats in caches.items():
        metrics[f"cache_{name}_size"] = stats["size"]
        metrics[f"cache_{name}_expired"] = stats["expired_entries"]
        metrics[f"cache_{name}_utilization"] = stats["utilization_percent"]
    metrics["process_resident_bytes"] = resident_bytes()
    in_use = usage()
    metrics["memory_percent"] = None if in_use is None else in_use.percent
    for name, stats in caches.items():
        if stats["size_bytes"] is not None:
            metrics[f"cache_{name}_bytes"] = stats["size_bytes"]
    return metrics


def handle_memory_pressure(
    thresholds: Thresholds | None = None, *, look: Callable[[], Usage | None] = usage
) -> Pressure:
    """Above MEMORY_HIGH (85 %) remove what has expired; if it is still above MEMORY_CRITICAL (90 %), clear everything.

    Of this process alone: call it in each worker, from a middleware or a timer. Source: document 000, "Memory Pressure
    Handling".
    """
    limits = thresholds or in_force()
    found = look()
    if found is None:
        logger.warning("Memory pressure is not handled: this system does not say how much memory is in use")
        return Pressure("unknown", None)
    if found.percent <= limits.memory_high:
        return Pressure("none", found.percent, found.source)
    logger.warning("High memory usage: %.1f%% (%s)", found.percent, found.source)
    cleaned = cache_manager.cleanup_all()
    logger.info("Emergency cache cleanup: %s", cleaned)
    after = look() or found
    if after.percent <= limits.memory_critical:
        return Pressure("cleanup", found.percent, found.source, cleaned, after.percent)
    logger.warning("Critical memory usage, clearing caches")
    names = tuple(cache_manager.names())
    cache_manager.clear_all()
    return Pressure("clear", found.percent, found.source, cleaned, after.percent, names)


# ---------------------------------------------------------------- who says how much is in use


def _of_machine(root: Path) -> Usage | None:
    if root == ROOT:
        try:
            import psutil
        except ImportError:
            pass
        else:
            return Usage(float(psutil.virtual_memory().percent), "psutil")
    return _of_meminfo(root)


def _of_meminfo(root: Path) -> Usage | None:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        kilobytes = {
            name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if rest
        }
        return Usage(100 - kilobytes["MemAvailable"] / kilobytes["MemTotal"] * 100, "meminfo")
    except (OSError, ValueError, KeyError, IndexError, ZeroDivisionError):
        return None


def _of_groups(root: Path) -> Iterator[Usage]:
    """The limits of the group of this process and of those above it; each may be the one that is reached first."""
    if sys.platform != "linux":
        return
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _walk(root / "sys/fs/cgroup", path, ("memory.max", "memory.current", "inactive_file"))
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from _walk(root / "sys/fs/cgroup/memory", path, names)


def _walk(mount: Path, path: str, names: tuple[str, str, str]) -> Iterator[Usage]:
    # In a container the path may be the host's, which is not mounted; then the mount itself is the group.
    group = mount / path.lstrip("/")
    while group.is_relative_to(mount):
        found = _of_group(group, *names)
        if found is not None:
            yield found
        if group == mount:
            return
        group = group.parent


def _of_group(group: Path, limit_name: str, used_name: str, reclaimable: str) -> Usage | None:
    try:
        text = (group / limit_name).read_text().strip()
        if text == "max" or int(text) >= UNLIMITED:
            return None
        used, stat = int((group / used_name).read_text()), (group / "memory.stat").read_text()
    except (OSError, ValueError):
        return None
    # Pages of files that nobody has used lately are given back before anything is killed.
    idle = sum(int(line.split()[1]) for line in stat.splitlines() if line.split()[:1] == [reclaimable])
    return Usage(max(0, used - idle) / max(1, int(text)) * 100, "cgroup")
