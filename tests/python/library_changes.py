"""Changes of the library's rows, in every way that something is to notice. Each takes a database and what it draws."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from asgiref.sync import async_to_sync
from django.contrib.contenttypes.models import ContentType
from django.db import connections
from django.db.models import F, QuerySet
from hypothesis import strategies as st
from library_questions import NEAR, NOON, RANKS, WORDS
from project.library.models import Novel, Reading, Remark, Subject, Work, Writer

from oxicache.django.queries import cached_queryset

__all__ = ["CHANGES", "NOVEL", "Change", "changes", "lay_out"]

NOVEL: Final = 3  # of works 1 to 3
SLUGS: Final = ["a", "b"]


@dataclass(frozen=True)
class Change:
    """What is done, to which row or of which value."""

    name: str
    number: int = 1
    word: str = "x"
    rank: int = 1

    def do(self, using: str) -> None:
        """Do it, on whatever is under this alias now."""
        CHANGES[self.name](using, self)


Doing = Callable[[str, Change], object]


def changes(using: str) -> st.SearchStrategy[Change]:
    """Any change; what nothing but the watch on statements notices on the database that is watched."""
    names = [name for name in CHANGES if using == NEAR or not name.startswith("raw")]
    return st.builds(
        Change, st.sampled_from(names), st.integers(1, 3), st.sampled_from(WORDS), st.sampled_from(RANKS)
    )


def lay_out(using: str) -> None:
    """Begin with two writers, two subjects, three works of which one is a novel, and a remark."""
    for model in (Remark, Reading, Novel, Work, Subject, Writer):
        QuerySet(model, using=using).all().delete()
    Writer.objects.using(using).bulk_create([Writer(pk=1, name="ann"), Writer(pk=2, name="bob")])
    Subject.objects.using(using).bulk_create([Subject(pk=slug, weight=1) for slug in SLUGS])
    for number in (1, 2, NOVEL):
        _new_work(using, number, rank=number % 3, title=WORDS[number - 1])
    _work(using, 1).subjects.add(*SLUGS)  # type: ignore[union-attr]
    _remark(using, Change("remark"))


def _new_work(using: str, number: int, **values: Any) -> None:
    model = Novel if number == NOVEL else Work
    by = Writer.objects.using(using).filter(pk=1 + number % 2).first()
    facts = {"a": [1, "1", True][number - 1]}
    # Not the same day everywhere.
    written_at = NOON + timedelta(hours=8 * number)
    model.objects.using(using).create(pk=number, writer=by, facts=facts, written_at=written_at, **values)


def _work(using: str, number: int) -> Work | None:
    return Work.objects.using(using).filter(pk=number).first()


def _works(using: str, change: Change) -> Any:
    return Work.objects.using(using).filter(pk=change.number)


def _save(using: str, change: Change) -> None:
    work = _work(using, change.number)
    if work is None:
        _new_work(using, change.number, title=change.word, rank=change.rank)
    else:
        work.title, work.rank, work.facts = change.word, change.rank, {"a": change.word}
        work.save()


def _save_some(using: str, change: Change) -> None:
    if (work := _work(using, change.number)) is not None:
        work.rank = change.rank
        work.save(update_fields=["rank"])


def _novel(using: str, change: Change) -> None:
    novel = Novel.objects.using(using).filter(pk=NOVEL).first()
    if novel is not None:
        novel.pages, novel.title = change.rank, change.word
        novel.save()


def _move(using: str, change: Change) -> None:
    if (work := _work(using, change.number)) is not None:
        work.writer = Writer.objects.using(using).filter(name="ann" if change.rank else "bob").first()
        work.sequel_id = Work.objects.using(using).order_by("-pk").values_list("pk", flat=True).first()
        work.save()


def _relate(how: str, *, is_reverse: bool = False) -> Doing:
    def relate(using: str, change: Change) -> None:
        work = _work(using, change.number)
        subject = Subject.objects.using(using).filter(pk=SLUGS[change.rank % 2]).first()
        if work is None or subject is None:
            return
        relation: Any = subject.works if is_reverse else work.subjects
        other = work if is_reverse else subject
        if how == "clear":
            relation.clear()
        else:
            getattr(relation, how)([other] if how == "set" else other)

    return relate


def _write_again(using: str, change: Change) -> None:
    Writer.objects.using(using).update_or_create(pk=1 + change.rank % 2, defaults={"name": change.word})


def _remark(using: str, change: Change) -> None:
    about: Any = _work(using, change.number) if change.rank else Writer.objects.using(using).first()
    if about is None:
        return
    kind = ContentType.objects.db_manager(using).get_for_model(about)
    Remark.objects.using(using).update_or_create(
        pk=change.rank, defaults={"text": change.word, "content_type": kind, "object_id": about.pk}
    )


def _read(using: str, change: Change) -> None:
    if (work := _work(using, change.number)) is not None:
        reader = Writer.objects.using(using).order_by("pk").first()
        if reader is not None:
            work.readers.add(reader, through_defaults={"stars": change.rank})


def _adopt(using: str, change: Change) -> None:
    writer, work = Writer.objects.using(using).first(), _work(using, change.number)
    if writer is not None and work is not None:
        writer.works.add(work)


def _bulk_create(using: str, change: Change) -> None:
    made = [Work(pk=number, title=change.word, rank=change.rank) for number in (1, 2)]
    if change.number == 1:
        Work.objects.using(using).bulk_create(made, ignore_conflicts=True)
    else:
        Work.objects.using(using).bulk_create(
            made, update_conflicts=True, update_fields=["title"], unique_fields=["id"]
        )


def _bulk_update(using: str, change: Change) -> None:
    works = list(Work.objects.using(using).order_by("pk"))
    for work in works:
        work.rank = change.rank
    Work.objects.using(using).bulk_update(works, ["rank"])


def _cached_update(using: str, change: Change) -> None:
    """Through a cached queryset, which asks the database whom to change."""
    works = cached_queryset(Work.objects.using(using), 60)
    works.filter(pk=change.number).update(title=change.word)
    works.get_or_create(pk=change.number, defaults={"title": change.word, "rank": change.rank})


def _raw(sql: str) -> Doing:
    def execute(using: str, change: Change) -> None:
        values = {"number": change.number, "word": change.word, "rank": change.rank}
        with connections[using].cursor() as cursor:
            cursor.execute(sql, values)

    return execute


CHANGES: Final[dict[str, Doing]] = {
    "save": _save,
    "save some": _save_some,
    "save novel": _novel,
    "move": _move,
    "delete": lambda using, one: [work.delete() for work in _works(using, one)],
    "delete all": lambda using, one: _works(using, one).delete(),
    "delete writer": lambda using, one: Writer.objects.using(using).filter(pk=one.number).delete(),
    "delete cached": lambda using, one: cached_queryset(_works(using, one)).delete(),
    "delete subject": lambda using, one: [
        each.delete() for each in Subject.objects.using(using).filter(pk=SLUGS[one.rank % 2])
    ],
    "subject": lambda using, one: Subject(pk=SLUGS[one.number % 2], weight=one.rank).save(using=using),
    "add": _relate("add"),
    "add from there": _relate("add", is_reverse=True),
    "remove": _relate("remove"),
    "set": _relate("set"),
    "clear": _relate("clear"),
    "clear from there": _relate("clear", is_reverse=True),
    "writer": _write_again,
    "remark": _remark,
    "forget remarks": lambda using, one: Remark.objects.using(using).filter(text=one.word).delete(),
    "read": _read,
    "adopt": _adopt,
    "update": lambda using, one: _works(using, one).update(title=one.word),
    "update all": lambda using, one: Work.objects.using(using).update(rank=F("rank") + 1),
    "update novels": lambda using, one: Novel.objects.using(using).update(title=one.word, pages=one.rank),
    "update related": lambda using, one: (
        Work.objects.using(using).filter(writer__name="ann").update(rank=one.rank)
    ),
    "update awaited": lambda using, one: async_to_sync(_works(using, one).aupdate)(title=one.word),
    "bulk create": _bulk_create,
    "bulk update": _bulk_update,
    "cached update": _cached_update,
    "raw update": _raw("UPDATE library_work SET title = %(word)s WHERE rank = %(rank)s"),
    "raw update of a writer": _raw('UPDATE "library_writer" SET name = %(word)s WHERE id = %(number)s'),
    "raw delete": _raw("DELETE FROM library_work_subjects WHERE work_id = %(number)s"),
    "raw insert": _raw(
        "INSERT INTO library_subject (slug, weight) VALUES ('a', %(rank)s) ON CONFLICT DO NOTHING"
    ),
    "raw past the manager": lambda using, one: (
        QuerySet(Work, using=using).filter(pk=one.number).update(rank=one.rank)
    ),
}
