"""Two users of one database in one thread: each session is a connection, and takes its alias for as long as it acts."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

from django.db import connections, transaction
from django.db.models import Model, QuerySet
from django.db.utils import ConnectionHandler
from django.test import TransactionTestCase
from project.catalogue.models import Atlas, Author, Book, Crate, Item, Label, Stock, computed

from oxicache import _native

ALIAS = "shared"
MODELS = (Author, Label, Item, Stock, Book, Atlas, Crate)  # those before that the later ones refer to


class RolledBackError(Exception):
    """What `rolled_back` ends a block with."""


@contextlib.contextmanager
def rolled_back(**options: Any) -> Iterator[None]:
    """A block that ends with an error, which is caught around it."""
    with contextlib.suppress(RolledBackError), transaction.atomic(**options):
        yield
        raise RolledBackError


class Session:
    """One user's connection. `with session:` makes it what `connections[ALIAS]` is, or that of another alias."""

    looks_at: type[Model] = Item  # what a block reads as it begins

    def __init__(self, alias: str = ALIAS) -> None:
        self.alias = alias
        self.connection = connections[alias].copy()
        self.blocks: list[transaction.Atomic] = []
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        self._before.append(connections[self.alias])
        connections[self.alias] = self.connection
        return self

    def __exit__(self, *_: object) -> None:
        connections[self.alias] = self._before.pop()

    def begin(self, **options: Any) -> None:
        """Enter a block, whose transaction sees the database from now on where the database has such a thing."""
        with self:
            block = transaction.atomic(using=self.alias, **options)
            block.__enter__()
            self.blocks.append(block)
            QuerySet(self.looks_at, using=self.alias).exists()

    def commit(self) -> None:
        """Leave the innermost block as one that ends well."""
        with self:
            self.blocks.pop().__exit__(None, None, None)

    def rollback(self) -> None:
        """Leave the innermost block as one that raised."""
        with self:
            error = RuntimeError("rolled back on purpose")
            self.blocks.pop().__exit__(type(error), error, None)

    def item(self, pk: int) -> Item:
        """The row as this session reads it now."""
        with self:
            return Item.objects.using(ALIAS).get(pk=pk)

    def save(self, pk: int, price: int) -> None:
        """Save another price."""
        with self:
            Item(pk=pk, title="Shared", price=price).save(using=ALIAS)

    def doubled(self, pk: int) -> int:
        """The cached property, as this session's next request reads it."""
        with self:
            return Item.objects.using(ALIAS).get(pk=pk).doubled

    def end(self) -> None:
        """Roll back what is open, and close."""
        while self.blocks:
            self.rollback()
        self.connection.close()


@contextlib.contextmanager
def catalogue_database(
    settings: dict[str, Any], alias: str = ALIAS, models: Sequence[type[Model]] = MODELS
) -> Iterator[None]:
    """A database with the tables of the catalogue, or of other models, empty, under ALIAS or another."""
    handler = ConnectionHandler({"default": {}, alias: settings})
    connections.settings[alias] = handler.settings[alias]
    try:
        with connections[alias].schema_editor() as editor:
            for model in models:
                editor.create_model(model)
        yield
        with connections[alias].schema_editor() as editor:
            for model in reversed(models):
                editor.delete_model(model)
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]


class Words:
    """Whether some version words were bumped since this was made."""

    def __init__(self, *names: str) -> None:
        self._stamps = {name: _native.capture([name]) for name in names}

    @property
    def moved(self) -> list[str]:
        """Those that were."""
        return [name for name, stamps in self._stamps.items() if not stamps.is_current()]


class RowsTestCase(TransactionTestCase):
    """A row whose value is held, and its words, with transactions that really end."""

    databases: ClassVar = {"default", "other"}  # type: ignore[misc]

    def setUp(self) -> None:
        self.item = Item.objects.create(pk=1, title="Set", price=10)
        assert self.item.doubled == 20
        computed.clear()
        self.words = Words("row:catalogue.item:1", "model:catalogue.item")

    def reads(self) -> int:
        """What the next request reads."""
        return Item.objects.get(pk=1).doubled

    def write(self, price: int = 50) -> None:
        """Save another price."""
        Item(pk=1, title="Set", price=price).save()
