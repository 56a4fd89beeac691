"""What Django's tests find under the name LocMemCache: the backend under test."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any


def backend_class(path: str) -> type[Any]:
    """The class at a dotted path."""
    module, _, name = path.rpartition(".")
    found: type[Any] = getattr(import_module(module), name)
    return found


def put_in_place_of_locmem(backend: type[Any], options: Mapping[str, Any]) -> type[Any]:
    """Let every import and dotted path of LocMemCache lead to `backend`, so that no test of Django has to be changed."""
    from django.core.cache.backends import locmem

    if backend is not locmem.LocMemCache:
        backend = _stand_in(backend, options)
        locmem.LocMemCache = backend  # type: ignore[misc]
    return backend


def _stand_in(backend: type[Any], options: Mapping[str, Any]) -> type[Any]:
    class StandIn(backend):  # type: ignore[misc]
        """The backend with the options of this run, beside those of the test."""

        def __init__(self, name: str, params: dict[str, Any]) -> None:
            super().__init__(name, {**params, "OPTIONS": {**options, **params.get("OPTIONS", {})}})

    return StandIn
