"""Document 002 (THE_BOT), "Utility: Get or Compute" and "Cache Query Results", and what that system got wrong there."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dialect_caches import BACKENDS, BROKEN, own_default
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.test import override_settings
from document_pages import Example, example

from oxicache.compat.the_bot import CacheKeyBuilder, cache_query_result, get_or_compute, invalidate_cache


@pytest.fixture(params=BACKENDS, autouse=True)
def cache(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, django_databases: None
) -> Iterator[Any]:
    """The default alias, empty."""
    monkeypatch.delenv("ENVIRONMENT", raising=False)
    with own_default(BACKENDS[request.param]) as default:
        yield default


def counted(results: Callable[..., Any], **options: Any) -> tuple[Any, list[Any]]:
    calls: list[Any] = []

    @cache_query_result(**{"namespace": "things", **options})
    def function(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return results(*args, **kwargs)

    return function, calls


class TestExamples:
    @example("002", "5. Utility: Get or Compute")
    def test_get_or_compute(self, shown: Example, cache: Any) -> None:
        """002, "5. Utility: Get or Compute"."""
        names = shown.run(
            User=User,
        )
        assert names["count"] == cache.get("active_users_count") == User.objects.count()

    @example("002", "Cache Query Results")
    def test_cache_query_results(self, shown: Example, cache: Any) -> None:
        """002, "Cache Query Results"."""
        names = shown.run(
            User=User,
        )
        assert cache.get(CacheKeyBuilder.make_key("active_users")) == names["count"]
        invalidate_cache("active_users")
        assert cache.get(CacheKeyBuilder.make_key("active_users")) is None


class TestSettled:
    """SETTLED, section 2."""

    def test_the_key(self, cache: Any) -> None:
        """make_key of namespace and arguments; the function's name is no part of it."""
        function, calls = counted(lambda *_, **__: "x")
        function("a", 1, page=2)
        assert cache.get("thebot:production::things:a:1:page=2") == "x"
        other, others = counted(lambda *_, **__: "y")
        assert (other("a", 1, page=2), others) == ("x", [])
        assert (invalidate_cache("things", "a", 1, page=2), len(calls)) == (1, 1)

    def test_none_is_computed_anew(self, cache: Any) -> None:
        """By both, as there; what else is false is a result."""
        for result, times in ((None, 2), (0, 1), ("", 1), ([], 1)):
            function, calls = counted(lambda *_, result=result: result, namespace=f"ns{result!r}")
            assert [function(), function(), len(calls)] == [result, result, times]
            computed: list[int] = []
            for _ in range(2):
                found = get_or_compute(f"key:{times}:{result!r}", lambda: computed.append(1) or result)  # noqa: B023 -- at once
                assert found == result
            assert len(computed) == times

    def test_the_time(self, cache: Any) -> None:
        """300 seconds, or a name of CACHE_TIMEOUTS."""
        function, calls = counted(lambda: "x", ttl="notifications")
        with override_settings(CACHE_TIMEOUTS={"notifications": 0}):
            function(), function()
        assert len(calls) == 2
        function(), function()
        assert len(calls) == 3

    def test_all_of_a_namespace(self, cache: Any) -> None:
        """`cache_clear` forgets what is below it, and nothing of another."""
        function, calls = counted(lambda *args: len(args))
        other, others = counted(lambda: 1, namespace="things2")
        function(), function(1), function(1, 2), other()
        assert function.cache_clear() == 3
        function(1), other()
        assert (len(calls), len(others)) == (4, 1)


class TestDefects:
    """Known defects of the earlier system."""

    def test_arguments_do_not_collide(self) -> None:
        """There None was 'none', True 'True', and page=1 'page=1'; long arguments shared a digest of 32 bits."""
        function, calls = counted(lambda *args, **kwargs: [args, kwargs])
        given: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
            ((None,), {}),
            (("none",), {}),
            ((True,), {}),
            (("True",), {}),
            ((1,), {}),
            (("1",), {}),
            (("a:b",), {}),
            (("a", "b"), {}),
            (("page=1",), {}),
            ((), {"page": 1}),
            (([1, 2],), {}),
            (("[1, 2]",), {}),
        ]
        for args, kwargs in given * 2:
            assert function(*args, **kwargs) == [args, kwargs]
        assert len(calls) == len(given)
        with pytest.raises(TypeError, match="object"):
            function(object())  # there it was keyed by its address

    def test_one_caller_computes(self) -> None:
        """There 8 threads computed 8 times."""
        entered, leave = threading.Event(), threading.Event()

        def slow() -> int:
            entered.set()
            leave.wait(30)
            return 1

        results: list[int] = []
        calls: list[int] = []

        def compute() -> int:
            calls.append(1)
            return slow()

        threads = [
            threading.Thread(target=lambda: results.append(get_or_compute("slow", compute))) for _ in range(8)
        ]
        threads[0].start()
        entered.wait(30)
        for thread in threads[1:]:
            thread.start()
        leave.set()
        for thread in threads:
            thread.join()
        assert (results, len(calls)) == ([1] * 8, 1)

    def test_nothing_uncommitted_is_stored(self, cache: Any) -> None:
        """What a transaction that has written computes is its own."""
        with transaction.atomic():
            Group.objects.create(name="the bot")
            assert get_or_compute("groups", Group.objects.count) == Group.objects.count()
            assert cache.get("groups") is None
            transaction.set_rollback(True)
        assert get_or_compute("groups", Group.objects.count) == cache.get("groups") == Group.objects.count()

    def test_errors(self) -> None:
        """The function's own pass through; those of the cache do not."""
        with pytest.raises(ZeroDivisionError):
            get_or_compute("error", lambda: 1 // 0)
        with override_settings(CACHES={"default": {"BACKEND": BROKEN}}):
            assert get_or_compute("key", lambda: 7) == 7

    @pytest.mark.parametrize(
        ("call", "named"),
        [
            (lambda: get_or_compute("", len), "cache_key"),
            (lambda: get_or_compute("k", 5), "compute_func"),
            (lambda: get_or_compute("k", len, ttl=-1), "ttl"),
            (lambda: cache_query_result(None), "namespace"),
            (lambda: cache_query_result("n", ttl="5 minutes"), "CACHE_TIMEOUTS"),
            (lambda: cache_query_result("n", ttl=True), "ttl"),
            (lambda: cache_query_result(len), "namespace"),
        ],
    )
    def test_wrong_arguments_are_named(self, call: Callable[[], Any], named: str) -> None:
        """TypeError or ValueError where they are given."""
        with pytest.raises((TypeError, ValueError), match=named):
            call()
