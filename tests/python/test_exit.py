"""The end of the interpreter, with caches alive and threads inside them: exit code 0 and nothing on stderr."""

import pytest
from child_process import check, run

# The raw methods leave a clock that follows `time.time`, as the plugin sets it, to their safe twins.
pytestmark = pytest.mark.oxicache_real_clock

DAEMONS = {
    "get": "cache.get('a')",
    "set": "cache.set('a', 1)",
    "miss": "cache.get('absent')",
    "churn": "cache.set(next(numbers), object())",
    "sweep": "cache.set('s', 1, ttl=1e-6); cache._cleanup_expired()",
    "python-key": "cache.set(Slow(1), 1); cache.get(Slow(1))",
    "python-value": "cache.set('a', Noisy())",
    "on-evict": "told.set('a', 1); told.delete('a')",
    "sizeof": "weighed.set('a', 1)",
    "views": "list(cache._cache.items()); cache._cache.pop('a', None); cache.stats()",
    "get-or-set": "cache.get_or_set(next(numbers), lambda: 1)",
    "memo": "memo(next(numbers) % 100)",
    "memo-property": "Model().shown",
    "manager": "manager.get_cache(str(next(numbers) % 50)).set('a', 1); manager.cleanup_all()",
    "tracker": "tracker.add(Slow(2)); tracker.discard(Slow(2))",
    "failing-callback": "failing.set('a', 1); failing.delete('a')",
    "deepcopy": "copied()",
    "hash-of-an-argument": "memo(Slow(3))",
    "list-argument": "memo(Listed([1]))",
    "keys-from-a-generator": "cache.get_many(slowly(20)); cache.delete_many(slowly(20))",
    "pairs-from-a-generator": "cache.set_many(Pairs())",
    "tags-from-a-generator": "cache.set('a', 1, 5, map(str, slowly(20)))",
    "index-of-a-ttl": "cache.set('a', 1, Slow(5))",
    "timedelta": "cache.set('a', 1, Delta(5))",
    "own-size": "counted.set('a', Slow(6))",
    "deleting-a-pk": "tracker.deleting(Slow(7))",
}

PRELUDE = """
import datetime, itertools, logging, sys, threading
import oxicache
from oxicache._native import CacheManager, Memo, MemoProperty, ProjectDeletionTracker, TTLCache

logging.disable(logging.CRITICAL)
sys.setswitchinterval(1e-6)
numbers = itertools.count()
cache, manager, tracker = TTLCache(50, 60), CacheManager(), ProjectDeletionTracker()
told = TTLCache(50, 60, on_evict=lambda key, value, cause: cache.get(key))
failing = TTLCache(50, 60, on_evict=lambda key, value, cause: 1 / 0)
weighed = TTLCache(50, 60, max_bytes=1000, sizeof=lambda key, value: sum([1, 2, 3]))

class Slow:
    def __init__(self, name):
        self.name = name
    def __hash__(self):
        return hash(str(self.name))
    def __eq__(self, other):
        return [self.name] == [other.name]
    def __deepcopy__(self, memo):
        return Slow(sum(range(300)))
    def __index__(self):
        return min(sum(range(number)) for number in range(3, 30)) + 2
    def __sizeof__(self):
        return sum(number for number in range(300)) % 7
    @property
    def pk(self):
        return max(number for number in range(300))

class Listed(list):
    def __iter__(self):
        return slowly(3)

class Pairs:
    def items(self):
        return zip(slowly(20), slowly(20))

class Delta(datetime.timedelta):
    def total_seconds(self):
        return sum(number for number in range(20))

def slowly(count):
    for number in range(count):
        for _ in range(300):
            pass
        yield number

class Noisy:
    def __del__(self, get=cache.get):
        get("a")

def load(key, args, kwargs, current):
    cache.set(key, 1)
    return 1

memo = Memo(lambda number: 1, cache, load, parameters=("number",))
slow_list = [Slow(number) for number in range(20)]
copied = Memo(lambda: 1, TTLCache(5, 60), lambda *call: slow_list, copy=True)
counted = TTLCache(50, 60, max_bytes=1000)

shown_values = TTLCache(50, 60)

def load_shown(key, args, kwargs, current):
    shown_values.set(key, 1)
    return 1

class Model:
    shown = MemoProperty(lambda self: 1, shown_values, load_shown)
"""


@pytest.mark.parametrize("doing", DAEMONS)
def test_daemon_threads_inside_the_cache(doing: str) -> None:
    """Daemon threads that never stop calling do not disturb the exit."""
    check(
        PRELUDE
        + f"""
started = threading.Barrier(4)

def work():
    started.wait()
    while True:
        {DAEMONS[doing]}

for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
started.wait()
for number in range(2000):
    cache.get(number)
"""
    )


def test_a_daemon_thread_that_waits_inside_python_code() -> None:
    """A daemon thread stopped inside `__eq__`, `compute` or `on_evict` is left behind quietly."""
    check(
        PRELUDE
        + """
never, inside = threading.Event(), threading.Semaphore(0)

def wait(*_anything):
    inside.release()
    never.wait()

class Waits:
    def __hash__(self):
        return 7
    def __eq__(self, other):
        wait()

waiting = TTLCache(5, 60, on_evict=wait)
cache.set(Waits(), 1)
waiting.set("a", 1)
for work in (
    lambda: cache.get(Waits()),
    lambda: cache.get_or_set("slow", wait),
    lambda: waiting.delete("a"),
    lambda: Memo(lambda: 1, TTLCache(5, 60), wait)(),
    lambda: [cache._lock.__enter__(), wait()],
):
    threading.Thread(target=work, daemon=True).start()
for _ in range(5):
    assert inside.acquire(timeout=60)
"""
    )


def test_live_caches_at_the_end() -> None:
    """Caches in module globals, in cycles and in managers go with the interpreter, callbacks and all."""
    check(
        PRELUDE
        + """
import builtins
cache.set("noisy", Noisy())
cache.set("itself", cache)
told.set("a", Noisy())
manager.get_cache("a").set("manager", manager)
oxicache._native.cache_manager.get_cache("global", on_evict=print).set("noisy", Noisy())
oxicache._native.DELETION_SET.add(Slow(1))
builtins.kept_to_the_very_end = TTLCache(5, 60, on_evict=lambda *gone: None)
builtins.kept_to_the_very_end.set("noisy", Noisy())
sys.modules["kept"] = cache
memo(1)
model = Model()
model.shown
block = tracker.deleting(1)
block.__enter__()
view = cache._cache
iterator = iter(cache)
"""
    )


def test_use_at_exit() -> None:
    """Functions registered with atexit may use every part."""
    said = check(
        PRELUDE
        + """
import atexit

@atexit.register
def last():
    cache.set("a", 1)
    assert cache.get("a") == 1
    assert memo(5) == 1
    assert cache.get_or_set("b", lambda: 2) == 2
    manager.get_cache("late").set("a", 1)
    assert manager.get_global_stats()["_global"]["total_caches"] == 1
    with tracker.deleting(7):
        assert 7 in tracker
    cache.clear()
    print("done", flush=True)
"""
    )
    assert said == "done\n"


def test_a_finaliser_that_uses_its_module_late() -> None:
    """A value's `__del__` that runs while modules are torn down may still call methods it holds."""
    check(
        PRELUDE
        + """
class Late:
    def __init__(self):
        self.calls = (cache.get, cache.set, cache.stats, manager.names, tracker.add, memo)
    def __del__(self):
        get, set, stats, names, add, memo = self.calls
        get("a"), set("b", 2), stats(), names(), add(3), memo(1)

kept = Late()
cache.set("late", Late())
cycle = [Late()]
cycle.append(cycle)
"""
    )


@pytest.mark.parametrize(
    "leave",
    [
        "cache.get_or_set('a', sys.exit)",
        "cache.get(Leaves())",
        "weighs.set('a', 1)",
        "Memo(lambda: 1, TTLCache(5, 60), lambda *call: sys.exit())()",
        "cache.get_many(sys.exit() for _ in range(1))",
    ],
)
def test_leaving_from_inside(leave: str) -> None:
    """SystemExit raised by code that the cache runs leaves the interpreter as anywhere else."""
    check(
        PRELUDE
        + f"""
class Leaves:
    def __hash__(self):
        return 7
    def __eq__(self, other):
        sys.exit()

weighs = TTLCache(5, 60, max_bytes=100, sizeof=lambda key, value: sys.exit())
cache.set(Leaves(), 1)
{leave}
raise AssertionError("not left")
"""
    )


def test_an_unhandled_error_is_told_as_ever() -> None:
    """The traceback of an error inside a callback path is Python's own, with exit code 1."""
    done = run(PRELUDE + "cache.get_or_set('a', lambda: 1 / 0)\n")
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("ZeroDivisionError: division by zero")
    assert "panicked" not in done.stderr


def test_importing_and_leaving() -> None:
    """The import alone starts nothing that outlives the program."""
    said = check(
        """
        import threading
        import oxicache._native
        print(threading.active_count())
        """
    )
    assert said == "1\n"
