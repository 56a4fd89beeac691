"""Version words in one process: what is captured, bumped, noted and told."""

import math
import re
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from child_process import check_call

from oxicache import _native
from oxicache._native import Stamps, bump, capture, versions_keep_private, versions_share, versions_state

pytestmark = pytest.mark.oxicache_real_clock

DEFAULT_WORDS = 2**20
WORDS = 2**16
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="words are shared on Linux only")


@pytest.fixture(autouse=True)
def own_words() -> Iterator[None]:
    """Words that no other test has bumped, and none that another test's code would share."""
    versions_keep_private()
    yield
    _native.clock_system()
    versions_keep_private()


class TestCapture:
    def test_stamps_are_current_until_one_of_their_names_is_bumped(self) -> None:
        """A bump of any captured name makes the stamps stale; that of another name does not."""
        stamps = capture(["row:app.book:1", "model:app.author"])
        assert bump(["row:app.book:2"]) == 1
        assert stamps.is_current()
        assert bump(["model:app.author"]) == 1
        assert not stamps.is_current()
        assert capture(["row:app.book:1", "model:app.author"]).is_current()

    def test_stamps_tell_their_words(self) -> None:
        """`words` are the numbers of the words in the order of the names, and `len` is how many."""
        stamps = capture(["a", "b"])
        assert stamps.words == (*capture(["a"]).words, *capture(["b"]).words)
        assert len(stamps) == 2
        assert all(0 <= word < DEFAULT_WORDS for word in stamps.words)

    def test_no_names_are_always_current(self) -> None:
        """What depends on nothing is never stale."""
        stamps = capture([])
        bump(["a"])
        assert stamps.is_current()
        assert stamps.words == ()
        assert len(stamps) == 0
        assert bump([]) == 0

    def test_names_may_come_from_any_iterable(self) -> None:
        """A set, a dict or a generator of names is as good as a list."""
        stamps = capture(name for name in ("a", "b"))
        assert stamps.words == capture({"a": 1, "b": 2}).words
        assert bump({"a", "b"}) == 2
        assert not stamps.is_current()

    def test_a_name_given_twice_is_bumped_twice_and_found_once(self) -> None:
        """Repeating a name changes nothing but the numbers."""
        stamps = capture(["a", "a"])
        assert stamps.is_current()
        assert len(stamps) == 2
        bump(["a", "a"])
        assert not stamps.is_current()

    @pytest.mark.parametrize("name", ["", "\x00", "ä", "\U0001f600", "\ud800", "a" * 100_000], ids=ascii)
    def test_any_string_is_a_name(self, name: str) -> None:
        """Empty, long and odd names have words: lone surrogates come out of file names and databases."""
        stamps, other = capture([name]), capture([name + "x"])
        bump([name])
        assert not stamps.is_current()
        assert other.is_current()

    def test_a_subclass_of_str_is_its_text(self) -> None:
        """What a subclass does with `encode` is not asked."""

        class Name(str):
            __slots__ = ()

            def encode(self, *_: Any, **__: Any) -> bytes:
                raise AssertionError

        assert capture([Name("a")]).words == capture(["a"]).words
        assert capture([Name("\ud800")]).words == capture(["\ud800"]).words

    def test_an_entry_may_depend_on_32_words(self) -> None:
        """One more is a ValueError that gives number and limit; a bump has no limit."""
        names = [f"row:app.book:{number}" for number in range(33)]
        assert len(capture(names[:32])) == 32
        with pytest.raises(ValueError, match="at most 32 version words, not on 33"):
            capture(names)
        assert bump(names * 100) == 3300

    @pytest.mark.parametrize("function", [capture, bump])
    def test_wrong_names_are_refused_by_what_they_are(self, function: Any) -> None:
        """A single string, bytes and numbers are TypeErrors that show them, and nothing is bumped."""
        stamps = capture(["a"])
        with pytest.raises(TypeError, match="single string 'abc'"):
            function("abc")
        with pytest.raises(TypeError, match="must be a string, not b'a'"):
            function(["a", b"a"])
        with pytest.raises(TypeError, match="must be a string, not 1"):
            function(["a", 1])
        with pytest.raises(TypeError):
            function(1)
        assert stamps.is_current()

    def test_what_an_iterable_raises_goes_to_the_caller(self) -> None:
        """An exception of the names' own code passes through, and nothing is bumped."""

        def names() -> Iterator[str]:
            yield "a"
            raise LookupError("names")

        stamps = capture(["a"])
        with pytest.raises(LookupError, match="names"):
            bump(names())
        with pytest.raises(LookupError, match="names"):
            capture(names())
        assert stamps.is_current()

    def test_stamps_are_made_by_capture_alone(self) -> None:
        """The class cannot be called, and its objects cannot be changed."""
        with pytest.raises(TypeError):
            Stamps()
        with pytest.raises(AttributeError):
            capture(["a"]).words = ()  # type: ignore[misc]


class TestWhen:
    def test_a_bump_is_remembered_for_as_long_as_asked(self) -> None:
        """Within the span the answer is yes, and up to a second longer, as whole seconds are noted."""
        _native.clock_drive(1000.9)
        stamps = capture(["a"])
        assert not stamps.was_bumped_within(3600)
        bump(["a"])
        for at, within in [(1000.9, True), (1005.9, True), (1005.99, True), (1006.0, False), (2000.0, False)]:
            _native.clock_drive(at)
            assert stamps.was_bumped_within(5) is within, at
        assert stamps.was_bumped_within(math.inf)

    def test_any_word_counts(self) -> None:
        """One of the words is enough; those of other stamps are not asked."""
        _native.clock_drive(1000.0)
        one, both = capture(["a"]), capture(["a", "b"])
        bump(["b"])
        assert both.was_bumped_within(0)
        assert not one.was_bumped_within(5)

    def test_bumps_of_real_time_are_remembered_too(self) -> None:
        """The machine's own clock needs no test to drive it."""
        stamps = capture(["a"])
        assert not stamps.was_bumped_within(5)
        bump(["a"])
        assert stamps.was_bumped_within(5)

    def test_a_followed_clock_is_asked(self) -> None:
        """Under freezegun and its like the time is the one that Python tells."""
        now = [50_000.0]
        _native.clock_follow(lambda: now[0])
        stamps = capture(["a"])
        bump(["a"])
        now[0] += 4
        assert stamps.was_bumped_within(5)
        now[0] += 3
        assert not stamps.was_bumped_within(5)

    def test_a_clock_that_fails_does_not_keep_the_words_from_being_bumped(self) -> None:
        """What a followed clock raises goes to the caller, once everything is stale."""
        works = [True]

        def read() -> float:
            if not works:
                raise OSError("the clock")
            return 50_000.0

        _native.clock_follow(read)
        stamps = capture(["a"])
        works.clear()
        with pytest.raises(OSError, match="the clock"):
            bump(["a"])
        assert not stamps.is_current()

    @pytest.mark.parametrize("seconds", [-1, math.nan], ids=str)
    def test_a_span_that_is_none_is_refused(self, seconds: float) -> None:
        """Negative spans and NaN are ValueErrors."""
        with pytest.raises(ValueError, match="is not a span of time"):
            capture(["a"]).was_bumped_within(seconds)


class TestPrivate:
    def test_a_process_begins_with_words_of_its_own(self) -> None:
        """Without settings nothing is shared, and nothing is wrong."""
        versions_keep_private(2**16, "tests")
        state = versions_state()
        assert state.pop("bumps") >= 0
        assert state.pop("replaced") >= 0
        assert state == {"shared": False, "directory": None, "path": None, "words": 2**16, "reason": "tests"}
        assert not _native.versions_refresh()

    def test_new_words_make_old_stamps_stale(self) -> None:
        """What was captured of other words is never taken for current."""
        stamps = [capture([str(name)]) for name in range(8)]
        versions_keep_private()
        assert not any(found.is_current() for found in stamps)

    @pytest.mark.parametrize("words", [2**16, 2**20])
    def test_new_words_take_no_more_memory(self, words: int) -> None:
        """Tests may ask for new words as often as they like, and nothing was bumped in them."""
        versions_keep_private(words)
        before = _mapped_kib()
        for _ in range(1000):
            bump(["a"])
            versions_keep_private(words)
            assert not capture(["a"]).was_bumped_within(3600)
        assert _mapped_kib() - before < 200_000  # a thread of another test may get an arena of 64 MiB

    @pytest.mark.parametrize("words", [0, 1, 2**15, 2**16 + 1, 2**25])
    def test_a_wrong_number_of_words_is_refused(self, words: int) -> None:
        """A power of two from 2**16 to 2**24, or a ValueError that names it."""
        with pytest.raises(ValueError, match=f"words is {words}, but must be a power of two"):
            versions_keep_private(words)
        with pytest.raises(ValueError, match=f"words is {words}, but must be a power of two"):
            versions_share("/tmp", "shop", words)  # noqa: S108 - refused before it is looked at

    def test_bumps_are_counted(self) -> None:
        """`bumps` counts names, not calls."""
        before = versions_state()["bumps"]
        bump(["a", "b"])
        bump(["c"])
        assert versions_state()["bumps"] == before + 3

    @on_linux
    def test_without_memory_the_first_words_are_used(self) -> None:
        """A process that gets no memory for as many words as it asks for uses those that it has."""
        check_call(_ask_for_too_much)


def _mapped_kib() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    return int(re.findall(r"^VmSize:\s+(\d+) kB$", status.read_text(), re.MULTILINE)[0])


def _ask_for_too_much() -> None:
    stamps = capture(["a"])
    resource.setrlimit(resource.RLIMIT_AS, (_mapped_kib() * 1024 + 2**25, -1))
    versions_keep_private(2**24)
    assert versions_state()["words"] == DEFAULT_WORDS
    assert not stamps.is_current()
    stamps = capture(["a"])
    assert stamps.is_current()
    bump(["a"])
    assert not stamps.is_current()


@on_linux
class TestShared:
    def test_the_state_says_where_the_words_are(self, tmp_path: Path) -> None:
        """Directory, path and number of words; opening the same place again changes nothing."""
        state = versions_share(str(tmp_path), "shop", WORDS)
        assert state["shared"]
        assert state["words"] == WORDS
        assert state["reason"] is None
        assert Path(state["path"]).parent == Path(state["directory"])
        assert Path(state["directory"]).parent == tmp_path
        stamps = capture(["a"])
        assert versions_share(str(tmp_path), "shop", WORDS) == state == versions_state()
        assert stamps.is_current()

    def test_a_directory_may_be_a_path(self, tmp_path: Path) -> None:
        """Whatever `os.fspath` takes is a directory, and names of files need not be UTF-8."""
        odd = tmp_path / "\udcff"
        odd.mkdir()
        place: Any = odd
        assert versions_share(place, "shop", WORDS)["shared"]
        assert len(list(odd.iterdir())) == 1

    @pytest.mark.parametrize("namespace", ["", "a/b", "..x/", "a b", "ä", "a" * 129], ids=ascii)
    def test_a_namespace_must_fit_into_a_name(self, tmp_path: Path, namespace: str) -> None:
        """Anything but 1 to 128 plain characters is a ValueError, and nothing is made."""
        with pytest.raises(ValueError, match="namespace is "):
            versions_share(str(tmp_path), namespace, WORDS)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("directory", ["", "relative", "./here", "/nul\0"], ids=ascii)
    def test_a_directory_must_be_absolute(self, directory: str) -> None:
        """A relative path would be another one after `chdir`."""
        with pytest.raises(ValueError, match="must be an absolute path"):
            versions_share(directory, "shop", WORDS)

    def test_where_nothing_can_be_shared_the_words_are_private(self, tmp_path: Path) -> None:
        """The reason is told, and what was captured before stays current when as many words are asked for."""
        versions_keep_private(WORDS)
        stamps = capture(["a"])
        for _ in range(2):
            state = versions_share(str(tmp_path / "none"), "shop", WORDS)
            assert not state["shared"]
            assert state["path"] is None
            assert "No such file or directory" in state["reason"]
            assert stamps.is_current()
        bump(["a"])
        assert not stamps.is_current()

    def test_sharing_later_makes_what_was_captured_before_stale(self, tmp_path: Path) -> None:
        """Nobody else could have bumped it."""
        stamps = capture(["a"])
        versions_share(str(tmp_path), "shop", WORDS)
        assert not stamps.is_current()

    def test_the_file_is_looked_for_once_a_second(self, tmp_path: Path) -> None:
        """A refresh within a second of another one does not look; a second later it does, and moves once."""
        _native.clock_drive(1000.0)
        path = Path(versions_share(str(tmp_path), "shop", WORDS)["path"])
        _native.clock_drive(2000.0)
        assert not _native.versions_refresh()
        path.unlink()
        _native.clock_drive(2000.9)
        assert not _native.versions_refresh()
        assert not path.exists()
        _native.clock_drive(2001.0)
        assert _native.versions_refresh()
        assert path.exists()
        _native.clock_drive(2002.0)
        assert not _native.versions_refresh()

    def test_a_clock_that_was_set_back_does_not_stop_the_looking(self, tmp_path: Path) -> None:
        """Tests set time back; the file is looked for all the same."""
        _native.clock_drive(5000.0)
        path = Path(versions_share(str(tmp_path), "shop", WORDS)["path"])
        _native.versions_refresh()
        path.unlink()
        _native.clock_drive(1000.0)
        assert _native.versions_refresh()
