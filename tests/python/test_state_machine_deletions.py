"""ProjectDeletionTracker against a dict of stamps and a count of open blocks."""

from collections import Counter
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from profiles import MODEL

from oxicache._native import ProjectDeletionTracker

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

ids = st.sampled_from([1, 2, 3, None, "1", ("m", 1), 2**70])
# Around a quarter of the threshold and around the threshold itself, where the two comparisons are strict.
steps = st.sampled_from([0.5, 300.0, 899.5, 900.0, 900.5, 1800.0, 3599.5, 3600.0, 3600.5, 10_000.0])


class TrackerMachine(RuleBasedStateMachine):
    """An id is tracked while it has a stamp by `add`, or while a block is open on it."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 1_700_000_000.0
        self.patch = mock.patch("time.time", self.read_clock)
        self.patch.start()
        self.tracker = ProjectDeletionTracker()
        self.threshold = 3600.0
        self.last_cleanup = self.at
        self.added: dict[Any, float] = {}
        self.open: list[tuple[Any, AbstractContextManager[Any]]] = []

    def read_clock(self) -> float:
        return self.at

    def teardown(self) -> None:
        self.patch.stop()

    @property
    def held(self) -> Counter[Any]:
        return Counter(project_id for project_id, _block in self.open)

    @property
    def tracked(self) -> set[Any]:
        return set(self.added) | set(self.held)

    def clean(self, at: float) -> int:
        stale = [i for i, stamp in self.added.items() if at - stamp > self.threshold and i not in self.held]
        for project_id in stale:
            del self.added[project_id]
        return len(stale)

    def maybe_clean(self) -> None:
        if self.at - self.last_cleanup > self.threshold / 4:
            self.clean(self.at)
            self.last_cleanup = self.at

    @rule(project_id=ids)
    def add(self, project_id: Any) -> None:
        self.tracker.add(project_id)
        self.added[project_id] = self.at
        self.maybe_clean()

    @rule(project_id=ids)
    def discard(self, project_id: Any) -> None:
        self.tracker.discard(project_id)
        self.added.pop(project_id, None)

    @rule(project_id=ids)
    def enter(self, project_id: Any) -> None:
        block = self.tracker.deleting(project_id)
        block.__enter__()
        self.open.append((project_id, block))
        # Whether entering a block cleans up is not promised; that it does so only when due is.
        if self.tracker._last_cleanup != self.last_cleanup:
            self.maybe_clean()
            assert self.tracker._last_cleanup == self.last_cleanup

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 100))
    def leave(self, which: int) -> None:
        project_id, block = self.open.pop(which % len(self.open))
        # Nor is it promised whether a block renews the stamp of an id that is tracked besides.
        stamp = self.tracker._timestamps[project_id]
        if project_id in self.added:
            assert stamp >= self.added[project_id]
            self.added[project_id] = stamp
        block.__exit__(None, None, None)

    @rule()
    def force_cleanup(self) -> None:
        assert self.tracker.force_cleanup() == self.clean(self.at)

    @rule()
    def maybe_cleanup(self) -> None:
        self.tracker._maybe_cleanup()
        self.maybe_clean()

    @rule(ahead=steps)
    def cleanup_at(self, ahead: float) -> None:
        self.tracker._cleanup_stale_entries(self.at + ahead)
        self.clean(self.at + ahead)

    @precondition(lambda self: not self.open)
    @rule()
    def clear_all(self) -> None:
        assert self.tracker.clear_all() == len(self.added)
        self.added.clear()

    @rule(threshold=st.sampled_from([10.0, 3600.0, 100_000.0]))
    def change_threshold(self, threshold: float) -> None:
        self.tracker._cleanup_threshold = self.threshold = threshold

    @rule(by=steps)
    def advance(self, by: float) -> None:
        self.at += by

    @invariant()
    def same_ids(self) -> None:
        tracked = self.tracked
        assert set(self.tracker._deletion_set) == set(self.tracker._timestamps) == tracked
        assert len(self.tracker._deletion_set) == len(self.tracker._timestamps) == len(tracked)
        for project_id in [1, 2, 3, None, "1", ("m", 1), 2**70, "never"]:
            assert (project_id in self.tracker) == (project_id in tracked)

    @invariant()
    def same_stamps(self) -> None:
        for project_id, stamp in self.added.items():
            if project_id not in self.held:
                assert self.tracker._timestamps[project_id] == stamp
        assert self.tracker._last_cleanup == self.last_cleanup


TestTracker = TrackerMachine.TestCase
TestTracker.settings = MODEL
