"""The benches run, whatever they measure: a short run of all of them, and the arithmetic that verdicts rest on."""

# Long because it is all that the benches promise, and a run of them serves it all.

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("django")
pytest.importorskip("cachebox")
pytest.importorskip("cachetools")

Loader = Callable[[str], ModuleType]

BENCHES = Path(__file__).resolve().parents[2] / "benches"

# A row of the project's target table each, by how the printed row begins and what it is compared with.
TARGET_ROWS = [
    ("get hit/1k", "dict"),
    ("get hit/1k", "cachebox.TTLCache"),
    ("get hit/1k", "cachebox.LRUCache"),
    ("cache[k]/1k", "dict"),
    ("get miss/1k", "dict"),
    ("set existing/1k", "dict"),
    ("set existing/1k", "cachebox.TTLCache"),
    ("set new, evicting/1k", "dict"),
    ("set new, evicting/1k", "cachebox.TTLCache"),
    ("Zipf cache-aside/1k", "dict"),
    ("cached_method hit/1k", "empty method"),
    ("cached_method hit/1k", "lru_cache"),
    ("cached_method hit, models/1k", "lru_cache"),
    ("ttl_cached_property hit/1k", "Django's cached_property"),
    ("cached_method hit, rows/1k", "lru_cache"),
    ("ttl_cached_property hit, rows/1k", "Django's cached_property"),
    ("check of 4 words/1k", "empty method"),
    ("save(), time added: model without decorated members", "Django alone"),
    ("save(), queries added: model without decorated members", "Django alone"),
    ("save() that invalidates, time added: no dependants", "Django alone"),
    ("save() that invalidates, time added: 5 dependants", "Django alone"),
    ("save() that invalidates, time added: 5 rows whose values depend on it", "Django alone"),
    ("four threads, get: TTLCache/1k", "one thread"),
    ("NativeCache.get hit, small/1k", "LocMemCache"),
    ("NativeCache.get hit, 20-key dict/1k", "LocMemCache"),
    ("NativeCache.get hit, 100 small dicts/100", "LocMemCache"),
    ("NativeCache.get miss/1k", "LocMemCache"),
    ("NativeCache.get hit, small, through django.core.cache.cache/1k", "LocMemCache"),
    ("NativeCache.get hit, 20-key dict, through django.core.cache.cache/1k", "LocMemCache"),
    ("NativeCache.get hit, 100 small dicts, through django.core.cache.cache/100", "LocMemCache"),
    ("NativeCache.get miss, through django.core.cache.cache/1k", "LocMemCache"),
    ("NativeCache.set, small/1k", "LocMemCache"),
    ("NativeCache.add, key held/1k", "LocMemCache"),
    ("NativeCache.add, key new/1k", "LocMemCache"),
    ("NativeCache.incr/1k", "LocMemCache"),
    ("NativeCache.get_many(100)/1k", "LocMemCache"),
    ("four threads, get: NativeCache/1k", "one thread"),
    ("response, hit, 10 kB, anonymous: cached_view on NativeCache", "cache_page on LocMemCache"),
    ("response, hit, 10 kB, anonymous: cached_view on NativeCache", "cache_page on NativeCache"),
    ("response, hit, 10 kB, anonymous: cached_view on LocMemCache", "cache_page on LocMemCache"),
    ("response, hit, 10 kB, a user: cached_view on NativeCache", "cache_page on LocMemCache"),
    ("response, async hit, 10 kB, anonymous: cached_view on NativeCache", "cache_page on LocMemCache"),
    ("dropdown of 1_000 choices, warm", "a ModelForm of Django's"),
    ("fragment hit, 20 of a page, by number: cache_fragment on NativeCache", "{% cache %} on NativeCache"),
    ("fragment hit, 20 of a page, by number: cache_fragment on LocMemCache", "{% cache %} on LocMemCache"),
    *(
        (
            f"fragment hit, 20 of a page, by number and user: cache_fragment on {backend}",
            f"{{% cache %}} on {backend}",
        )
        for backend in ("NativeCache", "LocMemCache")
    ),
]


def bench(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHES / "run.py"), *arguments]
    surroundings = {**os.environ, **environment}
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=240, env=surroundings)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Loader:
    """Import a module of benches/ as run.py does."""
    monkeypatch.syspath_prepend(str(BENCHES))

    def load(name: str) -> ModuleType:
        return __import__(name)

    return load


@pytest.fixture(scope="module")
def short_run() -> dict[str, Any]:
    """One short run of everything, as JSON."""
    finished = bench("--quick", "--rounds", "1", "--json", "-")
    assert finished.returncode == 0, finished.stderr
    run: dict[str, Any] = json.loads(finished.stdout)
    return run


@pytest.mark.parametrize(("row", "against"), TARGET_ROWS, ids=lambda value: value)
def test_each_row_of_the_target_table_is_measured_and_judged(
    short_run: dict[str, Any], row: str, against: str
) -> None:
    """A run measures the row, above zero, and gives a verdict."""
    found = [
        result for result in short_run["results"] if (result["row"], result["against"]) == (row, against)
    ]
    assert len(found) == 1
    assert found[0]["ours"] > 0
    assert found[0]["theirs"] > 0
    assert found[0]["verdict"] in {"pass", "MISS"}


def test_the_header_tells_what_is_needed_to_repeat_the_run(short_run: dict[str, Any]) -> None:
    """The header names command, date, processor, Python and the versions compared."""
    assert {"command", "date", "processor", "python", "versions", "rounds", "load"} <= short_run[
        "about"
    ].keys()
    assert "cachebox" in short_run["about"]["versions"]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc and glibc")
def test_memory_of_an_entry_is_measured(short_run: dict[str, Any]) -> None:
    """The memory rows stand in bytes for each entry and leave keys and values out."""
    found = {result["row"]: result for result in short_run["results"] if result["row"].startswith("memory")}
    ours = next(result for row, result in found.items() if row.startswith("memory of an entry: TTLCache/"))
    assert (
        16 < ours["judged"] < 200
    )  # a key and a value alone would be 16 bytes of pointers and 90 of objects


def test_every_backend_is_compared_or_said_to_be_absent(short_run: dict[str, Any], module: Loader) -> None:
    """A row of NativeCache names every rival, without a figure only with a reason; pages are compared with the rest."""
    rows: dict[str, dict[str, Any]] = {}
    for result in short_run["results"]:
        rows.setdefault(result["row"], {})[result["against"]] = result["theirs"]
    row = rows["NativeCache.get hit, small/1k"]
    assert {name.partition(":")[0] for name in row} == set(module("backends").RIVALS)
    assert all((":" in name) == (theirs is None) for name, theirs in row.items())
    present = {name for name, theirs in row.items() if theirs is not None}
    page = rows["page that makes 50 gets: NativeCache, oxicache.django.cache"]
    assert page.keys() == present | {"the same page without gets"}


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc and glibc")
def test_bytes_of_an_entry_of_a_backend_are_measured(short_run: dict[str, Any]) -> None:
    """An entry of a backend takes at least its own text, and a dict takes more than a short string."""
    found = {result["row"]: result["judged"] for result in short_run["results"]}
    for name in ("NativeCache", "LocMemCache"):
        small, record = (
            next(
                size for row, size in found.items() if row.startswith(f"bytes of an entry, {values}: {name}/")
            )
            for values in ("small", "20-key dict")
        )
        assert 25 < small < record


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_rows_in_chunks_are_read_in_little_memory(short_run: dict[str, Any]) -> None:
    """Chunks and streamed responses stay within a limit that a list of the rows does not know; each way is timed."""
    found = {(result["row"], result["against"]): result for result in short_run["results"]}
    for row, against in [
        ("rows in chunks, memory: iter_rows/20_000", "list(queryset)"),
        ("list response, memory: stream_response/20_000", "JsonResponse"),
    ]:
        assert found[row, against]["verdict"] == "pass"
        assert found[row, against]["ours"] < found[row, against]["theirs"]
    for against in ("slices with OFFSET", "queryset.iterator()", "list(queryset)"):
        assert found["rows in chunks, a row: iter_rows/20_000", against]["theirs"] > 0


def test_save_costs_no_query(short_run: dict[str, Any]) -> None:
    """`save()` makes as many queries with oxicache as without, decorated members or not."""
    rows = [result for result in short_run["results"] if "queries added" in result["row"]]
    assert [(result["judged"], result["unit"]) for result in rows] == [(0, "queries")] * 2


def test_responses_are_compared_with_other_packages(short_run: dict[str, Any]) -> None:
    """Each row names cache_page on both backends, an API also the package for it; a held dashboard makes no query."""
    rows: dict[str, dict[str, Any]] = {}
    for result in short_run["results"]:
        rows.setdefault(result["row"], {})[result["against"].partition(":")[0]] = result
    pages = {"cache_page on LocMemCache", "cache_page on NativeCache"}
    for kind in ("hit, 1 kB, a user", "async miss, 100 kB", "whole request, 10 kB, a user"):
        assert rows[f"response, {kind}: cached_view on NativeCache"].keys() >= pages
    api = "response, list of 100 rows of Django REST framework"
    assert rows[f"{api}: cached_view on NativeCache"].keys() > pages
    assert any(
        name.startswith("drf-extensions") for name in rows[f"{api}, its method: cached_api on NativeCache"]
    )
    (asked,) = rows["response, dashboard of 15 queries, a user, queries of a hit"].values()
    assert (asked["ours"], asked["theirs"], asked["verdict"]) == (0, 15, "pass")


def test_invalidating_is_compared_with_other_packages(short_run: dict[str, Any]) -> None:
    """Each row judges ours, and names each rival with its figure or with the reason why it has none."""
    rows: dict[str, dict[str, Any]] = {}
    for result in short_run["results"]:
        rows.setdefault(result["row"], {})[result["against"]] = result
    for row, rivals in {
        "save() that invalidates, time added: 5 dependants": {"django-cacheops", "django-cachalot"},
        "invalidation of many: NativeCache.delete_by_tag/200": {"django-cacheops", "django-cachalot"},
        "invalidation of many: NativeCache.delete_pattern, finds 1 %/5_000": {"django-redis"},
    }.items():
        assert rivals <= {name.partition(":")[0] for name in rows[row]}
        assert all((":" in name) == (result["theirs"] is None) for name, result in rows[row].items())
        assert {result["verdict"] for result in rows[row].values()} & {"pass", "MISS"}
    assert "save() that invalidates, time added: 100 rules" in rows


def test_querysets_are_compared_with_other_packages(short_run: dict[str, Any]) -> None:
    """Each kind names every rival, with its figure or the reason why it has none; hits beside cacheops are judged."""
    rows: dict[str, dict[str, Any]] = {}
    for result in short_run["results"]:
        if result["row"].startswith("cached queryset, "):
            rows.setdefault(result["row"], {})[result["against"]] = result
    kinds = (
        "get()",
        "20 rows",
        "100 rows",
        "count()",
        "20 rows, select_related",
        "20 rows, prefetch_related",
    )
    assert {f"cached queryset, hit, {kind}" for kind in kinds} < rows.keys()
    rivals = {"Django alone", "django-cacheops", "django-cachalot", "django-cachalot on LocMemCache"}
    for row, results in rows.items():
        assert {name.partition(":")[0] for name in results} == rivals
        assert all((":" in name) == (result["theirs"] is None) for name, result in results.items())
        judged = {name for name, result in results.items() if result["verdict"]}
        assert judged == ({"django-cacheops"} & results.keys() if ", hit, " in row else set())


def test_querysets_are_measured_without_a_redis_too() -> None:
    """Where redis-server is not installed the rows say so, and compare what runs in the process."""
    finished = bench("--quick", "--rounds", "1", "--only", "cached queryset", "--json", "-", PATH="")
    assert finished.returncode == 0, finished.stderr
    figures = {result["against"]: result["theirs"] for result in json.loads(finished.stdout)["results"]}
    assert figures["Django alone"] > 0
    assert "django-cacheops: no redis-server" in figures


def test_an_empty_cache_is_no_worse_a_form(short_run: dict[str, Any]) -> None:
    """The dropdown is measured cold, too, and asks nothing when it is warm."""
    found = {result["row"]: result for result in short_run["results"] if result["row"].startswith("dropdown")}
    assert found["dropdown of 1_000 choices, cold"]["theirs"] > 0
    asked = found["dropdown of 1_000 choices, warm, queries"]
    assert (asked["ours"], asked["theirs"], asked["verdict"]) == (0, 1, "pass")


def test_invalidating_is_measured_without_a_redis_too() -> None:
    """Where redis-server is not installed the rows say so, and ours are judged."""
    finished = bench("--quick", "--rounds", "1", "--only", "invalidation of many", "--json", "-", PATH="")
    assert finished.returncode == 0, finished.stderr
    results = json.loads(finished.stdout)["results"]
    assert {"django-cacheops: no redis-server", "django-redis: no redis-server"} <= {
        result["against"] for result in results
    }
    assert all(result["ours"] > 0 and result["verdict"] in {"pass", "MISS"} for result in results)


@pytest.mark.skipif(sys.platform != "linux", reason="words are shared on Linux")
def test_visibility_is_measured_without_a_redis_too() -> None:
    """Where redis-server is not installed, the row says so and stands alone."""
    finished = bench("--quick", "--only", "seen by", "--json", "-", PATH="")
    assert finished.returncode == 0, finished.stderr
    (row,) = json.loads(finished.stdout)["results"]
    assert row["against"] == "Redis pub/sub: no redis-server"
    assert row["ours"] > 0
    assert row["theirs"] is None


def test_backends_are_measured_without_servers_too() -> None:
    """Where no server is installed, the row says so, and compares what runs in the process."""
    finished = bench(
        "--quick", "--rounds", "1", "--only", "NativeCache.get hit, small/", "--json", "-", PATH=""
    )
    assert finished.returncode == 0, finished.stderr
    run = json.loads(finished.stdout)
    figures = {result["against"]: result["theirs"] for result in run["results"]}
    assert figures["LocMemCache"] > 0
    without = {name for name, theirs in figures.items() if theirs is None}
    assert {"RedisCache: no redis-server", "PyMemcacheCache: no memcached"} <= without
    assert run["about"]["servers"] == "no redis-server, no memcached"


def test_two_implementations_of_lru_have_the_same_hits(short_run: dict[str, Any]) -> None:
    """TTLCache evicts exactly as another LRU does on every synthetic trace, and no policy beats the optimum."""
    assert short_run["hit_ratios"]
    for outcome in short_run["hit_ratios"]:
        ratios = outcome["ratios"]
        assert ratios["LRU"] == ratios["LRU (cachetools)"], outcome["trace"]
        assert max(ratios.values()) == ratios["optimum"], outcome["trace"]


def test_the_optimum_is_that_of_the_plain_algorithm(module: Loader) -> None:
    """The fast optimum counts as many hits as Belady's algorithm written out."""
    hit_ratio = module("hit_ratio")
    draw = random.Random(7)
    for _ in range(60):
        keys, capacity = draw.randint(2, 12), draw.randint(1, 8)
        trace = [draw.randrange(keys) for _ in range(draw.randint(1, 120))]
        held: set[int] = set()
        hits = 0
        for position, key in enumerate(trace):
            hits += key in held
            held.add(key)
            if len(held) > capacity:
                rest = trace[position + 1 :]
                held.remove(max(held, key=lambda one: rest.index(one) if one in rest else len(trace)))
        assert hit_ratio.optimal_hits(trace, capacity) == hits


@pytest.mark.parametrize(
    ("relation", "value", "verdict"),
    [
        ("<=", 1.25, "pass"),
        ("<=", 1.2501, "MISS"),
        ("<", 1.25, "MISS"),
        (">=", 1.25, "pass"),
        (">=", 1.24, "MISS"),
    ],
)
def test_a_target_is_judged_on_the_unrounded_figure(
    module: Loader, relation: str, value: float, verdict: str
) -> None:
    """A figure that only rounding brings to the limit misses it."""
    rows = module("rows")
    result = rows.Result("row", "dict", value, 1.0, 1.0, "ns", rows.Target(relation, 1.25))
    assert result.verdict == verdict


def test_the_less_favourable_of_net_and_gross_is_judged(module: Loader) -> None:
    """Taking the empty loop off never makes a row pass that fails with it."""
    timing = module("timing")
    samples = timing.Samples({timing.OVERHEAD: [10.0], "ours": [30.0], "dict": [20.0], "slow": [110.0]})
    assert samples.ratio("ours", "dict", net=True)[0] == 2.0
    assert samples.ratio("ours", "dict", net=False)[0] == 1.5
    assert samples.ratio("ours", "slow", net=True)[0] == 0.2


@pytest.mark.parametrize(
    ("unit", "limit", "judged"),
    [
        pytest.param("x", "<= 2x", "1.25x", id="ratio"),
        pytest.param("x faster", "<= 2x faster", "1.25x faster", id="speed"),
        pytest.param("us", "<= 2 us", "1.2 us", id="time"),
        pytest.param("queries", "<= 2 queries", "1.2 queries", id="count"),
    ],
)
def test_a_target_is_printed_in_its_unit(module: Loader, unit: str, limit: str, judged: str) -> None:
    """Limit and figure carry the unit that the target speaks of."""
    rows, report = module("rows"), module("report")
    target = rows.Target("<=", 2, unit)
    result = rows.Result("row", "rival", judged=1.25, ours=1, theirs=1, per="us", target=target, unit=unit)
    assert f"| {limit} | {judged} |" in report.markdown(
        report.Run("python benches/run.py", 15, False, [result], [], 0.0, 0.0)
    )


def test_a_target_in_nanoseconds_judges_the_time(module: Loader) -> None:
    """A row with such a target is held against its own time, loop included, and not against a ratio."""
    rows, timing = module("rows"), module("timing")
    contenders = [timing.Contender(name, "pass", {}, range(10)) for name in ("ours", "other")]
    row = rows.TimedRow("row", lambda: contenders, {"other": rows.Target("<=", 60, "ns")})
    (result,) = row.results(3, 1_000)
    assert result.unit == "ns"
    assert result.judged == result.ours
    assert result.spread[0] <= result.judged <= result.spread[1]


def test_a_target_of_a_speed_judges_how_often_ours_fits_into_theirs(module: Loader) -> None:
    """A row with such a target is held against theirs divided by ours, the less favourable of net and gross."""
    rows, timing = module("rows"), module("timing")
    contenders = [
        timing.Contender("ours", "pass", {}, range(10)),
        timing.Contender("other", "sum(range(100))", {}, range(10)),
    ]
    row = rows.TimedRow("row", lambda: contenders, {"other": rows.Target(">=", 1, "x faster")})
    (result,) = row.results(3, 1_000)
    assert result.unit == "x faster"
    assert result.judged == 1 / max(result.net, result.gross)
    assert result.spread[0] <= result.judged <= result.spread[1]


def test_callgrind_costs_are_summed_once(module: Loader) -> None:
    """A function's own lines count, and what its callees cost counts only on their lines."""
    lines = [
        "ob=(1) /usr/lib/libpython3.11.so",
        "fn=(1) dict_get",
        "10 5",
        "cob=(2) /x/_native.so",
        "cfn=(2) hash_it",
        "calls=1 20",
        "11 40",
        "+1 3",
        "ob=(2)",
        "fn=(2)",
        "20 40",
    ]
    costs = module("instructions").self_costs(lines)
    assert costs == {"dict_get (libpython3.11.so)": 8, "hash_it (_native.so)": 40}


def test_results_go_between_the_markers_of_a_page(module: Loader, tmp_path: Path) -> None:
    """A run replaces what stands between the markers and nothing else; a page without them is refused."""
    report = module("report")
    run = report.Run("python benches/run.py", 15, False, [], [], 0.0, 0.0)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", encoding="utf-8")
    report.write_markdown(run, page)
    written = page.read_text(encoding="utf-8")
    assert written.startswith(f"before\n{report.BEGIN}\n")
    assert written.endswith(f"{report.END}\nafter\n")
    assert "old" not in written
    page.write_text("somebody's text\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no place for results"):
        report.write_markdown(run, page)


def test_the_page_of_the_benches_has_a_place_for_results(module: Loader) -> None:
    """benches/README.md can take the results of a run."""
    report = module("report")
    page = (BENCHES / "README.md").read_text(encoding="utf-8")
    assert page.count(report.BEGIN) == page.count(report.END) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rounds", "5"], "at least 15"),
        (["--traces", "/nonexistent"], "no *.trace.xz"),
        (["--quick", "--only", "no such row"], "no row contains"),
    ],
    ids=["too few rounds", "no traces", "no row"],
)
def test_wrong_use_is_said(arguments: list[str], said: str) -> None:
    """Too few rounds for a median, a folder without traces and an unknown row exit with 2 and say why."""
    finished = bench(*arguments)
    assert finished.returncode == 2
    assert said in finished.stderr
