"""What invalidates the responses of document 004's decorators."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from dialect_caches import roll_back
from dialect_requests import Counter, bodies, own_responses, statuses, visit
from django.apps import apps
from django.contrib.auth.models import Group

from oxicache import testing
from oxicache.compat.youtility import (
    cache_dashboard_metrics,
    cache_dropdown_data,
    cache_with_invalidation,
    invalidate_cache_pattern,
    smart_cache_view,
)


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    with own_responses():
        yield


class TestInvalidation:
    def test_models_that_are_named_invalidate(self) -> None:
        """There `invalidate_on` was written down and never used."""
        view = smart_cache_view(invalidate_on=["Group"])(Counter())
        assert bodies(view, visit(), visit()) == ["page 1", "page 1"]
        Group.objects.create(name="smart").delete()
        assert bodies(view, visit(), visit()) == ["page 2", "page 2"]

    def test_a_name_of_no_model_is_an_error(self) -> None:
        """Where it stands, and not when rows change."""
        with pytest.raises(ValueError, match="'NoSuchModel' is no model"):
            smart_cache_view(invalidate_on=["NoSuchModel"])

    def test_a_bare_name_must_be_one_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where two apps have it nobody guesses, and the message names both."""
        told = {"model_name": "user", "label": "catalogue.User", "auto_created": False, "swapped": False}
        other = type("Fake", (), {"_meta": SimpleNamespace(**told)})
        monkeypatch.setitem(apps.get_app_config("catalogue").models, "user", other)
        with pytest.raises(ValueError, match=r"auth\.User, catalogue\.User; write which"):
            smart_cache_view(invalidate_on=["User"])

    def test_long_keys_are_found_too(self) -> None:
        """There a key that was hashed for its length was found by no pattern."""
        view = cache_dashboard_metrics()(Counter())
        long = visit("/?" + "&".join(f"parameter_{number}={number}" for number in range(40)))
        assert statuses(view, long, long) == ["MISS", "HIT"]
        invalidate_cache_pattern("dashboard:metrics", tenant_id=1)
        assert statuses(view, long) == ["MISS"]

    def test_a_word_within_a_word_is_no_match(self) -> None:
        """There `asset` was found in any key that had these letters."""
        view = smart_cache_view(key_prefix="my_assets:status")(Counter())
        view(visit())
        invalidate_cache_pattern("asset", tenant_id=1)
        assert statuses(view, visit()) == ["HIT"]

    def test_after_the_commit(self) -> None:
        """There was no `on_commit`: what a rolled back change outdated was filled again with what never was."""
        view = smart_cache_view(invalidate_on=["auth.Group"])(Counter())
        view(visit())
        roll_back(lambda: Group.objects.create(name="rolled back"))
        assert statuses(view, visit()) == ["HIT"]

    def test_presets_name_theirs(self) -> None:
        """The choices of a model go with its rows; a key's with the models that are named beside it."""
        dropdown = cache_dropdown_data(model_name="auth.Group")(Counter())
        metrics = cache_with_invalidation(600, "metrics:groups", ["auth.Group"])(Counter())
        for view in (dropdown, metrics):
            assert bodies(view, visit(), visit()) == ["page 1", "page 1"]
        Group.objects.create(name="preset").delete()
        for view in (dropdown, metrics):
            assert bodies(view, visit()) == ["page 2"]

    def test_choices_live_as_long_as_choices_do(self) -> None:
        """CACHE_TIMEOUTS["DROPDOWN_DATA"], whatever the model is called."""
        with testing.clock() as clock:
            view = cache_dropdown_data(model_name="auth.Group")(Counter())
            view(visit())
            clock.advance(1799)
            assert statuses(view, visit()) == ["HIT"]
            clock.advance(2)
            assert statuses(view, visit()) == ["MISS"]
