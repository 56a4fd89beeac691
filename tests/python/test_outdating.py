"""Pattern invalidations of stores that share words: two stores of one location are two workers of a host."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

pytest.importorskip("django")

from backend_handlers import Handler, handler
from child_process import check_call, in_child
from driven_clock import Clock
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from profiles import MODEL

from oxicache import _native
from oxicache._native import KeyPattern, NativeStore, clock_follow, clock_system, tokens_forget

pytestmark = pytest.mark.oxicache_real_clock

RECORDS = 1024  # as many as the journal keeps
WORK = 2**20  # so many keys are matched before everything goes instead

_numbers = count()


def store_of(cache: Handler) -> NativeStore:
    assert cache._store is not None
    return cache._store


def workers(number: int = 2, **options: Any) -> list[Handler]:
    """So many workers of one site."""
    location = f"outdating-{next(_numbers)}"
    return [handler(location, **options) for _ in range(number)]


def fill(*caches: Handler) -> None:
    for cache in caches:
        for key in ("user:1", "user:2", "team:1"):
            cache.get(key)
            cache.set(key, "old")


def held(cache: Handler) -> list[str]:
    return sorted(cache.get_many(["user:1", "user:2", "team:1"]))


class TestOutdatePatterns:
    def test_only_what_matches_goes_and_in_all_workers(self) -> None:
        """Whoever says so; those that hold nothing of it lose nothing."""
        caches = workers(3)
        for acting in caches:
            fill(*caches)
            store_of(acting).outdate_patterns(["user:1*", "nobody:*"])
            assert [held(cache) for cache in caches] == [["team:1", "user:2"]] * 3

    def test_regular_expressions_match_from_the_start(self) -> None:
        """As `re.match` does, and to no certain end."""
        one, two = workers()
        fill(one, two)
        store_of(one).outdate_patterns(["eam:1", "user:[2-9]"], "regex")
        assert [held(one), held(two)] == [["team:1", "user:1"]] * 2

    def test_what_is_stored_afterwards_stays(self) -> None:
        """In the worker that said so and in others, which may not even have looked since."""
        one, two = workers()
        fill(one, two)
        store_of(one).outdate_patterns(["*"])
        one.set("user:1", "new")
        two.set("user:2", "new")
        assert [held(one), held(two)] == [["user:1"], ["user:2"]]

    def test_many_at_once(self) -> None:
        """More patterns than one record of the journal holds are several steps of the word, and none is lost."""
        one, two = workers()
        fill(one, two)
        store_of(one).outdate_patterns([f"nothing:{number}:*" for number in range(500)] + ["user:1"])
        assert [held(one), held(two)] == [["team:1", "user:2"]] * 2

    def test_none_at_all(self) -> None:
        """Nothing is told, and nobody has to look."""
        one, two = workers()
        fill(one, two)
        before = _native.versions_state()["bumps"]
        store_of(one).outdate_patterns([])
        assert _native.versions_state()["bumps"] == before
        assert held(two) == ["team:1", "user:1", "user:2"]

    def test_any_characters(self) -> None:
        """Lone surrogates are characters like others."""
        one, two = workers()
        for cache in (one, two):
            cache.set_many({"\ud800:1": 1, "ü:😀": 2, "u": 3})
        two.set_many({"\ud800:1": 1, "ü:😀": 2, "u": 3})
        store_of(one).outdate_patterns(["\ud800:?", "ü:[😀]"])
        assert list(two.get_many(["\ud800:1", "ü:😀", "u"])) == ["u"]

    @pytest.mark.parametrize(
        ("patterns", "kind", "error"),
        [
            ("user:*", "glob", TypeError),
            ([1], "glob", TypeError),
            (["a"], "re", ValueError),
            (["ok", "a(?=b)"], "regex", ValueError),
            (["("], "regex", ValueError),
            (["x" * 10_001], "glob", ValueError),
        ],
        ids=["one string", "no string", "kind", "look-around", "no expression", "too long"],
    )
    def test_what_cannot_be_read_invalidates_nothing(
        self, patterns: Any, kind: Any, error: type[Exception]
    ) -> None:
        """It is an error of the caller's, before anybody is told."""
        one, two = workers()
        fill(one, two)
        with pytest.raises(error):
            store_of(one).outdate_patterns(patterns, kind)
        assert [held(one), held(two)] == [["team:1", "user:1", "user:2"]] * 2

    def test_entries_in_their_grace_go_too(self) -> None:
        """What has expired and would still be served while it is loaded anew is as outdated as the rest."""
        clock = Clock()
        try:
            one, two = workers(params={"TIMEOUT": 10}, grace=60)
            fill(two)
            clock.advance(20)
            key = two._key("user:1")
            assert store_of(two)._stale(key) == "old"
            store_of(one).outdate_patterns(["user:*"])
            assert store_of(two)._stale(key) is _native.MISSING
            assert store_of(two)._stale(two._key("team:1")) == "old"
        finally:
            clock_system()

    def test_coherence_process(self) -> None:
        """A store of this process alone tells nobody, and forgets by itself."""
        one, two = workers(coherence="process")
        fill(one, two)
        store_of(one).outdate_patterns(["user:*"])
        assert [held(one), held(two)] == [["team:1"], ["team:1", "user:1", "user:2"]]

    def test_while_caches_are_disabled(self) -> None:
        """Others may hold what is invalidated."""
        one, two = workers()
        with disabled():
            store_of(one).outdate_patterns(["user:*"])
        fill(two)
        assert held(two) == ["team:1", "user:1", "user:2"]
        store_of(two).outdate_patterns(["team:*"])
        assert held(two) == ["user:1", "user:2"]


@contextmanager
def disabled() -> Iterator[None]:
    _native.set_enabled(False)
    try:
        yield
    finally:
        _native.set_enabled(True)


class TestWithin:
    """Which keys the patterns are matched against."""

    def handlers(self, **params: Any) -> tuple[Handler, dict[str, Handler]]:
        """A worker that speaks, and the handlers of another: by prefix and version, and some with strange versions."""
        speaking, hearing = workers()
        store = store_of(hearing)
        made = {
            "bare": Handler(store),
            "version 2": Handler(store, {"VERSION": 2}),
            "p": Handler(store, {"KEY_PREFIX": "p"}),
            "p, version 2": Handler(store, {"KEY_PREFIX": "p", "VERSION": 2}),
            "p, version beta": Handler(store, {"KEY_PREFIX": "p", "VERSION": "beta"}),
            "p, version with a colon": Handler(store, {"KEY_PREFIX": "p", "VERSION": "a:b"}),
            "pp": Handler(store, {"KEY_PREFIX": "pp"}),
            "function": Handler(store, {"KEY_PREFIX": "p", "KEY_FUNCTION": lambda key, *_: f"<{key}>"}),
        }
        for cache in made.values():
            cache.set_many({"user:1": 1, "team:1": 1})
        assert [list(cache.get_many(["user:1", "team:1"])) for cache in made.values()] == [
            ["user:1", "team:1"]
        ] * len(made)
        return speaking, made

    @pytest.mark.parametrize(
        ("within", "hit"),
        [
            ({"before": ":1:", "behind": ""}, {"bare"}),
            ({"before": ":2:"}, {"version 2"}),
            ({"before": "p:1:"}, {"p"}),
            ({"before": "p:beta:"}, {"p, version beta"}),
            ({"before": "<", "behind": ">"}, {"function"}),
            ({"prefix": "p"}, {"p", "p, version 2", "p, version beta", "p, version with a colon"}),
            ({"prefix": ""}, {"bare", "version 2"}),
        ],
        ids=lambda given: str(given) if isinstance(given, dict) else "",
    )
    def test_other_keys_stay(self, within: dict[str, str], hit: set[str]) -> None:
        """Prefix and version are no part of what is matched, and say whose keys are."""
        speaking, made = self.handlers()
        store_of(speaking).outdate_patterns(["user:*"], **within)
        for name, cache in made.items():
            expected = ["team:1"] if name in hit else ["user:1", "team:1"]
            assert list(cache.get_many(["user:1", "team:1"])) == expected, name

    def test_all_keys(self) -> None:
        """Where nothing is said, whatever their prefix and version; keys of a function are matched as a whole."""
        speaking, made = self.handlers()
        store_of(speaking).outdate_patterns(["user:*"])
        for name, cache in made.items():
            is_whole = name in {"function", "p, version beta", "p, version with a colon"}
            assert ("user:1" in cache) is is_whole, name


class TestFills:
    """What was missed, or is being loaded, when something is invalidated."""

    @pytest.mark.parametrize(("key", "is_stored"), [("user:1", False), ("team:1", True)])
    def test_a_fill_is_stored_unless_its_key_matches(self, key: str, is_stored: bool) -> None:
        """What was read before the invalidation is outdated only if it is about the key."""
        one, two = workers()
        assert two.get(key) is None
        store_of(one).outdate_patterns(["user:*"])
        two.set(key, "loaded before")
        assert two.get(key) == ("loaded before" if is_stored else None)

    def test_a_fill_that_is_spared_is_no_write(self) -> None:
        """It does not outdate what others have filled."""
        one, two = workers()
        assert two.get("team:1") is None
        fill(one)
        store_of(one).outdate_patterns(["user:*"])
        two.set("team:1", "loaded before")
        assert one.get("team:1") == "old"

    @pytest.mark.parametrize(("key", "is_stored"), [("user:1", False), ("team:1", True)])
    @pytest.mark.parametrize("times", [1, 5, RECORDS])
    def test_a_load_is_stored_unless_its_key_matches(self, key: str, is_stored: bool, times: int) -> None:
        """However often something else was invalidated meanwhile, as long as that is known."""
        one, two = workers()
        store = store_of(two)
        held_as = two._key(key)
        token = store._token(held_as)
        for _ in range(times - 1):
            store_of(one).outdate_patterns(["nothing:*"])
        store_of(one).outdate_patterns(["user:*"])
        assert store._is_current(held_as, token) is is_stored
        assert store._fill(held_as, "loaded before", token) is is_stored
        assert two.get(key) == ("loaded before" if is_stored else None)

    @pytest.mark.parametrize("kind", ["fill", "load"])
    def test_what_nobody_knows_any_more_is_not_stored(self, kind: str) -> None:
        """After more invalidations than the journal keeps."""
        one, two = workers()
        store = store_of(two)
        key = two._key("team:1")
        token = store._token(key)
        assert two.get("team:1") is None
        for _ in range(RECORDS + 1):
            store_of(one).outdate_patterns(["user:*"])
        if kind == "load":
            assert not store._fill(key, "loaded before", token)
        else:
            two.set("team:1", "loaded before")
        assert two.get("team:1") is None

    @pytest.mark.parametrize("kind", ["fill", "load"])
    @pytest.mark.parametrize("between", ["clear", "delete", "tag"])
    def test_what_else_is_invalidated_counts_as_ever(self, between: str, kind: str) -> None:
        """Patterns beside it excuse nothing."""
        one, two = workers()
        store, other = store_of(two), store_of(one)
        key = two._key("team:1")
        token = store._token(key)
        assert two.get("team:1") is None
        other.outdate_patterns(["user:*"])
        {
            "clear": other.clear,
            "delete": lambda: other.delete(key),
            "tag": lambda: other.delete_by_tag("red"),
        }[between]()
        other.outdate_patterns(["user:*"])
        if kind == "load":
            assert not store._fill(key, "loaded before", token, tags=["red"])
        else:
            two.set("team:1", "loaded before", tags=["red"])
        assert two.get("team:1") is None

    def test_what_its_own_thread_sets_next_is_news(self) -> None:
        """As after a `clear`: what is set afterwards is not lost, and is a write."""
        (one,) = workers(1)
        assert one.get("user:1") is None
        store_of(one).outdate_patterns(["user:*"])
        one.set("user:1", "new")
        assert one.get("user:1") == "new"

    def test_a_load_in_another_thread(self) -> None:
        """Its caller gets what was loaded, and nobody after it."""
        (one,) = workers(1)
        began, go_on = threading.Event(), threading.Event()
        found = []

        def load() -> str:
            began.set()
            assert go_on.wait(30)
            return "loaded before"

        store = store_of(one)
        key = one._key("user:1")

        def compute() -> None:
            token = store._token(key)
            found.append(store._fill(key, load(), token))

        thread = threading.Thread(target=compute)
        thread.start()
        assert began.wait(30)
        store.outdate_patterns(["user:*"])
        assert one.get("user:1") is None
        go_on.set()
        thread.join()
        assert found == [False]
        assert one.get("user:1") is None


class TestAmidAStore:
    """Python code may run while a value is stored: here the clock, which invalidates when asked for the n-th time."""

    @pytest.mark.parametrize("how", ["fill", "load"])
    def test_an_invalidation_amid_a_fill(self, how: str) -> None:
        """Whenever it comes, and though this worker has looked at what was invalidated before it stores."""
        asked = most = 0
        for at in range(1, 20):
            one, two = workers()
            asked = self.stored_amid(one, two, how, at)
            assert one.get("user:1") is None
            if asked < at:
                break
            most = max(most, asked)
        assert asked < at, "there are more moments than were tried"
        assert most > 0

    def stored_amid(self, one: Handler, two: Handler, how: str, at: int) -> int:
        """Store what was missed before; how often the time was asked for, if it was that often."""
        store, key = store_of(one), one._key("user:1")
        asked = 0

        def now() -> float:
            nonlocal asked
            asked += 1
            if asked == at:
                store_of(two).outdate_patterns(["user:*"])
                len(store)
            return 1000.0

        token = store._token(key)
        if how == "fill":
            one.get("user:1")
        clock_follow(now)
        try:
            if how == "fill":
                one.set("user:1", "loaded before")
            else:
                store._fill(key, "loaded before", token)
        finally:
            clock_system()
        if asked < at:
            one.delete("user:1")
        return asked

    @pytest.mark.parametrize("at", range(1, 6))
    @pytest.mark.parametrize("how", ["patterns", "clear"])
    def test_an_invalidation_amid_a_removal(self, how: str, at: int) -> None:
        """What another worker says while this one removes something is not taken for what it says itself."""
        one, two = workers()
        fill(one)
        asked = 0

        def now() -> float:
            nonlocal asked
            asked += 1
            if asked == at and how == "clear":
                two.clear()
            elif asked == at:
                store_of(two).outdate_patterns(["team:*"])
            return 1000.0

        clock_follow(now)
        try:
            store_of(one).remove_matching(KeyPattern("user:1"))
            while asked < at:
                store_of(one).remove_matching(KeyPattern("user:1"))
        finally:
            clock_system()
        assert held(one) == ([] if how == "clear" else ["user:2"])


class TestRemoveMatching:
    """As `delete_pattern` uses it."""

    def test_it_counts_what_was_live_here_and_tells_the_others(self) -> None:
        """At once here, and exactly what matches there."""
        one, two = workers()
        fill(one, two)
        assert store_of(one).remove_matching(KeyPattern("user:*"), ":1:", "") == 2
        assert [held(one), held(two)] == [["team:1"]] * 2
        assert store_of(two).remove_matching(KeyPattern("user:*"), ":1:", "") == 0

    @pytest.mark.parametrize("others", ["patterns", "clear"])
    def test_it_forgets_nothing_that_others_said(self, others: str) -> None:
        """Neither what was said before nor what is said after it."""
        one, two = workers()
        fill(one, two)
        if others == "clear":
            two.clear()
        else:
            store_of(two).outdate_patterns(["team:*"])
        assert store_of(one).remove_matching(KeyPattern("user:1")) == (0 if others == "clear" else 1)
        assert held(one) == ([] if others == "clear" else ["user:2"])
        store_of(two).outdate_patterns(["user:2"])
        assert held(one) == []

    def test_a_load_that_began_before_is_not_stored(self) -> None:
        """Also where this process has looked already."""
        (one,) = workers(1)
        key = one._key("user:1")
        token = store_of(one)._token(key)
        assert store_of(one).remove_matching(KeyPattern("user:*")) == 0
        assert not store_of(one)._fill(key, "loaded before", token)


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


class TestThreads:
    def test_nothing_outdated_is_served_while_threads_fill_and_invalidate(self) -> None:
        """Once an invalidation has returned, no value that was made before it is found under a key that matches."""
        caches = workers(2)
        keys = [f"user:{number}" for number in range(8)]
        made = dict.fromkeys(keys, 0)  # what the source of each says
        over, failures = threading.Event(), []

        def read(cache: Handler) -> None:
            while not over.is_set():
                for key in keys:
                    known = made[key]
                    found = cache.get(key)
                    if found is None:
                        cache.set(key, made[key])
                    elif found < known - 1:  # the last change may not be said yet
                        failures.append((key, found, known))

        def write(some: list[str], cache: Handler) -> None:
            for _ in range(300):
                for key in some:
                    made[key] += 1
                    store_of(cache).outdate_patterns([f"{key}*", "nothing:*"])
                    for each in caches:
                        found = each.get(key)
                        if found is not None and found < made[key]:
                            failures.append((key, found, made[key]))
            over.set()

        threads = [threading.Thread(target=read, args=(cache,)) for cache in caches * 2]
        threads += [threading.Thread(target=write, args=(keys[at::2], caches[at])) for at in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []


class PatternMachine(RuleBasedStateMachine):
    """Two workers: each answer is exactly that of a model that removes what matches everywhere at once."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.caches = workers(2)
        self.entries: list[dict[str, int]] = [{}, {}]
        self.missed: list[set[str]] = [set(), set()]
        self.dead: list[set[str]] = [set(), set()]
        self.loads: list[tuple[int, str, int, list[bool]]] = []
        self.serial = 0

    def teardown(self) -> None:
        clock_system()
        tokens_forget()

    which = st.integers(0, 1)
    keys = st.sampled_from(["a", "b", "ab", "ba"])
    patterns = st.lists(
        st.sampled_from(["a", "a*", "*b", "?", "[^a]*", "nothing", "*"]), min_size=1, max_size=3
    )

    @rule(which=which, key=keys)
    def get(self, which: int, key: str) -> None:
        expected = self.entries[which].get(key)
        assert self.caches[which].get(key) == expected
        if expected is None:
            self.missed[which].add(key)
            self.dead[which].discard(key)

    @rule(which=which, key=keys)
    def store(self, which: int, key: str) -> None:
        self.serial += 1
        self.caches[which].set(key, self.serial)
        is_fill = key in self.missed[which]
        self.missed[which].discard(key)
        if not is_fill:
            self.outdated({key}, other=1 - which)
        if not is_fill or key not in self.dead[which]:
            self.entries[which][key] = self.serial
            # A write outdates the loads of its own memory, a fill of the same thing does not.
            self.stop_loads(which, {key}, only_writes=is_fill)

    def stop_loads(self, which: int, keys: set[str], *, only_writes: bool = False) -> None:
        for worker, key, _, good in self.loads:
            if worker == which and key in keys and not only_writes:
                good[0] = False

    def outdated(self, keys: set[str], other: int) -> None:
        """Of a write: the other worker's entries, fills and loads."""
        for key in keys:
            self.entries[other].pop(key, None)
            if key in self.missed[other]:
                self.dead[other].add(key)
        self.stop_loads(other, keys)

    @rule(which=which, patterns=patterns, is_removing=st.booleans())
    def invalidate(self, which: int, patterns: list[str], is_removing: bool) -> None:
        taken = {
            key for key in ("a", "b", "ab", "ba") if any(KeyPattern(each).matches(key) for each in patterns)
        }
        if is_removing:
            taken = {key for key in taken if KeyPattern(patterns[0]).matches(key)}
            expected = len(taken & self.entries[which].keys())
            assert store_of(self.caches[which]).remove_matching(KeyPattern(patterns[0])) == expected
        else:
            store_of(self.caches[which]).outdate_patterns(patterns)
        self.missed[which].clear()
        for worker in (0, 1):
            for key in taken:
                self.entries[worker].pop(key, None)
                if key in self.missed[worker]:
                    self.dead[worker].add(key)
            self.stop_loads(worker, taken)

    @rule(which=which, key=keys)
    def begin_load(self, which: int, key: str) -> None:
        token = store_of(self.caches[which])._token(key)
        self.loads.append((which, key, token, [True]))

    @rule()
    def end_load(self) -> None:
        if not self.loads:
            return
        which, key, token, good = self.loads.pop(0)
        self.serial += 1
        store = store_of(self.caches[which])
        assert store._is_current(key, token) is good[0]
        assert store._fill(key, self.serial, token) is good[0]
        self.missed[which].discard(key)
        if good[0]:
            self.entries[which][key] = self.serial


PatternMachine.TestCase.settings = MODEL
TestMachine = PatternMachine.TestCase
