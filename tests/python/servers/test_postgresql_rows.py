"""Row caches on PostgreSQL: two sessions of one database, in every order of a reader that fills and a writer."""

import itertools
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

django = pytest.importorskip("django")

from django.db import IntegrityError, OperationalError, transaction  # noqa: E402 -- needs Django, as the rest
from project.catalogue.models import Item, computed  # noqa: E402
from sessions import ALIAS, Session, Words, catalogue_database  # noqa: E402

from oxicache.django import invalidate, transactions  # noqa: E402

Pair = tuple[Session, Session]


@pytest.fixture(scope="module")
def database(postgresql_settings: dict[str, Any], django_databases: None) -> Iterator[dict[str, Any]]:
    """The catalogue's tables in a database of this module's own."""
    with catalogue_database(dict(postgresql_settings)):
        yield postgresql_settings


@pytest.fixture
def pair(database: dict[str, Any]) -> Iterator[Pair]:
    """A reader and a writer, of a row with pk 1 and price 10."""
    Item.objects.using(ALIAS).all().delete()
    Item.objects.using(ALIAS).create(pk=1, title="Shared", price=10)
    computed.clear()
    pair = Session(), Session()
    yield pair
    for session in pair:
        session.end()


class TestOrders:
    """The writer's steps in their order, the reader's read after any of them: each order of both."""

    STEPS: ClassVar = {
        "committed": (["begin", "save", "commit"], 100),
        "rolled back": (["begin", "save", "rollback"], 20),
        "savepoint released": (["begin", "begin", "save", "commit", "commit"], 100),
        "savepoint rolled back": (["begin", "begin", "save", "rollback", "commit"], 20),
        "savepoint released, rolled back": (["begin", "begin", "save", "commit", "rollback"], 20),
        "saved before a savepoint that is rolled back": (
            ["begin", "save", "begin", "invalidate", "rollback", "commit"],
            100,
        ),
        "updated and invalidated": (["begin", "update", "invalidate", "commit"], 100),
        "invalidated and updated": (["begin", "invalidate", "update", "commit"], 100),
    }

    def step(self, writer: Session, name: str) -> None:
        with writer:
            if name == "save":
                writer.save(1, 50)
            elif name == "update":
                Item.objects.using(ALIAS).filter(pk=1).update(price=50)
            elif name == "invalidate":
                invalidate(Item, 1, using=ALIAS)
            else:
                getattr(writer, name)()

    @pytest.mark.parametrize("in_transaction", [False, True], ids=["autocommit", "in a transaction"])
    @pytest.mark.parametrize("case", STEPS)
    def test_no_read_is_stale_or_uncommitted(self, pair: Pair, case: str, in_transaction: bool) -> None:
        """Until the commit the reader sees 20, and after it what was committed; the writer sees its own work."""
        reader, writer = pair
        steps, after = self.STEPS[case]
        for reads in itertools.product([False, True], repeat=len(steps) + 1):
            self.fill(writer)
            for step, is_read in itertools.zip_longest([None, *steps], reads):
                if step is not None:
                    self.step(writer, step)
                if is_read:
                    if in_transaction:
                        reader.begin()
                    is_over = step is not None and not writer.blocks
                    assert reader.doubled(1) == (after if is_over else 20), (reads, step)
                    if in_transaction:
                        reader.commit()
                    own = writer.item(1).price * 2
                    assert writer.doubled(1) == own, (reads, step)
            assert [reader.doubled(1), writer.doubled(1), reader.doubled(1)] == [after] * 3, reads

    def fill(self, writer: Session) -> None:
        writer.save(1, 10)
        assert writer.doubled(1) == 20


class TestSessions:
    def test_a_load_that_the_commit_overtakes_is_not_kept(self, pair: Pair) -> None:
        """It read before the commit and would store after it."""
        reader, writer = pair
        original = Item.unit

        def unit(item: Item) -> str:
            Item.unit = original  # type: ignore[method-assign]
            writer.begin()
            writer.save(1, 50)
            writer.commit()
            return original(item)

        Item.unit = unit  # type: ignore[method-assign]
        with reader:
            assert Item.objects.using(ALIAS).get(pk=1).priced() == "10 each"
            assert Item.objects.using(ALIAS).get(pk=1).priced() == "50 each"

    def test_a_transaction_that_sees_the_past_stores_none_of_it(self, pair: Pair) -> None:
        """With REPEATABLE READ it goes on seeing the database as its first statement found it."""
        reader, writer = pair
        with reader:
            block = transaction.atomic(using=ALIAS)
            block.__enter__()
            with reader.connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            assert Item.objects.using(ALIAS).get(pk=1).price == 10
        writer.save(1, 50)
        assert (reader.doubled(1), writer.doubled(1)) == (20, 100)
        with reader:
            block.__exit__(None, None, None)
        assert [reader.doubled(1), writer.doubled(1)] == [100, 100]

    def test_a_lock_is_no_write(self, pair: Pair) -> None:
        """SELECT FOR UPDATE leaves the transaction a reading one."""
        reader, _ = pair
        reader.begin()
        with reader:
            assert Item.objects.using(ALIAS).select_for_update().get(pk=1).price == 10
            assert not transactions.is_written(ALIAS)
        reader.commit()

    def test_a_statement_that_fails_in_a_savepoint(self, pair: Pair) -> None:
        """PostgreSQL goes on after the savepoint, and so do the caches."""
        _, writer = pair
        words = Words("row:catalogue.item:1")
        writer.begin()
        writer.begin()
        with writer, pytest.raises(IntegrityError):
            Item.objects.using(ALIAS).create(pk=1)
        writer.rollback()
        with writer:
            assert not transactions.is_written(ALIAS)
        writer.commit()
        assert words.moved == []

    def test_a_commit_that_is_refused(self, pair: Pair) -> None:
        """A deferred constraint fails at the commit: the database has the old row, and the next read computes it."""
        reader, writer = pair
        assert reader.doubled(1) == 20
        writer.begin()
        with writer:
            Item(pk=1, price=50, author_id="00000000000000000000000000000001").save(using=ALIAS)
            assert transactions.is_written(ALIAS)
            with pytest.raises(IntegrityError):
                writer.blocks.pop().__exit__(None, None, None)
            assert not transactions.is_written(ALIAS)
        assert [reader.doubled(1), writer.doubled(1)] == [20, 20]

    def test_a_connection_that_the_server_ends(self, pair: Pair) -> None:
        """What was written is rolled back by the server, and nothing stays bypassed."""
        reader, writer = pair
        assert reader.doubled(1) == 20
        writer.begin()
        writer.save(1, 50)
        with reader, reader.connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [writer.connection.connection.info.backend_pid])
        with writer, pytest.raises(OperationalError):
            writer.commit()
        assert reader.doubled(1) == 20
        with writer:
            writer.connection.close()
            assert not transactions.is_written(ALIAS)

    def test_a_manual_transaction(self, pair: Pair) -> None:
        """`set_autocommit(False)`: the commit by hand invalidates at once."""
        reader, writer = pair
        assert reader.doubled(1) == 20
        with writer:
            transaction.set_autocommit(False, using=ALIAS)
            writer.save(1, 50)
            assert (writer.doubled(1), reader.doubled(1)) == (100, 20)
            transaction.commit(using=ALIAS)
            assert (writer.doubled(1), reader.doubled(1)) == (100, 100)
            writer.save(1, 60)
            transaction.rollback(using=ALIAS)
            assert (writer.doubled(1), reader.doubled(1)) == (100, 100)
            transaction.rollback(using=ALIAS)  # of what was read since: psycopg refuses the switch otherwise
            transaction.set_autocommit(True, using=ALIAS)


WORKER = """
import sys
import django
from django.conf import settings
settings.DATABASES["default"] = {database!r}
django.setup()
from django.db import transaction
from project.catalogue.models import Item

block = None
for line in sys.stdin:
    command, _, value = line.strip().partition(" ")
    if command == "begin":
        block = transaction.atomic()
        block.__enter__()
    elif command == "save":
        Item(pk=1, title="Shared", price=int(value)).save()
    elif command == "update":
        Item.objects.filter(pk=1).update(price=int(value))
    elif command == "commit":
        block.__exit__(None, None, None)
    elif command == "rollback":
        block.__exit__(RuntimeError, RuntimeError(), None)
    elif command == "read":
        print(Item.objects.get(pk=1).doubled, flush=True)
        continue
    print("done", flush=True)
"""


class Worker:
    """A process of its own, told what to do line by line."""

    def __init__(self, folder: Path, database: dict[str, Any]) -> None:
        tests = Path(__file__).parents[2]
        settings = folder / "worker_settings.py"
        runtime = folder / "runtime"
        runtime.mkdir(exist_ok=True)
        settings.write_text(
            f'from project.settings import *\nOXICACHE = {{"RUNTIME_DIR": {str(runtime)!r}}}\n'
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WORKER).format(database=database)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(tests), str(folder)]),
                "DJANGO_SETTINGS_MODULE": "worker_settings",
            },
        )

    def tell(self, command: str) -> str:
        """Have it done, and return its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(command, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()

    def end(self) -> int:
        """Let it end; its exit code."""
        self.process.communicate(timeout=60)
        return self.process.returncode


def test_two_processes(database: dict[str, Any], tmp_path: Path) -> None:
    """What one worker commits the other reads next, and nothing before that."""
    Item.objects.using(ALIAS).all().delete()
    Item.objects.using(ALIAS).create(pk=1, title="Shared", price=10)
    reader, writer = (Worker(tmp_path, database) for _ in range(2))
    try:
        assert [one.tell("read") for one in (reader, writer)] == ["20", "20"]
        for steps, after in (
            (["begin", "save 50", "commit"], "100"),
            (["begin", "save 60", "rollback"], "100"),
            (["save 70"], "140"),
        ):
            before = reader.tell("read")
            for step in steps[:-1]:
                assert writer.tell(step) == "done"
                assert reader.tell("read") == before
            assert writer.tell(steps[-1]) == "done"
            assert [one.tell("read") for one in (reader, writer, reader)] == [after] * 3
        # Proof that the values above came from the caches: this change is seen by nobody.
        assert writer.tell("update 1") == "done"
        assert [one.tell("read") for one in (reader, writer)] == ["140", "140"]
    finally:
        assert [one.end() for one in (reader, writer)] == [0, 0]
