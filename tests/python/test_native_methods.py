"""Methods of the native classes as Python code sees them: signatures, keywords, errors."""

import ast
import contextlib
import inspect
import operator
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from oxicache import _native
from oxicache._native import CacheManager, Memo, MemoProperty, ProjectDeletionTracker, TTLCache

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

STUB = ast.parse((Path(_native.__file__ or "").with_name("_native.pyi")).read_text())
STUBBED = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}
# For calls that the stub forbids, which is what is tested.
UNTYPED: Any = TTLCache
CLASSES = [TTLCache, CacheManager, ProjectDeletionTracker, Memo, MemoProperty]
METHODS = [
    pytest.param(owner, node, id=f"{owner.__name__}.{node.name}")
    for owner in CLASSES
    for node in {n.name: n for n in STUBBED[owner.__name__].body if isinstance(n, ast.FunctionDef)}.values()
    if not node.decorator_list or any(getattr(d, "id", "") == "overload" for d in node.decorator_list)
]

# Python gives its own signatures to slots.
SIGNED = [
    method
    for method in METHODS
    if not str(method.id).split(".")[1].startswith("__") or "__new__" in str(method.id)
]


@pytest.fixture
def cache() -> TTLCache[str, Any]:
    cache: TTLCache[str, Any] = TTLCache(10, 60)
    cache.set("a", 1)
    return cache


class TestSignatures:
    @pytest.mark.parametrize(("owner", "node"), SIGNED)
    def test_a_signature_can_be_inspected_and_is_the_stubs(self, owner: type, node: ast.FunctionDef) -> None:
        """Names, order and kinds of parameters are those of `_native.pyi`."""
        told = inspect.signature(owner if node.name == "__new__" else getattr(owner, node.name))
        names = [name for name in told.parameters if name not in ("self", "cls", "args", "kwargs")]
        stubbed = [
            argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        ]
        assert names == [name for name in stubbed if name not in ("self", "cls")]
        keyword_only = [name for name, given in told.parameters.items() if given.kind is given.KEYWORD_ONLY]
        assert keyword_only == [argument.arg for argument in node.args.kwonlyargs]

    @pytest.mark.parametrize(("owner", "node"), METHODS)
    def test_a_public_method_says_what_it_does(self, owner: type, node: ast.FunctionDef) -> None:
        """Every public method and every class has a docstring that is a sentence."""
        described = owner.__doc__ if node.name.startswith("_") else getattr(owner, node.name).__doc__
        assert described
        assert described.strip().splitlines()[0].rstrip().endswith((".", '"')), described

    @pytest.mark.parametrize("owner", CLASSES)
    def test_a_class_says_where_it_is_from(self, owner: type) -> None:
        """Name and module let a reader find it."""
        assert owner.__module__.startswith("oxicache")
        assert owner.__name__ == owner.__qualname__ == next(c.__name__ for c in CLASSES if c is owner)


class TestCalls:
    def test_arguments_by_keyword(self, cache: TTLCache[str, Any]) -> None:
        """Each argument may be spelt by its name, as in a Python function."""
        assert cache.get(key="a") == 1
        assert cache.get(key="absent", default=2) == 2
        assert cache.get("absent", default=2) == 2
        cache.set(key="b", value=2, ttl=5, tags=["t"])
        cache.set("b", value=2)
        assert cache.peek(key="b", default=0) == 2
        assert cache.add(key="c", value=3, ttl=None, tags=()) is True
        assert cache.touch(key="c", ttl=7) is True
        assert cache.time_left(key="c") == pytest.approx(7, abs=1)
        assert cache.get_many(keys=["a"]) == {"a": 1}
        cache.set_many(items={"d": 4}, ttl=5, tags=["t"])
        assert cache.delete(key="c") is True
        assert cache.pop(key="d", default=None) == 4
        assert cache.delete_many(keys=["b"]) == 1
        assert cache.tags(key="a") == frozenset()
        assert cache.delete_by_tag(tag="t") == 0

    def test_keyword_names_are_compared_by_content(self, cache: TTLCache[str, Any]) -> None:
        """A name built at run time is as good as one in the source."""
        assert cache.get(**{"".join(["k", "ey"]): "a"}) == 1
        spelt: dict[str, Any] = {"".join(["k", "ey"]): "b", "".join(["va", "lue"]): 2}
        cache.set(**spelt)
        assert cache.get("b") == 2

    WRONG: ClassVar[dict[str, Callable[[Any], object]]] = {
        "get-nothing": lambda cache: cache.get(),
        "get-three": lambda cache: cache.get("a", 1, 2),
        "get-twice": lambda cache: cache.get("a", key="a"),
        "get-unknown": lambda cache: cache.get("a", fallback=1),
        "get-default-only": lambda cache: cache.get(default=1),
        "get-default-twice": lambda cache: cache.get("a", 1, default=2),
        "get-no-string": lambda cache: cache.get("a", **cast("Any", {1: 2})),
        "set-nothing": lambda cache: cache.set(),
        "set-one": lambda cache: cache.set("b"),
        "set-five": lambda cache: cache.set("b", 1, 2, (), 5),
        "set-twice": lambda cache: cache.set("b", 1, value=2),
        "set-unknown": lambda cache: cache.set("b", 1, timeout=5),
        "set-value-only": lambda cache: cache.set(value=1),
        "delete-nothing": lambda cache: cache.delete(),
        "delete-two": lambda cache: cache.delete("a", "b"),
        "clear-one": lambda cache: cache.clear("a"),
        "stats-keyword": lambda cache: cache.stats(now=1),
        "getitem-two": lambda cache: cache.__getitem__("a", "b"),
        "contains-nothing": lambda cache: cache.__contains__(),
        "get-of-another": lambda cache: UNTYPED.get(object(), "a"),
        "set-of-another": lambda cache: UNTYPED.set({}, "a", 1),
        "get-of-nothing": lambda cache: UNTYPED.get(),
        "getitem-of-another": lambda cache: UNTYPED.__getitem__({"a": 1}, "a"),
        "contains-of-another": lambda cache: UNTYPED.__contains__(object(), "a"),
        "setitem-of-another": lambda cache: UNTYPED.__setitem__(None, "a", 1),
    }

    @pytest.mark.parametrize("wrong", WRONG)
    def test_wrong_arguments_are_type_errors(self, wrong: str, cache: TTLCache[str, Any]) -> None:
        """Missing, superfluous, doubled and unknown arguments raise TypeError, and nothing is changed."""
        with pytest.raises(TypeError) as caught:
            self.WRONG[wrong](cache)
        assert str(caught.value)
        assert cache.items() == [("a", 1)]

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ("get-nothing", "get() missing 1 required positional argument: 'key'"),
            ("get-unknown", "get() got an unexpected keyword argument 'fallback'"),
            ("get-twice", "get() got multiple values for argument 'key'"),
            ("set-one", "set() missing 1 required positional argument: 'value'"),
            ("get-three", "get() takes from 1 to 2 positional arguments but 3 were given"),
        ],
    )
    def test_the_errors_read_as_python_s(self, wrong: str, said: str, cache: TTLCache[str, Any]) -> None:
        """The messages are those of a Python function, but for the class's name before the method's."""
        with pytest.raises(TypeError) as caught:
            self.WRONG[wrong](cache)
        assert str(caught.value).replace("TTLCache.", "") == said

    def test_unbound_calls(self, cache: TTLCache[str, Any]) -> None:
        """A method taken from the class works with a cache as its first argument."""
        assert TTLCache.get(cache, "a") == 1
        assert TTLCache.get(cache, "absent", 2) == 2
        assert TTLCache.get(cache, key="absent", default=3) == 3
        TTLCache.set(cache, "b", 2)
        TTLCache.__setitem__(cache, "c", 3)
        assert TTLCache.__getitem__(cache, "c") == 3
        assert TTLCache.__contains__(cache, "b")
        assert TTLCache.__len__(cache) == 3
        assert operator.getitem(cache, "b") == 2
        assert operator.methodcaller("get", "b")(cache) == 2

    def test_bound_methods(self, cache: TTLCache[str, Any]) -> None:
        """A bound method knows its cache and its name, and can be handed on."""
        get = cache.get
        assert get.__self__ is cache  # type: ignore[attr-defined]
        assert get.__name__ == "get"
        assert get.__qualname__ == "TTLCache.get"
        assert list(map(get, ["a", "absent"])) == [1, None]
        assert get == cache.get
        assert callable(TTLCache.get)
        assert not isinstance(TTLCache.get, types.FunctionType)

    def test_one_call_site_for_many_types(self, cache: TTLCache[str, Any]) -> None:
        """A call that the interpreter has specialised for one type still serves another."""
        other: TTLCache[str, Any] = TTLCache(10, 60)
        other.set("a", 2)
        holders: list[Any] = [cache] * 50 + [{"a": 3}, other, cache, {"a": 3}] * 50 + [other] * 50
        found = [(holder.get("a"), holder["a"], "a" in holder) for holder in holders]
        expected = {id(cache): 1, id(other): 2}
        assert found == [
            (expected.get(id(holder), 3), expected.get(id(holder), 3), True) for holder in holders
        ]

    def test_results_have_their_types(self, cache: TTLCache[str, Any]) -> None:
        """Answers are bools and Nones themselves, not things that look alike."""
        assert cache.set("b", 1) is None  # type: ignore[func-returns-value]
        assert cache.clear() is None  # type: ignore[func-returns-value]
        assert cache.delete("b") is False
        assert cache.add("b", 1) is True
        assert ("b" in cache) is True
        assert cache.touch("absent") is False
        assert isinstance(cache.get_many(["b"]), dict)
        assert type(cache.keys()) is list
        assert type(cache.items()) is list

    def test_references_are_counted_rightly(self) -> None:
        """Many calls of every kind leave the reference counts of key, value and default where they were."""
        cache: TTLCache[Any, Any] = TTLCache(10, 60)
        key, absent, value, default = "key of its own", "no such key", object(), object()
        pair = ("absent", 1)
        cache.set(key, value)

        def counts() -> list[int]:
            return [sys.getrefcount(held) for held in (key, absent, pair, value, default, cache)]

        def calls() -> None:
            for _ in range(500):
                cache.get(key)
                cache.get(key, default)
                cache.get(absent)
                cache.get(absent, default)
                cache.get(pair, default)
                cache.set(pair, value)
                cache.get(pair)
                cache.delete(pair)
                cache.set(absent, value, ttl=0)
                cache.get(key=absent, default=default)
                cache.set(key, value)
                cache.set(key=key, value=value)
                cache[key] = value
                cache[key]
                key in cache  # noqa: B015 - only its effect on the counts matters
                absent in cache  # noqa: B015
                cache.peek(key)
                cache.get_many([key, absent])
                cache.delete(absent)
                cache.pop(absent, default)
                for wrong in (
                    lambda: cache[absent],
                    lambda: UNTYPED.get(cache, key, default, value),
                    lambda: cache.get([]),
                ):
                    with contextlib.suppress(KeyError, TypeError):
                        wrong()  # type: ignore[no-untyped-call]

        calls()
        before = counts()
        calls()
        assert counts() == before


def test_one_cache_serves_one_decorated_callable() -> None:
    """Keys of calls do not say which function was called, so a second function for one cache is refused."""
    cache: TTLCache[Any, Any] = TTLCache(10, 60)
    first = Memo(lambda: 1, cache, lambda *_call: 1)
    for second in (
        lambda: Memo(lambda: 2, cache, lambda *_call: 2),
        lambda: MemoProperty(lambda _self: 2, cache, lambda *_call: 2),
    ):
        with pytest.raises(ValueError, match="TTLCache"):
            second()
    assert first.cache is cache
