"""Wires the framework-free half to Django: settings, transactions, connections, tests. Decides nothing."""

from types import ModuleType
from typing import Any

from django.apps import AppConfig
from django.core.signals import setting_changed

from oxicache import _native, loader, scheduling
from oxicache.django import conf, rows, test_environment, transactions

__all__ = ["OxicacheConfig"]


class OxicacheConfig(AppConfig):
    """The app `oxicache.django`, labelled `oxicache`."""

    name = "oxicache.django"
    label = "oxicache"
    verbose_name = "Cache"

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        """Install the resolver of defaults before any models are imported: their decorators make caches."""
        super().__init__(app_name, app_module)
        _native.set_defaults(cache_defaults)
        rows.install()

    def ready(self) -> None:
        """Pass the settings on, now and whenever one changes."""
        rows.complete()
        configure()
        setting_changed.connect(_reconfigure, dispatch_uid="oxicache.django.apps")
        loader.forbid_waiting(transactions.in_transaction)
        scheduling.run_around(after=transactions.close_connections)
        test_environment.isolate_when_testing()


def cache_defaults() -> tuple[int, float | None]:
    """`max_size` and `ttl` of a cache that names neither, as the settings have them at that moment."""
    settings = conf.current()
    return settings.default_max_size, settings.default_ttl


def configure() -> None:
    """Hand the engine and the loader what they cannot ask for."""
    settings = conf.current()
    _native.set_default_cleanup_interval(settings.cleanup_interval)
    loader.configure(
        lock_timeout=settings.lock_timeout,
        grace_errors=settings.grace_errors,
        grace_throttle=settings.grace_throttle,
    )


def _reconfigure(**_: Any) -> None:
    configure()
