"""Document 003 (EnterpriseLand), "Cache Invalidation", "Model-Based Invalidation", "Integration Examples".

Each example is run as it is printed; `platform_core.caching` is oxicache.compat.enterpriseland.
"""

import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import caches
from django.db import transaction
from django.db.models.signals import post_save
from django.test import override_settings
from document_pages import dialect, run_example
from project.assessments.models import Assessment, Partner

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
from oxicache.errors import CannotEnumerateError

NATIVE = "oxicache.django.backends.NativeCache"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
FILES = "django.core.cache.backends.filebased.FileBasedCache"

_numbers = itertools.count()


@pytest.fixture(params=[NATIVE, LOCMEM], ids=["native", "locmem"], autouse=True)
def cache(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, django_databases: None
) -> Iterator[Any]:
    """The default alias, empty, with a prefix that patterns must not trip over."""
    dialect(monkeypatch, platform_core__caching=enterpriseland)
    default = {"BACKEND": request.param, "LOCATION": f"platform-{next(_numbers)}", "KEY_PREFIX": "site"}
    with override_settings(CACHES={"default": default}):
        yield caches["default"]
        caches["default"].clear()


@pytest.fixture
def user() -> Iterator[User]:
    made = User.objects.create_user(f"platform-{next(_numbers)}")
    pk = made.pk
    yield made
    User.objects.filter(pk=pk).delete()


def filled(cache: Any, *keys: str) -> list[str]:
    for key in keys:
        cache.set(key, "value")
    return list(keys)


def tagged(cache: Any, key: str, *tags: str) -> str:
    """Store an entry and register its tags."""
    cache.set(key, "value")
    TagInvalidator().register_dependency(key, list(tags))
    return key


def dependent(cache: Any, key: str, model: Any, instance_id: Any = None) -> str:
    """Store an entry and register what it depends on."""
    cache.set(key, "value")
    DependencyInvalidator().register_dependency(key, model, instance_id)
    return key


def left(cache: Any, keys: list[str]) -> list[str]:
    """Which of these are still there."""
    return [key for key in keys if cache.get(key) is not None]


class TestExamples:
    def test_smart_invalidation(self, cache: Any) -> None:
        """003, "Smart Invalidation": each criterion finds its own."""
        gone = [
            tagged(cache, "a", "user"),
            tagged(cache, "b", "profile", "other"),
            *filled(cache, "user:1", "user:2:name"),
            dependent(cache, "c", "auth.User", 123),
        ]
        kept = [
            tagged(cache, "d", "other"),
            *filled(cache, "superuser:1", "users"),
            dependent(cache, "e", "auth.User", 124),
        ]
        run_example(
            """
from platform_core.caching import cache_manager

# Invalidate by multiple criteria
cache_manager.invalidate('smart', context={
    'tags': ['user', 'profile'],
    'pattern': '^user:.*',
    'model': 'auth.User',
    'instance_id': 123
})
"""
        )
        assert left(cache, [*gone, *kept]) == kept

    @pytest.mark.parametrize(
        ("keys", "related"),
        [
            (["user:7"], ["profile:7", "permissions:7", "groups:7"]),
            (["assessment:7"], ["partners:7", "lists:7"]),
            (["deal:7"], ["milestones:7", "activities:7", "team:7"]),
            (["user:7", "deal:8"], ["profile:7", "permissions:7", "groups:7", "milestones:8", "activities:8", "team:8"]),
        ],
        ids=str,
    )
    def test_cascade_invalidation(self, cache: Any, keys: list[str], related: list[str]) -> None:
        """003, "Cascade Invalidation": each of its lines; how many entries there were."""
        gone = filled(cache, *keys, *related)
        kept = filled(cache, "profile:77", "user:70", "milestones:77", "other:7")
        assert SmartInvalidator().cascade_invalidation(keys) == len(gone)
        assert left(cache, [*gone, *kept]) == kept

    def test_scheduled_invalidation(self, cache: Any, run_later: Callable[[float], None]) -> None:
        """003, "Scheduled Invalidation": after five minutes, and not before."""
        keys = [tagged(cache, "a", "temporary_data"), tagged(cache, "b", "other")]
        page = run_example(
            """
from platform_core.caching import cache_manager

# Schedule invalidation after 5 minutes
job_id = cache_manager.schedule_invalidation(
    delay_seconds=300,
    invalidation_type='tag',
    tags=['temporary_data']
)
"""
        )
        assert str(uuid.UUID(page["job_id"], version=4)) == page["job_id"]
        run_later(299)
        assert left(cache, keys) == keys
        run_later(2)
        assert left(cache, keys) == keys[1:]

    def test_with_celery_tasks(self, cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """003, "With Celery Tasks": what it invalidates is gone before it computes. What it warms is noted here."""
        warmed: list[Any] = []
        monkeypatch.setattr(cache_manager, "warm_cache", lambda *args, **kwargs: warmed.append((args, kwargs)), raising=False)
        keys = [tagged(cache, "a", "data:5"), tagged(cache, "b", "data:55")]
        page = run_example(
            """
from celery import shared_task
from platform_core.caching import cache_manager

@shared_task
def process_data(data_id):
    # Invalidate related cache
    cache_manager.invalidate('tag', tags=[f'data:{data_id}'])
    
    # Process data
    result = expensive_processing(data_id)
    
    # Warm cache with result
    cache_manager.warm_cache('api', endpoint_configs=[{
        'endpoint': f'data/{data_id}',
        'data_func': lambda: result
    }])
""",
            expensive_processing=lambda data_id: left(cache, keys),
        )
        page["process_data"](5)
        assert warmed[0][1]["endpoint_configs"][0]["data_func"]() == ["b"]

    def test_with_django_signals(self, cache: Any, user: User) -> None:
        """003, "With Django Signals": tags and keys of the user who is saved."""
        page = run_example(
            """
from django.db.models.signals import post_save
from django.dispatch import receiver
from platform_core.caching import cache_manager

@receiver(post_save, sender=User)
def invalidate_user_cache(sender, instance, **kwargs):
    # Invalidate user-related caches
    cache_manager.invalidate('smart', context={
        'tags': [f'user:{instance.id}', 'user_list'],
        'pattern': f'^user:{instance.id}:.*'
    })
""",
            User=User,
        )
        gone = [
            tagged(cache, "a", f"user:{user.pk}"),
            tagged(cache, "b", "user_list"),
            *filled(cache, f"user:{user.pk}:name"),
        ]
        kept = filled(cache, f"user:{user.pk}0:name", f"user:{user.pk}")
        user.save()
        assert left(cache, [*gone, *kept]) == kept
        post_save.disconnect(page["invalidate_user_cache"], sender=User)

    def test_model_based_invalidation(self, cache: Any, user: User) -> None:
        """003, "Model-Based Invalidation": the settings as they are printed, and what follows from them."""
        page = run_example(
            """
# Automatic invalidation on model changes
CACHE_STRATEGIES = {
    'models': [
        {
            'model': 'auth.User',
            'invalidate_on': ['save', 'delete'],
            'related': ['profile', 'permissions']
        },
        {
            'model': 'assessments.Assessment',
            'invalidate_on': ['save', 'delete'],
            'cascade': True
        }
    ]
}
"""
        )
        with override_settings(CACHE_STRATEGIES=page["CACHE_STRATEGIES"]):
            pk = user.pk
            for change in (user.save, user.delete):
                keys = filled(cache, f"profile:{pk}", f"permissions:{pk}:all", f"profile:{pk}0", f"groups:{pk}")
                change()
                assert left(cache, keys) == keys[2:]
            assessment = Assessment.objects.create()
            partner = Partner.objects.create(assessment=assessment)
            for change in (assessment.save, assessment.delete):
                keys = [
                    dependent(cache, "a", "assessments.Assessment", assessment.pk),
                    dependent(cache, "p", "assessments.Partner", partner.pk),
                    dependent(cache, "u", "auth.User", pk),
                ]
                change()
                assert left(cache, keys) == ["u"]


class TestSettled:
    """What callers rely on."""

    def test_tags(self, cache: Any) -> None:
        """How many entries there were, each counted once, and none the second time."""
        keys = [tagged(cache, "a", "x", "y"), tagged(cache, "b", "y"), tagged(cache, "c", "z")]
        invalidator = TagInvalidator(cache_alias="default")
        assert invalidator.invalidate(["x", "y"]) == 2
        assert left(cache, keys) == ["c"]
        assert invalidator.invalidate(["x", "y"]) == 0

    def test_a_pattern(self, cache: Any) -> None:
        """A regular expression, matched from the start of the key on."""
        keys = filled(cache, "user:1", "user:2:x", "my:user:3")
        invalidator = PatternInvalidator()
        invalidator.register_dependency("user:1")
        assert invalidator.invalidate(r"user:\d") == 2
        assert left(cache, keys) == ["my:user:3"]

    def test_a_prefix(self, cache: Any) -> None:
        """Taken as it is, whatever it means in a pattern."""
        keys = filled(cache, "a.b:1", "a.b", "axb:1")
        assert PatternInvalidator().invalidate_prefix("a.b") == 2
        assert left(cache, keys) == ["axb:1"]

    def test_dependencies(self, cache: Any) -> None:
        """Those of a row, or of all rows of a model."""
        row, other, all_rows = (
            dependent(cache, "row", "auth.User", 1),
            dependent(cache, "other", "auth.User", 2),
            dependent(cache, "all", "auth.User"),
        )
        elsewhere = dependent(cache, "elsewhere", "auth.Group", 1)
        invalidator = DependencyInvalidator()
        assert invalidator.invalidate("auth.User", 1, "delete") == 2
        assert left(cache, [row, other, all_rows, elsewhere]) == [other, elsewhere]
        assert invalidator.invalidate("auth.User") == 1
        assert left(cache, [row, other, all_rows, elsewhere]) == [elsewhere]

    def test_the_smart_result(self, cache: Any) -> None:
        """By strategy and in all; a rule of the caller's under its own name."""
        smart = SmartInvalidator()
        called: list[Any] = []
        smart.add_rule("yes", lambda context: "tags" in context, lambda context: called.append(context) or 5)
        smart.add_rule("no", lambda context: "missing" in context, lambda context: 7)
        tagged(cache, "a", "t")
        filled(cache, "user:1")
        dependent(cache, "c", "auth.User", 3)
        context = {"tags": ["t"], "pattern": "^user:", "model": "auth.User", "instance_id": 3}
        assert smart.invalidate_smart(context) == {
            "total": 8,
            "by_strategy": {"yes": 5, "tags": 1, "pattern": 1, "dependency": 1},
        }
        assert called == [context]
        assert smart.invalidate_smart({}) == {"total": 0, "by_strategy": {}}

    def test_the_managers_kinds(self, cache: Any) -> None:
        """tag, pattern, dependency and smart; nothing else."""
        tagged(cache, "a", "t")
        filled(cache, "user:1")
        dependent(cache, "c", "auth.User", 3)
        assert cache_manager.invalidate("tag", tags=["t"]) == 1
        assert cache_manager.invalidate("pattern", pattern="^user:") == 1
        assert cache_manager.invalidate("dependency", model="auth.User", instance_id=3, operation="save") == 1
        assert cache_manager.invalidate("smart", context={"tags": ["t"]})["total"] == 0
        for call in (cache_manager.invalidate, lambda kind: cache_manager.schedule_invalidation(1, kind)):
            with pytest.raises(ValueError, match="'adaptive'.*tag, pattern, dependency, smart"):
                call("adaptive")

    @pytest.mark.parametrize(
        ("kind", "criteria"),
        [
            ("tag", {"tags": ["t"]}),
            ("pattern", {"pattern": "^key"}),
            ("dependency", {"model": "auth.User", "instance_id": 3}),
            ("smart", {"context": {"tags": ["t"]}}),
        ],
    )
    def test_each_kind_can_be_scheduled(
        self, cache: Any, run_later: Callable[[float], None], kind: str, criteria: dict[str, Any]
    ) -> None:
        """And cancelled, while it has not run."""
        tagged(cache, "key", "t")
        DependencyInvalidator().register_dependency("key", "auth.User", 3)
        job = cache_manager.schedule_invalidation(10, kind, **criteria)
        cancelled = cache_manager.schedule_invalidation(5, kind, **criteria)
        assert cache_manager.cancel(cancelled) is True
        assert cache_manager.cancel(cancelled) is False
        run_later(6)
        assert cache.get("key") == "value"
        run_later(5)
        assert cache.get("key") is None
        assert cache_manager.cancel(job) is False

    def test_switched_off(self, cache: Any, user: User) -> None:
        """CACHE_INVALIDATION_ENABLED = False: nothing by itself; what is asked for is done."""
        strategies = {"models": [{"model": "auth.User", "invalidate_on": ["save"], "related": ["profile"]}]}
        keys = filled(cache, f"profile:{user.pk}")
        with override_settings(CACHE_STRATEGIES=strategies, CACHE_INVALIDATION_ENABLED=False):
            user.save()
            assert left(cache, keys) == keys
            assert cache_manager.invalidate("pattern", pattern="^profile") == 1


class TestDefects:
    """Known defects of the earlier system."""

    def test_the_names_are_exported(self) -> None:
        """There the documented imports failed at import."""
        run_example("from platform_core.caching import cache_manager, SmartInvalidator")

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

    def test_row_0_is_a_row(self, cache: Any) -> None:
        """There 0 stood for all rows."""
        keys = [dependent(cache, "zero", "auth.User", 0), dependent(cache, "one", "auth.User", 1)]
        assert DependencyInvalidator().invalidate("auth.User", 0) == 1
        assert left(cache, keys) == ["one"]

    def test_after_the_commit(self, cache: Any, user: User) -> None:
        """There handlers ran before the commit; after a rollback nothing is invalidated."""
        key = dependent(cache, "row", "auth.User", user.pk)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            user.save()
            raise ZeroDivisionError
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

    @pytest.mark.parametrize("pattern", [r"(a)\1", "(?=a)", "(", "a" * 10_001], ids=["\\1", "(?=", "(", "long"])
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
        with override_settings(CACHES={"default": {"BACKEND": FILES, "LOCATION": str(tmp_path)}}):
            with pytest.raises(CannotEnumerateError, match="default"):
                PatternInvalidator().invalidate("^user:")
