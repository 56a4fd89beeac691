"""oxicache.versions: who opens the version words, when, and how tests keep them private."""

import os
import threading
from collections.abc import Callable

import pytest
from child_process import check

from oxicache import _native, testing
from oxicache.versions import VersionWords, version_words


@pytest.fixture
def opened() -> list[str]:
    """What happened, in order."""
    return []


@pytest.fixture
def words(opened: list[str]) -> VersionWords:
    """Words that somebody opens."""

    def open_() -> Callable[[], object]:
        opened.append("open")
        return lambda: opened.append("after")

    made = VersionWords()
    made.opened_by(open_)
    return made


def test_without_anybody_to_open_them_words_work_in_this_process() -> None:
    """Capturing and bumping need no framework: what is captured is current until its name is bumped."""
    made = VersionWords()
    stamps = made.capture(["row:books.book:1"])
    assert stamps.is_current()
    assert made.bump(["row:books.book:1", "model:books.book"]) == 2
    assert not stamps.is_current()


@pytest.mark.parametrize("use", ["capture", "bump", "open"])
def test_they_are_opened_by_their_first_use(words: VersionWords, opened: list[str], use: str) -> None:
    """Saying who opens them opens nothing; the first use does, once."""
    assert opened == []
    for _ in range(2):
        getattr(words, use)(*[["a"]] * (use != "open"))
    assert opened == ["open", "after"]


def test_threads_that_come_at_once_open_them_once_and_wait(opened: list[str]) -> None:
    """A bump that comes while they are being opened goes to the words that are opened."""
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def open_() -> Callable[[], object]:
        opened.append("open")
        begun.set()
        assert go_on.wait(30)
        return lambda: None

    made = VersionWords()
    made.opened_by(open_)
    first = threading.Thread(target=made.capture, args=(["a"],))
    second = threading.Thread(target=lambda: (made.bump(["a"]), done.set()))
    first.start()
    assert begun.wait(30)
    second.start()
    assert not done.wait(0.05)
    go_on.set()
    first.join(30)
    second.join(30)
    assert done.is_set()
    assert opened == ["open"]


def test_what_opens_them_may_use_them(opened: list[str]) -> None:
    """Reading settings may import a module that asks for words: it gets some, and nothing hangs."""
    made = VersionWords()

    def open_() -> Callable[[], object]:
        opened.append("open")
        if len(opened) == 1:
            made.capture(["a"])
        return lambda: None

    made.opened_by(open_)
    assert made.capture(["a"]).is_current()


def test_reopen_opens_them_again_at_the_next_use(words: VersionWords, opened: list[str]) -> None:
    """After reopen() nothing happens until somebody asks."""
    words.open()
    words.reopen()
    assert opened == ["open", "after"]
    words.capture(["a"])
    assert opened == ["open", "after"] * 2


def test_a_failure_to_open_them_is_the_callers_and_the_next_use_tries_again() -> None:
    """Wrong settings raise at the use, and are not taken for words that are open."""
    tries: list[int] = []

    def open_() -> Callable[[], object]:
        tries.append(1)
        raise ValueError("wrong settings")

    made = VersionWords()
    made.opened_by(open_)
    for _ in range(2):
        with pytest.raises(ValueError, match="wrong settings"):
            made.bump(["a"])
    assert len(tries) == 2


class TestPrivate:
    def test_words_kept_private_are_not_opened(self, words: VersionWords, opened: list[str]) -> None:
        """Neither a use nor reopen() opens them, until they are released."""
        words.keep_private("a test")
        words.capture(["a"])
        words.reopen()
        words.bump(["a"])
        assert (opened, words.is_private) == ([], True)
        words.release()
        words.bump(["a"])
        assert (opened, words.is_private) == (["open", "after"], False)

    def test_keeping_them_private_again_changes_nothing(self, words: VersionWords) -> None:
        """Each test says it anew; what a class fixture has cached before stays current."""
        words.keep_private("a test")
        stamps = words.capture(["a"])
        words.keep_private("another test")
        assert stamps.is_current()

    def test_what_was_captured_before_is_not_current(self, words: VersionWords) -> None:
        """An entry from before, which other processes could invalidate, is not served to a test."""
        stamps = words.capture(["a"])
        words.keep_private("a test")
        assert not stamps.is_current()

    def test_this_suite_has_private_words(self) -> None:
        """The pytest plugin keeps them private, with and without Django."""
        assert version_words.is_private
        assert not _native.versions_state()["shared"]

    def test_testing_releases_them(self) -> None:
        """release_words undoes keep_words_private."""
        testing.release_words()
        try:
            assert not version_words.is_private
        finally:
            testing.keep_words_private()
        assert version_words.is_private


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_while_they_are_being_opened_leaves_the_child_free() -> None:
    """The lock that another thread held at the fork does not hang the child."""
    source = """
    import os, threading
    from oxicache.versions import version_words

    begun, go_on = threading.Event(), threading.Event()

    def open_():
        if os.getpid() == parent:
            begun.set()
            assert go_on.wait(60)
        return lambda: None

    parent = os.getpid()
    version_words.opened_by(open_)
    thread = threading.Thread(target=version_words.open)
    thread.start()
    assert begun.wait(60)
    child = os.fork()
    if child == 0:
        os._exit(0 if version_words.capture(["a"]).is_current() else 1)
    go_on.set()
    thread.join()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert check(source) == "0\n"
