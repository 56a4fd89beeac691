"""ProjectDeletionTracker: which ids are being deleted."""

import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest

from oxicache._native import DELETION_SET, ProjectDeletionTracker

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

HOUR = 3600.0


class WallClock:
    """Python's `time.time`, driven by hand: the tracker reads it at call time."""

    def __init__(self) -> None:
        self.at = 1_700_000_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def wall() -> Iterator[WallClock]:
    clock = WallClock()
    with mock.patch("time.time", clock):
        yield clock


@pytest.fixture
def tracker(wall: WallClock) -> ProjectDeletionTracker:
    return ProjectDeletionTracker()


class Project:
    """A stand-in for a model instance: Django sets pk and id to None once the row is deleted."""

    def __init__(self, pk: int | None) -> None:
        self.pk = self.id = pk

    def delete(self) -> None:
        self.pk = self.id = None


class TestTracking:
    def test_add_and_discard(self, tracker: ProjectDeletionTracker) -> None:
        """An id is tracked from add to discard; discarding what is not there is fine."""
        assert 7 not in tracker
        tracker.add(7)
        assert 7 in tracker
        assert 8 not in tracker
        tracker.discard(7)
        assert 7 not in tracker
        tracker.discard(7)
        tracker.discard("never")

    def test_add_twice_and_discard_once(self, tracker: ProjectDeletionTracker) -> None:
        """Adds are not counted, as in a set."""
        tracker.add(7)
        tracker.add(7)
        tracker.discard(7)
        assert 7 not in tracker

    @pytest.mark.parametrize("project_id", [None, 0, -1, "7", 2**80, ("app.Model", 7)], ids=repr)
    def test_any_hashable_id(self, tracker: ProjectDeletionTracker, project_id: Any) -> None:
        """Ids are whatever a primary key may be; None is accepted."""
        tracker.add(project_id)
        assert project_id in tracker
        assert tracker._deletion_set == {project_id}

    def test_ids_are_equal_as_in_a_set(self, tracker: ProjectDeletionTracker) -> None:
        """1, True and 1.0 are one id; "1" is another."""
        tracker.add(1)
        assert True in tracker
        assert 1.0 in tracker
        assert "1" not in tracker
        tracker.discard(1.0)
        assert 1 not in tracker

    def test_an_unhashable_id_cannot_be_added(self, tracker: ProjectDeletionTracker) -> None:
        """`add` raises Python's own TypeError; `discard` and `in` never raise, as nothing of the kind is tracked."""
        with pytest.raises(TypeError, match="unhashable"):
            tracker.add([])  # type: ignore[arg-type]
        tracker.discard([])  # type: ignore[arg-type]
        assert [] not in tracker

    def test_clear_all_counts(self, tracker: ProjectDeletionTracker) -> None:
        """Everything goes, and the call says how much."""
        for number in range(5):
            tracker.add(number)
        assert tracker.clear_all() == 5
        assert tracker.clear_all() == 0
        assert 3 not in tracker


class TestStaleness:
    def test_an_id_is_stale_strictly_past_the_threshold(
        self, tracker: ProjectDeletionTracker, wall: WallClock
    ) -> None:
        """At exactly one hour it stays, a moment later `force_cleanup` removes and counts it."""
        tracker.add(7)
        wall.at += HOUR
        assert tracker.force_cleanup() == 0
        wall.at += 0.5
        assert 7 in tracker, "membership alone does not expire anything"
        assert tracker.force_cleanup() == 1
        assert 7 not in tracker

    def test_adding_again_refreshes_the_stamp(self, tracker: ProjectDeletionTracker, wall: WallClock) -> None:
        """The hour counts from the last add."""
        tracker.add(7)
        wall.at += HOUR
        tracker.add(7)
        wall.at += HOUR
        assert tracker.force_cleanup() == 0

    def test_add_cleans_up_once_a_quarter_of_the_threshold(
        self, tracker: ProjectDeletionTracker, wall: WallClock
    ) -> None:
        """An add more than threshold / 4 after the last cleanup removes the stale and keeps itself."""
        tracker.add(1)
        wall.at += HOUR + 1
        tracker.add(2)
        assert tracker._deletion_set == {2}
        assert tracker._last_cleanup == wall.at

    def test_add_does_not_clean_up_before_that(
        self, tracker: ProjectDeletionTracker, wall: WallClock
    ) -> None:
        """Within threshold / 4 of the last cleanup a stale id is left alone."""
        tracker.add(1)
        wall.at += HOUR + 1
        tracker._last_cleanup = wall.at - HOUR / 4
        tracker.add(2)
        assert tracker._deletion_set == {1, 2}

    def test_force_cleanup_leaves_the_automatic_one_alone(
        self, tracker: ProjectDeletionTracker, wall: WallClock
    ) -> None:
        """`force_cleanup` does not move `_last_cleanup`."""
        before = tracker._last_cleanup
        wall.at += 10
        tracker.force_cleanup()
        assert tracker._last_cleanup == before

    def test_the_threshold_can_be_assigned(self, tracker: ProjectDeletionTracker, wall: WallClock) -> None:
        """`_cleanup_threshold` is in seconds and counts at once."""
        assert tracker._cleanup_threshold == 3600
        tracker.add(7)
        tracker._cleanup_threshold = 10
        wall.at += 11
        assert tracker.force_cleanup() == 1

    def test_private_cleanups_as_documented(self, tracker: ProjectDeletionTracker, wall: WallClock) -> None:
        """`_maybe_cleanup` obeys the interval, `_cleanup_stale_entries` takes the time as its argument."""
        tracker.add(1)
        wall.at += 10
        tracker._maybe_cleanup()
        assert 1 in tracker
        tracker._cleanup_stale_entries(wall.at + HOUR + 1)
        assert 1 not in tracker
        tracker.add(2)
        wall.at += HOUR + 1
        tracker._maybe_cleanup()
        assert 2 not in tracker


class TestDeleting:
    def test_a_pk_is_tracked_while_the_block_is_open(self, tracker: ProjectDeletionTracker) -> None:
        """`with tracker.deleting(pk)` tracks the pk and nothing after."""
        with tracker.deleting(7):
            assert 7 in tracker
        assert 7 not in tracker

    def test_blocks_are_counted(self, tracker: ProjectDeletionTracker) -> None:
        """Of two nested blocks the inner end changes nothing."""
        with tracker.deleting(7):
            with tracker.deleting(7):
                assert 7 in tracker
            assert 7 in tracker
        assert 7 not in tracker

    def test_blocks_need_not_nest(self, tracker: ProjectDeletionTracker) -> None:
        """Two overlapping blocks track until the last one ends, in whatever order."""
        one, other = tracker.deleting(7), tracker.deleting(7)
        one.__enter__()
        other.__enter__()
        one.__exit__(None, None, None)
        assert 7 in tracker
        other.__exit__(None, None, None)
        assert 7 not in tracker

    def test_an_instance_is_tracked_by_the_pk_it_had(self, tracker: ProjectDeletionTracker) -> None:
        """Django sets pk to None after delete; the block still ends what it began."""
        project = Project(7)
        with tracker.deleting(project):
            assert 7 in tracker
            project.delete()
        assert 7 not in tracker
        assert None not in tracker

    def test_an_exception_ends_the_block_and_goes_on(self, tracker: ProjectDeletionTracker) -> None:
        """A failing delete leaves nothing behind."""
        with pytest.raises(LookupError, match="protected"), tracker.deleting(7):
            raise LookupError("protected")
        assert 7 not in tracker

    def test_an_open_block_never_goes_stale(self, tracker: ProjectDeletionTracker, wall: WallClock) -> None:
        """A long deletion stays tracked, whatever is cleaned up meanwhile."""
        with tracker.deleting(7):
            wall.at += 10 * HOUR
            assert tracker.force_cleanup() == 0
            tracker.add(8)
            tracker._cleanup_stale_entries(wall.at)
            assert 7 in tracker
        assert 7 not in tracker

    def test_discard_inside_a_block_does_not_end_it(self, tracker: ProjectDeletionTracker) -> None:
        """The documents' own `finally: discard(id)` may run inside a block."""
        with tracker.deleting(7):
            tracker.add(7)
            tracker.discard(7)
            assert 7 in tracker
        assert 7 not in tracker

    def test_a_plain_add_outlives_the_block(self, tracker: ProjectDeletionTracker) -> None:
        """What was added by hand is discarded by hand."""
        tracker.add(7)
        with tracker.deleting(7):
            pass
        assert 7 in tracker
        tracker.discard(7)
        assert 7 not in tracker

    def test_leaving_a_block_that_was_never_entered_changes_nothing(
        self, tracker: ProjectDeletionTracker
    ) -> None:
        """An exit too many neither fails nor ends what others track."""
        tracker.add(7)
        tracker.deleting(7).__exit__(None, None, None)
        tracker.deleting(8).__exit__(None, None, None)
        assert 7 in tracker
        with tracker.deleting(7):
            tracker.discard(7)
            assert 7 in tracker
        assert 7 not in tracker

    def test_an_unsaved_instance_is_a_value_error(self, tracker: ProjectDeletionTracker) -> None:
        """Without a pk there is nothing to track; the message shows the instance."""
        with pytest.raises(ValueError, match="Project"):
            tracker.deleting(Project(None))

    def test_an_unhashable_pk_is_a_type_error(self, tracker: ProjectDeletionTracker) -> None:
        """Raised before the block is entered, with nothing tracked."""
        with pytest.raises(TypeError, match="unhashable"), tracker.deleting([7]):
            raise AssertionError("the block must not run")
        assert len(tracker._deletion_set) == 0


class TestWhatTheDocumentsReachFor:
    def test_set_and_stamps_are_live(self, tracker: ProjectDeletionTracker, wall: WallClock) -> None:
        """`_deletion_set` and `_timestamps` show what is tracked, and since when."""
        ids, stamps = tracker._deletion_set, tracker._timestamps
        tracker.add(7)
        assert 7 in ids
        assert len(ids) == len(stamps) == 1
        assert list(ids) == [7]
        assert stamps[7] == wall.at
        assert dict(stamps) == {7: wall.at}
        tracker.discard(7)
        assert len(ids) == len(stamps) == 0
        with pytest.raises(KeyError):
            stamps[7]

    def test_a_stamp_can_be_assigned(self, tracker: ProjectDeletionTracker, wall: WallClock) -> None:
        """Tests of the documents' system age an entry by its stamp."""
        tracker.add(7)
        tracker._timestamps[7] = wall.at - HOUR - 1
        assert tracker.force_cleanup() == 1

    def test_the_lock_can_be_held_while_the_set_is_read(self, tracker: ProjectDeletionTracker) -> None:
        """Document 000 reads lengths under `_lock`; that must not block itself."""
        tracker.add(7)
        with tracker._lock:
            assert len(tracker._deletion_set) == 1
            assert len(tracker._timestamps) == 1

    def test_another_thread_waits_for_the_lock(self, tracker: ProjectDeletionTracker) -> None:
        """`_lock` is a lock that Python sees: it excludes whoever takes it too."""
        asked, got = threading.Event(), threading.Event()

        def other() -> None:
            asked.set()
            with tracker._lock:
                got.set()

        thread = threading.Thread(target=other, daemon=True)
        with tracker._lock:
            thread.start()
            assert asked.wait(30)
            assert not got.is_set()
        assert got.wait(30)
        thread.join(30)

    def test_the_global_one(self) -> None:
        """DELETION_SET is a tracker of its own."""
        assert type(DELETION_SET) is ProjectDeletionTracker
        with DELETION_SET.deleting("only-here"):
            assert "only-here" in DELETION_SET
            assert "only-here" not in ProjectDeletionTracker()
        assert "only-here" not in DELETION_SET

    @pytest.mark.parametrize(
        "duplicate", [pickle.dumps, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"]
    )
    def test_it_cannot_be_pickled_or_copied(
        self, tracker: ProjectDeletionTracker, duplicate: Callable[[Any], object]
    ) -> None:
        """Both raise a TypeError that names the class."""
        with pytest.raises(TypeError, match="ProjectDeletionTracker"):
            duplicate(tracker)


class TestReentrancy:
    def test_an_id_whose_equality_asks_the_tracker(self, tracker: ProjectDeletionTracker) -> None:
        """`__eq__` and `__hash__` may call the tracker they are asked by."""
        asked: list[object] = []

        class Curious:
            def __hash__(self) -> int:
                return hash(7 in tracker) & 0

            def __eq__(self, other: object) -> bool:
                if not asked:
                    asked.append(other)
                    tracker.add("asked")
                    tracker.discard("asked")
                return self is other

        first, second = Curious(), Curious()
        tracker.add(first)
        tracker.add(second)
        assert first in tracker
        assert second in tracker
        assert len(tracker._deletion_set) == 2
        tracker.discard(first)
        assert first not in tracker
        assert second in tracker

    def test_an_error_in_equality_passes_through(self, tracker: ProjectDeletionTracker) -> None:
        """The exception is the key's own, and what was tracked still is."""

        class Broken:
            def __hash__(self) -> int:
                return 7

            def __eq__(self, other: object) -> bool:
                raise LookupError("no equality")

        tracker.add(7)
        for act in (tracker.add, tracker.discard, tracker.__contains__):
            with pytest.raises(LookupError, match="no equality"):
                act(Broken())
        assert 7 in tracker
        assert len(tracker._deletion_set) == 1


@pytest.mark.parametrize("view", ["_deletion_set", "_timestamps"])
def test_clearing_a_view_ends_and_spares_what_is_being_deleted(view: str) -> None:
    """A view's `clear` removes every id but those inside an open `deleting()`, and ends."""
    tracker = ProjectDeletionTracker()
    tracker.add(1)
    with tracker.deleting(2):
        getattr(tracker, view).clear()
        assert list(tracker._deletion_set) == [2]
        with pytest.raises(KeyError):
            getattr(tracker, view).pop() if view == "_deletion_set" else tracker._timestamps.popitem()
    assert len(tracker._deletion_set) == 0


def test_clear_all_leaves_open_blocks_their_ids() -> None:
    """`clear_all` inside `deleting()` does not let the end of an older block end a newer one's tracking."""
    tracker = ProjectDeletionTracker()
    older = tracker.deleting(1)
    older.__enter__()
    assert tracker.clear_all() == 0
    with tracker.deleting(1):
        older.__exit__(None, None, None)
        assert 1 in tracker
    assert 1 not in tracker
