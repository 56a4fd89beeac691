"""The test project for celery: `celery --app project.tasks worker`."""

import os
from typing import Any

from celery import Celery, shared_task

from project import live

app = Celery("project", broker=os.environ.get("LIVE_BROKER", "memory://"))
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_prefetch_multiplier = 1


@shared_task
def work(hold: float) -> dict[str, Any]:
    """Use a cache, and leave a file that says who did."""
    done = live.work(hold)
    (live.FOLDER / f"worked-{done['pid']}").touch()
    return done


@shared_task
def hang(seconds: float) -> None:
    """Hold the GIL for so long."""
    live.hang(seconds)
