"""What a miss leaves behind in the native backend: who fills, who writes, and what other workers see of it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("django")

from backend_handlers import Handler, handler
from driven_clock import Clock, driven

from oxicache._native import set_task_of, tokens_forget, versions_state

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock


@pytest.fixture
def clock() -> Iterator[Clock]:
    with driven() as clock:
        yield clock


@pytest.fixture
def workers(request: pytest.FixtureRequest) -> Iterator[tuple[Handler, Handler]]:
    tokens_forget()
    yield handler(request.node.name), handler(request.node.name)
    tokens_forget()


def elsewhere(call: Callable[[], Any]) -> Any:
    """What `call()` gives in a thread of its own."""
    given: list[Any] = []
    thread = threading.Thread(target=lambda: given.append(call()))
    thread.start()
    thread.join(10)
    return given[0]


class TestFills:
    def test_fills_of_two_workers_stand_side_by_side(self, workers: tuple[Handler, Handler]) -> None:
        """Who stores what he missed outdates no other worker's copy."""
        for worker in workers:
            assert worker.get("a") is None
            worker.set("a", 1)
        assert [worker.get("a") for worker in workers] == [1, 1]

    @pytest.mark.parametrize("ask", ["get", "get_many", "has_key", "in"])
    def test_each_way_of_asking_leaves_a_token(self, ask: str, workers: tuple[Handler, Handler]) -> None:
        """get, get_many, has_key and `in` all notice that a key is missed."""
        one, other = workers
        other.set("a", 2)
        asked: dict[str, Callable[[], object]] = {
            "get": lambda: one.get("a"),
            "get_many": lambda: one.get_many(["a"]),
            "has_key": lambda: one.has_key("a"),
            "in": lambda: "a" in one,
        }
        asked[ask]()
        one.set("a", 1)
        assert other.get("a") == 2

    @pytest.mark.parametrize("default", [False, True])
    def test_a_handler_with_a_prefix_fills_too(self, default: bool) -> None:
        """The words of keys with a prefix and a version are the same in all workers."""
        workers = [handler("prefixed", params={"KEY_PREFIX": "p", "VERSION": 3}) for _ in range(2)]
        for worker in workers:
            assert worker.get("a", default) is default
            worker.set("a", 1)
        assert [worker.get("a") for worker in workers] == [1, 1]
        workers[0].delete("a")
        assert workers[1].get("a") is None

    def test_a_fill_that_was_overtaken_is_not_stored(self, workers: tuple[Handler, Handler]) -> None:
        """What was read before another worker's write or deletion is not served after it."""
        one, other = workers
        for change in (lambda: other.set("a", 2), lambda: other.delete("a"), other.clear):
            assert one.get("a") is None
            change()
            one.set("a", 1)
            assert one.get("a") is None
            tokens_forget()

    def test_a_tag_overtakes_fills_that_carry_one(self, workers: tuple[Handler, Handler]) -> None:
        """A tag that was invalidated after the miss keeps out the fills with tags, and lets in those without."""
        one, other = workers
        for tags, expected in ((["t"], None), ([], 1)):
            assert one.get("a") is None
            other.delete_by_tag("t")
            one.set("a", 1, tags=tags)
            assert one.get("a") == expected

    def test_the_second_store_is_a_write(self, workers: tuple[Handler, Handler]) -> None:
        """A token is used up by the first change of its key."""
        one, other = workers
        one.get("a")
        one.set("a", 1)
        other.get("a")
        other.set("a", 2)
        one.set("a", 3)
        assert (one.get("a"), other.get("a")) == (3, None)

    @pytest.mark.parametrize("change", ["delete", "touch", "incr", "add", "set_many", "write"])
    def test_any_change_of_the_key_uses_the_token_up(
        self, change: str, workers: tuple[Handler, Handler]
    ) -> None:
        """After its own change a worker writes, whatever it missed before."""
        one, other = workers
        one.get("a")
        calls: dict[str, Callable[[], object]] = {
            "delete": lambda: one.delete("a"),
            "touch": lambda: one.touch("a"),
            "incr": lambda: failed_incr(one),
            "add": lambda: one.add("a", 0),
            "set_many": lambda: one.set_many({"a": 0}),
            "write": lambda: one.set("a", 0, write=True),
        }
        calls[change]()
        tokens_of_other = other.get("a")
        assert tokens_of_other is None
        other.set("a", 2)
        one.set("a", 1)
        assert (one.get("a"), other.get("a")) == (1, None)

    def test_a_clear_of_its_own_leaves_a_fill_one(self, workers: tuple[Handler, Handler]) -> None:
        """It is stored, as what comes after the clear, and outdates nothing that another worker has stored since."""
        one, other = workers
        one.get("a")
        one.clear()
        assert other.get("a") is None
        other.set("a", 2)
        one.set("a", 1)
        assert (one.get("a"), other.get("a")) == (1, 2)


def failed_incr(cache: Handler) -> None:
    with pytest.raises(ValueError, match="not found"):
        cache.incr("a")


class TestWhose:
    def test_another_thread_has_no_token(self, workers: tuple[Handler, Handler]) -> None:
        """A key that one thread missed is written by another."""
        one, other = workers
        other.set("a", 2)
        one.get("a")
        elsewhere(lambda: one.set("a", 1))
        assert other.get("a") is None

    def test_each_task_has_its_own(self, workers: tuple[Handler, Handler]) -> None:
        """Of two tasks of one thread the one that missed fills, the other writes."""
        one, other = workers

        async def steps() -> list[Any]:
            other.set("a", 2)
            asked, stored = asyncio.Event(), asyncio.Event()

            async def ask() -> None:
                one.get("a")
                asked.set()
                await stored.wait()
                one.set("b", 1)

            async def write() -> None:
                await asked.wait()
                one.set("a", 1)
                stored.set()

            await asyncio.gather(ask(), write())
            after_write = other.get("a")
            one.get("c")
            one.set("c", 1)
            other.get("c")
            other.set("c", 2)
            return [after_write, one.get("c")]

        assert asyncio.run(steps()) == [None, 1]

    def test_a_task_that_is_gone_leaves_nothing(self, workers: tuple[Handler, Handler]) -> None:
        """A task at the address of one that ended has none of its tokens."""
        one, other = workers

        async def steps() -> None:
            for number in range(50):
                key = f"k{number}"
                other.set(key, 2)
                await asyncio.create_task(ask(key))
                await asyncio.create_task(write(key))
                assert other.get(key) is None

        async def ask(key: str) -> None:
            one.get(key)

        async def write(key: str) -> None:
            one.set(key, 1)

        asyncio.run(steps())

    def test_somebody_else_may_tell_tasks_apart(self, workers: tuple[Handler, Handler]) -> None:
        """Where no asyncio task runs, greenlets say, `set_task_of` names whose the misses are."""

        class Greenlet:
            pass

        one, other = workers
        lets = [Greenlet(), Greenlet()]
        current = lets[0]
        set_task_of(lambda: current)
        try:
            other.set("a", 2)
            one.get("a")
            current = lets[1]
            one.set("a", 1)
            assert other.get("a") is None
        finally:
            set_task_of(None)


class TestLife:
    def test_ten_seconds(self, clock: Clock, workers: tuple[Handler, Handler]) -> None:
        """A token is worth nothing once ten seconds have passed."""
        one, other = workers
        for seconds, expected in ((9.9, 2), (10, None)):
            other.set("a", 2)
            one.delete("b")
            one.get("a")
            clock.advance(seconds)
            one.set("a", 1)
            assert other.get("a") == expected
            one.clear()

    def test_the_end_of_a_request(self, workers: tuple[Handler, Handler]) -> None:
        """`tokens_forget` makes writes of what comes after it."""
        one, other = workers
        other.set("a", 2)
        one.get("a")
        tokens_forget()
        one.set("a", 1)
        assert other.get("a") is None

    def test_so_many_are_kept(self, workers: tuple[Handler, Handler]) -> None:
        """The last 256 misses count; the same key missed again and again counts once."""
        one, other = workers
        for number in range(257):
            other.set(f"k{number}", 2)
            one.get(f"k{number}")
        for _ in range(100):
            one.get("nowhere")
        for number in range(257):
            one.set(f"k{number}", 1)
        held = other.get_many([f"k{number}" for number in range(257)])
        assert set(held) == {f"k{number}" for number in range(2, 257)}

    def test_a_miss_while_a_value_is_pickled_is_none_of_its_own(
        self, workers: tuple[Handler, Handler]
    ) -> None:
        """The value was made before: storing it stays a write."""
        one, other = workers
        Asking.cache = one
        other.set("a", 2)
        one.set("a", Asking())
        assert other.get("a") is None


class Asking:
    """Its pickling misses the key it is stored under."""

    cache: Any = None

    def __reduce__(self) -> tuple[type, tuple[()]]:
        self.cache.get("a")
        return (Asking, ())


class TestProcessCoherence:
    def test_no_word_is_moved(self) -> None:
        """With coherence "process" a worker is alone, as with LocMemCache."""
        one, other = (handler("alone", coherence="process") for _ in range(2))
        before = versions_state()["bumps"]
        for worker in (one, other):
            worker.get("a")
            worker.set("a", 1, tags=["t"])
            worker.set("a", 2, tags=["t"])
        one.delete("a")
        one.delete_by_tag("t")
        one.clear()
        assert (one.get("a"), other.get("a")) == (None, 2)
        assert versions_state()["bumps"] == before


class TestLocal:
    def test_add_incr_and_touch_say_nothing(self, workers: tuple[Handler, Handler]) -> None:
        """They are each process's own, as LocMemCache's are."""
        one, other = workers
        assert one.add("n", 1)
        assert other.add("n", 5)
        assert (one.incr("n"), other.incr("n")) == (2, 6)
        assert one.touch("n", 50)
        assert (one.get("n"), other.get("n")) == (2, 6)
