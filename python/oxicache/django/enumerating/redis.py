"""Redis and Valkey: Django's RedisCache, and django-redis with each of its clients. SCAN and UNLINK, never KEYS.

What carries a tag stands in one sorted set for each tag and server, scored by when it expires, in milliseconds of the
server's clock; members that are over are forgotten when others come. Each step is one script, so that nothing is tagged
between two halves of it.
"""

import math
import weakref
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.redis import RedisCacheClient

from oxicache.django.enumerating.base import INDEX, Enumerating, each_tag, pages
from oxicache.django.enumerating.role import BATCH, Version
from oxicache.django.enumerating.spelling import Entry, Matcher, Spelling
from oxicache.errors import CannotEnumerateError, CannotTagError
from oxicache.keys import glob_literal

__all__ = ["DjangoRedisEnumerator", "RedisEnumerator"]

# A member, and for how many milliseconds it lives: "" for ever. The set lives for as long as its last member. Of those
# that are not over two are looked at, anywhere in the set, and forgotten where their entry is gone: so what is deleted
# or evicted by others never becomes much more than what is there.
TAG_SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local held = redis.call('ZCARD', KEYS[1])
for step = 1, math.min(held, 2) do
    local rank = (time[2] + step * 7919) % held
    local member = redis.call('ZRANGE', KEYS[1], rank, rank)[1]
    if member and redis.call('EXISTS', member) == 0 then redis.call('ZREM', KEYS[1], member) end
end
local score = '+inf'
if ARGV[2] ~= '' then score = now + ARGV[2] end
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not known or (known ~= 'inf' and (score == '+inf' or tonumber(known) < score)) then
    redis.call('ZADD', KEYS[1], score, ARGV[1])
end
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
if last == 'inf' then redis.call('PERSIST', KEYS[1])
else redis.call('PEXPIREAT', KEYS[1], string.format('%d', last)) end
"""

# Takes so many members at most out of the set, and deletes them. Answers how many existed, were taken, and are left.
DELETE_SCRIPT: Final = """
local members = redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1)
if #members == 0 then return {0, 0, 0} end
redis.call('ZREM', KEYS[1], unpack(members))
return {redis.call('UNLINK', unpack(members)), #members, redis.call('ZCARD', KEYS[1])}
"""


class Redis(Enumerating):
    """What is the same for all clients. Whatever a client does for reads, here it is the server that is written to."""

    repeats = True  # while a server enlarges its table

    @abstractmethod
    def _servers(self, cache: Any) -> Sequence[Any]:
        """Return a client of redis-py for each server that has keys of its own."""

    def _server_of(self, cache: Any, made: str) -> Any:  # noqa: ARG002 -- one signature for all
        """Return the client of the server that a made key is on."""
        return self._servers(cache)[0]

    def _made(self, cache: Any, spelling: Spelling, matcher: Matcher, batch: int) -> Iterator[list[str]]:
        glob = "*".join(map(glob_literal, spelling.around(matcher.coarse())))
        for server in self._servers(cache):
            for page in pages(server.scan_iter(match=glob, count=batch), batch):
                yield [text for one in page if (text := _text(one)) is not None]

    def _remove(self, cache: Any, entries: Sequence[Entry]) -> int:
        by_server: dict[int, tuple[Any, list[str]]] = {}
        for entry in entries:
            server = self._server_of(cache, entry.made)
            by_server.setdefault(id(server), (server, []))[1].append(entry.made)
        return sum(int(server.unlink(*made)) for server, made in by_server.values())

    def tag(self, key: Any, tags: Iterable[str], ttl: Any = DEFAULT_TIMEOUT, version: Any = None) -> None:
        """Have an entry that was stored for `ttl` seconds carry tags, beside those that it has.

        After a `touch` that prolongs the entry, tag it again: what is over by then no longer carries the tag.
        """
        names, cache = each_tag(tags), self._cache_of()
        seconds = self._seconds(cache, ttl)
        if seconds is not None and seconds <= 0:
            return
        made = self._entry(cache, key, version).made
        server = self._tagging(self._server_of(cache, made))
        left = "" if seconds is None else math.ceil(seconds * 1000)
        with server.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.eval(TAG_SCRIPT, 1, self._index_name(cache, name), made, left)
            pipeline.execute()

    def keys_of(self, tags: Iterable[str], version: Version = None) -> frozenset[str]:
        """Return the keys of live entries that carry one of the tags. O(these)."""
        names, cache = each_tag(tags), self._cache_of()
        spelling = self._spelling(cache, version)
        found: set[str] = set()
        for server in map(self._tagging, self._servers(cache)):
            members = {
                text
                for name in names
                for one in server.zrange(self._index_name(cache, name), 0, -1)
                if (text := _text(one)) is not None
            }
            for page in pages(members, BATCH):
                with server.pipeline(transaction=False) as pipeline:
                    for made in page:
                        pipeline.exists(made)
                    found.update(
                        made for made, exists in zip(page, pipeline.execute(), strict=True) if exists
                    )
        return frozenset(entry.key for made in found if (entry := spelling.read(made)) is not None)

    def delete_by_tag(self, tags: Iterable[str]) -> int:
        """Delete what carries one of the tags, of all versions; how many there were. O(these), 1000 at a time."""
        names, cache = each_tag(tags), self._cache_of()
        return sum(
            _delete_members(self._tagging(server), self._index_name(cache, name))
            for server in self._servers(cache)
            for name in names
        )

    def _tagging(self, server: Any) -> Any:
        """Return a server that scripts reach entries on. CannotTagError: not those of a cluster."""
        if hasattr(server, "nodes_manager"):
            raise CannotTagError(
                self.alias,
                f"{type(server).__name__} spreads keys over servers, and no script reaches those of several",
                "use a single server, or one for each shard",
            )
        return server


def _delete_members(server: Any, index: str) -> int:
    count, left = 0, 1
    total = None  # as it was at first: who tags all the time does not keep this from ending
    while left and (total is None or total > 0):
        removed, taken, left = map(int, server.eval(DELETE_SCRIPT, 1, index, BATCH))
        total = (taken + left if total is None else total) - taken
        count += removed
    return count


def _text(made: Any) -> str | None:
    """Return a key as text; None for what is no text, which is no key of Django's, and for a set of tags."""
    if isinstance(made, bytes):
        try:
            made = made.decode()
        except UnicodeDecodeError:
            return None
    text = str(made)
    return None if text.startswith(INDEX) else text


# One for each of Django's clients, which makes another for each call.
_clients: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


class RedisEnumerator(Redis):
    """Django's own RedisCache: the first of its servers, which the others follow."""

    def check(self) -> None:
        """Raise CannotEnumerateError for a client that chooses the server by key."""
        kind = type(self._cache_of()._cache)
        if kind.get_client is not RedisCacheClient.get_client:
            raise CannotEnumerateError(
                self.alias,
                f"{kind.__qualname__} has a `get_client` of its own, and which servers have which keys is not known",
                "say so with oxicache.django.enumeration.register_enumerator",
            )
        super().check()

    def _servers(self, cache: Any) -> Sequence[Any]:
        made = cache._cache
        client = _clients.get(made)
        if client is None:
            client = _clients[made] = made.get_client(None, write=True)
        return (client,)


class DjangoRedisEnumerator(Redis):
    """django-redis: the primary of a DefaultClient, HerdClient or SentinelClient, every server of a ShardClient."""

    def _maker(self, cache: Any) -> Any:
        return _ClientKeys(cache)

    def _servers(self, cache: Any) -> Sequence[Any]:
        client = cache.client
        if _is_sharded(client):
            return tuple(client._serverdict.values())
        return (client.get_client(write=True),)

    def _server_of(self, cache: Any, made: str) -> Any:
        client = cache.client
        return client.get_server(made) if _is_sharded(client) else client.get_client(write=True)


def _is_sharded(client: Any) -> bool:
    return hasattr(client, "_serverdict")


class _ClientKeys:
    """The keys that a client of django-redis makes, which may differ from those of its handler."""

    def __init__(self, cache: Any) -> None:
        self._client = cache.client
        self.version = cache.version

    def make_key(self, key: Any, version: Any = None) -> str:
        return str(self._client.make_key(key, version=version))
