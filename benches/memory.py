"""Bytes an entry costs beyond its key and value: one child process for each kind of cache.

Definition. The child makes all keys and values and keeps them in lists, then fills the cache with them. What the
process has grown by, divided by the entries, is the figure: table, links, deadlines and whatever else
the cache keeps, but no key and no value. Measured twice: resident memory after the allocator gave back what it
could (malloc_trim), and bytes in use by malloc (mallinfo2), which also counts reserved room never touched.
The larger one is judged. The peak is the resident maximum while filling, growth of the tables included.

    python benches/memory.py TTLCache 1000000     (what run.py starts)
"""

import ctypes
import gc
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rows import Result, Target

ROW = "memory of an entry"
TARGET = Target("<=", 72, "B")
MILLION = 1_000_000
# Tables that double have room to spare at a million, 5 % below 2 ** 20; this count is past that doubling.
PAST_DOUBLING = 1_100_000
TTL = 3_600.0
STATM = Path("/proc/self/statm")
CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")

Fill = Callable[[list[str], list[int]], Any]


def _assigning(make: Callable[[int], Any]) -> Fill:
    def fill(keys: list[str], values: list[int]) -> Any:
        cache = make(len(keys))
        for key, value in zip(keys, values, strict=True):
            cache[key] = value
        return cache

    return fill


def _ours(**options: Any) -> Fill:
    def make(size: int) -> Any:
        from oxicache import TTLCache

        return TTLCache(max_size=size, ttl=TTL, **options)

    return _assigning(make)


def _ours_set(**options: Any) -> Fill:
    def fill(keys: list[str], values: list[int]) -> Any:
        from oxicache import TTLCache

        cache: Any = TTLCache(max_size=len(keys), ttl=TTL)
        put = cache.set
        for key, value in zip(keys, values, strict=True):
            put(key, value, **options)
        return cache

    return fill


def _rival(module: str, name: str, *more: Any) -> Fill:
    # Imported in the child that measures it, so that no figure holds another cache's module.
    return _assigning(lambda size: getattr(__import__(module), name)(size, *more))


FILLS: dict[str, Fill] = {
    "TTLCache": _ours(),
    'TTLCache(policy="s3fifo")': _ours(policy="s3fifo"),
    "TTLCache, a ttl each": _ours_set(ttl=TTL / 2),
    "TTLCache, a tag each": _ours_set(tags=("catalogue",)),
    "dict": _assigning(lambda _: {}),
    "cachebox.TTLCache": _rival("cachebox", "TTLCache", TTL),
    "cachebox.LRUCache": _rival("cachebox", "LRUCache"),
    "cachetools.TTLCache": _rival("cachetools", "TTLCache", TTL),
}


class _Mallinfo(ctypes.Structure):
    """glibc's `struct mallinfo2`: bytes, of which `uordblks` and `hblkhd` are in use."""

    _fields_ = (
        ("arena", ctypes.c_size_t),
        ("ordblks", ctypes.c_size_t),
        ("smblks", ctypes.c_size_t),
        ("hblks", ctypes.c_size_t),
        ("hblkhd", ctypes.c_size_t),
        ("usmblks", ctypes.c_size_t),
        ("fsmblks", ctypes.c_size_t),
        ("uordblks", ctypes.c_size_t),
        ("fordblks", ctypes.c_size_t),
        ("keepcost", ctypes.c_size_t),
    )


def available() -> bool:
    """Whether this machine can answer: Linux with glibc 2.33 or later."""
    return STATM.exists() and hasattr(ctypes.CDLL(None), "mallinfo2")


def resident(process: int | str = "self") -> int:
    """Bytes of memory that a process occupies."""
    statm = Path(f"/proc/{process}/statm")
    return int(statm.read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def reset_peak() -> None:
    """Let `peak` begin at what is resident now."""
    CLEAR_REFS.write_text("5", encoding="ascii")


def peak() -> int:
    """The most bytes that this process has occupied since `reset_peak`."""
    line = next(line for line in STATUS.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def allocated(libc: ctypes.CDLL) -> int:
    """Bytes that malloc has given out in this process."""
    libc.mallinfo2.restype = _Mallinfo
    info = libc.mallinfo2()
    return int(info.uordblks + info.hblkhd)


def measure_here(name: str, count: int) -> dict[str, float]:
    """Fill the cache called `name` with `count` entries in this process; bytes an entry by measure."""
    libc = ctypes.CDLL(None)
    fill = FILLS[name]
    fill([f"warm-{number}" for number in range(1_000)], list(range(1_000)))  # imports and first allocations
    keys = [f"key:{number:09d}" for number in range(count)]
    values = list(range(MILLION, MILLION + count))  # integers past the small ones: an object each
    gc.collect()
    libc.malloc_trim(0)
    reset_peak()
    resident_before, allocated_before = resident(), allocated(libc)
    cache = fill(keys, values)
    highest = peak()
    gc.collect()
    libc.malloc_trim(0)
    grown = {
        "resident": resident() - resident_before,
        "malloc": allocated(libc) - allocated_before,
        "peak": highest - resident_before,
    }
    if len(cache) != count:
        message = f"{name} holds {len(cache)} of {count} entries"
        raise RuntimeError(message)
    return {measure: size / count for measure, size in grown.items()}


def _in_child(name: str, count: int) -> dict[str, float]:
    command = [sys.executable, __file__, name, str(count)]
    child = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 (this very file)
    figures: dict[str, float] = json.loads(child.stdout)
    return figures


def results(count: int = MILLION) -> Iterator[Result]:
    """One result for each kind of cache; the ratio is against a dict holding the same."""
    cases = [(name, count) for name in FILLS]
    if count == MILLION:
        cases.insert(1, ("TTLCache", PAST_DOUBLING))
    dict_figures = _in_child("dict", count)
    dict_bytes = max(dict_figures["resident"], dict_figures["malloc"])
    for name, entries in cases:
        figures = dict_figures if name == "dict" else _in_child(name, entries)
        size = max(figures["resident"], figures["malloc"])
        judged = name == "TTLCache" and entries == MILLION
        yield Result(
            row=f"{ROW}: {name}/{entries:_}",
            against="dict",
            judged=size,
            ours=size,
            theirs=dict_bytes,
            per="B",
            target=TARGET if judged else None,
            unit="B",
            gross=size / dict_bytes,
            note=", ".join(f"{measure} {figure:.1f}" for measure, figure in figures.items()),
        )


if __name__ == "__main__":
    print(json.dumps(measure_here(sys.argv[1], int(sys.argv[2]))))
