"""Patterns that one process invalidates, in the other processes of a host: whatever becomes of any of them."""

import contextlib
import os
import random
import signal
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cache_worker import FIRST, CacheWorker, RemoteCache, caching
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from profiles import MODEL

from oxicache.django.backends import NativeCache

pytestmark = [
    pytest.mark.oxicache_real_clock,
    pytest.mark.skipif(sys.platform != "linux", reason="words are shared on Linux only"),
]

KEYS = ("user:1", "user:2", "team:1")
CACHES: dict[str, dict[str, Any]] = {
    "default": {},
    "version": {"VERSION": 2},
    "prefix": {"KEY_PREFIX": "shop"},
    "prefix, version": {"KEY_PREFIX": "shop", "VERSION": 2},
    "function": {"LOCATION": "function", "KEY_FUNCTION": "cache_worker.spelt"},
    "other": {"LOCATION": "other"},
}


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A directory of a short name, in memory where there is one."""
    memory = "/dev/shm"  # noqa: S108 -- the directory's own name is random
    with tempfile.TemporaryDirectory(
        prefix="ox", dir=memory if os.access(memory, os.W_OK) else None
    ) as directory:
        yield Path(directory)


def journal_of(directory: Path) -> Path:
    (file,) = directory.glob("*/journal-*")
    return file


@pytest.fixture(scope="module")
def _processes() -> Iterator[list[CacheWorker]]:
    with folder() as directory, caching(directory, 3, caches=CACHES) as workers:
        yield workers


@pytest.fixture
def processes(_processes: list[CacheWorker]) -> list[CacheWorker]:
    """Three processes of one site with nothing in their caches."""
    for worker in _processes:
        for alias in CACHES:
            worker.cache(alias).do("clear")
        worker.ask("request", "request_started")
    return _processes


def held(cache: RemoteCache) -> list[str]:
    return sorted(cache.do("get_many", KEYS))


def fill(*caches: RemoteCache) -> None:
    for cache in caches:
        for key in KEYS:
            assert cache.fill(key, "old") == "old"


class TestProcesses:
    def test_other_versions_prefixes_and_locations_stay(self, processes: list[CacheWorker]) -> None:
        """A pattern is of one alias, unless more is said."""
        one, two, _ = processes
        for acting in CACHES:
            fill(*(worker.cache(alias) for worker in (one, two) for alias in CACHES))
            one.cache(acting).do("invalidate_patterns", ["user:*"])
            for alias in CACHES:
                expected = ["team:1"] if alias == acting else sorted(KEYS)
                assert [held(worker.cache(alias)) for worker in (one, two)] == [expected] * 2

    @pytest.mark.parametrize(
        ("acting", "keywords", "hit"),
        [
            ("default", {"version": 2}, {"version"}),
            ("default", {"prefix": "shop"}, {"prefix"}),
            ("default", {"prefix": "shop", "version": 2}, {"prefix, version"}),
            ("default", {"any_version": True}, {"default", "version"}),
            ("version", {"prefix": "shop", "any_version": True}, {"prefix", "prefix, version"}),
        ],
        ids=lambda given: str(given) if isinstance(given, dict) else "",
    )
    def test_what_is_said_besides(
        self, processes: list[CacheWorker], acting: str, keywords: dict[str, Any], hit: set[str]
    ) -> None:
        """Another version or prefix than the handler's own, or all versions."""
        one, two, _ = processes
        fill(*(two.cache(alias) for alias in CACHES))
        one.cache(acting).do("invalidate_patterns", ["user:*"], **keywords)
        for alias in CACHES:
            assert held(two.cache(alias)) == (["team:1"] if alias in hit else sorted(KEYS)), alias

    def test_all_versions_of_a_key_function(self, processes: list[CacheWorker]) -> None:
        """What it makes of which version nobody can tell: everything goes."""
        one, two, _ = processes
        fill(two.cache("function"))
        one.cache("function").do("invalidate_patterns", ["user:*"], any_version=True)
        assert held(two.cache("function")) == []

    @pytest.mark.parametrize(("key", "expected"), [("user:1", None), ("team:1", "loaded before")])
    def test_a_load_that_is_under_way(
        self, processes: list[CacheWorker], key: str, expected: str | None
    ) -> None:
        """Its caller has what was loaded, and it is stored unless its key matches."""
        one, two, _ = processes
        one.say("compute", key)
        assert one.answer() == "loading"
        two.cache().do("invalidate_patterns", ["user:*"])
        one.say("loaded before")
        assert one.answer() == "loaded before"
        assert one.cache().get(key) == expected

    def test_workers_that_are_busy_with_others(self, processes: list[CacheWorker]) -> None:
        """Each catches up by itself at its next use, whatever was invalidated by whom in between."""
        one, two, three = (worker.cache() for worker in processes)
        fill(one, two, three)
        for number in range(200):
            (one, two)[number % 2].do("invalidate_patterns", [f"nothing:{number}"])
        one.do("invalidate_patterns", ["user:1"])
        two.do("delete_pattern", "user:2")
        assert [held(cache) for cache in (one, two, three)] == [["team:1"]] * 3


class Spelling(NativeCache):
    """A cache whose keys are its own."""

    def make_key(self, key: Any, version: Any = None) -> str:
        return f"{key}/{version or self.version}"


class TestSubclasses:
    def test_keys_that_a_subclass_makes(self) -> None:
        """Patterns are matched against what it was given; of which version a key is nobody can tell."""
        cache = Spelling("spelling", {})
        cache.set_many({"user:1": 1, "team:1": 1})
        cache.invalidate_patterns(["user:*"])
        assert list(cache.get_many(["user:1", "team:1"])) == ["team:1"]
        cache.invalidate_patterns(["user:*"], any_version=True)
        assert cache.get("team:1") is None

    def test_patterns_are_no_single_string(self) -> None:
        """Its letters are never what was meant."""
        with pytest.raises(TypeError, match=r"not the single string 'user:\*'"):
            NativeCache("spelling", {}).invalidate_patterns("user:*")


class TestDeaths:
    def test_what_was_said_before_a_kill_holds_and_what_is_said_after_it_is_heard(self) -> None:
        """A process is killed amid its invalidations, wherever: each that returned is carried out by all others."""
        rng = random.Random(6)
        with folder() as directory, caching(directory, 2) as (one, two):
            for _ in range(8):
                with CacheWorker(directory) as dying:
                    keys = [f"k:{number}:" for number in range(300)]
                    two.ask("request", "request_started")  # no set is a fill
                    two.cache().do("set_many", dict.fromkeys(keys, "old"))
                    told = directory / "told"
                    told.write_bytes(bytes(8))
                    dying.say("invalidate_for_ever", str(told))
                    assert dying.answer() == "begun"
                    for _ in range(rng.randrange(40)):
                        one.cache().get("k:0:")
                    os.kill(dying.pid, signal.SIGKILL)
                    dying.process.wait(60)
                (last,) = struct.unpack("=q", told.read_bytes())
                left = two.cache().do("get_many", keys)
                assert not left.keys() & {f"k:{number}:" for number in range(last)}
                fill(one.cache(), two.cache())
                one.cache().do("invalidate_patterns", ["user:1"])
                assert held(two.cache()) == ["team:1", "user:2"]

    def test_one_that_is_stopped_holds_nobody_up(self) -> None:
        """There is no lock that it could keep, and what it wrote half is no record."""
        rng = random.Random(7)
        with folder() as directory, caching(directory, 2) as (one, two), CacheWorker(directory) as stopping:
            told = directory / "told"
            told.write_bytes(bytes(8))
            stopping.say("invalidate_for_ever", str(told))
            assert stopping.answer() == "begun"
            for _ in range(30):
                for _ in range(rng.randrange(5)):
                    one.cache().get("k:0:")
                os.kill(stopping.pid, signal.SIGSTOP)
                fill(one.cache(), two.cache())
                one.cache().do("invalidate_patterns", ["user:1"])
                assert held(two.cache()) == ["team:1", "user:2"]
                os.kill(stopping.pid, signal.SIGCONT)


def delete(file: Path) -> None:
    file.unlink()


def truncate(file: Path) -> None:
    os.truncate(file, 4096)


def scribble(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(random.Random(1).randbytes(file.stat().st_size))


def open_to_all(file: Path) -> None:
    file.chmod(0o666)


def put_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


class TestFile:
    @pytest.mark.parametrize("harm", [delete, truncate, scribble, open_to_all, put_a_folder])
    def test_harm_to_the_journal_costs_entries_and_serves_nothing_outdated(self, harm: Any) -> None:
        """Before an invalidation, and between it and the next look of the others."""
        with folder() as directory, caching(directory, 2) as (one, two):
            fill(one.cache(), two.cache())
            one.cache().do("invalidate_patterns", ["user:1"])
            assert held(two.cache()) == ["team:1", "user:2"]
            one.cache().do("invalidate_patterns", ["user:2"])
            harm(journal_of(directory))
            assert set(held(two.cache())) <= {"team:1"}
            fill(one.cache(), two.cache())
            one.cache().do("invalidate_patterns", ["user:1"])
            is_mended = harm is not put_a_folder
            assert held(two.cache()) == (["team:1", "user:2"] if is_mended else [])

    def test_a_new_file_of_words(self) -> None:
        """The journal tells of the words that were; after a new file nothing of it counts."""
        with folder() as directory, caching(directory, 2) as (one, two):
            fill(one.cache(), two.cache())
            one.cache().do("invalidate_patterns", ["user:1"])
            (words,) = directory.glob("*/versions-*")
            words.unlink()
            one.cache().do("invalidate_patterns", ["user:2"])
            assert set(held(two.cache())) <= {"team:1"}
            two.ask("drive", FIRST + 2)
            two.ask("request", "request_started")  # then it looks for the file
            fill(one.cache(), two.cache())
            one.cache().do("invalidate_patterns", ["user:1"])
            assert held(two.cache()) == ["team:1", "user:2"]


class Site:
    """Two processes that outlast the examples of the machine."""

    def __init__(self) -> None:
        self.stack = contextlib.ExitStack()
        self.directory = self.stack.enter_context(folder())
        self.workers = self.stack.enter_context(
            caching(self.directory, 2, caches={"default": {}, "v2": {"VERSION": 2}})
        )


@pytest.fixture(scope="module", autouse=True)
def _site() -> Iterator[None]:
    yield
    if (site := Harmed.site) is not None:
        site.stack.close()


ALIASES = {"default": 1, "v2": 2}
NAMES = ("a", "ab", "b", "ba")
GLOBS = ("a", "a*", "*b", "[^a]*", "*", "nothing:*")


def taken(pattern: str) -> set[str]:
    import fnmatch

    return {name for name in NAMES if fnmatch.fnmatchcase(name, pattern.replace("[^", "[!"))}


class Harmed(RuleBasedStateMachine):
    """Two processes and a journal that is harmed at any time: none serves a value from before its invalidation."""

    site: Site | None = None

    @initialize()
    def begin(self) -> None:
        if Harmed.site is None:
            Harmed.site = Site()
        for worker in self.workers:
            worker.cache().do("clear")
            worker.ask("request", "request_started")
        self.serial = 0
        self.since: dict[tuple[str, str], int] = {}  # what is older was invalidated
        self.missed: dict[tuple[int, str, str], int] = {}  # when it was loaded

    @property
    def workers(self) -> list[CacheWorker]:
        assert Harmed.site is not None
        return Harmed.site.workers

    which = st.integers(0, 1)
    aliases = st.sampled_from(sorted(ALIASES))
    names = st.sampled_from(NAMES)

    @rule(which=which, alias=aliases, name=names)
    def get(self, which: int, alias: str, name: str) -> None:
        self.serial += 1
        found = self.workers[which].cache(alias).get(name)
        assert found is None or found >= self.since.get((alias, name), 0)
        if found is None:
            self.missed[which, alias, name] = self.serial

    @rule(which=which, alias=aliases, name=names)
    def set(self, which: int, alias: str, name: str) -> None:
        self.serial += 1
        made = self.missed.pop((which, alias, name), None)
        if made is None:
            self.since[alias, name] = made = self.serial
        self.workers[which].cache(alias).do("set", name, made)

    @rule(
        which=which,
        alias=aliases,
        patterns=st.lists(st.sampled_from(GLOBS), min_size=1, max_size=3),
        any_version=st.booleans(),
        is_long=st.booleans(),
    )
    def invalidate(
        self, which: int, alias: str, patterns: list[str], any_version: bool, is_long: bool
    ) -> None:
        self.serial += 1
        given = [*patterns, "x" * 700] if is_long else patterns
        self.workers[which].cache(alias).do("invalidate_patterns", given, any_version=any_version)
        self.outdated(which, set(ALIASES) if any_version else {alias}, set().union(*map(taken, patterns)))

    @rule(which=which, alias=aliases, pattern=st.sampled_from(GLOBS))
    def delete_pattern(self, which: int, alias: str, pattern: str) -> None:
        self.serial += 1
        self.workers[which].cache(alias).do("delete_pattern", pattern)
        self.outdated(which, {alias}, taken(pattern))

    @rule(which=which)
    def clear(self, which: int) -> None:
        self.serial += 1
        self.workers[which].cache().do("clear")
        self.outdated(which, set(ALIASES), set(NAMES))

    def outdated(self, which: int, aliases: Any, names: Any) -> None:
        for alias in aliases:
            for name in names:
                self.since[alias, name] = self.serial
        # What the process that said so stores next comes after.
        self.missed = {missed: at for missed, at in self.missed.items() if missed[0] != which}

    @rule(harm=st.sampled_from([delete, truncate, scribble, open_to_all]))
    def harm(self, harm: Any) -> None:
        assert Harmed.site is not None
        for file in Harmed.site.directory.glob("*/journal-*"):
            harm(file)

    @rule(which=which)
    def request(self, which: int) -> None:
        self.workers[which].ask("request", "request_started")
        self.missed = {missed: at for missed, at in self.missed.items() if missed[0] != which}


Harmed.TestCase.settings = settings(MODEL, max_examples=max(MODEL.max_examples // 3, 1))
TestHarmed = Harmed.TestCase
