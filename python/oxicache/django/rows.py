"""Rows of Django's models: what a value of one depends on, how it is loaded anew, and when it may be kept.

This is what `oxicache.rows` asks for. How words are spelt: words.py; what `depends_on` means: dependencies.py; who
moves the words: signals.py and invalidation.py.
"""

from collections.abc import Hashable, Iterable
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.signals import setting_changed
from django.db import router
from django.db.models import Model
from django.db.models.base import ModelState
from django.db.models.signals import class_prepared
from django.utils import timezone, translation

from oxicache import _native, rows
from oxicache._native import Stamps
from oxicache.django import conf, dependencies, host, transactions, words
from oxicache.django.dependencies import dependencies_of
from oxicache.django.scope import current_scope
from oxicache.rows import Member, Row
from oxicache.tags import captured_words
from oxicache.versions import MAX_WORDS

__all__ = ["DjangoRows", "complete", "configure", "dependencies_of", "install", "row_attname"]


class DjangoRows:
    """Django's models, as `rows.RowSource` has them."""

    def stamps(self, row: Row, member: Member, tags: Iterable[str] = ()) -> Stamps:
        """Capture the words of the row, of its parents', of the member, of what it depends on and of the tags."""
        model, _, pk = row
        names = dependencies.words_of(model, member).of(pk)
        return host.capture([*names, *captured_words(tags, MAX_WORDS - len(names))] if tags else names)

    def is_committed(self, row: Row, stamps: Stamps) -> bool:
        """Whether the caller's transaction, if it is in one, has not written and began after what `stamps` know."""
        return transactions.allows_storing(row[1], stamps)

    def allows_storing(self, row: Row, instance: Any, stamps: Stamps) -> bool:
        """Whether the row's database is the one written to, or nothing was invalidated for REPLICA_HOLD seconds."""
        if not settings.DATABASE_ROUTERS:
            return True
        model, alias, _ = row
        if router.db_for_write(model, instance=instance) == alias:
            return True
        return not stamps.was_bumped_within(conf.current().replica_hold)

    def is_writing(self) -> bool:
        """Whether this thread has written to any database, in a transaction that is still open."""
        return transactions.is_any_written()

    def fresh(self, row: Row) -> Any:
        """Load the row from the database that its instance came from: one query."""
        model, alias, pk = row
        try:
            return model._base_manager.using(alias).get(pk=pk)
        except model.DoesNotExist:
            return None

    async def afresh(self, row: Row) -> Any:
        """As `fresh`, for a task."""
        model, alias, pk = row
        try:
            return await model._base_manager.using(alias).aget(pk=pk)
        except model.DoesNotExist:
            return None

    def forgotten(self, member: Member, row: Row | None) -> None:
        """Move the member's word for one row, or for all, once the caller's transaction is committed."""
        if row is None:
            transactions.invalidate_words([words.member_word(member.name)], kind="forget")
        else:
            model, alias, pk = row
            names = words.member_row_words(member.name, model, pk)
            transactions.invalidate_words(names, using=alias, kind="forget")

    def vary(self, name: str) -> Hashable:
        """Return the language, the time zone or the scope that is in use where the call is made.

        MissingScopeError where the settings want a tenant and nobody can say which.
        """
        if name == "scope":
            return current_scope().prefix()
        return translation.get_language() if name == "language" else timezone.get_current_timezone_name()


def row_attname(cls: type) -> str | None:
    """Return the name of the primary key's attribute, None where instances have no row or should not be known by it.

    A migration's historical classes are no models that anybody saves through signals.
    """
    if not issubclass(cls, Model) or not hasattr(cls, "_meta"):
        return None
    options = cls._meta
    if options.abstract or dependencies.is_historical(cls):
        return None
    return options.pk.attname


def install() -> None:
    """Let saved instances of models have row identity. To be called before any model is imported."""
    _keep_places()
    rows.install(DjangoRows())
    _native.set_row_types(row_attname)
    class_prepared.connect(_prepare, dispatch_uid="oxicache.django.rows")
    setting_changed.connect(_reconfigure, dispatch_uid="oxicache.django.rows")
    for models in list(apps.all_models.values()):  # a script may have made some before it set Django up
        for model in list(models.values()):
            _prepare(model)


def _keep_places() -> None:
    """Have all states keep these in places of their own: 3.11 has ever fewer left the more instances came before."""
    state = ModelState()
    state.adding = False
    state.db = None
    _ = state.fields_cache  # sets itself


def complete() -> None:
    """Resolve every `depends_on` and ask for the tenant, now that all models are loaded."""
    dependencies.complete()
    configure()


def configure() -> None:
    """Take the tenant resolver from the settings."""
    _native.set_row_scope(conf.tenant_resolver())


def _prepare(sender: type[Model], **_: Any) -> None:
    dependencies.prepare(sender)


def _reconfigure(*, setting: str, **_: Any) -> None:
    if setting == conf.DICT:
        configure()
