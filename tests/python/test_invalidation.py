"""What an effect reaches, how effects are joined and kept, and what a rule may say."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxicache import invalidation
from oxicache.invalidation import NOTHING, Effect, Gathered, Names, Pending, Rule, Template, operations_of


def effect(**names: Any) -> Effect:
    """An effect of a few names."""
    return Effect(
        **{name: frozenset(value) if isinstance(value, set) else value for name, value in names.items()}
    )


TEXTS = st.frozensets(st.sampled_from("abc"), max_size=3)
EFFECTS = st.builds(
    Effect,
    words=TEXTS,
    tags=TEXTS,
    keys=TEXTS,
    globs=TEXTS,
    aliases=st.sampled_from([None, ("one",), ("two",)]),
    every_tag=st.booleans(),
)


def reach(*effects: Effect) -> set[tuple[Any, ...]]:
    """Every single thing that effects reach: its kind, where, and its name."""
    found: set[tuple[Any, ...]] = set()
    for one in effects:
        found.update(("words", word) for word in one.words)
        for part in (one.as_names(), *one.also):
            for kind in ("tags", "keys", "globs"):
                found.update((kind, part.aliases, part.caches, name) for name in getattr(part, kind))
            if part.every_tag:
                found.add(("every_tag", part.aliases, part.caches))
    return found


class TestEffect:
    @given(EFFECTS, EFFECTS)
    def test_joined_they_reach_what_each_reaches_and_nothing_else(self, one: Effect, other: Effect) -> None:
        """Also where one is for some aliases of CACHES and the other for all."""
        assert reach(one | other) == reach(one, other)

    @given(EFFECTS)
    def test_nothing_adds_nothing(self, one: Effect) -> None:
        """`NOTHING` is what a sum begins with."""
        assert reach(NOTHING | one) == reach(one | NOTHING) == reach(one)

    def test_only_effects_are_joined(self) -> None:
        """`|` with anything else is a TypeError."""
        with pytest.raises(TypeError):
            _ = NOTHING | {"a"}  # type: ignore[operator]

    def test_what_reaches_something_is_true(self) -> None:
        """An effect is false when nothing would happen."""
        assert not NOTHING
        assert not effect(aliases=("one",))
        assert all([effect(words={"a"}), effect(keys={"a"}), effect(every_tag=True)])
        assert effect(also={Names(tags=("a",))})
        assert effect(words={"a"}).reaches_caches is False

    def test_the_trail_is_told_every_name(self) -> None:
        """Words as they are, the rest by its kind."""
        one = effect(words={"row:a:1"}, tags={"t"}, keys={"k"}, globs={"g*"}, every_tag=True)
        assert one.names() == ["row:a:1", "tag:t", "key:k", "pattern:g*", "tag:*"]


class TestCoarser:
    def test_keys_become_globs_of_how_they_begin(self) -> None:
        """A thousand users' keys are one glob."""
        one = effect(keys={f"user:{number}" for number in range(50)} | {"order_7", "order_8"}).coarser()
        assert one.globs == {"user:*", "order_*"}
        assert not one.keys

    def test_a_key_that_does_not_vary_stays_what_it_is(self) -> None:
        """One fixed key among thousands of others is no reason to remove everything."""
        one = effect(keys={"user_list", "user:1"}, globs={"*:asset"}).coarser()
        assert (one.keys, one.globs) == ({"user_list"}, {"user:*", "*:asset"})

    def test_wildcards_in_keys_are_literal(self) -> None:
        """A slug may hold what a glob gives a meaning."""
        assert effect(keys={"a*b:1"}).coarser().globs == {r"a\*b:*"}

    def test_tags_become_all_tags(self) -> None:
        """No pattern matches tags."""
        assert effect(tags={"a"}).coarser() == effect(every_tag=True)
        assert effect(also={Names(tags=("a",), aliases=("one",))}).coarser().also == {
            Names(every_tag=True, aliases=("one",))
        }

    def test_what_begins_in_too_many_ways_is_everything(self) -> None:
        """It has a bound whatever the names are. What is no copy is not emptied for it: no glob matches a session."""
        one = effect(
            keys={f"{number:x}-x".translate({48 + d: 103 + d for d in range(10)}) for number in range(5000)}
        )
        assert one.coarser() == effect(every_key=True)
        assert effect(also={Names(keys=tuple(one.keys))}).coarser().also == {Names(every_key=True)}
        many = tuple(f"r{number}" for number in range(1001))
        assert effect(also={Names(regexes=many)}).coarser().also == {Names(every_key=True)}

    def test_letters_before_a_digit_are_no_beginning(self) -> None:
        """The `d` of a digest is the `d` of `django.contrib.sessions.cache...` too."""
        keys = {"d41d8cd98f00b204e9800998ecf8427e", "s7"}
        assert effect(keys=keys).coarser() == effect(keys=keys)

    @given(st.sets(st.from_regex(r"\A[a-c*?]{0,3}(:[a-c]{1,2}){0,2}[0-9]?\Z").filter(bool)))
    def test_every_key_is_still_reached(self, keys: set[str]) -> None:
        """What is coarser never reaches less."""
        from oxicache._native import KeyPattern

        one = effect(keys=keys).coarser()
        patterns = [KeyPattern(glob) for glob in one.globs]
        for key in keys - one.keys:
            assert any(pattern.matches(key) for pattern in patterns)


class TestPending:
    @given(st.lists(EFFECTS, max_size=6))
    def test_what_waits_is_all_that_was_added(self, effects: list[Effect]) -> None:
        """Each for its own aliases; words are kept elsewhere."""
        pending = Pending()
        for one in effects:
            assert pending.add(one) is False
        assert reach(pending.effect()) == {each for each in reach(*effects) if each[0] != "words"}

    @given(st.lists(EFFECTS, max_size=3), st.lists(EFFECTS, max_size=3))
    def test_two_are_joined(self, ours: list[Effect], theirs: list[Effect]) -> None:
        """A savepoint that was released hands over what waited in it."""
        one, other = Pending(), Pending()
        for each in ours:
            one.add(each)
        for each in theirs:
            other.add(each)
        one.join(other)
        assert reach(one.effect()) == {each for each in reach(*ours, *theirs) if each[0] != "words"}

    def test_past_its_bound_it_gets_coarser_and_stays_small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A transaction that changes a million rows does not keep a million names."""
        monkeypatch.setattr(invalidation, "MAX_PENDING_NAMES", 20)
        pending = Pending()
        coarser = [
            pending.add(effect(keys={f"user:{n}"}, tags={f"t:{n}"}, aliases=("one",))) for n in range(100)
        ]
        assert any(coarser)
        found = pending.effect()
        assert len(found) <= 22
        assert "user:*" in found.globs
        assert found.every_tag
        assert found.aliases == ("one",)

    @pytest.mark.parametrize(
        "names",
        [
            lambda number: Names(keys=(f"{number:x}",), aliases=("one",)),
            lambda number: Names(regexes=(f"{number}",)),
            lambda number: Names(keys=tuple(f"{number}:{n}" for n in range(10)), version=2),
            lambda number: Names(keys=(f"k:{number}",), aliases=(f"alias{number}",)),
        ],
        ids=["keys", "expressions", "many in each", "aliases"],
    )
    def test_selections_have_the_bound_too(
        self, monkeypatch: pytest.MonkeyPatch, names: Callable[[int], Names]
    ) -> None:
        """A job that invalidates one after another in one transaction ends, and does not keep them all."""
        monkeypatch.setattr(invalidation, "MAX_PENDING_NAMES", 100)
        monkeypatch.setattr(invalidation, "MAX_COARSE_NAMES", 20)
        pending = Pending()
        coarser = [pending.add(effect(also={names(number)})) for number in range(500)]
        assert 0 < sum(coarser) < 100
        assert len(pending.effect()) <= (100 if names(1).aliases != ("alias1",) else 500)

    def test_what_is_cleared_waits_no_more(self) -> None:
        """A mark whose commit is done is empty."""
        pending = Pending()
        pending.add(effect(keys={"a"}, also={Names(keys=("b",))}))
        assert pending
        pending.clear()
        assert not pending
        assert not pending.effect()

    def test_what_is_gathered_is_no_part_of_what_was_returned(self) -> None:
        """An effect is fixed when it is made."""
        gathered = Gathered()
        gathered.keys.add("a")
        before = gathered.effect(None)
        gathered.keys.add("b")
        assert before.keys == {"a"}
        assert len(gathered) == 2


class TestTemplate:
    @given(st.text(alphabet="ab:%{}", max_size=8), st.text(max_size=3))
    def test_it_is_what_str_format_makes(self, text: str, value: str) -> None:
        """For names in braces, per cent signs and doubled braces included."""
        text = f"{text.replace('{', '{{').replace('}', '}}')}{{pk}}"
        assert Template(text).render([value]) == text.format(pk=value)
        assert Template(text).names == ("pk",)

    @pytest.mark.parametrize("text", ["", "{}", "{0}", "{a.b}", "{a[0]}", "{a!r}", "{a:>3}", "{", "}", "{a"])
    def test_nothing_but_names_may_stand_in_braces(self, text: str) -> None:
        """An attribute or an index could run any code, and a format hides what a key will be."""
        with pytest.raises(ValueError, match="template"):
            Template(text)


async def _awaited(instance: object) -> list[str]:
    """What nobody waits for."""
    return [str(instance)]


class TestRule:
    @pytest.mark.parametrize(
        ("wrong", "error", "told"),
        [
            ({"model": 3}, TypeError, "3"),
            ({"model": ""}, TypeError, "label"),
            ({"on": "saved"}, ValueError, "'saved' is no event; the events are save, create"),
            ({"on": [3]}, ValueError, "3 is no event"),
            ({"on": 3}, TypeError, "on must be one or several"),
            ({"on": ()}, ValueError, "on must name an event"),
            ({"tags": [3]}, TypeError, "tags must hold templates or callables, not 3"),
            ({"tags": 3}, TypeError, "tags must be one or several"),
            ({"keys": ""}, ValueError, "must not be empty"),
            ({"globs": "{"}, ValueError, "globs: '{' is no template"),
            ({"related": [""]}, TypeError, "related must hold str"),
            ({"related": ["{"]}, ValueError, "rule of auth.User: related: '{:{pk}' is no template"),
            (
                {"keys": _awaited},
                TypeError,
                "keys are asked for in the midst of a save: .*_awaited.* is async",
            ),
            ({"aliases": [None]}, TypeError, "aliases must hold str"),
            ({"cascade": 1}, TypeError, "cascade must be True or False"),
            ({"per_tenant": "yes"}, TypeError, "per_tenant must be True or False"),
            ({"name": ""}, TypeError, "name of a rule"),
        ],
    )
    def test_what_is_wrong_is_said_at_once(
        self, wrong: dict[str, Any], error: type[Exception], told: str
    ) -> None:
        """By name, with the value and what it may be."""
        with pytest.raises(error, match=told):
            Rule(**{"model": "auth.User", **wrong})

    def test_one_may_stand_for_several(self) -> None:
        """A str or a callable is one of its kind."""
        call = str
        rule = Rule(
            "a.B", on="save", tags="x", keys=call, globs=["y"], related="z", aliases="default", models="c.D"
        )
        assert (rule.on, rule.tags, rule.keys, rule.globs) == (("save",), ("x",), (call,), ("y",))
        assert (rule.related, rule.aliases, rule.models) == (("z",), ("default",), ("c.D",))

    def test_a_message_names_the_rule(self) -> None:
        """By its name, or else by its model."""
        with pytest.raises(ValueError, match=r"^lists: tags"):
            Rule("auth.User", tags="{", name="lists")
        assert Rule("auth.User").title == "rule of auth.User"

    @pytest.mark.parametrize(
        ("event", "operations"),
        [
            ("save", ("create", "update")),
            ("create", ("create",)),
            ("update", ("update",)),
            ("delete", ("delete",)),
            ("m2m", ("m2m",)),
            ("m2m_change", ("m2m",)),
            ("post_save", ("create", "update")),
            ("post_delete", ("delete",)),
            ("bulk", ("bulk",)),
        ],
    )
    def test_events_have_the_names_of_all_systems(self, event: str, operations: tuple[str, ...]) -> None:
        """Those of document 003, of document 004, and of Django's signals."""
        assert operations_of(event) == operations
        assert Rule("a.B", on=event).operations == set(operations)


def test_it_needs_no_framework() -> None:
    """Rules can be written where no Django is."""
    code = "import sys, oxicache.invalidation; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
