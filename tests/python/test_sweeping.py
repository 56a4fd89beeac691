"""Sweeping that is ordered gives way: no operation takes out all that has expired; the answer comes after the last."""

import sys

import pytest
from control_worker import ask, result, short_folder
from driven_clock import driven
from orders import Cache, answer, drain, ordered, post, registered

from oxicache._native import TTLCache, _answer, attend, control_start, control_stop

ENTRIES = 100_000


def test_what_has_expired_is_taken_out_in_bites() -> None:
    """An operation takes out a little; who ordered it is told once the last has gone; nobody is given any of it."""
    with driven() as clock, registered(max_size=ENTRIES + 1, ttl=5) as (name, cache):
        for number in range(ENTRIES):
            cache.set(number, number)
        clock.advance(10)
        cache.set("live", 1)
        other: Cache = TTLCache(1)
        number = post("sweep", names=[name])
        other.get("x")
        assert _answer(number) is None, "one operation swept all of it"
        bites = 1
        while (left := len(cache)) > 1:
            assert cache.get(ENTRIES - 1) is None
            bites += 1
        assert (left, bites > 2) == (1, True)
        assert answer(number) == {name: [ENTRIES - 1]}  # one was removed by the reads above
        assert cache.get("live") == 1
        drain()


def test_other_orders_do_not_wait_for_a_sweep() -> None:
    """What is cleared while a sweep goes on is gone at once, and the sweep ends with what it had found."""
    with driven() as clock, registered(max_size=ENTRIES, ttl=5) as (name, cache):
        for number in range(ENTRIES):
            cache.set(number, number)
        clock.advance(10)
        sweep = post("sweep", names=[name])
        attend()
        ((cleared,),) = ordered("clear", names=[name]).values()
        assert cleared is not None
        assert 0 < cleared < ENTRIES
        assert answer(sweep) == {name: [ENTRIES - cleared]}
        drain()


def test_an_order_that_nothing_is_left_of_ends_with_its_cache() -> None:
    """A cache that dies while it is swept does not keep the answer waiting."""
    with driven() as clock:
        with registered(max_size=ENTRIES, ttl=5) as (name, cache):
            for number in range(ENTRIES):
                cache.set(number, number)
            clock.advance(10)
            sweep = post("sweep", names=[name])
            attend()
        del cache
        attend()
        ((swept,),) = answer(sweep).values()
        assert swept is not None
        assert 0 < swept < ENTRIES


@pytest.mark.skipif(sys.platform != "linux", reason="control sockets are served on Linux")
def test_who_asks_over_the_socket_is_told_of_all() -> None:
    """The clerk goes on until nothing is left, and the answer says how much that was."""
    with short_folder() as folder, driven() as clock, registered(max_size=ENTRIES, ttl=5) as (name, cache):
        for number in range(ENTRIES):
            cache.set(number, number)
        clock.advance(10)
        path = control_start(str(folder), "swept")["path"]
        assert path is not None
        try:
            answered = result(ask(path, "cleanup", caches=[name]))
        finally:
            control_stop()
        assert answered == {"cleaned": {name: ENTRIES}, "done": True}
        assert len(cache) == 0
        drain()
