"""What tells the values of rows apart: model, database, primary key, tenant, and what `vary` names."""

import enum
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from django.db import models
from django.test import TestCase, override_settings
from django.test.utils import isolate_apps
from django.utils import timezone, translation
from project.catalogue.models import Atlas, Author, Book, Crate, Dozen, Item, Label, Shelf, Stock, computed

from oxicache import _native, cached_method, rows, ttl_cached_property
from oxicache.django import words
from oxicache.django.rows import row_attname


class KeysTestCase(TestCase):
    databases: ClassVar = {"default", "other"}  # type: ignore[misc]

    def setUp(self) -> None:
        computed.clear()


class TestVary(KeysTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.item = Item.objects.create(title="Lamp")

    def test_languages_and_time_zones_have_values_of_their_own(self) -> None:
        """Whoever asks gets the value of the language and the time zone that are active where it asks."""
        for _ in range(2):
            for language, zone in (("en", "UTC"), ("de", "UTC"), ("de", "Asia/Tokyo")):
                with translation.override(language), timezone.override(zone):
                    assert Item.objects.get(pk=self.item.pk).greeting() == f"Lamp ({language}, {zone})"
        assert computed["greeting"] == 3

    def test_no_language_is_one_too(self) -> None:
        """Where translation is switched off, `get_language()` is None: a value beside the others."""
        for _ in range(2):
            with translation.override(None), timezone.override("UTC"):
                assert self.item.greeting() == "Lamp (None, UTC)"
        with translation.override("en"), timezone.override("UTC"):
            assert [self.item.greeting(), computed["greeting"]] == ["Lamp (en, UTC)", 2]

    def test_a_callable_is_asked_for_each_call(self) -> None:
        """It gets the instance; what it returns is keyed by type and content."""
        current: list[Any] = [1]
        asked: list[Any] = []

        def vary(item: Item) -> Any:
            asked.append(item)
            return current[0]

        calls: list[int] = []
        method = cached_method(vary=vary)(lambda item: calls.append(1) or len(calls))
        found = []
        for value in (1, True, "1", {"a": [1]}, {"a": [1]}, None, 1):
            current[0] = value
            found.append(method(self.item))
        assert found == [1, 2, 3, 4, 4, 5, 1]
        assert asked == [self.item] * 7

    def test_several_are_keyed_together(self) -> None:
        """A tuple may mix names and callables; a property takes `vary` as a method does."""
        shade = ["red"]
        prop = ttl_cached_property(vary=("language", lambda _: shade[0]))(
            lambda item: (item.title, translation.get_language(), shade[0])
        )
        found = set()
        for _ in range(2):
            for language in ("en", "de"):
                for shade[0] in ("red", "blue"):
                    with translation.override(language):
                        found.add(prop.__get__(self.item))
        assert found == {("Lamp", language, one) for language in ("en", "de") for one in ("red", "blue")}
        assert prop.cache_info().misses == 4

    def test_identities_other_than_rows_may_vary(self) -> None:
        """Plain objects, too, may show values that depend on the language."""

        class Report:
            def title(self) -> str:
                return f"{translation.get_language()}"

        for identity in ("auto", "instance", "class", lambda _: "all"):
            method = cached_method(identity=identity, vary="language")(Report.title)
            report = Report()
            for _ in range(2):
                for language in ("en", "de"):
                    with translation.override(language):
                        assert method(report) == language
            assert method.cache_info().misses == 2

    def test_what_cannot_be_keyed_is_told(self) -> None:
        """A callable that returns something unhashable is a TypeError, as an argument like that is."""
        method = cached_method(vary=lambda _: object.__new__(_Unhashable))(lambda item: 1)
        with pytest.raises(TypeError, match="_Unhashable"):
            method(self.item)

    def test_a_name_needs_a_source(self) -> None:
        """Without Django's app nobody can tell the language; saying so beats a value for all languages."""
        known = rows.source()
        rows.install(None)
        try:
            with pytest.raises(RuntimeError, match=r"varies on the language.*INSTALLED_APPS"):
                cached_method(vary="language")(lambda self: 1)(object())
        finally:
            rows.install(known)

    def test_other_names_are_refused(self) -> None:
        """The error names decorator, member and value."""
        for vary, error, shown in (
            ("colour", ValueError, "'colour'"),
            (("language", "colour"), ValueError, "'colour'"),
            (3, TypeError, "3"),
            (("language", 3), TypeError, "3"),
        ):

            def method(self: Any) -> None: ...

            with pytest.raises(error, match=rf"@cached_method of .*method: vary must be .*not {shown}"):
                cached_method(vary=vary)(method)  # type: ignore[arg-type]


class _Unhashable:
    __hash__ = None  # type: ignore[assignment]


class TestTenants(KeysTestCase):
    def test_each_tenant_has_values_of_its_own(self) -> None:
        """TENANT is asked at each call: the same key in two schemas is two rows."""
        item = Item.objects.create(price=1)
        tenant: list[Any] = [None]
        with override_settings(OXICACHE={"TENANT": lambda: tenant[0]}):
            for tenant[0] in ("a", "b", None, 0, "a"):
                assert item.doubled == 2
        assert computed["doubled"] == 4
        assert item.doubled == 2
        assert computed["doubled"] == 5

    def test_an_invalidation_reaches_every_tenant(self) -> None:
        """Words omit the tenant: too much is forgotten rather than too little."""
        item = Item.objects.create(price=1)
        tenant = ["a"]
        with override_settings(OXICACHE={"TENANT": lambda: tenant[0]}):
            for tenant[0] in ("a", "b"):
                assert item.doubled == 2
            _native.bump([f"row:catalogue.item:{item.pk}"])
            for tenant[0] in ("a", "b"):
                assert item.doubled == 2
        assert computed["doubled"] == 4

    def test_a_resolver_that_fails_is_heard(self) -> None:
        """Nobody is given another tenant's value because his own is not known."""
        item = Item.objects.create(price=1)
        assert item.doubled == 2

        def resolver() -> str:
            raise LookupError("no tenant")

        with override_settings(OXICACHE={"TENANT": resolver}), pytest.raises(LookupError, match="no tenant"):
            _ = item.doubled


class TestDatabases(KeysTestCase):
    def test_each_database_has_rows_of_its_own(self) -> None:
        """The same key in two databases is two rows, and the copy is loaded from the instance's own."""
        Item.objects.create(pk=7, price=1)
        Item.objects.using("other").create(pk=7, price=5)
        for _ in range(2):
            assert [Item.objects.using(alias).get(pk=7).doubled for alias in ("default", "other")] == [2, 10]
        assert computed["doubled"] == 2

    def test_an_invalidation_reaches_every_database(self) -> None:
        """Words omit the alias."""
        for alias in ("default", "other"):
            Item.objects.using(alias).create(pk=7, price=1)
            assert Item.objects.using(alias).get(pk=7).doubled == 2
        _native.bump(["row:catalogue.item:7"])
        for alias in ("default", "other"):
            assert Item.objects.using(alias).get(pk=7).doubled == 2
        assert computed["doubled"] == 4


class TestPrimaryKeys(KeysTestCase):
    def test_a_uuid(self) -> None:
        """However the key is spelt, its word is one; the key of a saved instance is what the field makes of it."""
        author = Author.objects.create(name="Ann")
        assert author.worth == 0
        assert Author.objects.get(pk=str(author.pk)).worth == 0
        assert computed["worth"] == 1
        assert words.row_words(Author, author.pk) == words.row_words(Author, author.pk.hex)
        assert words.row_words(Author, author.pk) == [f"row:catalogue.author:{author.pk}"]
        _native.bump(words.row_words(Author, str(author.pk)))
        assert [author.worth, computed["worth"]] == [0, 2]

    def test_spellings_of_a_number(self) -> None:
        """`1`, `"1"` and `True` have one word, because they name one row."""
        assert {tuple(words.row_words(Item, pk)) for pk in (1, "1", True)} == {("row:catalogue.item:1",)}

    def test_a_key_of_two_parts(self) -> None:
        """Rows with a composite key have row identity: the key is a tuple, and so is its word."""
        first = Shelf.objects.create(room=1, place="a", width=2)
        Shelf.objects.create(room=1, place="b", width=3)
        with self.assertNumQueries(1):
            assert first.area == 4
        assert [Shelf.objects.get(pk=(1, "a")).area, Shelf.objects.get(pk=(1, "b")).area] == [4, 9]
        assert computed["area"] == 2
        assert (
            words.row_words(Shelf, ("1", "a"))
            == words.row_words(Shelf, (1, "a"))
            == words.row_words(Shelf, '[1, "a"]')
        )
        _native.bump(words.row_words(Shelf, ("1", "a")))
        assert [first.area, computed["area"]] == [4, 3]

    def test_which_classes_have_rows(self) -> None:
        """Concrete models, proxies and children do; abstract models, plain classes and a migration's models do not."""
        from django.db import models
        from project.projects.models import Budgeted

        fake = type(
            "Item",
            (models.Model,),
            {"__module__": "__fake__", "Meta": type("Meta", (), {"app_label": "fakes"})},
        )
        found = {cls: row_attname(cls) for cls in (Item, Dozen, Book, Atlas, Shelf, Stock, Author, Label)}
        assert list(found.values()) == [
            "id",
            "id",
            "item_ptr_id",
            "book_ptr_id",
            "pk",
            "number",
            "id",
            "slug",
        ]
        assert [row_attname(cls) for cls in (Budgeted, models.Model, object, fake)] == [None] * 4


class TestInheritance(KeysTestCase):
    def test_a_child_has_values_of_its_own(self) -> None:
        """The row in the parent's table and the child's row have one key, and two sets of methods."""
        book = Book.objects.create(price=3, pages=10)
        item = Item.objects.get(pk=book.pk)
        assert [book.doubled, item.doubled, book.weight] == [6, 6, 50]
        assert computed["doubled"] == 2

    def test_a_child_depends_on_its_parents_rows(self) -> None:
        """A change of a parent's row, however far up, outdates the child's value; a child's change not the parent's."""
        atlas = Atlas.objects.create(price=3, pages=10)
        for count, model in enumerate((Item, Book, Atlas), start=1):
            assert [Atlas.objects.get(pk=atlas.pk).doubled, computed["doubled"]] == [6, count]
            _native.bump([f"row:{model._meta.label_lower}:{atlas.pk}"])
        for count, model in enumerate((Item, Book, Atlas), start=4):
            assert [Atlas.objects.get(pk=atlas.pk).doubled, computed["doubled"]] == [6, count]
            _native.bump([f"rows:{model._meta.label_lower}"])
        computed.clear()
        item = Item.objects.get(pk=atlas.pk)
        assert item.doubled == 6
        _native.bump([f"row:catalogue.atlas:{atlas.pk}"])
        assert [item.doubled, computed["doubled"]] == [6, 1]

    def test_a_parent_with_another_key_counts_whole(self) -> None:
        """A crate's row says nothing about the key of its stock's: any change of any stock outdates it."""
        stock = Stock.objects.create(number=1000, amount=1)
        crate = Crate.objects.create(price=2, amount=5)
        assert crate.stock_ptr_id != crate.item_ptr_id  # type: ignore[attr-defined]
        assert words.row_words(Crate, crate.pk) == [
            f"row:catalogue.crate:{crate.pk}",
            f"row:catalogue.item:{crate.pk}",
        ]
        assert crate.total == 10
        _native.bump([f"row:catalogue.stock:{stock.pk}", "rows:catalogue.stock"])
        assert [crate.total, computed["total"]] == [10, 1]
        _native.bump(["model:catalogue.stock"])
        assert [crate.total, computed["total"]] == [10, 2]

    def test_a_proxy_s_values_die_with_the_row(self) -> None:
        """A proxy is keyed apart, but its words are its concrete model's."""
        item = Item.objects.create(price=3)
        dozen = Dozen.objects.get(pk=item.pk)
        assert words.row_words(Dozen, dozen.pk) == words.row_words(Item, item.pk)
        for model in (Item, Dozen):
            assert [item.doubled, dozen.doubled] == [6, 6]
            _native.bump(words.row_words(model, item.pk))
        assert [item.doubled, dozen.doubled, computed["doubled"]] == [6, 6, 6]

    def test_forgetting_a_parent_s_value_forgets_the_child_s(self) -> None:
        """`del` on the row of the parent's table reaches what the same method holds for the child."""
        book = Book.objects.create(price=3)
        item = Item.objects.get(pk=book.pk)
        assert [book.doubled, item.doubled] == [6, 6]
        Item.objects.filter(pk=book.pk).update(price=5)
        del item.doubled
        assert [book.doubled, item.doubled] == [10, 10]
        Item.objects.filter(pk=book.pk).update(price=6)
        del book.doubled
        assert [book.doubled, item.doubled] == [12, 12]


def test_words_of_a_uuid_that_is_none() -> None:
    """A key that the field cannot read is an error, not a word that nobody bumps."""
    from django.core.exceptions import ValidationError

    with pytest.raises(ValidationError):
        words.row_words(Author, "no uuid")
    assert words.row_words(Author, uuid.UUID(int=1)) == [f"row:catalogue.author:{uuid.UUID(int=1)}"]


class Size(enum.StrEnum):
    SMALL = "small"

    def __str__(self) -> str:
        return "Size.SMALL"


class TestSpellingOfKeys:
    @pytest.mark.parametrize(
        ("field", "given", "read"),
        [
            (models.DecimalField(max_digits=9, decimal_places=2), Decimal("1.5"), Decimal("1.50")),
            (
                models.DateTimeField(),
                datetime(2026, 1, 1, 2, tzinfo=timezone.get_fixed_timezone(120)),
                datetime(2026, 1, 1, tzinfo=UTC),
            ),
            (models.CharField(max_length=9), Size.SMALL, "small"),
            (models.BinaryField(), b"a", memoryview(b"a")),
        ],
        ids=["decimal", "datetime", "enum", "binary"],
    )
    @isolate_apps("project.catalogue")
    def test_a_key_has_the_same_words_as_it_is_given_and_as_it_is_read(
        self, field: "models.Field[Any, Any]", given: object, read: object
    ) -> None:
        """A row that is saved under one spelling of its key and read under another must be invalidated."""

        class Keyed(models.Model):
            key = field.clone()
            key.primary_key = True

            class Meta:
                app_label = "catalogue"

        assert words.row_words(Keyed, given) == words.row_words(Keyed, read)
