"""Where it is not known what was invalidated by patterns, everything was; and processes that fork."""

import logging
import os
import signal
from itertools import count
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("django")

from backend_handlers import Handler, handler
from child_process import check_call, in_child
from pattern_workers import RECORDS, fill, held, store_of, workers

from oxicache import _native

pytestmark = pytest.mark.oxicache_real_clock

WORK = 2**20  # so many keys are matched before everything goes instead


class TestFallbacks:
    """Where it is not known what was invalidated, everything was."""

    def test_a_pattern_that_is_too_long_for_the_journal(self) -> None:
        """It is carried out, and whatever else there is goes with it."""
        one, two = workers()
        fill(one, two)
        store_of(one).outdate_patterns(["user:" + "x" * 600])
        assert [held(one), held(two)] == [[], []]

    def test_more_patterns_than_the_journal_takes_of_one(self) -> None:
        """Nobody fills the ring for all."""
        one, two = workers()
        fill(one, two)
        store_of(one).outdate_patterns([f"{number:0400}" for number in range(RECORDS // 8 + 1)])
        assert held(two) == []

    @pytest.mark.parametrize(("times", "is_known"), [(RECORDS, True), (RECORDS + 1, False)])
    def test_one_that_did_not_look_for_long(self, times: int, is_known: bool) -> None:
        """The journal is a ring."""
        one, two = workers()
        fill(one, two)
        for _ in range(times):
            store_of(one).outdate_patterns(["user:1"])
        assert held(two) == (["team:1", "user:2"] if is_known else [])

    def test_a_clear_among_them(self) -> None:
        """Has no record, and is never taken for a pattern."""
        for spoken in ([0, 1, 0], [1, 0], [0, 1]):
            one, two = workers()
            fill(two)
            for is_clear in spoken:
                if is_clear:
                    one.clear()
                else:
                    store_of(one).outdate_patterns(["user:1"])
            assert held(two) == []

    def test_a_bump_by_whoever_knows_no_journal(self) -> None:
        """Operators' orders and workers of an earlier release move the word alone."""
        one, two = workers()
        fill(one, two)
        store_of(one).outdate_patterns(["user:1"])
        _native.bump([f"store:{store_of(one).location}"])
        assert [held(one), held(two)] == [[], []]

    def test_words_that_are_others_now(self) -> None:
        """Nothing that was known of the words before says anything about these."""
        one, two = workers()
        fill(one, two)
        store_of(one).outdate_patterns(["user:1"])
        _native.versions_keep_private()
        assert [held(one), held(two)] == [[], []]

    def test_what_would_take_too_long(self) -> None:
        """Many patterns and many entries: nobody waits for all of them to be compared."""
        one, two = workers(max_entries=100_000, max_bytes=None)
        entries = 20_000
        two.set_many({f"key:{number}": number for number in range(entries)})
        few, many = WORK // entries, WORK // entries + 1
        store_of(one).outdate_patterns([f"nothing:{number}" for number in range(few)])
        assert len(store_of(two)) == entries
        store_of(one).outdate_patterns([f"nothing:{number}" for number in range(many)])
        assert len(store_of(two)) == 0

    @pytest.mark.parametrize(
        ("pattern", "kind", "entries"),
        [
            ("(?:a?){6000}b", "regex", 60),
            ("(?:a?){20000}b", "regex", 1),
            ("*" + "a" * 120 + "b", "glob", 20_000),
        ],
        ids=["slow to match", "slow to compile", "many stars' worth"],
    )
    def test_patterns_that_take_long(self, pattern: str, kind: Any, entries: int) -> None:
        """A tenth of a second a key is no business of whoever comes next: everything goes instead."""
        one, two = workers(max_entries=100_000, max_bytes=None)
        two.set_many({"a" * 220 + f":{number}": number for number in range(entries)})
        store_of(one).outdate_patterns([pattern], kind)
        assert len(store_of(two)) == 0

    def test_stores_that_share_a_word(self) -> None:
        """What was invalidated in the one is no business of the other's; a clear of one empties both."""
        one, two = sharing_a_word()
        for cache in (one, two):
            cache.set("user:1", "old")
        store_of(one).outdate_patterns(["user:*"])
        assert [one.get("user:1"), two.get("user:1")] == [None, "old"]
        one.clear()
        assert two.get("user:1") is None


def sharing_a_word() -> tuple[Handler, Handler]:
    """Handlers of two locations that hash to one word: among 2**20 words there are 2**15 for stores."""
    locations: dict[int, str] = {}
    for number in count():
        location = f"place-{number}"
        (word,) = _native.capture([f"store:{location}"]).words
        if word in locations:
            return handler(locations[word]), handler(location)
        locations[word] = location
    raise AssertionError


class TestWarning:
    def test_where_no_journal_can_be_it_is_said_once(self, tmp_path: Any) -> None:
        """Nothing outdated is served, but entries are lost that need not be: whoever runs the site has to know."""
        check_call(_outdate_without_a_journal, str(tmp_path))


def _outdate_without_a_journal(directory: str) -> None:
    state = _native.versions_share(directory, "shop", 2**16)
    path = Path(state["path"]).parent / f"journal-1-{RECORDS}"
    path.mkdir()
    said: list[str] = []
    handling = logging.Handler()
    handling.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("oxicache.host").addHandler(handling)
    one, two = handler("warned"), handler("warned")
    for _ in range(2):
        fill(one, two)
        store_of(one).outdate_patterns(["user:1"])
        assert [held(one), held(two)] == [[], []]
    (message,) = said
    assert str(path) in message


class TestForks:
    def test_parent_and_children_tell_each_other(self, tmp_path: Any) -> None:
        """The journal is opened before the fork, after it, or by one of them alone."""
        check_call(_outdate_in_children, str(tmp_path))

    def test_private_words_part_at_the_fork(self) -> None:
        """What a child invalidates of words that are not shared is its own affair."""
        check_call(_outdate_privately)


def _outdate_in_children(directory: str) -> None:
    assert _native.versions_share(directory, "shop", 2**16)["shared"]
    cache = handler("forks")
    store = store_of(cache)
    fill(cache)

    def outdate(pattern: str, left: list[str]) -> None:
        store.outdate_patterns([pattern])
        assert held(cache) == left

    in_child(lambda: outdate("user:1", ["team:1", "user:2"]))
    assert held(cache) == ["team:1", "user:2"]
    in_child(lambda: outdate("team:*", ["user:2"]))
    in_child(lambda: outdate("nothing", ["user:2"]))
    assert held(cache) == ["user:2"]
    fill(cache)
    hears, speaks = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        os.read(hears, 1)
        os._exit(0 if held(cache) == ["team:1", "user:1"] else 1)
    store.outdate_patterns(["user:2"])
    os.write(speaks, b"x")
    assert os.waitpid(pid, 0)[1] == 0


def _outdate_privately() -> None:
    cache = handler("forks")
    fill(cache)

    def outdate() -> None:
        store_of(cache).outdate_patterns(["user:*"])
        assert held(cache) == ["team:1"]

    in_child(outdate)
    assert held(cache) == ["team:1", "user:1", "user:2"]
