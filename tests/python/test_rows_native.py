"""Identity "auto" and "row" of the native half, with plain classes in the place of models and no Django.

What is asked of Python on the way (resolver, scope, bypass, vary, `forgotten`) may raise, re-enter and clear.
"""

import gc
import threading
import uuid
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from driven_clock import driven

from oxicache._native import (
    MISSING,
    Memo,
    MemoKey,
    MemoProperty,
    TTLCache,
    bump,
    capture,
    row_bypassing,
    set_row_bypass,
    set_row_scope,
    set_row_types,
)

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

Cache = TTLCache[Any, Any]


class State:
    """As Django's: attributes of the class until an instance is saved or loaded."""

    db: Any = None
    adding: Any = True


class Deferred:
    """As Django's DeferredAttribute: a non-data descriptor, asked only while the instance has no value."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        instance.__dict__["id"] = loaded = 77
        return loaded


class Model:
    """A model class, as far as the native half can tell."""

    id: Any = Deferred()

    def __init__(self, pk: Any = None, db: Any = "default", *, adding: bool = False) -> None:
        self._state = State()
        self._state.db = db
        self._state.adding = adding
        self.id = pk


class Child(Model):
    """A proxy or child model: a class of its own."""


class Unsaved(Model):
    """Created and not saved."""

    def __init__(self, pk: Any = None) -> None:
        super().__init__(pk, None, adding=True)


def resolve(kind: type) -> str | None:
    return "id" if issubclass(kind, Model) else None


@pytest.fixture(autouse=True)
def resolver() -> Iterator[None]:
    """`Model` and what derives from it are models."""
    set_row_types(resolve)
    yield
    set_row_types(None)
    set_row_scope(None)
    set_row_bypass(None)
    row_bypassing(False)


class Counted:
    """A decorated callable over its own cache, with a load as the loader's, counting its computations."""

    def __init__(
        self,
        *,
        kind: str = "method",
        identity: Any = "auto",
        names: Callable[[MemoKey], list[str]] = lambda _key: [],
        func: Callable[..., Any] | None = None,
        options: dict[str, Any] | None = None,
        **given: Any,
    ) -> None:
        self.cache: Cache = TTLCache(100, 60, **(options or {}))
        self.calls: list[tuple[Any, ...]] = []
        self.names = names
        self.func = func or (lambda *args: f"{getattr(args[0], 'id', None)!r} {args[1:]}")
        if kind == "method":
            self.memo: Any = Memo(
                self.compute,
                self.cache,
                self.load,
                identity=identity,
                parameters=("a",),
                defaults=(0,),
                **given,
            )
        else:
            self.memo = MemoProperty(self.compute, self.cache, self.load, identity=identity, **given)
        self.kind = kind

    def compute(self, *args: Any) -> Any:
        self.calls.append(args)
        return self.func(*args)

    def load(self, key: MemoKey, args: tuple[Any, ...], kwargs: dict[str, Any], _current: Any) -> Any:
        stamps, token = capture(self.names(key)), self.cache._token(key)
        value = self.compute(*args, **kwargs)
        self.cache._fill(key, value, token, stamps=stamps, cost=1.0)
        return value

    def __call__(self, instance: Any, *args: Any) -> Any:
        if self.kind == "method":
            return self.memo(instance, *args)
        return self.memo.__get__(instance, type(instance))

    def key(self, instance: Any, *args: Any) -> MemoKey:
        key: MemoKey = self.memo.key(instance, *args)
        return key


@pytest.fixture(params=["method", "property"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both native callables."""
    found: str = request.param
    return found


class TestRows:
    def test_two_instances_of_a_row_share_an_entry(self, kind: str) -> None:
        """The next request's instance of the same row hits, and so does the third way of calling."""
        counted = Counted(kind=kind)
        assert [counted(Model(1)) for _ in range(3)] == ["1 ()"] * 3
        assert len(counted.calls) == 1
        assert counted.cache.stats()["hits"] == 2

    def test_entries_outlive_the_instance(self, kind: str) -> None:
        """No instance is needed for the entry to stay."""
        counted = Counted(kind=kind)
        instance = Model(1)
        counted(instance)
        counted.calls.clear()
        alive = weakref.ref(instance)
        del instance
        gc.collect()
        assert alive() is None
        assert len(counted.cache) == 1
        counted(Model(1))
        assert counted.calls == []

    def test_the_key_says_whose_it_is(self, kind: str) -> None:
        """`row` is (class, alias, pk); `args` are the call's own; the repr can be read."""
        counted = Counted(kind=kind)
        key = counted.key(Model(1, "replica"))
        assert (key.row, key.args) == ((Model, "replica", 1), ())
        assert repr(key) == f"<MemoKey ({__name__}.Model 1 on replica)>"
        assert repr(counted.key(Model("x"))) == f"<MemoKey ({__name__}.Model 'x' on default)>"

    def test_arguments_are_part_of_the_key(self) -> None:
        """Other arguments, other entry; defaults and keywords are spelt alike."""
        counted = Counted()
        key = counted.key(Model(1), 5)
        assert (key.args, repr(key)) == ((5,), f"<MemoKey ({__name__}.Model 1 on default, 5)>")
        assert key == counted.memo.key(Model(1), a=5) != counted.key(Model(1), 6)
        assert counted.key(Model(1), 0) == counted.key(Model(1))
        for argument in (5, 6, 5, "5", 5.0, True, [5], [5]):
            assert counted(Model(1), argument) == f"1 ({argument!r},)"
        assert len(counted.calls) == 6

    @pytest.mark.parametrize(
        "pks",
        [
            (1, "1", 1.0, True),
            ("a", "b"),
            (-1, -2),  # Python's hash of both is -2
            (2**61 - 1, 0),  # and of both of these 0
            (uuid.UUID(int=1), uuid.UUID(int=2), 1),
            (b"a", "a"),
            ((1, 2), (1, "2")),
        ],
        ids=["typed", "str", "hash of -1", "hash of 0", "uuid", "bytes", "composite"],
    )
    def test_primary_keys_are_told_apart_by_type_and_value(self, kind: str, pks: tuple[Any, ...]) -> None:
        """Equal hashes and equal values of other types are other rows."""
        counted = Counted(kind=kind)
        for _ in range(3):
            for pk in pks:
                assert counted(Model(pk)) == f"{pk!r} ()"
        assert len(counted.calls) == len(pks)

    def test_equal_primary_keys_need_not_be_one_object(self, kind: str) -> None:
        """Values that compare equal by their own `__eq__` are one row."""
        counted = Counted(kind=kind)
        for _ in range(2):
            counted(Model(uuid.UUID(int=7)))
            counted(Model(int("12345678901234567890")))
            counted(Model("ab" + str(1)))
        assert len(counted.calls) == 3

    def test_databases_keep_apart(self, kind: str) -> None:
        """The same primary key on another alias is another row."""
        counted = Counted(kind=kind)
        for alias in ("default", "other", "def" + str("ault"), "other"):
            counted(Model(1, alias))
        assert len(counted.calls) == 2

    def test_classes_keep_apart(self, kind: str) -> None:
        """A proxy or child may override what is called, so it has entries of its own."""
        counted = Counted(kind=kind)
        for make in (Model, Child, Model, Child):
            counted(make(1))
        assert [type(args[0]) for args in counted.calls] == [Model, Child]

    def test_many_classes_of_one_callable_all_hit(self, kind: str) -> None:
        """A method of an abstract model meets dozens of classes, and asks once about each."""
        asked: list[type] = []

        def counting(kind: type) -> str | None:
            asked.append(kind)
            return resolve(kind)

        set_row_types(counting)
        counted = Counted(kind=kind)
        classes = [type(f"Child{number}", (Model,), {}) for number in range(50)]
        for _ in range(3):
            for made in classes:
                counted(made(1))
        assert len(counted.calls) == 50
        assert asked == classes

    def test_a_plain_object_is_itself(self, kind: str) -> None:
        """With "auto" an instance of no model has entries of its own, which die with it."""
        counted = Counted(kind=kind)

        class Plain:
            id = 1

        first, second = Plain(), Plain()
        for instance in (first, second, first, second):
            counted(instance)
        assert (len(counted.calls), counted.key(first).row) == (2, None)
        counted.calls.clear()
        del first, second, instance
        gc.collect()
        assert len(counted.cache) == 0

    def test_row_refuses_what_is_no_model(self, kind: str) -> None:
        """Identity "row" names the class that it was given by mistake."""
        counted = Counted(kind=kind, identity="row", func=lambda *_: 1)
        assert counted(Model(1)) == 1
        for _ in range(2):
            with pytest.raises(TypeError, match=r"'row'.*test_rows_native\.State is no model"):
                counted(State())

    def test_without_a_resolver_nothing_is_a_row(self, kind: str) -> None:
        """Nobody said what a model is: "auto" is "instance", and "row" is refused."""
        set_row_types(None)
        auto = Counted(kind=kind)
        for _ in range(2):
            auto(Model(1))
        assert len(auto.calls) == 2
        with pytest.raises(TypeError, match="is no model"):
            Counted(kind=kind, identity="row")(Model(1))

    def test_a_new_resolver_is_asked_anew(self, kind: str) -> None:
        """What one resolver said does not outlast it."""
        counted = Counted(kind=kind)
        model = Model(1)
        assert counted.key(model).row is not None
        set_row_types(lambda _kind: None)
        counted(model)
        assert counted.key(model).row is None
        set_row_types(resolve)
        counted(model)
        assert counted.key(model).row is not None


class TestUnsaved:
    @pytest.mark.parametrize(
        "instance",
        [
            Unsaved(),
            Unsaved(1),
            Model(None),
            Model(1, None),
            Model(1, adding=True),
        ],
        ids=["new", "new with pk", "no pk", "no database", "adding"],
    )
    @pytest.mark.parametrize("identity", ["auto", "row"])
    def test_what_is_not_saved_is_itself(self, kind: str, identity: str, instance: Any) -> None:
        """Until it is saved, an instance shares its entries with nobody."""
        counted = Counted(kind=kind, identity=identity)
        assert counted.key(instance).row is None
        counted(instance)
        counted(instance)
        assert len(counted.calls) == 1
        counted(Model(1))
        assert len(counted.calls) == 2

    def test_saving_makes_it_the_row(self, kind: str) -> None:
        """From the moment it is saved an instance hits what its row has, and no longer what it had itself."""
        counted = Counted(kind=kind)
        instance = Model(None, None, adding=True)
        assert counted(instance) == "None ()"
        instance.id, instance._state.adding, instance._state.db = 1, False, "default"
        assert counted(instance) == counted(Model(1)) == "1 ()"
        instance.id = None  # as after delete()
        assert counted(instance) == "None ()"
        assert len(counted.calls) == 2

    def test_no_state_is_no_row(self, kind: str) -> None:
        """An object of a model's class without `_state` is itself."""
        counted = Counted(kind=kind)
        bare, half = Model.__new__(Model), Model(1)
        half._state = object()  # type: ignore[assignment]
        for instance in (bare, half):
            assert counted.key(instance).row is None
            counted(instance)
            counted(instance)
        assert len(counted.calls) == 2

    def test_a_deferred_key_is_loaded_by_its_descriptor(self, kind: str) -> None:
        """An attribute that the instance lacks is asked for as Python does."""
        counted = Counted(kind=kind)
        instance = Model(1)
        del instance.__dict__["id"]
        counted(instance)
        assert counted.key(instance).row == (Model, "default", 77)
        counted(Model(77))
        assert len(counted.calls) == 1

    def test_a_key_that_is_a_property_works(self, kind: str) -> None:
        """Data descriptors and `__getattribute__` in the way are called, hit or not."""
        counted = Counted(kind=kind)

        class Odd(Model):
            @property
            def id(self) -> Any:
                return int("5" * 3)

            @id.setter
            def id(self, value: Any) -> None:  # noqa: A003 - the name of every model's key
                pass

            def __getattribute__(self, name: str) -> Any:
                return object.__getattribute__(self, name)

        for _ in range(3):
            counted(Odd(1))
        assert (len(counted.calls), counted.key(Odd()).row) == (1, (Odd, "default", 555))

    @pytest.mark.parametrize("error", [ZeroDivisionError, AttributeError, KeyboardInterrupt])
    def test_a_key_that_raises_raises(self, kind: str, error: type[BaseException]) -> None:
        """What reading the primary key raises is the caller's, also after a hit."""

        class Raising(Model):
            fails = False

            @property
            def id(self) -> Any:
                if self.fails:
                    raise error
                return 1

            @id.setter
            def id(self, value: Any) -> None:  # noqa: A003 - the name of every model's key
                pass

        counted = Counted(kind=kind)
        instance = Raising()
        counted(instance)
        Raising.fails = True
        with pytest.raises(error):
            counted(instance)
        Raising.fails = False
        counted(instance)
        assert len(counted.calls) == 1

    def test_an_unhashable_key_is_refused_by_name(self, kind: str) -> None:
        """A primary key that cannot be part of a key is a TypeError that says so."""

        class Unkeyed:
            __hash__ = None  # type: ignore[assignment]

        with pytest.raises(TypeError, match=r"the primary key of .*Unkeyed, which cannot be a cache key"):
            Counted(kind=kind)(Model(Unkeyed()))


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
        assert repr(key) == f"<MemoKey ({__name__}.Model 1 on default for 'two')>"
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


class TestWords:
    @staticmethod
    def names(key: MemoKey) -> list[str]:
        assert key.row is not None
        return ["rows:app.model", f"row:app.model:{key.row[2]}"]

    def test_a_bumped_row_is_computed_anew(self, kind: str) -> None:
        """One row's word takes one row's entries, the model's word all of them."""
        counted = Counted(kind=kind, names=self.names)

        def computed() -> int:
            before = len(counted.calls)
            for pk in (1, 2, 1, 2):
                counted(Model(pk))
            return len(counted.calls) - before

        assert computed() == 2
        bump(["row:app.model:1"])
        assert computed() == 1
        bump(["rows:app.model"])
        assert (computed(), computed()) == (2, 0)
        assert counted.cache.stats()["invalidations"] == 3

    def test_a_load_outdated_while_it_runs_is_not_stored(self, kind: str) -> None:
        """The value goes to its caller, and the next caller computes."""
        counted = Counted(kind=kind, names=self.names, func=lambda *_: bump(["row:app.model:1"]))
        assert counted(Model(1)) == 1
        assert len(counted.cache) == 0
        counted(Model(1))
        assert len(counted.calls) == 2

    def test_grace_and_early_refresh_end_with_the_words(self, kind: str) -> None:
        """An elected call is given the current value; once outdated there is none to give."""
        with driven() as clock:
            given: list[Any] = []
            counted = Counted(kind=kind, names=self.names, options={"early_refresh": 1e9, "grace": 60})
            load = counted.load

            def noting(key: MemoKey, args: Any, kwargs: Any, current: Any) -> Any:
                given.append(current)
                return load(key, args, kwargs, current)

            noticed: Any = (
                Memo(counted.compute, TTLCache(9, 60), noting, identity="auto")
                if kind == "method"
                else MemoProperty(counted.compute, TTLCache(9, 60), noting, identity="auto")
            )
            counted.cache = noticed.cache
            counted.cache.early_refresh = 1e9
            counted.memo = noticed
            counted(Model(1))
            clock.advance(59)
            counted(Model(1))
            clock.advance(59)
            bump(["row:app.model:1"])
            counted(Model(1))
            assert given == [MISSING, "1 ()", MISSING]

    def test_lookup_shows_nothing_outdated(self, kind: str) -> None:
        """What async twins ask first gives a key and nothing else."""
        counted = Counted(kind=kind, names=self.names)
        counted(Model(1))
        key = counted.key(Model(1))
        assert counted.memo.lookup(Model(1)) == (key, "1 ()", True)
        bump(["rows:app.model"])
        assert counted.memo.lookup(Model(1)) == (key, MISSING, False)
        assert counted.cache.get(key) is None


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
        import sys

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
