"""Bytes that a backend of Django needs for an entry, key and value included: one child process for each.

Definition. The child stores entries and keeps none of what it stored. What has grown by then, divided by the
entries, is the figure: for NativeCache and LocMemCache the process, as memory.py measures it, the larger of two; for
Redis and memcached the resident memory of a server that was started for it; for diskcache the folder. Each worker
has a NativeCache or a LocMemCache of its own, and a server serves all: a figure is what one copy costs.

    python benches/backend_memory.py SPEC     (what run.py starts; SPEC is JSON, as `Spec` has it)
"""

import contextlib
import ctypes
import gc
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import backends
import memory
from backend_rows import record, small
from rows import Result

ROW = "bytes of an entry"
COUNT = 100_000
SLOW_COUNT = 10_000  # for diskcache, which writes each entry to SQLite
BATCH = 1_000
PROBES = 1_000  # entries looked for at the end: none may have been evicted
VALUES = {"small": small, "20-key dict": record}


@dataclass(frozen=True)
class Spec:
    """What a child measures."""

    entry: dict[str, Any]
    values: str
    count: int
    server: int | None = None  # the process that holds the entries, where it is not the child
    folder: str | None = None  # where they lie, where that is a disk

    @property
    def is_elsewhere(self) -> bool:
        """Whether something else than the child grows."""
        return self.server is not None or self.folder is not None


def measure_here(spec: Spec) -> dict[str, float]:
    """Store the entries through the backend of `spec`; bytes an entry by measure."""
    import django_setup

    django_setup.set_up("oxicache.django", CACHES={"default": spec.entry})

    from django.core.cache import cache

    make = VALUES[spec.values]
    cache.set("warm", make(0))
    if spec.is_elsewhere:
        # No more than that: a server and a disk would keep what they once took.
        cache.close()
        before = _sizes(spec)
        for start in range(0, spec.count, BATCH):
            cache.set_many({f"key:{number:09d}": make(number) for number in range(start, start + BATCH)})
        cache.close()
    else:
        _fill("warm", range(BATCH), make)  # imports and first allocations
        cache.clear()
        before = _sizes(spec)
        _fill("key", range(spec.count), make)
    after = _sizes(spec)
    probes = range(0, spec.count, max(1, spec.count // PROBES))
    if any(cache.get(f"key:{number:09d}") != make(number) for number in probes):
        message = f"{spec.entry['BACKEND']} does not hold all of {spec.count} entries"
        raise RuntimeError(message)
    return {measure: (after[measure] - before[measure]) / spec.count for measure in before}


def _fill(prefix: str, numbers: range, make: Callable[[int], Any]) -> None:
    """Store what was just missed, as applications do; a write would also end what shares its version word."""
    from django.core.cache import cache

    for number in numbers:
        key = f"{prefix}:{number:09d}"
        if cache.get(key) is None:
            cache.set(key, make(number))


def _sizes(spec: Spec) -> dict[str, int]:
    if spec.server is not None:
        return {"server": memory.resident(spec.server)}
    if spec.folder is not None:
        files = (path for path in Path(spec.folder).rglob("*") if path.is_file())
        return {"disk": sum(path.stat().st_blocks * 512 for path in files)}
    libc = ctypes.CDLL(None)
    gc.collect()
    libc.malloc_trim(0)
    return {"resident": memory.resident(), "malloc": memory.allocated(libc)}


@contextlib.contextmanager
def _spec(name: str, values: str, count: int) -> Iterator[Spec]:
    """The spec of the backend `name`, with a server that holds nothing else."""
    backend = backends.BACKENDS[name]
    if backend.server is not None:
        with backend.server.start() as server:
            entry = backend.entry(backends.address(server))
            yield Spec(entry, values, count, server=server.process.pid)
    elif backend.in_folder:
        folder = backends.folder()
        yield Spec(backend.entry(folder), values, min(count, SLOW_COUNT), folder=folder)
    else:
        options = {"MAX_ENTRIES": 2 * count}
        options |= {"MAX_BYTES": None} if name == backends.OURS else {}
        yield Spec(backend.entry("") | {"OPTIONS": options}, values, count)


def _in_child(spec: Spec) -> dict[str, float]:
    command = [sys.executable, __file__, json.dumps(asdict(spec))]
    child = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 (this very file)
    figures: dict[str, float] = json.loads(child.stdout)
    return figures


def results(count: int = COUNT) -> Iterator[Result]:
    """One result for each backend and kind of value, beside LocMemCache holding the same."""
    names = (backends.LOCMEM, *(name for name in backends.BACKENDS if name != backends.LOCMEM))
    for values in VALUES:
        locmem = 0.0
        for name in names:
            if backends.BACKENDS[name].absence() is not None:
                continue
            with _spec(name, values, count) as spec:
                figures = _in_child(spec)
            size = max(figures.values())
            locmem = locmem or size
            yield Result(
                row=f"{ROW}, {values}: {name}/{spec.count:_}",
                against=backends.LOCMEM,
                judged=size,
                ours=size,
                theirs=locmem,
                per="B",
                unit="B",
                gross=size / locmem,
                note=", ".join(f"{measure} {figure:.1f}" for measure, figure in figures.items()),
            )


if __name__ == "__main__":
    print(json.dumps(measure_here(Spec(**json.loads(sys.argv[1])))))
