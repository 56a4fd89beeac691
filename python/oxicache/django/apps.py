"""Wires the framework-free half to Django: settings, transactions, connections, tests. Decides nothing."""

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from types import ModuleType
from typing import Any

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from oxicache import _native, jobs, loader, scheduling, thresholds, walks
from oxicache.django import (
    callers,
    checks,
    conf,
    control,
    execution,
    host,
    marks,
    rows,
    rules,
    signals,
    test_environment,
    transactions,
)
from oxicache.django.lens import DjangoLens
from oxicache.invalidation import Effect
from oxicache.selection import Selection
from oxicache.trail import Note

__all__ = ["OxicacheConfig"]


class OxicacheConfig(AppConfig):
    """The app `oxicache.django`, labelled `oxicache`."""

    name = "oxicache.django"
    label = "oxicache"
    verbose_name = "Cache"

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        """Install what is asked while models are imported: their decorators make caches."""
        super().__init__(app_name, app_module)
        _native.set_defaults(cache_defaults)
        host.begin()
        rows.install()
        signals.begin()
        rules.begin()
        marks.carry_out_with(carry_out)

    def ready(self) -> None:
        """Pass the settings on, now and whenever one changes."""
        with suppress(ImproperlyConfigured) if conf.is_checking() else nullcontext():
            rows.complete()
            signals.complete()
            rules.complete()
        configure()
        if (
            not _settings().enabled
        ):  # on by default, which is no reason to enable what an operator has disabled
            _native.set_enabled(False)
        setting_changed.connect(_reconfigure, dispatch_uid="oxicache.django.apps")
        loader.forbid_waiting(transactions.in_transaction)
        checks.begin()
        control.begin()
        scheduling.run_around(after=transactions.close_connections)
        walks.look_through(DjangoLens())
        jobs.perform_with(_invalidate, _invalidate_here)
        test_environment.isolate_when_testing()


def _invalidate(selection: Selection, cascade: bool, foreign: bool) -> str:
    from oxicache.django import site  # what a worker loads that was handed a job, and no other

    return site.perform(selection, cascade, foreign)


def _invalidate_here(aliases: Sequence[str], selection: Selection, dry_run: bool) -> dict[str, Any]:
    from oxicache.django import site  # as above

    return site.perform_here(aliases, selection, dry_run)


def cache_defaults() -> tuple[int, float | None]:
    """`max_size` and `ttl` of a cache that names neither, as the settings have them at that moment."""
    settings = _settings()
    return settings.default_max_size, settings.default_ttl


def carry_out(effect: Effect, notes: Sequence[Note]) -> None:
    """Invalidate what a transaction or a save asked for; `notes` are of who it was."""
    from oxicache.django import plain  # here: it loads the backend, which who has rows alone does not need

    marks.carry_out_with(plain.carry_out)
    plain.carry_out(effect, notes)


def configure() -> None:
    """Hand the engine and the loader what they cannot ask for."""
    settings = _settings()
    _native.set_default_cleanup_interval(settings.cleanup_interval)
    thresholds.put_in_force(settings.thresholds)
    loader.configure(
        lock_timeout=settings.lock_timeout,
        grace_errors=settings.grace_errors,
        grace_throttle=settings.grace_throttle,
    )
    callers.configure(settings.trail_size)
    execution.configure(settings.watch_statements)
    if settings.watch_models:
        signals.watch_all()
    walks.conceal(settings.sensitive)


def _settings() -> conf.Configuration:
    try:
        return conf.current()
    except ImproperlyConfigured:
        if conf.is_checking():
            return conf.defaults()
        raise


def _reconfigure(*, setting: str, **_: Any) -> None:
    configure()
    if setting == conf.DICT:
        _native.set_enabled(_settings().enabled)
