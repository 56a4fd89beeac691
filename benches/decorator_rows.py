"""The timed rows of the decorators: on plain classes, Django models and saved rows of them, a thousand instances each.

"models" are instances that were never saved, whose entries are each instance's own. "rows" were read from a database.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import django_setup
from cache_rows import SIZE, TTL
from django.db import connection, models
from django.test.utils import CaptureQueriesContext
from django.utils.functional import cached_property as django_cached_property
from rows import Target, TimedRow
from timing import Contender

from oxicache import cached_function, cached_method, ttl_cached_property

ROOM = 4 * SIZE  # no decorated name evicts: each holds one entry an instance

django_setup.set_up("oxicache.django")


class _Decorated:
    """What each row calls: the same work, nothing, under each decorator."""

    def empty(self) -> None:
        """What calling a method costs when it does nothing."""

    def empty_of_one(self, language: str) -> None:
        """The same with an argument."""

    @cached_method(ttl=TTL, max_size=ROOM)
    def ours(self) -> int:
        return 1

    @cached_method(ttl=TTL, max_size=ROOM)
    def ours_of_one(self, language: str) -> int:
        return len(language)

    @functools.lru_cache(maxsize=ROOM)  # noqa: B019 (keeping instances alive is what people accept for its speed)
    def lru(self) -> int:
        return 1

    @functools.lru_cache(maxsize=ROOM)  # noqa: B019
    def lru_of_one(self, language: str) -> int:
        return len(language)

    @ttl_cached_property(ttl=TTL, max_size=ROOM)
    def ours_property(self) -> int:
        return 1

    @django_cached_property
    def djangos_property(self) -> int:
        return 1

    @functools.cached_property
    def stdlib_property(self) -> int:
        return 1


class Plain(_Decorated):
    """An ordinary class."""

    def __init__(self, number: int) -> None:
        self.number = number


class Row(_Decorated, models.Model):  # noqa: DJ008 (never shown)
    """A model, as applications decorate them."""

    number = models.IntegerField()

    class Meta:
        """The app has a name only because Django asks for one."""

        app_label = "benches"


def _plain_instances() -> list[Any]:
    return [Plain(number) for number in range(SIZE)]


def _model_instances() -> list[Any]:
    return [Row(pk=number + 1, number=number) for number in range(SIZE)]


def _rows() -> list[Any]:
    if Row._meta.db_table not in connection.introspection.table_names():
        django_setup.create_table(Row, _model_instances())
    # Instances that the rows before this one left there are equal to these by their keys, and slow lru_cache down.
    Row.lru.cache_clear()
    return list(Row._base_manager.order_by("pk"))


def _rows_that_hit() -> list[Any]:
    """Rows whose values are cached; that other instances than these loaded them is seen to."""
    for row in _rows():
        assert (row.ours(), row.ours_property) == (1, 1)
    others = _rows()
    with CaptureQueriesContext(connection) as queries:  # a miss reads the row anew
        assert {(row.ours(), row.ours_property) for row in others} == {(1, 1)}
    assert not queries.captured_queries, "a row's value is not found by another instance of it"
    return others


def _first_reads() -> list[Contender]:
    """Each instance is read once, as a request does with what it has just fetched."""
    names = [field.attname for field in Row._meta.concrete_fields]
    values = [[getattr(row, name) for name in names] for row in _rows_that_hit()]

    def fetch() -> list[Any]:
        return [Row.from_db("default", names, one) for one in values]

    made = fetch()
    return [
        Contender(name, statement, {"fetch": fetch}, made, "items = fetch()") for name, statement in _PROPERTY
    ]


def _calls(instances: Callable[[], list[Any]], statements: Sequence[tuple[str, str]]) -> list[Contender]:
    made = instances()
    return [Contender(name, statement, {"language": "en"}, made) for name, statement in statements]


_METHOD = (("cached_method", "item.ours()"), ("empty method", "item.empty()"), ("lru_cache", "item.lru()"))
_METHOD_OF_ONE = (
    ("cached_method", "item.ours_of_one(language)"),
    ("empty method", "item.empty_of_one(language)"),
    ("lru_cache", "item.lru_of_one(language)"),
)
_PROPERTY = (
    ("ttl_cached_property", "item.ours_property"),
    ("Django's cached_property", "item.djangos_property"),
    ("functools.cached_property", "item.stdlib_property"),
)


def _function() -> list[Contender]:
    def empty(key: str) -> None:
        """What calling a function costs when it does nothing."""

    def length(key: str) -> int:
        return len(key)

    ours = cached_function(ttl=TTL, max_size=ROOM)(length)
    lru = functools.lru_cache(maxsize=ROOM)(length)
    keys = [f"key:{number}" for number in range(SIZE)]
    calls = (("cached_function", ours), ("lru_cache", lru), ("empty function", empty))
    return [Contender(name, "call(item)", {"call": call}, keys) for name, call in calls]


ROWS = (
    TimedRow(
        "cached_method hit/1k",
        lambda: _calls(_plain_instances, _METHOD),
        {"empty method": Target("<=", 1.5), "lru_cache": Target("<=", 0.5)},
    ),
    TimedRow(
        "cached_method hit, one argument/1k",
        lambda: _calls(_plain_instances, _METHOD_OF_ONE),
    ),
    TimedRow(
        "cached_method hit, models/1k",
        lambda: _calls(_model_instances, _METHOD),
        {"empty method": Target("<=", 1.5), "lru_cache": Target("<=", 0.125)},
    ),
    TimedRow(
        "cached_method hit, one argument, models/1k",
        lambda: _calls(_model_instances, _METHOD_OF_ONE),
    ),
    TimedRow("cached_function hit/1k", _function),
    TimedRow(
        "ttl_cached_property hit/1k",
        lambda: _calls(_plain_instances, _PROPERTY),
        {"Django's cached_property": Target("<=", 1.7)},
    ),
    TimedRow(
        "ttl_cached_property hit, models/1k",
        lambda: _calls(_model_instances, _PROPERTY),
        {"Django's cached_property": Target("<=", 1.7)},
    ),
    TimedRow(
        "cached_method hit, rows/1k",
        lambda: _calls(_rows_that_hit, _METHOD),
        {"lru_cache": Target("<=", 0.125)},
    ),
    TimedRow(
        "ttl_cached_property hit, rows/1k",
        lambda: _calls(_rows_that_hit, _PROPERTY),
        {"Django's cached_property": Target("<=", 2.8)},
    ),
    TimedRow("ttl_cached_property, first read of an instance, rows/1k", _first_reads, countable=False),
)
