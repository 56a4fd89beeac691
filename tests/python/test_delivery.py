"""What is invalidated in one worker is forgotten by the others: by version words, and by what they are told."""

import os
import signal

import pytest
from cache_worker import BACKEND
from live_sites import cache_name, live_pair, live_site, live_workers
from site_worker import SiteWorker, a_site

__all__ = ["cache_name", "live_pair", "live_site", "live_workers"]  # fixtures


class TestNamedCaches:
    """Values that no process shares: the others are told."""

    @pytest.mark.parametrize(
        ("names", "left"),
        [
            ({"keys": ["key:0", "key:2"]}, 1),
            ({"tags": ["spring"]}, 0),
            ({"globs": ["key:[01]"]}, 1),
            ({"prefix": "key:"}, 0),
        ],
        ids=["keys", "tags", "globs", "prefix"],
    )
    def test_the_others_forget(
        self, live_workers: list[SiteWorker], cache_name: str, names: dict[str, list[str]], left: int
    ) -> None:
        """What one worker invalidates its named caches lose, and those of the others; they confirm how much."""
        for worker in live_workers:
            worker.fill(cache_name, 3, tags=["spring"])
        is_done, removed, missing = live_workers[0].ask("invalidate", names)
        assert (is_done, missing) == (True, [])
        assert removed >= 3 - left  # other tests use these keys too
        assert [worker.size(cache_name) for worker in live_workers] == [left, left]

    def test_one_cache(self, live_workers: list[SiteWorker], cache_name: str) -> None:
        """A cache that is named is the only one that loses; a worker that has none of the name has confirmed."""
        for name in (cache_name, f"{cache_name}-other"):
            live_workers[1].fill(name, 3)
        names = {"keys": ["key:0"], "caches": [cache_name]}
        assert live_workers[0].ask("invalidate", names) == [True, 1, []]
        assert live_workers[1].size(cache_name) == 2
        assert live_workers[1].size(f"{cache_name}-other") == 3
        assert live_workers[0].ask("invalidate", {**names, "caches": ["nobody-has-this"]}) == [True, 0, []]

    def test_only_aliases(self, live_workers: list[SiteWorker], cache_name: str) -> None:
        """Where aliases of CACHES are named, no named cache loses anything."""
        live_workers[1].fill(cache_name, 3)
        live_workers[0].ask("invalidate", {"keys": ["key:0"], "aliases": ["default"]})
        assert live_workers[1].size(cache_name) == 3

    def test_many_names(self, live_workers: list[SiteWorker], cache_name: str) -> None:
        """What does not fit into one request goes in several."""
        live_workers[1].fill(cache_name, 100, max_size=100)
        keys = [f"key:{number}" for number in range(50)] + [f"{number}{'x' * 240}" for number in range(900)]
        assert live_workers[0].ask("invalidate", {"keys": keys})[::2] == [True, []]
        assert live_workers[1].size(cache_name) == 50

    def test_gathered(self, live_workers: list[SiteWorker], cache_name: str) -> None:
        """Nobody has to wait for it; and what is asked for within a few milliseconds is told at once."""
        teller, other = live_workers
        other.fill(cache_name, 100, max_size=100)
        teller.ask("count_requests")
        for number in range(20):
            teller.ask("announce", {"keys": [f"key:{number}"]})
        assert teller.ask("invalidate", {"keys": ["key:20"]})[0]
        assert other.size(cache_name) == 79
        assert teller.ask("rounds") <= 21


class TestStores:
    def test_a_store_is_left_to_its_words(self, cache_name: str) -> None:
        """A NativeCache whose processes share nothing keeps what another worker invalidates; named caches lose it."""
        apart = {"default": {"BACKEND": BACKEND, "OPTIONS": {"COHERENCE": "process"}}}
        with a_site(CACHES=apart) as site, site.serving(2) as (teller, other):
            for names in ({"keys": ["key:0"]}, {"globs": ["key:*"]}, {"tags": ["spring"]}):
                other.ask("call", "default", "set", ["key:0", 1], {"tags": ["spring"]})
                other.fill(cache_name, 1, tags=["spring"])
                assert teller.ask("invalidate", names) == [True, 1, []]
                assert other.ask("call", "default", "get", ["key:0"], {}) == 1
                assert other.size(cache_name) == 0


FORKING = """
import os, sys, warnings
warnings.simplefilter("error")
from oxicache.django import invalidate

invalidate(keys=["key:0"])  # is told by a thread, in a moment
pid = os.fork()
if pid == 0:
    from oxicache.django import delivery
    invalidate(keys=["key:1"])
    delivery.flush()
    os._exit(len(delivery._gathering))
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
invalidate(keys=["key:2"]).wait(30)
"""


class TestForks:
    def test_a_process_that_forks(self, cache_name: str) -> None:
        """What was gathered before a fork is told by the parent, what a child invalidates by the child."""
        with a_site() as site, site.serving(1) as (worker,):
            worker.fill(cache_name, 4)
            done = site.manage("shell", "-c", FORKING)
            assert [done.returncode, done.stderr] == [0, ""]
            assert worker.size(cache_name) == 1


class TestDecorated:
    def test_a_tag_reaches_every_process(self, live_workers: list[SiteWorker]) -> None:
        """What decorated callables hold under a tag is computed anew by every process at its next call."""
        for worker in live_workers:
            assert [worker.ask("report", "may"), worker.ask("report", "may")] == [1, 1]
        live_workers[0].ask("invalidate", {"tags": ["report:may"], "caches": ["nobody-has-this"]})
        assert [worker.ask("report", "may") for worker in live_workers] == [2, 2]
        live_workers[1].ask("invalidate", {"tags": ["report:june"]})
        assert [worker.ask("report", "may") for worker in live_workers] == [2, 2]

    def test_a_process_without_a_socket(self) -> None:
        """A tag reaches a process that nobody can ask, too: a command that runs."""
        with a_site(OXICACHE={"CONTROL": False}) as site, SiteWorker(site) as one, SiteWorker(site) as two:
            assert [one.ask("report", "may"), two.ask("report", "may")] == [1, 1]
            one.ask("invalidate", {"tags": ["report:may"]})
            assert [one.ask("report", "may"), two.ask("report", "may")] == [2, 2]


class TestWhoIsNotThere:
    def test_a_worker_that_hangs(self, cache_name: str) -> None:
        """A worker that does not answer is named; the others have confirmed, and the caller waits a second at most."""
        with a_site() as site, site.serving(3) as (teller, well, stuck):
            well.fill(cache_name, 3)
            os.kill(pid := stuck.pid, signal.SIGSTOP)
            try:
                assert teller.ask("invalidate", {"keys": ["key:0"]}) == [False, 1, [pid]]
            finally:
                os.kill(pid, signal.SIGCONT)
            assert well.size(cache_name) == 2

    def test_a_worker_that_died(self, cache_name: str) -> None:
        """A worker that was killed is none: everybody who lives has confirmed."""
        with a_site() as site, site.serving(3) as (teller, well, dead):
            well.fill(cache_name, 3)
            os.kill(dead.pid, signal.SIGKILL)
            assert teller.ask("invalidate", {"keys": ["key:0"]}) == [True, 1, []]

    def test_a_command(self, cache_name: str) -> None:
        """What a process invalidates that ends at once is told nevertheless."""
        with a_site() as site, site.serving(1) as (worker,):
            worker.fill(cache_name, 3)
            done = site.manage(
                "shell", "-c", "from oxicache.django import invalidate; invalidate(keys=['key:0'])"
            )
            assert [done.returncode, done.stderr] == [0, ""]
            assert worker.size(cache_name) == 2
