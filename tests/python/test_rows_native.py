"""Identity "auto" and "row" of the native half, with plain classes in the place of models and no Django."""

import gc
import uuid
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from driven_clock import driven
from fake_rows import Child, Counted, Model, State, Unsaved, resolve, rows

from oxicache._native import MISSING, Memo, MemoKey, MemoProperty, TTLCache, bump, set_row_types

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
        assert repr(key) == "<MemoKey (fake_rows.Model 1 on replica)>"
        assert repr(counted.key(Model("x"))) == "<MemoKey (fake_rows.Model 'x' on default)>"

    def test_arguments_are_part_of_the_key(self) -> None:
        """Other arguments, other entry; defaults and keywords are spelt alike."""
        counted = Counted()
        key = counted.key(Model(1), 5)
        assert (key.args, repr(key)) == ((5,), "<MemoKey (fake_rows.Model 1 on default, 5)>")
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
            with pytest.raises(TypeError, match=r"'row'.*fake_rows\.State is no model"):
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

            @id.setter  # noqa: A003 - the name of every model's key
            def id(self, value: Any) -> None:
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

            @id.setter  # noqa: A003 - the name of every model's key
            def id(self, value: Any) -> None:
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
