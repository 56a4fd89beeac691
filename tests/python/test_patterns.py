"""KeyPattern: globs, regular expressions (against Python's `re` where the two agree), and what is refused."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxicache._native import KeyPattern

# Each with texts of which some match and some do not, as `re.match` has it.
SHARED = {
    "a literal": ("user:1", ["user:1", "user:12", "a user:1", "user:"]),
    "the start only": (r"user:\d+", ["user:1", "user:12:profile", "x:user:1", "user:x"]),
    "alternatives": ("a|bc", ["a", "bcd", "b", "cbc"]),
    "a group": ("(ab)+c", ["ababc", "abab", "c"]),
    "a named group": (r"(?P<kind>\w+):x", ["k:x", ":x"]),
    "classes": ("[a-c]{2,3}x", ["abx", "ax", "abcx", "abcax"]),
    "lazy": ("a.*?b$", ["axb", "axbc", "ab"]),
    "flags": ("(?i)user", ["USER", "users", "use"]),
    "flags and a comment": ("(?x) a b # and no more", ["ab", "a b", "abc"]),
    "the start, said": ("^a", ["a", "ba"]),
    "nothing": ("", ["", "a"]),
    "more than ASCII": ("schlüssel:é+", ["schlüssel:éé", "schlussel:e"]),
    "beyond 16 bits": ("[😀-😂]:", ["😁:", "a:"]),
    "words of any script": (r"\w+:", ["ключ:", "钥匙:", "-:"]),
}


ATOMS = st.sampled_from(
    ["a", "b", "é", "1", ".", r"\d", r"\w", r"\W", r"\.", "[ab]", "[^a1]", "[a-z]", "[é-ü1]", "^", "$"]
)
REPEATS = st.sampled_from(["", "*", "+", "?", "*?", "+?", "??", "{2}", "{0,2}", "{1,}", "{1,2}?"])


def larger(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Make a group, named or not, of such parts, one after another or as alternatives, and repeat it."""
    chained = st.lists(parts, min_size=1, max_size=3)
    inner = st.one_of(chained.map("".join), chained.map("|".join))
    return st.builds("{}{}){}".format, st.sampled_from(["(", "(?:", "(?i:"]), inner, REPEATS)


REPEATED = st.one_of(
    st.sampled_from(["^", "$"]), st.builds("{}{}".format, ATOMS.filter(lambda one: one not in "^$"), REPEATS)
)
GROUPS = larger(REPEATED)
# Two levels and short texts: more, and `re` backtracks without end.
REGEXES = st.lists(st.one_of(REPEATED, GROUPS, larger(st.one_of(REPEATED, GROUPS))), max_size=3).map("".join)


@given(REGEXES, st.lists(st.text("abAé1.ü-", max_size=5), max_size=6))
def test_what_both_know_matches_alike(pattern: str, texts: list[str]) -> None:
    """An expression of what `re` and the crate have in common takes the same texts; none of them holds a line break."""
    wanted = [text for text in texts if re.match(pattern, text)]
    assert KeyPattern(pattern, kind="regex").select(texts) == wanted


@given(st.text("ab()[]{}?*+|\\^$.-:=!<>dwsbBAzZpP1,é\ud800\n", max_size=24), st.text(max_size=8))
def test_any_text_is_read_or_refused(pattern: str, text: str) -> None:
    """Whatever is given as an expression, the answer is a pattern or a ValueError that says what to give instead."""
    try:
        KeyPattern(pattern, kind="regex").matches(text)
        said = "; give nothing else"
    except ValueError as error:
        said = str(error)
    assert "; give " in said


class TestRegex:
    @pytest.mark.parametrize(("pattern", "texts"), SHARED.values(), ids=SHARED)
    def test_it_matches_as_re_match_does(self, pattern: str, texts: list[str]) -> None:
        """From the start of the text, and not to its end."""
        matcher = KeyPattern(pattern, kind="regex")
        wanted = [text for text in texts if re.match(pattern, text)]
        assert matcher.select(texts) == wanted
        assert [text for text in texts if matcher.matches(text)] == wanted

    def test_the_end_is_the_very_end(self) -> None:
        """Unlike `re`, which lets a line break stand behind `$`."""
        assert re.match("a$", "a\n")
        assert not KeyPattern("a$", kind="regex").matches("a\n")

    def test_what_takes_others_for_ever_takes_linear_time(self) -> None:
        """A pattern on which backtracking never ends is answered at once."""
        begun = time.perf_counter()
        assert not KeyPattern("(a|aa)+$", kind="regex").matches("a" * 20_000 + "b")
        assert not KeyPattern("(?:a?){400}a{400}", kind="regex").matches("a" * 399)
        assert time.perf_counter() - begun < 20

    @pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\ud800\udc00"])
    def test_lone_surrogates_are_matched_and_do_no_harm(self, text: str) -> None:
        """They are characters, of which an expression can say no more than that they are there."""
        assert KeyPattern(".", kind="regex").matches(text)
        assert not KeyPattern("[a-z]{3}", kind="regex").matches(text)

    @pytest.mark.parametrize(
        ("pattern", "reason"),
        [
            ("a(?=b)", "look-around"),
            ("(?<!a)b", "look-around"),
            (r"(a)\1", "backreferences are not supported"),
            ("(", "unclosed group"),
            ("[a", "unclosed character class"),
            ("a{2,1}", "invalid repetition count range"),
            ("(?:[0-9a-f]{1000}){1000}", "10485760 bytes"),
            ("(" * 1000 + ")" * 1000, "nest"),
            ("a" * 10_001, "10001 characters, and at most 10000"),
            ("a\ud800", "lone surrogate"),
        ],
    )
    def test_what_cannot_be_used_is_refused(self, pattern: str, reason: str) -> None:
        """The message names the pattern, the reason and what to give instead."""
        with pytest.raises(ValueError, match=reason) as caught:
            KeyPattern(pattern, kind="regex")
        said = str(caught.value)
        assert said.startswith(f'The pattern "{pattern[:1]}')
        assert "; give " in said
        assert len(said) < 400

    def test_a_large_pattern_within_the_limits_is_served(self) -> None:
        """The limits leave room for all that an operator may write."""
        assert KeyPattern("|".join(f"key:{number}:" for number in range(900)), kind="regex").matches(
            "key:899:a"
        )


class TestGlob:
    @pytest.mark.parametrize("text", ["k:ab", "k:éb", "k:жb", "k:😀b", "k:\ud800b"])
    def test_any_width_of_characters_matches(self, text: str) -> None:
        """Python keeps texts at one, two or four bytes a character."""
        assert KeyPattern("k:?b").matches(text)
        assert KeyPattern(f"*{text[2]}?").matches(text)
        assert not KeyPattern("k:b*").matches(text)

    def test_a_glob_is_refused_only_for_its_length(self) -> None:
        """There is no wrong glob, but one of more than 10,000 characters."""
        assert KeyPattern("*" * 10_000).matches("a")
        with pytest.raises(ValueError, match=r"10001 characters.*; give keys, a prefix or a tag"):
            KeyPattern("*" * 10_001)


class TestKinds:
    def test_a_pattern_says_what_it_is(self) -> None:
        """Its source, its kind, and both in its repr."""
        glob, regex = KeyPattern("a*"), KeyPattern("a.*", kind="regex")
        assert (glob.pattern, glob.kind, repr(glob)) == ("a*", "glob", "KeyPattern('a*')")
        assert (regex.pattern, regex.kind, repr(regex)) == (
            "a.*",
            "regex",
            "KeyPattern('a.*', kind=\"regex\")",
        )

    def test_another_kind_is_refused(self) -> None:
        """The message names the two that there are."""
        with pytest.raises(ValueError, match='kind must be "glob" or "regex", not "sql"'):
            KeyPattern("a", kind="sql")  # type: ignore[arg-type]

    def test_a_pattern_is_a_string(self) -> None:
        """A compiled `re.Pattern` is none."""
        with pytest.raises(TypeError, match="a key pattern is a string"):
            KeyPattern(re.compile("a"))  # type: ignore[arg-type]
