"""What the system of document 004 got wrong about keys, patterns and signals, at the names it has here."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from dialect_caches import BROKEN, FILES, filled, left, roll_back
from django.db import transaction
from django.test import override_settings
from project.facilities.models import People
from youtility_site import mapped, of_tenant, row, youtility_cache

from oxicache.compat.youtility import (
    cache_invalidation_manager,
    clear_cache_pattern,
    get_tenant_cache_key,
    invalidate_cache_pattern,
    invalidate_model_caches,
)

__all__ = ["row", "youtility_cache"]  # fixtures


@pytest.fixture(autouse=True)
def cache(youtility_cache: Any) -> Any:
    """The default alias, empty."""
    return youtility_cache


class TestDefects:
    """Known defects of the earlier system."""

    def test_a_save_of_a_mapped_model(
        self, row: Callable[..., Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        """There it raised NameError, for names of an except tuple that nobody had imported."""
        mapped()
        with caplog.at_level(logging.WARNING):
            assert row(People, tenant_id=1).pk is not None
        assert caplog.records == []

    def test_a_cache_that_fails_fails_no_save(
        self, cache: Any, row: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A backend out of reach is one line of the log; the row is saved."""
        mapped()

        def fail(*args: Any, **kwargs: Any) -> Any:
            raise ConnectionError("out of reach")

        for name in ("delete", "delete_many", "delete_pattern", "invalidate_patterns", "keys"):
            if hasattr(type(cache), name):
                monkeypatch.setattr(type(cache), name, fail)
        assert row(People, tenant_id=1).pk is not None

    def test_a_backend_out_of_reach(self) -> None:
        """By hand it is an error in the result: how many keys there were, nobody has said."""
        cache_invalidation_manager.register_dependency("People", ["dropdown:people"])
        with override_settings(CACHES={"default": {"BACKEND": BROKEN}}):
            assert clear_cache_pattern("tenant:*") == {
                "pattern": "tenant:*",
                "keys_cleared": None,
                "success": False,
                "error": "ConnectionError: out of reach",
            }
            assert invalidate_model_caches("People", 1)["errors"] == ["ConnectionError: out of reach"]

    def test_what_cannot_be_enumerated(self, tmp_path: Any) -> None:
        """There is no count of what nobody can list: an error in the result, and never 0 keys."""
        with override_settings(CACHES={"default": {"BACKEND": FILES, "LOCATION": str(tmp_path)}}):
            result = clear_cache_pattern("tenant:*")
            assert (result["success"], result["keys_cleared"]) == (False, None)
            assert "default" in result["error"]
            cache_invalidation_manager.register_dependency("People", ["dropdown:people"])
            result = invalidate_model_caches("People", 1)
            assert len(result["errors"]) == 1
            by_hand = cache_invalidation_manager.invalidate_for_model(People(pk=5, tenant_id=1), "update")
            assert len(by_hand["errors"]) == 1

    def test_tenant_0_is_a_tenant(self, cache: Any) -> None:
        """There 0 stood for all of them."""
        keys = filled(cache, *of_tenant(0, "dropdown:people"), *of_tenant(1, "dropdown:people"))
        assert invalidate_cache_pattern("dropdown:people", tenant_id=0)["keys_cleared"] == 1
        assert left(cache, keys) == keys[1:]
        cache_invalidation_manager.register_dependency("People", ["dropdown:people"])
        filled(cache, *keys)
        assert invalidate_model_caches("People", tenant_id=0)["total_cleared"] == 1
        filled(cache, *keys)
        result = cache_invalidation_manager.invalidate_for_model(People(pk=5, tenant_id=0), "update")
        assert (result["patterns_cleared"], left(cache, keys)) == (1, keys[1:])

    def test_an_id_is_no_glob(self, cache: Any) -> None:
        """A tenant whose id holds a wildcard is that tenant alone."""
        keys = filled(cache, *(get_tenant_cache_key("dropdown", tenant_id=tenant) for tenant in ("a*", "ab")))
        assert invalidate_cache_pattern("dropdown", "a*")["keys_cleared"] == 1
        assert left(cache, keys) == keys[1:]

    def test_whole_segments(self, cache: Any) -> None:
        """There `asset` was looked for within any word: `my_assets` and `asset_status` went with it."""
        keys = filled(cache, *of_tenant(1, "asset:1", "my_assets:1", "my_asset:1", "asset_status", "x:asset"))
        assert invalidate_cache_pattern("asset", 1)["keys_cleared"] == 2
        assert left(cache, keys) == keys[1:4]

    def test_no_other_tenant_begins_alike(self, cache: Any) -> None:
        """Tenant 1 is not tenant 11, nor what has a 1 further behind."""
        keys = filled(cache, *of_tenant(1, "asset"), *of_tenant(11, "asset"), "x:tenant:1:asset")
        assert invalidate_cache_pattern("asset", 1)["keys_cleared"] == 1
        assert left(cache, keys) == keys[1:]

    def test_hashed_keys_are_found(self, cache: Any) -> None:
        """A long key keeps its readable start."""
        (key,) = of_tenant(1, "dashboard:metrics:" + "x" * 300)
        filled(cache, key)
        assert invalidate_cache_pattern("dashboard", 1)["keys_cleared"] == 1

    def test_prefix_and_version_are_no_part_of_a_key(self, cache: Any) -> None:
        """There the pattern was matched against `:1:tenant:...`, so it could not match."""
        filled(cache, *of_tenant(1, "dashboard"))
        assert clear_cache_pattern("tenant:1:*")["keys_cleared"] == 1
        assert clear_cache_pattern("site:*")["keys_cleared"] == 0

    def test_after_the_commit(self, cache: Any, row: Callable[..., Any]) -> None:
        """There a save invalidated before its commit, and after a rollback nothing had been changed."""
        mapped()
        keys = filled(cache, *of_tenant(1, "dropdown:people"))
        roll_back(lambda: People.objects.create(tenant_id=1))
        assert left(cache, keys) == keys
        with transaction.atomic():
            row(People, tenant_id=1)
            assert left(cache, keys) == keys
        assert left(cache, keys) == []

    def test_by_hand_within_a_transaction(self, cache: Any) -> None:
        """Nothing is gone before the commit, and the result says so."""
        keys = filled(cache, *of_tenant(1, "dashboard"))
        with transaction.atomic():
            result = invalidate_cache_pattern("dashboard", 1)
            assert (result["success"], result["keys_cleared"]) == (True, 0)
            assert "commit" in result["message"]
            assert left(cache, keys) == keys
        assert left(cache, keys) == []

    def test_model_names(self) -> None:
        """A name that no model has, or several, is an error; there it was never heard of again."""
        with pytest.raises(ValueError, match="Peple"):
            invalidate_model_caches("Peple", 1)

    def test_a_row_without_tenant(self, cache: Any) -> None:
        """Whose it is, is not known: that of all."""
        cache_invalidation_manager.register_dependency("People", ["dropdown:people"])
        keys = filled(cache, *of_tenant(1, "dropdown:people"), *of_tenant(2, "dropdown:people"))
        cache_invalidation_manager.invalidate_for_model(People(pk=5), "update")
        assert left(cache, keys) == []
