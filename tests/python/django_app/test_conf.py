"""Settings: where a value comes from, when it is read, and what a wrong one says."""

from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.utils import OperationalError
from django.test import override_settings

from oxicache import TTLCache
from oxicache.django import conf


def test_without_settings_every_value_is_the_default() -> None:
    """A project that sets nothing gets the documented defaults."""
    found = conf.current()
    assert (found.default_ttl, found.default_max_size, found.cleanup_interval) == (3600, 1000, 300)
    assert (found.lock_timeout, found.grace_throttle, found.test_isolation) == (10, 30, True)
    assert found.grace_errors == (ConnectionError, TimeoutError, OperationalError)
    assert (found.max_descendants_per_request, found.descendants_chunk_size) == (1000, 500)
    assert found.max_aggregation_depth == 100


def test_the_flat_name_beats_the_dict_beats_the_default() -> None:
    """RSR_CACHE_TTL wins over OXICACHE["DEFAULT_TTL"], which wins over 3600."""
    with override_settings(OXICACHE={"DEFAULT_TTL": 20}):
        assert conf.current().default_ttl == 20
        with override_settings(RSR_CACHE_TTL=10):
            assert conf.current().default_ttl == 10
        assert conf.current().default_ttl == 20
    assert conf.current().default_ttl == 3600


def test_a_value_is_read_once_until_a_setting_changes() -> None:
    """Reading is cached, so that making a cache costs no walk through the settings."""
    assert conf.current() is conf.current()
    with override_settings(ROOT_URLCONF="elsewhere"):
        kept = conf.current()
    assert conf.current() is kept
    with override_settings(OXICACHE={}):
        assert conf.current() is not kept


def test_none_is_for_ever_where_it_is_a_ttl() -> None:
    """OXICACHE["DEFAULT_TTL"] = None makes caches whose entries do not expire."""
    with override_settings(OXICACHE={"DEFAULT_TTL": None}):
        cache: TTLCache[str, int] = TTLCache(max_size=5)
    assert cache.ttl is None


def test_a_timedelta_is_a_number_of_seconds() -> None:
    """Durations may be written as timedelta."""
    with override_settings(
        OXICACHE={"DEFAULT_TTL": timedelta(minutes=2), "LOCK_TIMEOUT": timedelta(seconds=3)}
    ):
        assert (conf.current().default_ttl, conf.current().lock_timeout) == (120, 3)


def test_errors_may_be_classes_or_dotted_paths() -> None:
    """OXICACHE["GRACE_ERRORS"] takes both."""
    with override_settings(OXICACHE={"GRACE_ERRORS": [LookupError, "django.db.utils.InterfaceError"]}):
        names = [error.__name__ for error in conf.current().grace_errors]
    assert names == ["LookupError", "InterfaceError"]


def refused(**overridden: Any) -> str:
    """The message with which settings are refused, at the moment they come into force."""
    with pytest.raises(ImproperlyConfigured) as caught, override_settings(**overridden):
        conf.current()
    return str(caught.value)


def test_an_unknown_key_is_named_with_those_that_exist() -> None:
    """A misspelt key of OXICACHE does not pass in silence."""
    message = refused(OXICACHE={"DEFAULT_TLL": 5, "LOCK_TIMEOUT": 5})
    assert "no key DEFAULT_TLL;" in message
    for key in ("DEFAULT_TTL", "DEFAULT_MAX_SIZE", "CLEANUP_INTERVAL", "LOCK_TIMEOUT", "GRACE_ERRORS"):
        assert key in message
    assert "RSR_" not in message


@pytest.mark.parametrize(
    ("setting", "value", "name"),
    [
        ("RSR_CACHE_TTL", -1, "RSR_CACHE_TTL is -1"),
        ("RSR_CACHE_TTL", "3600", "RSR_CACHE_TTL is '3600'"),
        ("RSR_CACHE_MAX_SIZE", 10.5, "RSR_CACHE_MAX_SIZE is 10.5"),
        ("RSR_CACHE_MAX_SIZE", True, "RSR_CACHE_MAX_SIZE is True"),
        ("RSR_DESCENDANTS_CHUNK_SIZE", 0, "RSR_DESCENDANTS_CHUNK_SIZE is 0"),
        ("OXICACHE", [], "OXICACHE is []"),
        ("OXICACHE", {"DEFAULT_TTL": float("nan")}, "OXICACHE['DEFAULT_TTL'] is nan"),
        ("OXICACHE", {"CLEANUP_INTERVAL": None}, "OXICACHE['CLEANUP_INTERVAL'] is None"),
        ("OXICACHE", {"GRACE_ERRORS": "ValueError"}, "OXICACHE['GRACE_ERRORS'] is 'ValueError'"),
        ("OXICACHE", {"GRACE_ERRORS": ["no.such.Error"]}, "OXICACHE['GRACE_ERRORS'] is 'no.such.Error'"),
        ("OXICACHE", {"GRACE_ERRORS": [int]}, "OXICACHE['GRACE_ERRORS'] is <class 'int'>"),
        ("OXICACHE", {"TEST_ISOLATION": "no"}, "OXICACHE['TEST_ISOLATION'] is 'no'"),
    ],
)
def test_a_wrong_value_names_the_setting_the_value_and_what_it_must_be(
    setting: str, value: object, name: str
) -> None:
    """ImproperlyConfigured says which setting, what it is and what it must be."""
    message = refused(**{setting: value})
    assert message.startswith(name)
    assert "it must be" in message


def test_the_table_has_a_row_for_each_setting() -> None:
    """settings_table() is Markdown with every name, default, unit and meaning."""
    head, rule, *rows = conf.settings_table().splitlines()
    assert len({row.count("|") for row in (head, rule, *rows)}) == 1
    assert len(rows) == len(fields(conf.Configuration))
    assert any('`OXICACHE["DEFAULT_TTL"]` or `RSR_CACHE_TTL` | `3600` | seconds' in row for row in rows)
    assert any("`RSR_MAX_AGGREGATION_DEPTH` | `100` | levels" in row for row in rows)
