"""Values of rows: who shares them, and what they are computed on."""

import copy
import pickle
from typing import Any, ClassVar

import pytest
from django.db.models import F, Prefetch, QuerySet
from django.forms import modelform_factory
from django.test import TestCase
from project.catalogue.models import Author, Dozen, Item, Label, computed

from oxicache import _native


class RowTestCase(TestCase):
    databases: ClassVar = {"default", "other"}  # type: ignore[misc]

    @classmethod
    def setUpTestData(cls) -> None:
        cls.author = Author.objects.create(name="Ann")
        cls.whole = Item.objects.create(title="Set", price=10, author=cls.author)
        cls.part = Item.objects.create(title="Part", price=3, whole=cls.whole)

    def setUp(self) -> None:
        computed.clear()

    def item(self) -> Item:
        """The row as the next request has it."""
        return Item.objects.get(pk=self.whole.pk)


class TestSharing(RowTestCase):
    def test_the_next_request_hits(self) -> None:
        """Another instance of the same row gets the value that was computed for the first, without a query."""
        with self.assertNumQueries(1):
            assert self.whole.doubled == 20
        item = self.item()
        with self.assertNumQueries(0):
            assert [item.doubled, item.doubled] == [20, 20]
        assert computed["doubled"] == 1

    def test_a_hundred_requests_compute_once(self) -> None:
        """The rate of hits does not depend on instances living on, and entries of dead ones do not pile up."""
        prop = vars(Item)["doubled"]
        for _ in range(100):
            assert self.item().doubled == 20
        assert (prop.cache_info().hits, prop.cache_info().misses, len(prop.cache)) == (99, 1, 1)

    def test_two_rows_never_share(self) -> None:
        """A thousand rows whose instances come and go, many at addresses of others, have a value each."""
        Item.objects.bulk_create([Item(title=str(price), price=price) for price in range(1000)])
        found = [(item.price, item.doubled) for item in Item.objects.iterator(chunk_size=10)]
        assert len(found) == 1002
        assert [pair for pair in found if pair[1] != 2 * pair[0]] == []

    def test_rows_of_two_models_never_share(self) -> None:
        """A proxy's row is computed with the proxy's own methods, whichever of the two was asked first."""
        dozen = Dozen.objects.get(pk=self.whole.pk)
        assert [self.whole.priced(), dozen.priced(), self.item().priced()] == [
            "10 each",
            "10 a dozen",
            "10 each",
        ]
        assert [Dozen.objects.get(pk=self.whole.pk).priced(), computed["priced"]] == ["10 a dozen", 2]

    def test_arguments_are_keyed_beside_the_row(self) -> None:
        """Each call of a row has a value of its own, however it is spelt."""
        with self.assertNumQueries(2):
            assert [self.whole.times(2), self.whole.times(factor=2), self.whole.times(True)] == [20, 20, 10]
        with self.assertNumQueries(1):
            assert self.item().times(2) == 20

    def test_unsaved_instances_never_share(self) -> None:
        """Without a row, a value is the instance's own, even where the primary key is there before the row is."""
        one, two = Item(price=1), Item(price=2)
        with self.assertNumQueries(0):
            assert [one.doubled, two.doubled, one.doubled] == [2, 4, 2]
        first, second = Author(name="A"), Author(name="B")
        second.pk = first.pk
        with self.assertNumQueries(2):
            assert [first.worth, second.worth] == [0, 0]
        assert (computed["doubled"], computed["worth"]) == (2, 2)

    def test_copies_and_pickles_are_of_the_same_row(self) -> None:
        """Any instance of a saved row shares its value, and none of them brings unsaved edits into it."""
        item = self.item()
        copies = [copy.copy(item), copy.deepcopy(item), pickle.loads(pickle.dumps(item))]  # noqa: S301 -- own data
        for number, other in enumerate(copies):
            other.price = number
            assert other.doubled == 20
        assert computed["doubled"] == 1

    def test_a_copied_row_is_another(self) -> None:
        """`obj.pk = None; obj.save()` makes another row, which does not show the first one's value."""
        item = self.item()
        assert item.doubled == 20
        item.pk = None
        item.price = 7
        assert item.doubled == 14
        item.save()
        assert [item.doubled, self.item().doubled] == [14, 20]
        item._state.adding, item.pk = True, None
        item.save()
        assert item.doubled == 14

    def test_a_changed_primary_key_is_another_row(self) -> None:
        """An instance that is pointed at another row gets that row's value."""
        item = self.item()
        assert item.doubled == 20
        item.pk = self.part.pk
        assert item.doubled == 6

    def test_a_deleted_instance_is_of_no_row(self) -> None:
        """Django takes the primary key away; what is asked afterwards is the instance's own."""
        item = self.item()
        assert item.doubled == 20
        item.delete()
        item.price = 1
        assert item.doubled == 2

    def test_instance_identity_can_be_had(self) -> None:
        """A member that asks for it computes for each instance, on the instance."""
        author = Author.objects.get(pk=self.author.pk)
        prop = _instance_property()
        assert [prop.__get__(author), prop.__get__(Author.objects.get(pk=author.pk))] == ["Ann", "Ann"]
        assert prop.cache_info().misses == 2

    def test_row_identity_can_be_asked_for(self) -> None:
        """`identity="row"` is what rows have anyway, and unsaved instances are still their own."""
        from oxicache import cached_method

        method = cached_method(identity="row")(lambda item: item.price)
        assert [method(self.whole), method(self.item()), method(Item(price=4))] == [10, 10, 4]
        assert method.cache_info().misses == 2


def _instance_property() -> "_native.MemoProperty":
    from oxicache import ttl_cached_property

    made = ttl_cached_property(identity="instance")(lambda author: author.name)
    assert isinstance(made, _native.MemoProperty)
    return made


class TestFreshCopy(RowTestCase):
    def test_a_miss_costs_one_query(self) -> None:
        """The copy is loaded with one query; a second member loads its own."""
        item = self.item()
        with self.assertNumQueries(1):
            assert item.doubled == 20
        with self.assertNumQueries(1):
            assert item.times(3) == 30

    def test_unsaved_edits_stay_out(self) -> None:
        """What an instance was changed to is not what its row holds, and nobody else gets to see it."""
        item = self.item()
        item.price = 1_000_000
        assert [item.doubled, self.item().doubled] == [20, 20]

    def test_an_invalid_form_s_edits_stay_out(self) -> None:
        """A ModelForm writes into its instance before it finds an error; the page that shows it caches the row."""
        form_class = modelform_factory(Item, fields=("title", "price"))
        form = form_class({"title": "x" * 51, "price": "99"}, instance=self.item())
        assert not form.is_valid()
        assert form.instance.price == 99
        assert form.instance.doubled == 20
        assert self.item().doubled == 20

    def test_prefetched_lists_stay_out(self) -> None:
        """A list that one caller has filtered for itself is not what others are shown."""
        nothing: QuerySet[Item] = Item.objects.none()
        author = Author.objects.prefetch_related(Prefetch("items", nothing)).get(pk=self.author.pk)
        assert list(author.items.all()) == []
        assert author.worth == 10

    def test_deferred_fields_are_no_obstacle(self) -> None:
        """An instance from `only()` or `defer()` costs one query, as any other, and stays deferred."""
        for item in (
            Item.objects.only("title").get(pk=self.whole.pk),
            Item.objects.defer("price").get(pk=self.part.pk),
        ):
            with self.assertNumQueries(1):
                assert item.doubled == (20 if item.pk == self.whole.pk else 6)
            assert "price" not in item.__dict__

    def test_a_value_of_an_annotation_says_what_to_do(self) -> None:
        """The copy lacks what one queryset had annotated; the error names the member, the name and the remedy."""
        item = Item.objects.annotate(extra=F("price") + 1).get(pk=self.whole.pk)
        with pytest.raises(AttributeError) as raised:
            _ = item.annotated
        notes = "".join(raised.value.__notes__)
        assert "Item.annotated" in notes
        assert "'extra'" in notes
        assert "@ttl_cached_property(fresh=False)" in notes

    def test_an_attribute_that_nobody_has_is_left_alone(self) -> None:
        """A plain mistake is raised as it is, without advice that would not help."""
        with pytest.raises(AttributeError) as raised:
            _ = self.item().annotated
        assert not hasattr(raised.value, "__notes__")

    def test_another_object_s_error_is_left_alone(self) -> None:
        """The advice is for names that the copy lacks, not for those that something else does."""
        from oxicache import cached_method

        item: Any = self.item()
        item.extra = 1
        on_another = cached_method(lambda item: object().extra)  # type: ignore[attr-defined]
        on_itself = cached_method(fresh=False)(lambda item: item.missing)
        for method in (on_another, on_itself):
            with pytest.raises(AttributeError) as raised:
                method(item)
            assert not hasattr(raised.value, "__notes__")

    def test_fresh_false_computes_on_the_instance(self) -> None:
        """No query, and whatever the instance holds is what the row's value becomes."""
        item = self.item()
        item.price = 11
        with self.assertNumQueries(0):
            assert item.as_given == 11
        assert [self.item().as_given, computed["as_given"]] == [11, 1]

    def test_a_row_that_is_gone_computes_on_the_instance(self) -> None:
        """Nothing is stored: neither this instance nor another gets that value again."""
        one, two = Item.objects.get(pk=self.part.pk), Item.objects.get(pk=self.part.pk)
        Item.objects.filter(pk=one.pk)._raw_delete("default")
        one.price, two.price = 1, 2
        assert [one.doubled, two.doubled, one.doubled] == [2, 4, 2]
        assert computed["doubled"] == 3
        assert len(vars(Item)["doubled"].cache) == 0

    def test_a_member_that_asks_for_another_computes_both_on_copies(self) -> None:
        """What a computation asks of its copy is cached for the row as well."""
        from oxicache import cached_method

        method = cached_method(lambda item: item.doubled + 1)
        with self.assertNumQueries(2):
            assert method(self.whole) == 21
        item = self.item()
        with self.assertNumQueries(0):
            assert [item.doubled, method(item)] == [20, 21]

    def test_a_member_that_asks_for_itself_is_told(self) -> None:
        """The copy is of the same row, so it is the same value: RecursionError, not an endless descent."""
        from oxicache import cached_method

        method = cached_method(lambda item: method(item) + 1)
        with pytest.raises(RecursionError):
            method(self.whole)

    def test_tags_are_those_of_the_row(self) -> None:
        """A callable that tells the tags is given the copy, too."""
        from oxicache import cached_method

        method = cached_method(tags=lambda item: [f"price:{item.price}"])(lambda item: item.price)
        item = self.item()
        item.price = 99
        assert method(item) == 10
        assert method.cache.delete_by_tag("price:99") == 0
        assert method.cache.delete_by_tag("price:10") == 1

    def test_an_exception_is_kept_by_nobody(self) -> None:
        """The next caller computes again."""
        from oxicache import cached_method

        calls: list[int] = []

        @cached_method
        def method(item: Item) -> int:
            calls.append(item.price)
            if len(calls) == 1:
                raise LookupError
            return item.price

        with pytest.raises(LookupError):
            method(self.whole)
        assert [method(self.whole), method(self.item()), calls] == [10, 10, [10, 10]]


class TestForgetting(RowTestCase):
    def test_del_reaches_other_instances(self) -> None:
        """`del obj.prop` forgets the row's value, not the instance's."""
        item = self.item()
        assert item.doubled == 20
        Item.objects.filter(pk=item.pk).update(price=4)
        assert self.item().doubled == 20
        del item.doubled
        assert [self.item().doubled, item.doubled] == [8, 8]

    def test_forgetting_moves_the_member_s_words(self) -> None:
        """Other workers compare words: of the row's values where an instance is named, of all at `cache_clear`."""
        prop, method = vars(Item)["doubled"], vars(Item)["times"]
        doubled, times = (f"member:project.catalogue.models.Item.{name}" for name in ("doubled", "times"))
        row = f"catalogue.item:{self.whole.pk}"
        for forget, word, still in (
            (lambda: prop.invalidate(self.item()), f"{doubled}:{row}", doubled),
            (lambda: method.invalidate(self.item(), 3), f"{times}:{row}", times),
            (method.cache_clear, times, doubled),
        ):
            moved, held = _native.capture([word]), _native.capture([still])
            forget()
            assert (moved.is_current(), held.is_current()) == (False, True)

    def test_another_worker_s_words_are_heeded(self) -> None:
        """A moved word of the row, of all rows of its model, or of the member outdates what was stored before."""
        name, pk = "project.catalogue.models.Item.doubled", self.whole.pk
        words = [
            f"row:catalogue.item:{pk}",
            "rows:catalogue.item",
            f"member:{name}",
            f"member:{name}:catalogue.item:{pk}",
        ]
        for count, word in enumerate(words, start=1):
            assert self.item().doubled == 20
            assert self.item().doubled == 20
            assert computed["doubled"] == count
            _native.bump([word])
        for word in (
            f"row:catalogue.item:{self.part.pk}",
            "model:catalogue.item",
            f"row:catalogue.label:{pk}",
        ):
            assert self.item().doubled == 20
            _native.bump([word])
        assert self.item().doubled == 20
        assert computed["doubled"] == len(words) + 1

    def test_words_of_text_keys(self) -> None:
        """A row whose key is text is known by that text, which may hold anything."""
        label = Label.objects.create(slug="a-b_1")
        assert label.count() == 0
        _native.bump(["row:catalogue.label:a-b_1"])
        assert [label.count(), computed["count"]] == [0, 2]
