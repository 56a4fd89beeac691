"""Counts that callers keep by hand: bounded, complete under threads, usable in a child that was forked meanwhile."""

import threading

import pytest
from child_process import check_call

from oxicache.metrics import MAX_PATTERNS
from oxicache.recorded import Recorder, first_segment


@pytest.mark.parametrize(
    ("key", "pattern"),
    [("user:1:profile", "user:*"), ("page", "page"), ("", ""), (":1", ":*"), ("a:", "a:*")],
)
def test_the_pattern_of_a_key(key: str, pattern: str) -> None:
    """003: the first segment and `:*`, or the key itself where it has one segment."""
    assert first_segment(key) == pattern


def test_what_was_recorded() -> None:
    """Counts by pattern and in all, bytes of what was set, and the mean time of the reads alone."""
    recorder = Recorder()
    assert recorder.is_empty
    recorder.record("hits", "user:1", milliseconds=2.0)
    recorder.record("misses", "user:2", milliseconds=4.0)
    recorder.record("sets", "user:2", size_bytes=100, milliseconds=50.0)
    recorder.record("deletes", "page")
    stats = recorder.stats()
    assert (stats["hits"], stats["misses"], stats["sets"], stats["invalidations"]) == (1, 1, 1, 1)
    assert stats["hit_rate"] == 0.5
    assert stats["latency"]["get"] == {"bounds_seconds": [], "counts": [2], "sum_seconds": 0.006, "count": 2}
    assert {part["pattern"]: part["bytes"] for part in recorder.patterns()} == {"user:*": 100, "page": 0}
    recorder.reset()
    assert recorder.is_empty
    assert "latency" not in recorder.stats()


def test_any_number_of_patterns() -> None:
    """Beyond the limit they are counted together, and nothing is lost."""
    recorder = Recorder()
    for number in range(3 * MAX_PATTERNS):
        recorder.record("hits", f"key-{number}")
    parts = recorder.patterns()
    assert len(parts) == MAX_PATTERNS + 1
    assert (parts[-1]["pattern"], sum(part["hits"] for part in parts)) == ("other", 3 * MAX_PATTERNS)


def test_threads_lose_nothing() -> None:
    """Each operation is counted, from whichever thread."""
    recorder = Recorder()

    def record() -> None:
        for number in range(2000):
            recorder.record("hits", f"a:{number}", milliseconds=1.0)

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert recorder.stats()["hits"] == recorder.stats()["latency"]["get"]["count"] == 8000


def forking() -> None:
    """Fork while another thread holds the lock, which nobody will release in the child."""
    import os

    recorder = Recorder()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with recorder._lock:
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    child = os.fork()
    if child == 0:
        recorder.record("hits", "a:1")
        os._exit(0 if recorder.stats()["hits"] == 1 else 1)
    _, status = os.waitpid(child, 0)
    done.set()
    thread.join(60)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_fork_while_another_thread_records() -> None:
    """The child goes on recording."""
    check_call(forking)
