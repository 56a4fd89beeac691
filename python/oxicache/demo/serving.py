"""gunicorn's configuration for the demo's site; read by gunicorn itself, as `--config python:...`."""

import ctypes
import signal
import sys
from typing import Any

workers = 2  # enough to see that each has caches of its own
worker_class = "sync"  # one request at a time, so that a request's hits and misses can be told apart
loglevel = "warning"
graceful_timeout = 3  # seconds; the longest page takes far less
proc_name = "oxicache-demo"
control_socket_disable = (
    True  # gunicorn 25.1 and later would leave a socket in the home directory; unknown before
)

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def on_starting(_server: Any) -> None:
    """Have the kernel end gunicorn when the demo is killed without a chance to do so."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
