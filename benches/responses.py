"""What a cached response costs: hits and misses of `cached_view` beside Django's `cache_page` and drf-extensions.

Each group of rows has a process of its own, for the settings it needs; the contenders of a row take turns in it, as
everywhere. The views stand in cached_pages.py and cached_sites.py.

    python benches/responses.py GROUP ROUNDS SAMPLE_NS     (what run.py starts; it prints a Result a line as JSON)
"""

import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import cached_pages as pages
import cached_sites as sites
import children
from cached_pages import (
    ANONYMOUS,
    BARE,
    ON_LOCMEM,
    ON_NATIVE,
    PAGE_ON_LOCMEM,
    PAGE_ON_NATIVE,
    USER,
)
from rows import Result, Target, TimedRow

ROW = "response"
SIZES = {"1 kB": 1_000, "10 kB": 10_000, "100 kB": 100_000}
JUDGED = "10 kB"  # the size that the target speaks of
THREE_TIMES = Target(">=", 3, "x faster")
NO_SLOWER = Target("<=", 1)
NO_QUERY = Target("<=", 0, "queries")


def _hits(*, is_async: bool) -> Iterator[TimedRow]:
    """On each backend beside the same backend, and NativeCache beside LocMemCache."""
    kind = "async hit" if is_async else "hit"
    for size, length in SIZES.items():
        for visitor in (ANONYMOUS,) if is_async else (ANONYMOUS, USER):
            row = f"{ROW}, {kind}, {size}, {visitor}"
            is_judged = size == JUDGED
            for ours, theirs, targets in (
                (
                    ON_NATIVE,
                    (PAGE_ON_LOCMEM, PAGE_ON_NATIVE),
                    {PAGE_ON_LOCMEM: THREE_TIMES, PAGE_ON_NATIVE: NO_SLOWER},
                ),
                (ON_LOCMEM, (PAGE_ON_LOCMEM,), {PAGE_ON_LOCMEM: NO_SLOWER}),
            ):
                yield TimedRow(
                    f"{row}: {ours}",
                    functools.partial(pages.hits, (ours, *theirs), length, visitor, is_async=is_async),
                    targets if is_judged else {},
                )


def _many(rounds: int, sample_ns: int) -> Iterator[Result]:
    """Pages whose keys nobody remembers, beside those that are asked for again and again."""
    names = (ON_NATIVE, PAGE_ON_LOCMEM, PAGE_ON_NATIVE)
    build = functools.partial(pages.hits, names, SIZES["1 kB"], ANONYMOUS, count=pages.MANY)
    row = f"{ROW}, hit, 1 kB, {ANONYMOUS}, {pages.MANY:_} pages: {ON_NATIVE}"
    yield from TimedRow(row, build).results(rounds, sample_ns)


def _misses(*, is_async: bool) -> Iterator[TimedRow]:
    kind = "async miss" if is_async else "miss"
    for size, length in SIZES.items():
        names = (ON_NATIVE, PAGE_ON_LOCMEM, PAGE_ON_NATIVE, BARE)
        build = functools.partial(pages.misses, names, length, is_async=is_async)
        yield TimedRow(f"{ROW}, {kind}, {size}: {ON_NATIVE}", build)
    if not is_async:
        build = functools.partial(pages.guarded, SIZES[JUDGED])
        yield TimedRow(f"{ROW}, {kind}, {JUDGED}, {USER}: the guard alone", build)


def _timed(rows: Callable[..., Iterator[TimedRow]], rounds: int, sample_ns: int) -> Iterator[Result]:
    for is_async in (False, True):
        for row in rows(is_async=is_async):
            yield from row.results(rounds, sample_ns)


def _dashboard(rounds: int, sample_ns: int) -> Iterator[Result]:
    """What a hit saves, in time and in queries of the view's own: the user of these requests has been loaded."""
    row = f"{ROW}, dashboard of {sites.PANELS} queries, {USER}"
    yield from TimedRow(f"{row}: {ON_NATIVE}", sites.dashboards).results(rounds, sample_ns)
    requests = pages.Requests(USER)
    view = pages.cachings(USER)[ON_NATIVE][1](sites.dashboard())
    theirs = sites.queries_of(lambda: view(requests.one(0)))
    ours = sites.queries_of(lambda: view(requests.one(0)))
    yield Result(f"{row}, queries of a hit", BARE, ours, ours, theirs, "queries", NO_QUERY, "queries")


def _api(rounds: int, sample_ns: int) -> Iterator[Result]:
    """Around the whole view, where a hit runs nothing of the framework; and around its method."""
    row = f"{ROW}, list of {sites.ROWS} rows of Django REST framework"
    around = (ON_NATIVE, PAGE_ON_LOCMEM, PAGE_ON_NATIVE, BARE)
    yield from TimedRow(f"{row}: {ON_NATIVE}", lambda: sites.apis(around)).results(rounds, sample_ns)
    on_method = [sites.API_ON_NATIVE, *sites.extension_names(), BARE]
    found = TimedRow(f"{row}, its method: {sites.API_ON_NATIVE}", lambda: sites.apis(on_method))
    yield from (results := found.results(rounds, sample_ns))
    if not sites.extension_names():
        ours = results[0].ours
        yield Result(
            found.name, "drf-extensions: no rest_framework_extensions", ours, ours, None, "ns", unit="ns"
        )


def _whole(rounds: int, sample_ns: int) -> Iterator[Result]:
    views = (ON_NATIVE, PAGE_ON_LOCMEM, PAGE_ON_NATIVE, BARE)
    whole_sites = (sites.SITE_ON_NATIVE, sites.SITE_ON_LOCMEM, BARE)
    for visitor, names in ((ANONYMOUS, views), (USER, views), (ANONYMOUS, whole_sites)):
        build = functools.partial(sites.whole, names, SIZES[JUDGED], visitor)
        row = TimedRow(f"{ROW}, whole request, {JUDGED}, {visitor}: {names[0]}", build)
        yield from row.results(rounds, sample_ns)


SLOW = {"hit of many pages"}  # left out of quick runs
GROUPS: dict[str, Callable[[int, int], Iterator[Result]]] = {
    "hit": functools.partial(_timed, _hits),
    "hit of many pages": _many,
    "miss": functools.partial(_timed, _misses),
    "dashboard": _dashboard,
    "API": _api,
    "whole request": _whole,
}


def available() -> bool:
    """Whether Django REST framework is installed: the settings of these processes name it."""
    return find_spec("rest_framework") is not None


def results(group: str, rounds: int, sample_ns: int) -> Iterator[Result]:
    """The rows of a group, from a process of its own."""
    return children.results_of(__file__, group, rounds, sample_ns)


if __name__ == "__main__":
    pages.set_up()
    for result in GROUPS[sys.argv[1]](*map(int, sys.argv[2:])):
        print(json.dumps(dataclasses.asdict(result)), flush=True)
