"""One memory per LOCATION and process, however many handlers and aliases reach it.

As with LocMemCache it lives as long as the process: handlers are made for every thread, and anew whenever CACHES is
overridden, and what is stored under a LOCATION stays. Its options are what all aliases of that LOCATION say together.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from oxicache._native import NativeStore
from oxicache.django import conf, host
from oxicache.django.backends.options import StoreOptions, explicit_options
from oxicache.registry import cache_manager
from oxicache.versions import version_words

__all__ = ["agreed_at", "place_of", "store_at", "stores"]

# What a store cannot change while it holds entries.
FIXED = ("policy", "isolation", "coherence", "jitter")
# What it can, and what its cache calls that.
CHANGEABLE = {
    "max_entries": "max_size",
    "max_bytes": "max_bytes",
    "grace": "grace",
    "early_refresh": "early_refresh",
}

_stores: dict[
    str, NativeStore
] = {}  # by LOCATION; each step on it is one atomic operation, so a fork finds no lock


def store_at(location: str, params: Mapping[str, Any], kind: type) -> tuple[NativeStore, dict[str, Any]]:
    """Return the store of a LOCATION, and the checked options of the handler that asks.

    `kind` is the class of backends that share stores. ImproperlyConfigured for wrong options, and for aliases of one
    LOCATION that contradict each other.
    """
    aliases = dict(_aliases(location, kind))
    own_alias = next((alias for alias, given in aliases.items() if given == params), None)
    try:
        own = explicit_options(place_of(location, own_alias), params)
        # A handler made by hand changes only what it names; what an alias leaves out is the default.
        said = own if own_alias is None else _agreed(location, aliases)
    except ImproperlyConfigured:
        if not conf.is_checking():  # then E004 says so, once Django's own check has made every cache there is
            raise
        own = said = {}
    store = _stores.get(location)
    if store is None:
        host.begin_once()
        version_words.open()
        made = _made(location, StoreOptions.of(said))
        # Two threads may come at the same time, and both have to get the same one.
        store = _stores.setdefault(location, made)
        if store is made:
            _register(store, aliases)
        return store, own
    now = _options_of(store)
    options = StoreOptions.of(said, now if own_alias is None else None)
    if any(getattr(now, name) != getattr(options, name) for name in FIXED):
        old, store = store, _made(location, options)
        _stores[location] = store
        # Handlers that were made before keep the old one, and nobody else reaches it.
        cache_manager.remove(old.name or "", old.cache)
        _register(store, aliases)
    elif now != options:
        _configure(store, options)
    return store, own


def agreed_at(location: str, kind: type) -> dict[str, Any]:
    """Return the options that all aliases of a LOCATION name together. ImproperlyConfigured where they contradict."""
    return _agreed(location, dict(_aliases(location, kind)))


def stores() -> list[NativeStore]:
    """Return the stores that this process has, one for each LOCATION that was used."""
    return list(_stores.values())


def place_of(location: str, alias: str | None) -> str:
    """Say where a setting stands, as messages begin."""
    if alias is None:
        return f"the cache with LOCATION {location!r}"
    return f"CACHES[{alias!r}] (LOCATION {location!r})"


def _aliases(location: str, kind: type) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the aliases in the settings that share the store of `location`, with what their handlers are given."""
    for alias, settings in caches.settings.items():
        params = dict(settings)
        backend = params.pop("BACKEND", None)
        if params.pop("LOCATION", "") == location and _is_backend(backend, kind):
            yield alias, params


def _is_backend(path: Any, kind: type) -> bool:
    try:
        backend = import_string(path)
    except (ImportError, AttributeError, TypeError):
        return False  # Django says so when that alias is used
    return isinstance(backend, type) and issubclass(backend, kind)


def _agreed(location: str, aliases: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Join what the aliases say. Saying nothing contradicts nobody, whichever handler is made first."""
    agreed: dict[str, Any] = {}
    said_by: dict[str, str] = {}
    for alias, params in aliases.items():
        for name, value in explicit_options(place_of(location, alias), params).items():
            if name.lower() not in StoreOptions.names():
                continue
            if agreed.setdefault(name, value) != value:
                raise ImproperlyConfigured(
                    f"{place_of(location, alias)}: the option {name} is {value!r}, but CACHES[{said_by[name]!r}] says "
                    f"{agreed[name]!r} of the same LOCATION, which is one memory. Give each a LOCATION of its own, or "
                    f"the same {name}."
                )
            said_by.setdefault(name, alias)
    return agreed


def _made(location: str, options: StoreOptions) -> NativeStore:
    return NativeStore(location, **{name: getattr(options, name) for name in StoreOptions.names()})


def _options_of(store: NativeStore) -> StoreOptions:
    fixed = {"policy": store.cache.policy} | {
        name: getattr(store, name) for name in FIXED if name != "policy"
    }
    return StoreOptions(
        **fixed, **{name: getattr(store.cache, theirs) for name, theirs in CHANGEABLE.items()}
    )


def _configure(store: NativeStore, options: StoreOptions) -> None:
    for name, theirs in CHANGEABLE.items():
        setattr(store.cache, theirs, getattr(options, name))


def _register(store: NativeStore, aliases: Mapping[str, Any]) -> None:
    # One memory is counted once, under the first of its names.
    name = f"django:{next(iter(aliases), store.location)}"
    store.name = cache_manager.register(name, store.cache)
