"""`invalidate` by Selections and keywords: what it takes, when it takes effect, and who takes it back."""

# Long because all that entries can be named by is tried on the same caches.

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from asgiref.sync import sync_to_async
from django.core.cache import caches
from django.db import transaction
from django.test import TestCase, TransactionTestCase, override_settings
from project.catalogue.models import Author, Item

from oxicache import cache_manager, cached_function
from oxicache.django import ainvalidate, cancel, invalidate, schedule, scheduled
from oxicache.django.reaching import Reached
from oxicache.django.rules import register_rule
from oxicache.errors import CannotEnumerateError
from oxicache.invalidation import Rule
from oxicache.scheduling import Scheduler
from oxicache.selection import Selection
from oxicache.trail import trail

NATIVE = "oxicache.django.backends.NativeCache"
CACHES = {
    "default": {"BACKEND": NATIVE, "LOCATION": "entries"},
    "local": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "entries"},
    "files": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": "/nonexistent/entries",
    },
}


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    with override_settings(CACHES=CACHES):
        caches["default"].clear()
        caches["local"].clear()
        yield
    cache_manager.remove("entries")


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> "Hands":
    """Who runs the jobs of this process: nobody else does."""
    hands = Hands()
    monkeypatch.setattr("oxicache.scheduling.after", hands.scheduler.after)
    return hands


@pytest.fixture(autouse=True)
def _no_jobs_of_others() -> None:
    for waiting in scheduled():
        cancel(waiting.id)


class Hands:
    """A scheduler without a thread, and a clock moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.scheduler = Scheduler(clock=lambda: self.now, is_threaded=False)

    def at(self, now: float) -> int:
        """Let it be `now`; how many jobs ran."""
        self.now = now
        return self.scheduler.run_due()


def has(key: str = "a") -> list[bool]:
    """Whether the aliases that can be looked through have a key."""
    return [key in caches[alias] for alias in ("default", "local")]


def fill(*keys: str) -> None:
    for key in keys or ("a",):
        for alias in ("default", "local"):
            caches[alias].set(key, 1)


class TestWhatItTakes:
    @pytest.mark.parametrize(
        ("names", "gone"),
        [
            ({"keys": ["user:1"]}, {"user:1"}),
            ({"globs": ["user:?"]}, {"user:1"}),
            ({"prefix": "user:1"}, {"user:1", "user:1*", "user:12"}),
            ({"prefix": "user:1*"}, {"user:1*"}),
            ({"regex": "user:1$"}, {"user:1"}),
            ({"regex": ".*t:1:.*r:1"}, {"tenant:1:user:1"}),
            ({"tenant": 1}, {"tenant:1:user:1"}),
            ({"tenant": "1", "globs": ["user:*"]}, {"tenant:1:user:1"}),
            ({"tenant": 1, "prefix": "us"}, {"tenant:1:user:1"}),
            ({"tenant": 0}, set()),
            ({"tenant": 1, "keys": ["user:12"]}, {"user:12"}),
        ],
        ids=str,
    )
    def test_names(self, names: dict[str, Any], gone: set[str]) -> None:
        """Each kind of name removes what it names, and nothing else; as keywords and as a Selection."""
        keys = {"user:1", "user:12", "user:1*", "tenant:1:user:1", "tenant:10:user:1"}
        for given in ((), (Selection(**names),)):
            fill(*keys)
            reached = invalidate(*given) if given else invalidate(**names)
            assert {key for key in keys if has(key) == [False, False]} == gone
            assert {key for key in keys if has(key) == [True, True]} == keys - gone
            assert isinstance(reached, Reached)
            assert reached.total == 2 * len(gone)

    def test_models_and_rows(self) -> None:
        """A Selection may name models and rows beside entries."""
        item = Item.objects.create(title="x", price=1)
        try:
            assert item.doubled == 2
            Item.objects.update(price=5)
            assert item.doubled == 2
            fill()
            reached = invalidate(Selection(rows=(("catalogue.item", item.pk),), keys=("a",)))
            assert [item.doubled, *has()] == [10, False, False]
            assert reached.counts == {"dependency": None, "keys": 2}
            Item.objects.update(price=6)
            assert invalidate(models=["catalogue.Author"], cascade=True).counts == {"dependency": None}
            assert item.doubled == 12
        finally:
            item.delete()

    def test_rules(self) -> None:
        """What changed without a signal has its rules applied: rows, instances, querysets, Selections; and cascades."""
        item = Item.objects.create(title="x", price=1)
        undo = register_rule(Rule("catalogue.Item", keys="item:{pk}", name="of the test"))
        ways: list[Any] = [
            lambda: invalidate(Item, item.pk),
            lambda: invalidate("catalogue.item", [item.pk]),
            lambda: invalidate(item),
            lambda: invalidate(Item.objects.filter(pk=item.pk)),
            lambda: invalidate(Item),
            lambda: invalidate(Author, cascade=True),
            lambda: invalidate(rows=[("catalogue.Item", item.pk)]),
            lambda: invalidate(models=["catalogue.Item"], keys=["other"]),
            lambda: invalidate(models=["catalogue.Author"], cascade=True),
        ]
        try:
            for way in ways:
                fill(f"item:{item.pk}", "item")
                way()
                assert [has(f"item:{item.pk}"), has("item")] == [[False, False], [True, True]]
            fill(f"item:{item.pk}")
            invalidate(rows=[("catalogue.Item", item.pk)], aliases=["local"])
            assert has(f"item:{item.pk}") == [True, False]
            with override_settings(CACHE_INVALIDATION_ENABLED=False):
                invalidate(Item)
                invalidate(models=["catalogue.Item"])
            assert has(f"item:{item.pk}") == [True, False]
        finally:
            undo()
            item.delete()

    @pytest.mark.parametrize(
        ("names", "error", "said"),
        [
            ({}, ValueError, "nothing is selected"),
            ({"aliases": ["default"]}, ValueError, "nothing is selected"),
            ({"tags": "one"}, TypeError, "tags must be a sequence"),
            ({"tags": ["x" * 251]}, ValueError, "at most 250 characters"),
            ({"keys": [1]}, TypeError, "keys must hold str"),
            ({"globs": [""]}, ValueError, "empty"),
            ({"prefix": ""}, ValueError, "it would match every key"),
            ({"regex": "("}, ValueError, "regular expression"),
            ({"regex": r"(a)\1"}, ValueError, "linear time"),
            ({"regex": "a", "tenant": 1}, ValueError, "write the tenant itself"),
            (
                {"keys": ["a"], "aliases": ["nowhere"]},
                ValueError,
                "no alias of CACHES; these are: default, local, files",
            ),
            ({"globs": ["a"], "aliases": ["files"]}, CannotEnumerateError, "cannot be listed"),
            ({"tags": ["a"], "caches": ["django:files"]}, CannotEnumerateError, "cannot be listed"),
            ({"models": ["no.Model"]}, ValueError, "is no model"),
            ({"rows": [("catalogue.Item", "x")]}, ValueError, "is no primary key"),
            ({"colour": "red"}, TypeError, "colour"),
            ({"keys": ["a"], "delay": -1}, ValueError, "at least 0"),
            ({"keys": ["a"], "delay": "soon"}, TypeError, "number of seconds"),
            ({"keys": ["a"], "delay": 1e9}, ValueError, "from 0 to"),
        ],
        ids=str,
    )
    def test_wrong(self, names: dict[str, Any], error: type[Exception], said: str) -> None:
        """What is wrong is an error that names it, before anything was done; also of what is to be done later."""
        fill()
        with pytest.raises(error, match=said):
            invalidate(**names)
        with pytest.raises(error, match=said):
            invalidate(**{"delay": 60, **names})
        assert [has(), scheduled()] == [[True, True], []]

    def test_both(self) -> None:
        """A Selection and its fields, or rows and fields, do not go together."""
        with pytest.raises(TypeError, match="a Selection, or its fields"):
            invalidate(Selection(keys=("a",)), keys=["b"])
        with pytest.raises(TypeError, match="takes tags without rows"):
            invalidate(Item, tags=["a"])  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="takes delay without rows"):
            invalidate(Item, delay=1)  # type: ignore[call-overload]

    def test_a_named_cache(self) -> None:
        """`django:ALIAS` is an alias, any other name a named cache; nothing else is touched."""
        named = cache_manager.get_cache("entries", max_size=10)
        fill()
        named.set("a", 1)
        assert invalidate(keys=["a"], caches=["django:local"]).by_alias == {"local": 1}
        assert [*has(), "a" in named] == [True, False, True]
        assert invalidate(keys=["a"], caches=["entries"]).by_cache == {"entries": 1}
        assert [*has(), "a" in named] == [True, False, False]


class TestTransactions(TransactionTestCase):
    databases: ClassVar = {"default", "other"}  # type: ignore[misc]

    def test_at_the_commit(self) -> None:
        """Inside a transaction nothing goes until it is committed, and then all of it."""
        fill("a", "b")
        with transaction.atomic():
            reached = invalidate(keys=["a"])
            invalidate(regex="b")
            assert [has("a"), has("b")] == [[True, True], [True, True]]
            assert [reached.pending, reached.counts, reached.wait()] == [True, {}, False]
        assert [has("a"), has("b")] == [[False, False], [False, False]]

    def test_a_rollback(self) -> None:
        """What is rolled back invalidates nothing: a whole transaction, or one savepoint of it."""
        fill("a", "b", "c")
        with transaction.atomic():
            invalidate(keys=["a"])
            invalidate(regex="a")
            transaction.set_rollback(True)
        with transaction.atomic():
            with transaction.atomic():
                invalidate(keys=["b"])
                invalidate(regex="b")
                transaction.set_rollback(True)
            invalidate(globs=["c"])
        assert [has("a"), has("b"), has("c")] == [[True, True], [True, True], [False, False]]

    def test_of_another_database(self) -> None:
        """`using` says whose commit it waits for; without it, all that are open, whichever comes first."""
        fill("a", "b", "c")
        with transaction.atomic(using="other"):
            invalidate(keys=["a"], using="default")
            assert has("a") == [False, False]
            with transaction.atomic():
                invalidate(keys=["b"], using="other")
                invalidate(keys=["c"])
                assert [has("b"), has("c")] == [[True, True], [True, True]]
            assert [has("b"), has("c")] == [[True, True], [False, False]]
            fill("c")  # as it was before the other commit
        assert [has("b"), has("c")] == [[False, False], [False, False]]

    def test_of_another_thread(self) -> None:
        """A transaction of another thread is nothing to this one."""
        fill()
        with transaction.atomic():
            thread = threading.Thread(target=lambda: invalidate(keys=["a"]))
            thread.start()
            thread.join()
            assert has() == [False, False]

    def test_who_did_it(self) -> None:
        """The trail tells the line that asked, not the one that committed."""
        trail.clear()
        with transaction.atomic():
            invalidate(keys=["a"])
            asked = trail.note("test")
        assert asked is not None
        (event,) = [event for event in trail.events() if event["detail"] == "key 'a'"]
        assert event["where"].endswith(f":{asked[4] - 1}")

    def test_a_job(self) -> None:
        """A job of a transaction begins to wait at the commit; after a rollback there is none."""
        with transaction.atomic():
            invalidate(keys=["a"], delay=3600)
            (waiting,) = scheduled()
            assert waiting.due is None
        (waiting,) = scheduled()
        assert waiting.due is not None
        assert cancel(waiting.id)
        with transaction.atomic():
            invalidate(keys=["a"], delay=3600)
            transaction.set_rollback(True)
        assert scheduled() == []

    def test_async(self) -> None:
        """`ainvalidate` sees the transaction of the task's thread, and tells the trail the line that awaited it."""
        fill()
        trail.clear()

        async def run() -> None:
            await ainvalidate(keys=["a"])
            assert await sync_to_async(has)() == [False, False]
            await sync_to_async(fill)()
            await sync_to_async(transaction.set_autocommit)(autocommit=False)
            try:
                reached = await ainvalidate(Selection(keys=("a",)))
                assert reached.pending
                await sync_to_async(transaction.commit)()
            finally:
                await sync_to_async(transaction.set_autocommit)(autocommit=True)
            assert await sync_to_async(has)() == [False, False]
            assert await ainvalidate(Item, [1]) == 1

        asyncio.run(run())
        assert {event["where"].rpartition(":")[0] for event in trail.events() if event["detail"]} == {
            trail.events()[0]["where"].rpartition(":")[0]
        }
        assert "test_invalidate_entries.py" in trail.events()[0]["where"]


class TestInATest(TestCase):
    def test_the_blocks_of_a_test_do_not_count(self) -> None:
        """In Django's TestCase an invalidation is immediate, as everywhere."""
        fill()
        reached = invalidate(keys=["a"])
        assert [has(), reached.total] == [[False, False], 2]


class TestJobs:
    def test_later(self, hands: Hands) -> None:
        """Nothing goes until the delay is over; then it does, and the job is gone."""
        fill()
        reached = invalidate(keys=["a"], delay=timedelta(seconds=30))
        (waiting,) = scheduled()
        assert [waiting.id, waiting.what] == [reached.job, "key 'a'"]
        assert [reached.pending, reached.wait(), reached.total] == [True, False, 0]
        assert [hands.at(29.9), has()] == [0, [True, True]]
        assert [hands.at(30), has(), scheduled()] == [1, [False, False], []]

    def test_cancelled(self, hands: Hands) -> None:
        """A job that was taken back does nothing; one that was done, or never was, cannot be."""
        fill()
        job = schedule(30, Selection(keys=("a",)))
        assert [cancel(job), cancel(job), cancel("nobody's"), scheduled()] == [True, False, False, []]
        assert [hands.at(60), has()] == [0, [True, True]]
        done = schedule(0, Selection(keys=("a",)))
        assert [hands.at(60), has(), cancel(done)] == [1, [False, False], False]

    def test_in_order(self, hands: Hands) -> None:
        """Jobs are told of in the order in which they are due."""
        late, soon = schedule(60, Selection(keys=("a",))), schedule(30, Selection(tags=("b",)))
        assert [one.id for one in scheduled()] == [soon, late]
        assert [cancel(late), cancel(soon)] == [True, True]

    def test_who_asked(self, hands: Hands) -> None:
        """The trail tells the line that scheduled it, although another thread does it."""
        schedule(1, Selection(keys=("a",)))
        asked = trail.note("test")
        trail.clear()
        hands.at(1)
        assert asked is not None
        assert trail.events()[0]["where"].endswith(f"test_invalidate_entries.py:{asked[4] - 1}")

    def test_what_is_wrong_when_it_is_due(self, hands: Hands, caplog: pytest.LogCaptureFixture) -> None:
        """An alias that is gone by then is logged, and the thread goes on."""
        job = schedule(1, Selection(keys=("a",), aliases=("local",)))
        schedule(2, Selection(keys=("a",)))
        fill()
        with override_settings(CACHES={"default": CACHES["default"]}):
            assert hands.at(1) == 1
        assert hands.at(2) == 1
        assert has() == [False, False]
        assert f"job {job}" in caplog.text

    def test_only_selections(self) -> None:
        """Rows are scheduled by a Selection that names them."""
        with pytest.raises(TypeError, match="takes a delay and a Selection"):
            schedule(1, Item)  # type: ignore[arg-type]


class TestManyThreads:
    def test_at_the_same_time(self) -> None:
        """Threads that invalidate and load at once leave nothing that was loaded before the last invalidation."""
        version = [0]

        @cached_function(tags=["race"])
        def read() -> int:
            return version[0]

        stop = threading.Event()

        def load() -> None:
            while not stop.is_set():
                read()

        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for number in range(1, 200):
                version[0] = number
                invalidate(tags=["race"])
                assert read() == number
        finally:
            stop.set()
            for thread in threads:
                thread.join()
