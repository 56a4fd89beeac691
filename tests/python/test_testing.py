"""oxicache.testing: the clock driven by hand, reset(), time that follows time.time, isolation under unittest."""

import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from unittest import mock

import pytest
import time_machine
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from oxicache import DELETION_SET, TTLCache, cache_manager, cached_function, scheduling, testing
from oxicache._native import now
from oxicache.testing import Clock, clock


def filled(ttl: float = 60) -> TTLCache[str, int]:
    """A cache with one entry, `"a"`."""
    cache: TTLCache[str, int] = TTLCache(max_size=10, ttl=ttl)
    cache.set("a", 1)
    return cache


def follows(frozen: FrozenDateTimeFactory) -> bool:
    """Whether engine time is moved by freezegun's clock."""
    before = now()
    frozen.tick(1000)
    return now() - before == pytest.approx(1000)


class TestClock:
    def test_an_entry_expires_when_the_clock_has_advanced_by_its_ttl(self) -> None:
        """An entry lives until the driven clock reaches its deadline, to the instant, and not by itself."""
        with clock() as time_:
            cache = filled(ttl=60)
            time_.advance(59.5)
            assert cache.get("a") == 1
            time_.advance(0.5)
            assert cache.get("a") is None

    def test_it_stands_still_until_it_is_advanced(self) -> None:
        """Engine time does not move while nobody advances the clock, and then by the step alone."""
        with clock(start=1000) as time_:
            assert now() == time_.now == 1000
            assert time_.advance(timedelta(minutes=1)) == now() == 1060

    def test_it_begins_where_engine_time_was(self) -> None:
        """Entering a clock moves no time: an entry stored before keeps what is left of its life."""
        cache = filled(ttl=60)
        with clock() as time_:
            assert cache.get("a") == 1
            time_.advance(60)
            assert cache.get("a") is None

    def test_leaving_it_gives_the_source_before_back(self) -> None:
        """After the block time.time moves the engine again, as it did before."""
        with mock.patch("time.time", return_value=5000.0) as patched:
            with clock(start=0) as time_:
                time_.advance(100)
            cache = filled(ttl=60)
            patched.return_value = 5059.0
            assert cache.get("a") == 1
            patched.return_value = 5060.0
            assert cache.get("a") is None

    def test_leaving_it_empties_the_registered_caches(self) -> None:
        """No entry stored in driven time is left for another time to judge."""
        cache = cache_manager.get_cache("driven", max_size=10, ttl=60)
        with clock():
            cache.set("a", 1)
        assert len(cache) == 0

    def test_a_clock_within_a_clock_hands_back_to_it(self) -> None:
        """The outer clock drives again once the inner one is left."""
        with clock(start=100) as outer:
            with clock() as inner:
                inner.advance(50)
                assert now() == 150
            assert now() == outer.now == 100
            outer.advance(1)
            assert now() == 101

    @pytest.mark.parametrize("step", [-1, float("nan"), timedelta(seconds=-1)], ids=repr)
    def test_it_does_not_go_back(self, step: float | timedelta) -> None:
        """A step back is a ValueError that names it, and time stays where it is."""
        with clock(start=100) as time_:
            with pytest.raises(ValueError, match="cannot go back"):
                time_.advance(step)
            assert now() == 100

    def test_it_is_advanced_inside_its_block_only(self) -> None:
        """Before and after its block a clock drives nothing and says so."""
        time_ = clock()
        with pytest.raises(RuntimeError, match="inside its `with` block"):
            time_.advance(1)

    def test_it_is_entered_once_at_a_time(self) -> None:
        """The same clock cannot be nested in itself; it can be used again afterwards."""
        time_ = clock(start=1)
        with time_, pytest.raises(RuntimeError, match="drives time already"):
            time_.__enter__()
        with time_:
            assert now() == 1

    def test_the_fixture_is_a_clock(self, oxicache_clock: Clock) -> None:
        """`oxicache_clock` drives the engine within the test that asks for it."""
        cache = filled(ttl=10)
        oxicache_clock.advance(10)
        assert cache.get("a") is None


class TestReset:
    def test_registered_caches_are_emptied_and_their_counters_zeroed(self) -> None:
        """After reset() a registered cache is as if it had just been made."""
        cache = cache_manager.get_cache("reset", max_size=10, ttl=60)
        cache.set("a", 1)
        cache.get("a")
        cache.get("b")
        testing.reset()
        stats = cache.stats()
        assert (len(cache), stats["hits"], stats["misses"]) == (0, 0, 0)

    def test_a_decorated_function_computes_again(self) -> None:
        """The caches of decorators are registered, so reset() empties them."""
        calls: list[int] = []

        @cached_function(ttl=60)
        def double(number: int) -> int:
            calls.append(number)
            return number * 2

        assert (double(4), double(4), calls) == (8, 8, [4])
        testing.reset()
        assert (double(4), calls) == (8, [4, 4])

    def test_tracked_deletions_are_forgotten(self) -> None:
        """reset() empties DELETION_SET."""
        DELETION_SET.add(7)
        testing.reset()
        assert 7 not in DELETION_SET

    @pytest.mark.parametrize("registered", [True, False], ids=["registered", "not registered"])
    def test_a_load_that_runs_over_a_reset_keeps_nobody_waiting(self, registered: bool) -> None:
        """A flight from before reset() is not joined after it; what it brings does not get into a registered cache."""
        begun, go_on = threading.Event(), threading.Event()
        cache: TTLCache[str, str] = TTLCache(max_size=10, ttl=60)
        if registered:
            cache = cache_manager.get_cache("flights", max_size=10, ttl=60)

        def slow() -> str:
            begun.set()
            go_on.wait(30)  # whoever joins this flight nevertheless gets its value then, and the test fails
            return "before"

        thread = threading.Thread(target=cache.get_or_set, args=("a", slow))
        thread.start()
        try:
            assert begun.wait(30)
            testing.reset()
            assert cache.get_or_set("a", lambda: "after") == "after"
        finally:
            go_on.set()
            thread.join(30)
        if registered:
            assert cache.get("a") == "after"


class TestTime:
    """Under the plugin, which this suite runs with, the clock of every cache follows time.time."""

    def test_freezegun_moves_the_caches(self) -> None:
        """An entry stored in frozen time expires when freezegun's clock passes its deadline."""
        with freeze_time("2024-05-01 12:00:00") as frozen:
            cache = filled(ttl=60)
            frozen.tick(59)
            assert cache.get("a") == 1
            frozen.tick(1)
            assert cache.get("a") is None

    @pytest.mark.parametrize("run", ["thread", "pool"])
    def test_freezegun_moves_the_caches_in_threads_too(self, run: str) -> None:
        """A thread that asks the cache directly lives in the same frozen time as the test."""
        with freeze_time("2012-01-14"):
            cache = filled(ttl=60)
            found: list[int | None] = []
            if run == "thread":
                thread = threading.Thread(target=lambda: found.append(cache.get("a")))
                thread.start()
                thread.join(30)
            else:
                with ThreadPoolExecutor(1) as pool:
                    found.append(pool.submit(cache.get, "a").result(30))
            assert found == [1]

    def test_room_is_made_by_the_expired_in_the_past_too(self) -> None:
        """In a year long gone, as in any other, an expired entry goes before a live one."""
        with freeze_time("2001-01-01") as frozen:
            cache: TTLCache[str, int] = TTLCache(max_size=2, ttl=60)
            cache.set("live", 1)
            cache.set("short", 2, ttl=1)
            frozen.tick(10)
            cache.set("new", 3)
            assert (cache.get("live"), cache.get("new")) == (1, 3)

    def test_time_machine_moves_the_caches(self) -> None:
        """An entry stored while time-machine travels expires when its traveller is shifted past the deadline."""
        with time_machine.travel("2024-05-01 12:00:00", tick=False) as traveller:
            cache = filled(ttl=60)
            traveller.shift(59)
            assert cache.get("a") == 1
            traveller.shift(1)
            assert cache.get("a") is None

    def test_a_patched_time_moves_the_caches(self) -> None:
        """`mock.patch("time.time")` is looked up at each call, not when a cache is made."""
        cache = filled(ttl=60)
        with mock.patch("time.time", return_value=time.time() + 61):
            assert cache.get("a") is None

    def test_a_property_follows_frozen_time(self) -> None:
        """What a decorator caches follows time.time as well."""
        calls: list[int] = []

        @cached_function(ttl=60)
        def answer() -> int:
            calls.append(1)
            return 42

        with freeze_time("2024-05-01") as frozen:
            answer()
            frozen.tick(59)
            answer()
            assert len(calls) == 1
            frozen.tick(1)
            answer()
            assert len(calls) == 2

    @pytest.mark.oxicache_real_clock
    def test_the_marker_keeps_the_engines_own_clock(self) -> None:
        """Under `oxicache_real_clock` a patched time.time moves no deadline."""
        cache = filled(ttl=60)
        with mock.patch("time.time", return_value=time.time() + 1_000_000):
            assert cache.get("a") == 1

    def test_real_clock_is_a_block_too(self) -> None:
        """`real_clock()` does for a block what the marker does for a test."""
        with testing.real_clock():
            cache = filled(ttl=60)
            with freeze_time("2001-01-01"):
                assert cache.get("a") == 1
        with freeze_time("2001-01-01") as frozen:
            assert follows(frozen)


class TestBackground:
    @pytest.fixture
    def jobs(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Where jobs say in which thread they ran; this test itself counts as none."""
        monkeypatch.setattr(testing, "_running", [])
        return []

    def test_without_a_thread_jobs_wait_until_they_are_run(self, jobs: list[str]) -> None:
        """In a test without background thread, run_background() does what is due, in the test's own thread."""
        with testing.isolated(background=False):
            scheduling.submit(lambda: jobs.append(threading.current_thread().name))
            scheduling.after(3600, jobs.append, "later")
            assert jobs == []
            assert testing.run_background() == 1
            assert jobs == [threading.current_thread().name]

    def test_what_was_not_run_is_dropped_with_the_test(self, jobs: list[str]) -> None:
        """A job of one test does not run in the next; one that runs again and again stays."""
        again = scheduling.every(3600, jobs.append, "again")
        try:
            with testing.isolated(background=False):
                once = scheduling.submit(jobs.append, "once")
            assert once.is_cancelled
            assert not again.is_cancelled
        finally:
            again.cancel()
        assert testing.run_background() == 0
        assert jobs == []

    def test_the_thread_is_there_again_after_the_test(self, jobs: list[str]) -> None:
        """Outside such a test the background thread runs what it is given."""
        with testing.isolated(background=False):
            pass
        done = threading.Event()
        scheduling.submit(done.set)
        assert done.wait(30)


class TestUnittest:
    """isolate_unittest(), on its own and below Django's runner."""

    @pytest.fixture
    def outside(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As if no plugin isolated this very test: a test inside an isolated one is left alone."""
        monkeypatch.setattr(testing, "_running", [])

    def run(self, case: type[unittest.TestCase]) -> unittest.TestResult:
        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
        return result

    @pytest.mark.usefixtures("outside")
    def test_each_test_starts_with_empty_caches(self) -> None:
        """Two tests that both need an empty cache pass in one run, and not without isolation."""

        class Case(unittest.TestCase):
            def test_one(self) -> None:
                """It needs an empty cache."""
                cache = cache_manager.get_cache("unittest", max_size=10, ttl=60)
                assert cache.get("a") is None
                cache.set("a", 1)

            test_two = test_one

        undo = testing.isolate_unittest()
        try:
            assert self.run(Case).wasSuccessful()
        finally:
            undo()
        assert not self.run(Case).wasSuccessful()

    @pytest.mark.usefixtures("outside")
    def test_the_class_attribute_keeps_the_engines_own_clock(self) -> None:
        """`oxicache_real_clock = True` on a test case is what the marker is for pytest."""
        seen: dict[str, bool] = {}

        class Case(unittest.TestCase):
            def test_time(self) -> None:
                """It notes whose time it runs in."""
                with freeze_time("2001-01-01") as frozen:
                    seen[type(self).__name__] = follows(frozen)

        class RealCase(Case):
            oxicache_real_clock = True

        undo = testing.isolate_unittest()
        try:
            assert self.run(Case).wasSuccessful()
            assert self.run(RealCase).wasSuccessful()
        finally:
            undo()
        assert seen == {"Case": True, "RealCase": False}

    def test_a_test_that_runs_tests_keeps_its_caches(self) -> None:
        """Isolation is for the outermost test: one run inside it does not empty the caches under its hands."""
        cache = cache_manager.get_cache("outer", max_size=10, ttl=60)

        class Case(unittest.TestCase):
            def test_nothing(self) -> None:
                """It passes."""

        undo = testing.isolate_unittest()
        try:
            cache.set("a", 1)
            with testing.isolated():
                self.run(Case)
            assert cache.get("a") == 1
        finally:
            undo()

    def test_undoing_leaves_unittest_as_it_was(self) -> None:
        """isolate_unittest() hands back what takes the wrapper away; a wrapper put over it stays, and calls through."""
        before = unittest.TestCase.run
        testing.isolate_unittest()()
        assert unittest.TestCase.run is before

    def test_it_asks_before_each_test(self) -> None:
        """With `active` giving False no test is touched."""
        with mock.patch.object(testing, "isolated") as isolated:

            class Case(unittest.TestCase):
                def test_nothing(self) -> None:
                    """It passes."""

            undo = testing.isolate_unittest(active=lambda: False)
            try:
                self.run(Case)
            finally:
                undo()
        isolated.assert_not_called()
