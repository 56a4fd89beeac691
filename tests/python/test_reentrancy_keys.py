"""Keys whose `__eq__` or `__hash__` changes the cache, waits or fails in the middle of a lookup.

What could hang runs in a child process, which a watchdog ends with all stacks on stderr.
"""

from collections.abc import Callable

import pytest
from child_process import check
from driven_clock import Clock
from provocations import OPERATIONS, Cache

from oxicache._native import TTLCache

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock


class TestEqualityThatChangesTheCache:
    def test_the_last_reference_to_a_compared_key_goes_outside_the_lock(self) -> None:
        """A key removed while it is compared may use the cache in its `__del__`."""
        check(
            """
            from oxicache._native import TTLCache

            class Key:
                def __init__(self, name, doomed=False):
                    self.name, self.doomed = name, doomed
                def __hash__(self):
                    return 7
                def __eq__(self, other):
                    if self.doomed and armed:
                        cache.delete_by_tag("doomed")
                    return self.name == other.name
                def __del__(self):
                    deaths.append(self.name)
                    cache.get("anything")

            for doomed_ones in range(1, 4):  # so that some come before the kept one, whatever the table's order
                for operation in ("get", "set", "delete", "peek", "touch", "time_left", "tags", "_stale", "pop"):
                    cache, armed, deaths = TTLCache(10, 60), False, []
                    cache.set(Key("doomed", doomed=True), "value", tags=["doomed"])
                    cache.set(Key("kept"), "value")
                    for number in range(doomed_ones - 1):
                        cache.set(Key(f"doomed {number}", doomed=True), "value", tags=["doomed"])
                    arguments, armed = [Key("kept")] + (["new"] if operation == "set" else []), True
                    getattr(cache, operation)(*arguments)
                    assert len(cache) == (operation not in ("delete", "pop"))
                    assert sum(name.startswith("doomed") for name in deaths) == doomed_ones
            """
        )

    def test_a_comparison_that_always_stores_ends(self) -> None:
        """When each comparison adds an entry, a lookup answers or gives up with RuntimeError; it does not spin."""
        check(
            """
            import itertools
            from oxicache._native import TTLCache

            numbers = itertools.count()

            class Key:
                def __init__(self, name):
                    self.name = name
                def __hash__(self):
                    return 7
                def __eq__(self, other):
                    cache.set(next(numbers), 1)
                    return isinstance(other, Key) and self.name == other.name

            cache = TTLCache(1000, 60)
            for name in "abc":
                try:
                    cache.set(Key(name), name)
                except RuntimeError as error:
                    assert "__eq__" in str(error), error
            for name in "abcd":
                try:
                    assert cache.get(Key(name)) in (name, None)
                except RuntimeError as error:
                    assert "__eq__" in str(error), error
            assert len(cache) == cache.stats()["size"] <= 1000
            """
        )

    def test_a_lookup_that_clears_the_cache_is_a_miss(self) -> None:
        """What the comparison removed is not returned from the grave."""
        check(
            """
            from oxicache._native import TTLCache

            class Key:
                def __hash__(self):
                    return 7
                def __eq__(self, other):
                    cache.clear()
                    return True

            misses = {"get": None, "peek": None, "delete": False, "touch": False, "time_left": None}
            for operation, miss in misses.items():
                cache = TTLCache(10, 60)
                cache.set(Key(), 1)
                assert getattr(cache, operation)(Key()) == miss, operation
                assert len(cache) == 0
                cache.set(Key(), 1)
                cache.set(Key(), 2)
                assert len(cache) == 1
            """
        )

    def test_equality_runs_once_the_lock_is_free(self) -> None:
        """While one thread is inside `__eq__`, another can read and write."""
        check(
            """
            import threading
            from oxicache._native import TTLCache

            class Key:
                def __hash__(self):
                    return 7
                def __eq__(self, other):
                    if threading.current_thread() is not threading.main_thread():
                        entered.set()
                        assert leave.wait(60)
                    return True

            cache = TTLCache(10, 60)
            cache.set(Key(), "value")
            cache.set("plain", 1)
            entered, leave, found = threading.Event(), threading.Event(), []
            thread = threading.Thread(target=lambda: found.append(cache.get(Key())))
            thread.start()
            assert entered.wait(60)
            assert cache.get("plain") == 1
            cache.set("plain", 2)
            assert cache.stats()["size"] == 2
            leave.set()
            thread.join()
            assert found == ["value"]
            """
        )


class Broken:
    """Raises where it is told to, once it is told to."""

    def __init__(self) -> None:
        self.fails = ""

    def __hash__(self) -> int:
        if self.fails == "hash":
            raise LookupError("no hash")
        return 7

    def __eq__(self, other: object) -> bool:
        if self.fails == "eq":
            raise LookupError("no equality")
        return True if self is other else NotImplemented


KEYED = {
    name: operation
    for name, operation in OPERATIONS.items()
    if name
    not in {
        "delete-by-tag",
        "clear",
        "sweep",
        "evict",
        "shrink",
        "shrink-bytes",
        "keys",
        "stats",
        "found-expired",
    }
    and not name.startswith(("periodic", "set-over"))
}


# A held key is not hashed again, and tokens compare no keys.
FAILURES = [
    pytest.param(operation, what, who, id=f"{operation}-{what}-{who}")
    for operation in KEYED
    for what, who in (("hash", "asked"), ("eq", "asked"), ("eq", "held"))
    if what == "hash" or operation not in ("token", "is-current")
]


@pytest.mark.parametrize(("operation", "what", "who"), FAILURES)
def test_errors_of_keys_pass_through(operation: str, what: str, who: str) -> None:
    """An exception in `__hash__` or `__eq__` is the caller's, and the cache is as it was before."""
    clock = Clock()
    cache: Cache = TTLCache(10, 60)
    held, asked = Broken(), Broken()
    cache.set(held, "value")
    cache.set("a", 1)
    before = cache.items()
    if operation == "set-many":
        items = {asked: 1}
        act: Callable[[], object] = lambda: cache.set_many(items)  # noqa: E731 - made before the key breaks
    else:
        act = lambda: KEYED[operation](cache, asked)  # noqa: E731
    (asked if who == "asked" else held).fails = what
    try:
        with pytest.raises(LookupError, match="no hash" if what == "hash" else "no equality"):
            act()
    finally:
        asked.fails = held.fails = ""
    assert cache.items() == before
    assert cache.get(held) == "value"
    clock.advance(60)
    assert cache._cleanup_expired() == 2
