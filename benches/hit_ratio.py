"""Hit ratios of the eviction policies, on seeded synthetic traces and on recorded ones.

Every access is a `get` and, on a miss, a `set`, on the real classes: nothing here simulates TTLCache. The optimum is
Belady's: it knows the whole trace, and drops what is needed again last.
"""

import lzma
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import Any

import cachebox
import cachetools
from cache_rows import zipf

from oxicache import TTLCache

PERCENTS = (1, 5, 10)  # capacities, of the distinct keys of a trace
ACCESSES = 500_000  # of a synthetic trace
UNIVERSE = 50_000  # keys that a synthetic trace chooses from
SUFFIX = ".trace.xz"


@dataclass(frozen=True)
class Outcome:
    """The hit ratios, in percent and by policy, of one trace at one capacity."""

    trace: str
    accesses: int
    distinct: int
    capacity: int
    percent: int
    ratios: dict[str, float]


def synthetic(accesses: int = ACCESSES, universe: int = UNIVERSE) -> dict[str, Sequence[int]]:
    """The synthetic traces by name; the same ones in every run."""
    popular = zipf(range(universe), accesses)
    return {
        "Zipf": popular,
        "Zipf with scans": list(_with_scans(popular, universe)),
        "shifting working sets": list(_shifting(popular, universe)),
        "loop": [number % (universe // 5) for number in range(accesses)],
        "loop in Zipf": list(_looping(popular, universe)),
    }


def _with_scans(popular: Sequence[int], universe: int) -> Iterator[int]:
    """After each tenth of the trace, keys that nobody asks for again: as many as a twentieth of the universe."""
    unseen, tenth, length = universe, max(1, len(popular) // 10), universe // 20
    for start in range(0, len(popular), tenth):
        yield from popular[start : start + tenth]
        yield from range(unseen, unseen + length)
        unseen += length


def _shifting(popular: Sequence[int], universe: int) -> Iterator[int]:
    """Ten times over the trace, what is popular moves on by a hundredth of the universe."""
    period = max(1, len(popular) // 10)
    for number, key in enumerate(popular):
        yield (key + number // period * (universe // 100)) % universe


def _looping(popular: Sequence[int], universe: int) -> Iterator[int]:
    """Every second access walks round a tenth of the universe, on keys of its own."""
    for number, key in enumerate(popular):
        yield key if number % 2 else universe + number // 2 % (universe // 10)


def recorded(folder: Path) -> list[Path]:
    """The recorded traces in `folder`, by name."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def load(path: Path) -> Sequence[int]:
    """The keys of one recorded trace: xz of one big-endian 32-bit integer an access."""
    keys = array("i")
    keys.frombytes(lzma.decompress(path.read_bytes()))
    if sys.byteorder == "little":
        keys.byteswap()
    return keys.tolist()


def _lru(capacity: int) -> Any:
    return TTLCache(max_size=capacity, ttl=None)


def _s3fifo(capacity: int) -> Any:
    return TTLCache(max_size=capacity, ttl=None, policy="s3fifo")


POLICIES: dict[str, Callable[[int], Any]] = {
    "LRU": _lru,
    "S3-FIFO": _s3fifo,
    "FIFO (cachebox)": cachebox.FIFOCache,
    "LRU (cachetools)": cachetools.LRUCache,
    "LFU (cachebox)": cachebox.LFUCache,
}
OPTIMUM = "optimum"
COLUMNS = (*POLICIES, OPTIMUM)


def hits(cache: Any, trace: Iterable[int]) -> int:
    """Run `trace` through `cache`, which starts empty."""
    get = cache.get
    count = 0
    for key in trace:
        if get(key) is None:
            cache[key] = True
        else:
            count += 1
    return count


def optimal_hits(trace: Sequence[int], capacity: int) -> int:
    """Hits of Belady's algorithm in O(n log n). What is never needed again is not kept at all: it cannot hit."""
    never = len(trace)
    next_use = array("q", bytes(8 * never))
    seen: dict[int, int] = {}
    for position in range(never - 1, -1, -1):
        key = trace[position]
        next_use[position] = seen.get(key, never)
        seen[key] = position
    due: dict[int, int] = {}  # held key -> where it is needed next
    latest: list[int] = []  # heap of -next use; what a hit has outdated is behind us and sinks
    count = 0
    for position, key in enumerate(trace):
        count += due.pop(key, None) is not None
        if next_use[position] == never:
            continue
        due[key] = next_use[position]
        heappush(latest, -next_use[position])
        if len(due) > capacity:
            # The latest is never outdated: it lies ahead of `position`, and only what is behind was used.
            del due[trace[-heappop(latest)]]
        if len(latest) > 4 * capacity + 1_000:
            latest = [-use for use in due.values()]
            heapify(latest)
    return count


def outcomes(
    name: str, trace: Sequence[int], percents: Sequence[int], told: Callable[[str], None]
) -> Iterator[Outcome]:
    """Every policy and the optimum at each capacity; `told` hears what is being run."""
    distinct = len(set(trace))
    for percent in percents:
        capacity = max(1, distinct * percent // 100)
        ratios = {}
        for policy, make in POLICIES.items():
            told(f"{name}, {percent} %: {policy}")
            ratios[policy] = 100 * hits(make(capacity), trace) / len(trace)
        told(f"{name}, {percent} %: {OPTIMUM}")
        ratios[OPTIMUM] = 100 * optimal_hits(trace, capacity) / len(trace)
        yield Outcome(name, len(trace), distinct, capacity, percent, ratios)


def every_outcome(folder: Path | None, quick: bool, told: Callable[[str], None]) -> Iterator[Outcome]:
    """The synthetic traces, then those of `folder`; a quick run takes a tenth of each and one capacity."""
    shrink = 10 if quick else 1
    percents = PERCENTS[1:2] if quick else PERCENTS
    for name, trace in synthetic(ACCESSES // shrink, UNIVERSE // shrink).items():
        yield from outcomes(name, trace, percents, told)
    for path in recorded(folder) if folder else ():
        name = path.name.removesuffix(SUFFIX)
        told(f"{name}: loading")
        trace = load(path)
        yield from outcomes(name, trace[: len(trace) // shrink], percents, told)
