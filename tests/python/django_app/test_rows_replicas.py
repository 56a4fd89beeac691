"""Rows read from a replica: what it has may be older than an invalidation, and is not kept for a while."""

from typing import Any, ClassVar

from django.db.models import Model
from django.test import TestCase, override_settings
from project.catalogue.models import Item, computed
from row_source import source

from oxicache import _native, rows


class TestReplicas(TestCase):
    databases: ClassVar = {"default", "other"}  # type: ignore[misc]

    class Router:
        """`other` is a replica that lags behind `default`."""

        def db_for_read(self, model: type[Model], **hints: Any) -> str:
            return "other"

        def db_for_write(self, model: type[Model], **hints: Any) -> str:
            return "default"

        def allow_relation(self, *_: Any, **hints: Any) -> bool:
            return True

    def setUp(self) -> None:
        computed.clear()
        for alias, price in (("default", 5), ("other", 3)):
            Item(pk=1, price=price).save(using=alias)

    def test_what_a_replica_has_is_not_kept_for_a_while_after_an_invalidation(self) -> None:
        """It may be older than the invalidation, whichever of its words was bumped."""
        with override_settings(DATABASE_ROUTERS=[self.Router()]):
            item = Item.objects.get(pk=1)
            assert item._state.db == "other"
            _native.bump(["row:catalogue.item:1"])
            assert [item.doubled, item.doubled, computed["doubled"]] == [6, 6, 2]

    def test_the_hold_is_a_setting(self) -> None:
        """What was invalidated longer than REPLICA_HOLD seconds ago is kept again."""
        held: list[float] = []

        class Bumped:
            """Stamps of words that were bumped seven seconds ago."""

            def was_bumped_within(self, seconds: float) -> bool:
                held.append(seconds)
                return seconds >= 7

        known: Any = rows.source()
        item = Item.objects.using("other").get(pk=1)
        for hold, kept in ((6.5, True), (7.5, False)):
            with override_settings(DATABASE_ROUTERS=[self.Router()], OXICACHE={"REPLICA_HOLD": hold}):
                assert known.allows_storing((Item, "other", 1), item, Bumped()) is kept
        assert held == [6.5, 7.5]

    def test_the_primary_s_values_are_kept(self) -> None:
        """What is read where it is written is never older than the invalidation."""
        with override_settings(DATABASE_ROUTERS=[self.Router()]):
            item = Item.objects.using("default").get(pk=1)
            _native.bump(["row:catalogue.item:1"])
            assert [item.doubled, item.doubled, computed["doubled"]] == [10, 10, 1]

    def test_without_routers_no_database_is_a_replica(self) -> None:
        """Two databases are two databases."""
        item = Item.objects.using("other").get(pk=1)
        _native.bump(["row:catalogue.item:1"])
        assert [item.doubled, item.doubled, computed["doubled"]] == [6, 6, 1]

    def test_a_router_without_an_opinion_makes_no_replica(self) -> None:
        """Where a router leaves writes to the instance's own database, that is where they go."""

        class Silent:
            def db_for_read(self, model: type[Model], **hints: Any) -> None: ...

        with override_settings(DATABASE_ROUTERS=[Silent()]):
            item = Item.objects.using("other").get(pk=1)
            _native.bump(["row:catalogue.item:1"])
            assert [item.doubled, item.doubled, computed["doubled"]] == [6, 6, 1]

    def test_the_question_is_asked_before_the_load(self) -> None:
        """A load that takes longer than the hold must not outlast it: what counts is when it began to read."""
        order: list[str] = []

        def allows_storing(*_: Any) -> bool:
            order.append("asked")
            return False

        known = rows.source()
        assert known is not None

        def fresh(row: rows.Row) -> Any:
            order.append("loaded")
            return known.fresh(row)

        with source(allows_storing=allows_storing, fresh=fresh):
            assert Item.objects.get(pk=1).doubled == 10
        assert order == ["asked", "loaded"]
