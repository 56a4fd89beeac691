"""What the system of document 003 got wrong about tags, patterns and signals, at the names it has here."""

import threading
import time
from typing import Any

import pytest
from dialect_caches import FILES, filled, left, roll_back
from django.contrib.auth.models import User
from django.db import transaction
from django.test import override_settings
from platform_site import dependent, platform_cache, tagged, user

from oxicache import TTLCache, cached_function
from oxicache import cache_manager as named_caches
from oxicache.compat import enterpriseland
from oxicache.compat.enterpriseland import (
    DependencyInvalidator,
    PatternInvalidator,
    SmartInvalidator,
    TagInvalidator,
    cache_manager,
)
from oxicache.django.rules import changed_rows
from oxicache.errors import CannotEnumerateError
from oxicache.store import forget_failures

__all__ = ["platform_cache", "user"]  # fixtures


@pytest.fixture(autouse=True)
def cache(platform_cache: Any) -> Any:
    """The default alias, empty."""
    return platform_cache


class TestDefects:
    """Known defects of the earlier system."""

    def test_the_names_are_exported(self) -> None:
        """There the documented imports failed at import."""
        for name in ("cache_manager", "SmartInvalidator"):
            assert name in enterpriseland.__all__
            assert hasattr(enterpriseland, name)

    def test_one_store_of_tags(self, cache: Any) -> None:
        """There strategies, invalidator and views each had one of their own, so that nothing was deleted."""
        calls: list[int] = []

        @cached_function(tags=["user"])
        def decorated() -> int:
            calls.append(1)
            return len(calls)

        named: TTLCache[str, int] = named_caches.get_cache("enterpriseland.tags", max_size=10, ttl=60)
        named.set("k", 1, tags=["user"])
        keys = [tagged(cache, "a", "user")]
        if hasattr(cache, "delete_by_tag"):
            cache.set("b", 1, tags=["user"])
            keys.append("b")
        assert decorated() == decorated() == 1
        TagInvalidator().invalidate(["user"])
        assert (left(cache, keys), named.get("k"), decorated()) == ([], None, 2)
        named_caches.remove("enterpriseland.tags")

    @pytest.mark.parametrize("spelt", ["auth.User", "auth.user", "AUTH.USER"])
    @pytest.mark.parametrize("asked", ["auth.User", "auth.user"])
    def test_models_are_spelt_in_any_case(self, cache: Any, spelt: str, asked: str) -> None:
        """There signals asked for 'auth.user' and everybody else for 'auth.User'."""
        dependent(cache, "a", spelt, 1)
        assert DependencyInvalidator().invalidate(asked, 1) == 1

    def test_a_save_reaches_what_depends_on_it(self, cache: Any, user: User) -> None:
        """The row's entries, and lists, which depend on all rows; there neither went."""
        gone = [dependent(cache, "row", "auth.User", user.pk), dependent(cache, "list", "auth.User")]
        kept = [dependent(cache, "other", "auth.User", user.pk + 1)]
        user.save()
        assert left(cache, [*gone, *kept]) == kept
        (again,) = [dependent(cache, "list", "auth.User")]
        User.objects.create_user(f"{user.username}-2").delete()
        assert left(cache, [again]) == []

    def test_changes_without_a_signal(self, cache: Any) -> None:
        """What is said of rows that nobody can name reaches what depends on any of them."""
        keys = [dependent(cache, "row", "auth.User", 7), dependent(cache, "list", "auth.User")]
        keys += [dependent(cache, "other", "auth.Group", 7)]
        changed_rows(User, None)
        assert left(cache, keys) == ["other"]

    def test_row_0_is_a_row(self, cache: Any) -> None:
        """There 0 stood for all rows."""
        keys = [dependent(cache, "zero", "auth.User", 0), dependent(cache, "one", "auth.User", 1)]
        assert DependencyInvalidator().invalidate("auth.User", 0) == 1
        assert left(cache, keys) == ["one"]

    def test_after_the_commit(self, cache: Any, user: User) -> None:
        """There handlers ran before the commit; after a rollback nothing is invalidated."""
        key = dependent(cache, "row", "auth.User", user.pk)
        roll_back(user.save)
        assert cache.get(key) == "value"
        with transaction.atomic():
            user.save()
            assert TagInvalidator().invalidate(["none"]) == 0
            assert cache.get(key) == "value"
        assert cache.get(key) is None

    def test_only_the_named_events(self, cache: Any, user: User) -> None:
        """There 'invalidate_on' was ignored."""
        strategies = {"models": [{"model": "auth.User", "invalidate_on": ["delete"], "related": ["profile"]}]}
        keys = filled(cache, f"profile:{user.pk}")
        with override_settings(CACHE_STRATEGIES=strategies):
            user.save()
            assert left(cache, keys) == keys
            user.delete()
            assert left(cache, keys) == []

    def test_nobody_needs_to_have_registered_a_key(self, cache: Any) -> None:
        """There a new process, which had registered none, found none."""
        keys = filled(cache, "user:1", "user:2")
        assert PatternInvalidator().invalidate("^user:.*") == 2
        assert left(cache, keys) == []

    def test_no_registry_grows(self) -> None:
        """There each key that was ever registered was kept for ever."""
        invalidator = PatternInvalidator()
        before = repr(vars(invalidator))
        for number in range(1000):
            invalidator.register_dependency(f"user:{number}")
        assert repr(vars(invalidator)) == before

    def test_a_pattern_takes_linear_time(self, cache: Any) -> None:
        """There `(a+)+$` on forty letters took the worker with it."""
        keys = filled(cache, "a" * 40 + "!")
        began = time.perf_counter()
        assert PatternInvalidator().invalidate("(a+)+$") == 0
        assert time.perf_counter() - began < 5  # what took hours takes microseconds; a loaded machine is slow
        assert left(cache, keys) == keys

    @pytest.mark.parametrize(
        "pattern", [r"(a)\1", "(?=a)", "(", "a" * 10_001], ids=["\\1", "(?=", "(", "long"]
    )
    def test_a_bad_pattern(self, pattern: str) -> None:
        """An error that says what is wrong with it."""
        with pytest.raises(ValueError, match="pattern"):
            cache_manager.invalidate("pattern", pattern=pattern)

    def test_threads_register_at_once(self, cache: Any) -> None:
        """There the keys of a tag were read, changed and written back, and some were lost."""
        names = [f"k{number}" for number in range(160)]
        start = threading.Barrier(8)

        def register(part: list[str]) -> None:
            start.wait()
            for name in part:
                tagged(cache, name, "shared")

        threads = [threading.Thread(target=register, args=(names[first::8],)) for first in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert TagInvalidator().invalidate(["shared"]) == len(names)
        assert left(cache, names) == []

    def test_a_rule_that_raises(self, cache: Any, caplog: pytest.LogCaptureFixture) -> None:
        """It is logged, and the other criteria are met; there the request failed with it."""
        smart = SmartInvalidator()
        smart.add_rule("broken", lambda context: True, lambda context: 1 // 0)
        smart.add_rule("odd", lambda context: context["missing"], lambda context: 1)
        tagged(cache, "a", "t")
        forget_failures()  # which are said again once in a while, and not each time
        assert smart.invalidate_smart({"tags": ["t"]}) == {"total": 1, "by_strategy": {"tags": 1}}
        smart.invalidate_smart({"tags": ["t"]})
        assert sum("broken" in record.getMessage() for record in caplog.records) == 1

    @pytest.mark.parametrize("tags", ["user", [1], [None], [""], [b"user"]], ids=str)
    def test_a_tag_that_is_none(self, tags: Any) -> None:
        """An error that names it; of a str there every letter was a tag."""
        with pytest.raises((TypeError, ValueError), match="tag"):
            cache_manager.invalidate("tag", tags=tags)

    def test_an_unknown_model(self) -> None:
        """An error, where there it was never heard of again."""
        for ask in (
            lambda: DependencyInvalidator().invalidate("auth.Uzer"),
            lambda: DependencyInvalidator().register_dependency("key", "auth.Uzer"),
            lambda: cache_manager.invalidate("smart", context={"model": "auth.Uzer"}),
        ):
            with pytest.raises(ValueError, match=r"auth\.Uzer"):
                ask()

    def test_what_cannot_be_enumerated(self, tmp_path: Any) -> None:
        """A pattern on a backend whose keys nobody can list is an error, and never 0 entries."""
        files = {"default": {"BACKEND": FILES, "LOCATION": str(tmp_path)}}
        with override_settings(CACHES=files), pytest.raises(CannotEnumerateError, match="default"):
            PatternInvalidator().invalidate("^user:")
