"""What a rule means for a row: its templates, callables, tenants, cascades; and how rules are registered."""

import datetime as dt
import logging
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, models
from django.test.utils import CaptureQueriesContext, isolate_apps, override_settings
from project.catalogue.models import Book, Crate, Dozen, Item, Label, Shelf, Stock
from ruled import Register, keys_of

from oxicache.django import asked_rows, rulebook
from oxicache.django.rules import (
    Rule,
    effects_of,
    register_rule,
    rules_stats,
)
from oxicache.invalidation import NOTHING

pytestmark = pytest.mark.usefixtures("empty_map", "no_rows")


class TestTemplates:
    def test_they_stand_for_what_changed(self, register: Register) -> None:
        """`{pk}` and the attributes that hold columns, in tags, keys and globs."""
        author = uuid.UUID(int=7)
        register(
            "catalogue.Item", tags="item:{pk}", keys=["title:{title}", "items"], globs="by:{author_id}:*"
        )
        effect = effects_of(Item(pk=3, title="a", author_id=author), "update")
        assert effect.tags == {"item:3"}
        assert effect.keys == {"title:a", "items"}
        assert effect.globs == {f"by:{author}:*", f"by:~uuid({author}):*"}

    @pytest.mark.parametrize(
        ("value", "keys"),
        [
            ("7", {"k:7", "k:~7"}),
            ("a:b", {"k:a:b", "k:a%3Ab"}),
            (None, {"k:None", "k:none"}),
            ("plain", {"k:plain"}),
        ],
    )
    def test_a_value_is_spelt_as_str_has_it_and_as_make_key_does(
        self, register: Register, value: Any, keys: set[str]
    ) -> None:
        """Keys are made with f-strings and with `make_key`: both are meant."""
        register("catalogue.Item", keys="k:{title}")
        assert effects_of(Item(pk=1, title=value), "update").keys == keys

    def test_wildcards_in_a_value_match_only_themselves(self, register: Register) -> None:
        """A slug `*` is no reason to remove what is kept for all others."""
        register("catalogue.Label", globs="label:{pk}:*")
        assert r"label:\*:*" in effects_of(Label(slug="*"), "update").globs

    def test_a_primary_key_is_that_of_the_field(self, register: Register) -> None:
        """An instance made of what a form sent has a str for it."""
        register("catalogue.Item", keys="k:{pk}")
        assert effects_of(Item(pk="7"), "update").keys == {"k:7"}

    def test_a_composite_key_is_one_value(self, register: Register) -> None:
        """As Django has it: a tuple."""
        register("catalogue.Shelf", keys="shelf:{room}:{place}", tags="s:{pk}")
        effect = effects_of(Shelf(room=1, place="a"), "update")
        assert effect.keys == {"shelf:1:a"}
        assert "s:(1, 'a')" in effect.tags

    @pytest.mark.parametrize(
        ("template", "told"),
        [
            ("x:{nothing}", "catalogue.Item has no column nothing"),
            ("x:{author}", r"\{author\} is a relation of catalogue.Item; write \{author_id\}"),
            ("x:{labels}", "has no column labels"),
            ("x:{doubled}", "has no column doubled"),
        ],
    )
    def test_an_unknown_field_is_an_error_at_registration(self, template: str, told: str) -> None:
        """Not at the first save of a customer."""
        for name in ("tags", "keys", "globs"):
            with pytest.raises(ValueError, match=told):
                register_rule(Rule("catalogue.Item", **{name: template}))
        assert not rulebook.entries()

    def test_a_glob_without_wildcards_means_whole_segments(self, register: Register) -> None:
        """`asset` is neither `assets` nor `asset_status`: an earlier system removed whatever contained it."""
        register("catalogue.Item", globs="asset:{pk}")
        effect = effects_of(Item(pk=1), "update")
        assert effect.keys == {"asset:1"}
        assert effect.globs == {"asset:1:*", "*:asset:1", "*:asset:1:*"}

    def test_related_kinds_are_tags_keys_and_segments(self, register: Register) -> None:
        """`related: ['profile']` of document 003 is `profile:<pk>`."""
        register("auth.User", related=["profile", "permissions"])
        effect = effects_of(User(pk=5), "update")
        assert effect.tags == effect.keys == {"profile:5", "permissions:5"}
        assert "*:profile:5:*" in effect.globs

    def test_aliases_are_kept_apart(self, register: Register) -> None:
        """What one rule asks for in one alias is not done in another's."""
        register("catalogue.Item", keys="a", aliases="one")
        register("catalogue.Item", keys="b", aliases=("two", "three"))
        register("catalogue.Item", tags="c")
        effect = effects_of(Item(pk=1), "update")
        found = {(part.aliases, part.keys, part.tags) for part in (effect.as_names(), *effect.also)}
        assert found == {(("one",), ("a",), ()), (("two", "three"), ("b",), ()), (None, (), ("c",))}

    def test_other_models_lose_all_rows_values(self, register: Register) -> None:
        """`models` names whose rows show this one."""
        register("catalogue.Item", models=["catalogue.author", Label])
        words = effects_of(Item(pk=1), "update").words
        assert {"rows:catalogue.author", "rows:catalogue.label", "model:catalogue.label"} <= words


class TestUnknownValues:
    def test_a_deferred_field_is_no_query_and_widens_the_effect(
        self, register: Register, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What nobody knows may be anything."""
        register("catalogue.Item", tags="t:{title}", keys="k*:{pk}:{title}", globs="g:{title}:?")
        item = Item.from_db("default", ["id", "price"], [7, 1])
        with CaptureQueriesContext(connection) as queries:
            effect = effects_of(item, "update")
            effects_of(item, "update")
        assert len(queries) == 0
        assert effect.every_tag
        assert effect.globs == {r"k\*:7:*", "g:*:?"}
        assert sum("a tag with title" in one.message for one in caplog.records) == 1, "said once"

    def test_an_expression_is_no_value(self, register: Register) -> None:
        """After `price = F('price') + 1` only the database knows it."""
        register("catalogue.Item", keys="k:{price}")
        effect = effects_of(Item(pk=1, price=models.F("price") + 1), "update")
        assert keys_of(effect) == {"k:*"}


class TestCallables:
    def test_they_are_given_the_instance(self, register: Register) -> None:
        """One text or several; None is none; globs of them mean what others mean."""
        register(
            "catalogue.Item",
            tags=lambda item: [f"t{item.pk}"],
            keys=lambda item: item.title,
            globs=lambda _: "g",
        )
        register("catalogue.Item", keys=lambda _: None)
        effect = effects_of(Item(pk=1, title="one"), "update")
        assert (effect.tags, effect.keys) == ({"t1"}, {"one", "g"})
        assert effect.globs == {"g:*", "*:g", "*:g:*"}

    def test_what_it_returns_is_no_template(self, register: Register) -> None:
        """Braces in it are part of the name."""
        register("catalogue.Item", keys=lambda _: "{pk}", globs=lambda _: "{pk}:*")
        assert keys_of(effects_of(Item(pk=1), "update")) == {"{pk}", "{pk}:*"}

    @pytest.mark.parametrize(
        "error",
        [
            ValidationError("no"),
            DatabaseError("no"),
            NameError("ValidationError"),
            AttributeError("no"),
            RecursionError(),
            LookupError(),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_one_that_raises_is_logged_once_and_counted(
        self, register: Register, caplog: pytest.LogCaptureFixture, error: Exception
    ) -> None:
        """The rest of the rule and the other rules go on; nothing reaches the code that saves."""

        def wrong(_: Item) -> list[str]:
            raise error

        register("catalogue.Item", keys=[wrong, "k:{pk}"], name="wrong one")
        register("catalogue.Item", tags="t", name="right one")
        for _ in range(3):
            effect = effects_of(Item(pk=1), "update")
            assert (effect.keys, effect.tags) == ({"k:1"}, {"t"})
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert "wrong one" in caplog.text
        stats = rules_stats()
        assert stats["wrong one"]["failures"] == 3
        assert type(error).__name__ in stats["wrong one"]["last_error"]
        assert (
            stats["right one"] | {"effects": 3, "runs": 3, "failures": 0, "last_error": None}
            == stats["right one"]
        )

    @pytest.mark.parametrize("found", [[3], [""], 3, [None]])
    def test_what_names_nothing_is_a_failure(self, register: Register, found: Any) -> None:
        """A tag that is no str is said, and is no tag."""
        register("catalogue.Item", tags=lambda _: found)
        assert not effects_of(Item(pk=1), "update").tags
        assert rules_stats()["rule of catalogue.Item"]["failures"] == 1


class TestTenants:
    @pytest.fixture
    def asset(self) -> Iterator[type[models.Model]]:
        """A model whose rows have a tenant."""
        with isolate_apps("project.catalogue"):

            class Asset(models.Model):
                tenant_id = models.IntegerField(null=True)

                class Meta:
                    app_label = "catalogue"

            yield Asset

    @pytest.mark.parametrize("tenant", [0, 1, 12])
    def test_patterns_stay_below_the_tenant_of_the_row(
        self, register: Register, asset: type[models.Model], tenant: int
    ) -> None:
        """Tenant 0 is a tenant: an earlier system took it for all of them."""
        register(asset, globs=["dropdown:asset", "*chart*"], per_tenant=True)
        effect = effects_of(asset(pk=1, tenant_id=tenant), "update")
        scoped = {key for key in keys_of(effect) if key.startswith("tenant:")}
        assert {f"tenant:{tenant}:*:dropdown:asset:*", f"tenant:{tenant}:dropdown:asset"} <= scoped
        assert f"tenant:{tenant}:*chart*" in scoped
        assert all(key.startswith(f"tenant:{tenant}:") for key in scoped)
        assert not any(key.startswith("*") for key in effect.globs), "another tenant's would match"

    def test_keys_that_tell_no_tenant_are_reached_too(
        self, register: Register, asset: type[models.Model]
    ) -> None:
        """`user:5:dropdown:asset` may be of this tenant."""
        register(asset, globs="dropdown:asset", per_tenant=True)
        effect = effects_of(asset(pk=1, tenant_id=1), "update")
        assert {"dropdown:asset", "dropdown:asset:*", "user:*:dropdown:asset:*"} <= keys_of(effect)

    def test_an_unknown_tenant_is_any_and_not_the_first(
        self, register: Register, asset: type[models.Model]
    ) -> None:
        """What is missing is never tenant 1."""
        register(asset, globs="dropdown:asset", keys="list:{tenant}", per_tenant=True)
        effect = effects_of(asset(pk=1), "update")
        assert {"*:dropdown:asset", "*:dropdown:asset:*", "list:*"} <= effect.globs

    def test_where_rows_have_none_the_setting_says_it(self, register: Register) -> None:
        """A schema per tenant: the connection knows."""
        register("catalogue.Item", keys="list:{tenant}")
        with override_settings(OXICACHE={"TENANT": lambda: 0}):
            assert effects_of(Item(pk=1), "update").keys == {"list:0"}
        with override_settings(OXICACHE={"TENANT": lambda request: 0}):
            assert effects_of(Item(pk=1), "update").globs == {"list:*"}

    def test_a_resolver_that_fails_is_the_rules_failure(self, register: Register) -> None:
        """And not the save's."""
        register("catalogue.Item", keys="list:{tenant}")

        def fails() -> int:
            raise LookupError("nobody")

        with override_settings(OXICACHE={"TENANT": fails}):
            assert effects_of(Item(pk=1), "update") == NOTHING
        assert "LookupError" in str(rules_stats()["rule of catalogue.Item"]["last_error"])


class TestFamilies:
    def test_a_proxy_and_a_child_are_rows_of_the_model(self, register: Register) -> None:
        """A child's own key may be another than its parent's."""
        register("catalogue.Item", keys="item:{pk}:{price}")
        register("catalogue.Stock", keys="stock:{pk}")
        assert effects_of(Dozen(pk=1, price=2), "update").keys == {"item:1:2"}
        assert effects_of(Book(pk=1, price=2), "update").keys == {"item:1:2"}
        Stock.objects.create()
        crate = Crate.objects.create(price=2)
        assert crate.pk != crate.number
        assert effects_of(crate, "update").keys == {f"item:{crate.pk}:2", f"stock:{crate.number}"}

    def test_a_parent_saved_by_itself_is_a_change_of_the_child(self, register: Register) -> None:
        """What a book shows of its item has changed."""
        register("catalogue.Book", keys="book:{pk}", name="keys")
        assert effects_of(Item(pk=1), "update").keys == {"book:1"}
        assert effects_of(Item(pk=1), "delete") == NOTHING, "the book's own deletion tells"

    def test_what_only_the_child_has_is_asked_for(self, register: Register) -> None:
        """A callable of books is given a book."""
        book = Book.objects.create(title="b", pages=5)
        plain = Item.objects.create(title="i")
        register("catalogue.Book", keys="pages:{pages}", tags=lambda book: f"book:{book.pages}")
        effect = effects_of(Item.objects.get(pk=book.pk), "update")
        assert (effect.keys, effect.tags) == ({"pages:5"}, {"book:5"})
        assert effects_of(plain, "update") == NOTHING

    def test_a_parent_with_a_key_of_its_own(self, register: Register) -> None:
        """A crate is found by its stock."""
        crate = Crate.objects.create(title="c", amount=3)
        register("catalogue.Crate", keys="crate:{pk}")
        assert effects_of(Stock.objects.get(pk=crate.number), "update").keys == {f"crate:{crate.pk}"}


class TestOperations:
    @pytest.mark.parametrize(
        ("on", "operations"),
        [
            ("save", {"create", "update", "save"}),
            ("create", {"create", "save"}),
            ("delete", {"delete"}),
            ("m2m_change", {"m2m", "m2m_change"}),
        ],
    )
    def test_a_rule_is_for_its_events(self, register: Register, on: str, operations: set[str]) -> None:
        """The operations are those of document 004."""
        register("auth.Group", on=on, keys="k")
        every = ("create", "update", "save", "delete", "m2m", "m2m_change", "bulk")
        assert {one for one in every if effects_of(Group(pk=1), one)} == operations

    def test_an_unknown_operation_is_an_error(self) -> None:
        """By its name."""
        with pytest.raises(ValueError, match="'upsert' is no event"):
            effects_of(Group(pk=1), "upsert")
        with pytest.raises(TypeError, match="instance of a model"):
            effects_of("auth.Group", "save")  # type: ignore[arg-type]


class TestRows:
    def test_of_known_keys_templates_are_filled(self, register: Register) -> None:
        """A statement that names primary keys reaches these rows alone, without asking for them."""
        register("catalogue.Item", keys="k:{pk}", tags="t:{pk}")
        with CaptureQueriesContext(connection) as queries:
            effect = rulebook.effect_of_rows(Item, [1, 2])
        assert len(queries) == 0
        assert (effect.keys, effect.tags, effect.every_tag) == ({"k:1", "k:2"}, {"t:1", "t:2"}, False)

    def test_what_columns_were_before_nobody_knows(self, register: Register) -> None:
        """A statement may have changed them: what depends on one goes for whatever it was."""
        register("catalogue.Item", keys="k:{pk}:{title}")
        assert keys_of(rulebook.effect_of_rows(Item, [1, 2])) == {"k:1:*", "k:2:*"}

    def test_callables_are_given_the_rows(self, register: Register) -> None:
        """One query for each rule that needs them."""
        items = [Item.objects.create(title=f"row{number}") for number in range(2)]
        register("catalogue.Item", keys="k:{title}", tags=lambda item: item.title.upper())
        effect = rulebook.effect_of_rows(Item, [item.pk for item in items])
        assert (effect.keys, effect.tags) == ({"k:row0", "k:row1"}, {"ROW0", "ROW1"})

    def test_of_unknown_rows_it_is_all_there_may_be(
        self, register: Register, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Except what no bound could be given: everything in all aliases would be users' sessions too."""
        register("catalogue.Item", keys=["k:{pk}", "list"], tags=["t:{pk}", "items"])
        effect = rulebook.effect_of_rows(Item, None)
        assert (effect.keys, effect.globs, effect.every_tag) == ({"list"}, {"k:*"}, True)
        register("catalogue.Item", keys=lambda item: item.title, name="calls")
        assert "*" not in rulebook.effect_of_rows(Item, None).globs
        assert "nothing is invalidated by it" in caplog.text
        register("catalogue.Item", keys=lambda item: item.title, aliases="one")
        assert {part.globs for part in rulebook.effect_of_rows(Item, None).also} == {("*",)}

    def test_very_many_rows_are_any(self, register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
        """It has a bound."""
        monkeypatch.setattr(asked_rows, "MAX_ROWS", 3)
        register("catalogue.Item", keys="k:{pk}")
        assert rulebook.effect_of_rows(Item, range(3)).keys == {"k:0", "k:1", "k:2"}
        assert rulebook.effect_of_rows(Item, range(4)).globs == {"k:*"}

    def test_instances_are_taken_as_they_are(self, register: Register) -> None:
        """`bulk_create` has them."""
        register("catalogue.Item", keys="k:{title}")
        assert rulebook.effect_of_rows(Item, [Item(pk=1, title="x")]).keys == {"k:x"}


class TestDates:
    def test_a_date_is_spelt_both_ways(self, register: Register) -> None:
        """As an f-string has it, and as `make_key` does."""
        register("auth.User", keys="joined:{date_joined}")
        keys = effects_of(User(pk=1, date_joined=dt.datetime(2026, 11, 21, tzinfo=dt.UTC)), "update").keys
        assert "joined:2026-11-21 00:00:00+00:00" in keys
        assert len(keys) == 2
