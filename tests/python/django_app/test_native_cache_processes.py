"""NativeCache in several processes: what one invalidates no other serves, and what one stores is its own."""

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cache_worker import FIRST, CacheWorker, RemoteCache, caching
from coherence_reference import Host

pytestmark = [
    pytest.mark.oxicache_real_clock,
    pytest.mark.skipif(sys.platform != "linux", reason="words are shared on Linux only"),
]

Action = Callable[[RemoteCache], Any]
Processes = list[CacheWorker]

CACHES: dict[str, dict[str, Any]] = {
    "default": {},
    "second": {},
    "third": {"VERSION": 2},
    "prefix": {"LOCATION": "prefix", "KEY_PREFIX": "shop"},
    "version": {"LOCATION": "version", "VERSION": 3},
    "both": {"LOCATION": "both, ü", "KEY_PREFIX": "ü€", "VERSION": 2},
    "function": {"LOCATION": "function", "KEY_FUNCTION": "cache_worker.spelt", "KEY_PREFIX": "x"},
    "deploy": {"LOCATION": "deploy", "OPTIONS": {"DEPLOY_VERSION": "7"}},
    "pickle": {"LOCATION": "pickle", "OPTIONS": {"POLICY": "lru", "ISOLATION": "pickle"}},
    "references": {"LOCATION": "references", "OPTIONS": {"ISOLATION": "none"}},
    "process": {"LOCATION": "process", "OPTIONS": {"COHERENCE": "process"}},
    "p": {"LOCATION": "prefixes", "KEY_PREFIX": "p"},
    "p, version": {"LOCATION": "prefixes", "KEY_PREFIX": "p", "VERSION": 2},
    "q": {"LOCATION": "prefixes", "KEY_PREFIX": "q"},
    "p, deploy": {"LOCATION": "prefixes", "KEY_PREFIX": "p", "OPTIONS": {"DEPLOY_VERSION": "2"}},
}

# What a process that holds "a" and "b", both tagged "prices", may do, and what it has of them afterwards.
INVALIDATIONS: dict[str, tuple[Action, list[Any]]] = {
    "set": (lambda cache: cache.do("set", "a", "new"), ["new", "old"]),
    "set for ever": (lambda cache: cache.do("set", "a", "new", None), ["new", "old"]),
    "set, dead at once": (lambda cache: cache.do("set", "a", "new", 0), [None, "old"]),
    "set_many": (lambda cache: cache.do("set_many", {"a": "new", "b": "newer"}), ["new", "newer"]),
    "aset": (lambda cache: cache.do("aset", "a", "new"), ["new", "old"]),
    "delete": (lambda cache: cache.do("delete", "a"), [None, "old"]),
    "adelete": (lambda cache: cache.do("adelete", "a"), [None, "old"]),
    "delete_many": (lambda cache: cache.do("delete_many", ["a", "b"]), [None, None]),
    "clear": (lambda cache: cache.do("clear"), [None, None]),
    "aclear": (lambda cache: cache.do("aclear"), [None, None]),
    "delete_by_tag": (lambda cache: cache.do("delete_by_tag", "prices"), [None, None]),
    "delete_pattern": (lambda cache: cache.do("delete_pattern", "[ab]"), [None, None]),
    "delete_pattern of one": (lambda cache: cache.do("delete_pattern", "a*"), [None, "old"]),
    "invalidate_patterns": (lambda cache: cache.do("invalidate_patterns", ["a", "?"]), [None, None]),
    "invalidate_patterns of one": (
        lambda cache: cache.do("invalidate_patterns", ["a", "c*"]),
        [None, "old"],
    ),
    "invalidate_patterns, regex": (
        lambda cache: cache.do("invalidate_patterns", ["[bc]", "x+"], kind="regex"),
        ["old", None],
    ),
    "incr_version": (lambda cache: cache.do("incr_version", "a"), [None, "old"]),
}
actions = pytest.mark.parametrize("name", INVALIDATIONS)


@pytest.fixture(scope="module")
def _processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with caching(tmp_path_factory.mktemp("runtime"), 4, caches=CACHES) as workers:
        yield workers


@pytest.fixture
def processes(_processes: Processes) -> Processes:
    """Four processes of one site, as if they had just begun: Django takes a while to."""
    for worker in _processes:
        for alias in CACHES:
            worker.cache(alias).do("clear")
        worker.ask("request", "request_started")
        worker.ask("drive", FIRST)
    return _processes


def caches_of(processes: Processes, alias: str = "default") -> list[RemoteCache]:
    return [worker.cache(alias) for worker in processes]


@pytest.fixture
def caches(processes: Processes) -> list[RemoteCache]:
    """The default cache of each of four processes."""
    return caches_of(processes)


@pytest.fixture
def one(caches: list[RemoteCache]) -> RemoteCache:
    return caches[0]


@pytest.fixture
def two(caches: list[RemoteCache]) -> RemoteCache:
    return caches[1]


def holds(cache: RemoteCache) -> list[Any]:
    """What a process serves of "a" and "b"."""
    found = cache.do("get_many", ["a", "b"])
    return [found.get(key) for key in ("a", "b")]


def left(own: list[Any]) -> list[Any]:
    """What is left to others of what the acting process has: nothing of what that changed."""
    return [value if value == "old" else None for value in own]


def fill_all(*caches: RemoteCache) -> None:
    for cache in caches:
        for key in ("a", "b"):
            assert cache.fill(key, "old", tags=["prices"]) == "old"


class TestInvalidations:
    @actions
    def test_every_other_process_sees_it_at_its_next_get(self, caches: list[RemoteCache], name: str) -> None:
        """Whoever of them does it, and whatever the seed of hash() of each."""
        act, own = INVALIDATIONS[name]
        for acting in caches:
            fill_all(*caches)
            act(acting)
            assert holds(acting) == own
            for cache in caches:
                if cache is not acting:
                    assert holds(cache) == left(own)
            acting.do("clear")

    @pytest.mark.parametrize(
        "name",
        [
            "set",
            "delete",
            "delete_many",
            "set_many",
            "clear",
            "delete_by_tag",
            "delete_pattern of one",
            "invalidate_patterns",
            "invalidate_patterns, regex",
        ],
    )
    def test_also_where_nothing_was_held(self, one: RemoteCache, two: RemoteCache, name: str) -> None:
        """A process that never stored the key invalidates it for those that did."""
        act, own = INVALIDATIONS[name]
        fill_all(two)
        act(one)
        assert holds(two) == left(own)

    @pytest.mark.parametrize(
        "alias", ["prefix", "version", "both", "function", "deploy", "pickle", "references"]
    )
    def test_with_keys_made_in_any_way(self, processes: Processes, alias: str) -> None:
        """KEY_PREFIX, VERSION, KEY_FUNCTION, LOCATION and options change nothing about it."""
        one, two, *_ = caches_of(processes, alias)
        for name, (act, own) in INVALIDATIONS.items():
            fill_all(one, two)
            act(one)
            assert holds(one) == own, name
            assert holds(two) == left(own), name
            one.do("clear")

    @pytest.mark.parametrize("key", ["a", "x" * 240, "ünï€", "1:a", 1, "", "\U0001f600"])
    def test_of_any_key(self, one: RemoteCache, two: RemoteCache, key: Any) -> None:
        """Long, empty and other than ASCII."""
        for version in (None, 1, 7, "beta"):
            one.fill(key, "one", version=version)
            two.do("set", key, "two", version=version)
            assert one.get(key, version=version) is None
            assert two.get(key, version=version) == "two"
            one.worker.ask("request", "request_finished")

    def test_of_one_key_touches_few_others(self, one: RemoteCache, two: RemoteCache) -> None:
        """Entries of another process survive writes of other keys, but for words that meet: here one in 130 does."""
        for number in range(500):
            one.do("set", f"kept:{number}", number)
            two.do("set", f"other:{number}", number)
        assert len(one.do("get_many", [f"kept:{number}" for number in range(500)])) >= 480

    def test_another_alias_of_the_same_location_is_the_same_memory(self, processes: Processes) -> None:
        """In one process and in another, each with a prefix or version of its own."""
        (one, second, third), (two, second_of_two, _) = (
            [worker.cache(alias) for alias in ("default", "second", "third")] for worker in processes[:2]
        )
        one.fill("a", "old")
        assert second.get("a") == "old"
        assert third.get("a") is None
        second_of_two.do("set", "a", "new")
        assert one.get("a") is None
        two.do("set", "a", "v2", version=2)
        assert third.get("a") is None
        assert two.get("a") == "new"


class TestApart:
    def test_locations_do_not_disturb_each_other(self, processes: Processes) -> None:
        """What one does to its own, be it a clear, is nothing to another, with the same keys and tags."""
        one = processes[0].cache()
        others = caches_of(processes, "pickle")
        fill_all(one, *others)
        for name, (act, _) in INVALIDATIONS.items():
            act(one)
            assert [holds(cache) for cache in others] == [["old", "old"]] * 4, name

    def test_nor_do_sites(self, tmp_path: Path) -> None:
        """Two namespaces in one runtime directory."""
        with (
            CacheWorker(tmp_path, NAMESPACE="shop") as shop,
            CacheWorker(tmp_path, NAMESPACE="blog") as blog,
        ):
            fill_all(shop.cache(), blog.cache())
            for name, (act, _) in INVALIDATIONS.items():
                act(shop.cache())
                assert holds(blog.cache()) == ["old", "old"], name

    def test_nor_do_prefixes_and_versions(self, processes: Processes) -> None:
        """Keys that look alike are not alike: only a clear is of all."""
        one, two, *_ = processes
        aliases = ("p", "p, version", "q", "p, deploy")
        for alias in aliases:
            two.cache(alias).fill("a", alias)
        one.cache("p").do("set", "a", "new")
        one.cache("p").do("delete", "a")
        assert [two.cache(alias).get("a") for alias in aliases] == [None, *aliases[1:]]
        one.cache("q").do("clear")
        assert [two.cache(alias).get("a") for alias in aliases] == [None] * 4

    @actions
    def test_coherence_process_tells_nobody(self, processes: Processes, name: str) -> None:
        """As with LocMemCache each process is alone."""
        act, own = INVALIDATIONS[name]
        one, two, *_ = caches_of(processes, "process")
        fill_all(one, two)
        act(one)
        assert holds(one) == own
        assert holds(two) == ["old", "old"]


class TestFills:
    def test_fills_coexist(self, caches: list[RemoteCache]) -> None:
        """Each process loads once, whatever the order, and serves its own from then on."""
        before = [cache.do("stats")["misses"] for cache in caches]
        for _ in range(3):
            for number, cache in enumerate(caches):
                assert cache.fill("a", number) == number
        misses = [cache.do("stats")["misses"] for cache in caches]
        assert [after - earlier for earlier, after in zip(before, misses, strict=True)] == [1] * 4

    @pytest.mark.parametrize(
        "name", [name for name in INVALIDATIONS if name not in {"incr_version", "invalidate_patterns, regex"}]
    )
    def test_a_fill_whose_load_was_overtaken_is_not_stored(
        self, one: RemoteCache, two: RemoteCache, name: str
    ) -> None:
        """Whatever was invalidated between the miss and the set."""
        act, _ = INVALIDATIONS[name]
        assert one.get("a") is None
        act(two)
        one.do("set", "a", "loaded before", tags=["prices"])
        assert one.get("a") is None

    def test_get_or_set_is_a_fill(self, one: RemoteCache, two: RemoteCache) -> None:
        """It disturbs no other process, and stores nothing when it was overtaken; its caller gets what was loaded."""
        for cache in (one, two):
            cache.worker.say("compute", "a")
            assert cache.worker.answer() == "loading"
            cache.worker.say("found")
            assert cache.worker.answer() == "found"
        assert [one.get("a"), two.get("a")] == ["found", "found"]
        two.do("delete", "a")
        one.worker.say("compute", "a")
        assert one.worker.answer() == "loading"
        two.do("set", "a", "new")
        one.worker.say("outdated")
        assert one.worker.answer() == "outdated"
        assert [one.get("a"), two.get("a")] == [None, "new"]

    def test_a_set_that_follows_a_miss_of_its_own_is_no_write(
        self, one: RemoteCache, two: RemoteCache
    ) -> None:
        """What cannot be told from a fill: who changes a row after a miss of it says `write=True`, or deletes."""
        two.fill("a", "old")
        assert one.get("a") is None
        one.do("set", "a", "new")
        assert two.get("a") == "old"
        one.do("set", "a", "newer")  # the token was used up
        assert two.fill("a", "filled") == "filled"
        one.do("delete", "a")
        assert two.fill("a", "filled again") == "filled again"
        assert one.get("a") is None
        one.do("set", "a", "changed", write=True)
        assert two.get("a") is None
        assert one.get("a") == "changed"


class TestTokens:
    """When a set is a write although its process missed the key before."""

    def is_write(self, one: RemoteCache, two: RemoteCache, between: Action) -> bool:
        """Whether a set of `one`, after a miss and `between`, outdates what `two` has filled."""
        assert one.get("a") is None
        between(one)
        assert two.fill("a", "old") == "old"
        one.do("set", "a", "new")
        assert one.get("a") == "new"
        return two.get("a") is None

    @pytest.mark.parametrize(("seconds", "written"), [(9.9, False), (10.0, True), (60.0, True)])
    def test_tokens_die_after_ten_seconds(
        self, one: RemoteCache, two: RemoteCache, seconds: float, written: bool
    ) -> None:
        """By the engine's clock."""
        later = self.is_write(one, two, lambda cache: cache.worker.ask("drive", FIRST + seconds))
        assert later is written

    @pytest.mark.parametrize("which", ["request_started", "request_finished"])
    def test_tokens_die_with_the_request(self, one: RemoteCache, two: RemoteCache, which: str) -> None:
        """What one request missed says nothing about what the next one sets."""
        assert self.is_write(one, two, lambda cache: cache.worker.ask("request", which))

    @pytest.mark.parametrize(
        ("name", "arguments", "written"),
        [
            ("touch", ["a", 5], True),
            ("incr", ["a"], True),
            ("has_key", ["a"], False),
            ("get_many", [["a", "b"]], False),
            ("set", ["b", 1], False),
            ("add", ["b", 1], False),
            ("delete", ["b"], False),
        ],
        ids=lambda given: given if isinstance(given, str) else "",
    )
    def test_tokens_die_with_the_next_change_of_the_key(
        self, one: RemoteCache, two: RemoteCache, name: str, arguments: list[Any], written: bool
    ) -> None:
        """Be it one that found nothing to change. Reads, and changes of other keys, leave them."""
        assert self.is_write(one, two, lambda cache: cache.do(name, *arguments)) is written

    def test_more_misses_than_are_remembered(self, one: RemoteCache, two: RemoteCache) -> None:
        """Each thread remembers 256: of a page that misses more the first sets are writes, which is safe."""
        keys = [f"key:{number}" for number in range(257)]
        for key in keys:
            assert two.fill(key, "old") == "old"
            assert one.get(key) is None
        for key in keys:
            one.do("set", key, "old")
        assert [two.get(key) for key in keys] == [None] + ["old"] * 256


class TestLocal:
    """What is a process's own, as with LocMemCache: why throttles, sessions and locks belong elsewhere."""

    def test_counters(self, one: RemoteCache, two: RemoteCache) -> None:
        """`add` and `incr` in one process are not seen in another, and disturb none."""
        assert [cache.do("add", "count", 0) for cache in (one, two)] == [True, True]
        assert [one.do("incr", "count") for _ in range(3)] == [1, 2, 3]
        assert two.do("incr", "count") == 1
        assert one.do("decr", "count", 2) == 1
        assert two.do("incr", "count", 4) == 5
        assert [one.get("count"), two.get("count")] == [1, 5]
        assert two.do("add", "count", 50) is False

    def test_a_lock_made_of_add(self, one: RemoteCache, two: RemoteCache) -> None:
        """Each process gets it: `add` parts threads, not processes."""
        assert [cache.do("add", "lock", 1) for cache in (one, one, two)] == [True, False, True]

    def test_touch(self, one: RemoteCache, two: RemoteCache) -> None:
        """It lengthens the life of the process's own copy."""
        for cache in (one, two):
            cache.fill("a", "old", timeout=10)
        assert one.do("touch", "a", 100) is True
        for cache in (one, two):
            cache.worker.ask("drive", FIRST + 50)
        assert [one.get("a"), two.get("a")] == ["old", None]

    def test_a_counter_is_deleted_for_all(self, one: RemoteCache, two: RemoteCache) -> None:
        """`delete` invalidates counters like anything else."""
        for cache in (one, two):
            cache.do("add", "count", 5)
        one.do("delete", "count")
        assert two.do("incr", "count") == "Key ':1:count' not found"


class TestRandom:
    @pytest.mark.parametrize("seed", range(8))
    def test_processes_answer_as_the_reference_does(self, caches: list[RemoteCache], seed: int) -> None:
        """Whatever they do, in whichever order: every answer is that of coherence_reference.py."""
        rng = random.Random(seed)
        host = Host(len(caches))
        said: list[Any] = []
        for _ in range(500):
            number = rng.randrange(len(caches))
            name, arguments, keywords = host.draw(rng)
            expected = host.do(number, name, *arguments, **keywords)
            said.append((number, name, arguments, keywords, expected))
            answer = caches[number].do(name, *arguments, **keywords)
            assert answer == expected, said[-30:]
