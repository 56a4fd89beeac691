"""What operators cost: the figures of eight live workers, and what a worker's own Python waits for when it is asked.

The workers are processes of their own. The one that is asked does nothing but read its cache and look at the clock, and
notes the longest time between two looks: in slices that are asked without a pause, and in slices between them that are
left alone, which tell how long the machine itself keeps it waiting.

    python benches/control.py serve DIR     (what run.py starts; `spin DIR` is the worker that looks at the clock)
"""

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic_ns

from rows import Result, Target

from oxicache import TTLCache, _native, cache_manager, live, operations, workers
from oxicache.sites import Site

STATS = "stats of 8 workers, 20 caches each"
DELAY = "longest wait of Python while its worker is asked"
NAMESPACE = "benches"
WORKERS = 8
CACHES = 20
ENTRIES = 1_000  # in each
SLICE_NS = 50_000_000  # in which hundreds of requests are answered
REQUESTS = {
    "stats": {"verb": "stats", "patterns": True},
    "top": {"verb": "top", "by": "bytes", "limit": 10},
    "health": {"verb": "health"},
}


def available() -> bool:
    """Whether processes can be reached here."""
    return sys.platform == "linux"


# ---------------------------------------------------------------- a worker


def serve(directory: str) -> None:
    """Be a worker with caches until the input ends."""
    _reachable(directory)
    for _ in sys.stdin:
        pass


def spin(directory: str) -> None:
    """For each line read, look at the clock for a slice; print the longest time between two looks."""
    cache = _reachable(directory)
    for _ in sys.stdin:
        longest, before = 0, monotonic_ns()
        end = before + SLICE_NS
        while before < end:
            cache.get("1")
            now = monotonic_ns()
            longest, before = max(longest, now - before), now
        print(longest, flush=True)


def _reachable(directory: str) -> TTLCache[str, int]:
    for number in range(CACHES):
        cache: TTLCache[str, int] = cache_manager.get_cache(f"cache {number}", max_size=2 * ENTRIES)
        for key in range(ENTRIES):
            cache.set(str(key), key)
    _native.control_answer(live.answer)
    state = _native.control_start(directory, NAMESPACE)
    if not state["serving"]:
        sys.exit(f"nobody can reach this process: {state['reason']}")
    print("serving", flush=True)
    return cache


# ---------------------------------------------------------------- the operator


def results(rounds: int) -> Iterator[Result]:
    """The figures of eight workers; then one result for each request."""
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="oxb-"))
        site = Site(folders=(workers.folder_of(directory, NAMESPACE),))
        for _ in range(WORKERS):
            stack.enter_context(_worker("serve", directory))
        yield _stats(site, rounds)
    for name, request in REQUESTS.items():
        yield _delay(name, request, rounds)


def _stats(site: Site, rounds: int) -> Result:
    times = []
    for _ in range(rounds):
        started = monotonic_ns()
        report = operations.stats(site)
        times.append((monotonic_ns() - started) / 1_000)
        assert len(report.reach.answered) == WORKERS, f"only {report.reach.answered} answered"
    low, _, high = statistics.quantiles(times, n=4)
    return Result(
        STATS,
        "nothing",
        judged=statistics.median(times),
        ours=statistics.median(times),
        theirs=None,
        per="us",
        target=Target("<=", 50_000, "us"),
        unit="us",
        spread=(low, high),
    )


def _delay(name: str, request: dict[str, object], rounds: int) -> Result:
    asked, alone = [], []
    with tempfile.TemporaryDirectory(prefix="oxb-") as directory, _worker("spin", directory) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        (worker,) = workers.discover(workers.folder_of(directory, NAMESPACE))
        for number in range(2 * rounds):
            process.stdin.write("\n")
            process.stdin.flush()
            end = monotonic_ns() + SLICE_NS
            while number % 2 and monotonic_ns() < end:
                assert workers.ask([worker], request).answers
            (asked if number % 2 else alone).append(int(process.stdout.readline()) / 1_000)
    low, _, high = statistics.quantiles(asked, n=4)
    return Result(
        f"{DELAY} for {name}",
        "a worker left alone",
        judged=statistics.median(asked),
        ours=statistics.median(asked),
        theirs=statistics.median(alone),
        per="us",
        target=Target("<=", 1_000, "us"),
        unit="us",
        spread=(low, high),
    )


@contextmanager
def _worker(kind: str, directory: str) -> Iterator["subprocess.Popen[str]"]:
    """A worker that can be reached, for the length of the block."""
    command = [sys.executable, __file__, kind, directory]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 (this very file)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "serving\n"
        yield process
        process.stdin.close()


if __name__ == "__main__":
    {"serve": serve, "spin": spin}[sys.argv[1]](sys.argv[2])
