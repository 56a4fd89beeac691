"""`ListCacheMixin` and `DetailCacheMixin` of document 002, whose entries CacheInvalidator finds. Needs extra `drf`."""

from typing import Any

from oxicache import keys
from oxicache.django import responses

__all__ = ["DetailCacheMixin", "ListCacheMixin"]


class _Tagged:
    def cache_tags(self: Any, _: Any, *__: Any, **kwargs: Any) -> list[str]:
        """Return `material:list`, or `material:detail:7`: of the view's basename, or of the name of its class."""
        name = keys.spell(getattr(self, "basename", None) or type(self).__name__, "basename")
        # Of a viewset without rows its router calls the object pk.
        field: Any = getattr(self, "lookup_url_kwarg", None) or getattr(self, "lookup_field", "pk")
        lookup = kwargs.get(field)
        return [f"{name}:list" if lookup is None else f"{name}:detail:{keys.spell(lookup, 'the object')}"]


class ListCacheMixin(_Tagged, responses.ListCacheMixin):
    """`oxicache.django.responses.ListCacheMixin`, tagged `<basename>:list` where the class has no `cache_tags`."""


class DetailCacheMixin(_Tagged, responses.DetailCacheMixin):
    """`oxicache.django.responses.DetailCacheMixin`, tagged `<basename>:detail:<pk>` in the same way."""
