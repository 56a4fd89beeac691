"""How room is made: what five of Django's tests of LocMemCache are about, without its throwing out a third at once.

docs/conformance.md lists these tests.
"""

from uuid import uuid4

import pytest

from oxicache.django.backends import NativeCache

POLICIES = ("s3fifo", "lru")
TWICE = 2  # S3-FIFO keeps what was used twice while on probation


@pytest.fixture(params=POLICIES)
def nine(request: pytest.FixtureRequest) -> NativeCache:
    """A full cache: MAX_ENTRIES is 9, and it holds 0 to 8, each under itself."""
    return filled(9, request.param)


def filled(most: int, policy: str, **options: object) -> NativeCache:
    options |= {"MAX_ENTRIES": most, "POLICY": policy}
    cache = NativeCache(f"culling-{uuid4()}", {"OPTIONS": options})
    for key in range(most):
        cache.set(key, key, timeout=None)
    return cache


def held(cache: NativeCache) -> set[int]:
    return {key for key in range(100) if cache.has_key(key)}


class TestCulling:
    @pytest.mark.parametrize("policy", POLICIES)
    @pytest.mark.parametrize("frequency", [3, 0])
    def test_max_entries_are_kept(self, policy: str, frequency: int) -> None:
        """As many entries as MAX_ENTRIES says are kept, the newest among them, whatever CULL_FREQUENCY is."""
        cache = filled(30, policy, CULL_FREQUENCY=frequency)
        for key in range(30, 50):
            cache.set(key, key)
            assert cache.get(key) == key
            assert len(held(cache)) == 30

    def test_what_was_read_stays(self, nine: NativeCache) -> None:
        """Entries that were read outlive those that were not: read twice for S3-FIFO, once would do for LRU."""
        for _ in range(TWICE):
            assert [nine.get(key) for key in range(6)] == [*range(6)]
        self.make_room(nine)
        assert held(nine) == {*range(6), 9, 10, 11}

    def test_what_was_set_again_stays(self, nine: NativeCache) -> None:
        """Entries that were set again outlive those that were not."""
        for _ in range(TWICE):
            for key in range(6):
                nine.set(key, key, timeout=None)
        self.make_room(nine)
        assert held(nine) == {*range(6), 9, 10, 11}

    def test_what_was_incremented_stays(self, nine: NativeCache) -> None:
        """Entries that were incremented outlive those that were not."""
        for times in range(TWICE):
            assert [nine.incr(key) for key in range(6)] == [key + times + 1 for key in range(6)]
        self.make_room(nine)
        assert held(nine) == {*range(6), 9, 10, 11}

    def make_room(self, nine: NativeCache) -> None:
        for key in (9, 10, 11):
            nine.set(key, key, timeout=None)


class TestMaxEntries:
    @pytest.mark.parametrize("most", [-1, 0, 1])
    def test_there_is_always_room_for_the_newest(self, most: int) -> None:
        """`_max_entries` set on the handler to nothing or less leaves room for one entry, as LocMemCache does."""
        cache = filled(3, "s3fifo")
        cache._max_entries = most
        for key in (7, 8):
            cache.set(key, key)
            assert held(cache) == {key}
