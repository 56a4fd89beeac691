"""Async members of rows: the copy is loaded and the value computed without blocking the event loop."""

import asyncio
from typing import Any

import pytest
from django.test import TransactionTestCase
from project.catalogue.models import Item, computed
from row_source import row_word

from oxicache import _native, cached_method
from oxicache.django import transactions


class TestAsync(TransactionTestCase):
    def setUp(self) -> None:
        computed.clear()
        self.item = Item.objects.create(title="Lamp", price=3)

    async def test_a_property_loads_its_copy_asynchronously(self) -> None:
        """One query for the first caller, none for the next; unsaved edits stay out."""
        self.item.price = 99
        assert [await self.item.awaited, await self.item.awaited] == [6, 6]
        item = await Item.objects.aget(pk=self.item.pk)
        assert [await item.awaited, computed["awaited"]] == [6, 1]

    async def test_a_method_may_compute_on_the_instance(self) -> None:
        """`fresh=False` is for async members too."""
        self.item.price = 99
        assert [await self.item.awaited_times(2), computed["awaited_times"]] == [198, 1]

    async def test_tasks_share_a_load(self) -> None:
        """Ten tasks with an instance each wait for one computation."""
        items = [await Item.objects.aget(pk=self.item.pk) for _ in range(10)]
        assert await asyncio.gather(*[_value(item) for item in items]) == [6] * 10
        assert computed["awaited"] == 1

    async def test_an_invalidation_outdates(self) -> None:
        """The next caller computes; a value invalidated while it was computed is not kept."""
        assert await self.item.awaited == 6
        _native.bump([row_word(self.item)])
        assert [await self.item.awaited, computed["awaited"]] == [6, 2]

        @cached_method
        async def method(item: Item) -> int:
            computed["method"] += 1
            if computed["method"] == 1:
                _native.bump([row_word(item)])
            return item.price

        assert [await method(self.item), await method(self.item), await method(self.item)] == [3, 3, 3]
        assert computed["method"] == 2

    async def test_a_row_that_is_gone_computes_on_the_instance(self) -> None:
        """Nothing is stored."""
        await Item.objects.filter(pk=self.item.pk).adelete()
        assert [await self.item.awaited, await self.item.awaited, computed["awaited"]] == [6, 6, 2]

    async def test_an_annotation_s_error_says_what_to_do(self) -> None:
        """As for a sync member."""

        @cached_method
        async def method(item: Any) -> int:
            return int(item.extra)

        self.item.extra = 1  # type: ignore[attr-defined]
        with pytest.raises(AttributeError) as raised:
            await method(self.item)
        assert "@cached_method(fresh=False)" in "".join(raised.value.__notes__)

    async def test_a_bypass_computes_on_the_instance(self) -> None:
        """While a transaction has written, nothing is read from the cache and nothing is stored."""
        assert await self.item.awaited == 6
        self.item.price = 4
        _native.set_row_bypass(lambda alias: alias == "default")
        _native.row_bypassing(True)
        try:
            assert [await self.item.awaited, await self.item.awaited] == [8, 8]
        finally:
            _native.row_bypassing(False)
            _native.set_row_bypass(transactions.is_written)
        assert [await self.item.awaited, computed["awaited"]] == [6, 3]

    async def test_del_forgets(self) -> None:
        """`del obj.prop`, for every instance of the row."""
        assert await self.item.awaited == 6
        item = await Item.objects.aget(pk=self.item.pk)
        del item.awaited
        assert [await self.item.awaited, computed["awaited"]] == [6, 2]


async def _value(item: Item) -> int:
    return await item.awaited
