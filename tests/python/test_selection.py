"""A Selection: what it accepts, how it reads in a message, and which patterns it stands for."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxicache._native import KeyPattern
from oxicache.options import SELECTION_MAX_NAMES
from oxicache.selection import EVERYTHING, Selection

FIELDS = ("caches", "aliases", "keys", "tags", "globs", "models")


def matching(selection: Selection, keys: list[str], below: str = "") -> list[str]:
    """Which of the keys one of its patterns matches."""
    patterns = selection.patterns(below)
    return [key for key in keys if any(pattern.matches(key) for pattern in patterns)]


class TestWhatIsAccepted:
    @pytest.mark.parametrize("field", FIELDS)
    @pytest.mark.parametrize(
        ("wrong", "error"),
        [("a.b", TypeError), (1, TypeError), ([1], TypeError), ([None], TypeError), ([""], ValueError)],
        ids=["a str", "a number", "numbers", "None", "empty"],
    )
    def test_names_are_names(self, field: str, wrong: Any, error: type[Exception]) -> None:
        """What is no sequence of names is refused, and the field named; a str is not its letters."""
        with pytest.raises(error, match=field):
            Selection(**{field: wrong})

    @pytest.mark.parametrize("field", FIELDS)
    def test_names_are_kept_once_in_their_order(self, field: str) -> None:
        """Any iterable will do."""
        assert getattr(Selection(**{field: iter(["b.c", "a.b", "b.c"])}), field) == ("b.c", "a.b")  # type: ignore[arg-type]

    @pytest.mark.parametrize("field", FIELDS)
    def test_there_is_a_limit(self, field: str) -> None:
        """More names than fit into a request are refused, with the limit."""
        with pytest.raises(ValueError, match=str(SELECTION_MAX_NAMES)):
            Selection(**{field: [f"a.m{number}" for number in range(SELECTION_MAX_NAMES + 1)]})  # type: ignore[arg-type]

    @pytest.mark.parametrize("wrong", ["auth", "auth.", ".User", "auth.User.x", "auth User", "auth.User\n"])
    def test_models_are_labels(self, wrong: str) -> None:
        """A bare name may be that of several apps: it is refused, here and in rows."""
        for given_ in ({"models": (wrong,)}, {"rows": ((wrong, 1),)}):
            with pytest.raises(ValueError, match=r"app\.Model"):
                Selection(**given_)  # type: ignore[arg-type]

    @pytest.mark.parametrize("field", ["prefix", "regex"])
    def test_texts(self, field: str) -> None:
        """An empty one would match every key; what is no str is none."""
        with pytest.raises(ValueError, match=f"{field} must not be empty"):
            Selection(**{field: ""})
        wrong: Any = {field: 1}
        with pytest.raises(TypeError, match=field):
            Selection(**wrong)

    def test_of(self) -> None:
        """One cache, or all where it is None."""
        assert Selection.of("a", tags=["t"]) == Selection(caches=("a",), tags=("t",))
        assert Selection.of() == EVERYTHING

    @pytest.mark.parametrize(
        "narrowing",
        [
            *({field: ("a.b",)} for field in FIELDS),
            {"prefix": "a"},
            {"regex": "a"},
            {"rows": (("a.b", 1),)},
            {"tenant": 0},
            {"version": 0},
        ],
        ids=lambda given_: next(iter(given_)),
    )
    def test_everything_is_what_nothing_narrows(self, narrowing: Any) -> None:
        """Every field narrows it, the tenant 0 too, and each is said in a message."""
        assert EVERYTHING.is_everything
        assert str(EVERYTHING) == "everything"
        assert not Selection(**narrowing).is_everything
        assert str(Selection(**narrowing)) != "everything"

    def test_it_says_what_is_selected(self) -> None:
        """All of it, for a log."""
        selection = Selection(
            caches=("c",),
            keys=("k",),
            tags=("t",),
            prefix="p",
            globs=("g*",),
            models=("a.B",),
            tenant=7,
            version=2,
        )
        assert str(selection) == (
            "cache 'c', key 'k', tag 't', pattern 'g*', model 'a.B', prefix 'p', tenant 7, version 2"
        )


class TestPatterns:
    def test_nothing_makes_none(self) -> None:
        """Keys, tags and models are no patterns."""
        assert Selection(keys=("a",), tags=("t",), models=("a.B",), rows=(("a.B", 1),)).patterns() == ()

    def test_globs_are_of_whole_keys(self) -> None:
        """Known defect of document 004: a substring glob matched 'asset' in any key."""
        keys = ["asset", "asset:1", "assets", "x:asset"]
        assert matching(Selection(globs=("asset", "asset:*")), keys) == ["asset", "asset:1"]

    def test_a_prefix_is_literal(self) -> None:
        """Wildcards in it are none."""
        keys = ["a*b", "a*bc", "axb", "[a]", "a"]
        assert matching(Selection(prefix="a*b"), keys) == ["a*b", "a*bc"]
        assert matching(Selection(prefix="[a]"), keys) == ["[a]"]

    def test_a_regular_expression_matches_from_the_start(self) -> None:
        """As `re.match`."""
        assert matching(Selection(regex=r"a\d"), ["a1", "a12x", "xa1"]) == ["a1", "a12x"]

    def test_a_bad_one_is_refused(self) -> None:
        """What cannot be matched in linear time is no pattern here."""
        with pytest.raises(ValueError, match=re.escape("(a")):
            Selection(regex="(a").patterns()
        with pytest.raises(ValueError, match="linear time"):
            Selection(regex=r"(a)\1").patterns()

    def test_a_tenant_narrows(self) -> None:
        """Only keys below its prefix match; tenant 1 is not tenant 12; wildcards of a tenant's name are none."""
        keys = ["tenant:1:asset:1", "tenant:12:asset:1", "tenant:1", "asset:1", "tenant:2:tenant:1:asset:1"]
        below = "tenant:1"
        assert matching(Selection(globs=("asset:*",), tenant=1), keys, below) == keys[:1]
        assert matching(Selection(prefix="ass", tenant=1), keys, below) == keys[:1]
        assert matching(Selection(tenant=1), keys, below) == keys[:1]
        odd = Selection(globs=("*",), tenant="*")
        assert matching(odd, [*keys, "tenant:*:a"], "tenant:*") == ["tenant:*:a"]

    def test_a_tenant_alone_is_all_of_its_keys(self) -> None:
        """Where keys, tags or models are named it adds no pattern."""
        assert Selection(tenant=1).whole_globs("tenant:1") == ("tenant:1:*",)
        assert Selection(tenant=1, tags=("t",)).whole_globs("tenant:1") == ()

    def test_what_is_below_the_prefix_stays(self) -> None:
        """A command has put the tenant before its pattern already."""
        assert Selection(globs=("tenant:1:a*",), tenant=1).whole_globs("tenant:1") == ("tenant:1:a*",)

    def test_a_tenant_is_never_forgotten(self) -> None:
        """Known defect of document 004: tenant 0 stood for all tenants. Its prefix has to be given."""
        with pytest.raises(ValueError, match="tenant 0"):
            Selection(globs=("a*",), tenant=0).patterns()
        with pytest.raises(ValueError, match="tenant:1"):
            Selection(globs=("a*",)).patterns("tenant:1")
        with pytest.raises(ValueError, match="write the tenant itself"):
            Selection(regex="a", tenant=1).patterns("tenant:1")

    @given(prefix=st.text(min_size=1, max_size=8), rest=st.text(max_size=4), other=st.text(max_size=8))
    def test_any_prefix(self, prefix: str, rest: str, other: str) -> None:
        """It matches what begins with it and nothing else."""
        (pattern,) = Selection(prefix=prefix).patterns()
        assert isinstance(pattern, KeyPattern)
        assert pattern.matches(prefix + rest)
        assert pattern.matches(other) == other.startswith(prefix)
