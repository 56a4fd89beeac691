"""What row-keyed callables ask of Python on the way: scope, bypass, `vary`, `forgotten`, the resolver.

Each may raise, re-enter and clear.
"""

import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_rows import Counted, Model, Unsaved, resolve, rows

from oxicache._native import MISSING, MemoKey, row_bypassing, set_row_bypass, set_row_scope, set_row_types

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


class TestScope:
    def test_scopes_keep_rows_apart(self, kind: str) -> None:
        """Each tenant has entries of its own; the key still names the row."""
        tenant = ["one"]
        set_row_scope(lambda: tenant[0])
        counted = Counted(kind=kind)
        for name in ("one", "two", "one", "two"):
            tenant[0] = name
            counted(Model(1))
        assert len(counted.calls) == 2
        key = counted.key(Model(1))
        assert (key.row, key.args) == ((Model, "default", 1), ())
        assert repr(key) == "<MemoKey (fake_rows.Model 1 on default for 'two')>"
        set_row_scope(None)
        assert counted.key(Model(1)) != key

    @pytest.mark.parametrize("scopes", [(1, "1", True, 1.0), (None, ""), (("a", 1), ("a", "1"))])
    def test_scopes_are_typed(self, kind: str, scopes: tuple[Any, ...]) -> None:
        """A scope is canonical as an argument is."""
        counted = Counted(kind=kind)
        for scope in scopes * 2:
            set_row_scope(lambda scope=scope: scope)  # type: ignore[misc]
            counted(Model(1))
        assert len(counted.calls) == len(scopes)

    def test_only_rows_have_a_scope(self) -> None:
        """An instance without a row, and other identities, ask for none."""

        def scope() -> str:
            raise AssertionError("asked")

        set_row_scope(scope)
        for identity in ("instance", "class", lambda _self: 1):
            Counted(identity=identity)(Model(1))
        Counted()(Unsaved())
        with pytest.raises(AssertionError, match="asked"):
            Counted()(Model(1))


class TestBypass:
    def test_a_bypassed_row_is_computed_and_not_stored(self, kind: str) -> None:
        """While a database bypasses, its rows are neither read nor stored; others are."""
        counted = Counted(kind=kind)
        counted(Model(1, "default"))
        set_row_bypass(lambda alias: alias == "default")
        row_bypassing(True)
        mine = Model(1, "default")
        for _ in range(2):
            counted(mine)
        assert [args[0] is mine for args in counted.calls] == [False, True, True]
        for _ in range(2):
            counted(Model(1, "other"))
        assert len(counted.calls) == 4
        assert counted.memo.lookup(mine) == (None, MISSING, False)
        row_bypassing(False)
        before = counted.cache.stats()["sets"]
        counted(mine)
        assert (len(counted.calls), before) == (4, 2)

    def test_bypassing_with_nobody_to_ask_bypasses_nothing(self, kind: str) -> None:
        """The switch alone changes nothing."""
        row_bypassing(True)
        counted = Counted(kind=kind)
        counted(Model(1))
        counted(Model(1))
        assert len(counted.calls) == 1

    def test_a_bypassed_row_can_be_invalidated(self, kind: str) -> None:
        """Forgetting works as ever: the entry must be gone when the bypass ends."""
        counted = Counted(kind=kind)
        counted(Model(1))
        set_row_bypass(lambda _alias: True)
        row_bypassing(True)
        assert counted.memo.invalidate(Model(1)) is True
        assert len(counted.cache) == 0

    def test_only_rows_are_bypassed(self, kind: str) -> None:
        """What is no row's stays cached."""
        set_row_bypass(lambda _alias: True)
        row_bypassing(True)
        counted = Counted(kind=kind)
        instance = Unsaved()
        counted(instance)
        counted(instance)
        assert len(counted.calls) == 1

    @pytest.mark.parametrize("answer", [1, None, "yes"])
    def test_the_answer_must_be_a_bool(self, kind: str, answer: Any) -> None:
        """Anything but True and False is a mistake of whoever answers."""
        set_row_bypass(lambda _alias: answer)
        row_bypassing(True)
        with pytest.raises(TypeError):
            Counted(kind=kind)(Model(1))


class TestVary:
    @pytest.mark.parametrize("identity", ["auto", "row", "instance", "class", lambda self: self.id])
    def test_what_varies_is_part_of_the_key(self, kind: str, identity: Any) -> None:
        """Each language has an entry of its own, for every identity; the callable is given the instance."""
        language, given = ["en"], []

        def vary(instance: Any) -> tuple[Any, ...]:
            given.append(instance)
            return (language[0],)

        counted = Counted(kind=kind, identity=identity, vary=vary)
        instance = Model(1)
        for name in ("en", "de", "en", "de"):
            language[0] = name
            counted(instance)
        assert len(counted.calls) == 2
        assert len(given) >= 4
        assert all(one is instance for one in given)

    def test_what_varies_is_typed_and_canonical(self) -> None:
        """1 and "1" vary, two equal lists do not, and no argument is mistaken for it."""
        counted = Counted(vary=lambda self: self.by)
        instance: Any = Model(1)
        for by in ((1,), ("1",), (True,), ([1],), ([1],), ()):
            instance.by = by
            counted(instance)
        assert len(counted.calls) == 5
        instance.by = (5,)
        assert counted.key(instance) != counted.key(instance, 5)

    @pytest.mark.parametrize("answer", ["en", ["en"], None])
    def test_what_is_no_tuple_is_refused(self, kind: str, answer: Any) -> None:
        """A single string would be a tuple of letters to some and one value to others."""
        with pytest.raises(TypeError, match=r"vary of .* must give a tuple"):
            Counted(kind=kind, vary=lambda _self: answer)(Model(1))

    def test_functions_cannot_vary_by_an_instance(self) -> None:
        """Identity "none" has no instance to be asked."""
        with pytest.raises(ValueError, match="vary"):
            Counted(identity="none", vary=lambda _self: ())


class TestForgotten:
    def test_rows_that_are_forgotten_by_hand_are_told(self, kind: str) -> None:
        """`invalidate` and `del` tell the key of a row, held or not; `cache_clear` tells None."""
        told: list[MemoKey | None] = []
        counted = Counted(kind=kind, forgotten=told.append)
        counted(Model(1))
        assert counted.memo.invalidate(Model(1)) is True
        assert counted.memo.invalidate(Model(1)) is False
        assert [key and key.row for key in told] == [(Model, "default", 1)] * 2
        if kind == "property":
            counted.memo.__delete__(Model(2))
            assert told.pop() == counted.key(Model(2))
        counted.memo.cache_clear()
        assert told[2:] == [None]

    def test_instances_are_nobodys_business(self, kind: str) -> None:
        """An entry that is no row's is of this process alone."""
        told: list[MemoKey | None] = []
        counted = Counted(kind=kind, forgotten=told.append)
        counted.memo.invalidate(Unsaved())
        assert told == []

    def test_it_is_told_after_the_entry_is_gone(self, kind: str) -> None:
        """The callback may read, fill and clear the cache."""
        seen: list[Any] = []

        def forgotten(key: MemoKey | None) -> None:
            if key is not None:
                seen.append(counted.cache.get(key, "gone"))
                counted.memo.cache_clear()

        counted = Counted(kind=kind, forgotten=forgotten)
        counted(Model(1))
        counted.memo.invalidate(Model(1))
        assert seen == ["gone"]

    def test_what_it_raises_is_the_callers(self, kind: str) -> None:
        """The entry is gone nevertheless."""

        def forgotten(_key: MemoKey | None) -> None:
            raise ZeroDivisionError

        counted = Counted(kind=kind, forgotten=forgotten)
        counted(Model(1))
        for forget in (lambda: counted.memo.invalidate(Model(1)), counted.memo.cache_clear):
            with pytest.raises(ZeroDivisionError):
                forget()
        assert len(counted.cache) == 0


class TestReentrancy:
    """Everything that is asked on the way may use the very callable that asks."""

    HOOKS = ("resolver", "scope", "bypass", "vary", "forgotten")

    @staticmethod
    def hooked(kind: str, where: str, act: Callable[[], Any]) -> Counted:
        """A callable with `act` run wherever `where` says, and harmless answers everywhere."""
        busy = threading.local()

        def acting(what: str, answer: Any) -> Any:
            if what == where and not getattr(busy, "is_busy", False):
                busy.is_busy = True
                try:
                    act()
                finally:
                    busy.is_busy = False
            return answer

        set_row_types(lambda kind: acting("resolver", resolve(kind)))
        set_row_scope(lambda: acting("scope", "s"))
        set_row_bypass(lambda _alias: acting("bypass", False))
        row_bypassing(True)
        return Counted(
            kind=kind,
            vary=lambda _self: acting("vary", ()),
            forgotten=lambda _key: acting("forgotten", None),
        )

    @pytest.mark.parametrize("where", HOOKS)
    @pytest.mark.parametrize("what", ["call", "invalidate", "clear", "collect"])
    def test_a_hook_may_use_the_cache(self, kind: str, where: str, what: str) -> None:
        """Calling, invalidating, clearing and collecting from inside is a use like any."""
        acts: dict[str, Callable[[], Any]] = {
            "call": lambda: (counted(Model(1)), counted(Model(2))),
            "invalidate": lambda: counted.memo.invalidate(Model(1)),
            "clear": lambda: counted.memo.cache_clear(),  # noqa: PLW0108 - there is no `counted` yet
            "collect": gc.collect,
        }
        counted = self.hooked(kind, where, acts[what])
        for _ in range(3):
            assert counted(Model(1)) == "1 ()"
            counted.memo.invalidate(Model(1))
            assert counted(Model(1)) == "1 ()"

    @pytest.mark.parametrize("where", HOOKS)
    def test_what_a_hook_raises_passes_through_and_is_not_remembered(self, kind: str, where: str) -> None:
        """The call fails as the hook did, and the next one asks again."""
        fails = [True]

        def act() -> None:
            if fails[0]:
                raise ZeroDivisionError(where)

        counted = self.hooked(kind, where, act)
        # A bypass is asked by calls only, and `forgotten` by invalidations only.
        asking = {"bypass": [counted], "forgotten": [counted.memo.invalidate]}
        for ask in asking.get(where, [counted, counted.memo.invalidate]) * 2:
            with pytest.raises(ZeroDivisionError, match=where):
                ask(Model(1))
        fails[0] = False
        assert (counted(Model(1)), len(counted.calls)) == ("1 ()", 1)

    @pytest.mark.parametrize("answer", [1, b"id", object()])
    def test_a_resolver_gives_a_name_or_none(self, kind: str, answer: Any) -> None:
        """Anything else is a TypeError, each time."""
        set_row_types(lambda _kind: answer)
        counted = Counted(kind=kind)
        for _ in range(2):
            with pytest.raises(TypeError, match="resolver of row types"):
                counted(Model(1))

    @pytest.mark.parametrize("install", [set_row_types, set_row_scope, set_row_bypass])
    def test_what_is_installed_must_be_callable(self, install: Callable[[Any], None]) -> None:
        """A string in the place of a callable is refused at once."""
        with pytest.raises(TypeError, match="must be callable or None, not 'x'"):
            install("x")

    def test_a_resolver_may_replace_the_resolver(self, kind: str) -> None:
        """The answer of a resolver that was replaced while it answered is not taken for the new one's."""

        def replacing(_kind: type) -> None:
            set_row_types(resolve)

        set_row_types(replacing)
        counted = Counted(kind=kind)
        counted(Model(1))
        assert counted.key(Model(1)).row == (Model, "default", 1)

    def test_an_equality_in_python_may_clear_the_cache(self, kind: str) -> None:
        """Keys that only Python can compare are compared without the lock."""

        class Key:
            def __hash__(self) -> int:
                return 7

            def __eq__(self, other: object) -> bool:
                counted.memo.cache_clear()
                return isinstance(other, Key)

        counted = Counted(kind=kind, func=lambda *_: 1)
        for _ in range(4):
            assert counted(Model(Key())) == 1
