"""ProjectDeletionTracker as document 001 (akvo) has it, and as its callers rely on it."""

import threading
import time
from typing import Any
from unittest import mock

import pytest

from oxicache import DELETION_SET, ProjectDeletionTracker
from oxicache.compat import akvo_rsr

HOUR = 3600


class Instance:
    """Like a model instance: Django sets its pk to None once it is deleted."""

    def __init__(self, pk: object) -> None:
        self.pk = pk

    def delete(self) -> None:
        self.pk = None


class DeletionTrackerContract:
    """What every tracker gives: subclasses say which."""

    @pytest.fixture
    def tracker(self, wall: Any) -> ProjectDeletionTracker:
        raise NotImplementedError

    # ---------------------------------------------------------------- the document

    def test_add_tracks(self, tracker: ProjectDeletionTracker) -> None:
        """001, "add(project_id)" and "__contains__(project_id)"."""
        assert 7 not in tracker
        tracker.add(7)
        assert 7 in tracker

    def test_discard_ends_tracking(self, tracker: ProjectDeletionTracker) -> None:
        """001, "discard(project_id)": safe to call even if not tracked."""
        tracker.add(7)
        tracker.discard(7)
        tracker.discard(7)
        assert 7 not in tracker

    def test_the_threshold_is_an_hour(self, tracker: ProjectDeletionTracker, wall: Any) -> None:
        """001, "Constructor": stale is what was added more than 3600 s ago, not what is exactly that old."""
        assert tracker._cleanup_threshold == HOUR
        tracker.add(7)
        wall.advance(HOUR)
        assert tracker.force_cleanup() == 0
        wall.advance(1)
        assert tracker.force_cleanup() == 1
        assert 7 not in tracker

    def test_force_cleanup_counts_and_leaves_the_fresh(
        self, tracker: ProjectDeletionTracker, wall: Any
    ) -> None:
        """001, "force_cleanup()": the number of stale entries removed; others stay."""
        tracker.add(1)
        tracker.add(2)
        wall.advance(HOUR + 1)
        tracker._last_cleanup = wall.now
        tracker.add(3)
        assert tracker.force_cleanup() == 2
        assert [number in tracker for number in (1, 2, 3)] == [False, False, True]

    def test_add_cleans_up_every_quarter_of_the_threshold(
        self, tracker: ProjectDeletionTracker, wall: Any
    ) -> None:
        """001, "add(project_id)", side effects: more than threshold/4 after the last cleanup, add removes the stale."""
        tracker.add(1)
        wall.advance(HOUR + 1)
        tracker.add(2)
        assert list(tracker._timestamps) == [2]
        assert tracker._last_cleanup == pytest.approx(wall.now)
        tracker._timestamps[2] = wall.now - 2 * HOUR
        wall.advance(HOUR / 4)
        tracker.add(3)
        assert 2 in tracker, "a quarter has to be exceeded"
        wall.advance(1)
        tracker.add(4)
        assert 2 not in tracker

    def test_the_private_cleanups_do_what_the_document_says(
        self, tracker: ProjectDeletionTracker, wall: Any
    ) -> None:
        """001, "_maybe_cleanup()" and "_cleanup_stale_entries(current_time)"."""
        tracker.add(1)
        tracker._cleanup_stale_entries(wall.now + HOUR)
        assert 1 in tracker
        tracker._cleanup_stale_entries(wall.now + HOUR + 1)
        assert 1 not in tracker
        tracker.add(2)
        tracker._timestamps[2] = wall.now - 2 * HOUR
        tracker._maybe_cleanup()
        assert 2 in tracker, "the last cleanup is less than a quarter of the threshold ago"
        wall.advance(HOUR / 4 + 1)
        tracker._maybe_cleanup()
        assert 2 not in tracker

    # ---------------------------------------------------------------- what callers rely on

    def test_adding_twice_and_discarding_once_ends_tracking(self, tracker: ProjectDeletionTracker) -> None:
        """Callers of 001: it is a set, add does not count."""
        tracker.add(7)
        tracker.add(7)
        tracker.discard(7)
        assert 7 not in tracker

    def test_adding_again_refreshes(self, tracker: ProjectDeletionTracker, wall: Any) -> None:
        """Callers of 001: the time counts from the last add."""
        tracker.add(7)
        wall.advance(HOUR)
        tracker.add(7)
        wall.advance(HOUR)
        assert tracker.force_cleanup() == 0

    def test_asking_does_not_expire(self, tracker: ProjectDeletionTracker, wall: Any) -> None:
        """Callers of 001: a stale entry is tracked until a cleanup removes it."""
        tracker.add(7)
        wall.advance(100 * HOUR)
        assert 7 in tracker

    def test_force_cleanup_leaves_last_cleanup_alone(
        self, tracker: ProjectDeletionTracker, wall: Any
    ) -> None:
        """Callers of 001: forcing does not put off the automatic one."""
        made = tracker._last_cleanup
        assert made == pytest.approx(wall.now)
        wall.advance(10)
        tracker.force_cleanup()
        assert tracker._last_cleanup == made

    def test_the_entry_just_added_survives_its_own_cleanup(
        self, tracker: ProjectDeletionTracker, wall: Any
    ) -> None:
        """Callers of 001: with a threshold of 0 too, add leaves its id tracked."""
        tracker._cleanup_threshold = 0
        wall.advance(1)
        tracker.add(7)
        assert 7 in tracker

    def test_the_threshold_can_be_assigned(self, tracker: ProjectDeletionTracker, wall: Any) -> None:
        """Callers of 001: a shorter threshold counts at the next cleanup."""
        tracker.add(7)
        tracker._cleanup_threshold = 10
        wall.advance(11)
        assert tracker.force_cleanup() == 1

    def test_a_timestamp_can_be_put_back(self, tracker: ProjectDeletionTracker, wall: Any) -> None:
        """Callers of 001: `_timestamps[id] = old` makes an entry stale."""
        tracker.add(7)
        assert tracker._timestamps[7] == pytest.approx(wall.now)
        tracker._timestamps[7] = wall.now - HOUR - 1
        assert tracker.force_cleanup() == 1
        assert (7 in tracker, len(tracker._deletion_set), len(tracker._timestamps)) == (False, 0, 0)

    def test_the_sizes_are_read_under_the_lock(self, tracker: ProjectDeletionTracker) -> None:
        """000, "Custom Monitoring Metrics": `with _lock:` then len of the set and of the timestamps."""
        tracker.add(7)
        with tracker._lock:
            assert len(tracker._deletion_set) == 1
            assert len(tracker._timestamps) == 1
            assert 7 in tracker._deletion_set
            assert set(tracker._deletion_set) == {7}

    def test_clear_all_counts(self, tracker: ProjectDeletionTracker) -> None:
        """Callers of 001 (a later branch of akvo): clear_all() says how many it dropped."""
        tracker.add(1)
        tracker.add(2)
        assert (tracker.clear_all(), tracker.clear_all()) == (2, 0)
        assert 1 not in tracker

    def test_none_is_accepted(self, tracker: ProjectDeletionTracker) -> None:
        """Callers of 001: an unsaved instance's id is None, and tracks like any other."""
        tracker.add(None)
        assert None in tracker
        tracker.discard(None)
        assert None not in tracker

    def test_it_has_no_length_and_no_iteration(self, tracker: ProjectDeletionTracker) -> None:
        """001 names neither: a tracker is always true, and its sizes are read from the set."""
        assert not hasattr(tracker, "__len__")
        assert not hasattr(tracker, "__iter__")
        assert tracker

    def test_time_is_asked_when_it_is_needed(self) -> None:
        """Callers of 001: `mock.patch("time.time")` counts, around construction and after it."""
        with mock.patch("time.time", return_value=1000.0) as patched:
            tracker = ProjectDeletionTracker()
            tracker.add(7)
            patched.return_value = 1000.0 + HOUR + 1
            assert tracker.force_cleanup() == 1

    # ---------------------------------------------------------------- defects that must not come back

    def test_a_delete_that_clears_the_pk_leaves_nothing_tracked(
        self, tracker: ProjectDeletionTracker
    ) -> None:
        """Defect of akvo: after a successful delete pk is None, so `discard(self.pk)` leaked the id for an hour."""
        project = Instance(pk=7)
        with tracker.deleting(project):
            assert 7 in tracker
            project.delete()
        assert (7 in tracker, None in tracker, len(tracker._timestamps)) == (False, False, 0)

    def test_deleting_takes_a_pk_too(self, tracker: ProjectDeletionTracker) -> None:
        """`with DELETION_SET.deleting(pk)` is the same for who has no instance."""
        with tracker.deleting(7):
            assert 7 in tracker
        assert 7 not in tracker

    def test_an_error_inside_ends_tracking(self, tracker: ProjectDeletionTracker) -> None:
        """The block's own exception passes through, and the id is no longer tracked."""
        with pytest.raises(RuntimeError, match="refused"), tracker.deleting(7):
            raise RuntimeError("refused")
        assert 7 not in tracker

    def test_nested_deletes_of_one_id_are_counted(self, tracker: ProjectDeletionTracker) -> None:
        """Defect of akvo: the first discard ended tracking for every delete of that id still running."""
        with tracker.deleting(7):
            with tracker.deleting(7):
                assert 7 in tracker
            assert 7 in tracker
        assert 7 not in tracker

    def test_concurrent_deletes_of_one_id_are_counted(self, tracker: ProjectDeletionTracker) -> None:
        """Defect of akvo: the same, with the two deletes in two threads."""
        inside, leave = threading.Event(), threading.Event()

        def delete() -> None:
            with tracker.deleting(7):
                inside.set()
                leave.wait(30)

        thread = threading.Thread(target=delete)
        thread.start()
        try:
            assert inside.wait(30)
            with tracker.deleting(7):
                pass
            assert 7 in tracker
        finally:
            leave.set()
            thread.join(30)
        assert 7 not in tracker

    def test_discarding_inside_a_delete_does_not_end_it(self, tracker: ProjectDeletionTracker) -> None:
        """A plain add and discard within a running delete leaves that one tracked."""
        with tracker.deleting(7):
            tracker.add(7)
            tracker.discard(7)
            assert 7 in tracker
        assert 7 not in tracker

    def test_a_plain_add_outlives_a_delete_of_the_same_id(self, tracker: ProjectDeletionTracker) -> None:
        """What was added before a delete is still tracked after it, until it is discarded."""
        tracker.add(7)
        with tracker.deleting(7):
            pass
        assert 7 in tracker
        tracker.discard(7)
        assert 7 not in tracker

    def test_a_delete_of_more_than_an_hour_stays_tracked(
        self, tracker: ProjectDeletionTracker, wall: Any
    ) -> None:
        """Defect of akvo: the entry of a delete longer than the threshold was dropped while it ran."""
        with tracker.deleting(7):
            wall.advance(5 * HOUR)
            assert tracker.force_cleanup() == 0
            tracker.add(8)
            tracker._cleanup_stale_entries(wall.now + HOUR)
            assert 7 in tracker
        assert 7 not in tracker


class TestConstructed(DeletionTrackerContract):
    """`ProjectDeletionTracker()`."""

    @pytest.fixture
    def tracker(self, wall: Any) -> ProjectDeletionTracker:
        return ProjectDeletionTracker()


class TestGlobal(DeletionTrackerContract):
    """`DELETION_SET`, the global instance, which the dialect names too."""

    @pytest.fixture
    def tracker(self, wall: Any) -> Any:
        tracker = akvo_rsr.DELETION_SET
        threshold, last = tracker._cleanup_threshold, tracker._last_cleanup
        tracker._last_cleanup = wall.now
        yield tracker
        tracker._cleanup_threshold, tracker._last_cleanup = threshold, last

    def test_there_is_one(self) -> None:
        """001, "Global Instances": every import gives the same tracker."""
        assert akvo_rsr.DELETION_SET is DELETION_SET
        assert isinstance(DELETION_SET, akvo_rsr.ProjectDeletionTracker)


def test_without_a_patch_the_time_is_the_wall_clocks() -> None:
    """Timestamps are seconds of time.time(), as callers compare them with it."""
    tracker = ProjectDeletionTracker()
    before = time.time()
    tracker.add(7)
    assert before <= tracker._timestamps[7] <= time.time()
