"""The constants and settings of document 001 (akvo), "Configuration Constants", as its callers rely on them."""

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from oxicache import TTLCache, _native, cache_manager
from oxicache.compat import akvo_rsr


@pytest.fixture
def reloaded() -> Iterator[Any]:
    """A function that reloads the dialect; afterwards it is as it was, its classes and functions too."""
    before = vars(akvo_rsr).copy()
    yield lambda: importlib.reload(akvo_rsr)
    vars(akvo_rsr).update(before)
    _native.set_default_cleanup_interval(
        akvo_rsr.DEFAULT_CACHE_CLEANUP_INTERVAL
    )  # which an assignment had told it


def test_the_constants_have_the_documented_values() -> None:
    """001, "Default Settings": six constants."""
    assert akvo_rsr.DEFAULT_CACHE_TTL == 3600
    assert akvo_rsr.DEFAULT_CACHE_MAX_SIZE == 1000
    assert akvo_rsr.DEFAULT_CACHE_CLEANUP_INTERVAL == 300
    assert akvo_rsr.DEFAULT_MAX_DESCENDANTS_PER_REQUEST == 1000
    assert akvo_rsr.DEFAULT_DESCENDANTS_CHUNK_SIZE == 500
    assert akvo_rsr.MAX_AGGREGATION_DEPTH == 100


@pytest.mark.parametrize(
    ("setting", "constant"),
    [
        ("RSR_CACHE_TTL", "DEFAULT_CACHE_TTL"),
        ("RSR_CACHE_MAX_SIZE", "DEFAULT_CACHE_MAX_SIZE"),
        ("RSR_CACHE_CLEANUP_INTERVAL", "DEFAULT_CACHE_CLEANUP_INTERVAL"),
        ("RSR_MAX_DESCENDANTS_PER_REQUEST", "DEFAULT_MAX_DESCENDANTS_PER_REQUEST"),
        ("RSR_DESCENDANTS_CHUNK_SIZE", "DEFAULT_DESCENDANTS_CHUNK_SIZE"),
        ("RSR_MAX_AGGREGATION_DEPTH", "MAX_AGGREGATION_DEPTH"),
    ],
)
def test_a_constant_follows_its_setting_when_reloaded(setting: str, constant: str, reloaded: Any) -> None:
    """001, "Django Settings": callers reload the module under override_settings and expect the constant to follow."""
    default = getattr(akvo_rsr, constant)
    with override_settings(**{setting: 17}):
        assert getattr(akvo_rsr, constant) == default, "constants are read at import"
        assert getattr(reloaded(), constant) == 17
    assert getattr(reloaded(), constant) == default


def test_a_cache_without_parameters_follows_the_settings() -> None:
    """001, "Django Settings": RSR_CACHE_TTL and RSR_CACHE_MAX_SIZE override what is omitted, at construction."""
    before = TTLCache()
    with override_settings(RSR_CACHE_TTL=900, RSR_CACHE_MAX_SIZE=200):
        made = TTLCache()
        named = cache_manager.get_cache("made under overridden settings")
        half = TTLCache(max_size=5)
    cache_manager.remove("made under overridden settings")
    assert [(cache.max_size, cache.ttl) for cache in (before, made, named, half)] == [
        (1000, 3600),
        (200, 900),
        (200, 900),
        (5, 900),
    ]


def test_the_cleanup_interval_follows_the_setting(wall: Any) -> None:
    """001, "Django Settings": RSR_CACHE_CLEANUP_INTERVAL counts for caches that exist already."""
    cache = TTLCache(max_size=10, ttl=1)
    cache.set("a", 1)
    wall.advance(61)
    cache.set("b", 2)
    assert len(cache) == 2
    with override_settings(RSR_CACHE_CLEANUP_INTERVAL=60):
        wall.advance(1)
        cache.set("c", 3)
        assert list(cache._cache) == ["c"]


def test_assigning_the_cleanup_interval_counts_at_the_next_set(wall: Any, reloaded: Any) -> None:
    """Callers of 001: the module's DEFAULT_CACHE_CLEANUP_INTERVAL is read at each set, so patching it has effect."""
    cache = akvo_rsr.TTLCache(max_size=10, ttl=1)
    cache.set("a", 1)
    wall.advance(11)
    akvo_rsr.DEFAULT_CACHE_CLEANUP_INTERVAL = 11
    cache.set("b", 2)
    assert list(cache._cache) == ["a", "b"], "the interval has to be exceeded"
    akvo_rsr.DEFAULT_CACHE_CLEANUP_INTERVAL = 10
    cache.set("c", 3)
    assert list(cache._cache) == ["b", "c"]


def test_a_patched_interval_is_put_back(wall: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers of 001: after monkeypatch or mock has undone its assignment, the interval is what it was."""
    with monkeypatch.context() as patch:
        patch.setattr(akvo_rsr, "DEFAULT_CACHE_CLEANUP_INTERVAL", 10)
    assert akvo_rsr.DEFAULT_CACHE_CLEANUP_INTERVAL == 300
    cache = akvo_rsr.TTLCache(max_size=10, ttl=1)
    cache.set("a", 1)
    wall.advance(300)
    cache.set("b", 2)
    assert len(cache) == 2
    wall.advance(1)
    cache.set("c", 3)
    assert list(cache._cache) == ["c"]


def test_an_interval_of_the_wrong_kind_is_refused() -> None:
    """What cannot be an interval is an error at the assignment, and the constant stays."""
    with pytest.raises((TypeError, ValueError)):
        akvo_rsr.DEFAULT_CACHE_CLEANUP_INTERVAL = -1
    assert akvo_rsr.DEFAULT_CACHE_CLEANUP_INTERVAL == 300


def test_nothing_but_the_interval_reaches_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Assigning any other name of the dialect is an assignment and nothing else."""
    told: list[float] = []
    monkeypatch.setattr(_native, "set_default_cleanup_interval", told.append)
    monkeypatch.setattr(akvo_rsr, "MAX_AGGREGATION_DEPTH", 3)
    assert (akvo_rsr.MAX_AGGREGATION_DEPTH, told) == (3, [])
