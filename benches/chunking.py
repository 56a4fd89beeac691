"""A table read from its first row to its last: in chunks that begin after a row, and in the other ways there are.

Each way has a process of its own, because what is judged of its memory is the highest it ever was. All read one SQLite
file, which is written once. Times are the processor's: the database runs in the process. A streamed response is read as
a server reads it, beside one that is made as a whole.

    python benches/chunking.py WAY FILE COUNT     (what run.py starts; it prints JSON)
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time
from typing import Any

import memory
from rows import Result, Target

ROW = "rows in chunks"
STREAM = "list response"
OURS = "iter_rows"
STREAMED = "stream_response"
SIZE = 500  # rows at a time, in every way that has such a number
WARM_ROWS = 2 * SIZE
MEBIBYTE = 2**20
GROWTH = Target("<=", 8, "MiB")  # whatever the number of rows: a list of a million instances takes hundreds


def _connected(path: str) -> Any:
    """The model of the table in the file."""
    import django_setup

    django_setup.set_up(
        "oxicache.django",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": path}},
        ALLOWED_HOSTS=["testserver"],
    )

    from django.db import models

    class Row(models.Model):  # noqa: DJ008 (never shown)
        title = models.CharField(max_length=50)
        number = models.IntegerField()

        class Meta:
            app_label = "benches"

    return Row


def write(path: str, count: int) -> None:
    """Make the table, with `count` rows."""
    row = _connected(path)
    import django_setup

    django_setup.create_table(row)
    for start in range(0, count, 10_000):
        numbers = range(start, min(count, start + 10_000))
        row.objects.bulk_create(row(title=f"row number {number}", number=number) for number in numbers)


def _in_chunks(queryset: Any, _: int) -> Iterator[Any]:
    from oxicache.django.chunking import iter_rows

    return iter_rows(queryset, SIZE)


def _in_slices(queryset: Any, count: int) -> Iterator[Any]:
    for start in range(0, count, SIZE):
        yield from queryset[start : start + SIZE]


def _by_iterator(queryset: Any, _: int) -> Iterator[Any]:
    return queryset.iterator(chunk_size=SIZE)  # type: ignore[no-any-return]


def _as_list(queryset: Any, _: int) -> Iterator[Any]:
    return iter(list(queryset))


def _serialized(row: Any) -> dict[str, Any]:
    return {"id": row.pk, "title": row.title, "number": row.number}


def _streamed(queryset: Any, _: int) -> Iterator[Any]:
    from django.test import RequestFactory

    from oxicache.django.streaming import stream_response

    return iter(stream_response(RequestFactory().get("/"), queryset, _serialized, size=SIZE))


def _whole(queryset: Any, _: int) -> Iterator[Any]:
    from django.http import JsonResponse

    return iter(JsonResponse([_serialized(row) for row in queryset], safe=False))


WAYS: dict[str, Callable[[Any, int], Iterator[Any]]] = {
    OURS: _in_chunks,
    "slices with OFFSET": _in_slices,
    "queryset.iterator()": _by_iterator,
    "list(queryset)": _as_list,
    STREAMED: _streamed,
    "JsonResponse": _whole,
}


def measure_here(way: str, path: str, count: int) -> dict[str, float]:
    """Read all rows; processor seconds to the first and to the last, and how many bytes the process grew by at most."""
    read = WAYS[way]
    queryset = _connected(path).objects.order_by("pk")
    for _ in read(
        queryset.filter(pk__lte=WARM_ROWS), WARM_ROWS
    ):  # imports, compiled queries, first allocations
        pass
    memory.reset_peak()
    before = memory.resident()
    started = process_time()
    rows = read(queryset, count)
    found = next(rows)
    first = process_time() - started
    got = 1 if way in ROWS else len(found)
    for found in rows:
        got += 1 if way in ROWS else len(found)
    spent = process_time() - started
    if got < count or (way in ROWS and got != count):
        message = f"{way} read {got} of {count} rows"
        raise RuntimeError(message)
    return {"first": first, "spent": spent, "grown": memory.peak() - before, "got": got}


ROWS = (OURS, "slices with OFFSET", "queryset.iterator()", "list(queryset)")  # the others give bytes


def _in_child(*arguments: str) -> dict[str, float]:
    command = [sys.executable, __file__, *arguments]
    child = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 (this very file)
    figures: dict[str, float] = json.loads(child.stdout)
    return figures


def results(count: int) -> Iterator[Result]:
    """Time for a row beside each other way; time to the first, and memory, beside the way that reads all at once."""
    with tempfile.TemporaryDirectory(prefix="oxicache-benches-") as folder:
        path = str(Path(folder) / "rows.sqlite3")
        _in_child("write", path, str(count))
        figures = {way: _in_child(way, path, str(count)) for way in WAYS}
    for way in ROWS[1:]:
        yield _time(ROW, OURS, way, figures, count)
    for row, ours, way in ((ROW, OURS, "list(queryset)"), (STREAM, STREAMED, "JsonResponse")):
        if ours == STREAMED:
            yield _time(row, ours, way, figures, count)
        mine, theirs = figures[ours], figures[way]
        yield Result(
            row=f"{row}, time to the first: {ours}/{count:_}",
            against=way,
            judged=mine["first"] / theirs["first"],
            ours=mine["first"] * 1e6,
            theirs=theirs["first"] * 1e6,
            per="us",
            gross=mine["first"] / theirs["first"],
        )
        yield Result(
            row=f"{row}, memory: {ours}/{count:_}",
            against=way,
            judged=mine["grown"] / MEBIBYTE,
            ours=mine["grown"] / MEBIBYTE,
            theirs=theirs["grown"] / MEBIBYTE,
            per="MiB",
            target=GROWTH,
            unit="MiB",
        )


def _time(row: str, ours: str, way: str, figures: dict[str, dict[str, float]], count: int) -> Result:
    mine, theirs = figures[ours]["spent"], figures[way]["spent"]
    return Result(
        row=f"{row}, a row: {ours}/{count:_}",
        against=way,
        judged=mine / theirs,
        ours=mine / count * 1e6,
        theirs=theirs / count * 1e6,
        per="us",
        gross=mine / theirs,
        note=f"{mine:.1f} s, and {theirs:.1f} s for {way}",
    )


def main(way: str, path: str, count: str) -> None:
    """What a child does."""
    if way == "write":
        write(path, int(count))
        print("{}")
    else:
        print(json.dumps(measure_here(way, path, int(count))))


if __name__ == "__main__":
    main(*sys.argv[1:])
