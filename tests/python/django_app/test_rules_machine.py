"""Random changes of related rows in random transactions, and what two caches keep of them under rules.

One session writes, in blocks and savepoints that commit or roll back; another fills the caches with what is committed.
The model is the database itself: what a cache holds must be what it would compute now.
"""

import contextlib
import gc
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from profiles import MODEL
from project.catalogue.models import Author, Book, Item, Label
from sessions import ALIAS, Session, catalogue_database

from oxicache.django.rules import Rule, register_rule

CACHES = {
    "default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "rules-machine"},
    "local": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "rules-machine"},
}
AUTHORS = [uuid.UUID(int=1), uuid.UUID(int=2)]
LABELS = ["a", "b"]
NUMBERS = [1, 2, 3]  # of rows, the last of which is a book
BOOK = 3

# What the caches are filled with: how a key is made of a number, and what the value is.
SHOWN: dict[str, tuple[Callable[[int], str], Callable[[int], Any]]] = {
    "item": (
        lambda n: f"item:{n}",
        lambda n: list(Item.objects.using(ALIAS).filter(pk=n).values_list("title", "price", "author_id")),
    ),
    "book": (
        lambda n: f"book:{n}:page",
        lambda n: list(Book.objects.using(ALIAS).filter(pk=n).values_list("price", "pages")),
    ),
    "list": (
        lambda _: "item_list",
        lambda _: list(Item.objects.using(ALIAS).order_by("pk").values_list("pk", flat=True)),
    ),
    "priced": (
        lambda n: f"tenant:1:priced:{n}:all",
        lambda n: list(Item.objects.using(ALIAS).filter(price=n).order_by("pk").values_list("pk", flat=True)),
    ),
    "byline": (
        lambda n: f"byline:{n}",
        lambda n: list(Item.objects.using(ALIAS).filter(pk=n).values_list("author__name", flat=True)),
    ),
    "labels": (
        lambda n: f"labels-of-{n}",
        lambda n: list(Label.objects.using(ALIAS).filter(item=n).order_by("pk").values_list("pk", flat=True)),
    ),
    "carriers": (
        lambda n: f"carriers:{LABELS[n % 2]}",
        lambda n: list(
            Item.objects.using(ALIAS).filter(labels=LABELS[n % 2]).order_by("pk").values_list("pk", flat=True)
        ),
    ),
}
RULES = [
    Rule("catalogue.item", keys=["item:{pk}", "item_list"], related="byline"),
    Rule(Book, globs="book:{pk}"),
    Rule("Item", globs="priced:{price}", on=["save", "delete"]),
    Rule(
        "catalogue.Item", tags="labels:{pk}", keys=lambda item: f"labels-of-{item.pk}", on=["m2m", "delete"]
    ),
    Rule("catalogue.Label", keys="carriers:{pk}", on="m2m"),
    Rule("catalogue.Item", globs="carriers:*", on="delete"),
    Rule("catalogue.Author", cascade=True, on="save"),
]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory, django_databases: None) -> Iterator[None]:
    """WAL, so that the reader is never in the writer's way."""
    options = {"timeout": 0, "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"}
    path = str(tmp_path_factory.mktemp("rules") / "shared.sqlite3")
    settings_ = {"ENGINE": "django.db.backends.sqlite3", "NAME": path, "OPTIONS": options}
    with catalogue_database(settings_), override_settings(CACHES=CACHES):
        yield


class Changes(RuleBasedStateMachine):
    """Steps of the writer, and of readers that fill the caches."""

    def __init__(self) -> None:
        super().__init__()
        self.writer, self.reader = Session(), Session()
        self.ends = [register_rule(each) for each in RULES]
        self.kept: set[tuple[str, str, int]] = set()  # what was stored, and nothing has committed since
        self.has_written = False

    @initialize()
    def begin_empty(self) -> None:
        for alias in CACHES:
            caches[alias].clear()
        with self.writer:
            for model in (Item, Label, Author):
                model.objects.using(ALIAS).all().delete()
            for pk in AUTHORS:
                Author.objects.using(ALIAS).create(pk=pk, name="first")
            for slug in LABELS:
                Label.objects.using(ALIAS).create(pk=slug)
            for number in NUMBERS:
                self._model(number).objects.using(ALIAS).create(
                    pk=number, title="t", price=1, author_id=AUTHORS[0]
                )

    @staticmethod
    def _model(number: int) -> type[Item]:
        return Book if number == BOOK else Item

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """A step that changes something: at once, or in the block that is open."""
        with self.writer:
            yield
        if self.writer.blocks:
            self.has_written = True
        else:
            self.kept.clear()

    # ------------------------------------------------------------ the writer's transactions

    @rule(savepoint=st.booleans())
    def begin(self, savepoint: bool) -> None:
        if len(self.writer.blocks) < 4:
            self.writer.begin(savepoint=savepoint or not self.writer.blocks)

    @rule()
    def commit(self) -> None:
        if self.writer.blocks:
            self.writer.commit()
            if not self.writer.blocks and self.has_written:
                self.has_written = False
                self.kept.clear()

    @rule()
    def roll_back(self) -> None:
        while self.writer.blocks:
            self.writer.rollback()
            if not self.writer.connection.needs_rollback:
                break
        if not self.writer.blocks:
            self.has_written = False

    # ------------------------------------------------------------ what it writes

    @rule(
        number=st.sampled_from(NUMBERS),
        price=st.integers(1, 3),
        author=st.sampled_from(AUTHORS),
        by_hand=st.booleans(),
        fields=st.sampled_from([None, ["price"], ["author"], ["author_id", "title"]]),
    )
    def save(
        self, number: int, price: int, author: uuid.UUID, by_hand: bool, fields: list[str] | None
    ) -> None:
        with self.writing():
            row = Item.objects.using(ALIAS).filter(pk=number).first()
            if row is None:
                model = self._model(number)
                model.objects.using(ALIAS).create(pk=number, title="new", price=price, author_id=author)
                return
            if by_hand:  # an instance that was never read
                row = Item(pk=number, title="hand")
            row.price, row.author_id = price, author
            row.save(using=ALIAS, update_fields=fields)

    @rule(pages=st.integers(1, 3))
    def save_book(self, pages: int) -> None:
        with self.writing():
            book = Book.objects.using(ALIAS).filter(pk=BOOK).first()
            if book is not None:
                book.pages = book.price = pages
                book.save()

    @rule(number=st.sampled_from(NUMBERS), as_queryset=st.booleans())
    def delete(self, number: int, as_queryset: bool) -> None:
        with self.writing():
            rows = Item.objects.using(ALIAS).filter(pk=number)
            if as_queryset:
                rows.delete()
            elif (row := rows.first()) is not None:
                row.delete()

    @rule(author=st.sampled_from(AUTHORS), name=st.sampled_from(["first", "second"]))
    def rename(self, author: uuid.UUID, name: str) -> None:
        with self.writing():
            Author(pk=author, name=name).save(using=ALIAS, force_update=True)

    @rule(
        number=st.sampled_from(NUMBERS),
        slug=st.sampled_from(LABELS),
        how=st.sampled_from(["add", "remove", "set", "clear"]),
        reverse=st.booleans(),
    )
    def relate(self, number: int, slug: str, how: str, reverse: bool) -> None:
        with self.writing():
            item = Item.objects.using(ALIAS).filter(pk=number).first()
            label = Label.objects.using(ALIAS).get(pk=slug)
            if item is None:
                return
            relation: Any = label.item_set if reverse else item.labels
            other = item if reverse else label
            if how == "clear":
                relation.clear()
            elif how == "set":
                relation.set([other])
            else:
                getattr(relation, how)(other)

    @rule(number=st.integers(0, len(RULES) - 1))
    def renew(self, number: int) -> None:
        """A rule that is registered anew is as good as it was."""
        number %= len(RULES)
        self.ends[number]()
        self.ends[number] = register_rule(RULES[number])

    # ------------------------------------------------------------ what readers do

    @rule(
        kind=st.sampled_from(sorted(SHOWN)),
        number=st.sampled_from(NUMBERS),
        alias=st.sampled_from(sorted(CACHES)),
    )
    def fill(self, kind: str, number: int, alias: str) -> None:
        key_of, value_of = SHOWN[kind]
        with self.reader:
            tags = {"tags": [f"labels:{number}"]} if alias == "default" and kind == "labels" else {}
            caches[alias].set(key_of(number), value_of(number), **tags)
        self.kept.add((alias, kind, number))

    @invariant()
    def nothing_is_stale(self) -> None:
        for alias in CACHES:
            for kind, (key_of, value_of) in SHOWN.items():
                for number in NUMBERS:
                    found = caches[alias].get(key_of(number))
                    if found is not None:
                        with self.reader:
                            assert found == value_of(number), (alias, kind, number)

    @invariant()
    def nothing_goes_without_a_commit(self) -> None:
        for alias, kind, number in self.kept:
            assert caches[alias].get(SHOWN[kind][0](number)) is not None, (alias, kind, number)

    def teardown(self) -> None:
        for end in self.ends:
            end()
        for session in (self.writer, self.reader):
            session.end()
        gc.collect()


def run() -> None:
    # A tenth of what the engine's models get: each step here is several statements on a file.
    run_state_machine_as_test(
        Changes,
        settings=settings(MODEL, max_examples=max(MODEL.max_examples // 10, 10), stateful_step_count=40),
    )


def test_no_read_is_stale_and_nothing_goes_after_a_rollback(database: None) -> None:
    """Whatever was saved, deleted or related, in whichever order and blocks."""
    run()


def test_the_machine_finds_a_rule_that_is_missing(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the rule of what shows an item, it fails: it can."""
    monkeypatch.setitem(globals(), "RULES", RULES[1:])
    with pytest.raises(AssertionError):
        # Any example will do: nobody reads it. The same ones in each run, lest chance passes the mistake by.
        run_state_machine_as_test(
            Changes,
            settings=settings(
                MODEL,
                max_examples=300,
                stateful_step_count=40,
                print_blob=False,
                phases=[Phase.generate],
                derandomize=True,
                database=None,
            ),
        )
