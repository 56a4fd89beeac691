"""What the guard against leftovers sees of Django, and how the next test is spared."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.signals import request_finished
from django.db import connection, transaction
from django.db.models.signals import post_save
from django.test import override_settings
from django.utils import timezone, translation
from django_leftovers import django_state, remove_rows, unwatch
from leftovers import State, changes

from oxicache.django import signals


def seen() -> State:
    found: State = {}
    django_state(found)
    return found


@contextmanager
def row() -> Iterator[None]:
    Group.objects.create(name="left")
    yield
    remove_rows()


@contextmanager
def receiver(signal: Any, **options: Any) -> Iterator[None]:
    signal.connect(seen, **options)
    yield
    signal.disconnect(seen, **options)


@pytest.mark.parametrize(
    ("left", "name"),
    [
        (row(), "rows in default auth_group"),
        (receiver(request_finished), "receivers of request_finished"),
        (receiver(post_save, sender=Group), "receivers of post_save"),
        (transaction.atomic(), "connection default is in a transaction"),
        (connection.execute_wrapper(lambda execute, *args: execute(*args)), "connection default wrappers"),
        (override_settings(USE_TZ=False), "how settings are overridden"),
        (translation.override("de"), "language"),
        (timezone.override("Asia/Tokyo"), "time zone"),
    ],
    ids=["row", "receiver", "of a model", "block", "wrapper", "settings", "language", "zone"],
)
def test_what_is_seen(left: AbstractContextManager[None], name: str) -> None:
    """While it is there it has a name, and afterwards nothing has."""
    before = seen()
    with left:
        assert [text for text in changes(before, seen()) if text.startswith(name)]
    assert changes(before, seen()) == {}


def test_who_watches_a_model_of_django_ends_with_his_file() -> None:
    """Rules of the next file find it as Django has it."""
    signals.watch(Group)
    assert post_save.has_listeners(Group)
    unwatch()
    assert not post_save.has_listeners(Group)
    assert Group not in signals._watched
