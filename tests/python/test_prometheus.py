"""The text for Prometheus, as prometheus-client's own parser reads it: every name, any cache, no line it refuses."""

import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from figures import cache_stats, histogram, one_process, pattern_stats, worker
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from oxicache import metrics, prometheus

Found = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Found:
    """Each sample by name and labels, as the reference parser reads it."""
    found: Found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def value(found: Found, name: str, **labels: str) -> float:
    return found[name, tuple(sorted(labels.items()))]


FULL = cache_stats(
    50,
    100,
    hits=90,
    misses=10,
    sets=10,
    evictions=3,
    expirations=4,
    invalidations=5,
    stale_hits=6,
    rejected=7,
    loads=8,
    load_errors=1,
    expired_entries=2,
    size_bytes=1000,
    max_bytes=4000,
    latency={"get": histogram([3, 1], seconds=0.004), "load": histogram([0, 8], seconds=0.5)},
    kind="django",
)
PATTERNS = {
    "django:default": [
        pattern_stats("user:*", hits=5, misses=1, sets=2, deletes=3, loads=4, load_seconds=0.5, bytes=6)
    ]
}


def full_snapshot() -> metrics.Snapshot:
    return metrics.merge(
        [worker(11, {"django:default": FULL}, PATTERNS, health={"rss_bytes": 2**20})], silent=[12]
    )


class TestNames:
    def test_every_figure_has_its_name(self) -> None:
        """Each figure of a cache is where docs/monitoring.md says it is."""
        found = parsed(prometheus.exposition(full_snapshot()))
        cache = {"cache": "django:default"}
        expected = {
            "oxicache_entries": 50,
            "oxicache_max_entries": 100,
            "oxicache_expired_entries": 2,
            "oxicache_utilization_ratio": 0.5,
            "oxicache_size_bytes": 1000,
            "oxicache_max_bytes": 4000,
            "oxicache_ttl_seconds": 3600,
            "oxicache_hits_total": 90,
            "oxicache_misses_total": 10,
            "oxicache_stale_hits_total": 6,
            "oxicache_sets_total": 10,
            "oxicache_evictions_total": 3,
            "oxicache_expirations_total": 4,
            "oxicache_invalidations_total": 5,
            "oxicache_rejected_total": 7,
            "oxicache_loads_total": 8,
            "oxicache_load_errors_total": 1,
            "cache_hit_rate": 0.9,
            "cache_response_time_ms": 1.0,
        }
        assert {name: value(found, name, **cache) for name in expected} == expected
        operations = {
            op: value(found, "cache_operations_total", op=op, **cache) for op in prometheus.OPERATIONS
        }
        assert operations == {"hit": 90, "miss": 10, "set": 10, "delete": 5}
        assert value(found, "oxicache_workers") == 2
        assert value(found, "oxicache_workers_answered") == 1
        assert value(found, "oxicache_enabled", pid="11") == 1
        assert value(found, "oxicache_resident_memory_bytes", pid="11") == 2**20

    def test_the_names_of_django_prometheus(self) -> None:
        """Dashboards made for django-prometheus find its names and its label; caches of no alias are not in them."""
        snapshot = metrics.merge([worker(1, {"django:default": FULL, "reports": cache_stats(hits=7)})])
        found = parsed(prometheus.exposition(snapshot))
        labels = {"backend": "oxicache", "cache": "django:default"}
        assert value(found, "django_cache_get_total", **labels) == 100
        assert value(found, "django_cache_get_hits_total", **labels) == 90
        assert value(found, "django_cache_get_misses_total", **labels) == 10
        assert sum(name == "django_cache_get_total" for name, _ in found) == 1

    def test_histograms_are_cumulative(self) -> None:
        """Each bucket counts what is below its bound, the last one everything; sum and count stand beside them."""
        found = parsed(prometheus.exposition(full_snapshot()))
        name, cache = "oxicache_get_duration_seconds", {"cache": "django:default"}
        buckets = {
            le: value(found, f"{name}_bucket", le=le, **cache) for le in ("0.001", "0.01", "1.0", "+Inf")
        }
        assert buckets == {"0.001": 3, "0.01": 4, "1.0": 4, "+Inf": 4}
        assert value(found, f"{name}_sum", **cache) == 0.004
        assert value(found, f"{name}_count", **cache) == 4

    def test_patterns(self) -> None:
        """Key patterns have the figures of their own, under the label `pattern`."""
        found = parsed(prometheus.exposition(full_snapshot()))
        labels = {"cache": "django:default", "pattern": "user:*"}
        names = ("hits", "misses", "sets", "deletes", "loads", "load_seconds", "set_bytes")
        assert [value(found, f"oxicache_pattern_{name}_total", **labels) for name in names] == [
            5,
            1,
            2,
            3,
            4,
            0.5,
            6,
        ]

    def test_what_is_not_known_has_no_sample(self) -> None:
        """No hit rate before the first read, no times before the first sample; no limit is infinite."""
        found = parsed(prometheus.exposition(one_process(c=cache_stats(ttl_seconds=None))))
        names = {name for name, _ in found}
        assert not names & {"cache_hit_rate", "cache_response_time_ms", "oxicache_size_bytes"}
        assert not any(name.startswith("oxicache_get_duration_seconds") for name in names)
        assert value(found, "oxicache_max_bytes", cache="c") == math.inf
        assert value(found, "oxicache_ttl_seconds", cache="c") == math.inf

    def test_no_worker(self) -> None:
        """Without workers that is said, and nothing else."""
        assert parsed(prometheus.exposition(metrics.merge([]))) == {
            ("oxicache_workers", ()): 0,
            ("oxicache_workers_answered", ()): 0,
        }


class TestForm:
    def test_the_table_of_the_documentation(self) -> None:
        """docs/monitoring.md lists the names that are written, and no others."""
        page = (Path(__file__).resolve().parents[2] / "docs" / "monitoring.md").read_text()
        table = page.partition("prometheus.families_table -->\n")[2].partition("<!-- metrics: end")[0]
        assert table.strip() == prometheus.families_table().strip()

    def test_the_alerts_of_the_documentation_use_names_that_exist(self) -> None:
        """An alert on a name that nobody writes would never fire."""
        page = (Path(__file__).resolve().parents[2] / "docs" / "monitoring.md").read_text()
        named = set(re.findall(r"\b(?:oxicache|django_cache)_[a-z_]+", page.partition("### Alerts")[2]))
        known = {family.name for family in prometheus.FAMILIES}
        assert named
        assert {name.removesuffix("_bucket") for name in named} <= known

    def test_each_family_is_announced_once_and_stands_together(self) -> None:
        """HELP and TYPE stand once before the samples of a family, which no other family interrupts."""
        text = prometheus.exposition(full_snapshot())
        announced = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
        assert announced == [family.name for family in prometheus.FAMILIES]
        assert Counter(re.findall(r"^# HELP (\S+)", text, re.MULTILINE)) == Counter(announced)
        current = ""
        for line in text.splitlines():
            if line.startswith("# TYPE"):
                current = line.split()[2]
            elif not line.startswith("#"):
                assert re.match(rf"{current}(_bucket|_sum|_count)?[ {{]", line)

    def test_counters_end_in_total_and_nothing_else_does(self) -> None:
        """The suffix says what may be given to rate()."""
        for family in prometheus.FAMILIES:
            assert family.name.endswith("_total") == (family.kind == "counter")

    def test_samples_have_the_labels_that_are_listed(self) -> None:
        """What the table of the documentation says of labels is what is written."""
        snapshot = full_snapshot()
        for family in prometheus.FAMILIES:
            for _, labels, _ in family.samples(prometheus._source(snapshot, False)):
                assert set(labels) - {"le"} == set(family.labels)

    @given(st.dictionaries(st.text(), st.text(max_size=20), min_size=1, max_size=4))
    def test_any_name_survives(self, names: dict[str, str]) -> None:
        """Quotes, backslashes, line ends, emptiness, any script: the parser reads back the name that was written."""
        caches: dict[str, Any] = {name: cache_stats(number) for number, name in enumerate(names)}
        patterns = {name: [pattern_stats(pattern, hits=3)] for name, pattern in names.items()}
        found = parsed(prometheus.exposition(metrics.merge([worker(1, caches, patterns)])))
        for number, (name, pattern) in enumerate(names.items()):
            assert value(found, "oxicache_entries", cache=name) == number
            assert value(found, "oxicache_pattern_hits_total", cache=name, pattern=pattern) == 3

    @pytest.mark.parametrize(
        "name", ["\ud800", 'a"} 1\nevil_total 5', "\\n", "\r", " ", "{}", "a,b=c", "\u2028"]
    )
    def test_hostile_names_break_no_line(self, name: str) -> None:
        """A name cannot end its label or its line, and the text is always UTF-8."""
        text = prometheus.exposition(one_process(**{"ok": cache_stats(), name: cache_stats(1)}))
        text.encode()
        found = parsed(text)
        assert sum(metric == "oxicache_entries" for metric, _ in found) == 2
        assert not any(metric.startswith("evil") for metric, _ in found)

    @given(st.floats(allow_nan=False))
    def test_numbers_are_exact(self, number: float) -> None:
        """What is written is what is read, to the last bit."""
        assert float(prometheus._number(number)) == number


class TestProcesses:
    def test_by_process(self) -> None:
        """Each worker's series are its own, so that a counter never falls when another worker ends."""
        snapshot = metrics.merge(
            [
                worker(1, {"a": cache_stats(hits=1)}, {"a": [pattern_stats("x", hits=1)]}),
                worker(2, {"a": cache_stats(hits=2)}),
            ]
        )
        found = parsed(prometheus.exposition(snapshot, by_process=True))
        assert [value(found, "oxicache_hits_total", cache="a", pid=pid) for pid in "12"] == [1, 2]
        assert value(found, "oxicache_pattern_hits_total", cache="a", pattern="x", pid="1") == 1
        assert value(parsed(prometheus.exposition(snapshot)), "oxicache_hits_total", cache="a") == 3

    def test_sensitive_patterns_are_not_named(self) -> None:
        """Of a sensitive cache the name alone is shown; what its patterns counted goes to "other"."""
        snapshot = one_process({"c": [pattern_stats("secret:*", hits=4)]}, c=cache_stats())
        for by_process in (False, True):
            text = prometheus.exposition(snapshot, by_process=by_process, sensitive=["c"])
            assert "secret" not in text
            assert re.search(r'oxicache_pattern_hits_total\{cache="c",pattern="other".*\} 4', text)
