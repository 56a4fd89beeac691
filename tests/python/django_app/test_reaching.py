"""`carry_out`: which caches an effect reaches, what it says of them, and that no failing cache reaches the caller."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import InvalidCacheKey, memcache_key_warnings
from django.core.cache.backends.locmem import LocMemCache
from django.test import override_settings

from oxicache import cache_manager, cached_function
from oxicache.django.reaching import Reached, carry_out
from oxicache.invalidation import Effect, Names
from oxicache.store import failure_counts, forget_failures
from oxicache.tags import forget_parents, tag_parent
from oxicache.trail import trail

NATIVE = "oxicache.django.backends.NativeCache"
CACHES = {
    "default": {"BACKEND": NATIVE, "LOCATION": "reaching"},
    "prefixed": {"BACKEND": NATIVE, "LOCATION": "reaching", "KEY_PREFIX": "p"},
    "apart": {"BACKEND": NATIVE, "LOCATION": "apart", "OPTIONS": {"COHERENCE": "process"}},
    "local": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "reaching"},
}


class FailingCache(LocMemCache):
    """A backend whose server is not there."""

    def delete(self, *args: Any, **kwargs: Any) -> bool:
        raise ConnectionError("no server")

    delete_many = delete  # type: ignore[assignment]


BROKEN = {
    **CACHES,
    "failing": {"BACKEND": f"{__name__}.FailingCache", "LOCATION": "failing"},
    "files": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": "/nonexistent/reaching",
    },
}


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    forget_failures()
    with override_settings(CACHES=CACHES):
        for alias in CACHES:
            caches[alias].clear()
        yield


@pytest.fixture
def named() -> Iterator[Any]:
    """A cache of the manager."""
    yield cache_manager.get_cache("reaching.named", max_size=100)
    cache_manager.remove("reaching.named")


def fill(named: Any) -> None:
    """Store three keys in each cache."""
    for key in ("user:1", "user:2", "other"):
        for alias in CACHES:
            caches[alias].set(key, alias)
        named.set(key, "named")


def left(named: Any) -> dict[str, list[str]]:
    """Which of the keys each cache still has."""
    keys = ("user:1", "user:2", "other")
    found = {alias: [key for key in keys if caches[alias].get(key)] for alias in CACHES}
    return {**found, "named": [key for key in keys if key in named]}


def everywhere(keys: list[str]) -> dict[str, list[str]]:
    """What is left where all caches have the same."""
    return dict.fromkeys((*CACHES, "named"), keys)


class StrictCache(LocMemCache):
    """A backend that refuses keys with spaces, as memcached does."""

    def validate_key(self, key: str) -> None:
        for warning in memcache_key_warnings(key):
            raise InvalidCacheKey(warning)


class TestNamesThatAreNone:
    """A rule makes names of whatever a column holds: those that no cache takes keep no others from being reached."""

    @pytest.mark.parametrize("counting", [True, False])
    @override_settings(
        CACHES={**CACHES, "strict": {"BACKEND": f"{__name__}.StrictCache", "LOCATION": "strict"}}
    )
    def test_keys(self, counting: bool) -> None:
        """A title with a space, which memcached refuses."""
        for alias in caches.settings:
            caches[alias].set("page:1", 1)
        keys = frozenset({"page:1", "page:Hello World", "page:A B", "\x01", "\ud800"})
        reached = carry_out(Effect(keys=keys), counting=counting)
        assert [alias for alias in caches.settings if caches[alias].get("page:1")] == []
        assert not reached.failures

    def test_globs(self, named: Any) -> None:
        """A text that is longer than a pattern may be."""
        fill(named)
        carry_out(Effect(globs=frozenset({"user:*", "x" * 10_001, "[a"})))
        assert left(named) == everywhere(["other"])
        assert "patterns" in str(failure_counts())


class TestWhere:
    def test_keys(self, named: Any) -> None:
        """A key goes from each alias, with its own prefix and version, and from each named cache; each says whether."""
        fill(named)
        reached = carry_out(Effect(keys=frozenset({"user:1", "nothing"})), counting=True)
        assert left(named) == everywhere(["user:2", "other"])
        assert reached.counts == {"keys": 5}
        assert reached.by_alias == dict.fromkeys(CACHES, 1)
        assert reached.by_cache == {"reaching.named": 1}
        assert [reached.total, reached.failures, reached.pending, reached.wait()] == [5, {}, False, True]

    def test_patterns(self, named: Any) -> None:
        """Globs are matched against whole keys without prefix and version, everywhere."""
        fill(named)
        reached = carry_out(Effect(globs=frozenset({"user:*", "othe?"})), counting=True)
        assert left(named) == everywhere([])
        assert reached.counts == {"pattern": 15}
        fill(named)
        reached = carry_out(Effect(globs=frozenset({"user:*"})))
        assert left(named) == everywhere(["other"])
        assert reached.by_alias == {"default": None, "prefixed": None, "apart": None, "local": 2}

    def test_a_tag_with_too_many_descendants(self, named: Any) -> None:
        """Every entry that has a tag goes, as nobody goes through so many; not only some of them."""
        calls = []

        @cached_function(tags=["leaf:zzzzzz"])
        def one() -> int:
            calls.append(1)
            return len(calls)

        undo = [tag_parent("leaf:{x}" + letter, "leaf:{x}") for letter in "abcdez"]
        try:
            for cache in (caches["default"], named):
                cache.set("a", 1, tags=["leaf:zzzzzz"])
            assert one() == 1
            reached = carry_out(Effect(tags=frozenset({"leaf:z"})))
            assert [cache.get("a") for cache in (caches["default"], named)] == [None, None]
            assert one() == 2
            assert "not known" in reached.failures["local"]
        finally:
            for end in undo:
                end()

    def test_regular_expressions(self, named: Any) -> None:
        """They match from a key's start on, and everywhere too."""
        fill(named)
        reached = carry_out(Effect(also=frozenset({Names(regexes=("ser", "user:[2-9]"))})), counting=True)
        assert left(named) == everywhere(["user:1", "other"])
        assert reached.counts == {"pattern": 5}

    def test_tags(self, named: Any) -> None:
        """Entries of NativeCache, of named caches, and of decorated callables that carry the tag or one below it."""
        calls = []

        @cached_function(tags=["leaf"])
        def one() -> int:
            calls.append(1)
            return len(calls)

        undo = tag_parent("leaf", "tree")
        try:
            for cache in (caches["default"], caches["prefixed"], caches["apart"], named):
                cache.set("a", 1, tags=["leaf"])
                cache.set("b", 1, tags=["tree"])
                cache.set("c", 1, tags=["other"])
            assert one() == 1
            reached = carry_out(Effect(tags=frozenset({"tree"})))
            for cache in (caches["default"], caches["prefixed"], caches["apart"], named):
                assert [cache.get(key) for key in "abc"] == [None, None, 1]
            assert one() == 2
        finally:
            undo()
            forget_parents()
        assert reached.counts == {"tags": 9}  # two aliases are one memory: 4, 2, 2, and the function's
        assert reached.by_cache["reaching.named"] == 2

    def test_every_tag(self, named: Any) -> None:
        """Where nobody can say which tags, whatever has one goes, and a backend that cannot tell says so."""
        calls = []

        @cached_function(tags=["leaf"])
        def one() -> int:
            calls.append(1)
            return len(calls)

        one()
        caches["default"].set("a", 1, tags=["leaf"])
        named.set("a", 1, tags=["leaf"])
        reached = carry_out(Effect(every_tag=True))
        assert [caches["default"].get("a"), named.get("a"), one()] == [None, None, 2]
        assert list(reached.failures) == ["local"]

    def test_every_key(self, named: Any, caplog: pytest.LogCaptureFixture) -> None:
        """Where nobody can say which keys, copies go; what may be sessions stays as it is, and that is said."""
        fill(named)
        reached = carry_out(Effect(every_key=True))
        assert left(named) == {**everywhere([]), "local": ["user:1", "user:2", "other"]}
        assert list(reached.failures) == ["local"]
        assert "sessions" in caplog.text

    def test_only_some_aliases(self, named: Any) -> None:
        """Where aliases are named, they alone lose what they have."""
        fill(named)
        reached = carry_out(Effect(keys=frozenset({"other"}), aliases=("local", "prefixed")), counting=True)
        kept = ["user:1", "user:2", "other"]
        assert left(named) == {
            **everywhere(kept),
            "local": kept[:2],
            "prefixed": kept[:2],
        }
        assert reached.by_alias == {"local": 1, "prefixed": 1}

    def test_only_named_caches(self, named: Any) -> None:
        """Where named caches are named, no alias loses anything."""
        fill(named)
        carry_out(Effect(also=frozenset({Names(keys=("other",), aliases=(), caches=("reaching.named",))})))
        assert left(named)["named"] == ["user:1", "user:2"]
        assert left(named)["default"] == ["user:1", "user:2", "other"]

    @pytest.mark.parametrize("counting", [False, True])
    def test_patterns_reach_all_versions(self, named: Any, counting: bool) -> None:
        """A pattern that names none of Django's versions is about all of them, one that does about that one."""
        for alias in CACHES:
            for version in (1, 7, 8):
                caches[alias].set("user:9", 1, version=version)
        carry_out(Effect(also=frozenset({Names(globs=("user:*",), version=7)})), counting=counting)
        for alias in CACHES:
            assert [caches[alias].get("user:9", version=version) for version in (1, 7, 8)] == [1, None, 1]
        carry_out(Effect(globs=frozenset({"user:*"})), counting=counting)
        for alias in CACHES:
            assert [caches[alias].get("user:9", version=version) for version in (1, 8)] == [None, None]

    def test_a_version(self, named: Any) -> None:
        """Another of Django's versions is reached when it is named."""
        caches["default"].set("a", 1, version=7)
        caches["local"].set("a", 1, version=7)
        carry_out(Effect(keys=frozenset({"a"})))
        assert caches["default"].get("a", version=7) == 1
        carry_out(Effect(also=frozenset({Names(keys=("a",), version=7)})))
        assert [caches[alias].get("a", version=7) for alias in ("default", "local")] == [None, None]


class TestFailures:
    def test_a_backend_that_fails(self, named: Any, caplog: pytest.LogCaptureFixture) -> None:
        """It is one log line and one count, and told to who asks; the others are reached."""
        fill(named)
        with override_settings(CACHES=BROKEN):
            caplog.clear()
            reached = carry_out(Effect(keys=frozenset({"other"})))
            assert carry_out(Effect(keys=frozenset({"other"})), counting=True).failures.keys() == {"failing"}
        assert left(named)["local"] == ["user:1", "user:2"]
        assert reached.failures == {"failing": "ConnectionError: no server"}
        assert "failing" not in reached.by_alias
        assert failure_counts() == {"failing": 2}
        assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2

    def test_a_backend_that_cannot(self, caplog: pytest.LogCaptureFixture) -> None:
        """One whose entries cannot be listed is no 0: it is a failure, logged once, and counted as none of its own."""
        with override_settings(CACHES=BROKEN):
            for _ in range(3):
                reached = carry_out(Effect(globs=frozenset({"*"}), aliases=("files",)))
        assert "cannot be listed" in reached.failures["files"]
        assert [reached.by_alias, reached.counts, reached.total] == [{}, {"pattern": None}, 0]
        assert len([record for record in caplog.records if record.name == "oxicache.invalidation"]) == 1
        assert failure_counts() == {}

    def test_an_alias_that_there_is_not(self) -> None:
        """A rule may name one: it is told and logged, and the others are reached."""
        caches["default"].set("a", 1)
        reached = carry_out(Effect(keys=frozenset({"a"}), aliases=("nowhere", "default")))
        assert caches["default"].get("a") is None
        assert list(reached.failures) == ["nowhere"]

    def test_a_tag_that_is_none(self) -> None:
        """What a rule made that is no tag is logged and counted; the tags beside it are still invalidated."""
        caches["default"].set("a", 1, tags=["good"])
        carry_out(Effect(tags=frozenset({"good", ""})))
        assert caches["default"].get("a") is None
        assert failure_counts() == {"tags": 1}


class TestTrail:
    def test_it_is_noted_once(self) -> None:
        """One note tells what went and from which line; the words of entries are among its names."""
        trail.clear()
        carry_out(Effect(keys=frozenset({"a"}), tags=frozenset({"t"})))
        (event,) = trail.events()
        assert [event["kind"], event["detail"]] == ["invalidate", "tags 't'; keys 'a'"]
        assert event["where"].rpartition(":")[0].endswith("test_reaching.py")
        assert {"tag:t", "tag:reaching:t", "key:reaching::1:a", "key:reaching:p:1:a"} <= set(event["names"])

    def test_nothing(self) -> None:
        """An effect that names nothing does nothing."""
        trail.clear()
        reached = carry_out(Effect())
        assert reached == Reached()
