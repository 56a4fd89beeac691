"""What a caller computes while its own transaction has written is nobody else's, where tags could not take it back."""

from collections.abc import Iterator

import pytest
from django.core.cache import caches
from django.db import transaction
from django.test import TransactionTestCase, override_settings
from project.catalogue.models import Item

from oxicache import cached_function

NATIVE = {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "loads-of-writers"}


class UndoneError(Exception):
    """Ends a transaction."""


@cached_function(tags=["items"])
def titles() -> list[str]:
    """What depends on rows of a model, as only its tag says."""
    return sorted(Item.objects.values_list("title", flat=True))


@override_settings(CACHES={"default": NATIVE})
class TestWriters(TransactionTestCase):
    @pytest.fixture(autouse=True)
    def _empty(self) -> Iterator[None]:
        titles.cache_clear()
        caches["default"].clear()
        yield
        titles.cache_clear()

    def written(self, *, fails: bool) -> list[list[str]]:
        """Write, and compute by both ways before the transaction ends."""
        found: list[list[str]] = []
        try:
            with transaction.atomic():
                Item.objects.create(title="draft", price=1)
                found.append(titles())
                found.append(caches["default"].get_or_set("titles", titles, tags=["items"]))
                if fails:
                    raise UndoneError  # noqa: TRY301 -- it is what ends the block
        except UndoneError:
            pass
        return found

    def test_what_is_rolled_back_is_kept_by_nobody(self) -> None:
        """The caller has seen its own row, and whoever comes later does not."""
        assert self.written(fails=True) == [["draft"], ["draft"]]
        assert titles() == []
        assert "titles" not in caches["default"]

    def test_what_is_committed_is_computed_again(self) -> None:
        """After the commit the first who asks stores it."""
        assert self.written(fails=False) == [["draft"], ["draft"]]
        Item.objects.filter(title="draft").delete()
        assert titles() == []

    def test_a_reader_stores(self) -> None:
        """In a transaction that has only read, and without one, nothing is different."""
        with transaction.atomic():
            assert titles() == []
        Item.objects.create(title="later", price=1)
        assert titles() == []
