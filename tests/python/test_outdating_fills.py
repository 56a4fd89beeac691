"""What is stored while something is invalidated by patterns: fills and loads that began before, and amid a store."""

import threading

import pytest

pytest.importorskip("django")

from backend_handlers import Handler
from pattern_workers import RECORDS, fill, held, store_of, workers

from oxicache._native import KeyPattern, clock_follow, clock_system

pytestmark = pytest.mark.oxicache_real_clock


class TestFills:
    """What was missed, or is being loaded, when something is invalidated."""

    @pytest.mark.parametrize(("key", "is_stored"), [("user:1", False), ("team:1", True)])
    def test_a_fill_is_stored_unless_its_key_matches(self, key: str, is_stored: bool) -> None:
        """What was read before the invalidation is outdated only if it is about the key."""
        one, two = workers()
        assert two.get(key) is None
        store_of(one).outdate_patterns(["user:*"])
        two.set(key, "loaded before")
        assert two.get(key) == ("loaded before" if is_stored else None)

    def test_a_fill_that_is_spared_is_no_write(self) -> None:
        """It does not outdate what others have filled."""
        one, two = workers()
        assert two.get("team:1") is None
        fill(one)
        store_of(one).outdate_patterns(["user:*"])
        two.set("team:1", "loaded before")
        assert one.get("team:1") == "old"

    @pytest.mark.parametrize(("key", "is_stored"), [("user:1", False), ("team:1", True)])
    @pytest.mark.parametrize("times", [1, 5, RECORDS])
    def test_a_load_is_stored_unless_its_key_matches(self, key: str, is_stored: bool, times: int) -> None:
        """However often something else was invalidated meanwhile, as long as that is known."""
        one, two = workers()
        store = store_of(two)
        held_as = two._key(key)
        token = store._token(held_as)
        for _ in range(times - 1):
            store_of(one).outdate_patterns(["nothing:*"])
        store_of(one).outdate_patterns(["user:*"])
        assert store._is_current(held_as, token) is is_stored
        assert store._fill(held_as, "loaded before", token) is is_stored
        assert two.get(key) == ("loaded before" if is_stored else None)

    @pytest.mark.parametrize("kind", ["fill", "load"])
    def test_what_nobody_knows_any_more_is_not_stored(self, kind: str) -> None:
        """After more invalidations than the journal keeps."""
        one, two = workers()
        store = store_of(two)
        key = two._key("team:1")
        token = store._token(key)
        assert two.get("team:1") is None
        for _ in range(RECORDS + 1):
            store_of(one).outdate_patterns(["user:*"])
        if kind == "load":
            assert not store._fill(key, "loaded before", token)
        else:
            two.set("team:1", "loaded before")
        assert two.get("team:1") is None

    @pytest.mark.parametrize("kind", ["fill", "load"])
    @pytest.mark.parametrize("between", ["clear", "delete", "tag"])
    def test_what_else_is_invalidated_counts_as_ever(self, between: str, kind: str) -> None:
        """Patterns beside it excuse nothing."""
        one, two = workers()
        store, other = store_of(two), store_of(one)
        key = two._key("team:1")
        token = store._token(key)
        assert two.get("team:1") is None
        other.outdate_patterns(["user:*"])
        {
            "clear": other.clear,
            "delete": lambda: other.delete(key),
            "tag": lambda: other.delete_by_tag("red"),
        }[between]()
        other.outdate_patterns(["user:*"])
        if kind == "load":
            assert not store._fill(key, "loaded before", token, tags=["red"])
        else:
            two.set("team:1", "loaded before", tags=["red"])
        assert two.get("team:1") is None

    def test_what_its_own_thread_sets_next_is_news(self) -> None:
        """As after a `clear`: what is set afterwards is not lost, and is a write."""
        (one,) = workers(1)
        assert one.get("user:1") is None
        store_of(one).outdate_patterns(["user:*"])
        one.set("user:1", "new")
        assert one.get("user:1") == "new"

    def test_a_load_in_another_thread(self) -> None:
        """Its caller gets what was loaded, and nobody after it."""
        (one,) = workers(1)
        began, go_on = threading.Event(), threading.Event()
        found = []

        def load() -> str:
            began.set()
            assert go_on.wait(30)
            return "loaded before"

        store = store_of(one)
        key = one._key("user:1")

        def compute() -> None:
            token = store._token(key)
            found.append(store._fill(key, load(), token))

        thread = threading.Thread(target=compute)
        thread.start()
        assert began.wait(30)
        store.outdate_patterns(["user:*"])
        assert one.get("user:1") is None
        go_on.set()
        thread.join()
        assert found == [False]
        assert one.get("user:1") is None


class TestAmidAStore:
    """Python code may run while a value is stored: here the clock, which invalidates when asked for the n-th time."""

    @pytest.mark.parametrize("how", ["fill", "load"])
    def test_an_invalidation_amid_a_fill(self, how: str) -> None:
        """Whenever it comes, and though this worker has looked at what was invalidated before it stores."""
        asked = most = 0
        for at in range(1, 20):
            one, two = workers()
            asked = self.stored_amid(one, two, how, at)
            assert one.get("user:1") is None
            if asked < at:
                break
            most = max(most, asked)
        assert asked < at, "there are more moments than were tried"
        assert most > 0

    def stored_amid(self, one: Handler, two: Handler, how: str, at: int) -> int:
        """Store what was missed before; how often the time was asked for, if it was that often."""
        store, key = store_of(one), one._key("user:1")
        asked = 0

        def now() -> float:
            nonlocal asked
            asked += 1
            if asked == at:
                store_of(two).outdate_patterns(["user:*"])
                len(store)
            return 1000.0

        token = store._token(key)
        if how == "fill":
            one.get("user:1")
        clock_follow(now)
        try:
            if how == "fill":
                one.set("user:1", "loaded before")
            else:
                store._fill(key, "loaded before", token)
        finally:
            clock_system()
        if asked < at:
            one.delete("user:1")
        return asked

    @pytest.mark.parametrize("at", range(1, 6))
    @pytest.mark.parametrize("how", ["patterns", "clear"])
    def test_an_invalidation_amid_a_removal(self, how: str, at: int) -> None:
        """What another worker says while this one removes something is not taken for what it says itself."""
        one, two = workers()
        fill(one)
        asked = 0

        def now() -> float:
            nonlocal asked
            asked += 1
            if asked == at and how == "clear":
                two.clear()
            elif asked == at:
                store_of(two).outdate_patterns(["team:*"])
            return 1000.0

        clock_follow(now)
        try:
            store_of(one).remove_matching(KeyPattern("user:1"))
            while asked < at:
                store_of(one).remove_matching(KeyPattern("user:1"))
        finally:
            clock_system()
        assert held(one) == ([] if how == "clear" else ["user:2"])
