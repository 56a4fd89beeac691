"""Why fills and writes are told apart as they are: all interleavings of a model, and of its mistakes.

The model is in interleavings.py, and knows no cache. That the real one follows it is tested with real processes in
django_app/test_native_cache_processes.py.
"""

import pytest
from interleavings import Actor, Rules, deleter, explore, reader, setter

# Who takes part. Each worker is a process with its own memory; two actors of one worker are two of its threads.
DELETES = {
    "reader and deleter": (reader(0), deleter(1)),
    "two readers, one deletes": (reader(0), reader(1), deleter(2)),
    "three readers": (reader(0), reader(1), reader(2), deleter(2)),
    "deletes twice": (reader(0, 3), reader(1), deleter(2, 2)),
    "two delete": (reader(0), reader(1), deleter(2), deleter(3)),
    "deletes in a reader's worker": (reader(0), deleter(0), reader(1)),
    "two threads of one worker": (reader(0), reader(0), deleter(1)),
}
WRITES = {
    "reader and setter": (reader(0), setter(1)),
    "two readers": (reader(0), reader(1), setter(2)),
    "sets in a reader's worker": (reader(0), setter(0), reader(1)),
    "sets twice": (reader(0, 3), reader(1), setter(2, 2)),
}
# Several change the database at once, and none waits for the other's `set`, so that the last `set` need not be that of
# the last change: a shared cache serves an outdated row then too. Here one worker does, and others load what is right.
RACES = {
    "two set": (reader(0), setter(1), setter(2)),
    "one sets, one deletes": (reader(0), setter(1), deleter(2)),
    "two set twice": (setter(0, 2), setter(1, 2), reader(2)),
    "setters that read": (reader(0), setter(0), reader(1), setter(1)),
}
AFTER_A_RACE = {"a hit is older than what was invalidated", "two workers keep different values"}
# When one thread of a worker stores after another one of it, what is dead replaces what is alive: a miss, no more.
SAME_WORKER = {"the last write is lost"}

filled = pytest.mark.parametrize("filled", [False, True], ids=["empty", "filled"])


def by_name(cases: dict[str, tuple[Actor, ...]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("actors", cases.values(), ids=cases.keys())


def tolerated(actors: tuple[Actor, ...]) -> set[str]:
    """What no cache without locks can promise."""
    parted = len({actor.worker for actor in actors}) == len(actors)
    return AFTER_A_RACE if parted else AFTER_A_RACE | SAME_WORKER


class TestTheDesign:
    @by_name(DELETES | WRITES)
    @filled
    def test_no_hit_is_older_than_what_was_invalidated(self, actors: tuple[Actor, ...], filled: bool) -> None:
        """Once a worker has said that a row changed, none serves what it was before, whoever was loading meanwhile."""
        found = explore(*actors, filled=filled)
        assert found.wrong == set()
        assert found.hits > 0

    @by_name(RACES)
    @filled
    def test_no_hit_is_older_than_any_write(self, actors: tuple[Actor, ...], filled: bool) -> None:
        """Writes of all workers have one order: what is seen after one was written or loaded after it."""
        found = explore(*actors, filled=filled)
        assert found.wrong <= tolerated(actors)

    @pytest.mark.parametrize("turns", [1, 2])
    def test_no_write_is_lost_and_all_workers_agree(self, turns: int) -> None:
        """Of workers that only write, the one that came last keeps its value, and the others keep none."""
        assert explore(setter(0, turns), setter(1, turns), setter(2)).wrong == set()

    @pytest.mark.parametrize("workers", [1, 2, 3])
    def test_workers_settle_after_one_load_each(self, workers: int) -> None:
        """Fills disturb nobody: however many gets follow, each worker loads once."""
        found = explore(*(reader(worker, 3) for worker in range(workers)))
        assert (found.loads, found.wrong) == (1, set())

    @pytest.mark.parametrize("write", [setter(2), deleter(2)], ids=["set", "delete"])
    def test_a_write_costs_a_reader_one_more_load(self, write: Actor) -> None:
        """One for the first miss, and one for the write."""
        assert explore(reader(0, 5), reader(1, 2), write).loads == 2

    @by_name(
        {
            name: (DELETES | WRITES | RACES)[name]
            for name in ("two readers", "two threads of one worker", "two set")
        }
    )
    def test_a_fill_that_lost_its_token_is_a_write_like_any_other(self, actors: tuple[Actor, ...]) -> None:
        """After 10 s what is set is what all see, as in a shared cache: late loads are not told from new values."""
        found = explore(*actors, rules=Rules(tokens_may_die=True))
        assert found.wrong <= tolerated(actors)


class TestMistakes:
    """Each of these was thought of once, and each is wrong: which also shows that the model can see it."""

    def test_fills_that_invalidate_never_come_to_an_end(self) -> None:
        """Two workers that read in turn would load for every single get."""
        for gets in (2, 3, 4):
            found = explore(reader(0, gets), reader(1, gets), rules=Rules(fill_adds=True))
            assert found.loads == gets

    @pytest.mark.parametrize("captured", ["after the load", "at the store"])
    def test_a_word_captured_too_late_keeps_what_is_outdated(self, captured: str) -> None:
        """Whoever loads before a delete and captures after it serves the old row as if it were the new one."""
        rules = Rules(captured=captured)  # type: ignore[arg-type]
        found = explore(reader(0), deleter(1), rules=rules)
        assert "a hit is older than what was invalidated" in found.wrong

    def test_a_write_that_keeps_the_value_before_its_addition_is_lost(self) -> None:
        """It is dead where it was written."""
        found = explore(setter(0), rules=Rules(write_keeps="what it added to"))
        assert found.wrong == {"the last write is lost"}

    def test_a_write_that_reads_the_word_again_parts_the_workers(self) -> None:
        """Two that add and then read both find the second value: both are alive, and differ."""
        found = explore(setter(0), setter(1), rules=Rules(write_keeps="the word as read again"))
        assert "two workers keep different values" in found.wrong

    def test_a_write_that_is_stored_before_its_addition_is_lost(self) -> None:
        """Another's addition makes it live too early, and its own kills it."""
        found = explore(setter(0), setter(1), rules=Rules(store_first=True))
        assert "the last write is lost" in found.wrong
