"""What oxicache adds to `save()`: one UPDATE of a row in SQLite, in processes with and without it.

A process either has oxicache or has not, so each kind has a child of its own. All wait, and one at a time takes a
sample; their order changes by round, and every few rounds they are replaced by new ones, because two processes that
run the same code differ by a percent or two for as long as they live.

    python benches/save_cost.py alone     (what run.py starts; it reads numbers of saves and prints nanoseconds)
"""

import contextlib
import gc
import random
import sys
from collections.abc import Iterator
from time import perf_counter_ns

from children import Child
from rows import Result, Target
from timing import SEED, quartiles

ROW = "save()"
APPS = {"alone": (), "undecorated": ("oxicache.django",), "decorated": ("oxicache.django",)}
NAMES = {"undecorated": "model without decorated members", "decorated": "model with a decorated member"}
LIMIT = Target("<=", 2, "us")
NO_QUERIES = Target("<=", 0, "queries")
ROUNDS_OF_A_CHILD = 3
WARM_SAVES = 200


def serve(kind: str) -> None:
    """Answer each number read from stdin with the nanoseconds that as many saves took; first say a save's queries."""
    import django_setup

    django_setup.set_up(*APPS[kind])

    from django.db import connection, models
    from django.test.utils import CaptureQueriesContext

    class Row(models.Model):  # noqa: DJ008 (never shown)
        number = models.IntegerField()

        class Meta:
            app_label = "benches"

        if kind == "decorated":
            from oxicache import ttl_cached_property

            @ttl_cached_property(ttl=3_600.0)
            def doubled(self) -> int:
                return 2 * self.number

    django_setup.create_table(Row, [Row(number=0)])
    row = Row._base_manager.get()
    for number in range(WARM_SAVES):
        row.number = number
        row.save()
        if kind == "decorated":
            assert row.doubled == 2 * number, "save() does not invalidate"
    with CaptureQueriesContext(connection) as queries:
        row.save()
    print(len(queries), flush=True)
    gc.disable()
    for line in sys.stdin:
        saves = int(line)
        started = perf_counter_ns()
        for _ in range(saves):
            row.save()
        print(perf_counter_ns() - started, flush=True)


def _save(child: Child, count: int) -> float:
    """Microseconds of one save, the mean of `count`."""
    return child.answer(count) / count / 1_000


@contextlib.contextmanager
def _children() -> Iterator[dict[str, Child]]:
    with contextlib.ExitStack() as stack:
        children = {}
        for kind in APPS:
            children[kind] = Child(__file__, kind)
            stack.callback(children[kind].end)
        yield children


def _measured(rounds: int, sample_ns: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    times: dict[str, list[float]] = {kind: [] for kind in APPS}
    queries: dict[str, int] = {}
    order = list(APPS)
    shuffle = random.Random(SEED).shuffle
    while len(times["alone"]) < rounds:
        with _children() as children:
            queries = {kind: child.first for kind, child in children.items()}
            saves = max(1, round(sample_ns / 1_000 / _save(children["alone"], 10)))
            for _ in range(min(ROUNDS_OF_A_CHILD, rounds - len(times["alone"]))):
                shuffle(order)
                for kind in order:
                    times[kind].append(_save(children[kind], saves))
    return times, queries


def results(rounds: int, sample_ns: int) -> Iterator[Result]:
    """What each kind of model adds, in microseconds and in queries; differences are taken round by round."""
    times, queries = _measured(rounds, sample_ns)
    alone, alone_lower, alone_upper = quartiles(times["alone"])
    for kind, name in NAMES.items():
        added = [ours - theirs for ours, theirs in zip(times[kind], times["alone"], strict=True)]
        middle, lower, upper = quartiles(added)
        ours = quartiles(times[kind])[0]
        yield Result(
            row=f"{ROW}, time added: {name}",
            against="Django alone",
            judged=middle,
            ours=ours,
            theirs=alone,
            per="us",
            target=LIMIT if kind == "undecorated" else None,
            unit="us",
            gross=ours / alone,
            spread=(lower, upper),
            note=f"Django alone takes {alone_lower:.1f} to {alone_upper:.1f} us (quartiles)",
        )
        yield Result(
            row=f"{ROW}, queries added: {name}",
            against="Django alone",
            judged=queries[kind] - queries["alone"],
            ours=queries[kind],
            theirs=queries["alone"],
            per="queries",
            target=NO_QUERIES,
            unit="queries",
        )


if __name__ == "__main__":
    serve(sys.argv[1])
