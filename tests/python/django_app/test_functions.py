"""`cached_in`: results of functions in an alias of CACHES."""

import asyncio
import functools
import logging
import re
import threading
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pytest
from dialect_caches import BACKENDS, BROKEN, FILES, own_default
from django.contrib.auth.models import Group
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.test import override_settings

from oxicache import AdaptiveTtl, keys
from oxicache.compat.enterpriseland import smart_cache
from oxicache.django import conf, functions, invalidate, keeping
from oxicache.django.backends import NativeCache
from oxicache.django.functions import cached_in
from oxicache.django.scope import Scope, use_scope
from oxicache.store import failure_counts

pytestmark = pytest.mark.usefixtures("django_databases")


@pytest.fixture(params=BACKENDS)
def cache(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The default alias, empty: oxicache's, and one of Django's."""
    with own_default(BACKENDS[request.param]) as default:
        yield default


class Counted:
    """A function that counts its calls."""

    def __init__(self, result: Callable[..., Any] = lambda *args, **kwargs: [args, kwargs]) -> None:
        self.calls = 0
        self.result = result

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return self.result(*args, **kwargs)


def decorated(count: Counted, **options: Any) -> Any:
    @cached_in(**options)
    def report(year: int, month: Any = 1, *days: int, **more: Any) -> Any:
        return count(year, month)

    return report


class TestKeys:
    def test_one_call_however_it_is_written(self, cache: Any) -> None:
        """Arguments by position, by name and by default make one key, which is text that says what it is of."""
        count = Counted()
        report = decorated(count)
        assert report(2024) == report(2024, 1) == report(month=1, year=2024)
        assert count.calls == 1
        name = f"{__name__}.decorated.<locals>.report"
        assert re.fullmatch(f"function:{re.escape(name)}@[0-9a-f]{{32}}:month=1:year=2024", report.key(2024))
        assert cache.has_key(report.key(2024))

    def test_types_count(self, cache: Any) -> None:
        """1, True, "1" and a list of it are four keys; objects are a TypeError that names the argument."""
        count = Counted()
        report = decorated(count)
        for year in (1, True, "1", [1], date(2024, 1, 1)):
            report(year)
            report(year)
        assert count.calls == 5
        with pytest.raises(TypeError, match="year"):
            report(object())

    def test_defaults_that_stand_for_nothing(self, cache: Any) -> None:
        """One that has no spelling is left out of the key, as the argument is."""
        nothing = object()

        @cached_in()
        def f(a: int, b: Any = nothing) -> bool:
            return b is nothing

        assert (f(1), f(1, 2), f(1, nothing)) == (True, False, True)
        assert f.key(1).endswith(":a=1")  # type: ignore[attr-defined]

    def test_functions_of_one_name_share_nothing(self, cache: Any) -> None:
        """Those that a function makes, lambdas and partials are told apart by their code and what they hold."""

        def times(number: Any) -> Any:
            @cached_in()
            def product(by: int) -> Any:
                return by * getattr(number, "real", number)

            return product

        made = [times(2), times(3), times(Counted(lambda: 0)), times(Counted(lambda: 0))]
        assert times(2).key(1) == times(2).key(1) == made[0].key(1)
        assert len({one.key(1) for one in made}) == 4
        assert [made[0](1), made[1](1), made[0].cache_clear(), made[1](1)] == [2, 3, 1, 3]
        more: list[Any] = [
            lambda by: by + 1,
            lambda by: by + 2,
            functools.partial(max, 3),
            functools.partial(max, 4),
        ]
        for decorator in (cached_in(), smart_cache()):
            assert [decorator(one)(1) for one in more[:2]] == [2, 3]
        assert [cached_in(key=lambda by: by)(one)(1) for one in more] == [2, 3, 3, 4]

    def test_a_wrapper_is_called_as_it_is(self, cache: Any) -> None:
        """Calls of one that has other defaults than what it wraps are told apart by what it was given."""

        def under(user: str, amount: int = 1) -> tuple[str, int]:
            return user, amount

        @functools.wraps(under)
        def over(amount: int = 5) -> tuple[str, int]:
            return under("somebody", amount)

        called = cached_in()(over)
        assert [called(), called(1), called(amount=5)] == [("somebody", 5), ("somebody", 1), ("somebody", 5)]
        assert called.key() == called.key(5)  # type: ignore[attr-defined]

    def test_a_key_of_its_own(self, cache: Any) -> None:
        """What `key` returns is taken as it is, with the name behind it: patterns find it, and no other shares it."""
        first = decorated(Counted(), key=lambda year, *_: f"report:{year}")

        @cached_in(key=lambda year: f"report:{year}")
        def other(year: int) -> str:
            return "other"

        assert first(2024) == [(2024, 1), {}]
        assert (other(2024), first(2024)) == ("other", [(2024, 1), {}])
        assert first.key(2024).startswith("report:2024:")
        assert invalidate(prefix="report:2024", aliases=("default",)).total == 2
        long = decorated(Counted(), key=lambda year, *_: "x" * 1000 + str(year))
        assert long.key(1) != long.key(2)
        assert len(long.key(1)) <= 250
        itself = decorated(Counted(lambda year, *_: repr(year)), key=lambda year, *_: year)
        for year in (1, "1", True, "True", 1.0, "1.0", "~list(1)", [1]):
            assert itself(year) == repr(year)
        with pytest.raises(TypeError, match=r"report@.* is None"):
            decorated(Counted(), key=lambda *_: None)(1)

    def test_tenants_share_nothing(self, cache: Any) -> None:
        """Within a scope the key begins with it."""
        count = Counted()
        report = decorated(count)
        for tenant in (0, 1):
            with use_scope(Scope(tenant=tenant)):
                assert report.key(2024).startswith(f"tenant:{tenant}:function:")
                report(2024), report(2024)
        assert count.calls == 2
        shared = decorated(count, per_tenant=False)
        with use_scope(Scope(tenant=1)):
            assert shared.key(2024).startswith("function:")

    def test_an_unknown_tenant(self, cache: Any, caplog: pytest.LogCaptureFixture) -> None:
        """Where a tenant is wanted and nobody can say which, nothing is kept, and the log says so once."""
        count = Counted()
        report = decorated(count)
        with override_settings(OXICACHE={"TENANT": lambda: None}), caplog.at_level(logging.WARNING):
            assert report(2024) == report(2024)
            assert report.key(2024) is None
            assert report.invalidate(2024) == 0
        assert (count.calls, len(caplog.records)) == (2, 1)
        functions._said.clear()


class TestResults:
    @pytest.mark.parametrize("result", [None, 0, "", [], False])
    def test_falsy_results_are_results(self, cache: Any, result: Any) -> None:
        """None too, unless it is not wanted."""
        count = Counted(lambda *_: result)
        report = decorated(count)
        assert [report(1), report(1), count.calls] == [result, result, 1]
        again = Counted(lambda *_: result)
        report = decorated(again, key=lambda *_: "again", cache_none=False)
        report(1), report(1)
        assert again.calls == (2 if result is None else 1)

    def test_which_are_kept(self, cache: Any) -> None:
        """`keeps` judges results, `condition` calls."""
        count = Counted(lambda year, month: year)
        report = decorated(count, keeps=lambda result: result > 0, condition=lambda year: year != 7)
        for year in (1, -1, 7):
            report(year), report(year)
        assert count.calls == 1 + 2 + 2

    def test_errors_are_the_functions_own(self, cache: Any) -> None:
        """They pass through and are not kept."""
        count = Counted(lambda *_: 1 / 0)
        report = decorated(count)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                report(1)
        assert count.calls == 2

    def test_what_can_be_consumed_once(self, cache: Any) -> None:
        """A generator is refused, whether it is seen at the decorator or in the result."""
        with pytest.raises(TypeError, match="return a list"):
            decorated(Counted(lambda *_: iter([1])))(1)

    def test_a_cache_that_fails_is_a_miss(self) -> None:
        """The function is called, and the failure counted."""
        with override_settings(CACHES={"default": {"BACKEND": BROKEN}}):
            count = Counted()
            report = decorated(count)
            assert report(1) == report(1)
            assert (count.calls, failure_counts()["django:default"] > 0) == (2, True)


class TestTimes:
    def test_by_name(self, cache: Any) -> None:
        """A name of CACHE_TIMEOUTS is looked up at the call; one that there is not is an error that lists them."""
        report = decorated(Counted(), ttl="DASHBOARD_METRICS")
        assert conf.ttl_of("ttl", "DASHBOARD_METRICS") == 900
        with override_settings(CACHE_TIMEOUTS={"DASHBOARD_METRICS": 0}):
            assert conf.ttl_of("ttl", "DASHBOARD_METRICS") == 0
            report(1)
            assert not cache.has_key(report.key(1))
        report(1)
        assert cache.has_key(report.key(1))
        with pytest.raises(TypeError, match="DASHBOARD_METRICS"):
            decorated(Counted(), ttl="dashbord")
        with override_settings(CACHE_TIMEOUTS={"own": 5}):
            report = decorated(Counted(), ttl="own")
        with pytest.raises(ImproperlyConfigured, match="'own'"):
            report(1)

    def test_omitted(self) -> None:
        """It is the alias's TIMEOUT."""
        with own_default(BACKENDS["locmem"], TIMEOUT=77):
            assert functions._seconds(functions.MISSING, "default") == 77

    def test_by_how_often(self, cache: Any) -> None:
        """An AdaptiveTtl counts the calls of each key."""
        report = decorated(Counted(), ttl=AdaptiveTtl())
        report(1), report(1)
        assert report.meter.asks(report.key(1)).count == 2


class TestInvalidation:
    def test_of_a_call_and_of_all(self, cache: Any) -> None:
        """`invalidate` returns how many entries there were; no other function's go."""
        count, other = Counted(), Counted()
        report, kept = decorated(count), decorated(other, key=lambda year, *_: f"kept:{year}")
        report(1), report(2), kept(1)
        assert (report.invalidate(1), report.invalidate(year=1)) == (1, 0)
        report(1)
        assert report.cache_clear() == 2
        kept(1)
        assert (other.calls, kept.cache_clear()) == (1, 1)

    def test_by_tag(self, cache: Any) -> None:
        """In any cache that can say what carries a tag."""
        count = Counted()
        report = decorated(count, tags=lambda year, *_: [f"year:{year}"])
        report(1), report(2)
        invalidate(tags=["year:1"])
        report(1), report(2)
        assert count.calls == 3

    def test_a_tag_that_is_invalidated_meanwhile(self, cache: Any) -> None:
        """What was computed before does not outlive it."""
        count = Counted(lambda year, month: invalidate(tags=["t"]).total)
        report = decorated(count, tags=["t"])
        report(1), report(1)
        assert count.calls == 2

    def test_tags_that_reach_nothing(self, tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
        """Where nobody can say what carries a tag, nothing is kept that has one, and the log says so."""
        with own_default(FILES, LOCATION=str(tmp_path)), caplog.at_level(logging.WARNING):
            count = Counted()
            report = decorated(count, tags=["t"])
            report(1), report(1)
            assert (count.calls, len(caplog.records)) == (2, 1)
            plain = decorated(count, key=lambda *_: "plain")
            plain(1), plain(1)
            assert count.calls == 3
        keeping._said.clear()

    def test_inside_a_transaction(self, cache: Any) -> None:
        """Who has written passes the cache by, and invalidates at the commit."""
        count = Counted(lambda year, month: Group.objects.count())
        report = decorated(count)
        before = report(1)
        with transaction.atomic():
            Group.objects.create(name="functions")
            assert report(1) == before + 1
            report.invalidate(1)
            assert cache.get(report.key(1)) == before
            transaction.set_rollback(True)
        assert (report(1), count.calls) == (before, 2)
        with transaction.atomic():
            made = Group.objects.create(name="functions")
            report.invalidate(1)
        assert report(1) == before + 1
        made.delete()


class TestConcurrency:
    def test_one_caller_computes(self, cache: Any) -> None:
        """Threads that ask for one key wait for the one that computes."""
        entered, leave = threading.Event(), threading.Event()

        def slow(*_: Any) -> str:
            entered.set()
            leave.wait(30)
            return "done"

        count, results = Counted(slow), []
        report = decorated(count)
        first = threading.Thread(target=lambda: results.append(report(1)))
        first.start()
        entered.wait(30)
        others = [threading.Thread(target=lambda: results.append(report(1))) for _ in range(3)]
        for thread in others:
            thread.start()
        leave.set()
        for thread in [first, *others]:
            thread.join()
        assert (results, count.calls) == (["done"] * 4, 1)

    def test_async_functions(self, cache: Any) -> None:
        """They are awaited, and what they return is kept."""
        count = Counted()

        @cached_in(tags=["t"], ttl=60)
        async def fetch(number: int) -> int:
            count()
            await asyncio.sleep(0)
            return number

        async def several() -> list[int]:
            return [*await asyncio.gather(*[fetch(1) for _ in range(4)]), await fetch(1)]

        assert asyncio.run(several()) == [1] * 5
        computed = count.calls
        assert computed == (1 if isinstance(cache, NativeCache) else 4)  # elsewhere each task computes
        assert asyncio.run(fetch(1)) == 1
        assert count.calls == computed
        invalidate(tags=["t"])
        asyncio.run(fetch(1))
        assert count.calls == computed + 1


class TestArguments:
    @pytest.mark.parametrize(
        ("given", "error", "named"),
        [
            ({"ttl": -1}, ValueError, "ttl"),
            ({"ttl": True}, TypeError, "ttl"),
            ({"key": "id"}, TypeError, "key"),
            ({"keeps": 1}, TypeError, "keeps"),
            ({"condition": "x"}, TypeError, "condition"),
            ({"alias": 5}, TypeError, "alias"),
            ({"tags": "ab"}, TypeError, "tags"),
        ],
    )
    def test_wrong_ones_are_named(self, given: dict[str, Any], error: type[Exception], named: str) -> None:
        """TypeError or ValueError, where the decorator stands."""
        with pytest.raises(error, match=named):
            decorated(Counted(), **given)

    def test_without_parentheses(self) -> None:
        """The message says what to write."""
        with pytest.raises(TypeError, match="with parentheses"):
            cached_in(len)  # type: ignore[arg-type]

    def test_long_keys_keep_their_start(self) -> None:
        """Arguments that are long are cut to a digest, and the function's own keys are still found."""
        with own_default(BACKENDS["native"]):
            report = decorated(Counted())
            report("x" * 1000)
            assert len(report.key("x" * 1000)) <= keys.KEY_MAX_CHARS
            assert report.cache_clear() == 1
            assert caches["default"].get(report.key("x" * 1000)) is None
