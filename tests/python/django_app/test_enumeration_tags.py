"""Tags that an entry of a NativeCache is given after it was stored."""

import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from dialect_caches import BACKENDS, own_default

from oxicache.django.enumeration import Enumerator, enumerator_of


@pytest.fixture
def cache() -> Iterator[Any]:
    with own_default(BACKENDS["native"]) as default:
        yield default


@pytest.fixture
def found(cache: Any) -> Enumerator:
    return enumerator_of("default")


class _Tagging:
    """A value that tags another entry whenever it is unpickled."""

    def __reduce__(self) -> Any:
        return _tagging, ()


def _tagging() -> _Tagging:
    enumerator_of("default").tag("other", ["read"])
    return _Tagging()


class TestTag:
    def test_the_entry_stays_as_it_is(self, cache: Any, found: Enumerator) -> None:
        """Its value, the tags that it had, and the time that it has left."""
        cache.set("a", {"n": [1]}, 100, tags=["x"])
        cache.set("forever", 1, None)
        for key in ("a", "forever"):
            found.tag(key, ["y"], 5)
        assert (cache.get("a"), cache.ttl("a"), cache.ttl("forever")) == ({"n": [1]}, 100, None)
        assert (cache.delete_by_tag("x"), cache.get("a")) == (1, None)
        assert (cache.delete_by_tag("y"), cache.get("forever")) == (1, None)

    def test_without_an_entry(self, cache: Any, found: Enumerator) -> None:
        """There is nothing to carry them."""
        found.tag("a", ["x"])
        assert cache.get("a") is None

    @pytest.mark.parametrize("how", ["delete", "delete_by_tag", "clear"])
    def test_what_is_invalidated_meanwhile_stays_so(self, cache: Any, found: Enumerator, how: str) -> None:
        """A value that was read before does not come back with the tags."""
        cache.set("a", "old", tags=["x"])
        read = type(cache).get_with_ttl

        def interrupted(*args: Any) -> Any:
            value = read(*args)
            if value[0] == "old":
                arguments = {"delete": ["a"], "delete_by_tag": ["x"], "clear": []}[how]
                getattr(cache, how)(*arguments)
            return value

        with mock.patch.object(type(cache), "get_with_ttl", interrupted):
            found.tag("a", ["y"])
        assert cache.get("a") is None

    def test_what_is_written_meanwhile_is_tagged(self, cache: Any, found: Enumerator) -> None:
        """The newer value stays, and carries them."""
        cache.set("a", "old")
        read = type(cache).get_with_ttl

        def interrupted(*args: Any) -> Any:
            value = read(*args)
            if value[0] == "old":
                cache.set("a", "new", write=True)
            return value

        with mock.patch.object(type(cache), "get_with_ttl", interrupted):
            found.tag("a", ["y"])
        assert cache.get("a") == "new"
        assert cache.delete_by_tag("y") == 1

    def test_what_is_written_without_end_goes(self, cache: Any, found: Enumerator) -> None:
        """Rather than that an entry stays which its tags do not reach."""
        cache.set("a", "old")
        read = type(cache).get_with_ttl

        def interrupted(*args: Any) -> Any:
            value = read(*args)
            cache.set("a", "new", write=True)
            return value

        with mock.patch.object(type(cache), "get_with_ttl", interrupted):
            found.tag("a", ["y"])
        assert cache.get("a") is None

    def test_a_value_that_tags_while_it_is_read(self, cache: Any, found: Enumerator) -> None:
        """Unpickling runs what a project wrote, which may tag too: nobody waits for itself."""
        cache.set("other", 1)
        cache.set("a", _Tagging())
        thread = threading.Thread(target=found.tag, args=("a", ["x"]), daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
        assert found.keys_of(["x"]) == {"a"}
        assert found.keys_of(["read"]) == {"other"}

    def test_threads_tag_one_entry(self, cache: Any, found: Enumerator) -> None:
        """None of the tags is lost."""
        cache.set("a", 1)
        start = threading.Barrier(8)

        def tag(number: int) -> None:
            start.wait()
            found.tag("a", [f"t{number}"])

        threads = [threading.Thread(target=tag, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(found.keys_of([f"t{number}"]) == {"a"} for number in range(8))
