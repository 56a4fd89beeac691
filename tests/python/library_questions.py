"""Questions about the library: querysets with filters, joins, annotations, prefetches, and how each is evaluated.

A question is data, so that the same is asked cached and of the database, and before and after a change. What answers
are compared by is in library_answers.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from asgiref.sync import async_to_sync
from django.contrib.contenttypes.prefetch import GenericPrefetch
from django.db.models import (
    Avg,
    BooleanField,
    Case,
    CharField,
    Count,
    Exists,
    F,
    FilteredRelation,
    IntegerField,
    Max,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
    Window,
)
from django.db.models.functions import Rank, TruncDay
from django.utils import timezone
from hypothesis import strategies as st
from project.library.models import Novel, Reading, Remark, Subject, Work, Writer

from oxicache.django.queries import cached_queryset

__all__ = [
    "ENDS",
    "FAR",
    "NEAR",
    "OF_WORKS",
    "STEPS",
    "ZONES",
    "Question",
    "other_value",
    "questions",
]

NEAR, FAR = "near", "far"  # two databases
ZONES: Final = ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"]
MODELS: Final[dict[str, Any]] = {
    "novel": Novel,
    "reading": Reading,
    "remark": Remark,
    "subject": Subject,
    "work": Work,
    "writer": Writer,
}
NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)

Step = Callable[[Any, Any, "Question"], Any]


def _of(question: "Question", model: Any) -> Any:
    return model.objects.using(question.using)


def _held(question: "Question", queryset: Any) -> Any:
    """A queryset inside another, cached where the question is."""
    return cached_queryset(queryset, 60) if question.is_held else queryset


def _prefetched(lookup: str, model: Any, to_attr: str | None = None, **of: Any) -> Step:
    def step(queryset: Any, value: Any, question: "Question") -> Any:
        inner = _of(question, model).filter(**dict.fromkeys(of, value)).order_by("pk")
        return queryset.prefetch_related(Prefetch(lookup, inner, to_attr=to_attr))

    return step


def _from_far(queryset: Any, _: Any, question: "Question") -> Any:
    return queryset.prefetch_related(Prefetch("subjects", Subject.objects.using(FAR).order_by("pk"), "far"))


def _of_several(queryset: Any, rank: int, question: "Question") -> Any:
    of = [_of(question, Work).filter(rank=rank), _held(question, _of(question, Writer).exclude(name="bob"))]
    return queryset.prefetch_related(GenericPrefetch("target", of))


def _inner_cached(queryset: Any, weight: int, question: "Question") -> Any:
    inner = _held(question, _of(question, Subject).filter(weight=weight).order_by("pk"))
    return queryset.prefetch_related(Prefetch("subjects", inner, to_attr="weighed"))


def _plain(method: str) -> Step:
    def step(queryset: Any, value: Any, question: "Question") -> Any:
        return getattr(queryset, method)(*([value] if isinstance(value, str) else value))

    return step


def _where(*args: Any, **kwargs: Any) -> Step:
    def step(queryset: Any, value: Any, question: "Question") -> Any:
        return queryset.filter(*(make(value) for make in args), **dict.fromkeys(kwargs, value))

    return step


RANKS: Final = [0, 1, 2]
WORDS: Final = ["x", "y", "1"]
# By model, what may be asked of a queryset: values to choose from, and what is done.
STEPS: Final[dict[str, dict[str, tuple[list[Any], Step]]]] = {
    "work": {
        "title": (WORDS, _where(title=1)),
        "rank above": (RANKS, _where(rank__gt=1)),
        "writer": (["ann", "bob"], _where(writer__name=1)),
        "writer not": (["ann", "bob"], lambda one, value, _: one.exclude(writer__name=value)),
        "subject": (["a", "b"], _where(subjects__slug=1)),
        "subject not": (["a", "b"], lambda one, value, _: one.exclude(subjects=value)),
        "weight not": (RANKS, lambda one, value, _: one.exclude(subjects__weight=value)),
        "sequel": (WORDS, _where(sequel__title=1)),
        "remark": (WORDS, _where(remarks__text=1)),
        "read with": (RANKS, _where(reading__stars=1)),
        "is novel": ([False, True], _where(novel__isnull=1)),
        "fact": ([1, True, "1", None], _where(facts__a=1)),
        "on": ([NOON.date()], _where(written_at__date=1)),
        "or": (WORDS, _where(lambda value: Q(title=value) | Q(writer__name="ann", rank__lt=2))),
        "written by whom": (
            WORDS,
            lambda one, value, q: one.filter(writer__in=_held(q, _of(q, Writer).filter(works__title=value))),
        ),
        "has heavy": (
            RANKS,
            lambda one, value, q: one.filter(
                Exists(_of(q, Subject).filter(works=OuterRef("pk"), weight=value))
            ),
        ),
        "constant": (
            [1, True, "1"],
            lambda one, value, _: one.annotate(
                constant=Value(
                    value,
                    {bool: BooleanField(), int: IntegerField(), str: CharField()}[type(value)],  # type: ignore[index]
                )
            ),
        ),
        "subjects counted": ([0], lambda one, *_: one.annotate(n=Count("subjects"))),
        "weights summed": ([0], lambda one, *_: one.annotate(n=Sum("subjects__weight")).filter(n__gt=0)),
        "first remark": (
            [0],
            lambda one, _, q: one.annotate(
                said=Subquery(
                    _of(q, Remark).filter(object_id=OuterRef("pk")).order_by("pk").values("text")[:1]
                )
            ),
        ),
        "case": (RANKS, lambda one, v, _: one.annotate(c=Case(When(rank=v, then=F("title")), default=None))),
        "window": ([0], lambda one, *_: one.annotate(place=Window(Rank(), order_by="rank"))),
        "day": ([0], lambda one, *_: one.annotate(day=TruncDay("written_at"))),
        "some readings": (
            RANKS,
            lambda one, value, _: one.annotate(
                chosen=FilteredRelation("reading", condition=Q(reading__stars=value))
            ).filter(chosen__isnull=False),
        ),
        "by title": ([["-title", "pk"]], _plain("order_by")),
        "distinct": ([[]], _plain("distinct")),
        "only": ([["title"], ["writer"]], _plain("only")),
        "defer": ([["title"]], _plain("defer")),
        "with": ([["writer"], ["writer", "sequel__writer"], ["sequel"]], _plain("select_related")),
        "prefetch": (
            [["subjects"], ["remarks", "readers"], ["writer__works"], ["reading_set__reader"]],
            _plain("prefetch_related"),
        ),
        "prefetch heavy": (RANKS, _prefetched("subjects", Subject, "heavy", weight=1)),
        "prefetch some": (RANKS, _prefetched("subjects", Subject, weight=1)),
        "prefetch from far": ([0], _from_far),
        "prefetch cached": (RANKS, _inner_cached),
    },
    "novel": {
        "title": (WORDS, _where(title=1)),
        "pages": (RANKS, _where(pages=1)),
        "writer": (["ann", "bob"], _where(writer__name=1)),
        "subjects": ([["subjects"], ["work_ptr__remarks"]], _plain("prefetch_related")),
        "only": ([["pages"], ["title"]], _plain("only")),
        "with": ([["writer"]], _plain("select_related")),
    },
    "writer": {
        "wrote": (WORDS, _where(works__title=1)),
        "pages": (RANKS, _where(works__novel__pages=1)),
        "read": (RANKS, _where(read__rank=1)),
        "works counted": ([0], lambda one, *_: one.annotate(n=Count("works"), most=Max("works__rank"))),
        "prefetch": (
            [["works"], ["works__subjects", "remarks"], ["read__writer"]],
            _plain("prefetch_related"),
        ),
        "prefetch ranked": (RANKS, _prefetched("works", Work, "ranked", rank=1)),
    },
    "subject": {
        "about": (WORDS, _where(works__title=1)),
        "by": (["ann", "bob"], _where(works__writer__name=1)),
        "prefetch": ([["works"], ["works__writer"]], _plain("prefetch_related")),
    },
    "remark": {
        "text": (WORDS, _where(text=1)),
        "prefetch of several": (RANKS, _of_several),
        "prefetch": ([["target"]], _plain("prefetch_related")),
    },
    "reading": {
        "with": ([["work", "reader"], ["work__writer"]], _plain("select_related")),
        "stars": (RANKS, _where(stars=1)),
    },
}


def _one(queryset: Any, find: Callable[..., Any], *args: Any, **of: Any) -> Any:
    try:
        return find(*args, **of)
    except (queryset.model.DoesNotExist, queryset.model.MultipleObjectsReturned) as error:
        return type(error).__name__


def _pks(queryset: Any) -> Any:
    return queryset.order_by().values_list("pk")  # SQLite orders no part of a compound


async def _all_awaited(queryset: Any) -> list[Any]:
    return [one async for one in queryset]


End = Callable[[Any, "Question"], Any]
ENDS: Final[dict[str, End]] = {
    "list": lambda one, _: list(one),
    "evaluated twice": lambda one, _: [list(one), len(one), bool(one)],
    "slice": lambda one, _: list(one[1:3]),
    "item": lambda one, _: [*one[:1]][0:1],
    "first": lambda one, _: one.first(),
    "last": lambda one, _: one.last(),
    "get": lambda one, _: _one(one, one.get, pk=one.model._meta.pk.to_python("1")),
    "count": lambda one, _: one.count(),
    "count of slice": lambda one, _: one[:1].count(),
    "exists": lambda one, _: one.exists(),
    "values": lambda one, _: list(one.values()),
    "values of pk": lambda one, _: list(one.values_list("pk", flat=True)),
    "named": lambda one, _: list(one.values_list("pk", named=True)),
    "in bulk": lambda one, _: one.order_by("pk").in_bulk(),
    "highest": lambda one, _: one.aggregate(n=Count("pk"), most=Max("pk")),
    "reversed": lambda one, _: list(one.reverse()),
    "union": lambda one, q: list(_pks(one).union(_pks(_of(q, one.model))).order_by("pk")),
    "difference": lambda one, q: list(_pks(_held(q, _of(q, one.model))).difference(_pks(one)).order_by("pk")),
    "union of instances": lambda one, q: list(
        _held(q, _of(q, one.model)).union(_of(q, one.model).filter(pk__in=_pks(one)), all=True).order_by("pk")
    ),
    "contains": lambda one, _: one.contains(one.model(pk=one.model._meta.pk.to_python("1"))),
    "latest": lambda one, _: _one(one, one.latest, "pk"),
    "all of a database": lambda one, _: [list(one.using(using)) for using in (NEAR, FAR)],
    "both": lambda one, q: list((one | _of(q, one.model).all()).distinct().order_by("pk")),
    "alist": lambda one, _: async_to_sync(_all_awaited)(one),
    "acount": lambda one, _: async_to_sync(one.acount)(),
    "aexists": lambda one, _: async_to_sync(one.aexists)(),
    "afirst": lambda one, _: async_to_sync(one.afirst)(),
}
OF_WORKS: Final[dict[str, End]] = {
    "days": lambda one, _: list(one.datetimes("written_at", "day")),
    "months": lambda one, _: list(one.dates("written_at", "month")),
    "ranks": lambda one, _: list(one.values("rank").annotate(n=Count("pk")).order_by("rank")),
    "latest day": lambda one, _: one.aggregate(day=Max(TruncDay("written_at"))),
    "on a day": lambda one, _: one.aggregate(n=Count("pk", filter=Q(written_at__date=NOON.date()))),
    "of ann": lambda one, _: one.aggregate(n=Avg("rank", filter=Q(writer__name="ann"))),
    "facts": lambda one, _: list(one.values_list("facts", "facts__a")),
    "sum of counts": lambda one, _: one.annotate(of=Count("subjects")).aggregate(n=Sum("of")),
    "named in bulk": lambda one, _: one.order_by("pk").distinct().in_bulk([1, 3]),
    "aaggregate": lambda one, _: async_to_sync(one.aaggregate)(n=Sum("rank")),
}


@dataclass(frozen=True, repr=False)
class Question:
    """What is asked of one database. `by`: the key of the writer whose works it is about, through his relation."""

    model: str = "work"
    steps: tuple[tuple[str, Any], ...] = ()
    end: str = "list"
    using: str = NEAR
    zone: str = "UTC"
    by: int | None = None
    is_first: bool = True  # `cached()` before the steps, or after them
    is_held: bool = False

    def __repr__(self) -> str:
        given = {name: value for name, value in vars(self).items() if value != getattr(Question, name)}
        return f"Question({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def of(self, **changes: Any) -> "Question":
        """This question, with some of it otherwise."""
        return Question(**{**vars(self), **changes})

    def ask(self) -> Any:
        """Return the answer, or the name of an error that Django raises of such a question."""
        with timezone.override(self.zone):
            queryset = self._begin().order_by("pk")
            if self.is_held and self.is_first:
                queryset = cached_queryset(queryset, 60)
            for name, value in self.steps:
                found = tuple(value) if isinstance(value, list) else value
                queryset = STEPS[self.model][name][1](queryset, found, self)
            if self.is_held and not self.is_first:
                queryset = cached_queryset(queryset, 60)
            return (ENDS | OF_WORKS)[self.end](queryset, self)

    def _begin(self) -> QuerySet[Any]:
        # Where the relation itself is deferred Django asks for it, row by row, to set what is known; what is held has
        # it left deferred. And what is prefetched through what is known is held with a row of the database's.
        if self.by is None or any(name == "only" or value == ["writer__works"] for name, value in self.steps):
            return _of(self, MODELS[self.model]).all()  # type: ignore[no-any-return]
        writer = Writer(pk=self.by, name="given")
        writer._state.db, writer._state.adding = self.using, False
        return writer.works.all()


def _steps(model: str) -> st.SearchStrategy[tuple[tuple[str, Any], ...]]:
    known = STEPS[model]
    pairs = [(name, value) for name, (values, _) in known.items() for value in values]
    return st.lists(st.sampled_from(pairs), max_size=3, unique_by=lambda pair: pair[0]).map(tuple)


@st.composite
def questions(draw: st.DrawFn) -> Question:
    """Any question; works most of all."""
    model = draw(st.sampled_from(["work"] * 6 + sorted(MODELS)))
    ends = [*ENDS, *(OF_WORKS if model == "work" else ())]
    return Question(
        model,
        draw(_steps(model)),
        draw(st.sampled_from(["list"] * len(ends) + ends)),
        draw(st.sampled_from([NEAR, NEAR, FAR])),
        draw(st.sampled_from(ZONES)),
        draw(st.sampled_from([None, None, 1, 2])) if model == "work" else None,
        draw(st.booleans()),
    )


def other_value(question: Question, name: str, seed: int) -> Any:
    """Another value of a step, or the same."""
    values = STEPS[question.model][name][0]
    return values[seed % len(values)]
