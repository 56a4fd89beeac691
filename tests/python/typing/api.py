"""What a type checker sees of the public names. Checked by mypy in `make lint`, never run.

An `assert_type` says what a name's type is; an `ignore` with its code says what is refused, and mypy reports the line
as soon as it is not.
"""

from collections.abc import AsyncIterator, Awaitable, Generator, Iterator
from datetime import timedelta
from typing import Any, assert_type

from django.db.models import Model, QuerySet

from oxicache import (
    DELETION_SET,
    AdaptiveTtl,
    CacheManager,
    TTLCache,
    aget_or_compute,
    cache_manager,
    cached_function,
    cached_method,
    get_or_compute,
    ttl_cached_property,
)
from oxicache.decorators import aget_data_with_fallback, get_data_with_fallback
from oxicache.django import cached_in
from oxicache.django.chunking import aiter_rows, iter_chunks, iter_rows
from oxicache.django.hierarchy import Descendants, descendants


def caches() -> None:
    cache: TTLCache[str, int] = TTLCache(max_size=10, ttl=timedelta(minutes=5), policy="s3fifo")
    assert_type(cache.get("a"), int | None)
    assert_type(cache.get("a", "none"), int | str)
    assert_type(cache["a"], int)
    assert_type(cache.pop("a"), int)
    assert_type(cache.pop("a", None), int | None)
    assert_type(cache.get_many(["a"]), dict[str, int])
    assert_type(cache.get_or_set("a", lambda: 1), int)
    assert_type(cache.time_left("a"), float | None)
    assert_type(list(cache), list[str])
    assert_type(cache.items(), list[tuple[str, int]])
    assert_type(cache._cache.pop("a", None), int | None)
    cache.set("a", 1, ttl=None, tags=["t"])
    cache.ttl = None

    cache.set("a", "text")  # type: ignore[arg-type]
    cache.get(1)  # type: ignore[call-overload]
    TTLCache(policy="fifo")  # type: ignore[arg-type]
    TTLCache(10, "60")  # type: ignore[arg-type]


def managers() -> None:
    assert_type(cache_manager, CacheManager)
    assert_type(cache_manager.get_cache("users", ttl=None), TTLCache[Any, Any])
    assert_type(cache_manager.names(), list[str])
    assert_type(cache_manager.cleanup_all(), dict[str, int])
    assert_type(7 in DELETION_SET, bool)
    with DELETION_SET.deleting(7):
        pass


@cached_function
def bare(number: int, *, exact: bool = False) -> str:
    return f"{number}{exact}"


@cached_function(ttl=60, max_size=10, early_refresh=1.0, background=True)
def with_options(number: int) -> list[int]:
    return [number]


@cached_function(ttl=timedelta(seconds=5))
async def awaited(number: int) -> str:
    return str(number)


def functions() -> None:
    assert_type(bare(1, exact=True), str)
    assert_type(with_options(1), list[int])
    assert_type(bare.invalidate(1, exact=True), bool)
    assert_type(bare.__name__, str)
    bare.cache_clear()

    bare("1")  # type: ignore[arg-type]
    bare(1, precise=True)  # type: ignore[call-arg]
    bare.invalidate("1")  # type: ignore[arg-type]
    cached_function(identity="class")  # type: ignore[call-overload]
    cached_function(depends_on="self")  # type: ignore[call-overload]


class Report:
    @ttl_cached_property
    def total(self) -> int:
        return 1

    @ttl_cached_property(ttl=1800, max_size=100)
    def name(self) -> str:
        return ""

    @cached_method
    def rows(self, year: int) -> list[str]:
        return [str(year)]

    @cached_method(ttl=300, max_size=50, identity=lambda report: report.name)
    def above(self, limit: float, *, strict: bool = True) -> tuple[float, bool]:
        return limit, strict

    @cached_method(grace=60, grace_errors=KeyError)
    def any_keyword(self, limit: float, **more: float) -> list[float]:
        return [limit, *more.values()]

    @cached_method
    def any_argument(self, *args: float, **more: float) -> int:
        return len(args) + len(more)

    @ttl_cached_property(ttl=300)
    async def promised(self) -> bytes:
        return b""

    @cached_method(ttl=300)
    async def fetched(self, year: int) -> bytes:
        return bytes(year)

    @ttl_cached_property(identity="row", fresh=False, vary="language", depends_on="children")
    def of_row(self) -> int:
        return 1

    @cached_method(vary=("timezone", lambda report: report.name), depends_on=[dict, "app.Model", "self"])
    def of_rows(self, year: int) -> int:
        return year


def methods(report: Report) -> None:
    assert_type(report.total, int)
    assert_type(report.name, str)
    del report.total
    assert_type(report.rows(2026), list[str])
    assert_type(report.above(1, strict=False), tuple[float, bool])
    assert_type(report.any_keyword(1, most=3), list[float])
    assert_type(report.any_argument(1, 2, most=3), int)
    assert_type(Report.rows(report, 2026), list[str])
    assert_type(Report.rows.invalidate(report, 2026), bool)
    assert_type(Report.total.invalidate(report), bool)
    assert_type(Report.total.cache, TTLCache[Any, Any])
    assert_type(report.of_row, int)
    assert_type(report.of_rows(2026), int)

    cached_method(identity="rows")  # type: ignore[call-overload]
    cached_method(vary="colour")  # type: ignore[arg-type]
    cached_method(depends_on=3)  # type: ignore[call-overload]
    ttl_cached_property(fresh="yes")  # type: ignore[call-overload]
    report.total = 2  # type: ignore[assignment]
    report.rows("2026")  # type: ignore[arg-type]
    report.above(1, loose=True)  # type: ignore[call-arg]


async def awaits(report: Report) -> None:
    assert_type(await awaited(1), str)
    assert_type(await report.fetched(2026), bytes)
    assert_type(await report.promised, bytes)


async def loads() -> None:
    def number() -> int:
        return 1

    async def later() -> int:
        return 1

    def promised() -> Awaitable[int]:
        return later()

    assert_type(get_or_compute("a", number), int)
    assert_type(get_or_compute("a", number, ttl=60, tags=["t"], cache="users"), int)
    assert_type(await aget_or_compute("a", later), int)
    assert_type(await aget_or_compute("a", promised), int)


def rows(models: QuerySet[Model], names: QuerySet[Model, str], node: Model) -> None:
    assert_type(iter_chunks(models, 5), Generator[list[Model], None, None])
    assert_type(iter_rows(names), Iterator[str])
    assert_type(aiter_rows(models), AsyncIterator[Model])
    assert_type(descendants(node, max_rows=5), Descendants[Model])
    assert_type(list(descendants([node])), list[Model])

    iter_rows([node])  # type: ignore[arg-type]


async def fallbacks() -> None:
    async def awaited() -> str:
        return "a"

    assert_type(get_data_with_fallback("a", lambda: 1, cache_name="b"), int)
    assert_type(await aget_data_with_fallback("a", awaited), str)


@cached_in("default", ttl=60, tags=lambda year: [f"year:{year}"])
def in_alias(year: int) -> list[str]:
    return [str(year)]


@cached_function(ttl=AdaptiveTtl(), key=len, condition=bool, vary="scope")
def adaptive(names: list[str]) -> int:
    return len(names)


def aliases() -> None:
    assert_type(in_alias(2026), list[str])
    assert_type(in_alias.invalidate(2026), int)
    assert_type(in_alias.key(year=2026), str | None)
    assert_type(adaptive(["a"]), int)
    assert_type(adaptive.invalidate(["a"]), bool)

    in_alias("2026")  # type: ignore[arg-type]
    cached_in(ttl=[])  # type: ignore[arg-type]
    cached_function(condition=True)  # type: ignore[call-overload]
