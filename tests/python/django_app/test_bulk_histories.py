"""Histories of bulk operations, raw SQL, saves and transactions: no read of a cached value is stale after any."""

from typing import Any

from django.db import transaction
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from parcel_changes import MANAGED, RAW, Change
from profiles import MODEL
from project.parcels.models import Depot, Parcel, Sender, Stop

from oxicache.django import invalidate

numbers = st.integers(1, 4)  # of rows, their codes and their grams: few, so that they meet
TRANSACTIONS = ("begin", "commit", "roll back")


def steps(changes: dict[str, Change]) -> Any:
    """Histories: what is done, and whether all values are read (and so cached) after it."""
    step = st.tuples(st.sampled_from([*changes, *TRANSACTIONS]), numbers, numbers, st.booleans())
    return st.lists(step, min_size=1, max_size=12)


class TestHistories:
    def play(self, changes: dict[str, Change], history: list[Any]) -> None:
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
