"""What the dialects invalidate in one process is gone in the others, which were told nothing of its keys.

There tags, registries and patterns were those of one process, or of nobody: a new process found nothing.
"""

import shutil
import tempfile
from collections.abc import Iterator

import pytest
from cache_worker import CacheWorker, caching

PLATFORM = "oxicache.compat.enterpriseland"
MANAGER = "cache_manager.invalidate"
TAGS = "cache_manager.smart_invalidator.tag_invalidator.register_dependency"
BOT = "oxicache.compat.the_bot"
YOUTILITY = "oxicache.compat.youtility"


@pytest.fixture(scope="module")
def workers() -> Iterator[list[CacheWorker]]:
    """Two processes of one site."""
    folder = tempfile.mkdtemp(prefix="ox")
    with caching(folder) as started:
        yield started
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _empty(workers: list[CacheWorker]) -> None:
    workers[0].cache().do("clear")


class TestProcesses:
    def test_tags(self, workers: list[CacheWorker]) -> None:
        """A key whose tags one process has registered goes by a tag that another invalidates."""
        one, other = workers
        for key in ("a", "b"):
            one.cache().fill(key, "value")
        one.use(PLATFORM, TAGS, "a", ["user"])
        assert other.use(PLATFORM, MANAGER, "tag", tags=["user"]) == 0  # of its own it has none
        assert [one.cache().get(key) for key in ("a", "b")] == [None, "value"]

    def test_registering_tags_outdates_nothing(self, workers: list[CacheWorker]) -> None:
        """The other process keeps its own copy: else two that register would outdate each other for ever."""
        for worker in workers:
            worker.cache().fill("a", "value")
            worker.use(PLATFORM, TAGS, "a", ["user"])
        assert [worker.cache().get("a") for worker in workers] == ["value", "value"]
        workers[0].use(PLATFORM, MANAGER, "tag", tags=["user"])
        assert [worker.cache().get("a") for worker in workers] == [None, None]

    def test_a_regular_expression(self, workers: list[CacheWorker]) -> None:
        """The keys of the other process that match, and no others."""
        one, other = workers
        for key in ("user:1", "user:2", "superuser:1"):
            one.cache().fill(key, "value")
        other.use(PLATFORM, MANAGER, "pattern", pattern="^user:.*")
        assert [one.cache().get(key) for key in ("user:1", "user:2", "superuser:1")] == [None, None, "value"]

    def test_a_glob(self, workers: list[CacheWorker]) -> None:
        """As a pattern of a tenant."""
        one, other = workers
        keys = ["tenant:1:dashboard:metrics", "tenant:2:dashboard:metrics"]
        for key in keys:
            one.cache().fill(key, "value")
        other.use(YOUTILITY, "invalidate_cache_pattern", "dashboard", 1)
        assert [one.cache().get(key) for key in keys] == [None, "value"]

    def test_a_material(self, workers: list[CacheWorker]) -> None:
        """Its keys, and those below them."""
        one, other = workers
        keys = [f"thebot:production::materials:{rest}" for rest in ("list:page=1", "detail:7", "detail:8")]
        for key in keys:
            one.cache().fill(key, "value")
        other.use(BOT, "CacheInvalidator.invalidate_material", 7)
        assert [one.cache().get(key) for key in keys] == [None, None, "value"]
