"""Bulk operations in transactions, and what becomes of them when something fails."""

from typing import Any, ClassVar
from unittest import mock

import pytest
from django.db import Error, IntegrityError, OperationalError, transaction
from django.db.models.sql.compiler import SQLUpdateCompiler
from django.test import TransactionTestCase
from project.parcels.models import Parcel
from sessions import Words, rolled_back

from oxicache.django import bulk


class TestTransactions(TransactionTestCase):
    databases: ClassVar = {"default", "other"}  # type: ignore[misc]

    def setUp(self) -> None:
        self.parcel = Parcel.objects.create(pk=1, code="1", grams=1_000)
        assert self.parcel.kilograms == 1
        self.words = Words("row:parcels.parcel:1", "rows:parcels.parcel", "model:parcels.parcel")

    CHANGES: ClassVar = (
        lambda: Parcel.objects.update(grams=5_000),
        lambda: Parcel.objects.bulk_update([Parcel(pk=1, grams=5_000)], ["grams"]),
        lambda: Parcel.objects.bulk_create([Parcel(code="2")]),
        lambda: Parcel.objects.filter(pk=1).delete(),
    )

    def test_a_commit(self) -> None:
        """Not before it, and then at once."""
        for change in self.CHANGES:
            words = Words("model:parcels.parcel")
            with transaction.atomic():
                change()
                assert words.moved == []
            assert words.moved

    def test_another_database(self) -> None:
        """`using` of the queryset says whose commit is waited for."""
        Parcel.objects.using("other").create(pk=1, code="1", grams=1_000)
        words = Words("row:parcels.parcel:1")
        with transaction.atomic(using="other"):
            Parcel.objects.using("other").filter(pk=1).update(grams=0)
            assert words.moved == []
            with transaction.atomic(using="default"):
                Parcel.objects.filter(pk=2).update(grams=0)
            assert words.moved == []
        assert words.moved

    def test_a_rollback(self) -> None:
        """Nothing changed, so nothing is invalidated."""
        for change in self.CHANGES:
            with rolled_back():
                change()
            with transaction.atomic(), rolled_back():
                change()
        assert self.words.moved == []
        assert Parcel.objects.get().kilograms == 1

    def test_reads_of_the_transaction_itself(self) -> None:
        """It sees what it wrote."""
        with transaction.atomic():
            Parcel.objects.update(grams=5_000)
            assert Parcel.objects.get().kilograms == 5

    def test_a_statement_that_the_database_refuses(self) -> None:
        """Outside of a transaction nobody knows how much of it was done."""
        Parcel.objects.create(pk=2, code="2")
        with pytest.raises(IntegrityError):
            Parcel.objects.update(code="same")
        assert "rows:parcels.parcel" in self.words.moved

    def test_a_connection_that_breaks_behind_the_statement(self) -> None:
        """The database has changed the row, and the error reaches the caller."""
        whole = SQLUpdateCompiler.execute_sql

        def breaks(compiler: Any, result_type: Any) -> int:
            whole(compiler, result_type)
            raise OperationalError("the connection is lost")

        with mock.patch.object(SQLUpdateCompiler, "execute_sql", breaks), pytest.raises(Error):
            Parcel.objects.update(grams=5_000)
        assert Parcel.objects.get().kilograms == 5

    def test_an_invalidation_that_fails(self) -> None:
        """It is counted and logged, and the update stands."""
        with (
            mock.patch.object(bulk.transactions, "invalidate_words", side_effect=OSError("no memory")),
            self.assertLogs("oxicache", "WARNING") as logs,
        ):
            assert Parcel.objects.update(grams=5_000) == 1
        assert "bulk changes" in logs.output[0]
