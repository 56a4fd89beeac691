"""The decorators as document 001 (akvo) has them, and as their callers rely on them."""

import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

import oxicache
from oxicache import cache_manager
from oxicache.compat import akvo_rsr

SPELLINGS = pytest.mark.parametrize("module", [oxicache, akvo_rsr], ids=["oxicache", "akvo_rsr"])


@SPELLINGS
class TestTTLCachedProperty:
    def make(self, module: Any, compute: Callable[[Any], Any], **options: Any) -> type:
        """A class whose cached property `value` computes by `compute(self)`."""
        options = options or {"ttl": 1800, "max_size": 100}

        class Model:
            @module.ttl_cached_property(**options)
            def value(self) -> Any:
                """What it computes."""
                return compute(self)

        return Model

    def test_the_second_read_is_not_computed(self, module: Any) -> None:
        """001, "@ttl_cached_property": the value is computed once and kept."""
        calls: list[object] = []
        model = self.make(module, lambda self: calls.append(self) or "value")()
        assert (model.value, model.value, len(calls)) == ("value", "value", 1)

    def test_it_is_computed_again_after_its_ttl(self, module: Any, wall: Any) -> None:
        """001, "@ttl_cached_property": ttl is in seconds."""
        calls: list[object] = []
        model = self.make(module, calls.append, ttl=1800, max_size=100)()
        _ = model.value
        wall.advance(1799)
        _ = model.value
        assert len(calls) == 1
        wall.advance(1)
        _ = model.value
        assert len(calls) == 2

    def test_max_size_bounds_the_instances(self, module: Any) -> None:
        """001, "@ttl_cached_property": beyond max_size the least recently used instance is computed anew."""
        calls: list[object] = []
        model = self.make(module, calls.append, ttl=60, max_size=2)
        first, *others = [model() for _ in range(3)]
        for instance in (first, *others, *others):
            _ = instance.value
        assert calls == [first, *others]
        _ = first.value
        assert calls == [first, *others, first]

    def test_del_clears_it(self, module: Any) -> None:
        """001, "@ttl_cached_property": `del self.expensive_calculation`; for one never cached it does nothing."""
        calls: list[object] = []
        model = self.make(module, calls.append)()
        del model.value
        _ = model.value
        del model.value
        _ = model.value
        assert len(calls) == 2

    def test_it_is_a_property(self, module: Any) -> None:
        """001, "@ttl_cached_property": returns a property; callers ask isinstance, and read its docstring."""
        model = self.make(module, lambda self: 1)
        assert isinstance(model.value, property)
        assert model.__dict__["value"] is model.value
        assert model.value.__doc__ == "What it computes."
        assert callable(model.value.fget)

    def test_it_takes_no_assignment(self, module: Any) -> None:
        """Callers of 001: there is no setter."""
        model = self.make(module, lambda self: 1)()
        with pytest.raises(AttributeError):
            model.value = 2
        assert model.value == 1

    def test_its_cache_is_registered_under_the_functions_name(self, module: Any) -> None:
        """Callers of 001: the name is `module.qualname` of the function, from decoration on."""
        model = self.make(module, lambda self: 1)
        name = f"{__name__}.TestTTLCachedProperty.make.<locals>.Model.value"
        registered = [cache for key, cache in cache_manager._caches.items() if key.split("#")[0] == name]
        assert model.value.cache in registered

    def test_an_exception_is_not_cached(self, module: Any) -> None:
        """Callers of 001: a failed computation is its own exception, and the next read computes."""
        calls: list[object] = []

        def compute(self: object) -> str:
            calls.append(self)
            if len(calls) == 1:
                raise LookupError("the first time")
            return "value"

        model = self.make(module, compute)()
        with pytest.raises(LookupError, match="the first time"):
            _ = model.value
        assert (model.value, len(calls)) == ("value", 2)

    def test_two_instances_have_two_values(self, module: Any) -> None:
        """001, "Cache Key Format": the object is part of the key, whether or not objects are equal."""

        class Equal:
            def __eq__(self, other: object) -> bool:
                return True

            def __hash__(self) -> int:
                return 1

            @module.ttl_cached_property(ttl=60, max_size=10)
            def value(self) -> int:
                return id(self)

        one, two = Equal(), Equal()
        assert (one.value, two.value, one.value) == (id(one), id(two), id(one))

    def test_a_new_object_never_gets_a_dead_ones_value(self, module: Any) -> None:
        """Defect of akvo: keys were id(), which Python gives again to the next object."""

        class Project:
            def __init__(self, number: int) -> None:
                self.number = number

            @module.ttl_cached_property(ttl=3600, max_size=1000)
            def url(self) -> str:
                return f"/projects/{self.number}/"

        assert [Project(number).url for number in range(1000)] == [
            f"/projects/{number}/" for number in range(1000)
        ]

    def test_the_entries_of_the_dead_go(self, module: Any) -> None:
        """Defect of akvo: entries of collected objects filled the cache until their ttl."""
        model = self.make(module, lambda self: 1)
        instances = [model() for _ in range(20)]
        assert [instance.value for instance in instances] == [1] * 20
        cache = model.value.cache
        assert len(cache) == 20
        del instances[1:]
        gc.collect()
        assert len(cache) == 1

    def test_none_is_cached(self, module: Any) -> None:
        """Defect of akvo: a property that is None was computed at every read."""
        calls: list[object] = []
        model = self.make(module, calls.append)()
        assert (model.value, model.value, len(calls)) == (None, None, 1)

    def test_threads_compute_once(self, module: Any) -> None:
        """Defect of akvo: eight threads that read at once computed eight times."""
        calls: list[object] = []
        start, go_on = threading.Barrier(9), threading.Event()

        def compute(self: object) -> str:
            calls.append(self)
            assert go_on.wait(30)
            return "value"

        model = self.make(module, compute)()
        found: list[str] = []

        def read() -> None:
            start.wait(30)
            found.append(model.value)

        threads = [threading.Thread(target=read) for _ in range(8)]
        for thread in threads:
            thread.start()
        start.wait(30)
        go_on.set()
        for thread in threads:
            thread.join(30)
        assert (found, len(calls)) == (["value"] * 8, 1)

    def test_local_classes_do_not_share(self, module: Any) -> None:
        """Defect of akvo: classes made by one function have one qualified name, and shared one cache."""
        one = self.make(module, lambda self: "one")
        two = self.make(module, lambda self: "two")
        assert one.value.cache is not two.value.cache
        assert (one().value, two().value) == ("one", "two")


@SPELLINGS
class TestCachedMethod:
    def make(self, module: Any, **options: Any) -> tuple[type, list[tuple[Any, ...]]]:
        """A class whose cached method `query` records its calls, and the list of them."""
        options = options or {"ttl": 900, "max_size": 50}
        calls: list[tuple[Any, ...]] = []

        class Model:
            @module.cached_method(**options)
            def query(self, filter_param: Any, limit: int = 10) -> Any:
                """Query for it."""
                calls.append((filter_param, limit))
                return (filter_param, limit)

        return Model, calls

    def test_the_second_call_is_not_computed(self, module: Any) -> None:
        """001, "@cached_method": one computation for each combination of parameters."""
        model, calls = self.make(module)
        instance = model()
        assert [instance.query("a"), instance.query("a"), instance.query("b")] == [
            ("a", 10),
            ("a", 10),
            ("b", 10),
        ]
        assert calls == [("a", 10), ("b", 10)]

    def test_it_is_computed_again_after_its_ttl(self, module: Any, wall: Any) -> None:
        """001, "@cached_method": ttl is in seconds."""
        model, calls = self.make(module, ttl=900, max_size=50)
        instance = model()
        instance.query("a")
        wall.advance(899)
        instance.query("a")
        assert len(calls) == 1
        wall.advance(1)
        instance.query("a")
        assert len(calls) == 2

    def test_max_size_bounds_the_results(self, module: Any) -> None:
        """001, "@cached_method": beyond max_size the least recently used result goes."""
        model, calls = self.make(module, ttl=60, max_size=2)
        instance = model()
        for parameter in "abcbca":
            instance.query(parameter)
        assert [parameter for parameter, _ in calls] == ["a", "b", "c", "a"]

    def test_it_keeps_what_functools_wraps_keeps(self, module: Any) -> None:
        """Callers of 001: name, docstring, module and the function itself are there."""
        model, _ = self.make(module)
        query: Any = model.__dict__["query"]
        assert (query.__name__, query.__doc__, query.__module__) == ("query", "Query for it.", __name__)
        assert query.__wrapped__(model(), "a") == ("a", 10)

    def test_two_instances_have_two_results(self, module: Any) -> None:
        """001, "Cache Key Format": the object is part of the key."""
        model, calls = self.make(module)
        model().query("a")
        one, two = model(), model()
        one.query("a")
        two.query("a")
        assert len(calls) == 3

    def test_a_new_object_never_gets_a_dead_ones_result(self, module: Any) -> None:
        """Defect of akvo: keys were id(), which Python gives again to the next object."""

        class Project:
            def __init__(self, number: int) -> None:
                self.number = number

            @module.cached_method(ttl=3600, max_size=1000)
            def url(self, tab: str) -> str:
                return f"/projects/{self.number}/{tab}/"

        urls = [Project(number).url("map") for number in range(1000)]
        assert urls == [f"/projects/{number}/map/" for number in range(1000)]

    def test_one_call_in_two_spellings_is_one_entry(self, module: Any) -> None:
        """Defect of akvo: positional, keyword and default spelling of one call were three entries."""
        model, calls = self.make(module)
        instance = model()
        instance.query("a", 10)
        instance.query("a")
        instance.query(filter_param="a")
        instance.query(limit=10, filter_param="a")
        assert calls == [("a", 10)]

    def test_arguments_that_hash_alike_are_told_apart(self, module: Any) -> None:
        """Defect of akvo: keys were hashes, so m(-1) gave m(-2), 0 gave 2**61 - 1, and 1, True and 1.0 were one."""
        model, calls = self.make(module)
        instance = model()
        parameters = [1, True, 1.0, "1", None, "None", -1, -2, (1,), (True,), frozenset({1}), 0, 2**61 - 1]
        results = [instance.query(parameter)[0] for parameter in parameters]
        assert [(type(result), result) for result in results] == [
            (type(value), value) for value in parameters
        ]
        assert len(calls) == len(parameters)

    def test_filters_are_keyed_by_content(self, module: Any) -> None:
        """Defect of akvo: the documents' own example, a method given a dict of filters, was a TypeError."""
        model, calls = self.make(module)
        instance = model()
        instance.query({"status": "A", "tags": ["x", "y"]})
        instance.query({"tags": ["x", "y"], "status": "A"})
        assert len(calls) == 1
        instance.query({"status": "A", "tags": ["y", "x"]})
        assert len(calls) == 2

    def test_what_cannot_be_keyed_is_a_type_error(self, module: Any) -> None:
        """Callers of 001: an argument that is neither hashable nor a plain container is refused, and names itself."""

        class Unkeyable:
            __hash__ = None  # type: ignore[assignment]

        model, calls = self.make(module)
        with pytest.raises(TypeError, match="Unkeyable"):
            model().query(Unkeyable())
        assert calls == []

    def test_none_is_cached(self, module: Any) -> None:
        """Defect of akvo: a method that gives None was computed at every call."""
        calls: list[object] = []

        class Model:
            @module.cached_method(ttl=60, max_size=10)
            def nothing(self) -> None:
                calls.append(self)

        instance = Model()
        assert (instance.nothing(), instance.nothing(), len(calls)) == (None, None, 1)

    def test_an_exception_is_not_cached(self, module: Any) -> None:
        """Callers of 001: the method's own exception comes through each time."""
        calls: list[int] = []

        class Model:
            @module.cached_method(ttl=60, max_size=10)
            def fail(self, number: int) -> None:
                calls.append(number)
                raise LookupError(number)

        instance = Model()
        for _ in range(2):
            with pytest.raises(LookupError, match="7"):
                instance.fail(7)
        assert calls == [7, 7]

    def test_local_classes_do_not_share(self, module: Any) -> None:
        """Defect of akvo: classes made by one function have one qualified name, and shared one cache."""
        one, _ = self.make(module)
        two, _ = self.make(module)
        assert one.__dict__["query"].cache is not two.__dict__["query"].cache
