"""What the loader has to know of database connections: is one in a transaction, and close those of this thread."""

from collections.abc import Iterable

from django.db import connections

from oxicache.django import host

__all__ = ["close_connections", "in_transaction", "invalidate_words"]


def in_transaction() -> bool:
    """Whether this thread has a transaction open, on any database. The ones that TestCase opens do not count.

    Somebody in a transaction may hold row locks that the one waited for needs.
    """
    for connection in connections.all(initialized_only=True):
        blocks = connection.atomic_blocks
        if any(not getattr(block, "_from_testcase", False) for block in blocks):
            return True
        # Without a block: `set_autocommit(False)`. Before it has connected, a connection's `autocommit` is False too.
        if not blocks and connection.connection is not None and not connection.autocommit:
            return True
    return False


def close_connections() -> None:
    """Close this thread's connections: those of a background thread belong to no request that would.

    One in a transaction stays open: a test runs background jobs in its own thread, and its transaction.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


def invalidate_words(names: Iterable[str], using: str | None = None) -> None:
    """Move words."""
    host.bump(names)
