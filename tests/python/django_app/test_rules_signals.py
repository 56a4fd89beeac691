"""When rules apply: which models get receivers, which changes they hear of, and that it takes effect at the commit."""

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core import serializers
from django.db import IntegrityError, connection, models, transaction
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.test import TestCase
from django.test.utils import CaptureQueriesContext, isolate_apps, override_settings
from project.catalogue.models import Author, Book, Dozen, Item, Label, Topic
from sessions import Words, rolled_back

from oxicache import invalidation
from oxicache.django import marks, rulebook
from oxicache.django.rules import changed_rows, rules_stats
from oxicache.invalidation import Effect
from oxicache.trail import trail

Register = Callable[..., Callable[[], None]]


def listens(model: type[models.Model]) -> tuple[bool, bool, bool]:
    """Whether anything listens to saves, deletions and relations of a model."""
    return post_save.has_listeners(model), post_delete.has_listeners(model), m2m_changed.has_listeners(model)


def keys_in(carried: list[Effect]) -> set[str]:
    """All keys that were carried out so far, which are forgotten."""
    found = {key for effect in carried for part in (effect.as_names(), *effect.also) for key in part.keys}
    carried.clear()
    return found


@pytest.fixture(autouse=True)
def _no_receivers_of_dead_classes() -> None:
    gc.collect()


@pytest.fixture
def group() -> Iterator[Group]:
    """A row of a model that nothing else watches."""
    one = Group.objects.create(name="rules")
    yield one
    Group.objects.filter(name__startswith="rules").delete()


class TestReceivers:
    def test_a_model_without_rules_has_none(self, register: Register) -> None:
        """So that saving it costs nothing, and deleting many stays one query."""
        assert listens(Group) == listens(Permission) == listens(ContentType) == (False, False, False)
        register("auth.User", keys="k")
        assert listens(Group) == listens(ContentType) == (False, False, False)

    def test_a_model_has_those_that_its_rules_need_and_as_long_as_they_do(self, register: Register) -> None:
        """A rule of saves keeps fast deletes."""
        first = register("auth.Group", keys="k", on="save")
        assert listens(Group) == (True, False, False)
        second = register("auth.Group", keys="k", on="delete")
        assert listens(Group) == (True, True, False)
        first()
        assert listens(Group) == (False, True, False)
        second()
        assert listens(Group) == (False, False, False)
        assert not m2m_changed.has_listeners(Group.permissions.through)
        third = register("auth.Permission", keys="k", on="m2m")
        assert m2m_changed.has_listeners(Group.permissions.through)
        third()
        assert not m2m_changed.has_listeners(Group.permissions.through)

    def test_without_rules_that_delete_a_queryset_is_deleted_by_one_query(self, register: Register) -> None:
        """Receivers of deletions would make Django load the rows."""
        register("contenttypes.ContentType", keys="k", on="save")
        with CaptureQueriesContext(connection) as queries:
            Topic.objects.filter(name="none").delete()
        assert not any("SELECT" in query["sql"] and "LIMIT" not in query["sql"] for query in queries[1:])

    @isolate_apps("project.catalogue")
    def test_a_child_made_later_is_heard_of(self, register: Register, carried: list[Effect]) -> None:
        """And a proxy of it."""
        register("auth.Group", keys="k:{pk}")

        class Proxy(Group):
            class Meta:
                proxy = True
                app_label = "catalogue"

        assert listens(Proxy) == (True, True, False)
        post_save.send(Proxy, instance=Proxy(pk=3), created=False, using="default")
        assert keys_in(carried) == {"k:3"}


class TestChanges:
    def test_every_way_to_save_and_delete_one(self, register: Register, carried: list[Effect]) -> None:
        """`create`, `save`, `get_or_create`, `update_or_create`, `delete` of a row and of a queryset."""
        register("auth.Group", keys="{name}", on=["save", "delete"])
        one = Group.objects.create(name="rules1")
        assert keys_in(carried) == {"rules1"}
        one.name = "rules2"
        one.save(update_fields=["name"])
        assert keys_in(carried) == {"rules1", "rules2"}
        Group.objects.get_or_create(name="rules3")
        assert keys_in(carried) == {"rules3"}
        Group.objects.get_or_create(name="rules3")
        assert keys_in(carried) == set()
        Group.objects.update_or_create(name="rules3", defaults={"name": "rules4"})
        assert keys_in(carried) == {"rules3", "rules4"}
        one.delete()
        assert keys_in(carried) == {"rules2"}
        Group.objects.filter(name="rules4").delete()
        assert keys_in(carried) == {"rules4"}

    def test_created_and_updated_are_told_apart(
        self, register: Register, carried: list[Effect], group: Group
    ) -> None:
        """As the operations of document 004 are."""
        register("auth.Group", keys="created", on="create")
        register("auth.Group", keys="updated", on="update")
        group.save()
        assert keys_in(carried) == {"updated"}
        Group.objects.create(name="rules1")
        assert keys_in(carried) == {"created"}

    def test_fixtures_count(self, register: Register, carried: list[Effect]) -> None:
        """`loaddata` sends raw saves."""
        register("auth.Group", keys="k:{pk}")
        text = '[{"model": "auth.group", "pk": 77, "fields": {"name": "rules77"}}]'
        for loaded in serializers.deserialize("json", text):
            loaded.save()
        assert keys_in(carried) == {"k:77"}
        Group.objects.filter(pk=77).delete()

    def test_a_row_that_goes_with_another(self, register: Register, carried: list[Effect]) -> None:
        """Django's own cascade sends a signal for each."""
        author = Author.objects.create(name="a")
        item = Item.objects.create(title="i", author=author)
        register("catalogue.Item", keys="k:{pk}", on="delete")
        author.delete()
        assert keys_in(carried) == {f"k:{item.pk}"}

    def test_a_deferred_row_is_saved_without_a_query_more(self, register: Register, group: Group) -> None:
        """What is not loaded stays so."""
        item = Item.objects.create(title="i", price=1)

        def queries() -> int:
            with CaptureQueriesContext(connection) as found:
                Item.objects.only("price").get(pk=item.pk).save()
            return len(found)

        before = queries()
        register("catalogue.Item", keys=["k:{title}", "k:{pk}"], tags="t:{author_id}")
        assert queries() == before
        item.delete()

    def test_a_proxy_and_a_child(self, register: Register, carried: list[Effect]) -> None:
        """The model's rules are theirs, and a parent's deletion tells of both."""
        register("catalogue.Item", keys="item:{pk}")
        register("catalogue.Book", keys="book:{pk}:{pages}")
        dozen = Dozen.objects.create(title="d")
        assert keys_in(carried) == {f"item:{dozen.pk}"}
        book = Book.objects.create(title="b", pages=2)
        pk = book.pk
        assert keys_in(carried) == {f"item:{pk}", f"book:{pk}:2"}
        Item.objects.get(pk=pk).save()
        assert keys_in(carried) == {f"item:{pk}", f"book:{pk}:2"}
        Item.objects.get(pk=pk).delete()
        assert keys_in(carried) == {f"item:{pk}", f"book:{pk}:2"}
        dozen.delete()

    def test_switched_off_nothing_is_invalidated(
        self, register: Register, carried: list[Effect], group: Group
    ) -> None:
        """CACHE_INVALIDATION_ENABLED of document 003; rows of decorated members stay right all the same."""
        register("auth.Group", keys="k")
        register("catalogue.Item", keys="k")
        with override_settings(CACHE_INVALIDATION_ENABLED=False):
            group.save()
            changed_rows(Group, None)
            words = Words("model:catalogue.item")
            Item.objects.create(title="x").delete()
            assert words.moved == ["model:catalogue.item"]
        assert carried == []
        with override_settings(OXICACHE={"INVALIDATION_ENABLED": False}):
            group.save()
        assert carried == []
        group.save()
        assert keys_in(carried) == {"k"}

    def test_statements_are_told_by_who_makes_them(
        self, register: Register, carried: list[Effect], group: Group
    ) -> None:
        """`update()` sends no signal: `changed_rows` is for the managers that know."""
        register("auth.Group", keys=["k:{pk}"], on="bulk")
        Group.objects.filter(pk=group.pk).update(name="rules2")
        assert carried == []
        changed_rows(Group, [group.pk], "default")
        assert keys_in(carried) == {f"k:{group.pk}"}

    def test_a_rule_that_fails_lets_the_save_go_on(
        self, register: Register, carried: list[Effect], group: Group, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever fails: its callable, the database it asks, the rules themselves."""
        register("auth.Group", keys=lambda group: group.nothing)
        register("auth.Group", keys="k")
        group.save()
        assert keys_in(carried) == {"k"}
        monkeypatch.setattr(rulebook, "effect_of_instance", lambda *_: 1 / 0)
        group.save()


class TestBefore:
    """A row that moves from one list to another changes both."""

    @pytest.fixture
    def item(self) -> Iterator[Item]:
        """An item of some price."""
        item = Item.objects.create(title="t", price=1)
        yield item
        item.delete()

    @pytest.mark.parametrize(
        "source", ["p:{price}", lambda item: f"p:{item.price}"], ids=["template", "callable"]
    )
    def test_what_it_was_counts_too(
        self, register: Register, carried: list[Effect], item: Item, source: Any
    ) -> None:
        """Whether it was read or made by hand, and whatever others did to it meanwhile."""
        register("catalogue.Item", keys=source)
        item.price = 2
        item.save()
        assert keys_in(carried) == {"p:1", "p:2"}
        Item(pk=item.pk, title="t", price=3).save()
        assert keys_in(carried) == {"p:2", "p:3"}
        item.save()
        assert keys_in(carried) == {"p:3", "p:2"}

    def test_it_is_asked_for_only_where_it_matters(self, register: Register, item: Item) -> None:
        """Not for keys alone, not for rows that are new, not for columns that are not saved."""

        def queries(save: Callable[[], object]) -> int:
            with CaptureQueriesContext(connection) as found:
                save()
            return len([query for query in found if query["sql"].startswith("SELECT")])

        register("catalogue.Item", keys="k:{pk}", tags="{tenant}")
        assert queries(item.save) == 0
        register("catalogue.Item", keys="p:{price}", previous=False)
        assert queries(item.save) == 0
        register("catalogue.Item", keys="a:{author_id}")
        register("catalogue.Author", keys="n:{name}")
        assert queries(item.save) == 1
        assert queries(lambda: item.save(update_fields=["title"])) == 0
        assert queries(lambda: item.save(update_fields=["author"])) == 1
        assert queries(lambda: Author.objects.create(name="new")) == 0
        with override_settings(CACHE_INVALIDATION_ENABLED=False):
            assert queries(item.save) == 0

    def test_a_save_that_failed_leaves_nothing(
        self, register: Register, carried: list[Effect], item: Item
    ) -> None:
        """The next one asks anew."""
        register("catalogue.Item", keys="p:{price}")
        item.price = None  # type: ignore[assignment]
        with pytest.raises(IntegrityError):
            item.save()
        assert carried == []
        Item(pk=item.pk, title="t", price=5).save()
        carried.clear()
        item.price = 6
        item.save()
        assert keys_in(carried) == {"p:5", "p:6"}


class TestRelations:
    @pytest.fixture
    def rows(self) -> Iterator[tuple[Item, Label, Label]]:
        """An item and two labels."""
        item = Item.objects.create(title="i")
        labels = [Label.objects.create(slug=f"rules{number}") for number in range(2)]
        yield item, labels[0], labels[1]
        item.delete()
        for label in labels:
            label.delete()

    @pytest.fixture
    def _rules(self, rows: Any, register: Register) -> None:
        register("catalogue.Item", keys="item:{pk}", on="m2m")
        register("catalogue.Label", keys="label:{pk}", on="m2m")

    @pytest.mark.usefixtures("_rules")
    def test_both_sides_and_both_directions(
        self, rows: tuple[Item, Label, Label], carried: list[Effect]
    ) -> None:
        """An item given a label is a label given an item."""
        item, one, other = rows
        both = {f"item:{item.pk}", f"label:{one.pk}", f"label:{other.pk}"}
        item.labels.add(one, other)
        assert keys_in(carried) == both
        item.labels.add(one)
        assert keys_in(carried) == set(), "it had it already"
        one.item_set.remove(item)
        assert keys_in(carried) == {f"item:{item.pk}", f"label:{one.pk}"}
        item.labels.set([one])
        assert keys_in(carried) == both
        one.item_set.clear()
        assert keys_in(carried) == {f"item:{item.pk}", f"label:{one.pk}"}
        item.labels.set([one, other], clear=True)
        assert keys_in(carried) == both
        item.labels.clear()
        assert keys_in(carried) == both

    def test_what_was_cleared_is_asked_for_by_rules_that_differ_by_row_only(
        self, rows: tuple[Item, Label, Label], register: Register
    ) -> None:
        """One query more, before the rows are gone."""
        item, one, _ = rows

        def queries() -> int:
            item.labels.set([one])
            with CaptureQueriesContext(connection) as found:
                item.labels.clear()
            return len(found)

        before = queries()
        register("catalogue.Label", keys="labels", on="m2m")
        assert queries() == before
        register("catalogue.Label", keys="label:{pk}", on="m2m")
        assert queries() == before + 1

    def test_a_relation_of_a_model_with_itself(self, register: Register, carried: list[Effect]) -> None:
        """Symmetrical or not: both rows."""
        topics = [Topic.objects.create(name=f"t{number}") for number in range(2)]
        register("catalogue.Topic", keys="topic:{pk}", on="m2m")
        both = {f"topic:{topic.pk}" for topic in topics}
        topics[0].narrower.add(topics[1])
        assert keys_in(carried) == both
        topics[1].broader.clear()
        assert keys_in(carried) == both
        topics[0].related.add(topics[1])
        assert keys_in(carried) == both
        topics[1].related.clear()
        assert keys_in(carried) == both
        for topic in topics:
            topic.delete()


class TestCascades:
    def test_rows_that_refer_to_it_have_their_rules_applied(
        self, register: Register, carried: list[Effect]
    ) -> None:
        """One level of reverse foreign keys, and nobody else's rows."""
        author, other = Author.objects.create(name="a"), Author.objects.create(name="b")
        item = Item.objects.create(title="i", author=author)
        Item.objects.create(title="j", author=other)
        register("catalogue.Author", cascade=True, keys="author:{pk}")
        register("catalogue.Item", keys=["item:{pk}", "items"])
        words = Words("rows:catalogue.item", "model:catalogue.item")
        author.save()
        assert keys_in(carried) == {
            f"author:{author.pk}",
            f"author:~uuid({author.pk})",
            f"item:{item.pk}",
            "items",
        }
        assert words.moved == ["rows:catalogue.item", "model:catalogue.item"]
        author.delete()
        other.delete()

    def test_without_rules_that_differ_by_row_nothing_is_asked_for(self, register: Register) -> None:
        """A save costs the queries of a save."""
        author = Author.objects.create(name="a")

        def queries() -> int:
            with CaptureQueriesContext(connection) as found:
                author.save()
            return len(found)

        before = queries()
        register("catalogue.Author", cascade=True)
        register("catalogue.Item", keys="items")
        assert queries() == before
        author.delete()

    def test_a_row_that_refers_to_itself_is_no_cycle(
        self, register: Register, carried: list[Effect], caplog: pytest.LogCaptureFixture
    ) -> None:
        """A tree: the children of the one that was saved, and no grandchildren."""
        whole = Item.objects.create(title="w")
        part = Item.objects.create(title="p", whole=whole)
        deeper = Item.objects.create(title="d", whole=part)
        register("catalogue.Item", cascade=True, keys="item:{pk}")
        whole.save()
        found = keys_in(carried)
        assert {f"item:{whole.pk}", f"item:{part.pk}"} <= found
        assert f"item:{deeper.pk}" not in found
        assert not caplog.records
        whole.delete()

    @isolate_apps("project.catalogue")
    def test_a_cycle_is_cut_logged_once_and_counted(
        self, register: Register, carried: list[Effect], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Two models that refer to each other and cascade to each other."""

        class Head(models.Model):
            tail = models.ForeignKey("Tail", models.CASCADE, null=True)

            class Meta:
                app_label = "catalogue"

        class Tail(models.Model):
            head = models.ForeignKey(Head, models.CASCADE, null=True)

            class Meta:
                app_label = "catalogue"

        register(Head, cascade=True, keys="heads", name="head")
        register(Tail, cascade=True, keys="tails", name="tail")
        for _ in range(3):
            post_save.send(Head, instance=Head(pk=1), created=False, using="default")
        assert keys_in(carried) == {"heads", "tails"}
        told = [record.message for record in caplog.records]
        assert len(told) == 1
        assert "catalogue.Head -> catalogue.Tail -> catalogue.Head" in told[0]
        assert rules_stats()["tail"]["cycles"] == 3


class TestTransactions:
    def test_nothing_happens_before_the_commit(
        self, register: Register, carried: list[Effect], group: Group
    ) -> None:
        """An earlier system's handlers ran before it: readers stored what was old once more."""
        register("auth.Group", keys="k:{pk}", models="catalogue.Label")
        words = Words("rows:catalogue.label")
        with transaction.atomic():
            group.save()
            with transaction.atomic():
                group.save()
            assert carried == []
            assert words.moved == []
        assert len(carried) <= 2, "joined: one for each block that was open"
        assert keys_in(carried) == {f"k:{group.pk}"}
        assert words.moved == ["rows:catalogue.label"]

    def test_nothing_happens_after_a_rollback(
        self, register: Register, carried: list[Effect], group: Group
    ) -> None:
        """Of the transaction, and of a savepoint."""
        register("auth.Group", keys="{name}")
        with rolled_back():
            group.save()
        assert carried == []
        with transaction.atomic():
            group.save()
            with rolled_back():
                Group(pk=group.pk, name="rules-undone").save()
        assert keys_in(carried) == {"rules"}
        with rolled_back():
            with transaction.atomic():
                group.save()
            with transaction.atomic():
                group.save()
        assert carried == []

    def test_what_a_released_savepoint_held_is_kept(self, register: Register, carried: list[Effect]) -> None:
        """However many come and go."""
        register("auth.Group", keys="{name}")
        with transaction.atomic():
            for number in range(30):
                with transaction.atomic():
                    Group.objects.create(name=f"rules{number}")
        assert len(carried) <= 2
        assert keys_in(carried) == {f"rules{number}" for number in range(30)}
        Group.objects.filter(name__startswith="rules").delete()

    def test_each_database_has_its_own_commit(
        self, register: Register, carried: list[Effect], group: Group
    ) -> None:
        """What was saved on one does not wait for another."""
        register("auth.Group", keys="{name}")
        with transaction.atomic(using="other"):
            group.save()
            assert keys_in(carried) == {"rules"}
            Group.objects.using("other").create(name="rules-other")
            assert carried == []
        assert keys_in(carried) == {"rules-other"}
        Group.objects.using("other").all().delete()

    def test_without_autocommit_it_waits_for_the_commit(
        self, register: Register, carried: list[Effect], group: Group
    ) -> None:
        """A project that manages its transactions by itself."""
        register("auth.Group", keys="k")
        transaction.set_autocommit(False)
        try:
            group.save()
            assert carried == []
            transaction.commit()
            assert keys_in(carried) == {"k"}
            group.save()
            transaction.rollback()
            assert carried == []
        finally:
            transaction.set_autocommit(True)
        assert carried == []

    def test_a_commit_that_failed_invalidates_and_may_be_tried_again(
        self, register: Register, carried: list[Effect], group: Group, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody knows whether the database has committed."""
        register("auth.Group", keys="k")
        transaction.set_autocommit(False)
        try:
            with monkeypatch.context() as patched:
                patched.setattr(connection, "_commit", lambda: 1 / 0)
                group.save()
                with pytest.raises(ZeroDivisionError):
                    transaction.commit()
            assert keys_in(carried) == {"k"}
            transaction.commit()
            assert keys_in(carried) == {"k"}
        finally:
            transaction.set_autocommit(True)

    def test_very_many_names_are_made_fewer(
        self, register: Register, carried: list[Effect], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A transaction that changes a million rows takes no memory for a million names, and the trail says so."""
        monkeypatch.setattr(invalidation, "MAX_PENDING_NAMES", 10)
        register("auth.Group", keys="k:{pk}")
        with transaction.atomic():
            for number in range(15):
                Group.objects.create(name=f"rules{number}")
        (effect,) = carried
        assert "k:*" in effect.globs
        assert len(effect) < 12
        assert any(event["kind"] == "many" for event in trail.events(limit=20))
        Group.objects.filter(name__startswith="rules").delete()

    def test_one_that_fails_to_be_carried_out_does_not_undo_the_commit(
        self, register: Register, group: Group, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nor keep the callbacks of others from being called."""
        register("auth.Group", keys="k")
        monkeypatch.setattr(marks, "_executors", [lambda *_: 1 / 0])
        called: list[int] = []
        with transaction.atomic():
            transaction.on_commit(lambda: called.append(1))
            group.save()
        assert called == [1]

    def test_whoever_calls_back_after_the_commit_finds_it_done(
        self, register: Register, carried: list[Effect], group: Group
    ) -> None:
        """Callbacks of `on_commit` come after, also those that were registered before the save."""
        register("auth.Group", keys="k")
        found: list[set[str]] = []
        with transaction.atomic():
            transaction.on_commit(lambda: found.append(keys_in(carried)))
            group.save()
        assert found == [{"k"}]


class TestInTestCase(TestCase):
    def test_it_is_immediate(self) -> None:
        """The block that TestCase opens never commits."""
        from oxicache.django.rules import Rule, register_rule

        carried: list[Effect] = []
        before = list(marks._executors)
        end = register_rule(Rule("auth.Group", keys="k"))
        try:
            marks.carry_out_with(lambda effect, _: carried.append(effect))
            Group.objects.create(name="rules")
        finally:
            marks._executors[:] = before
            end()
        assert keys_in(carried) == {"k"}


class TestTrail:
    def test_it_says_which_rule_what_where_and_when(self, register: Register, group: Group) -> None:
        """As of the commit, with the line that saved."""
        register("auth.Group", tags="t:{pk}", keys="k:{pk}", globs="g*", name="the rule")
        trail.clear()
        with transaction.atomic():
            group.save()
            assert trail.events() == []
        events = [event for event in trail.events() if event["detail"] == "the rule"]
        assert len(events) == 1
        assert {f"tag:t:{group.pk}", f"key:k:{group.pk}", "pattern:g*"} <= set(events[0]["names"])
        assert "test_rules_signals.py" in events[0]["where"]
        assert events[0]["kind"] == "save"

    def test_each_save_of_a_transaction_has_its_line(self, register: Register, group: Group) -> None:
        """Joined effects do not lose who asked for them."""
        register("auth.Group", keys="k", name="the rule")
        trail.clear()
        with transaction.atomic():
            group.save()
            group.save()
        events = [event for event in trail.events() if event["detail"] == "the rule"]
        assert len({event["where"] for event in events}) == 2

    def test_what_was_rolled_back_is_not_in_it(self, register: Register, group: Group) -> None:
        """Nothing was invalidated."""
        register("auth.Group", keys="k")
        trail.clear()
        with rolled_back():
            group.save()
        assert trail.events() == []
