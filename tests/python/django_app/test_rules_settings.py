"""Rules that settings ask for: CACHE_STRATEGIES of document 003 and OXICACHE["RULES"]; what is wrong with them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from project.catalogue.models import Author, Item
from users_site import Site

from oxicache.django import rulebook, rules
from oxicache.django.rules import Rule, effects_of, rules_stats
from oxicache.invalidation import NOTHING

RULE = Rule("auth.Group", keys="by-path", name="by path")
SEVERAL = [RULE, Rule("auth.Group", keys="another")]


def made() -> list[Rule]:
    """Rules of a function: it may look at models."""
    return [Rule(Group, tags="made")]


HERE = __name__


class TestStrategies:
    """Source: document 003, "Model-Based Invalidation"."""

    STRATEGIES: dict[str, Any] = {  # noqa: RUF012 -- as the document has it, with a model of these tests
        "models": [
            {
                "model": "auth.User",
                "invalidate_on": ["save", "delete"],
                "related": ["profile", "permissions"],
            },
            {"model": "catalogue.Author", "invalidate_on": ["save", "delete"], "cascade": True},
        ]
    }

    def test_the_example_of_the_document(self) -> None:
        """Its keys of related kinds, and the rows that refer to one."""
        with override_settings(CACHE_STRATEGIES=self.STRATEGIES):
            effect = effects_of(User(pk=7), "save")
            assert {"profile:7", "permissions:7", "auth.user:7"} <= effect.keys
            assert {"profile:7", "permissions:7", "auth.user", "auth.user:7"} == effect.tags
            assert effects_of(User(pk=7), "m2m") == NOTHING
            assert "rows:catalogue.item" in effects_of(Author(), "save").words
        assert effects_of(User(pk=7), "save") == NOTHING

    def test_what_is_kept_of_lists_goes_with_any_row(self) -> None:
        """An earlier system's `_all` keys survived each save. Those of another row stay."""
        with override_settings(CACHE_STRATEGIES=self.STRATEGIES):
            effect = effects_of(User(pk=7), "save")
            assert {"auth.user:list", "auth.user:count", "auth.user:first"} <= effect.keys
            assert {"auth.user:list:*", "auth.user:7:*"} <= effect.globs
            assert not any(glob.startswith(("auth.user:*", "*:auth")) for glob in effect.globs)

    def test_events_may_be_left_out(self) -> None:
        """Then all of them count."""
        with override_settings(CACHE_STRATEGIES={"models": [{"model": "auth.USER"}]}):
            assert all(effects_of(User(pk=1), one) for one in ("create", "update", "delete", "m2m", "bulk"))
            assert "CACHE_STRATEGIES['models'][0]" in rules_stats()

    def test_what_else_it_holds_is_somebody_elses(self) -> None:
        """A setting of an earlier system may have more parts."""
        with override_settings(CACHE_STRATEGIES={"views": {"timeout": 300}}):
            assert not rulebook.entries()


class TestRules:
    @pytest.mark.parametrize(
        ("given", "keys", "tags"),
        [
            (RULE, {"by-path"}, set()),
            (f"{HERE}.RULE", {"by-path"}, set()),
            (f"{HERE}.SEVERAL", {"by-path", "another"}, set()),
            (f"{HERE}.made", set(), {"made"}),
        ],
        ids=["rule", "path", "several", "callable"],
    )
    def test_rules_and_paths_to_them(self, given: Any, keys: set[str], tags: set[str]) -> None:
        """They hold for as long as the setting does."""
        with override_settings(OXICACHE={"RULES": [given]}):
            effect = effects_of(Group(pk=1), "save")
            assert (effect.keys, effect.tags) == (keys, tags)
        assert effects_of(Group(pk=1), "save") == NOTHING

    def test_another_setting_leaves_rules_of_code_alone(self, register: Callable[..., Any]) -> None:
        """Only those of the settings are read again."""
        register("auth.Group", keys="code")
        with override_settings(OXICACHE={"RULES": [RULE]}):
            assert effects_of(Group(pk=1), "save").keys == {"code", "by-path"}
        with override_settings(OXICACHE={"TRAIL_SIZE": 7}):
            assert effects_of(Group(pk=1), "save").keys == {"code"}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"OXICACHE": {"RULES": "a.b"}}, "it must be a list of rules or of dotted paths"),
    ({"OXICACHE": {"RULES": [3]}}, "OXICACHE['RULES'] is 3"),
    ({"OXICACHE": {"RULES": ["nowhere"]}}, "OXICACHE['RULES'] is 'nowhere'"),
    ({"OXICACHE": {"RULES": ["no.such.rule"]}}, "OXICACHE['RULES'][0] is wrong: No module named 'no'"),
    ({"OXICACHE": {"RULES": ["pathlib.Path.cwd"]}}, "OXICACHE['RULES'][0] is wrong"),
    ({"OXICACHE": {"RULES": [f"{HERE}.HERE"]}}, "which is no Rule"),
    ({"CACHE_STRATEGIES": []}, "CACHE_STRATEGIES is []; it must be a dict"),
    ({"CACHE_STRATEGIES": {"models": 3}}, "CACHE_STRATEGIES['models'] is wrong: it must be a list of dicts"),
    (
        {"CACHE_STRATEGIES": {"models": ["auth.User"]}},
        "CACHE_STRATEGIES['models'][0] is wrong: it must be a dict",
    ),
    ({"CACHE_STRATEGIES": {"models": [{"model": "auth.Usher"}]}}, "'auth.Usher' is no model"),
    (
        {"CACHE_STRATEGIES": {"models": [{"model": "auth.User", "invalidate_on": ["saved"]}]}},
        "'saved' is no event",
    ),
    ({"CACHE_STRATEGIES": {"models": [{"model": "auth.User", "relate": ["a"]}]}}, "it has no key relate"),
    (
        {"CACHE_STRATEGIES": {"models": [{"model": "auth.User", "cascade": "yes"}]}},
        "cascade must be True or False",
    ),
    ({"CACHE_STRATEGIES": {"models": [{"model": "auth.User", "related": ["a{"]}]}}, "is no template"),
]


class TestMistakes:
    @pytest.mark.parametrize(("wrong", "told"), WRONG, ids=[told for _, told in WRONG])
    def test_a_wrong_setting_is_named(self, wrong: dict[str, Any], told: str) -> None:
        """With where it stands and what it must be; a server does not begin with it."""
        with pytest.raises(ImproperlyConfigured) as error, override_settings(**wrong):
            pass
        assert told in str(error.value)

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            (
                'CACHE_STRATEGIES = {"models": [{"model": "auth.Usher"}, {"model": "auth.User", "on": "x"}]}',
                "(oxicache.E005) CACHE_STRATEGIES['models'][0] is wrong: 'auth.Usher' is no model",
            ),
            (
                'OXICACHE = {"RULES": ["no.such.rule"]}',
                "(oxicache.E005) OXICACHE['RULES'][0] is wrong: No module",
            ),
        ],
        ids=["strategies", "rules"],
    )
    def test_check_says_all_of_them(self, tmp_path: Path, wrong: str, message: str) -> None:
        """As errors with an id, without a traceback."""
        done = Site(tmp_path, wrong).manage("check")
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stderr.count("oxicache.E005") == max(1, wrong.count('"model":'))

    def test_a_rule_in_code_that_is_wrong_ends_the_start(self, tmp_path: Path) -> None:
        """With the rule's name: nobody meant a rule that does nothing."""
        site = Site(tmp_path, "")
        code = (
            "from oxicache.django.rules import Rule, register_rule\n"
            "register_rule(Rule('auth.Usher', name='ushers'))\n"
            "import django\n"
            "django.setup()\n"
        )
        with pytest.raises(AssertionError, match=r"ushers: 'auth\.Usher' is no model"):
            site.python(code)


def test_rules_of_the_settings_are_there_after_the_start(tmp_path: Path) -> None:
    """Also those whose path leads to what needs the models."""
    site = Site(tmp_path, 'CACHE_STRATEGIES = {"models": [{"model": "auth.User"}]}')
    found = site.python("from oxicache.django.rules import rules_stats; print(list(rules_stats()))")
    assert "CACHE_STRATEGIES['models'][0]" in found


def test_mistakes_are_none_where_all_is_right() -> None:
    """The check is silent."""
    with override_settings(OXICACHE={"RULES": [RULE]}, CACHE_STRATEGIES=TestStrategies.STRATEGIES):
        assert list(rules.mistakes()) == []
        assert {Item, Author} & {rule.model for rule in rulebook.compiled_rules()} == {Author}
