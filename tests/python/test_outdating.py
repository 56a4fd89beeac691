"""Pattern invalidations of stores that share words: what goes, where, and what is told besides."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("django")

from backend_handlers import Handler
from driven_clock import Clock
from pattern_workers import fill, held, store_of, workers

from oxicache import _native
from oxicache._native import KeyPattern, clock_system

pytestmark = pytest.mark.oxicache_real_clock


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
