"""Tasks: one load at a time within and between event loops and threads, cancellation, who never waits."""

# Long because single flight is many small rules on one set of fixtures.

import asyncio
import contextvars
import gc
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from loads import (
    PATIENCE,
    Caller,
    EngineTime,
    Load,
    auntil,
    driven_time,
    flight_of,
    together,
    until,
    waiters_of,
)

from oxicache import TTLCache, loader
from oxicache.flights import flights
from oxicache.loader import Loader

Cache = TTLCache[Any, Any]


@pytest.fixture
def cache() -> Cache:
    return TTLCache(100, 60)


@pytest.fixture
def patient(cache: Cache) -> Loader:
    """A loader whose waiters outwait the test: nothing passes because of a timeout."""
    return Loader(cache, lock_timeout=PATIENCE)


@pytest.fixture(autouse=True)
def _nothing_left_under_way() -> Iterator[None]:
    """After every test the table of flights is empty: nobody is left waiting."""
    yield
    assert len(flights) == 0


def run(main: Callable[[], Awaitable[Any]]) -> Any:
    """Run a test's coroutine; one that hangs fails."""

    async def limited() -> Any:
        async with asyncio.timeout(PATIENCE):
            return await main()

    return asyncio.run(limited())


class TestOneLoad:
    def test_tasks_share_one_load(self, patient: Loader) -> None:
        """However many tasks ask, one computes, and all get its value."""
        load = Load()

        async def main() -> list[Any]:
            return await asyncio.gather(*(patient.aload("a", load.awaited) for _ in range(50)))

        assert run(main) == ["loaded"] * 50
        assert load.calls == 1

    def test_a_hot_key_is_loaded_once_per_ttl(self, cache: Cache, patient: Loader) -> None:
        """After the ttl, once again."""
        load = Load()

        async def ask() -> Any:
            return await asyncio.gather(*(patient.aload("a", load.awaited, ttl=10) for _ in range(20)))

        async def main(time: EngineTime) -> None:
            for loads in (1, 2, 3):
                await ask()
                await ask()
                assert load.calls == loads
                time.advance(10)

        with driven_time() as time:
            run(lambda: main(time))

    def test_a_plain_function_may_be_loaded_too(self, patient: Loader) -> None:
        """What `compute` returns is awaited only if it can be."""
        assert run(lambda: patient.aload("a", lambda: 5)) == 5

    def test_threads_and_tasks_share_one_load(self, cache: Cache, patient: Loader) -> None:
        """Threads, and tasks of two event loops, get the value of one load; here a thread leads."""
        held = Load(holds=True)
        leader = Caller(lambda: patient.load("a", held))
        held.begun.wait(PATIENCE)
        threads = together(4, lambda _: patient.load("a", held))

        async def ask() -> list[Any]:
            return await asyncio.gather(*(patient.aload("a", held.awaited) for _ in range(5)))

        loops = [Caller(lambda: run(ask)) for _ in range(2)]
        until(lambda: waiters_of(cache, "a") == 4 + 5 * 2)
        held.go()
        assert leader.outcome() == "loaded"
        assert [thread.outcome() for thread in threads] == ["loaded"] * 4
        assert [loop.outcome() for loop in loops] == [["loaded"] * 5] * 2
        assert held.calls == 1

    def test_threads_wait_for_a_task(self, cache: Cache, patient: Loader) -> None:
        """A task may lead a load that threads wait for."""
        held = Load(holds=True)
        leader = Caller(lambda: run(lambda: patient.aload("a", held.awaited)))
        held.begun.wait(PATIENCE)
        threads = together(4, lambda _: patient.load("a", held))
        until(lambda: waiters_of(cache, "a") == 4)
        held.go()
        assert leader.outcome() == "loaded"
        assert [thread.outcome() for thread in threads] == ["loaded"] * 4
        assert held.calls == 1


class TestFailure:
    def test_an_exception_reaches_all_who_waited(self, cache: Cache, patient: Loader) -> None:
        """Every task gets the loader's exception; nothing is stored."""
        load = Load(ValueError("no"), holds=True)

        async def main() -> list[Any]:
            tasks = [asyncio.create_task(patient.aload("a", load.awaited)) for _ in range(10)]
            await auntil(lambda: load.begun.is_set() and waiters_of(cache, "a") == 9)
            load.go()
            return await asyncio.gather(*tasks, return_exceptions=True)

        assert run(main) == [load.value] * 10
        assert load.calls == 1
        assert len(cache) == 0

    def test_a_cancelled_leader_hands_over(self, cache: Cache, patient: Loader) -> None:
        """One of the tasks that waited computes, the others get its value; the leader is cancelled, nobody else."""
        held, second = Load("first", holds=True), Load("second")

        async def main() -> None:
            leader = asyncio.create_task(patient.aload("a", held.awaited))
            await auntil(held.begun.is_set)
            waiters = [asyncio.create_task(patient.aload("a", second.awaited)) for _ in range(5)]
            await auntil(lambda: waiters_of(cache, "a") == 5)
            leader.cancel()
            assert await asyncio.gather(*waiters) == ["second"] * 5
            assert leader.cancelled()

        run(main)
        assert second.calls == 1

    def test_a_cancelled_leader_hands_over_to_a_thread(self, cache: Cache, patient: Loader) -> None:
        """Threads that wait are told too."""
        held = Load("first", holds=True)

        async def main() -> None:
            leader = asyncio.create_task(patient.aload("a", held.awaited))
            await auntil(held.begun.is_set)
            thread = Caller(lambda: patient.load("a", Load("second")))
            await auntil(lambda: waiters_of(cache, "a") == 1)
            leader.cancel()
            await auntil(lambda: not thread.is_alive())
            assert thread.outcome() == "second"

        run(main)

    def test_a_cancelled_waiter_disturbs_nobody(self, cache: Cache, patient: Loader) -> None:
        """The leader goes on, and the others get its value."""
        held = Load(holds=True)

        async def main() -> list[Any]:
            tasks = [asyncio.create_task(patient.aload("a", held.awaited)) for _ in range(4)]
            await auntil(lambda: held.begun.is_set() and waiters_of(cache, "a") == 3)
            tasks[2].cancel()
            await auntil(tasks[2].done)
            held.go()
            return await asyncio.gather(*tasks, return_exceptions=True)

        results = run(main)
        assert isinstance(results.pop(2), asyncio.CancelledError)
        assert results == ["loaded"] * 3
        assert held.calls == 1

    def test_a_stuck_leader_is_taken_over_from(self, cache: Cache) -> None:
        """After `lock_timeout` one of the tasks computes, and the others wait for that one."""
        stuck, second = Load("stuck", holds=True), Load("second")
        impatient = Loader(cache, lock_timeout=0.02)

        async def main() -> None:
            leader = asyncio.create_task(impatient.aload("a", stuck.awaited))
            await auntil(stuck.begun.is_set)
            asking = (impatient.aload("a", second.awaited) for _ in range(8))
            assert await asyncio.gather(*asking) == ["second"] * 8
            stuck.go()
            assert await leader == "stuck"

        run(main)
        assert second.calls == 1
        assert cache.get("a") == "second"

    def test_a_closed_loop_does_not_break_the_leader(self, cache: Cache, patient: Loader) -> None:
        """A waiter whose event loop is gone is passed over, and the next is told."""
        held = Load(holds=True)
        leader = Caller(lambda: patient.load("a", held))
        held.begun.wait(PATIENCE)
        loop = asyncio.new_event_loop()
        waiting = loop.create_task(patient.aload("a", held.awaited))
        loop.run_until_complete(auntil(lambda: waiters_of(cache, "a") == 1))
        loop.close()
        thread = Caller(lambda: patient.load("a", held))
        until(lambda: waiters_of(cache, "a") == 2)
        held.go()
        assert leader.outcome() == thread.outcome() == "loaded"
        # The task can't end any more; asyncio would complain of it in whichever test collects it.
        waiting._log_destroy_pending = False  # type: ignore[attr-defined]
        waiting.get_coro().close()  # type: ignore[union-attr]

    def test_a_collected_coroutine_hands_over(self, cache: Cache, patient: Loader) -> None:
        """A leader that is dropped in the middle of its load leaves no waiter behind."""

        async def never() -> None:
            await asyncio.get_running_loop().create_future()

        leading = patient.aload("a", never)

        async def main() -> Any:
            nonlocal leading
            contextvars.Context().run(leading.send, None)
            waiter = asyncio.create_task(patient.aload("a", Load("second").awaited))
            await auntil(lambda: waiters_of(cache, "a") == 1)
            # Closed in another context than it began in, as the garbage collector does it.
            contextvars.Context().run(leading.close)
            del leading
            gc.collect()
            return await waiter

        assert run(main) == "second"


class TestDeadlock:
    def test_two_loads_that_need_each_other_end(self, patient: Loader) -> None:
        """A loads B while B loads A, in tasks of one loop: each computes the other's value for itself."""

        async def main() -> list[str]:
            both = asyncio.Barrier(2)

            def load(key: str, other: str) -> Callable[[], Awaitable[str]]:
                async def compute() -> str:
                    await both.wait()
                    value: str = await patient.aload(other, lambda: other)
                    await both.wait()
                    return key + value

                return compute

            return await asyncio.gather(
                patient.aload("a", load("a", "b")), patient.aload("b", load("b", "a"))
            )

        assert run(main) == ["ab", "ba"]

    def test_a_task_and_a_thread_that_need_each_other_end(self, patient: Loader) -> None:
        """A is loaded by a thread and needs B, B by a task and needs A."""
        both = threading.Barrier(2)

        def in_thread() -> str:
            both.wait(PATIENCE)
            value: str = patient.load("b", lambda: "b")
            both.wait(PATIENCE)
            return "a" + value

        async def in_task() -> str:
            await asyncio.to_thread(both.wait, PATIENCE)
            value: str = await patient.aload("a", lambda: "a")
            await asyncio.to_thread(both.wait, PATIENCE)
            return "b" + value

        thread = Caller(lambda: patient.load("a", in_thread))
        loop = Caller(lambda: run(lambda: patient.aload("b", in_task)))
        assert (thread.outcome(), loop.outcome()) == ("ab", "ba")

    def test_a_thread_that_the_leader_needs_does_not_wait_for_it(self, patient: Loader) -> None:
        """The one thread of an executor is asked for the key that a task loads by means of that executor."""

        async def main() -> list[Any]:
            loop = asyncio.get_running_loop()
            loop.set_default_executor(ThreadPoolExecutor(1))
            begun, asked = asyncio.Event(), asyncio.Event()

            async def compute() -> Any:
                begun.set()
                await asked.wait()
                return await asyncio.to_thread(lambda: "from the task")

            leader = asyncio.create_task(patient.aload("a", compute))
            await begun.wait()
            other = loop.run_in_executor(None, lambda: patient.load("a", lambda: "from the thread"))
            asked.set()
            return await asyncio.wait_for(asyncio.gather(leader, other), PATIENCE / 4)

        assert run(main) == ["from the task", "from the thread"]

    def test_children_of_leaders_do_not_wait_for_each_other(self, patient: Loader) -> None:
        """The tasks that a leader awaits are part of its load: they compute rather than wait for another's."""

        async def main() -> list[Any]:
            both = asyncio.Barrier(2)

            def load(other: str) -> Callable[[], Awaitable[Any]]:
                async def compute() -> Any:
                    await both.wait()
                    (value,) = await asyncio.gather(patient.aload(other, lambda: other))
                    await both.wait()
                    return value

                return compute

            return await asyncio.gather(patient.aload("a", load("b")), patient.aload("b", load("a")))

        assert run(main) == ["b", "a"]

    def test_a_load_that_awaits_its_own_key_is_told(self, patient: Loader) -> None:
        """RecursionError names the key."""

        async def compute() -> Any:
            return await patient.aload("own", compute)

        with pytest.raises(RecursionError, match="'own'"):
            run(lambda: patient.aload("own", compute))

    def test_a_child_task_that_asks_for_the_own_key_computes_once(self, patient: Loader) -> None:
        """It may be detached, so it gets a value; if it asks on through children of its own, it is told."""
        levels: list[int] = []

        async def once() -> Any:
            levels.append(1)
            if len(levels) == 1:
                return await asyncio.create_task(patient.aload("a", once))
            return "from the child"

        assert run(lambda: patient.aload("a", once)) == "from the child"

        async def endless() -> Any:
            return await asyncio.create_task(patient.aload("b", endless))

        with pytest.raises(RecursionError, match="'b'"):
            run(lambda: patient.aload("b", endless))

    def test_a_task_that_outlives_the_load_may_wait_again(self, cache: Cache, patient: Loader) -> None:
        """What a leader leaves behind is bound by the load only while the load lasts."""
        held = Load(holds=True)

        async def main() -> Any:
            go = asyncio.Event()
            left: list[asyncio.Task[Any]] = []

            async def later() -> Any:
                await go.wait()
                return await patient.aload("b", Load("own").awaited)

            async def compute() -> None:
                left.append(asyncio.create_task(later()))

            await patient.aload("a", compute)
            leader = asyncio.create_task(patient.aload("b", held.awaited))
            await auntil(held.begun.is_set)
            go.set()
            await auntil(lambda: waiters_of(cache, "b") == 1)
            held.go()
            return await leader, await left[0]

        assert run(main) == ("loaded", "loaded")

    def test_a_sync_call_inside_an_event_loop_never_waits(self, cache: Cache, patient: Loader) -> None:
        """It would stop the loop that the leader may need: it computes, and stores."""
        held = Load(holds=True)

        async def main() -> Any:
            leader = asyncio.create_task(patient.aload("a", held.awaited))
            await auntil(held.begun.is_set)
            own = cache.get_or_set("a", Load("own"))
            held.go()
            return own, await leader

        assert run(main) == ("own", "loaded")

    def test_a_thread_that_serves_an_event_loop_never_waits(self, cache: Cache, patient: Loader) -> None:
        """The thread-sensitive thread of asgiref may be the one that the leader is about to need."""
        sync = pytest.importorskip("asgiref.sync")

        async def needs_the_thread() -> Any:
            waiting = asyncio.create_task(sync.sync_to_async(patient.load)("a", Load("own")))
            await auntil(waiting.done)
            return await sync.sync_to_async(lambda: "led")(), await waiting

        async def main() -> Any:
            return await patient.aload("a", needs_the_thread)

        assert run(main) == ("led", "own")

        async def unrelated() -> Any:
            held = Load("led", holds=True)
            leader = asyncio.create_task(patient.aload("b", held.awaited))
            await auntil(held.begun.is_set)
            # In a context of its own, so that it is not known as part of the load.
            own = await contextvars.Context().run(
                asyncio.ensure_future, sync.sync_to_async(patient.load)("b", Load("own"))
            )
            held.go()
            return own, await leader

        assert run(unrelated) == ("own", "led")


class TestInvalidation:
    def test_a_late_value_is_not_stored_nor_joined(self, cache: Cache, patient: Loader) -> None:
        """Tasks that ask after an invalidation get a load that began after it."""
        old, new = Load("old", holds=True), Load("new")

        async def main() -> None:
            before = asyncio.create_task(patient.aload("a", old.awaited, tags=["t"]))
            await auntil(old.begun.is_set)
            cache.delete_by_tag("t")
            assert await asyncio.gather(*(patient.aload("a", new.awaited) for _ in range(5))) == ["new"] * 5
            old.go()
            assert await before == "old"

        run(main)
        assert new.calls == 1
        assert cache.get("a") == "new"


class TestEarlyRefresh:
    def test_the_others_get_the_value_that_is_held(self) -> None:
        """One task refreshes, nobody waits."""
        cache: Cache = TTLCache(10, 60, early_refresh=1e15)
        held = Load("second", holds=True)

        async def main() -> None:
            hot = Loader(cache)
            await hot.aload("a", Load("first").awaited)
            elected = asyncio.create_task(hot.aload("a", held.awaited))
            await auntil(held.begun.is_set)
            assert await hot.aload("a", held.awaited) == "first"
            held.go()
            assert await elected == "second"

        run(main)
        assert held.calls == 1

    def test_a_refresh_in_the_background_is_a_task_of_its_own(self) -> None:
        """The elected caller gets the value held, at once."""
        cache: Cache = TTLCache(10, 60, early_refresh=1e15)
        held = Load("second", holds=True)

        async def main() -> None:
            hot = Loader(cache, background=True)
            await hot.aload("a", Load("first").awaited)
            assert await hot.aload("a", held.awaited) == "first"
            await auntil(held.begun.is_set)
            assert await hot.aload("a", held.awaited) == "first"
            held.go()
            await auntil(lambda: cache.peek("a") == "second")
            assert held.calls == 1
            await auntil(lambda: not loader._tasks)
            assert await hot.aload("a", Load("third").awaited) == "second"
            await auntil(lambda: cache.peek("a") == "third")

        run(main)

    def test_a_failing_refresh_in_the_background_is_logged_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nobody waits for it, so the log has to tell."""
        cache: Cache = TTLCache(10, 60, early_refresh=1e15)
        failing = Load(ValueError("down"))

        async def main() -> None:
            hot = Loader(cache, background=True)
            await hot.aload("a", Load("first").awaited)
            for _ in range(3):
                assert await hot.aload("a", failing.awaited) == "first"
                await auntil(lambda: not loader._tasks)

        run(main)
        assert failing.calls == 1
        assert [record.name for record in caplog.records] == ["oxicache.grace"]
        loader.forget_flights()


def test_where_no_event_loop_of_asyncio_runs_nobody_waits(cache: Cache, patient: Loader) -> None:
    """A coroutine that something else drives has no loop to be woken by: it computes."""
    held = Load(holds=True)
    leader = Caller(lambda: patient.load("a", held))
    held.begun.wait(PATIENCE)
    assert flight_of(cache, "a").is_flying
    driven = patient.aload("a", lambda: "own")
    with pytest.raises(StopIteration) as ended:
        driven.send(None)
    assert ended.value.value == "own"
    held.go()
    assert leader.outcome() == "loaded"
