"""The sides of a comparison that need a process each: which of them can be had here, and why the others cannot.

All wait, and one at a time takes a sample; who compares shuffles their order.
"""

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import backends  # finds the servers that tests start
import django
import server_process
from children import Child


@dataclass(frozen=True)
class Need:
    """The package that a side needs besides Django, whether it needs Redis too, and whether it is a rival's."""

    package: str
    is_served: bool = False
    is_rival: bool = True  # another project's: on a Django that it does not know it is left out


class Sides:
    """The processes that can be had, one for each side, and why the others cannot."""

    def __init__(
        self, script: str, needs: Mapping[str, Need], port: int | None, arguments: Sequence[object] = ()
    ) -> None:
        self.children: dict[str, Child] = {}
        self.absent: dict[str, str] = {}
        for name, need in needs.items():
            if find_spec(need.package) is None:
                self.absent[name] = f"no {need.package}"
            elif need.is_served and port is None:
                self.absent[name] = "no redis-server"
            else:
                child = Child(script, name, str(port or 0), *map(str, arguments))
                if child.first < 0:
                    child.end()
                    if not need.is_rival:
                        raise RuntimeError(f"{name} fails, as the lines above say")
                    self.absent[name] = f"fails on Django {django.get_version()}"
                else:
                    self.children[name] = child

    def time(self, name: str, task: str, count: int) -> float:
        """Microseconds of one run of a task, the mean of `count`."""
        return self.children[name].answer(f"{task} {count}") / count / 1_000

    def end(self) -> None:
        """Let all of them end."""
        for child in self.children.values():
            child.end()


@contextlib.contextmanager
def redis_port() -> Iterator[int | None]:
    """The port of a Redis of this bench's own; None where there is none."""
    if shutil.which(backends.REDIS.program) is None:
        yield None
        return
    with server_process.redis() as server:
        yield server.port
