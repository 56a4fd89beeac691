"""The version words that the processes of one host share: opened at the first capture or bump, looked after since.

Where they lie is said by conf.py. What they are captured for is in rows.py, what bumps them in transactions.py.
"""

import logging
import sys
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import request_started, setting_changed

from oxicache import _native
from oxicache.django import conf
from oxicache.versions import version_words

__all__ = ["begin", "bump", "capture", "failure", "in_test_environment", "refresh", "state"]

logger = logging.getLogger("oxicache")

SETTINGS = frozenset({conf.DICT, "SECRET_KEY"})  # what says where the words lie
DISPATCH_UID = "oxicache.django.host"

_wanted: list[bool] = []  # not empty once sharing was tried

capture = version_words.capture
bump = version_words.bump


def begin() -> None:
    """Have the words opened where the settings say, at their first use: not in a master that only forks."""
    version_words.opened_by(_open)
    setting_changed.connect(_reopen, dispatch_uid=DISPATCH_UID)


def state() -> dict[str, Any]:
    """What `_native.versions_state` says, once the words are open."""
    version_words.open()
    return _native.versions_state()


def failure() -> str | None:
    """Why the words are private although they were to be shared; None also while nobody has used them."""
    found = _native.versions_state()
    return None if found["shared"] or not _wanted else found["reason"]


def refresh(*_: object, **__: object) -> None:
    """Look whether the file is still the one at its path, at most once a second. Connected to requests and tasks."""
    if _native.versions_refresh():
        _say_replaced(_native.versions_state())


def in_test_environment() -> bool:
    """Whether Django's test environment is set up, by its own mark."""
    return hasattr(sys.modules.get("django.core.mail"), "outbox")  # made by setup_test_environment()


def _open() -> Callable[[], object]:
    settings = conf.current()
    if settings.test_isolation and in_test_environment():
        if _native.versions_state()["shared"]:
            _native.versions_keep_private(reason="Django's test environment is set up")
        _wanted.clear()
        return lambda: None
    words = settings.version_words
    try:
        namespace = conf.namespace()
    except ImproperlyConfigured as error:  # SECRET_KEY is empty, which some commands can do without
        _native.versions_keep_private(words, reason=str(error))
        found = _native.versions_state()
    else:
        found = _native.versions_share(conf.runtime_directory(), namespace, words)
    _wanted.append(True)
    if found["shared"]:
        _look_after()
    return lambda: _say(found)


def _look_after() -> None:
    request_started.connect(refresh, dispatch_uid=DISPATCH_UID)
    celery = sys.modules.get("celery.signals")  # a worker has loaded it before it sets Django up
    if celery is not None:
        celery.task_prerun.connect(refresh, weak=False, dispatch_uid=DISPATCH_UID)


def _reopen(*, setting: str, **_: object) -> None:
    if setting in SETTINGS:
        version_words.reopen()


def _say(found: dict[str, Any]) -> None:
    if not found["shared"]:
        logger.warning(
            "Invalidations do not reach other processes of this host: %s. Set %s[%r] to a directory that all of them "
            "may write, or set it right; `manage.py check` says more.",
            found["reason"],
            conf.DICT,
            "RUNTIME_DIR",
        )
    elif found["replaced"]:
        _say_replaced(found)


def _say_replaced(found: dict[str, Any]) -> None:
    logger.warning(
        "The version words of this host were replaced by new ones at %s: %s. What was cached before is stale.",
        found["path"],
        found["reason"],
    )
