"""Orders and the native half of the Django backend: fills, keys as Django makes them, stores that others cleared."""

import asyncio
from typing import Any

import pytest

pytest.importorskip("django")

from backend_handlers import Handler, handler
from orders import drain, ordered, post

from oxicache._native import NativeStore, _bury, attend, bump, cache_manager, tokens_forget

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

PARAMS: list[dict[str, Any]] = [{}, {"KEY_PREFIX": "p"}, {"KEY_PREFIX": "a:1:b", "VERSION": -7}]


class Registered:
    """A handler whose store is registered as the backend's are."""

    def __init__(self, name: str, params: dict[str, Any], **options: Any) -> None:
        self.worker: Handler = handler(name, params=params, **options)
        self.cache = self.worker._store.cache
        self.name = cache_manager.register("django:test", self.cache)


@pytest.fixture(params=PARAMS, ids=["bare", "prefix", "odd"])
def registered(request: pytest.FixtureRequest) -> Any:
    tokens_forget()
    found = Registered(request.node.name, request.param)
    yield found
    cache_manager.remove(found.name)
    tokens_forget()


class TestKeys:
    def test_a_key_is_named_as_django_makes_it(self, registered: Registered) -> None:
        """Prefix, version and key in one string, wherever prefix or key have colons of their own."""
        worker = registered.worker
        for key in ("x", "a:1:x", ":"):
            worker.set(key, 1)
            assert ordered("key", worker.make_key(key), names=[registered.name]) == {registered.name: [1]}
            assert worker.get(key) is None
        worker.set("x", 1, write=True)  # it was missed just above
        assert ordered("key", worker.make_key("y"), names=[registered.name]) == {registered.name: [0]}
        assert ordered("key", "nothing like it", names=[registered.name]) == {registered.name: [0]}
        assert worker.get("x") == 1

    def test_keys_of_other_caches_are_not_taken_apart(self) -> None:
        """In any other cache a str is a str."""
        from orders import registered as plain

        with plain() as (name, cache):
            cache.set("x", 1)
            assert ordered("key", ":1:x", names=[name]) == {name: [0]}
            assert cache.get("x") == 1


class TestFills:
    @pytest.mark.parametrize(("order", "about"), [("clear", ""), ("key", ":1:a"), ("tag", "t")])
    @pytest.mark.parametrize("is_waiting", [False, True], ids=["done", "waiting"])
    def test_what_was_missed_before_is_not_filled(
        self, order: str, about: str, is_waiting: bool, registered: Registered
    ) -> None:
        """A fill whose miss came before an order is not stored, even if the fill itself carries the order out."""
        worker = registered.worker
        for ask in (lambda: worker.get("a"), lambda: worker.get_many(["a"]), lambda: worker.has_key("a")):
            assert not ask()
            if is_waiting:
                post(order, about, names=[registered.name])
            else:
                ordered(order, about, names=[registered.name])
            worker.set("a", "read before", tags=["t"])
            assert worker.get("a") is None
            worker.set("a", "read after", tags=["t"])
            assert worker.get("a") == "read after"
            worker.delete("a")

    def test_a_fill_in_a_task_is_not_stored_either(self, registered: Registered) -> None:
        """Tokens of tasks are tokens."""
        worker = registered.worker

        async def main() -> None:
            assert worker.get("a") is None
            await asyncio.sleep(0)
            ordered("clear", names=[registered.name])
            worker.set("a", 1)
            assert worker.get("a") is None

        asyncio.run(main())

    @pytest.mark.parametrize(("order", "about"), [("clear", ""), ("key", ":1:a"), ("tag", "t")])
    def test_a_load_in_flight_is_not_stored(self, order: str, about: str) -> None:
        """What a loader reads into a store is not stored when an order comes in between."""
        found = Registered("loads", {})
        store = found.worker._store
        token = store._token("a")
        ordered(order, about, names=[found.name])
        assert not store._fill("a", 1, token, tags=["t"])
        assert store._fill("a", 2, store._token("a"), tags=["t"])
        cache_manager.remove(found.name)

    def test_other_stores_fills_are_their_own(self, registered: Registered) -> None:
        """An order for one store outdates no other's misses."""
        other = handler("another store")
        assert other.get("a") is None
        ordered("clear", names=[registered.name])
        other.set("a", 1)
        assert other.get("a") == 1


class TestClearedByOthers:
    def test_nobodys_request_drops_what_another_process_cleared(self) -> None:
        """A store that finds itself cleared is empty at once, and lets go of its entries in bites."""
        drain()
        worker = handler("cleared", max_entries=30_000)
        for number in range(20_000):
            worker.set(str(number), [number], write=True)
        bump(["store:cleared"])
        assert worker.get("5") is None
        assert len(worker._store) == 0
        worker.set("5", 1, write=True)
        assert worker.get("5") == 1
        assert _bury(0), "all was dropped at once"
        drain()
        assert worker.get("5") == 1

    def test_a_python_call_of_clear_drops_at_once(self) -> None:
        """Who clears a cache himself has its objects dropped before the call returns."""
        drain()
        store = NativeStore("cleared here")
        for number in range(5_000):
            store.set(str(number), [number])
        store.clear()
        assert not _bury(0)
        assert attend() == 0
