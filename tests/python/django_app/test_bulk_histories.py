"""Histories of bulk operations, raw SQL, saves and transactions: no read of a cached value is stale after any."""

from collections.abc import Callable
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Q
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import MODEL
from project.parcels.models import Depot, Parcel, Sender, Stop

from oxicache.django import invalidate

numbers = st.integers(1, 4)  # of rows, their codes and their grams: few, so that they meet


def raw(sql: str, *params: Any) -> None:
    """Execute a statement as a project does."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def bulk_create(code: int, grams: int) -> None:
    Parcel.objects.bulk_create(
        [Parcel(code=str(code), grams=grams, sender_id=1), Parcel(code=str(code + 1), grams=grams)],
        ignore_conflicts=True,
    )


def upsert(code: int, grams: int) -> None:
    Parcel.objects.bulk_create(
        [Parcel(code=str(code), grams=grams, sender_id=1)],
        update_conflicts=True,
        update_fields=["grams"],
        unique_fields=["code"],
    )


def bulk_update(grams: int, code: int) -> None:
    rows = list(Parcel.objects.filter(code__lte=str(code)))
    for row in rows:
        row.grams += grams
    Parcel.objects.bulk_update(rows, ["grams"], batch_size=1)


def save(code: int, grams: int) -> None:
    row = Parcel.objects.filter(code=str(code)).first() or Parcel(code=str(code))
    row.grams, row.sender_id = grams, 1
    row.save()


def stop(code: int, depot: int) -> None:
    row = Parcel.objects.filter(code=str(code)).first()
    if row is not None:
        Stop.objects.bulk_create([Stop(parcel=row, depot_id=1 + depot % 2)])


# By the manager, that is without WATCH_STATEMENTS; each is given two numbers.
MANAGED: dict[str, Callable[[int, int], object]] = {
    "update one": lambda pk, grams: Parcel.objects.filter(pk=pk).update(grams=grams),
    "update some": lambda code, by: Parcel.objects.filter(grams__gte=code).update(grams=F("grams") + by),
    "update by code": lambda code, grams: Parcel.objects.filter(Q(code=code) | Q(pk=grams)).update(
        grams=grams
    ),
    "part": lambda pk, _: Parcel.objects.filter(pk=pk).update(sender=None),
    "bulk_create": bulk_create,
    "upsert": upsert,
    "bulk_update": bulk_update,
    "delete": lambda code, _: Parcel.objects.filter(code=str(code)).delete(),
    "delete one": lambda pk, _: Parcel.objects.filter(pk=pk).delete(),
    "save": save,
    "stop": stop,
    "move stops": lambda a, b: Stop.objects.filter(depot_id=1 + a % 2).update(depot_id=1 + b % 2),
    "delete stops": lambda depot, _: Stop.objects.filter(depot_id=1 + depot % 2).delete(),
}
# With WATCH_STATEMENTS besides.
RAW: dict[str, Callable[[int, int], object]] = {
    "raw update": lambda pk, grams: raw("UPDATE parcels_parcel SET grams = %s WHERE id = %s", grams, pk),
    "raw update of some": lambda code, by: raw(
        "UPDATE parcels_parcel SET grams = grams + %s WHERE code >= %s", by, str(code)
    ),
    "raw upsert": lambda code, grams: raw(
        "INSERT INTO parcels_parcel (code, grams, sender_id) VALUES (%s, %s, 1) "
        "ON CONFLICT (code) DO UPDATE SET grams = excluded.grams",
        str(code),
        grams,
    ),
    "raw insert": lambda code, grams: raw(
        "INSERT OR IGNORE INTO parcels_parcel (code, grams, sender_id) VALUES (%s, %s, 1)", str(code), grams
    ),
    "raw delete": lambda pk, _: raw(
        "DELETE FROM parcels_parcel WHERE id = %s AND id NOT IN (SELECT parcel_id FROM parcels_stop)", pk
    ),
    "raw stop": lambda pk, depot: raw(
        "INSERT INTO parcels_stop (parcel_id, depot_id) SELECT id, %s FROM parcels_parcel WHERE id = %s",
        1 + depot % 2,
        pk,
    ),
    "raw stops gone": lambda pk, _: raw("DELETE FROM parcels_stop WHERE parcel_id = %s", pk),
}
TRANSACTIONS = ("begin", "commit", "roll back")


def steps(changes: dict[str, Callable[[int, int], object]]) -> Any:
    """Histories: what is done, and whether all values are read (and so cached) after it."""
    step = st.tuples(st.sampled_from([*changes, *TRANSACTIONS]), numbers, numbers, st.booleans())
    return st.lists(step, min_size=1, max_size=12)


class TestHistories:
    def play(self, changes: dict[str, Callable[[int, int], object]], history: list[Any]) -> None:
        """Play a history, from three rows whose values are held."""
        self.empty()
        self.blocks: list[Any] = []
        try:
            self.read([])
            for number, (name, one, other, is_read) in enumerate(history):
                if name in TRANSACTIONS:
                    self.end_or_begin(name)
                else:
                    changes[name](one, other)
                if is_read or number == len(history) - 1:
                    self.read(history[: number + 1])
        finally:
            while self.blocks:
                self.end_or_begin("roll back")
        self.read([*history, "the end"])
        self.clear()

    def empty(self) -> None:
        """Begin with the same rows each time, whatever the caches hold of earlier ones."""
        self.clear()
        Sender(pk=1, name="Ann").save()
        for pk in (1, 2):
            Depot(pk=pk, name=str(pk)).save()
        for pk in (1, 2, 3):
            Parcel(pk=pk, code=str(pk), grams=pk, sender_id=1).save()
        for model in (Depot, Parcel, Sender):
            invalidate(model)

    def clear(self) -> None:
        """Leave no rows to other tests."""
        for model in (Stop, Parcel, Depot, Sender):
            model._base_manager.all()._raw_delete("default")

    def end_or_begin(self, name: str) -> None:
        """Enter a block, or leave the innermost."""
        if name == "begin":
            if len(self.blocks) < 3:
                block = transaction.atomic()
                block.__enter__()
                self.blocks.append(block)
        elif self.blocks:
            error = None if name == "commit" else RuntimeError("rolled back on purpose")
            self.blocks.pop().__exit__(type(error) if error else None, error, None)

    def read(self, history: list[Any]) -> None:
        """What is read through the caches is what the database has, for who reads inside the transaction too."""
        rows = list(Parcel.objects.all())
        assert [row.kilograms for row in rows] == [row.grams / 1_000 for row in rows], history
        assert Sender.objects.get().grams == sum(row.grams for row in rows if row.sender_id == 1), history
        for depot in Depot.objects.all():
            assert depot.parcels_here == Parcel.objects.filter(stop__depot=depot).count(), history

    @settings(MODEL)
    @given(history=steps(MANAGED))
    def test_the_manager(self, history: list[Any]) -> None:
        """By the manager alone."""
        self.play(MANAGED, history)

    @settings(MODEL)
    @given(history=steps({**MANAGED, **RAW}))
    def test_raw_sql(self, history: list[Any]) -> None:
        """By the manager, and by statements that are watched."""
        with override_settings(OXICACHE={"WATCH_STATEMENTS": True}):
            self.play({**MANAGED, **RAW}, history)
