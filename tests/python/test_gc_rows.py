"""Row-keyed callables and garbage: no cycle through a model class is kept, no reference is lost, threads agree."""

import gc
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from fake_rows import Counted, Model, Unsaved, rows

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock


@pytest.fixture(autouse=True)
def resolver() -> Iterator[None]:
    """`Model` and what derives from it are models."""
    with rows():
        yield


@pytest.fixture(params=["method", "property"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both native callables."""
    found: str = request.param
    return found


class TestGarbage:
    @pytest.mark.parametrize("identity", ["auto", "row"])
    def test_a_model_class_is_collected_with_its_entries(self, kind: str, identity: str) -> None:
        """Class -> callable -> plan -> class, and class -> cache -> key -> class, are garbage in the end."""

        def make() -> list[weakref.ref[Any]]:
            counted = Counted(kind=kind, identity=identity)
            made: Any = type("Made", (Model,), {"shown": counted.memo})
            instance = made(1)
            counted(instance)
            counted(made(1))
            assert counted.key(instance).row == (made, "default", 1)
            return [weakref.ref(made), weakref.ref(counted.cache), weakref.ref(counted)]

        alive = make()
        gc.collect()
        assert [reference() for reference in alive] == [None, None, None]

    @pytest.mark.parametrize("hook", ["vary", "forgotten"])
    def test_cycles_through_hooks_are_collected(self, kind: str, hook: str) -> None:
        """A callable that refers to the decorated callable is found by the collector."""

        class Hook:
            memo: Any = None

            def __call__(self, _what: Any) -> tuple[()]:
                return ()

        def make() -> weakref.ref[Any]:
            called = Hook()
            hooks: dict[str, Any] = {hook: called}
            counted = Counted(kind=kind, **hooks)
            called.memo = counted.memo
            counted(Model(1))
            return weakref.ref(called)

        alive = make()
        gc.collect()
        assert alive() is None

    def test_hits_neither_leak_nor_lose_references(self, kind: str) -> None:
        """Class, state, alias, primary key and value have as many references after a thousand calls as before."""
        counted = Counted(kind=kind, func=lambda *_: value)
        value, alias, pk = object(), "def" + str("ault") + "!", int("1" * 30)
        saved, unsaved, nameless = Model(pk, alias), Unsaved(pk), Model(pk, None)

        def calls() -> None:
            for _ in range(300):
                for instance in (saved, unsaved, nameless):
                    assert counted(instance) is value
                counted.key(saved)

        def counts() -> list[int]:
            return [sys.getrefcount(held) for held in (Model, saved._state, alias, pk, value, saved, unsaved)]

        calls()
        gc.collect()
        before = counts()
        calls()
        gc.collect()
        assert counts() == before


class TestThreads:
    def test_threads_agree_on_classes_and_rows(self, kind: str) -> None:
        """Many threads meet many new classes at once: every value is its own row's."""
        counted = Counted(kind=kind, func=lambda *args: (type(args[0]), args[0].id))
        classes: list[Any] = [type(f"Child{number}", (Model,), {}) for number in range(20)]
        wrong: list[Any] = []
        start = threading.Barrier(4)

        def work() -> None:
            start.wait(20)
            for _ in range(30):
                for made in classes:
                    wrong.extend((made, pk) for pk in (1, 2) if counted(made(pk)) != (made, pk))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert wrong == []
        assert len(counted.cache) == 40
