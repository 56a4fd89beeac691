"""What the contract tests of document 004 share: its dependency mapping, rows of its models, keys of tenants."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from dialect_caches import BACKENDS, own_default
from document_pages import EXAMPLES, Key

from oxicache.compat.youtility import cache_invalidation_manager, get_tenant_cache_key

__all__ = ["ALL_OF_IT", "mapped", "of_tenant", "own_dependencies", "row", "youtility_cache"]


@contextmanager
def own_dependencies() -> Iterator[None]:
    """Have no dependencies but those that are registered in a block."""
    before = {model: set(found) for model, found in cache_invalidation_manager.model_dependencies.items()}
    cache_invalidation_manager.model_dependencies = {}
    yield
    cache_invalidation_manager.model_dependencies = before


@pytest.fixture(params=BACKENDS)
def youtility_cache(request: pytest.FixtureRequest, django_databases: None) -> Iterator[Any]:
    """The default alias, empty; no dependencies but a test's own."""
    with own_dependencies(), own_default(BACKENDS[request.param]) as default:
        yield default


@pytest.fixture
def row() -> Iterator[Callable[..., Any]]:
    """Make a row, which is deleted when the test ends."""
    made: list[Any] = []

    def create(model: Any, **fields: Any) -> Any:
        made.append(model.objects.create(**fields))
        return made[-1]

    yield create
    cache_invalidation_manager.model_dependencies = {}
    for one in made:
        if one.pk is not None:
            one.delete()


def of_tenant(tenant: int, *rests: str) -> list[str]:
    return [get_tenant_cache_key(rest, tenant_id=tenant, client_id=2, bu_id=3) for rest in rests]


def mapped() -> None:
    """Have the dependencies of the document, as it maps them."""
    EXAMPLES[Key("004", "Intelligent Cache Invalidation")].run()


ALL_OF_IT: Final = (
    "dropdown:people:all",
    "dropdown:asset",
    "dashboard:metrics",
    "attendance:summary",
    "asset:status:7",
    "trends:monthly",
)
