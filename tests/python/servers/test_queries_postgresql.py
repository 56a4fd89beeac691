"""Cached querysets on PostgreSQL: its types and clauses, two processes, views of what was, and the machine."""

import contextlib
import copy
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

django = pytest.importorskip("django")
psycopg = pytest.importorskip("psycopg")

from django.contrib.postgres.aggregates import ArrayAgg, JSONBAgg  # noqa: E402 -- needs both, as the rest
from django.contrib.postgres.fields import ArrayField, DateTimeRangeField, IntegerRangeField  # noqa: E402
from django.core.cache import cache  # noqa: E402
from django.db import connections, models  # noqa: E402
from django.db.models.functions import Trunc, TruncDay  # noqa: E402
from django.test import override_settings  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.utils import timezone  # noqa: E402
from hypothesis import Phase, settings  # noqa: E402
from hypothesis.stateful import run_state_machine_as_test  # noqa: E402
from library_answers import ruin, told  # noqa: E402
from library_histories import DEFECTS, HISTORIES, play  # noqa: E402
from library_machine import Library, library_databases  # noqa: E402
from library_questions import FAR, NEAR  # noqa: E402
from library_worker import LibraryWorker  # noqa: E402
from profiles import MODEL  # noqa: E402
from server_process import Postgresql  # noqa: E402
from sessions import Session, catalogue_database  # noqa: E402

from oxicache.django import InvalidatingManager, execution  # noqa: E402
from oxicache.django.queries import cached_queryset  # noqa: E402

CACHES = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "queries-postgresql"}}
ALIAS = "specimens"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Specimen(models.Model):
    """Values of PostgreSQL's own types. Its table is made here alone: SQLite has no such columns."""

    name = models.CharField(max_length=20)
    tags = ArrayField(models.TextField(), default=list)
    grid = ArrayField(ArrayField(models.IntegerField()), default=list)
    facts = models.JSONField(default=dict)
    photo = models.BinaryField(default=b"")
    numbers = IntegerRangeField(null=True)
    span = DateTimeRangeField(null=True)
    price = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    code = models.UUIDField(default=uuid.uuid4)
    seen_at = models.DateTimeField()
    lasted = models.DurationField(default=timedelta)
    address = models.GenericIPAddressField(null=True)

    objects = InvalidatingManager()

    class Meta:
        app_label = "library"
        managed = False


class Archived(models.Model):
    """In a schema of its own."""

    name = models.CharField(max_length=20)
    specimen = models.ForeignKey(Specimen, models.CASCADE, related_name="archived", db_constraint=False)

    objects = InvalidatingManager()

    class Meta:
        app_label = "library"
        managed = False
        db_table = '"archive"."archived specimen"'


@pytest.fixture(autouse=True)
def _caches(django_databases: None) -> Iterator[None]:
    with override_settings(CACHES=CACHES):
        cache.clear()
        yield


@pytest.fixture(scope="module")
def specimens(postgresql_settings: dict[str, Any], django_databases: None) -> Iterator[None]:
    """Three of them."""
    with catalogue_database(dict(postgresql_settings), ALIAS, [Specimen]):
        with connections[ALIAS].cursor() as cursor:
            cursor.execute("CREATE SCHEMA archive")
        with connections[ALIAS].schema_editor() as editor:
            editor.create_model(Archived)
        yield


@pytest.fixture
def three(specimens: None) -> Any:
    """The specimens, laid out anew."""
    Archived.objects.using(ALIAS).all().delete()
    Specimen.objects.using(ALIAS).all().delete()
    made = [
        Specimen(
            pk=number,
            name=name,
            tags=[name, "all"],
            grid=[[number, 2], [3, 4]],
            facts={"a": [number, {"b": None}], "n": str(number) if number == 1 else number},
            photo=bytes([number, 0, 255]),
            numbers=(number, number + 2),
            span=(NOON, NOON + timedelta(days=number)),
            price=Decimal("1.50") * number,
            code=uuid.UUID(int=number),
            seen_at=NOON + timedelta(hours=8 * number),
            lasted=timedelta(seconds=number),
            address=f"10.0.0.{number}",
        )
        for number, name in enumerate(["x", "y", "x"], 1)
    ]
    Specimen.objects.using(ALIAS).bulk_create(made)
    Archived.objects.using(ALIAS).create(pk=1, name="old", specimen_id=1)
    return Specimen.objects.using(ALIAS).order_by("pk")


ASKS: dict[str, Callable[[Any], Any]] = {
    "instances": list,
    "some columns": lambda all_: list(all_.only("photo", "tags")),
    "values": lambda all_: list(all_.values()),
    "tuples": lambda all_: list(all_.values_list()),
    "arrays": lambda all_: list(all_.values_list("tags", "tags__0", "tags__len", "grid__0__1")),
    "JSON": lambda all_: list(all_.values_list("facts__a", "facts__a__1__b", "facts__n")),
    "in an array": lambda all_: list(all_.filter(tags__contains=["x"])),
    "in JSON": lambda all_: list(all_.filter(facts__contains={"n": 2})),
    "ranges": lambda all_: list(
        all_.filter(numbers__contains=3).values_list("numbers", "numbers__startswith")
    ),
    "spans": lambda all_: list(all_.filter(span__contains=NOON + timedelta(days=1, hours=1))),
    "bytes": lambda all_: list(all_.filter(photo=memoryview(b"\1\0\xff"))),
    "price": lambda all_: list(all_.filter(price__gte=Decimal("3.0"))),
    "code": lambda all_: all_.get(code=uuid.UUID(int=2)),
    "lasted": lambda all_: list(
        all_.filter(lasted__gt=timedelta(seconds=1)).values_list("lasted", flat=True)
    ),
    "address": lambda all_: list(all_.filter(address="10.0.0.3")),
    "one of each name": lambda all_: list(all_.order_by("name", "-pk").distinct("name")),
    "count of each name": lambda all_: all_.order_by("name").distinct("name").count(),
    "days": lambda all_: list(all_.annotate(day=TruncDay("seen_at")).values_list("day", flat=True)),
    "days elsewhere": lambda all_: list(
        all_.annotate(day=Trunc("seen_at", "day", tzinfo=ZoneInfo("Pacific/Honolulu")))
    ),
    "datetimes": lambda all_: list(all_.datetimes("seen_at", "day")),
    "aggregates": lambda all_: all_.aggregate(
        names=ArrayAgg("name", order_by="pk"),
        facts=JSONBAgg("facts", order_by="pk"),
        last=models.Max("seen_at"),
    ),
    "archived": lambda all_: list(all_.filter(archived__name="old").prefetch_related("archived")),
    "by key": lambda all_: all_.in_bulk([1, 3]),
}


@pytest.mark.parametrize("name", ASKS)
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati"])
def test_types(three: Any, name: str, zone: str) -> None:
    """What is held is what the database says, is nobody else's, and goes when a row changes."""
    ask = ASKS[name]
    with timezone.override(zone):
        for change in (lambda: None, lambda: Specimen.objects.using(ALIAS).filter(pk=1).update(name="z")):
            change()
            fresh = told(ask(three.all()))
            for _ in range(3):
                with CaptureQueriesContext(connections[ALIAS]) as executed:
                    found = ask(cached_queryset(three.all(), 60))
                assert told(found) == fresh
                ruin(found)
            assert len(executed) == 0


def test_zones_and_values_apart(three: Any) -> None:
    """What differs in the active zone, or in a parameter's type, is another result."""
    days = []
    for zone in ("UTC", "Pacific/Kiritimati"):
        with timezone.override(zone):
            days.append(cached_queryset(three, 60).aggregate(day=models.Max(TruncDay("seen_at")))["day"])
    assert days[0] != days[1]
    for value, found in ((1, []), ("1", [1]), (2, [2]), (True, []), (None, [])):
        asked = cached_queryset(three.filter(facts__n=value), 60)
        assert [one.pk for one in asked] == found, value


def test_a_table_in_a_schema(three: Any) -> None:
    """Is told by its name, and a change of a row there is a change."""
    archived = cached_queryset(three.filter(archived__name="old"), 60)
    assert archived.count() == 1
    Archived.objects.using(ALIAS).update(name="older")
    assert archived.count() == 0
    with CaptureQueriesContext(connections[ALIAS]) as executed:
        assert archived.count() == 0
    assert len(executed) == 0


def test_locks_are_refused(three: Any) -> None:
    """Rows are locked in the database, or not at all."""
    with pytest.raises(TypeError, match="select_for_update"):
        cached_queryset(three, 60).select_for_update(skip_locked=True)
    with pytest.raises(TypeError, match="select_for_update"):
        cached_queryset(three.select_for_update(of=("self",)), 60)


def test_a_transaction_that_sees_what_was(three: Any) -> None:
    """At REPEATABLE READ it stores nothing that others have changed since; others read what is new."""

    class Person(Session):
        looks_at = Specimen

    old, writer = Person(ALIAS), Person(ALIAS)
    settings = copy.deepcopy(old.connection.settings_dict)
    settings["OPTIONS"] = {**settings["OPTIONS"], "isolation_level": psycopg.IsolationLevel.REPEATABLE_READ}
    old.connection = type(old.connection)(settings, ALIAS)
    names = cached_queryset(three.values_list("name", flat=True), 60)
    try:
        old.begin()
        with writer:
            Specimen.objects.using(ALIAS).filter(pk=1).update(name="new")
        with old:
            assert list(three.values_list("name", flat=True)) == ["x", "y", "x"]
            assert list(names.all()) == ["x", "y", "x"]
        with writer:
            assert list(names.all()) == ["new", "y", "x"]
        old.commit()
    finally:
        old.end()
        writer.end()


# ---------------------------------------------------------------- two processes, and the machine


@pytest.fixture(scope="module")
def libraries(postgresql: Postgresql, django_databases: None) -> Iterator[dict[str, Any]]:
    """The library's tables in two databases, whose transactions go on seeing what was."""
    with contextlib.ExitStack() as stack:
        found = {alias: stack.enter_context(postgresql.database()) for alias in (NEAR, FAR)}
        level = {"isolation_level": psycopg.IsolationLevel.REPEATABLE_READ}
        stack.enter_context(
            library_databases(
                {
                    alias: {**one, "OPTIONS": {**one.get("OPTIONS", {}), **level}}
                    for alias, one in found.items()
                }
            )
        )
        yield found


def test_two_processes(libraries: dict[str, Any]) -> None:
    """What one commits the other reads next, and nothing before that, or after a rollback."""
    question = {"steps": [["prefetch", ["subjects"]], ["with", ["writer"]]]}
    with (
        tempfile.TemporaryDirectory(prefix="ox") as folder,
        LibraryWorker(folder, libraries[NEAR]) as reader,
        LibraryWorker(folder, libraries[NEAR]) as writer,
    ):
        writer.tell("lay_out")
        for _ in range(2):
            before, _ = reader.asks(**question)
        for change in (
            ("save", 1, "y", 2),
            ("writer", 1, "eve", 0),
            ("clear", 1),
            ("update", 2, "z"),
            ("bulk create", 2, "w"),
            ("delete", 2),
        ):
            for end in ("roll_back", "commit"):
                writer.tell("begin")
                writer.tell("change", *change)
                assert reader.asks(**question) == (before, 0)
                writer.tell(end)
                after, count = reader.asks(**question)
                assert (after == before, count == 0) == (end == "roll_back",) * 2, change
            assert reader.asks(**question)[1] == 0
            before = after


@pytest.fixture
def machine(libraries: dict[str, Any]) -> Iterator[type[Library]]:
    """The machine, with a count of its own."""
    execution.configure((NEAR,))  # the setting takes databases that DATABASES names
    yield type("AMachine", (Library,), {"hits": Counter()})
    execution.configure(False)


@pytest.mark.parametrize("name", [*HISTORIES, *DEFECTS])
def test_histories(machine: type[Library], name: str) -> None:
    """What is right on SQLite is right here."""
    play(machine, *(HISTORIES | DEFECTS)[name])


def test_every_answer_is_the_databases(machine: type[Library]) -> None:
    """Whatever is asked between whatever changes; and most of it is asked of the cache."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            MODEL,
            max_examples=max(MODEL.max_examples // 30, 5),
            stateful_step_count=25,
            phases=[Phase.reuse, Phase.generate],
        ),
    )
    assert sum(machine.hits.values()) > 20, machine.hits
