"""How rules are registered, by label or as a map of dependencies, and when models are not loaded yet."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import models
from ruled import Register, keys_of

from oxicache.django import rulebook
from oxicache.django.rules import (
    DependencyMap,
    Rule,
    effects_of,
    model_dependencies,
    register_dependency,
    register_rule,
    rules_stats,
)
from oxicache.invalidation import NOTHING

pytestmark = pytest.mark.usefixtures("empty_map")


class TestRegistration:
    def test_what_is_registered_can_be_unregistered(self, register: Register) -> None:
        """Twice too."""
        end = register("auth.Group", keys="k")
        assert effects_of(Group(pk=1), "save")
        end()
        end()
        assert effects_of(Group(pk=1), "save") == NOTHING

    @pytest.mark.parametrize("label", ["auth.User", "auth.user", "AUTH.USER", "User", "user", User])
    def test_labels_are_the_same_in_any_case(self, register: Register, label: Any) -> None:
        """An earlier system registered `auth.user` and was asked for `auth.User`: it never invalidated."""
        register(label, keys="k")
        assert effects_of(User(pk=1), "save").keys == {"k"}

    @pytest.mark.parametrize(
        ("label", "error", "told"),
        [
            ("auth.Usher", ValueError, "'auth.Usher' is no model"),
            ("Nothing", ValueError, "is no model"),
            ("nowhere.User", ValueError, "is no model"),
            (int, TypeError, "is no model"),
            (models.Model, TypeError, "is no model"),
        ],
    )
    def test_an_unknown_model_is_an_error(self, label: Any, error: type[Exception], told: str) -> None:
        """Also among those a rule is to reach."""
        with pytest.raises(error, match=told):
            register_rule(Rule(label, keys="k"))
        with pytest.raises(error, match=told):
            register_rule(Rule("auth.User", models=[label]))
        with pytest.raises(TypeError, match="takes a Rule"):
            register_rule("auth.User")  # type: ignore[arg-type]
        assert not rulebook.entries()

    def test_a_bare_name_must_be_unique(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The message says which there are."""
        monkeypatch.setitem(
            apps.get_app_config("catalogue").models, "user", type("Fake", (), {"_meta": Fake})
        )
        with pytest.raises(ValueError, match=r"may be auth\.User, catalogue\.User; write which"):
            register_rule(Rule("User", keys="k"))

    def test_before_models_are_loaded_a_rule_waits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """`models.py` may register it; what is wrong with it is said when all models are there."""
        monkeypatch.setattr(apps, "models_ready", False)
        end, wrong = (
            register_rule(Rule("auth.Group", keys="k")),
            register_rule(Rule("auth.Nothing", keys="k")),
        )
        assert effects_of(Group(pk=1), "save") == NOTHING
        monkeypatch.undo()
        with pytest.raises(ValueError, match=r"rule of auth\.Nothing: 'auth\.Nothing' is no model"):
            rulebook.complete()
        wrong()
        rulebook.complete()
        assert effects_of(Group(pk=1), "save").keys == {"k"}
        end()

    def test_rules_of_one_name_are_counted_apart(self, register: Register) -> None:
        """The second gets a number."""
        register("auth.Group", keys="k")
        register("auth.Group", keys="l", on="delete")
        effects_of(Group(pk=1), "save")
        stats = rules_stats()
        assert [stats[name]["runs"] for name in ("rule of auth.Group", "rule of auth.Group (2)")] == [1, 0]
        assert stats["rule of auth.Group (2)"]["on"] == ["delete"]


class Fake:
    """What a model's options are asked for here."""

    model_name, label, auto_created, swapped = "user", "catalogue.User", False, False


class TestDependencies:
    """The map of document 004."""

    def test_it_is_assigned_as_a_whole(self) -> None:
        """By bare names, labels and in any case."""
        model_dependencies.assign({"User": {"dropdown:people"}, "AUTH.group": ["dashboard:metrics"]})
        assert "dropdown:people:*" in effects_of(User(pk=1), "update").globs
        assert "*:dashboard:metrics:*" in effects_of(Group(pk=1), "update").globs
        assert model_dependencies == {"User": {"dropdown:people"}, "AUTH.group": {"dashboard:metrics"}}
        model_dependencies.assign({"Group": {"other"}})
        assert effects_of(User(pk=1), "update") == NOTHING
        assert "other" in effects_of(Group(pk=1), "update").keys | effects_of(Group(pk=1), "update").globs

    def test_its_sets_may_be_changed_in_place(self) -> None:
        """As those of a dict of sets."""
        model_dependencies["auth.User"] = {"a"}
        model_dependencies["AUTH.user"].add("b")
        assert model_dependencies["auth.User"] == {"a", "b"}
        assert {"a", "b"} <= keys_of(effects_of(User(pk=1), "update"))
        model_dependencies["auth.User"].discard("a")
        assert "a" not in keys_of(effects_of(User(pk=1), "update"))
        del model_dependencies["auth.user"]
        assert effects_of(User(pk=1), "update") == NOTHING
        assert len(rulebook.entries()) == 0

    def test_patterns_are_added(self) -> None:
        """`register_dependency` keeps what there is."""
        register_dependency("auth.User", ["a"])
        register_dependency(User, "b")
        assert model_dependencies["auth.User"] == {"a", "b"}
        assert list(model_dependencies) == ["auth.User"]
        assert repr(DependencyMap()) == "{}"

    @pytest.mark.parametrize(
        ("mapping", "error"),
        [
            ({"User": {"a"}, "Nobody": {"b"}}, ValueError),
            ({"User": "abc"}, TypeError),
            ({"User": {3}}, TypeError),
            ({"User": {""}}, ValueError),
            ({3: {"a"}}, TypeError),
        ],
    )
    def test_a_wrong_map_changes_nothing(self, mapping: Any, error: type[Exception]) -> None:
        """What there was goes on."""
        model_dependencies["auth.Group"] = {"a"}
        with pytest.raises(error):
            model_dependencies.assign(mapping)
        assert model_dependencies == {"auth.Group": {"a"}}
        assert len(rulebook.entries()) == 1

    def test_braces_in_a_pattern_are_no_field(self) -> None:
        """They are patterns, not templates of a rule: an unknown field is said."""
        with pytest.raises(ValueError, match="no column x"):
            register_dependency("auth.User", ["a:{x}"])
