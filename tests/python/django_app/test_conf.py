"""Settings: where a value comes from, when it is read, and what a wrong one says."""

import os
import re
import tempfile
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.utils import OperationalError
from django.test import override_settings

from oxicache import TTLCache, options
from oxicache.django import conf
from oxicache.thresholds import Thresholds, in_force


def test_without_settings_every_value_is_the_default() -> None:
    """A project that sets nothing gets the documented defaults."""
    found = conf.current()
    assert (found.default_ttl, found.default_max_size, found.cleanup_interval) == (3600, 1000, 300)
    assert (found.lock_timeout, found.grace_throttle, found.test_isolation) == (10, 30, True)
    assert found.grace_errors == (ConnectionError, TimeoutError, OperationalError)
    assert (found.max_descendants_per_request, found.descendants_chunk_size) == (1000, 500)
    assert found.max_aggregation_depth == 100
    assert (found.runtime_dir, found.namespace, found.version_words) == (None, None, 2**20)
    assert (found.tenant, found.replica_hold) == (None, 5)


def test_the_flat_name_beats_the_dict_beats_the_default() -> None:
    """RSR_CACHE_TTL wins over OXICACHE["DEFAULT_TTL"], which wins over 3600."""
    with override_settings(OXICACHE={"DEFAULT_TTL": 20}):
        assert conf.current().default_ttl == 20
        with override_settings(RSR_CACHE_TTL=10):
            assert conf.current().default_ttl == 10
        assert conf.current().default_ttl == 20
    assert conf.current().default_ttl == 3600


def test_a_profile_is_other_defaults() -> None:
    """OXICACHE["PROFILE"] is document 000's "Cache Size Optimization"; what is set by itself wins over it."""
    made = []
    for profile in ("high-memory", "low-memory", "development"):
        with override_settings(OXICACHE={"PROFILE": profile}):
            found = conf.current()
            cache: TTLCache[str, int] = TTLCache()
        made.append(
            (cache.max_size, cache.ttl, found.descendants_chunk_size, found.max_descendants_per_request)
        )
    assert made == [(2000, 7200, 1000, 1000), (200, 900, 100, 200), (500, 3600, 500, 1000)]
    with override_settings(
        OXICACHE={"PROFILE": "low-memory", "DEFAULT_TTL": 60}, RSR_MAX_DESCENDANTS_PER_REQUEST=300
    ):
        found = conf.current()
    assert (found.default_ttl, found.default_max_size, found.max_descendants_per_request) == (60, 200, 300)


def test_times_by_name() -> None:
    """CACHE_TIMEOUTS goes over the presets; CACHE_DEFAULT_TIMEOUT is its "default", unless it has one itself."""
    assert (conf.ttl_of("t", "default"), conf.ttl_of("t", "DASHBOARD_METRICS")) == (300, 900)
    with override_settings(
        CACHE_DEFAULT_TIMEOUT=50, CACHE_TIMEOUTS={"own": None, "short": timedelta(seconds=5)}
    ):
        assert [conf.ttl_of("t", name) for name in ("default", "own", "short", "long")] == [50, None, 5, 3600]
        assert conf.current().default_ttl == 3600  # of caches, which it says nothing about
    with override_settings(CACHE_DEFAULT_TIMEOUT=50, CACHE_TIMEOUTS={"default": 7}):
        assert conf.ttl_of("t", "default") == 7
    with override_settings(CACHE_DEFAULT_TIMEOUT=None):
        assert conf.ttl_of("t", "default") is None
    assert "CACHE_DEFAULT_TIMEOUT is -1" in refused(CACHE_DEFAULT_TIMEOUT=-1)
    assert "CACHE_TIMEOUTS['own']" in refused(CACHE_TIMEOUTS={"own": "soon"})
    with pytest.raises(ImproperlyConfigured, match="ttl is 'defualt'; the names"):
        conf.ttl_of("ttl", "defualt")


def test_an_unknown_profile_is_refused() -> None:
    """The message names those that exist."""
    for wrong in ("huge", 5, ["low-memory"]):
        assert "'high-memory', 'low-memory', 'development' or None" in refused(OXICACHE={"PROFILE": wrong})


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
        ("OXICACHE", {"RUNTIME_DIR": "run/cache"}, "OXICACHE['RUNTIME_DIR'] is 'run/cache'"),
        ("OXICACHE", {"RUNTIME_DIR": "~/cache"}, "OXICACHE['RUNTIME_DIR'] is '~/cache'"),
        ("OXICACHE", {"RUNTIME_DIR": b"/run"}, "OXICACHE['RUNTIME_DIR'] is b'/run'"),
        ("OXICACHE", {"RUNTIME_DIR": "/run/\0"}, "OXICACHE['RUNTIME_DIR'] is '/run/\\x00'"),
        ("OXICACHE", {"NAMESPACE": ""}, "OXICACHE['NAMESPACE'] is ''"),
        ("OXICACHE", {"NAMESPACE": "my-site"}, "OXICACHE['NAMESPACE'] is 'my-site'"),
        ("OXICACHE", {"NAMESPACE": "n\u00e4me"}, "OXICACHE['NAMESPACE'] is 'n\u00e4me'"),
        ("OXICACHE", {"NAMESPACE": "a\n"}, "OXICACHE['NAMESPACE'] is 'a\\n'"),
        ("OXICACHE", {"NAMESPACE": "n" * 33}, f"OXICACHE['NAMESPACE'] is '{'n' * 33}'"),
        ("OXICACHE", {"VERSION_WORDS": 1_000_000}, "OXICACHE['VERSION_WORDS'] is 1000000"),
        ("OXICACHE", {"VERSION_WORDS": 2**15}, "OXICACHE['VERSION_WORDS'] is 32768"),
        ("OXICACHE", {"VERSION_WORDS": 2**25}, "OXICACHE['VERSION_WORDS'] is 33554432"),
        ("OXICACHE", {"VERSION_WORDS": 2.0**20}, "OXICACHE['VERSION_WORDS'] is 1048576.0"),
        ("OXICACHE", {"TENANT": "tenant"}, "OXICACHE['TENANT'] is 'tenant'"),
        ("OXICACHE", {"TENANT": 1}, "OXICACHE['TENANT'] is 1"),
        ("OXICACHE", {"REPLICA_HOLD": None}, "OXICACHE['REPLICA_HOLD'] is None"),
        ("OXICACHE", {"REPLICA_HOLD": -1}, "OXICACHE['REPLICA_HOLD'] is -1"),
        ("OXICACHE", {"PUBLIC_MAX_AGE": float("inf")}, "OXICACHE['PUBLIC_MAX_AGE'] is inf"),
        ("OXICACHE", {"PRIVATE_MAX_AGE": None}, "OXICACHE['PRIVATE_MAX_AGE'] is None"),
        ("OXICACHE", {"SITE_TTL": "300"}, "OXICACHE['SITE_TTL'] is '300'"),
        ("OXICACHE", {"SITE_ALIAS": "nowhere"}, "OXICACHE['SITE_ALIAS'] is 'nowhere'"),
        ("OXICACHE", {"SITE_KEY_PREFIX": ""}, "OXICACHE['SITE_KEY_PREFIX'] is ''"),
        ("OXICACHE", {"SITE_EXEMPT": "/api/*"}, "OXICACHE['SITE_EXEMPT'] is '/api/*'"),
        ("OXICACHE", {"SITE_EXEMPT": [""]}, "OXICACHE['SITE_EXEMPT'] is ''"),
        ("OXICACHE", {"SITE_USERS": 1}, "OXICACHE['SITE_USERS'] is 1"),
        ("CACHE_TIMEOUTS", ["SHORT"], "CACHE_TIMEOUTS is ['SHORT']"),
        ("CACHE_TIMEOUTS", {"SHORT": -1}, "CACHE_TIMEOUTS['SHORT'] is -1"),
    ],
)
def test_a_wrong_value_names_the_setting_the_value_and_what_it_must_be(
    setting: str, value: object, name: str
) -> None:
    """ImproperlyConfigured says which setting, what it is and what it must be."""
    message = refused(**{setting: value})
    assert message.startswith(name)
    assert "it must be" in message


@pytest.mark.parametrize("words", [2**16, 2**20, 2**24])
def test_a_power_of_two_is_a_number_of_version_words(words: int) -> None:
    """The limits themselves are allowed."""
    with override_settings(OXICACHE={"VERSION_WORDS": words}):
        assert conf.current().version_words == words


class TestRuntimeDirectory:
    def test_the_setting_wins(self, tmp_path: Path) -> None:
        """A directory that was named is the one, as a string, whether it exists or not."""
        for given in (tmp_path / "none", str(tmp_path / "none")):
            with override_settings(OXICACHE={"RUNTIME_DIR": given}):
                assert conf.runtime_directory() == str(tmp_path / "none")

    def test_shared_memory_is_the_default(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The memory that processes share is taken where it is a directory that may be written."""
        assert conf.SHARED_MEMORY == "/dev/shm"  # noqa: S108 -- the name is what is tested
        monkeypatch.setattr(conf, "SHARED_MEMORY", str(tmp_path))
        assert conf.runtime_directory() == str(tmp_path)

    @pytest.mark.parametrize("shared", ["missing", "a file"])
    def test_without_shared_memory_it_is_the_directory_for_temporary_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: str
    ) -> None:
        """Where /dev/shm is missing or no directory, processes meet where temporary files are."""
        path = tmp_path / "shm"
        if shared == "a file":
            path.touch()
        monkeypatch.setattr(conf, "SHARED_MEMORY", str(path))
        assert conf.runtime_directory() == tempfile.gettempdir()

    def test_a_directory_that_may_not_be_written_is_passed_over(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As in a container with a read-only /dev/shm."""
        monkeypatch.setattr(conf, "SHARED_MEMORY", str(tmp_path))
        monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
        assert conf.runtime_directory() == tempfile.gettempdir()

    def test_the_users_own_runtime_directory_is_never_taken(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """XDG_RUNTIME_DIR is set in a shell and not for a service, so it would part the two."""
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        assert conf.runtime_directory() != str(tmp_path)


class TestNamespace:
    def test_the_setting_wins(self) -> None:
        """A namespace that was given is taken as it is."""
        with override_settings(OXICACHE={"NAMESPACE": "Site1"}):
            assert conf.namespace() == "Site1"

    def test_it_is_a_hash_of_the_secret_key(self) -> None:
        """16 letters and digits, equal for equal keys and only for these, and the key cannot be read from it."""
        found = {}
        for key in ("one", "two", b"one"):
            with override_settings(SECRET_KEY=key):
                found[key] = conf.namespace()
        assert found["one"] == found[b"one"] == "dfe151a864c2c292"  # other releases must find the same folder
        assert found["two"] != found["one"]
        assert all(len(name) == 16 and name.isalnum() for name in found.values())

    def test_without_a_secret_key_there_is_none(self) -> None:
        """Django's own error says that the key must not be empty."""
        with override_settings(SECRET_KEY=""), pytest.raises(ImproperlyConfigured, match="SECRET_KEY"):
            conf.namespace()


def tenant() -> str:
    """A resolver that settings name."""
    return "blue"


class TestTenant:
    def test_there_is_none_by_default(self) -> None:
        """Nobody is asked."""
        assert conf.tenant_resolver() is None

    @pytest.mark.parametrize(
        "given", [tenant, "django.utils.translation.get_language"], ids=["callable", "path"]
    )
    def test_a_callable_and_its_dotted_path_are_taken(self, given: object) -> None:
        """Either is called without parameters; a path is imported when it is asked for."""
        with override_settings(OXICACHE={"TENANT": given}):
            resolve = conf.tenant_resolver()
            assert resolve is not None
            assert isinstance(resolve(), str)
        assert conf.tenant_resolver() is None

    @pytest.mark.parametrize(
        "given", ["no.such.module.tenant", "django.utils.translation.nothing", "django.VERSION"]
    )
    def test_a_path_to_nothing_is_refused(self, given: str) -> None:
        """ImproperlyConfigured names the path, as soon as it is in force."""
        message = f"OXICACHE['TENANT'] is '{given}'; it must be the dotted path of a callable"
        assert refused(OXICACHE={"TENANT": given}).startswith(message)


def test_the_defaults_are_at_hand_while_the_settings_are_wrong() -> None:
    """defaults() looks at no setting."""
    with override_settings(RSR_CACHE_TTL=5, OXICACHE={"LOCK_TIMEOUT": 5}):
        assert (conf.defaults().default_ttl, conf.defaults().lock_timeout) == (3600, 10)


def test_the_table_has_a_row_for_each_setting() -> None:
    """settings_table() is Markdown with every name, default, unit and meaning."""
    head, rule, *rows = conf.settings_table().splitlines()
    assert len({row.count("|") for row in (head, rule, *rows)}) == 1
    assert len(rows) == len(fields(conf.Configuration))
    assert any('`OXICACHE["DEFAULT_TTL"]` or `RSR_CACHE_TTL` | `3600` | seconds' in row for row in rows)
    assert any("`RSR_MAX_AGGREGATION_DEPTH` | `100` | levels" in row for row in rows)


class TestMonitoring:
    def test_thresholds_are_those_that_count(self) -> None:
        """OXICACHE["THRESHOLDS"] replaces some limits, at once and for as long as it is set."""
        with override_settings(OXICACHE={"THRESHOLDS": {"HIT_RATE_LOW": 12.5}}):
            assert conf.current().thresholds.hit_rate_low == 12.5
            assert in_force().hit_rate_low == 12.5
        assert (conf.current().thresholds, in_force()) == (Thresholds(), Thresholds())

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (
                {"HIT_RATE": 1},
                "OXICACHE['THRESHOLDS'] is wrong: there is no threshold HIT_RATE; there are GLOBAL_",
            ),
            ({"HIT_RATE_LOW": "1"}, "the threshold HIT_RATE_LOW must be a number, not '1'."),
            (5, "OXICACHE['THRESHOLDS'] is 5; it must be a dict of numbers, or None."),
        ],
    )
    def test_wrong_thresholds_are_refused(self, given: object, message: str) -> None:
        """The message names threshold and value."""
        assert message in refused(OXICACHE={"THRESHOLDS": given})

    @pytest.mark.parametrize("token", ["", "two words", "tab\t", "caf\xe9"])
    def test_a_wrong_token_is_refused_and_not_shown(self, token: str) -> None:
        """A header holds no such token; what was to be secret stands in no message."""
        message = refused(OXICACHE={"METRICS_TOKEN": token})
        assert message == (
            "OXICACHE['METRICS_TOKEN'] is '...'; it must be a string of ASCII characters without spaces, or None."
        )
        assert "OXICACHE['METRICS_TOKEN'] is 5" in refused(OXICACHE={"METRICS_TOKEN": 5})

    def test_monitoring_has_the_documents_name_too(self) -> None:
        """CACHE_MONITORING_ENABLED of document 003 wins over the dict."""
        assert conf.current().monitoring_enabled is True
        with override_settings(CACHE_MONITORING_ENABLED=False, OXICACHE={"MONITORING_ENABLED": True}):
            assert conf.current().monitoring_enabled is False
        assert "must be True or False" in refused(CACHE_MONITORING_ENABLED="yes")


def test_the_page_of_named_times_has_the_presets() -> None:
    """docs/migrating.md tells each name with its seconds, and CACHE_TIMEOUTS goes over them."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "migrating.md").read_text(encoding="utf-8")
    table = page.partition("<!-- times: begin -->")[2].partition("<!-- times: end -->")[0]
    told = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|$", table, re.MULTILINE))
    assert told == {name: str(seconds) for name, seconds in options.TIMEOUTS.items()}
    times = conf.Timeouts()
    with override_settings(CACHE_TIMEOUTS={"short": 5, "OWN": None}):
        assert (times["short"], times["OWN"], times["medium"]) == (5, None, 600)
        assert len(times) == len(options.TIMEOUTS) + 1
    assert dict(times) == dict(options.TIMEOUTS)
