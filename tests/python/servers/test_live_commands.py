"""What is invalidated by hand in a running site: gunicorn's workers, a Redis beside them, jobs for later."""

import json
import os
import subprocess
import sys

import pytest
import server_process
from site_worker import SiteWorker, a_site
from web_servers import Server, await_, gunicorn, site

from oxicache import operations
from oxicache.selection import Selection
from oxicache.sites import Site

LIMIT_SECONDS = 60  # only a hang reaches it
NATIVE = "oxicache.django.backends.NativeCache"


def manage(server: Server, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A command of the site that the server runs, off a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "django", *arguments],
        capture_output=True,
        text=True,
        env=server.site.environment,
        stdin=subprocess.DEVNULL,
        timeout=LIMIT_SECONDS,
        check=False,
    )


def size(server: Server) -> int:
    """How many entries the workers hold together."""
    found = operations.stats(Site(folders=(server.site.sockets,)))
    return int(found.caches["live"]["size"])


class TestGunicorn:
    def test_patterns_reach_all_workers(self) -> None:
        """A dry run counts and leaves it; then it goes, and both have confirmed it."""
        pytest.importorskip("gunicorn")
        with site() as place, gunicorn(place, "--workers", "2") as server:
            server.reach(2)
            dry = manage(server, "manage_cache", "invalidate", "--pattern", "^ke", "--dry-run", "--json")
            assert json.loads(dry.stdout)["would_remove"]["live"] == 2
            assert size(server) == 2
            done = manage(server, "invalidate_caches", "--pattern", "key", "--alias", "default")
            assert done.returncode == 0, done.stderr
            assert size(server) == 2  # of an alias alone
            done = manage(server, "manage_cache", "invalidate", "--pattern", "^ke")
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout.startswith(
                "Invalidated 2 cache entries\n  pattern: 2 entries\n2 of 2 workers "
            )
            assert size(server) == 0

    def test_one_worker_does_a_job_for_all(self) -> None:
        """It is asked once, and the others are reached by what it does."""
        pytest.importorskip("gunicorn")
        with site() as place, gunicorn(place, "--workers", "2") as server:
            pids = server.reach(2)
            report = operations.schedule(
                Site(folders=(server.site.sockets,)), Selection(globs=("ke*",)), 0.1, foreign=False
            )
            assert report.pid in pids
            await_(lambda: size(server) == 0, "the job is done in both workers")

    def test_a_job_is_handed_over_and_taken_back(self) -> None:
        """From a shell, in minutes; the id is what takes it back."""
        pytest.importorskip("gunicorn")
        with site() as place, gunicorn(place, "--workers", "2") as server:
            server.reach(2)
            done = manage(server, "manage_cache", "invalidate", "--tags", "a", "--schedule", "5", "--json")
            assert done.returncode == 0, done.stderr
            job = json.loads(done.stdout)["scheduled"]
            back = manage(server, "manage_cache", "invalidate", "--cancel", job)
            assert back.stdout.startswith(f"Cancelled job {job} of worker ")
            again = manage(server, "manage_cache", "invalidate", "--cancel", job)
            assert (again.returncode, again.stderr) == (
                1,
                f"CommandError: No live worker that answered has the job {job}\n",
            )

    def test_nobody_is_there_to_take_a_job(self) -> None:
        """Exit code 1, and said: nothing would happen in five minutes."""
        with a_site() as place:
            done = place.manage("manage_cache", "invalidate", "--tags", "a", "--schedule", "5")
        assert done.returncode == 1
        assert done.stdout.startswith("No live worker of this site was found in ")
        assert done.stderr == (
            "CommandError: Nothing was scheduled: no live worker took the invalidation of tag 'a'\n"
        )


class TestRedisBesideThem:
    @pytest.fixture
    def place(self, redis_server: server_process.Listening) -> dict[str, dict[str, object]]:
        """Settings of a site with a NativeCache and a Redis."""
        redis = {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"redis://{redis_server.host}:{redis_server.port}/9",
            "KEY_PREFIX": f"commands{os.getpid()}",
        }
        return {"default": {"BACKEND": NATIVE}, "redis": redis}

    def test_both_are_reached(self, place: dict[str, object]) -> None:
        """The workers' own and the server's entries, by pattern and by tag of a whole segment."""
        with a_site(CACHES=place) as site_, site_.serving(1) as (worker,):
            for alias in ("default", "redis"):
                for key in ("tenant:1:dashboard:x", "tenant:2:dashboard:x", "tenant:1:other"):
                    worker.ask("call", alias, "set", [key, 1], {})
            dry = site_.manage("invalidate_caches", "--pattern", "dashboard", "--tenant-id", "1", "--dry-run")
            assert "django:default        1\nredis                 1\ntogether              2\n" in dry.stdout
            done = site_.manage("invalidate_caches", "--pattern", "dashboard", "--tenant-id", "1")
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout.startswith("\u2713 Cleared 2 cache keys\n  in redis: 1 entries\n")
            assert left(worker) == [["tenant:2:dashboard:x", "tenant:1:other"]] * 2
            done = site_.manage("invalidate_caches", "--all", "--noinput")
            assert done.returncode == 0, done.stderr
            assert left(worker) == [[], []]

    def test_a_redis_that_is_down(self, place: dict[str, dict[str, object]]) -> None:
        """The workers are done; the exit code is 1, and the message names the alias."""
        place["redis"]["LOCATION"] = "redis://127.0.0.1:1/0"
        with a_site(CACHES=place) as site_, site_.serving(1) as (worker,):
            worker.ask("call", "default", "set", ["a:k", 1], {})
            done = site_.manage("invalidate_caches", "--pattern", "a")
            assert done.returncode == 1
            assert done.stdout.startswith("\u2713 Cleared 1 cache keys\n  redis: ")
            assert done.stderr.startswith("CommandError: redis: ")
            assert "Traceback" not in done.stderr


def left(worker: SiteWorker) -> list[list[str]]:
    """What the NativeCache and the Redis hold of the keys of the test above."""
    keys = ("tenant:1:dashboard:x", "tenant:2:dashboard:x", "tenant:1:other")
    return [
        [key for key in keys if worker.ask("call", alias, "get", [key], {}) is not None]
        for alias in ("default", "redis")
    ]
