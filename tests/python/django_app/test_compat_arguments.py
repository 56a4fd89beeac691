"""What the decorators of the documents say of wrong arguments: where a view is decorated, by the documents' names."""

from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse

from oxicache.compat.enterpriseland import cache_on_success, cached_view, conditional_cache
from oxicache.compat.the_bot import cache_etag_condition, cache_page_conditional, cache_response
from oxicache.compat.youtility import (
    cache_dashboard_metrics,
    cache_dropdown_data,
    cache_with_invalidation,
    smart_cache_view,
)

COMMON = [cache_response, cache_page_conditional, smart_cache_view, cache_dropdown_data]
COMMON += [cache_dashboard_metrics, cached_view, cache_on_success]


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse("page")


@pytest.mark.parametrize("decorator", COMMON, ids=lambda one: one.__name__)
def test_without_parentheses(decorator: Callable[..., Any]) -> None:
    """A view in the place of seconds is no time to live."""
    name = decorator.__name__
    with pytest.raises(TypeError, match=rf"^{name} was given .* write @{name}\(\), with parentheses$"):
        decorator(view)


@pytest.mark.parametrize(
    ("decorate", "said"),
    [
        (lambda: cache_response(ttl=-1), "ttl must be at least 0"),
        (lambda: cache_response(cache_name="nowhere"), "cache_name must be one of CACHES"),
        (lambda: cache_response(key_func="user"), "key_func must be callable"),
        (lambda: cache_page_conditional(key_builder="user"), "key_builder must be callable"),
        (lambda: cache_etag_condition("tag"), "etag_func must be callable"),  # type: ignore[arg-type]
        (lambda: cache_etag_condition(view, "date"), "last_modified_func must be callable"),  # type: ignore[arg-type]
        (lambda: smart_cache_view(vary_headers="Accept"), "vary_headers must be a list of texts"),
        (lambda: smart_cache_view(60, invalidate_on=["nothing"]), "invalidate_on: 'nothing' is no model"),
        (lambda: cache_dropdown_data(model_name=view), "model_name must be a str"),  # type: ignore[arg-type]
        (lambda: cache_with_invalidation(60, 7, []), "cache_key must be a str"),  # type: ignore[arg-type]
        (lambda: cached_view(cache_strategy="nowhere"), "cache_strategy must be one of CACHES"),
        (lambda: conditional_cache("user"), "condition_func must be callable"),  # type: ignore[arg-type]
        (lambda: cache_on_success(timeout=-1), "timeout must be at least 0"),
        (lambda: cache_response(bogus=1), "cache_response got an unexpected keyword argument 'bogus'"),
    ],
)
def test_an_argument_is_named_as_the_document_names_it(decorate: Callable[[], Any], said: str) -> None:
    """Whoever reads the message finds the word in his own line."""
    with pytest.raises((TypeError, ValueError)) as raised:
        decorate()
    assert str(raised.value).startswith(said)
