"""The native half of the Django backend while caches are disabled, and just after."""

from collections.abc import Iterator

import pytest

pytest.importorskip("django")

from backend_handlers import Handler, handler

from oxicache._native import NativeStore, bump, capture, set_enabled, tokens_forget

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock


@pytest.fixture(autouse=True)
def enabled() -> Iterator[None]:
    """Whatever a test does, the next one finds caches enabled."""
    tokens_forget()
    yield
    set_enabled(True)
    tokens_forget()


class TestBackend:
    @pytest.fixture(params=[{}, {"KEY_PREFIX": "p", "VERSION": 3}], ids=["bare", "prefixed"])
    def worker(self, request: pytest.FixtureRequest) -> Handler:
        """A handler of a store of its own."""
        return handler(request.node.name, params=request.param)

    def test_the_backend_answers_as_an_empty_one(self, worker: Handler) -> None:
        """Reads miss, `add` says yes as Django's dummy does, `incr` complains as for a missing key."""
        worker.set("a", 1, tags=["t"])
        set_enabled(False)
        assert worker.get("a") is None
        worker.set("a", [2])
        worker.set("a", 2, write=True)
        worker.set_many({"b": 1, "c": {}})
        assert [worker.add("a", 1), worker.add("a", 1), worker.set("a", 1, nx=True)] == [True] * 3
        assert (worker.get("a", 5), worker.get_many(["a", "b"]), worker.has_key("a")) == (5, {}, False)
        assert (worker.touch("a"), worker.delete("a"), worker.delete_by_tag("t")) == (False, False, 0)
        assert (worker.time_left("a"), worker.get_with_ttl("a", 9)) == (None, (9, 0))
        assert (worker.expire_at("a", 2e9), worker.persist("a")) == (False, False)
        for change in (worker.incr, worker.decr):
            with pytest.raises(ValueError, match="not found"):
                change("a")
        assert worker.get_or_set("a", lambda: 3) == 3
        worker.delete_many(["a"])
        worker.clear()
        assert (worker._store.keys(), len(worker._store)) == ([], 0)
        set_enabled(True)
        assert worker.get("a") is None
        worker.set("a", 1)
        assert worker.get("a") == 1

    def test_a_miss_of_a_disabled_cache_makes_no_fill(self, worker: Handler) -> None:
        """What was missed while caches were disabled, or before, is not filled afterwards: it is a write."""
        other = Handler(NativeStore(worker._store.location))
        other.key_prefix, other.version = worker.key_prefix, worker.version
        set_enabled(False)
        assert worker.get("a") is None
        set_enabled(True)
        other.set("a", "theirs")
        worker.set("a", "mine")
        assert (worker.get("a"), other.get("a")) == ("mine", None)

    def test_a_fill_that_was_missed_before_is_not_stored(self, worker: Handler) -> None:
        """Between the miss and the fill everything was cleared: who knows what the value was read from."""
        assert worker.get("a") is None
        set_enabled(False)
        set_enabled(True)
        worker.set("a", "read before")
        assert worker.get("a") is None
        worker.set("a", "read after")
        assert worker.get("a") == "read after"

    def test_others_hear_of_writes_and_deletes(self, worker: Handler) -> None:
        """A worker that stores nothing still says what it changes: others may hold it."""
        own = f"key:{worker._store.location}:{worker.key_prefix}:{worker.version}:a"
        tag = f"tag:{worker._store.location}:t"
        set_enabled(False)
        stamps = capture([own])
        worker.set("a", 1)
        assert not stamps.is_current()
        stamps = capture([own])
        worker.delete("a")
        assert not stamps.is_current()
        stamps = capture([tag])
        worker.delete_by_tag("t")
        assert not stamps.is_current()

    def test_rows_words_move_as_ever(self) -> None:
        """Version words are nobody's cache."""
        set_enabled(False)
        stamps = capture(["model:a.b"])
        bump(["model:a.b"])
        assert not stamps.is_current()
