"""What a live worker is asked to do in tests: work, hang, fork. As pages, and as functions that a task can call."""

import ctypes
import os
import warnings
from pathlib import Path
from typing import Any

from django.http import HttpRequest, JsonResponse

from oxicache import cache_manager

FOLDER = Path(os.environ.get("LIVE_FOLDER", "."))  # where a worker says that it is about to hang


def _hold(seconds: float) -> None:
    """Wait in C without giving the GIL away: nothing of Python runs in this process meanwhile."""
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


def work(hold: float = 0.0) -> dict[str, Any]:
    """Use a cache, and say who did."""
    cache = cache_manager.get_cache("live")
    cache.set("key", "value")
    found = cache.get("key")
    _hold(hold)  # long enough for the next request to go to another worker
    return {"pid": os.getpid(), "found": found}


def hang(seconds: float) -> None:
    """Hold the GIL for so long, and leave a file that says so beforehand."""
    (FOLDER / f"hangs-{os.getpid()}").touch()
    _hold(seconds)


def fork() -> dict[str, Any]:
    """Fork as a library may, and tell what Python warned of, and how the child ended."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        child = os.fork()
        if child == 0:
            os._exit(7)
        _, status = os.waitpid(child, 0)
    return {"warnings": [str(one.message) for one in caught], "ended": os.waitstatus_to_exitcode(status)}


def work_view(request: HttpRequest) -> JsonResponse:
    return JsonResponse(work(float(request.GET.get("hold", 0))))


def hang_view(request: HttpRequest) -> JsonResponse:
    hang(float(request.GET["seconds"]))
    return JsonResponse({"pid": os.getpid()})


def fork_view(request: HttpRequest) -> JsonResponse:
    return JsonResponse(fork() | {"pid": os.getpid()})
