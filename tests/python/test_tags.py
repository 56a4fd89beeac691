"""Tags: what one may be, and which die with another."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from oxicache.options import TAG_MAX_EXPANDED, TAG_MAX_PARENTS
from oxicache.tags import (
    ANY_TAG,
    EVERY_TAG,
    captured_words,
    checked_tags,
    expand,
    forget_parents,
    moved_words,
    tag_parent,
)


@pytest.fixture(autouse=True)
def _no_parents() -> Iterator[None]:
    forget_parents()
    yield
    forget_parents()


class TestATag:
    @pytest.mark.parametrize("wrong", ["one", b"one", 7, None, [1], ["a", None], [b"a"]], ids=repr)
    def test_what_is_none(self, wrong: Any) -> None:
        """Tags are an iterable of str, and never one str, whose characters would be tags."""
        with pytest.raises(TypeError, match="tags must be an iterable of strings"):
            checked_tags(wrong)

    def test_empty_and_long(self) -> None:
        """A tag has from 1 to 250 characters, whatever they are."""
        assert checked_tags(["x" * 250, "a b\n:*é"]) == ("x" * 250, "a b\n:*é")
        with pytest.raises(ValueError, match="must not be empty"):
            checked_tags(["a", ""])
        with pytest.raises(ValueError, match=r"at most 250 characters, and 'xxx.*' has 251|\.\.\. has 251"):
            checked_tags(["x" * 251])

    def test_words(self) -> None:
        """A value depends on a word for each of its tags, or on the one that any tag moves where these are too many."""
        assert captured_words([], 32) == []
        assert captured_words(["a", "b", "a"], 32) == [EVERY_TAG, "tag:a", "tag:b"]
        assert captured_words(["a", "b"], 2) == [ANY_TAG]
        assert moved_words(["a"]) == ["tag:a", ANY_TAG]
        assert moved_words([]) == []


class TestParents:
    def test_children_die_with_their_parents(self) -> None:
        """A parent stands for its children and theirs, a child not for its parents."""
        tag_parent("shelf", "library")
        tag_parent("book", "shelf")
        tag_parent("map", "library")
        assert expand(["library"]) == {"library", "shelf", "book", "map"}
        assert expand(["shelf", "other"]) == {"shelf", "book", "other"}
        assert expand([]) == frozenset()

    def test_fields(self) -> None:
        """A field is one segment, and the child's is filled with what the parent's matched."""
        tag_parent("profile:{pk}", "user:{pk}")
        tag_parent("page:{pk}:{lang}", "profile:{pk}:{lang}")
        tag_parent("users", "user:{pk}")
        assert expand(["user:7"]) == {"user:7", "profile:7", "users"}
        assert expand(["user:7:8"]) == {"user:7:8"}
        assert expand(["xuser:7", "user:"]) == {"xuser:7", "user:"}
        assert expand(["profile:1:de"]) == {"profile:1:de", "page:1:de"}

    def test_what_looks_like_a_pattern(self) -> None:
        """Everything but fields stands for itself."""
        tag_parent("b:{pk}", "a.*[x]+:{pk}")
        assert expand(["a.*[x]+:1"]) == {"a.*[x]+:1", "b:1"}
        assert expand(["abx:1"]) == {"abx:1"}
        assert expand([r"a.*[x]+:\g<0>"]) == {r"a.*[x]+:\g<0>", r"b:\g<0>"}

    @pytest.mark.parametrize(
        ("child", "parent"),
        [("a:{pk}", "b"), ("a:{pk}", "b:{id}"), ("a", "b:{x}:{x}"), ("a", "b:{}"), ("a:{}", "b:{}")],
    )
    def test_wrong_fields(self, child: str, parent: str) -> None:
        """A child's field must be one of its parent's, and these have names of their own."""
        with pytest.raises(ValueError, match="cannot be a child of"):
            tag_parent(child, parent)
        assert expand(["b", "b:1", "b:1:1"]) == {"b", "b:1", "b:1:1"}

    @pytest.mark.parametrize(("child", "parent"), [("", "a"), ("a", ""), ("x" * 251, "a")])
    def test_no_tags(self, child: str, parent: str) -> None:
        """Both have to be tags."""
        with pytest.raises(ValueError, match="a tag"):
            tag_parent(child, parent)
        with pytest.raises(TypeError, match="must be a str, not 7"):
            tag_parent(7, "a")  # type: ignore[arg-type]

    def test_undone(self) -> None:
        """What registering returned undoes it, once; what was registered twice takes two."""
        first, second = tag_parent("b", "a"), tag_parent("b", "a")
        first()
        first()
        assert expand(["a"]) == {"a", "b"}
        second()
        assert expand(["a"]) == {"a"}


class TestBounds:
    def test_a_cycle(self, caplog: pytest.LogCaptureFixture) -> None:
        """Tags that are each other's parents die together; a warning names them, and nothing hangs."""
        tag_parent("b", "a")
        tag_parent("c", "b")
        assert not caplog.records
        tag_parent("a", "c")
        assert expand(["a"]) == expand(["b"]) == expand(["c"]) == {"a", "b", "c"}
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert "'a' and 'c' are each other's parents" in record.getMessage()

    def test_its_own_parent(self, caplog: pytest.LogCaptureFixture) -> None:
        """A tag that is its own parent is a cycle of one."""
        tag_parent("a", "a")
        assert expand(["a"]) == {"a"}
        assert "each other's parents" in caplog.text

    def test_ever_longer_tags(self, caplog: pytest.LogCaptureFixture) -> None:
        """A template whose tags have no end is cut where tags are too long to be any."""
        tag_parent("{x}x", "{x}")
        found = expand(["a"])
        assert found is not None
        assert len(found) == 250
        assert max(map(len, found)) == 250

    def test_too_many_descendants(self, caplog: pytest.LogCaptureFixture) -> None:
        """Past the limit it is every tag there is, and never only some of them; that is said once."""
        for letter in "abcdef":
            tag_parent("{x}" + letter, "{x}")
        for _ in range(2):
            assert expand(["r"]) is None
        (record,) = caplog.records
        assert f"'r' has more than {TAG_MAX_EXPANDED} descendants" in record.getMessage()

    def test_the_children_of_very_many(self, caplog: pytest.LogCaptureFixture) -> None:
        """A transaction that changed 6,000 users names them at once, and each has two more tags: none is left out."""
        tag_parent("profile:{pk}", "user:{pk}")
        tag_parent("rights:{pk}", "user:{pk}")
        assert len(expand([f"user:{number}" for number in range(6000)])) == 3 * 6000
        assert not caplog.records

    def test_too_many_children(self) -> None:
        """More than 10,000 children are refused, those that are registered already excepted."""
        for number in range(TAG_MAX_PARENTS):
            tag_parent(str(number), "all")
        with pytest.raises(ValueError, match="10000 children of tags are registered, which is the limit"):
            tag_parent("one more", "other")
        tag_parent("1", "all")
        found = expand(["all"])
        assert found is not None
        assert len(found) == TAG_MAX_EXPANDED + 1
