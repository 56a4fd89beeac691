"""How long it takes until another process sees an invalidation: by version words, and by a message through Redis.

One process invalidates while another does nothing but look: it spins over `is_current`, or blocks on its connection to
Redis. The time runs from before the call in the one until after the look in the other, by the monotonic clock, which
all processes of a host share.

    python benches/visibility.py words DIR     (what run.py starts; `redis PORT` is the other)
"""

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic_ns

from rows import Result

from oxicache import _native

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "python"))
import server_process

ROW = "invalidation seen by another process"
RIVAL = "Redis pub/sub"
NAMESPACE = "benches"
WORDS = 2**20
NAME = "row:benches.row:1"
HEAD_START_NS = 100_000  # for the other process to be in its loop, once it has said that it goes there
LOOKS = 200_000_000  # several seconds of looking: an invalidation that is not seen is an error, not a hang
PATIENCE = 10.0  # seconds, for Redis


def available() -> bool:
    """Whether processes can share version words here."""
    return sys.platform == "linux"


# ---------------------------------------------------------------- the process that looks


def watch_words(directory: str) -> None:
    """For each line read: look until the word moves, and print when that was seen."""
    _share(directory)
    for _ in sys.stdin:
        is_current = _native.capture([NAME]).is_current
        print("looking", flush=True)
        for _ in range(LOOKS):
            if not is_current():
                break
        else:
            sys.exit("the invalidation was not seen")
        print(monotonic_ns(), flush=True)


def watch_redis(port: str) -> None:
    """For each line read: wait for a message, and print when it came."""
    import redis

    with redis.Redis(port=int(port)) as client, client.pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe(NAME)
        channel.get_message(timeout=PATIENCE)  # that it is subscribed
        for _ in sys.stdin:
            print("looking", flush=True)
            if channel.get_message(timeout=PATIENCE) is None:
                sys.exit("the message did not come")
            print(monotonic_ns(), flush=True)


def _share(directory: str) -> None:
    found = _native.versions_share(directory, NAMESPACE, WORDS)
    if not found["shared"]:
        sys.exit(f"version words are not shared: {found['reason']}")


# ---------------------------------------------------------------- the process that invalidates


def _latencies(kind: str, where: str, invalidate: Callable[[], object], rounds: int) -> list[float]:
    command = [sys.executable, __file__, kind, where]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as watcher:  # noqa: S603 (this very file)
        assert watcher.stdin is not None
        assert watcher.stdout is not None
        found = []
        for _ in range(rounds):
            watcher.stdin.write("\n")
            watcher.stdin.flush()
            watcher.stdout.readline()
            ready = monotonic_ns() + HEAD_START_NS
            while monotonic_ns() < ready:
                pass
            started = monotonic_ns()
            invalidate()
            found.append(float(int(watcher.stdout.readline()) - started))
        watcher.stdin.close()
        return found


def _by_words(rounds: int) -> list[float]:
    with tempfile.TemporaryDirectory(prefix="oxicache-benches-") as directory:
        _share(directory)
        try:
            return _latencies("words", directory, lambda: _native.bump([NAME]), rounds)
        finally:
            _native.versions_keep_private(reason="the bench is over")


def _by_redis(rounds: int) -> list[float] | str:
    try:
        import redis
    except ImportError:
        return "no redis-py"
    try:
        with server_process.redis() as server, redis.Redis(port=server.port) as client:
            return _latencies("redis", str(server.port), lambda: client.publish(NAME, b""), rounds)
    except server_process.NoServerError:
        return "no redis-server"


def results(rounds: int) -> Iterator[Result]:
    """One result; without a Redis it says so, and stands alone."""
    words, messages = _by_words(rounds), _by_redis(rounds)
    ours = statistics.median(words)
    if isinstance(messages, str):
        yield Result(ROW, f"{RIVAL}: {messages}", judged=ours, ours=ours, theirs=None, per="ns", unit="ns")
        return
    theirs = statistics.median(messages)
    yield Result(ROW, RIVAL, judged=ours / theirs, ours=ours, theirs=theirs, per="ns", gross=ours / theirs)


if __name__ == "__main__":
    {"words": watch_words, "redis": watch_redis}[sys.argv[1]](sys.argv[2])
