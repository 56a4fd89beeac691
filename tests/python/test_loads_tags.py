"""Tags of loads: captured before anything is read, so that whoever moves a tag's word outdates what was loaded."""

import asyncio
import threading
from typing import Any

import pytest

from oxicache import TTLCache, cached_function, cached_method, get_or_compute
from oxicache._native import inspect
from oxicache.flights import flights
from oxicache.tags import ANY_TAG, EVERY_TAG, moved_words
from oxicache.versions import version_words


def elsewhere(*tags: str) -> None:
    """Do what another process does that invalidates tags."""
    version_words.bump(moved_words(tags))


class Counting:
    """A function that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *_: Any) -> int:
        self.calls += 1
        return self.calls


class TestWhatIsReached:
    def test_tags_of_a_function(self) -> None:
        """Tags that are the same for every call, and tags that a callable makes of the arguments."""
        count = Counting()

        @cached_function(tags=["all"])
        def one(pk: int) -> int:
            return count(pk)

        @cached_function(tags=lambda pk: [f"pk:{pk}", "all"])
        def two(pk: int) -> int:
            return count(pk)

        assert [one(1), two(1), two(2)] == [1, 2, 3]
        elsewhere("pk:1")
        assert [one(1), two(1), two(2)] == [1, 4, 3]
        elsewhere("other")
        assert [one(1), two(1), two(2)] == [1, 4, 3]
        elsewhere("all")
        assert [one(1), two(1), two(2)] == [5, 6, 7]

    def test_methods_of_objects(self) -> None:
        """A value of one object goes with its tags as well."""

        class Shop:
            def __init__(self) -> None:
                self.count = Counting()

            @cached_method(tags=lambda self, kind: [kind])
            def prices(self, kind: str) -> int:
                return self.count()

        shop = Shop()
        assert [shop.prices("a"), shop.prices("b")] == [1, 2]
        elsewhere("b")
        assert [shop.prices("a"), shop.prices("b")] == [1, 3]

    def test_get_or_set_and_get_or_compute(self) -> None:
        """What a TTLCache loads itself has the words of its tags, and so has what is set by hand not."""
        cache: TTLCache[str, int] = TTLCache()
        count = Counting()
        cache.get_or_set("a", count, tags=["x"])
        get_or_compute("b", count, tags=["x"], cache=cache)
        cache.set("c", 3, tags=["x"])
        elsewhere("x")
        assert ["a" in cache, "b" in cache, "c" in cache] == [False, False, True]

    def test_async(self) -> None:
        """Tasks load in the same way."""
        count = Counting()

        @cached_function(tags=lambda: ["now"])
        async def one() -> int:
            return count()

        async def run() -> None:
            assert [await one(), await one()] == [1, 1]
            elsewhere("now")
            assert await one() == 2

        asyncio.run(run())

    def test_many_tags(self) -> None:
        """A value with more tags than it may have words goes with each of them, and with any other."""
        count = Counting()

        @cached_function(tags=lambda many: [f"tag:{number}" for number in range(many)])
        def one(many: int) -> int:
            return count()

        assert [one(31), one(32), one(500)] == [1, 2, 3]
        elsewhere("tag:499")
        assert [one(31), one(32), one(500)] == [1, 4, 5]
        version_words.bump([EVERY_TAG, ANY_TAG])  # where nobody can say which
        assert [one(31), one(32), one(500)] == [6, 7, 8]


class TestWhatItCosts:
    def test_no_tags_no_words(self) -> None:
        """A value without tags has no words to be compared when it is hit."""

        @cached_function(tags=lambda with_tags: ["a", "b"] if with_tags else [])
        def one(with_tags: bool) -> int:
            return 1

        one(with_tags=True)
        one(with_tags=False)
        found = [inspect(one.cache, one.key(with_tags=flag)) for flag in (True, False)]  # type: ignore[attr-defined]
        assert [len(each["words"]) for each in found if each] == [3, 0]


class TestRaces:
    def test_dead_on_arrival(self) -> None:
        """What was invalidated while it was computed is given to its caller and not kept."""
        count = Counting()

        @cached_function(tags=lambda: ["slow"])
        def one() -> int:
            if count() == 1:
                elsewhere("slow")
            return count.calls

        assert [one(), one(), one()] == [1, 2, 2]

    @pytest.mark.parametrize("tags", [["slow"], lambda: ["slow"]], ids=["fixed", "made"])
    def test_who_comes_later_does_not_join(self, tags: Any) -> None:
        """A caller who comes after a tag was moved does not get what a load brings that began before."""
        began, go_on = threading.Event(), threading.Event()
        count = Counting()

        @cached_function(tags=tags)
        def one() -> int:
            number = count()
            if number == 1:
                began.set()
                assert go_on.wait(10)
            return number

        found: list[int] = []
        first = threading.Thread(target=lambda: found.append(one()))
        first.start()
        assert began.wait(10)
        elsewhere("slow")
        try:
            assert one() == 2
        finally:
            go_on.set()
            first.join()
        assert found == [1]
        assert one() == 2

    def test_tags_are_asked_for_before_the_value(self) -> None:
        """A tag that is moved between its being known and the value being read outdates the value."""

        def moving() -> list[str]:
            elsewhere("during")  # before it is known: what is read after it is newer
            return ["during"]

        @cached_function(tags=moving)
        def one() -> int:
            if count.calls == 0:
                elsewhere("during")
            return count()

        count = Counting()
        assert [one(), one(), one()] == [1, 2, 2]

    def test_a_wrong_tag(self) -> None:
        """What is no tag is the caller's error, at the decorator or at the load, and nobody is left waiting."""
        with pytest.raises(TypeError, match="tags must be an iterable of strings"):
            cached_function(tags="one")(lambda: 1)
        with pytest.raises(ValueError, match="must not be empty"):
            cached_function(tags=[""])(lambda: 1)
        made = cached_function(tags=lambda: [""])(lambda: 1)
        with pytest.raises(ValueError, match="must not be empty"):
            made()
        assert len(flights) == 0
