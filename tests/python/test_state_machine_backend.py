"""The native backend against LocMemCache, and two workers of it against a model of what they tell each other."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("django")

from backend_handlers import Handler, handler
from django.core.cache.backends import base, locmem
from driven_clock import Clock
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from profiles import MODEL

from oxicache._native import NativeStore, clock_system, tokens_forget

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

# "1:a" under version 1 and "a" under version "1:1" are one key of Django's; so are 1 and "1".
keys = st.sampled_from(["a", "b", "1:a", 1, "1", "\xe9\u20ac", "\ud800", ("t",), None])
versions = st.sampled_from([None, 1, "1", 2, "1:1", 2.0, True])
values = st.sampled_from([None, 0, 7, "text", [1, {"two": [2]}], {"k": (1, [2])}, 2.5, range(3)])
timeouts = st.sampled_from([base.DEFAULT_TIMEOUT, None, 0, -1, 5, 5.5, 20])


class LocMemMachine(RuleBasedStateMachine):
    """One thread cannot tell the native backend from LocMemCache, whatever it calls in whichever order."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.modules = [(module, module.time) for module in (base, locmem)]
        for module, _ in self.modules:
            module.time = SimpleNamespace(time=lambda: self.clock.at)  # type: ignore[attr-defined]

    def teardown(self) -> None:
        for module, time in self.modules:
            module.time = time  # type: ignore[attr-defined]
        clock_system()
        tokens_forget()

    @initialize(coherence=st.sampled_from(["host", "process"]), isolation=st.sampled_from(["auto", "pickle"]))
    def make(self, coherence: str, isolation: str) -> None:
        name = "locmem"  # always the same, so that whether two keys share a word is no matter of luck
        settings: list[dict[str, Any]] = [
            {"TIMEOUT": 10},
            {"TIMEOUT": None, "KEY_PREFIX": "p"},
            {"VERSION": 2},
        ]
        first = handler(name, params=settings[0], coherence=coherence, isolation=isolation)
        store = first._store
        assert store is not None
        self.pairs = [(first, locmem.LocMemCache(name, settings[0]))]
        self.pairs += [(Handler(store, params), locmem.LocMemCache(name, params)) for params in settings[1:]]
        self.pairs[0][1].clear()

    def both(self, which: int, call: Callable[[Any], Any]) -> None:
        native, reference = self.pairs[which]
        assert outcome(lambda: call(native)) == outcome(lambda: call(reference))

    @rule(which=st.integers(0, 2), key=keys, version=versions)
    def get(self, which: int, key: Any, version: Any) -> None:
        self.both(which, lambda cache: cache.get(key, "default", version))
        if version is None:
            self.both(which, lambda cache: cache.get(key))

    @rule(which=st.integers(0, 2), wanted=st.lists(keys, max_size=4), version=versions)
    def get_many(self, which: int, wanted: list[Any], version: Any) -> None:
        self.both(which, lambda cache: list(cache.get_many(wanted, version).items()))

    @rule(which=st.integers(0, 2), key=keys, value=values, timeout=timeouts, version=versions)
    def set(self, which: int, key: Any, value: Any, timeout: Any, version: Any) -> None:
        self.both(which, lambda cache: cache.set(key, value, timeout, version))

    @rule(which=st.integers(0, 2), data=st.dictionaries(keys, values, max_size=3), timeout=timeouts)
    def set_many(self, which: int, data: dict[Any, Any], timeout: Any) -> None:
        self.both(which, lambda cache: cache.set_many(data, timeout))

    @rule(which=st.integers(0, 2), key=keys, value=values, timeout=timeouts, version=versions)
    def add(self, which: int, key: Any, value: Any, timeout: Any, version: Any) -> None:
        self.both(which, lambda cache: cache.add(key, value, timeout, version))

    @rule(which=st.integers(0, 2), key=keys, timeout=timeouts, version=versions)
    def touch(self, which: int, key: Any, timeout: Any, version: Any) -> None:
        self.both(which, lambda cache: cache.touch(key, timeout, version))

    @rule(which=st.integers(0, 2), key=keys, delta=st.sampled_from([1, -2, 0.5, [3]]), version=versions)
    def incr(self, which: int, key: Any, delta: Any, version: Any) -> None:
        self.both(which, lambda cache: cache.incr(key, delta, version))

    @rule(which=st.integers(0, 2), key=keys)
    def decr(self, which: int, key: Any) -> None:
        self.both(which, lambda cache: cache.decr(key))

    @rule(which=st.integers(0, 2), key=keys)
    def incr_version(self, which: int, key: Any) -> None:
        self.both(which, lambda cache: cache.incr_version(key))

    @rule(which=st.integers(0, 2), key=keys, value=values)
    def get_or_set(self, which: int, key: Any, value: Any) -> None:
        self.both(which, lambda cache: cache.get_or_set(key, lambda: value))

    @rule(which=st.integers(0, 2), key=keys, version=versions)
    def delete(self, which: int, key: Any, version: Any) -> None:
        # LocMemCache counts an entry that is over and was not noticed yet as deleted: it is made to notice.
        self.both(which, lambda cache: (cache.has_key(key, version), cache.delete(key, version)))

    @rule(which=st.integers(0, 2), some=st.lists(keys, max_size=3))
    def delete_many(self, which: int, some: list[Any]) -> None:
        self.both(which, lambda cache: cache.delete_many(some))

    @rule(which=st.integers(0, 2), key=keys)
    def contains(self, which: int, key: Any) -> None:
        self.both(which, lambda cache: key in cache)

    @rule(which=st.integers(0, 2))
    def clear(self, which: int) -> None:
        self.both(which, lambda cache: cache.clear())

    @rule(seconds=st.sampled_from([1.0, 5.0, 12.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def request_ends(self) -> None:
        tokens_forget()

    @rule(which=st.integers(0, 2), version=st.sampled_from([1, 2, "1"]))
    def other_version(self, which: int, version: Any) -> None:
        self.both(which, lambda cache: setattr(cache, "version", version))

    @rule(which=st.integers(0, 2), is_own=st.booleans())
    def key_function(self, which: int, is_own: bool) -> None:
        made = (lambda key, prefix, version: f"{prefix}:{version}:{key}") if is_own else base.default_key_func
        self.both(which, lambda cache: setattr(cache, "key_func", made))


def outcome(call: Callable[[], Any]) -> tuple[str, Any]:
    """What a call came to: its value with its type, or its error with its message."""
    try:
        value = call()
    except (TypeError, ValueError) as error:
        return type(error).__name__, str(error)
    return type(value).__name__, value


@dataclass
class Entry:
    """What a worker of the model holds under a key."""

    value: Any
    stamp: int
    tags: dict[str, int]
    deadline: float


@dataclass
class Worker:
    """One worker of the model: its entries, and what it missed."""

    entries: dict[str, Entry] = field(default_factory=dict)
    tokens: dict[str, tuple[int, int, int, float]] = field(default_factory=dict)
    cleared: int = 0


class WorkersMachine(RuleBasedStateMachine):
    """Two workers of one location: a fill outdates nothing, a write or a deletion outdates every other copy at once."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.caches = [handler("workers", params={"TIMEOUT": 60}) for _ in range(2)]
        self.workers = [Worker(), Worker()]
        self.words: dict[str, int] = {}
        self.tags: dict[str, int] = {}
        self.all_tags = self.clears = self.serial = 0

    def teardown(self) -> None:
        clock_system()
        tokens_forget()

    names = st.sampled_from(["a", "b", "c"])
    which = st.integers(0, 1)
    some_tags = st.sets(st.sampled_from(["x", "y"]))

    def live(self, worker: Worker, key: str) -> Entry | None:
        if worker.cleared != self.clears:
            worker.entries.clear()
            worker.cleared = self.clears
        entry = worker.entries.get(key)
        if entry is None or self.clock.at >= entry.deadline or entry.stamp != self.words.get(key, 0):
            return None
        is_current = all(self.tags.get(tag, 0) == seen for tag, seen in entry.tags.items())
        return entry if is_current else None

    def missed(self, worker: Worker, key: str) -> None:
        worker.tokens[key] = (self.words.get(key, 0), self.clears, self.all_tags, self.clock.at)

    def moved(self, which: int, place: int, before: int) -> None:
        """A worker moves a word itself: what it stores next comes after that, unless others have moved it before."""
        tokens = self.workers[which].tokens
        for key, token in tokens.items():
            if token[place] == before:
                word, clears, all_tags, at = token
                tokens[key] = (word, clears + (place == 1), all_tags + (place == 2), at)

    def put(self, worker: Worker, key: str, value: Any, tags: set[str]) -> None:
        seen = {tag: self.tags.get(tag, 0) for tag in tags}
        worker.entries[key] = Entry(value, self.words.get(key, 0), seen, self.clock.at + 60)

    @rule(which=which, key=names)
    def get(self, which: int, key: str) -> None:
        worker = self.workers[which]
        entry = self.live(worker, key)
        assert self.caches[which].get(key, "none") == (entry.value if entry else "none")
        if entry is None:
            self.missed(worker, key)

    @rule(which=which, wanted=st.lists(names, max_size=3))
    def get_many(self, which: int, wanted: list[str]) -> None:
        worker = self.workers[which]
        expected = {key: entry.value for key in wanted if (entry := self.live(worker, key))}
        assert self.caches[which].get_many(wanted) == expected
        for key in set(wanted) - set(expected):
            self.missed(worker, key)

    @rule(which=which, key=names)
    def has_key(self, which: int, key: str) -> None:
        worker = self.workers[which]
        assert self.caches[which].has_key(key) is (self.live(worker, key) is not None)
        if self.live(worker, key) is None:
            self.missed(worker, key)

    @rule(which=which, key=names, tags=some_tags, write=st.booleans())
    def set(self, which: int, key: str, tags: set[str], write: bool) -> None:
        worker = self.workers[which]
        self.live(worker, key)
        self.serial += 1
        self.caches[which].set(key, self.serial, tags=tags, write=write)
        token = worker.tokens.pop(key, None)
        if token is not None and self.clock.at - token[3] < 10 and not write:
            is_current = token[:2] == (self.words.get(key, 0), self.clears)
            if is_current and (not tags or token[2] == self.all_tags):
                self.put(worker, key, self.serial, tags)
            return
        self.words[key] = self.words.get(key, 0) + 1
        self.put(worker, key, self.serial, tags)

    @rule(which=which, key=names)
    def add(self, which: int, key: str) -> None:
        worker = self.workers[which]
        self.serial += 1
        is_missing = self.live(worker, key) is None
        assert self.caches[which].add(key, self.serial) is is_missing
        worker.tokens.pop(key, None)
        if is_missing:
            self.put(worker, key, self.serial, set())

    @rule(which=which, key=names)
    def incr(self, which: int, key: str) -> None:
        worker = self.workers[which]
        entry = self.live(worker, key)
        worker.tokens.pop(key, None)
        if entry is None:
            with pytest.raises(ValueError, match=f"Key ':1:{key}' not found"):
                self.caches[which].incr(key)
        else:
            entry.value += 1000
            assert self.caches[which].incr(key, 1000) == entry.value

    @rule(which=which, key=names)
    def touch(self, which: int, key: str) -> None:
        worker = self.workers[which]
        entry = self.live(worker, key)
        assert self.caches[which].touch(key, 100) is (entry is not None)
        worker.tokens.pop(key, None)
        if entry is not None:
            entry.deadline = self.clock.at + 100

    @rule(which=which, key=names)
    def delete(self, which: int, key: str) -> None:
        worker = self.workers[which]
        assert self.caches[which].delete(key) is (self.live(worker, key) is not None)
        worker.tokens.pop(key, None)
        worker.entries.pop(key, None)
        self.words[key] = self.words.get(key, 0) + 1

    @rule(which=which)
    def clear(self, which: int) -> None:
        self.caches[which].clear()
        self.moved(which, 1, self.clears)
        self.clears += 1

    @rule(which=which, tag=st.sampled_from(["x", "y"]))
    def delete_by_tag(self, which: int, tag: str) -> None:
        self.caches[which].delete_by_tag(tag)
        self.moved(which, 2, self.all_tags)
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.all_tags += 1

    @precondition(lambda self: any(worker.tokens for worker in self.workers))
    @rule()
    def request_ends(self) -> None:
        tokens_forget()
        for worker in self.workers:
            worker.tokens.clear()

    @rule(seconds=st.sampled_from([1.0, 9.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def holds_no_more_than_the_model(self) -> None:
        for cache, worker in zip(self.caches, self.workers, strict=True):
            store = cache._store
            assert store is not None
            held = {parts[2] for parts in NativeStore.keys(store)}
            assert held == {key for key in ("a", "b", "c") if self.live(worker, key)}


LocMemMachine.TestCase.settings = MODEL
TestOneThread = LocMemMachine.TestCase
WorkersMachine.TestCase.settings = MODEL
TestTwoWorkers = WorkersMachine.TestCase
