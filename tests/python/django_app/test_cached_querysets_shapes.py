"""Shapes of querysets: two that have one ask the database the same."""

import random
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.core.exceptions import EmptyResultSet, FieldError
from django.db.models import Count, F, Q
from django.test import override_settings
from project.library.models import Novel, Work

from oxicache.django.queries import cached_queryset, shapes

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

Step = Callable[[Any], Any]


def _each(method: str, *given: Any) -> list[Step]:
    return [lambda rows, one=one: getattr(rows, method)(one) for one in given]


def _of(method: str, name: str, values: Iterable[Any]) -> list[Step]:
    return [lambda rows, one=one: getattr(rows, method)(**{name: one}) for one in values]


STEPS: list[Step] = [
    *_of("filter", "rank", [0, 1]),
    *_of("exclude", "rank", [0, 1]),
    *_of("filter", "rank__gt", [0, 1]),
    *_of("filter", "rank__range", [(0, 1), (0, 2)]),
    *_of("filter", "title", ["0", "1", "a, b"]),
    *_of("filter", "title__in", [["a"], ["a", "b"], ["a, b"], ["a', 'b"]]),
    *_of("filter", "title__startswith", "ab"),
    *_of("filter", "title__endswith", "ab"),
    *_of("filter", "pk__in", [[1], [1, 2], []]),
    *_of("filter", "writer", [1, None]),
    *_of("filter", "writer__isnull", [True, False]),
    *_of("filter", "writer__name", "ab"),
    *_of("exclude", "writer__name", "ab"),
    *_of("filter", "sequel__writer__name", "ab"),
    *_of("filter", "prequels__rank", [0, 1]),
    *_of("filter", "subjects__slug", "ab"),
    *_of("exclude", "subjects__slug", "ab"),
    *_of("filter", "reading__stars", [0, 1]),
    *_of("filter", "reading__reader", [0, 1]),
    *_of("filter", "remarks__text", "ab"),
    *_of("filter", "written_at", [NOON, NOON.replace(tzinfo=timezone(timedelta(hours=1)))]),
    *_of("filter", "written_at__year", [2026]),
    *_of("annotate", "count", [Count("subjects"), Count("readers")]),
    *_each("filter", Q(rank=1) | Q(title="1"), Q(rank=1) & Q(title="1"), ~Q(rank=1), Q(rank=F("id"))),
    *_each("order_by", "rank", "-rank", "writer__name", "writer", "?", F("rank").desc()),
    *_each("select_related", "writer", "sequel", "sequel__writer", "novel"),
    *_each("only", "rank", "title", "writer__name"),
    *_each("defer", "rank", "facts"),
    *_each("values", "rank", "title", "writer__name"),
    lambda rows: rows.values_list("rank", "title"),
    lambda rows: rows.values_list("title", "rank"),
    lambda rows: rows.reverse(),
    lambda rows: rows.distinct(),
    lambda rows: rows.order_by(),
    lambda rows: rows.none(),
    lambda rows: rows[:2],
    lambda rows: rows[1:3],
]


def told(count: int = 1500) -> tuple[int, Any]:
    """Return how often a shape was met again, and the first two queries of one shape that ask something else."""
    draw = random.Random(8)
    met: dict[str, Any] = {}
    again = 0
    for _ in range(count):
        rows = cached_queryset(draw.choice([Work, Novel]).objects.all())
        asked: Any = None
        try:
            for step in draw.choices(STEPS, k=draw.randint(0, 4)):
                rows = step(rows)
            asked = rows.query.clone().get_compiler("default").as_sql()
        except EmptyResultSet:
            pass
        except (FieldError, TypeError):  # what Django does not allow together
            continue
        if (shape := shapes.shape_of(rows.query)) is None:
            continue
        key = repr(tuple(shape))
        again += key in met
        if repr(met.setdefault(key, asked)) != repr(asked):
            return again, (met[key], asked)
    return again, None


@pytest.fixture(autouse=True)
def _native() -> Iterator[None]:
    with override_settings(CACHES={"default": {"BACKEND": "oxicache.django.backends.NativeCache"}}):
        yield


class TestShapes:
    def test_tell_queries_apart(self) -> None:
        """Whatever a queryset is made of, in whichever order."""
        again, wrong = told()
        assert wrong is None
        assert again > 150

    @pytest.mark.parametrize(
        "mistake", [{"_column": (), "_table": ()}, {"_value": 0}, {"_text": ""}], ids=str
    )
    def test_a_shape_that_tells_too_little_is_found(
        self, mistake: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By the same querysets. Columns and tables tell much of each other."""
        for name, told_of_all in mistake.items():
            monkeypatch.setattr(shapes, name, lambda *_, told_of_all=told_of_all: told_of_all)
        assert told()[1] is not None

    def test_are_left_alone(self) -> None:
        """To ask for a shape, and to compile, changes nothing of a query."""
        rows = cached_queryset(Work.objects.select_related("writer").order_by("sequel__title"))
        before = shapes.shape_of(rows.query)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("oxicache.django.queries.compiling.fetch", lambda *_: [[], [], []])
            list(rows)
        assert before is not None
        assert shapes.shape_of(rows.all().query) == before
