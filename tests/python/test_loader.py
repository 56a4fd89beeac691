"""Threads: one load at a time, who waits, who takes over, what is stored."""

# Long because single flight is many small rules on one set of fixtures.

import contextvars
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import MagicMock

import pytest
from loads import PATIENCE, Caller, EngineTime, Load, driven_time, flight_of, together, until, waiters_of

from oxicache import TTLCache, loader
from oxicache._native import MISSING
from oxicache.flights import _forbidding, flights, forbid_waiting
from oxicache.loader import Loader

Cache = TTLCache[Any, Any]


@pytest.fixture
def cache() -> Cache:
    return TTLCache(100, 60)


@pytest.fixture
def time() -> Iterator[EngineTime]:
    with driven_time() as time:
        yield time


@pytest.fixture(autouse=True)
def _nothing_left_under_way() -> Iterator[None]:
    """After every test the table of flights is empty: nobody is left waiting."""
    yield
    assert len(flights) == 0


class TestHit:
    def test_a_held_value_is_not_computed(self, cache: Cache) -> None:
        """A fresh value is returned as it is, and counted as one hit."""
        cache.set("a", 1)
        load = Load()
        assert Loader(cache).load("a", load) == 1
        assert load.calls == 0
        assert cache.stats()["hits"] == 1

    def test_a_miss_is_counted_once(self, cache: Cache) -> None:
        """A load reads the cache as one user does."""
        Loader(cache).load("a", Load())
        stats = cache.stats()
        assert (stats["hits"], stats["misses"], stats["size"]) == (0, 1, 1)

    def test_none_is_a_value(self, cache: Cache) -> None:
        """A result of None is held like another."""
        load = Load(None)
        assert [Loader(cache).load("a", load) for _ in range(2)] == [None, None]
        assert load.calls == 1

    def test_none_is_not_stored_where_it_means_nothing(self, cache: Cache) -> None:
        """With `cache_none=False` None is returned and computed again."""
        load = Load(None)
        careful = Loader(cache, cache_none=False)
        assert [careful.load("a", load) for _ in range(2)] == [None, None]
        assert load.calls == 2
        assert "a" not in cache

    def test_the_ttl_starts_when_the_load_ends(self, cache: Cache, time: EngineTime) -> None:
        """A slow load does not shorten its value's life."""
        Loader(cache).load("a", lambda: time.advance(50), ttl=10)
        assert cache.time_left("a") == 10

    def test_ttl_and_tags_are_stored(self, cache: Cache, time: EngineTime) -> None:
        """The value gets the ttl and the tags that were given, or those of a callable."""
        Loader(cache).load("a", Load(), ttl=5, tags=["t"])
        Loader(cache).load("b", Load(), ttl=None, tags=lambda: ["u", "v"])
        assert (cache.time_left("a"), cache.tags("a")) == (5, {"t"})
        assert (cache.time_left("b"), cache.tags("b")) == (float("inf"), {"u", "v"})

    @pytest.mark.parametrize(
        ("given", "error"),
        [
            ({"ttl": -1}, ValueError),
            ({"ttl": float("nan")}, ValueError),
            ({"ttl": "1"}, TypeError),
            ({"ttl": True}, TypeError),
            ({"tags": "ab"}, TypeError),
            ({"tags": [1]}, TypeError),
        ],
    )
    def test_wrong_use_is_the_callers_to_hear_of(
        self, cache: Cache, given: Any, error: type[Exception]
    ) -> None:
        """A wrong ttl or tag is an error that shows the value, not a failing cache."""
        with pytest.raises(error, match=r"ttl|tags"):
            Loader(cache).load("a", Load(), **given)

    def test_an_unhashable_key_is_a_type_error(self, cache: Cache) -> None:
        """A key that no cache can hold is wrong use."""
        with pytest.raises(TypeError, match="unhashable"):
            Loader(cache).load([], Load())


class TestOneLoad:
    def test_a_hot_key_is_loaded_once_per_ttl(self, cache: Cache, time: EngineTime) -> None:
        """However many threads ask, one computes; after the ttl, one again."""
        for value in ("first", "second"):
            load = Load(value, holds=True)
            callers = together(16, lambda _, load=load: cache.get_or_set("a", load, 10))
            load.begun.wait(PATIENCE)
            until(lambda: waiters_of(cache, "a") == 15)
            load.go()
            assert [caller.outcome() for caller in callers] == [value] * 16
            assert [cache.get_or_set("a", load, 10) for _ in range(3)] == [value] * 3
            assert load.calls == 1
            time.advance(10)

    def test_keys_and_caches_do_not_wait_for_each_other(self, cache: Cache) -> None:
        """A load of another key, or of the same key in another cache, goes on."""
        held = Load(holds=True)
        caller = Caller(lambda: cache.get_or_set("a", held))
        held.begun.wait(PATIENCE)
        assert cache.get_or_set("b", Load(2)) == 2
        assert TTLCache(10, 60).get_or_set("a", Load(3)) == 3
        held.go()
        assert caller.outcome() == "loaded"

    def test_equal_keys_are_one_key(self, cache: Cache) -> None:
        """Keys of a TTLCache follow dict's equality: 1 and 1.0 share a load."""
        held = Load(holds=True)
        first = Caller(lambda: cache.get_or_set(1, held))
        held.begun.wait(PATIENCE)
        second = Caller(lambda: cache.get_or_set(1.0, held))
        until(lambda: waiters_of(cache, 1) == 1)
        held.go()
        assert first.outcome() == second.outcome() == "loaded"
        assert held.calls == 1

    def test_a_value_stored_meanwhile_is_found_by_the_leader(self, cache: Cache) -> None:
        """Between a caller's miss and its lead somebody may have finished: it looks again before it computes."""
        load = Load()
        assert Loader(cache).load_missed("a", load) == "loaded"
        assert Loader(cache).load_missed("a", load) == "loaded"
        assert load.calls == 1

    def test_even_a_value_that_is_not_kept_is_shared(self, cache: Cache) -> None:
        """Those who waited get the value of a load whose ttl is 0; nothing is stored."""
        held = Load(holds=True)
        callers = together(4, lambda _: cache.get_or_set("a", held, 0))
        held.begun.wait(PATIENCE)
        until(lambda: waiters_of(cache, "a") == 3)
        held.go()
        assert [caller.outcome() for caller in callers] == ["loaded"] * 4
        assert held.calls == 1
        assert len(cache) == 0


class TestFailure:
    def test_an_exception_reaches_all_who_waited(self, cache: Cache) -> None:
        """The leader's exception is raised in it and in those who waited; nothing is stored; the next loads anew."""
        held = Load(ValueError("no"), holds=True)
        callers = together(5, lambda _: cache.get_or_set("a", held))
        held.begun.wait(PATIENCE)
        until(lambda: waiters_of(cache, "a") == 4)
        held.go()
        for caller in callers:
            with pytest.raises(ValueError, match="no") as caught:
                caller.outcome()
            assert caught.value is held.value
        assert held.calls == 1
        assert cache.get_or_set("a", Load("later")) == "later"

    @pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt(), GeneratorExit()], ids=repr)
    def test_a_killed_leader_hands_over(self, cache: Cache, error: BaseException) -> None:
        """A leader that ends by something that is no Exception leaves the load to one of those who wait."""
        held = Load(error, holds=True)
        leader = Caller(lambda: cache.get_or_set("a", held))
        held.begun.wait(PATIENCE)
        second = Load("second")
        waiters = together(6, lambda _: cache.get_or_set("a", second))
        until(lambda: waiters_of(cache, "a") == 6)
        held.go()
        with pytest.raises(type(error)):
            leader.outcome()
        assert [waiter.outcome() for waiter in waiters] == ["second"] * 6
        assert second.calls == 1

    def test_an_exception_is_not_raised_with_the_frames_of_others(self, cache: Cache) -> None:
        """Each who waited gets the loader's traceback, whatever others did with theirs."""
        held = Load(ValueError("no"), holds=True)
        callers = together(8, lambda _: cache.get_or_set("a", held))
        held.begun.wait(PATIENCE)
        until(lambda: waiters_of(cache, "a") == 7)
        held.go()
        for caller in callers:
            caller.join(PATIENCE)
        assert isinstance(held.value, ValueError)
        traceback, names = held.value.__traceback__, []
        while traceback is not None:
            names.append(traceback.tb_frame.f_code.co_name)
            traceback = traceback.tb_next
        assert names.count("result") <= 1


class TestTimeout:
    def test_one_of_those_who_wait_takes_over_from_a_stuck_leader(self, cache: Cache) -> None:
        """After `lock_timeout` one waiter computes and the others wait for that one, not for the stuck leader."""
        stuck, second = Load("stuck", holds=True), Load("second", holds=True)
        leader = Caller(lambda: cache.get_or_set("a", stuck))
        stuck.begun.wait(PATIENCE)
        impatient = Loader(cache, lock_timeout=0.02)
        waiters = [Caller(lambda: impatient.load("a", second))]
        until(second.begun.is_set)
        patient = Loader(cache, lock_timeout=PATIENCE)
        waiters += together(4, lambda _: patient.load("a", second))
        until(lambda: waiters_of(cache, "a") == 4)
        second.go()
        assert [waiter.outcome() for waiter in waiters] == ["second"] * 5
        assert second.calls == 1
        stuck.go()
        assert leader.outcome() == "stuck"
        assert cache.get("a") == "second", "a late value must not replace the newer one"

    def test_all_who_time_out_elect_one(self, cache: Cache) -> None:
        """Of several who give up on a leader at the same time, one computes at a time."""
        stuck = Load("stuck", holds=True)
        leader = Caller(lambda: cache.get_or_set("a", stuck))
        stuck.begun.wait(PATIENCE)
        second = Load("second")
        impatient = Loader(cache, lock_timeout=0.02)
        waiters = together(8, lambda _: impatient.load("a", second))
        assert [waiter.outcome() for waiter in waiters] == ["second"] * 8
        assert second.calls == 1
        stuck.go()
        leader.outcome()

    def test_who_does_not_want_to_wait_computes(self, cache: Cache) -> None:
        """`lock_timeout=0` never waits."""
        stuck = Load("stuck", holds=True)
        leader = Caller(lambda: cache.get_or_set("a", stuck))
        stuck.begun.wait(PATIENCE)
        assert Loader(cache, lock_timeout=0).load("a", Load("own")) == "own"
        stuck.go()
        leader.outcome()

    def test_the_process_wide_timeout_counts_where_none_is_given(self, cache: Cache) -> None:
        """`configure` sets what loaders that were not told otherwise go by, and None restores it."""
        loader.configure(lock_timeout=3)
        assert Loader(cache).lock_timeout == 3
        assert Loader(cache, lock_timeout=1).lock_timeout == 1
        loader.configure()
        assert Loader(cache).lock_timeout == 10


class TestDeadlock:
    def test_two_loads_that_need_each_other_end(self, cache: Cache) -> None:
        """A loads B while B loads A: each computes the other's value for itself."""
        both = threading.Barrier(2)

        def load(key: str, other: str) -> Callable[[], str]:
            def compute() -> str:
                both.wait(PATIENCE)
                value = patient.load(other, lambda: other)
                both.wait(PATIENCE)
                return key + value

            return compute

        patient = Loader(cache, lock_timeout=PATIENCE)
        callers = [
            Caller(lambda: patient.load("a", load("a", "b"))),
            Caller(lambda: patient.load("b", load("b", "a"))),
        ]
        assert [caller.outcome() for caller in callers] == ["ab", "ba"]

    def test_a_load_that_asks_for_its_own_key_is_told(self, cache: Cache) -> None:
        """RecursionError names the key, and nobody hangs."""

        def compute() -> object:
            return cache.get_or_set("own", compute)

        with pytest.raises(RecursionError, match="'own'"):
            cache.get_or_set("own", compute)
        assert "own" not in cache

    def test_a_detour_to_the_own_key_is_told_too(self, cache: Cache) -> None:
        """The own key is noticed through loads of other keys."""

        def outer() -> object:
            return cache.get_or_set("inner", lambda: cache.get_or_set("outer", outer))

        with pytest.raises(RecursionError, match="'outer'"):
            cache.get_or_set("outer", outer)

    def test_the_own_key_is_noticed_in_a_foreign_context(self, cache: Cache) -> None:
        """What runs on a leader's stack is its load, whatever context it runs in."""

        def compute() -> object:
            return contextvars.Context().run(cache.get_or_set, "own", compute)

        with pytest.raises(RecursionError, match="'own'"):
            cache.get_or_set("own", compute)

    def test_the_same_key_of_another_cache_is_no_recursion(self, cache: Cache) -> None:
        """Two caches may be stacked under one key."""
        inner: Cache = TTLCache(10, 60)
        assert cache.get_or_set("a", lambda: inner.get_or_set("a", Load(1))) == 1

    def test_a_thread_that_works_for_the_leader_computes_once(self, cache: Cache) -> None:
        """A thread in a copy of the leader's context may be detached: it computes, a second level is told."""
        seen: list[Any] = []

        def compute() -> str:
            context = contextvars.copy_context()
            worker = Caller(lambda: context.run(cache.get_or_set, "a", lambda: "from the worker"))
            seen.append(worker.outcome())
            return "from the leader"

        assert cache.get_or_set("a", compute) == "from the leader"
        assert seen == ["from the worker"]

        def endless() -> object:
            context = contextvars.copy_context()
            return Caller(lambda: context.run(cache.get_or_set, "b", endless)).outcome()

        with pytest.raises(RecursionError, match="'b'"):
            cache.get_or_set("b", endless)

    def test_a_caller_that_must_not_wait_computes(self, cache: Cache) -> None:
        """Where a check forbids waiting, as inside a transaction, the caller computes and stores."""
        held = Load("led", holds=True)
        leader = Caller(lambda: cache.get_or_set("a", held))
        held.begun.wait(PATIENCE)
        inside = threading.local()

        def check() -> bool:
            return getattr(inside, "yes", False)

        forbid_waiting(check)
        forbid_waiting(check)
        assert _forbidding.count(check) == 1
        try:
            inside.yes = True
            assert cache.get_or_set("a", Load("own")) == "own"
            assert cache.get("a") == "own"
        finally:
            _forbidding.remove(check)
            held.go()
        assert leader.outcome() == "led"


def _delete_by_tag(cache: Cache) -> None:
    cache.delete_by_tag("t")


DISTURBANCES = [
    pytest.param(lambda cache: cache.delete("a"), id="delete"),
    pytest.param(lambda cache: cache.set("a", "written"), id="set"),
    pytest.param(_delete_by_tag, id="tag"),
    pytest.param(lambda cache: cache.clear(), id="clear"),
    pytest.param(lambda cache: cache._cache.pop("a", None), id="view"),
]


class TestInvalidation:
    @pytest.mark.parametrize("disturb", DISTURBANCES)
    def test_a_load_that_was_overtaken_is_not_stored(
        self, cache: Cache, disturb: Callable[[Cache], Any]
    ) -> None:
        """Its caller gets the value; the cache keeps what the invalidation left."""

        def compute() -> str:
            disturb(cache)
            return "late"

        assert Loader(cache).load("a", compute, tags=["t"]) == "late"
        assert cache.get("a") in (None, "written")

    @pytest.mark.parametrize("disturb", [one for one in DISTURBANCES if one.id != "set"])
    def test_who_comes_after_an_invalidation_does_not_join_the_old_load(
        self, cache: Cache, disturb: Callable[[Cache], Any]
    ) -> None:
        """A joiner gets nothing that was read before it asked; the old load's value is not stored either."""
        old, new = Load("old", holds=True), Load("new", holds=True)
        before = Caller(lambda: cache.get_or_set("a", old, None, ["t"]))
        old.begun.wait(PATIENCE)
        disturb(cache)
        after = together(4, lambda _: cache.get_or_set("a", new))
        new.begun.wait(PATIENCE)
        until(lambda: waiters_of(cache, "a") == 3)
        old.go()
        assert before.outcome() == "old"
        until(lambda: flight_of(cache, "a").is_flying)
        new.go()
        assert [caller.outcome() for caller in after] == ["new"] * 4
        assert new.calls == 1
        assert cache.get("a") == "new"

    @pytest.mark.parametrize("tags", [[], ["t"]], ids=["untagged", "tagged"])
    def test_a_hot_key_is_loaded_once_whatever_happens_to_others(self, tags: list[str]) -> None:
        """Writes, deletes and tags of others neither split a load nor keep its value from being stored."""
        cache: Cache = TTLCache(10_000, 60)
        load = Load(holds=True)
        leader = Caller(lambda: cache.get_or_set("hot", load, None, tags))
        load.begun.wait(PATIENCE)

        def disturb() -> None:
            for number in range(2_000):
                cache.set(f"other {number}", number, tags=["unrelated"])
                cache.delete(f"absent {number}")
                cache.delete_by_tag("unrelated")

        waiters = []
        for count in range(1, 4):
            Caller(disturb).outcome()
            waiters.append(Caller(lambda: cache.get_or_set("hot", load, None, tags)))
            until(lambda count=count: waiters_of(cache, "hot") == count)
        load.go()
        assert [caller.outcome() for caller in [leader, *waiters]] == ["loaded"] * 4
        assert cache.get_or_set("hot", load, None, tags) == "loaded"
        assert load.calls == 1

    def test_who_waited_before_an_invalidation_still_gets_the_value(self, cache: Cache) -> None:
        """Whoever asked before the invalidation may have what was true then."""
        old = Load("old", holds=True)
        callers = together(3, lambda _: cache.get_or_set("a", old))
        old.begun.wait(PATIENCE)
        until(lambda: waiters_of(cache, "a") == 2)
        cache.delete("a")
        old.go()
        assert [caller.outcome() for caller in callers] == ["old"] * 3
        assert "a" not in cache


class TestEarlyRefresh:
    @pytest.fixture
    def hot(self) -> Cache:
        """A cache each of whose hits is elected to refresh: the factor is beyond any sense."""
        cache: Cache = TTLCache(10, 60, early_refresh=1e15)
        Loader(cache).load("a", Load("first"))
        assert cache._early("a")
        return cache

    def test_the_elected_caller_refreshes(self, hot: Cache) -> None:
        """The one who is elected computes and gets the new value; it is stored with a new ttl."""
        assert Loader(hot).load("a", Load("second")) == "second"
        assert hot.peek("a") == "second"

    def test_the_others_get_the_value_that_is_held(self, hot: Cache) -> None:
        """While one refreshes nobody waits."""
        held = Load("second", holds=True)
        elected = Caller(lambda: hot.get_or_set("a", held))
        held.begun.wait(PATIENCE)
        assert hot.get_or_set("a", held) == "first"
        assert Loader(hot).load("a", held) == "first"
        held.go()
        assert elected.outcome() == "second"
        assert held.calls == 1

    def test_a_failing_refresh_takes_nothing_away(self, hot: Cache, caplog: pytest.LogCaptureFixture) -> None:
        """The value held is served, one line is logged, and the source is left alone for a while."""
        failing = Load(ValueError("down"))
        assert [hot.get_or_set("a", failing) for _ in range(3)] == ["first"] * 3
        assert failing.calls == 1
        assert [record.name for record in caplog.records] == ["oxicache.grace"]
        loader.forget_flights()

    def test_a_failing_refresh_serves_nobody_who_came_after_expiry(self, time: EngineTime) -> None:
        """Whoever missed while the refresh was under way gets its error; only the elected caller had a hit."""
        hot: Cache = TTLCache(10, 60, early_refresh=1e15)
        Loader(hot).load("a", Load("first"))
        failing = Load(ValueError("down"), holds=True)
        elected = Caller(lambda: hot.get_or_set("a", failing))
        failing.begun.wait(PATIENCE)
        time.advance(60)
        late = Caller(lambda: hot.get_or_set("a", Load("never")))
        until(lambda: waiters_of(hot, "a") == 1)
        failing.go()
        assert elected.outcome() == "first"
        with pytest.raises(ValueError, match="down"):
            late.outcome()

    def test_a_refresh_that_reads_its_own_key_gets_the_held_value(self, hot: Cache) -> None:
        """No recursion: the value is there."""
        assert hot.get_or_set("a", lambda: hot.get_or_set("a", Load("never")) + "!") == "first!"

    def test_an_ordinary_hit_refreshes_nothing(self, cache: Cache) -> None:
        """Off unless asked for."""
        Loader(cache).load("a", Load("first"))
        assert Loader(cache).load("a", Load("second")) == "first"


class TestBackground:
    def test_a_refresh_in_the_background_keeps_nobody(self) -> None:
        """The elected caller gets the value held; another thread computes, in a copy of the caller's context."""
        cache: Cache = TTLCache(10, 60, early_refresh=1e15)
        relaxed = Loader(cache, background=True)
        relaxed.load("a", Load("first"))
        tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant")
        tenant.set("acme")
        held = Load("second", holds=True)
        seen: list[object] = []

        def compute() -> object:
            seen.append((threading.current_thread().name, tenant.get()))
            return held()

        assert relaxed.load("a", compute) == "first"
        held.begun.wait(PATIENCE)
        assert relaxed.load("a", compute) == "first", "asked for once"
        held.go()
        until(lambda: cache.peek("a") == "second")
        assert seen == [("oxicache", "acme")]
        until(lambda: relaxed.load("a", Load("third")) == "third")
        until(lambda: len(flights) == 0)

    def test_a_full_queue_is_no_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A refresh that finds no place is left to a later hit, which need not wait for a mark to expire."""
        from oxicache.scheduling import Scheduler

        full = Scheduler(max_jobs=1, is_threaded=False)
        job = full.after(3600, print)
        monkeypatch.setattr("oxicache.scheduling.submit", full.submit)
        cache: Cache = TTLCache(10, 60, early_refresh=1e15)
        relaxed = Loader(cache, background=True)
        relaxed.load("a", Load("first"))
        assert relaxed.load("a", Load("second")) == "first"
        assert len(loader._refreshing) == 0
        job.cancel()
        assert relaxed.load("a", Load("third")) == "first"
        assert full.run_due() == 1
        assert cache.peek("a") == "third"

    def test_a_closed_scheduler_leaves_no_mark(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its jobs are born cancelled."""
        from oxicache.scheduling import Scheduler

        closed = Scheduler(is_threaded=False)
        closed.close()
        monkeypatch.setattr("oxicache.scheduling.submit", closed.submit)
        cache: Cache = TTLCache(10, 60, early_refresh=1e15)
        relaxed = Loader(cache, background=True)
        relaxed.load("a", Load("first"))
        assert relaxed.load("a", Load("second")) == "first"
        assert len(loader._refreshing) == 0

    def test_a_thread_that_cannot_start_is_no_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A hit never raises for want of a thread; the next one starts it."""
        from oxicache.scheduling import Scheduler

        own = Scheduler()
        monkeypatch.setattr("oxicache.scheduling.submit", own.submit)
        cache: Cache = TTLCache(10, 60, early_refresh=1e15)
        relaxed = Loader(cache, background=True)
        relaxed.load("a", Load("first"))

        def fail(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            assert relaxed.load("a", Load("second")) == "first"
        assert relaxed.load("a", Load("third")) == "first"
        until(lambda: cache.peek("a") == "third")
        until(lambda: len(flights) == 0)
        own.close()


class TestConsumedOnce:
    @pytest.mark.parametrize("kind", ["coroutine", "map", "generator", "list_iterator"])
    def test_what_can_be_consumed_once_is_refused(self, cache: Cache, kind: str) -> None:
        """TypeError names the callable, the type and the remedy; nothing is stored."""

        async def acompute() -> int:
            return 1

        values: dict[str, Callable[[], Any]] = {
            "coroutine": acompute,
            "map": lambda: map(str, [1]),
            "generator": lambda: (x for x in [1]),
            "list_iterator": lambda: iter([1]),
        }
        remedy = "aget_or_compute" if kind == "coroutine" else "return a list"
        for load in (cache.get_or_set, Loader(cache).load):
            with pytest.raises(TypeError, match=rf"(compute|lambda).* returned a {kind}.*{remedy}"):
                load("a", values[kind])
        assert len(cache) == 0

    def test_a_mock_is_a_value(self, cache: Cache) -> None:
        """It has every method, and is no iterator."""
        mock = MagicMock()
        assert cache.get_or_set("a", lambda: mock) is cache.get("a") is mock


class TestBrokenCache:
    def test_a_key_whose_comparison_fails_costs_a_load(
        self, cache: Cache, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A cache that cannot be asked is a miss: the caller gets its value."""

        class Broken:
            def __hash__(self) -> int:
                return 1

            def __eq__(self, other: object) -> bool:
                raise OSError("cannot compare")

        cache.set(Broken(), "held")
        key = Broken()
        assert Loader(cache).load(key, Load("computed")) == "computed"
        assert {record.name for record in caplog.records} == {"oxicache.store"}

    def test_the_callers_own_exception_passes_even_so(self, cache: Cache) -> None:
        """Errors of the load are never taken for the cache's."""
        with pytest.raises(MemoryError, match="mine"):
            Loader(cache).load("a", Load(MemoryError("mine")))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
class TestFork:
    def _exit_code(self, pid: int) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def test_a_child_does_not_wait_for_its_parents_loads(self, cache: Cache) -> None:
        """The leader stayed in the parent; the child computes at once."""
        held = Load(holds=True)
        leader = Caller(lambda: cache.get_or_set("a", held))
        held.begun.wait(PATIENCE)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = 0 if Loader(cache, lock_timeout=PATIENCE).load("a", Load("own")) == "own" else 2
            finally:
                os._exit(code)
        assert self._exit_code(pid) == 0
        held.go()
        assert leader.outcome() == "loaded"

    def test_a_load_that_forks_goes_on_in_both(self, cache: Cache) -> None:
        """Parent and child each finish the load and store its value, though others wait in the parent."""
        children: list[int] = []
        forked = Load(holds=True)

        def compute() -> str:
            forked()
            children.append(os.fork())
            return "forked"

        leader = Caller(lambda: (cache.get_or_set("a", compute), _leave_child(children, cache)))
        forked.begun.wait(PATIENCE)
        waiter = Caller(lambda: cache.get_or_set("a", Load("other")))
        until(lambda: waiters_of(cache, "a") == 1)
        forked.go()
        assert leader.outcome()[0] == "forked"
        assert waiter.outcome() == "forked"
        assert self._exit_code(children[0]) == 0


def _leave_child(children: list[int], cache: Cache) -> None:
    if children[0] == 0:
        os._exit(0 if cache.peek("a", MISSING) == "forked" and len(flights) == 0 else 1)


def test_waiting_is_not_forbidden_by_asgiref_being_there(cache: Cache) -> None:
    """Having asgiref in the process changes nothing for threads that serve no event loop."""
    pytest.importorskip("asgiref.sync")
    held = Load(holds=True)
    leader = Caller(lambda: cache.get_or_set("a", held))
    held.begun.wait(PATIENCE)
    waiter = Caller(lambda: cache.get_or_set("a", Load("own")))
    until(lambda: waiters_of(cache, "a") == 1)
    held.go()
    assert leader.outcome() == waiter.outcome() == "loaded"
    assert "asgiref.sync" in sys.modules
