"""What is cached of parcels, in every way there is to cache, and the rules by which it goes; for parcel_worker.py.

What each must be is a query: QUERIES. Loaded once Django is set up.
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from django.core.cache import cache, caches
from django.db import connection, transaction
from parcel_changes import MANAGED, RAW, Change
from parcel_queries import QUERIES
from project.parcels.models import Depot, Parcel, Sender, Slip, Stop

from oxicache import _native, cache_manager, cached_function
from oxicache.django import invalidate, tag_parent
from oxicache.django.rules import Rule, register_dependency, register_rule

__all__ = ["CHANGES", "LOADED", "Rows", "begin_empty", "forget", "place", "ready", "rows"]

Rows: TypeAlias = list[list[Any]]


def rows(kind: str, number: int) -> Rows:
    """What something is now, as this thread sees the database."""
    with connection.cursor() as cursor:
        cursor.execute(QUERIES[kind], [number])
        return [list(row) for row in cursor.fetchall()]


# ---------------------------------------------------------------- what is loaded by the cache


@cached_function(ttl=None, tags=lambda number: [f"sender:{number}", "senders"])
def codes(number: int) -> Rows:
    return rows("codes", number)


@cached_function(
    ttl=None, tags=lambda number: [f"label:{number}", "labels", *(f"more:{each}" for each in range(40))]
)
def many_tags(number: int) -> Rows:
    return rows("many tags", number)


# Each is given a number and returns what computes, or finds, the value: what is read before that is not cached.
LOADED: Final[dict[str, Callable[[int], Callable[[], Rows]]]] = {
    "parcel": lambda number: _of_row(Parcel, number, lambda one: round(one.kilograms * 1_000)),
    "sender": lambda number: _of_row(Sender, number, lambda one: one.grams),
    "depot": lambda number: _of_row(Depot, number, lambda one: one.parcels_here),
    "codes": lambda number: lambda: codes(number),
    "many tags": lambda number: lambda: many_tags(number),
    "weights": lambda number: lambda: _get_or_set("weights", number),
    "stops": lambda number: lambda: _get_or_set("stops", number),
}


def _of_row(model: Any, number: int, read: Callable[[Any], Any]) -> Callable[[], Rows]:
    one = model.objects.filter(pk=number).first()
    return lambda: [] if one is None else [[read(one)]]


def _get_or_set(kind: str, number: int) -> Rows:
    cache, key, tags = place(kind, number)
    found: Rows = cache.get_or_set(key, lambda: rows(kind, number), None, tags=tags)
    return found


# ---------------------------------------------------------------- what is stored by hand


def place(kind: str, number: int) -> tuple[Any, str, list[str]]:
    """In which NativeCache it is kept, its key there and its tags."""
    alias, key, tags = {
        "page": ("tagged", f"page-{number}", [f"page:{number}"]),
        "depots": ("keyed", f"depots-of:{number}", []),
        "list": ("keyed", f"parcel_list_{number}", []),
        "slips": ("default", f"slips:{number}:all", ["slips"]),
        "weights": ("default", f"weights:{number}:all", []),
        "stops": ("default", f"depot:{number}:stops", []),
    }[kind]
    return caches[alias], key, tags


# Each of the stores has rules of its own: where all entries with tags go, nobody sees what else should have.
RULES: Final = (
    Rule("parcels.Parcel", on=["save", "delete"], tags="sender:{sender_id}", name="codes"),
    Rule("parcels.Parcel", on=["save", "delete"], tags=lambda parcel: [f"label:{parcel.pk}"], name="labels"),
    Rule("parcels.Parcel", on="bulk", tags=["senders", "labels"], name="of all"),
    Rule("parcels.Parcel", tags="parcel:{pk}", aliases="tagged", name="page"),
    Rule(
        "parcels.Parcel", keys=[f"parcel_list_{number}" for number in (1, 2, 3)], aliases="keyed", name="list"
    ),
    Rule("parcels.Parcel", keys="depots-of:{pk}", on=["m2m", "delete"], aliases="keyed", name="depots"),
    Rule("parcels.Depot", globs="depot:{pk}", on="m2m", name="stops by m2m"),
    Rule("parcels.Stop", globs="depot:{depot_id}", name="stops"),
)


def ready() -> None:
    """Register the rules."""
    tag_parent("page:{pk}", "parcel:{pk}")
    for rule in RULES:
        register_rule(rule)
    register_dependency("parcels.Parcel", ["weights:*"])


# ---------------------------------------------------------------- what changes


def relate(how: str, parcel: int, depot: int, *, reverse: bool = False) -> None:
    depot = 1 + depot % 2
    one, other = Parcel.objects.filter(pk=parcel).first(), Depot.objects.get(pk=depot)
    if one is None:
        return
    relation: Any = other.parcels if reverse else one.depots
    arguments: list[Any] = {"clear": [], "set": [[one if reverse else other]]}.get(
        how, [one if reverse else other]
    )
    getattr(relation, how)(*arguments)


def move(pk: int, sender: int) -> None:
    row = Parcel.objects.filter(pk=pk).first()
    if row is not None:
        row.sender_id = 1 + sender % 2
        row.save()


def create(pk: int, grams: int) -> None:
    """As of an instance that was never read."""
    Parcel(pk=pk, code=str(pk), grams=grams, sender_id=1 + grams % 2).save()


def save_field(pk: int, grams: int) -> None:
    Parcel(pk=pk, grams=grams).save(update_fields=["grams"])


def delete(pk: int, _: int) -> None:
    row = Parcel.objects.filter(pk=pk).first()
    if row is not None:
        row.delete()


def delete_sender(pk: int, name: int) -> None:
    """With all parcels, and have a new one of the same key."""
    with transaction.atomic():
        Sender.objects.filter(pk=1 + pk % 2).delete()
        Sender.objects.create(pk=1 + pk % 2, name=str(name))


def past_django(pk: int, grams: int) -> None:
    """By the driver itself, which nobody sees, and told by hand."""
    connection.ensure_connection()
    connection.connection.execute("UPDATE parcels_parcel SET grams = ? WHERE id = ?", [grams, pk])
    invalidate("parcels.Parcel", pk)


def slip(number: int, how: int) -> None:
    """Change what no rule is about, and say so by hand, in one of several ways."""
    number = 1 + number % 3
    Slip.objects.create(text=f"{number}:{how}")
    if how == 1:
        invalidate(globs=["slips:*"])
    elif how == 2:
        invalidate(tags=["slips"])
    elif how == 3:
        transaction.on_commit(lambda: cache.delete_pattern("slips:*"))
    else:
        invalidate(keys=[f"slips:{number}:all"])


def slips_gone(number: int, how: int) -> None:
    number = 1 + number % 3
    Slip.objects.filter(text__startswith=f"{number}:").delete()
    if how == 1:
        invalidate(regex=f"slips:{number}:")
    elif how == 2:
        invalidate(prefix=f"slips:{number}")
    elif how == 3:
        transaction.on_commit(lambda: cache.invalidate_patterns([f"slips:{number}:*", "no"]))
    else:
        transaction.on_commit(lambda: cache.delete(f"slips:{number}:all"))


def change_of_relation(how: str, *, reverse: bool) -> Change:
    return lambda parcel, depot: relate(how, parcel, depot, reverse=reverse)


CHANGES: Final[dict[str, Change]] = {
    **MANAGED,
    **RAW,
    **{
        f"{how}{' from the other end' if reverse else ''}": change_of_relation(how, reverse=reverse)
        for how in ("add", "remove", "set", "clear")
        for reverse in (False, True)
    },
    "move": move,
    "create": create,
    "save a field": save_field,
    "delete instance": delete,
    "delete a sender": delete_sender,
    "past Django": past_django,
    "slip": slip,
    "slips gone": slips_gone,
}


def begin_empty() -> None:
    """Have the same rows as before each history."""
    with transaction.atomic():
        for model in (Slip, Stop, Parcel, Depot, Sender):
            model._base_manager.all()._raw_delete("default")
        Sender._base_manager.bulk_create([Sender(pk=pk, name=str(pk)) for pk in (1, 2)])
        Depot._base_manager.bulk_create([Depot(pk=pk, name=str(pk)) for pk in (1, 2)])
        Parcel._base_manager.bulk_create(
            [Parcel(pk=pk, code=str(pk), grams=pk, sender_id=1) for pk in (1, 2, 3)]
        )


def forget() -> None:
    """Hold nothing in the caches of this process, nor remember that it missed anything."""
    _native.tokens_forget()
    for held in cache_manager._caches.values():
        held.clear()
