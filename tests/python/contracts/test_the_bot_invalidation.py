"""Document 002 (THE_BOT), "Pattern Deletion", "Cache Invalidation" and what else of it invalidates.

Each example is run as it is printed; `config.cache` and `core.cache_utils` are oxicache.compat.the_bot. What the layers
of that system write is spelt here with CacheKeyBuilder, as those layers do it.
"""

from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from dialect_caches import BACKENDS, FILES, filled, left, own_default, roll_back
from django.core.cache import caches
from django.db import transaction
from django.db.models.signals import post_delete, post_save
from django.test import override_settings
from document_pages import Example, example
from project.facilities.models import Material

from oxicache.compat.the_bot import CacheInvalidator, CacheKeyBuilder, check_cache_freshness, invalidate_cache

make, of_user = CacheKeyBuilder.make_key, CacheKeyBuilder.user_key


@pytest.fixture(params=BACKENDS, autouse=True)
def cache(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, django_databases: None
) -> Iterator[Any]:
    """The default alias, empty."""
    monkeypatch.delenv("ENVIRONMENT", raising=False)
    with own_default(BACKENDS[request.param], VERSION=2) as default:
        yield default


@pytest.fixture
def receivers() -> Iterator[None]:
    """What an example connects is disconnected again."""
    before = [(signal, list(signal.receivers)) for signal in (post_save, post_delete)]
    yield
    for signal, connected in before:
        signal.receivers = connected
        signal.sender_receivers_cache.clear()


def layers_of_material(pk: int) -> list[str]:
    """What is kept of a material, by hand, by ListCacheMixin (of a user, by basename) and by DetailCacheMixin."""
    return [
        make("materials", "list"),
        make("materials", "list", "page=2"),
        make("materials", "detail", pk),
        make("materials", "progress", pk),
        of_user("materials", 42, "list", "page=1"),
        of_user("material", 0, "list", ""),
        make("material", "detail", pk),
        make("material", "detail", str(pk)),  # a URL's
        of_user("materials", 42, "progress", pk),
    ]


class TestExamples:
    @example("002", "Pattern Deletion")
    def test_pattern_deletion(self, shown: Example, cache: Any) -> None:
        """002, "Pattern Deletion": NativeCache has the method; of Django's own backends no memory has it."""
        inside, outside = make("materials", "list"), make("materials_old", "list")
        filled(cache, inside, outside)
        if not hasattr(cache, "delete_pattern"):
            with pytest.raises(AttributeError, match="delete_pattern"):
                shown.run()
            return
        shown.run()
        assert left(cache, [inside, outside]) == [outside]

    @example("002", "Manual Invalidation")
    def test_manual_invalidation(self, shown: Example, cache: Any) -> None:
        """002, "Manual Invalidation": of each what is named, of everybody else nothing."""
        gone = filled(
            cache,
            *layers_of_material(123),
            *(
                of_user(name, 42)
                for name in ("profile", "dashboard", "notifications", "progress", "assignments")
            ),
            make("assignments", "list"),
            make("assignments", "detail", 456),
            make("assignments", "submissions", 456),
        )
        kept = filled(
            cache,
            make("materials", "detail", 1234),
            make("materials", "progress", 12),
            make("assignments", "detail", 4567),
            of_user("profile", 421),
            of_user("dashboard", 4),
        )
        shown.run()
        assert left(cache, gone) == []
        assert left(cache, kept) == kept

    @example("002", "3. Invalidate Cache on Save")
    def test_invalidate_cache_on_save(self, shown: Example, cache: Any, receivers: None) -> None:
        """002, "Invalidate Cache on Save" and "Best Practices": the receiver is all there is to write."""
        page = shown.run(
            Material=Material,
        )
        material = Material.objects.create(title="before")
        keys = filled(cache, *layers_of_material(material.pk))
        material.save()
        assert left(cache, keys) == []
        material.delete()
        del page  # which has held the receiver

    @example("002", "Automatic Invalidation with Signals")
    def test_automatic_invalidation_with_signals(self, shown: Example, cache: Any, receivers: None) -> None:
        """002, "Automatic Invalidation with Signals": at each save and at the deletion."""
        page = shown.run(
            Material=Material,
        )
        assert {"material_saved", "material_deleted"} <= page.keys()
        material = Material.objects.create(title="before")
        for change in (material.save, material.delete):
            keys = filled(cache, *layers_of_material(material.pk))
            change()
            assert left(cache, keys) == []

    @example("002", "Progressive Cache Warming")
    def test_progressive_cache_warming(
        self, shown: Example, cache: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """002, "Progressive Cache Warming": runs, and invalidates, which is all that its lines do."""
        materials = [Material.objects.create(popular=True) for _ in range(2)]
        keys = filled(cache, *(make("materials", "detail", one.pk) for one in materials))
        page = shown.run(
            Material=Material,
        )
        page["Command"]().handle()
        assert capsys.readouterr().out == "Warmed cache for 2 materials\n"
        assert left(cache, keys) == []
        for one in materials:
            one.delete()

    @example("002", "Cache Expiration Tracking")
    def test_cache_expiration_tracking(self, shown: Example, cache: Any) -> None:
        """002, "Cache Expiration Tracking": whether the namespace has a live entry."""
        page = shown.run()
        filled(cache, make("materials", "list"))
        assert page["check_cache_freshness"]("materials") is True
        assert page["check_cache_freshness"]("dashboard") is False

    @example("002", "Cache Not Invalidating?")
    def test_cache_not_invalidating(
        self, shown: Example, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """002, "Cache Not Invalidating?"."""
        signals = ModuleType("your_app.signals")
        signals.invalidate_cache = SimpleNamespace()  # type: ignore[attr-defined]  # the reader's own
        shown.run(modules={"your_app.signals": signals})
        assert capsys.readouterr().out.startswith("[")


class TestSettled:
    """What callers rely on."""

    def test_one_key(self, cache: Any) -> None:
        """invalidate_cache deletes the key of these parts, and no other."""
        keys = filled(cache, make("search", "a", page=1), make("search", "a"), make("search", "a", page=2))
        assert invalidate_cache("search", "a", page=1) == 1
        assert left(cache, keys) == keys[1:]
        assert invalidate_cache("search", "a", page=1) == 0

    def test_all_of_a_user(self, cache: Any) -> None:
        """What is kept of a user by user_key, whatever its namespace; a shared list is not his."""
        mine = filled(
            cache, of_user("profile", 42), of_user("materials", 42, "list", "q=1"), of_user("new", 42)
        )
        others = filled(cache, make("materials", "list"), of_user("profile", 43))
        CacheInvalidator.invalidate_user_data(42)
        assert left(cache, mine) == []
        assert left(cache, others) == others

    def test_the_dashboard_alone(self, cache: Any) -> None:
        """clear_dashboard_cache leaves a user's other data."""
        keys = filled(
            cache, of_user("dashboard", 42), of_user("dashboard", 42, "week", 7), of_user("profile", 42)
        )
        CacheInvalidator.clear_dashboard_cache(42)
        assert left(cache, keys) == [of_user("profile", 42)]

    def test_freshness(self, cache: Any) -> None:
        """Whether a namespace has a live entry; that of another one does not count."""
        filled(cache, make("materials_old", "list"), of_user("materials", 1))
        assert not check_cache_freshness("materials")
        cache.set(make("materials", "list"), 1, timeout=0)
        assert not check_cache_freshness("materials")
        filled(cache, make("materials", "list"))
        assert check_cache_freshness("materials")
        filled(cache, make("reports"))
        assert check_cache_freshness("reports")


class TestDefects:
    """Known defects of the earlier system."""

    def test_what_layers_write_is_what_goes(self, cache: Any) -> None:
        """There three keys were deleted that no layer wrote: lists are a user's, and named after the basename."""
        keys = filled(cache, *layers_of_material(7))
        CacheInvalidator.invalidate_material(7)
        assert left(cache, keys) == []

    def test_a_failing_cache_is_no_error_of_the_view(
        self, monkeypatch: pytest.MonkeyPatch, cache: Any
    ) -> None:
        """As there; but it is logged and counted, where it was swallowed."""

        def fail(*args: Any, **kwargs: Any) -> Any:
            raise ConnectionError("out of reach")

        for name in ("delete", "delete_many", "delete_pattern", "invalidate_patterns", "keys"):
            if hasattr(type(cache), name):
                monkeypatch.setattr(type(cache), name, fail)
        CacheInvalidator.invalidate_material(7)
        CacheInvalidator.invalidate_user_data(42)

    def test_what_cannot_be_enumerated_is_an_error(self, tmp_path: Any) -> None:
        """There a LocMemCache, which had no delete_pattern, answered "Cache cleared". Here freshness is not guessed."""
        from oxicache.errors import CannotEnumerateError

        with override_settings(CACHES={"default": {"BACKEND": FILES, "LOCATION": str(tmp_path)}}):
            key = make("materials", "detail", 7)
            caches["default"].set(key, 1)
            with pytest.raises(CannotEnumerateError, match="default"):
                check_cache_freshness("materials")
            CacheInvalidator.invalidate_material(7)  # keys that are known go all the same
            assert caches["default"].get(key) is None

    def test_a_missing_id_is_nobody(self) -> None:
        """`user_None` would be whoever is not logged in, `detail:none` every detail that lacks its id."""
        for ask in (
            CacheInvalidator.invalidate_material,
            CacheInvalidator.invalidate_user_data,
            CacheInvalidator.invalidate_assignments,
            CacheInvalidator.clear_dashboard_cache,
        ):
            with pytest.raises(TypeError, match="None"):
                ask(None)


class TestTransactions:
    def test_after_the_commit(self, cache: Any) -> None:
        """There a reader could put the old row back before the commit; and after a rollback nothing is changed."""
        key = make("materials", "detail", 7)
        cache.set(key, "old")
        roll_back(lambda: CacheInvalidator.invalidate_material(7))
        assert cache.get(key) == "old"
        with transaction.atomic():
            CacheInvalidator.invalidate_material(7)
            cache.set(key, "old")
        assert cache.get(key) is None
