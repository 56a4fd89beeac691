"""`depends_on`: how models are named, which words they bring, and what is said of wrong names and when."""

from typing import Any

import pytest
from django.apps.registry import Apps
from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.test import TestCase
from django.test.utils import isolate_apps
from project.catalogue.models import Atlas, Author, Book, Dozen, Item, Label, Shelf, computed

from oxicache import _native, cached_method, rows, ttl_cached_property
from oxicache.django import dependencies
from oxicache.django.rows import dependencies_of

LABELLED = Item.labels.through


class TestWhatIsNamed:
    def test_relations_labels_and_self(self) -> None:
        """Relations forward, reverse and many-to-many, labels in any case, and the model itself, all become models."""
        assert dependencies_of(Author) == {Item}
        assert dependencies_of(Label) == {Item, LABELLED}
        assert dependencies_of(Item) == {Author, Item, Label, LABELLED}

    def test_an_inherited_member_depends_for_its_heir(self) -> None:
        """`self` is the class that inherits; its relations include those of its parents."""
        assert dependencies_of(Dozen) == {Author, Dozen, Label, LABELLED}
        assert dependencies_of(Book) == {Author, Book, Item, Label, LABELLED}
        assert dependencies_of(Atlas) == {Author, Atlas, Item, Label, LABELLED}

    def test_members_of_a_class(self) -> None:
        """Own and inherited members are found, async and overridden ones too, each once; functions are no rows'."""

        class Base:
            @cached_method
            def one(self) -> int:
                return 1

            @ttl_cached_property(identity="class")
            async def two(self) -> int:
                return 2

        class Heir(Base):
            @cached_method(identity="row", fresh=False)
            async def one(self) -> int:  # type: ignore[override]
                return 1

            again = one

        found = {member.name.rpartition("<locals>.")[2]: member for member in rows.members_of(Heir)}
        assert len(rows.members_of(Heir)) == 3
        assert {name: member.is_of_rows for name, member in found.items()} == {
            "Heir.one": True,
            "Base.one": True,
            "Base.two": False,
        }
        assert [found["Heir.one"].fresh, found["Heir.one"].decorator] == [False, "cached_method"]
        assert rows.members_of(int) == []

    def test_looking_for_members_wakes_nothing(self) -> None:
        """A lazy object among the attributes of a class stays unevaluated."""
        from django.utils.functional import SimpleLazyObject

        class Holder:
            lazy = SimpleLazyObject(lambda: pytest.fail("was evaluated"))

        assert rows.members_of(Holder) == []

    @isolate_apps("project.catalogue")
    def test_a_generic_relation_is_one(self) -> None:
        """The reverse side of a generic foreign key names its model; the forward side names none."""

        class Note(models.Model):
            kind = models.ForeignKey(ContentType, models.CASCADE)
            number = models.IntegerField()
            target = GenericForeignKey("kind", "number")

            class Meta:
                app_label = "catalogue"

        class Thing(models.Model):
            notes = GenericRelation(Note, content_type_field="kind", object_id_field="number")

            @ttl_cached_property(depends_on="notes")
            def prop(self) -> int:
                return 1

            class Meta:
                app_label = "catalogue"

        assert dependencies_of(Thing) == {Note}
        with pytest.raises(ValueError, match=r"prop.*'target'.*no particular model"):

            class Remark(models.Model):
                kind = models.ForeignKey(ContentType, models.CASCADE)
                number = models.IntegerField()
                target = GenericForeignKey("kind", "number")

                @ttl_cached_property(depends_on="target")
                def prop(self) -> int:
                    return 1

                class Meta:
                    app_label = "catalogue"

    @isolate_apps("project.catalogue")
    def test_a_relation_to_itself_is_known_in_the_class_statement(self) -> None:
        """The reverse side of `ForeignKey("self")` is a relation like another, by name or by accessor."""

        class Node(models.Model):
            parent = models.ForeignKey("self", models.CASCADE, related_name="children")
            friend = models.ForeignKey("self", models.CASCADE)
            peers = models.ManyToManyField("self")

            @ttl_cached_property(depends_on=("children", "node_set", "peers", "parent"))
            def prop(self) -> int:
                return 1

            class Meta:
                app_label = "catalogue"

        assert dependencies_of(Node) == {Node, Node.peers.through}


class TestEffect(TestCase):
    def setUp(self) -> None:
        computed.clear()
        self.author = Author.objects.create(name="Ann")
        self.item = Item.objects.create(price=3, author=self.author)

    def test_a_change_of_the_other_model_invalidates(self) -> None:
        """The word of the named model outdates the value; words of models that nobody named do not."""
        assert self.author.worth == 3
        for word in ("model:catalogue.label", "model:catalogue.author", f"row:catalogue.item:{self.item.pk}"):
            _native.bump([word])
        assert [self.author.worth, computed["worth"]] == [3, 1]
        _native.bump(["model:catalogue.item"])
        assert [self.author.worth, computed["worth"]] == [3, 2]

    def test_either_end_of_a_many_to_many_relation_invalidates(self) -> None:
        """The related model counts, and so does the table between."""
        assert self.item.siblings == 0
        for count, word in enumerate(("catalogue.item", "catalogue.label", "catalogue.item_labels"), start=2):
            _native.bump([f"model:{word}"])
            assert [self.item.siblings, computed["siblings"]] == [0, count]

    def test_parents_of_the_other_model_count(self) -> None:
        """A book shows what stands in its item's row: who depends on books depends on items."""

        @cached_method(depends_on=Book)
        def method(shelf: Shelf) -> int:
            computed["method"] += 1
            return Book.objects.count()

        shelf = Shelf.objects.create(room=1, place="a")
        for word in ("catalogue.book", "catalogue.item"):
            assert method(shelf) == 0
            _native.bump([f"model:{word}"])
        assert [method(shelf), computed["method"]] == [0, 3]

    def test_what_a_query_found_before_an_invalidation_is_not_kept(self) -> None:
        """An invalidation while the value is computed reaches it: nothing is stored, the next caller computes."""

        @cached_method(depends_on=Item)
        def method(author: Author) -> int:
            computed["method"] += 1
            found = author.items.count()
            if computed["method"] == 1:
                _native.bump(["model:catalogue.item"])
            return found

        assert [method(self.author), method(self.author), method(self.author)] == [1, 1, 1]
        assert computed["method"] == 2


class TestErrors:
    @pytest.mark.parametrize(
        ("given", "error", "said"),
        [
            ("catalogue.Itm", ValueError, r"names 'catalogue.Itm', and there is no such model"),
            ("nowhere.Item", ValueError, r"names 'nowhere.Item', and there is no such model"),
            ("a.b.c", ValueError, r'not of the form "app.Model"'),
            (".Item", ValueError, r'not of the form "app.Model"'),
            ("colour", ValueError, r"names 'colour', and catalogue.Thing has no relation of that name"),
            ("size", ValueError, r"names 'size', which is a field, and no relation"),
            ("prop", ValueError, r"names 'prop', and catalogue.Thing has no relation of that name"),
            (int, TypeError, r"names <class 'int'>, which is no model"),
            (models.Model, ValueError, r"is abstract"),
        ],
        ids=repr,
    )
    @isolate_apps("project.catalogue")
    def test_a_wrong_name_is_an_error_of_the_class_statement(
        self, given: Any, error: type, said: str
    ) -> None:
        """It names decorator, member, model and value, as soon as all models of the app are loaded."""
        with pytest.raises(error, match=said) as raised:

            class Thing(models.Model):
                size = models.IntegerField()

                @ttl_cached_property(depends_on=given)
                def prop(self) -> int:
                    return 1

                class Meta:
                    app_label = "catalogue"

        assert "@ttl_cached_property of " in str(raised.value)
        assert "Thing.prop, on catalogue.Thing: depends_on names" in str(raised.value)

    @pytest.mark.parametrize("given", [3, ["author", 3], None, b"author"], ids=repr)
    def test_a_wrong_type_is_an_error_of_the_decorator(self, given: Any) -> None:
        """It names decorator, member and value."""
        with pytest.raises(TypeError, match=r"@cached_method of .*method: depends_on must be .*, not "):

            @cached_method(depends_on=given)
            def method(self: Any) -> None: ...

    def test_an_empty_name_is_an_error_of_the_decorator(self) -> None:
        """It is a slip, and names nothing."""
        with pytest.raises(ValueError, match=r"depends_on must be .*, not ''"):

            @cached_method(depends_on=["author", ""])
            def method(self: Any) -> None: ...

    @pytest.mark.parametrize("identity", ["instance", "class", lambda _: 1], ids=["instance", "class", "own"])
    def test_only_rows_are_invalidated_by_models(self, identity: Any) -> None:
        """Elsewhere `depends_on` would do nothing, silently."""
        with pytest.raises(
            ValueError, match=r"@cached_method of .*method: depends_on='author' has no effect"
        ):

            @cached_method(depends_on="author", identity=identity)
            def method(self: Any) -> None: ...

    @isolate_apps("project.catalogue")
    def test_too_many_models_are_an_error_of_the_class_statement(self) -> None:
        """A value has at most 32 words, five of which its own row and member take."""
        many = [
            type(
                f"Many{n}",
                (models.Model,),
                {"__module__": __name__, "Meta": type("M", (), {"app_label": "catalogue"})},
            )
            for n in range(29)
        ]

        def define(name: str, count: int) -> None:
            def prop(self: Any) -> int:
                return 1

            made = ttl_cached_property(depends_on=many[:count])(prop)
            meta = type("Meta", (), {"app_label": "catalogue"})
            type(name, (models.Model,), {"__module__": __name__, "Meta": meta, "prop": made})

        define("Enough", 28)
        with pytest.raises(
            ValueError, match=r"TooMany: depends_on=.* makes 33 version words.*32 is the limit"
        ):
            define("TooMany", 29)


class TestModelsThatAreNotLoadedYet:
    @pytest.fixture
    def registry(self) -> Any:
        """A registry that is still importing models."""
        registry: Any = Apps(["django.contrib.contenttypes"])
        registry.models_ready = registry.ready = False
        registry.app_configs["contenttypes"].models_module = None
        left = list(dependencies._unsettled)
        yield registry
        dependencies._unsettled[:] = left

    def model(self, registry: Any, name: str, depends_on: Any = (), **fields: Any) -> Any:
        def prop(self: Any) -> int:
            return 1

        meta = type("Meta", (), {"app_label": "contenttypes", "apps": registry})
        members = {"prop": ttl_cached_property(depends_on=depends_on)(prop)} if depends_on else {}
        return type(name, (models.Model,), {"__module__": __name__, "Meta": meta, **fields, **members})

    def test_a_name_may_come_later(self, registry: Any) -> None:
        """Labels, and relations forward and reverse, are resolved when all models are there."""
        told: list[Any] = []
        dependencies.when_found(tell := lambda model, found: told.append((model, set(found))))
        early = self.model(
            registry,
            "Early",
            ["contenttypes.Late", "later", "lates"],
            later=models.ForeignKey("Later", models.CASCADE),
        )
        assert dependencies_of(early) == frozenset()
        with pytest.raises(LookupError, match="not loaded yet"):
            dependencies.words_of(early, rows.members_of(early)[0])
        later = self.model(registry, "Later")
        late = self.model(
            registry, "Late", early=models.ForeignKey("Early", models.CASCADE, related_name="lates")
        )
        registry.models_ready = registry.ready = True
        dependencies.complete()
        dependencies._listeners.remove(tell)
        assert dependencies_of(early) == {late, later}
        assert (early, {late, later}) in told
        assert "model:contenttypes.late" in dependencies.words_of(early, rows.members_of(early)[0]).of(1)

    @pytest.mark.parametrize("given", ["contenttypes.Never", "never"])
    def test_one_that_never_comes_is_told_at_the_end(self, registry: Any, given: str) -> None:
        """When all models are loaded, the first name that nothing answers to raises."""
        self.model(registry, "Waiting", given)
        registry.models_ready = registry.ready = True
        with pytest.raises(ValueError, match=rf"prop, on contenttypes.Waiting: depends_on names '{given}'"):
            dependencies.complete()

    def test_an_app_that_is_not_installed_is_told_at_once(self, registry: Any) -> None:
        """All apps are known before the first model is."""
        with pytest.raises(ValueError, match=r"'elsewhere.Thing', and there is no such model"):
            self.model(registry, "Impatient", "elsewhere.Thing")

    def test_an_app_whose_models_are_loaded_is_told_at_once(self, registry: Any) -> None:
        """What is not among them will not come."""
        registry.app_configs["contenttypes"].models_module = models
        with pytest.raises(ValueError, match=r"'contenttypes.Never', and there is no such model"):
            self.model(registry, "Impatient", "contenttypes.Never")

    def test_a_migration_s_models_are_left_alone(self, registry: Any) -> None:
        """They stand for models as they once were: what these depended on may be gone."""

        def prop(self: Any) -> int:
            return 1

        meta = type("Meta", (), {"app_label": "contenttypes", "apps": registry})
        member = ttl_cached_property(depends_on="gone.Model")(prop)
        made: Any = type("Old", (models.Model,), {"__module__": "__fake__", "Meta": meta, "prop": member})
        assert dependencies_of(made) == frozenset()
