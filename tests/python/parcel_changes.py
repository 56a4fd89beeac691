"""Changes of parcels by managers and by raw SQL, each given two small numbers: what histories are made of."""

from collections.abc import Callable
from typing import Any, TypeAlias

from django.db import connection
from django.db.models import F, Q
from project.parcels.models import Parcel, Stop

__all__ = ["MANAGED", "RAW", "Change"]

Change: TypeAlias = Callable[[int, int], object]


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


# By the manager, that is without WATCH_STATEMENTS.
MANAGED: dict[str, Change] = {
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
RAW: dict[str, Change] = {
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
