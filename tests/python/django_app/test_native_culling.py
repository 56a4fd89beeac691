"""Room is made: what five of Django's tests of LocMemCache are about (docs/conformance.md), said of eviction one by one."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from django.core.cache.backends.locmem import LocMemCache

from oxicache.django.backends import NativeCache

POLICIES = ("s3fifo", "lru")


@pytest.fixture(params=POLICIES)
def nine(request: pytest.FixtureRequest) -> Iterator[NativeCache]:
    """A full cache: MAX_ENTRIES is 9, and it holds 0 to 8, each under itself."""
    yield filled(9, request.param)


def filled(most: int, policy: str, **options: object) -> NativeCache:
    options |= {"MAX_ENTRIES": most, "POLICY": policy}
    cache = NativeCache(f"culling-{uuid4()}", {"OPTIONS": options})
    for key in range(most):
        cache.set(key, key, timeout=None)
    return cache


def held(cache: NativeCache) -> set[int]:
    return {key for key in range(100) if cache.has_key(key)}  # noqa: W601 -- of the cache


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
        """Entries that were read outlive those that were not."""
        assert [nine.get(key) for key in range(6)] == [*range(6)]
        for key in (9, 10, 11):
            nine.set(key, key, timeout=None)
        assert held(nine) == {*range(6), 9, 10, 11}

    def test_what_was_set_again_stays(self, nine: NativeCache) -> None:
        """Entries that were set again outlive those that were not."""
        for key in range(3, 9):
            nine.set(key, key, timeout=None)
        for key in (9, 10, 11):
            nine.set(key, key, timeout=None)
        assert held(nine) == {*range(3, 12)}

    def test_what_was_incremented_stays(self, nine: NativeCache) -> None:
        """Entries that were incremented outlive those that were not."""
        assert [nine.incr(key) for key in range(6)] == [*range(1, 7)]
        for key in (9, 10, 11):
            nine.set(key, key, timeout=None)
        assert held(nine) == {*range(6), 9, 10, 11}


class TestMaxEntries:
    @pytest.mark.parametrize("most", [-1, 0, 1])
    def test_there_is_always_room_for_the_newest(self, most: int) -> None:
        """`_max_entries` set on the handler, to nothing or less, leaves one entry, as LocMemCache does."""
        ours, theirs = filled(3, "s3fifo"), LocMemCache(f"culling-{uuid4()}", {})
        for cache in (ours, theirs):
            cache._max_entries = most
            for key in (7, 8):
                cache.set(key, key)
            assert [cache.get(key) for key in (0, 7, 8)] == [None, None, 8]
