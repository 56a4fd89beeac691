"""Workers that fill, write and invalidate by patterns in any order, against a model; and in threads."""

import threading

import pytest

pytest.importorskip("django")

from backend_handlers import Handler
from driven_clock import Clock
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from pattern_workers import store_of, workers
from profiles import MODEL

from oxicache._native import KeyPattern, clock_system, tokens_forget

pytestmark = pytest.mark.oxicache_real_clock


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
        # How often patterns had been invalidated when a key was missed, or when only its own worker had done so since.
        self.missed: list[dict[str, int]] = [{}, {}]
        self.steps = 0
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
            self.missed[which][key] = self.steps
            self.dead[which].discard(key)

    @rule(which=which, key=keys)
    def store(self, which: int, key: str) -> None:
        self.serial += 1
        self.caches[which].set(key, self.serial)
        is_fill = self.missed[which].pop(key, None) is not None
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
        for worker in (0, 1):
            for key in taken:
                self.entries[worker].pop(key, None)
                seen = self.missed[worker].get(key)
                if seen is not None and (worker != which or seen != self.steps):
                    self.dead[worker].add(key)
            self.stop_loads(worker, taken)
        for key, seen in self.missed[which].items():
            if seen == self.steps:  # what this worker stores next comes after what it has invalidated itself
                self.missed[which][key] += 1
        self.steps += 1

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
        self.missed[which].pop(key, None)
        if good[0]:
            self.entries[which][key] = self.serial


PatternMachine.TestCase.settings = MODEL
TestMachine = PatternMachine.TestCase
