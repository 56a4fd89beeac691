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

__all__ = ["begin", "begin_once", "bump", "capture", "failure", "in_test_environment", "refresh", "state"]

logger = logging.getLogger("oxicache")

SETTINGS = frozenset({conf.DICT, "SECRET_KEY"})  # what says where the words lie
DISPATCH_UID = "oxicache.django.host"
RETRY_SECONDS = (
    10  # a full disk or a missing directory must not part a worker from the others for as long as it lives
)

_begun: list[bool] = []  # not empty once somebody has
_wanted: list[bool] = []  # not empty once sharing was tried
_failed: list[float] = []  # at most one: when sharing failed last, while nothing is shared
_said: list[tuple[bool, int, str | None]] = []  # at most one: what the log knows of the words

capture = version_words.capture
bump = version_words.bump


def begin() -> None:
    """Have the words opened where the settings say, at their first use: not in a master that only forks."""
    _begun[:] = [True]
    version_words.opened_by(_open)
    setting_changed.connect(_reopen, dispatch_uid=DISPATCH_UID)


def begin_once() -> None:
    """`begin`, unless that was done: a backend may stand in CACHES with `oxicache.django` not among the apps."""
    if not _begun:
        begin()


def state() -> dict[str, Any]:
    """What `_native.versions_state` says, once the words are open."""
    version_words.open()
    return _native.versions_state()


def failure() -> str | None:
    """Why the words are private although they were to be shared; None also while nobody has used them."""
    found = _native.versions_state()
    return found["reason"] if _is_wanted() and not found["shared"] else None


def refresh(*_: object, **__: object) -> None:
    """Look whether the file is still the one at its path, at most once a second. Connected to requests and tasks."""
    if _is_wanted():
        if _failed and _native.now() - _failed[-1] >= RETRY_SECONDS:
            version_words.reopen()
            version_words.open()
        _native.versions_refresh()
        _say(_native.versions_state())  # also of a file that a bump found replaced


def in_test_environment() -> bool:
    """Whether Django's test environment is set up, by its own mark."""
    mail = sys.modules.get("django.core.mail")
    return mail is not None and "outbox" in vars(mail)  # made by setup_test_environment()


def _is_wanted() -> bool:
    return bool(_wanted) and not version_words.is_private


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
        _failed[:] = [] if found["shared"] else [_native.now()]
        _look_after()
    _wanted.append(True)
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
    """Log what is new about the words, once."""
    news = (found["shared"], found["replaced"], None if found["shared"] else found["reason"])
    if _said and _said[-1] == news:
        return
    before = _said[-1][1] if _said else 0
    _said[:] = [news]
    if not found["shared"]:
        logger.warning(
            "Invalidations do not reach other processes of this host: %s. Set %s['RUNTIME_DIR'] to a directory that "
            "this user may write, or see `manage.py check`.",
            found["reason"],
            conf.DICT,
        )
    elif found["replaced"] > before:
        logger.warning(
            "The version words of this host at %s were replaced: %s. What this process had cached of rows is stale.",
            found["path"],
            found["reason"],
        )
