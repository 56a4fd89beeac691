"""DatabaseCache: rows of its table, found with LIKE, a batch at a time by their keys' order.

Which rows carry a tag is said by marker rows, whose key is the entry's with the tag's digest behind it: so a marker
comes after its entry in any order of text, and Django, which makes room by deleting the first keys, never deletes a
marker and leaves its entry. All of it goes to the database that the router names for writing, where nothing is behind.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.db import OperationalError, connections, router, transaction
from django.utils.timezone import now

from oxicache.django.enumerating.base import INDEX, Enumerating, each_tag, pages
from oxicache.django.enumerating.role import BATCH, Version
from oxicache.django.enumerating.spelling import Entry, Matcher, Spelling
from oxicache.errors import CannotTagError

__all__ = ["DatabaseEnumerator"]

COLUMN_CHARS: Final = 255  # of cache_key, as createcachetable makes it
DELETED_AT_ONCE: Final = 500  # parameters of one statement: SQLite takes 999, Oracle 1000
ATTEMPTS: Final = 3  # to store a row that others delete at the same moment
DIGEST_BYTES: Final = 8  # two tags with one digest: what carries either is deleted with the other
_is_marker = re.compile(f"{re.escape(INDEX)}[0-9a-f]{{{2 * DIGEST_BYTES}}}$").search


class DatabaseEnumerator(Enumerating):
    """A DatabaseCache. Inside a transaction it sees and does what other statements of it would."""

    def _made(self, cache: Any, spelling: Spelling, matcher: Matcher, batch: int) -> Iterator[list[str]]:
        table = _Table(cache)
        for keys in table.keys(spelling.around(matcher.coarse()), batch):
            yield [key for key in keys if not _is_marker(key)]

    def _remove(self, cache: Any, entries: Sequence[Entry]) -> int:
        return _Table(cache).delete([entry.made for entry in entries])

    def tag(self, key: Any, tags: Iterable[str], ttl: Any = DEFAULT_TIMEOUT, version: Any = None) -> None:
        """Have an entry that was stored for `ttl` seconds carry tags, beside those that it has. A row for each tag.

        These rows count for MAX_ENTRIES. After a `touch` that prolongs the entry, tag it again.
        """
        names, cache = each_tag(tags), self._cache_of()
        made = self._entry(cache, key, version).made
        markers = [made + self._ending(cache, name) for name in names]
        if markers and len(markers[0]) > COLUMN_CHARS:
            raise ValueError(
                f"a key that carries tags must leave {len(markers[0]) - len(made)} of the {COLUMN_CHARS} characters of "
                f"the column, and this one has {len(made)}: {made!r}"
            )
        for marker in markers:
            # False too where another one has just stored the same marker.
            if not cache._base_set("set", marker, True, ttl) and not _Table(cache).has(marker):
                raise CannotTagError(
                    self.alias, f"its table refused the row {marker!r}", "see the database's log"
                )

    def keys_of(self, tags: Iterable[str], version: Version = None) -> frozenset[str]:
        """Return the keys of live entries that carry one of the tags. O(rows)."""
        cache = self._cache_of()
        spelling, table = self._spelling(cache, version), _Table(cache)
        made = {_entry_of(marker) for marker in self._markers(cache, each_tag(tags))}
        live = [key for page in pages(made, DELETED_AT_ONCE) for key in table.live(page)]
        return frozenset(entry.key for key in live if (entry := spelling.read(key)) is not None)

    def delete_by_tag(self, tags: Iterable[str]) -> int:
        """Delete what carries one of the tags, of all versions; how many there were. O(rows)."""
        cache = self._cache_of()
        table, count = _Table(cache), 0
        for page in pages(self._markers(cache, each_tag(tags)), DELETED_AT_ONCE // 2):
            count += table.delete(list(dict.fromkeys(map(_entry_of, page))), besides=page)
        return count

    def _markers(self, cache: Any, tags: Iterable[str]) -> list[str]:
        table, found = _Table(cache), []
        for ending in [self._ending(cache, tag) for tag in tags]:
            for page in table.keys(("", ending), BATCH):
                found += [key for key in page if key.endswith(ending)]
        return found

    def _ending(self, cache: Any, tag: str) -> str:
        name = self._index_name(cache, tag).encode("utf-8", "surrogatepass")
        return INDEX + hashlib.blake2b(name, digest_size=DIGEST_BYTES).hexdigest()


def _entry_of(marker: str) -> str:
    return marker[: -len(INDEX) - 2 * DIGEST_BYTES]


class _Table:
    """The table of one cache, as SQL."""

    def __init__(self, cache: Any) -> None:
        self._connection: Any = connections[router.db_for_write(cache.cache_model_class)]
        quote = self._connection.ops.quote_name
        self._name, self._key, self._expires = quote(cache._table), quote("cache_key"), quote("expires")

    def keys(self, pieces: Sequence[str], batch: int) -> Iterator[list[str]]:
        """Yield the live keys that consist of the pieces, with anything in between; more, where text has no case."""
        operations = self._connection.ops
        like = f"{self._key} {self._connection.operators['startswith']}"
        pattern = "%".join(operations.prep_for_like_query(piece) for piece in pieces)
        last: list[str] = []
        while True:
            after = f"AND {self._key} > %s " if last else ""
            rows = self._select(
                f"{like} AND {self._expires} > %s {after}"
                f"ORDER BY {self._key} {operations.limit_offset_sql(0, batch)}",
                [pattern, self._now(), *last],
            )
            if rows:
                yield rows
            if len(rows) < batch:
                return
            last = rows[-1:]

    def live(self, keys: Sequence[str]) -> list[str]:
        """Return which of the keys are live."""
        return self._select(f"{self._among(keys)} AND {self._expires} > %s", [*keys, self._now()])

    def has(self, key: str) -> bool:
        """Whether there is such a row, live or not."""
        return bool(self._select(self._among([key]), [key]))

    def delete(self, keys: Sequence[str], besides: Sequence[str] = ()) -> int:
        """Delete rows; how many of the keys were live. What stands `besides` goes with them, and is not counted."""
        return sum(self._delete(page, besides) for page in pages(keys, DELETED_AT_ONCE))

    def _delete(self, keys: Sequence[str], besides: Sequence[str]) -> int:
        for _ in range(ATTEMPTS - 1):
            try:
                return self._delete_once(keys, besides)
            except OperationalError:
                # Two that delete the same rows may wait for each other: the server ends one of them.
                if self._connection.in_atomic_block:
                    raise
        return self._delete_once(keys, besides)

    def _delete_once(self, keys: Sequence[str], besides: Sequence[str]) -> int:
        live = f"{self._among(keys)} AND {self._expires} > %s"
        gone = [*keys, *besides]
        # Both at once: nobody can store an entry anew, and tag it, between its deletion and its marker's.
        with transaction.atomic(using=self._connection.alias), self._connection.cursor() as cursor:
            count = self._execute_delete(cursor, live, [*keys, self._now()])
            self._execute_delete(cursor, self._among(gone), gone)
        return count

    def _execute_delete(self, cursor: Any, where: str, parameters: Sequence[Any]) -> int:
        # Names are quoted and values are parameters, here and below.
        cursor.execute(f"DELETE FROM {self._name} WHERE {where}", parameters)  # noqa: S608
        return int(cursor.rowcount)

    def _among(self, keys: Sequence[str]) -> str:
        return f"{self._key} IN ({', '.join(['%s'] * len(keys))})"

    def _select(self, where: str, parameters: list[Any]) -> list[str]:
        with self._connection.cursor() as cursor:
            cursor.execute(f"SELECT {self._key} FROM {self._name} WHERE {where}", parameters)  # noqa: S608
            return [row[0] for row in cursor.fetchall()]

    def _now(self) -> Any:
        # As DatabaseCache itself compares: whole seconds, without a zone.
        return self._connection.ops.adapt_datetimefield_value(now().replace(microsecond=0, tzinfo=None))
