"""How much memory is in use, in a container too; what 85 and 90 percent of it do to the caches."""

import logging
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oxicache import DELETION_SET, cache_manager, memory, testing
from oxicache.memory import Usage
from oxicache.thresholds import Thresholds

MEMINFO = (
    "MemTotal:        1000 kB\nMemFree:          100 kB\nMemAvailable:     400 kB\nHugePages_Total:       0\n"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A file system of its own, with a machine that has 600 of 1000 kB in use, and no control group."""
    write(tmp_path, "proc/meminfo", MEMINFO)
    write(tmp_path, "proc/self/cgroup", "0::/\n")
    return tmp_path


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def group(root: Path, path: str, limit: str, used: int, idle: int = 0) -> None:
    """A group of cgroup v2."""
    write(root, f"{path}/memory.max", f"{limit}\n")
    write(root, f"{path}/memory.current", f"{used}\n")
    write(root, f"{path}/memory.stat", f"anon 5\ninactive_file {idle}\nactive_file 7\n")


class TestUsage:
    def test_of_the_machine(self, root: Path) -> None:
        """Without a limit of its own a process has what the machine has; what is available is not in use."""
        assert memory.usage(root) == Usage(60.0, "meminfo")

    def test_of_a_container(self, root: Path) -> None:
        """The limit of the control group counts where it is nearer; pages that can be given back are not in use."""
        group(root, "sys/fs/cgroup", "1000", 950, idle=50)
        assert memory.usage(root) == Usage(90.0, "cgroup")

    def test_a_group_with_room_leaves_the_machine_to_count(self, root: Path) -> None:
        """The nearer of the two limits is the one that is reached first."""
        group(root, "sys/fs/cgroup", "1000", 100)
        assert memory.usage(root) == Usage(60.0, "meminfo")

    @pytest.mark.parametrize("limited", ["site.slice", "site.slice/worker.service"])
    def test_groups_above_count_too(self, root: Path, limited: str) -> None:
        """A service under a slice may reach the slice's limit first."""
        write(root, "proc/self/cgroup", "0::/site.slice/worker.service\n")
        for path in ("site.slice", "site.slice/worker.service"):
            group(root, f"sys/fs/cgroup/{path}", "1000" if path == limited else "max", 800)
        assert memory.usage(root) == Usage(80.0, "cgroup")

    def test_a_group_whose_path_is_the_hosts(self, root: Path) -> None:
        """In a container without a namespace of its own the path leads nowhere, and the mount is the group."""
        write(root, "proc/self/cgroup", "0::/docker/0123\n")
        group(root, "sys/fs/cgroup", "1000", 800)
        assert memory.usage(root) == Usage(80.0, "cgroup")

    def test_version_1(self, root: Path) -> None:
        """The older files say the same under other names, and write a huge number where there is no limit."""
        write(root, "proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/0123\n1:name=systemd:/y\n")
        base = "sys/fs/cgroup/memory"
        write(root, f"{base}/memory.limit_in_bytes", "9223372036854771712\n")
        write(root, f"{base}/memory.usage_in_bytes", "5\n")
        write(root, f"{base}/memory.stat", "inactive_file 1\ntotal_inactive_file 10\n")
        write(root, f"{base}/docker/0123/memory.limit_in_bytes", "100\n")
        write(root, f"{base}/docker/0123/memory.usage_in_bytes", "99\n")
        write(root, f"{base}/docker/0123/memory.stat", "inactive_file 1\ntotal_inactive_file 9\n")
        assert memory.usage(root) == Usage(90.0, "cgroup")

    @pytest.mark.parametrize(
        "text", ["", "MemTotal: x kB\n", "MemTotal: 5 kB\n", "MemTotal: 0 kB\nMemAvailable: 0 kB\n", "\n"]
    )
    def test_a_system_that_does_not_say(self, tmp_path: Path, text: str) -> None:
        """Files that are missing or of another form are no answer, and no error."""
        assert memory.usage(tmp_path) is None
        write(tmp_path, "proc/meminfo", text)
        assert memory.usage(tmp_path) is None

    def test_broken_groups_are_left_out(self, root: Path) -> None:
        """A group whose figures cannot be read does not hide the machine's."""
        group(root, "sys/fs/cgroup", "a lot", 100)
        assert memory.usage(root) == Usage(60.0, "meminfo")
        write(root, "sys/fs/cgroup/memory.max", "1000")
        (root / "sys/fs/cgroup/memory.current").unlink()
        assert memory.usage(root) == Usage(60.0, "meminfo")

    def test_psutil_is_asked_where_it_is_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of the machine psutil says what is available; a group of this very process may still be nearer."""
        psutil: Any = types.ModuleType("psutil")
        psutil.virtual_memory = lambda: types.SimpleNamespace(percent=99.9)
        monkeypatch.setitem(sys.modules, "psutil", psutil)
        assert memory.usage() == Usage(99.9, "psutil")

    def test_without_psutil(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """This very machine says how much it uses without it."""
        monkeypatch.setitem(sys.modules, "psutil", None)
        found = memory.usage()
        assert found is not None
        assert found.source in {"meminfo", "cgroup"}
        assert 0 < found.percent <= 100

    def test_this_process(self, tmp_path: Path) -> None:
        """What this process has in memory is more than a megabyte; a system without /proc does not say."""
        assert (memory.resident_bytes() or 0) > 2**20
        assert memory.resident_bytes(tmp_path) is None


@pytest.fixture
def caches() -> Iterator[Any]:
    """A cache with one expired and one live entry, in a process that has no other."""
    before = set(cache_manager.names())
    with testing.clock() as clock:
        cache = cache_manager.get_cache("pressed", ttl=60)
        cache.set("old", 1)
        clock.advance(60)
        cache.set("new", 2)
        yield cache
    for name in set(cache_manager.names()) - before:
        cache_manager.remove(name)


def looking(*percents: float | None) -> Any:
    """What is looked up first, second, ..."""
    found = iter(percents)

    def look() -> Usage | None:
        percent = next(found)
        return None if percent is None else Usage(percent, "cgroup")

    return look


class TestPressure:
    @pytest.mark.parametrize(
        ("percents", "action", "left"),
        [
            ((85.0,), "none", 2),
            ((85.1, 85.1), "cleanup", 1),
            ((90.0, 90.0), "cleanup", 1),
            ((90.1, 90.1), "clear", 0),
            ((95.0, 89.0), "cleanup", 1),
        ],
    )
    def test_what_is_done(self, caches: Any, percents: tuple[float, ...], action: str, left: int) -> None:
        """Above 85 percent the expired go; everything goes if it is still above 90 after that."""
        done = memory.handle_memory_pressure(look=looking(*percents))
        assert (done.action, done.percent, len(caches.keys()) + caches.stats()["expired_entries"]) == (
            action,
            percents[0],
            left,
        )
        if action != "none":
            assert done.cleaned["pressed"] == 1
            assert done.percent_after_cleanup == percents[1]
        assert ("pressed" in done.cleared) == (action == "clear")

    def test_the_limits_are_settings(self, caches: Any) -> None:
        """Other limits are passed at other figures."""
        limits = Thresholds(memory_high=50, memory_critical=60)
        assert memory.handle_memory_pressure(limits, look=looking(55, 55)).action == "cleanup"
        assert memory.handle_memory_pressure(limits, look=looking(65, 65)).action == "clear"

    def test_it_is_logged(self, caches: Any, caplog: pytest.LogCaptureFixture) -> None:
        """Each step is one line, in the document's words."""
        with caplog.at_level(logging.INFO, "oxicache.memory"):
            memory.handle_memory_pressure(look=looking(91, 91))
        assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
            "High memory usage",
            "Emergency cache cleanup",
            "Critical memory usage, clearing caches",
        ]

    def test_a_system_that_does_not_say(self, caches: Any, caplog: pytest.LogCaptureFixture) -> None:
        """Nothing is done where nothing is known, and that is said."""
        done = memory.handle_memory_pressure(look=looking(None))
        assert (done.action, done.percent, len(caches)) == ("unknown", None, 2)
        assert "does not say" in caplog.text

    def test_as_json(self, caches: Any) -> None:
        """What was done, as plain values."""
        assert memory.handle_memory_pressure(look=looking(10)).as_json() == {
            "action": "none",
            "percent": 10.0,
            "source": "cgroup",
            "cleaned": {},
            "percent_after_cleanup": None,
            "cleared": [],
        }


class TestMetrics:
    def test_the_documented_names_come_first(self, caches: Any) -> None:
        """000: totals, the tracker, then size, expired and utilization of each cache; ours follow."""
        weighed = cache_manager.get_cache("weighed", max_size=10, max_bytes=1000, sizeof=lambda key, value: 7)
        weighed.set("a", 1)
        with DELETION_SET.deleting(5):
            found = memory.collect_memory_metrics()
        assert list(found)[:5] == [
            "cache_total_entries",
            "cache_utilization_percent",
            "cache_count",
            "deletion_tracker_size",
            "deletion_tracker_timestamps",
        ]
        assert (found["deletion_tracker_size"], found["deletion_tracker_timestamps"]) == (1, 1)
        assert (found["cache_pressed_size"], found["cache_pressed_expired"]) == (2, 1)
        assert found["cache_weighed_utilization"] == 10.0
        assert found["cache_weighed_bytes"] == 7
        assert "cache_pressed_bytes" not in found
        assert found["process_resident_bytes"] > 2**20
        assert found["cache_count"] == len(cache_manager.names())
