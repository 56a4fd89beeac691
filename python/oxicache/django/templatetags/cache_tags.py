"""`{% load cache_tags %}`: cached fragments and widgets, keys, addresses past a browser's cache, figures.

Source: document 004, "Template Fragment Caching". Every argument may be a variable. Django's own `{% cache %}` is left
alone. What is done: fragments.py.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, Final

from django.template import Context, Library, Node, NodeList, TemplateSyntaxError
from django.template.base import FilterExpression, Parser, Token, token_kwargs

from oxicache import options
from oxicache.django.fragments import DEFAULT_TTL, VARIES, Fragment, render
from oxicache.tags import checked_tags

register = Library()

_OPTIONS: Final = frozenset({"alias", "tags", "timeout", "vary_on", "version"})


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class _FragmentNode(Node):
    """A block whose rendering is held."""

    child_nodelists = ("nodelist",)

    def __init__(
        self,
        tag: str,
        nodelist: NodeList,
        given: list[FilterExpression],
        said: dict[str, FilterExpression],
        digest: str,
    ) -> None:
        self.tag = tag
        self.nodelist = nodelist
        self.name, *self.given = given
        self.said = said
        self.digest = digest

    def render(self, context: Context) -> Any:
        fragment = _fragment(self.tag, _said(self.tag, self.name, context), self.said, self.digest, context)

        def make(stand_ins: dict[str, Any]) -> str:
            with context.push(**stand_ins):
                return str(self.nodelist.render(context))

        return render(
            fragment, _Values(context), make, lambda: tuple(one.resolve(context) for one in self.given)
        )


class _Values(dict[str, Any]):
    """What a context says, asked for when it is wanted."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context

    def __contains__(self, name: object) -> bool:
        return name in self._context

    def __getitem__(self, name: str) -> Any:
        return self._context[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self._context.get(name, default)


def _said(tag: str, given: FilterExpression, context: Context) -> Any:
    value = given.resolve(context, ignore_failures=True)
    if value is None and str(given.token) != "None":
        raise TemplateSyntaxError(f"{tag}: there is no {given.token}")
    return value


def _fragment(
    tag: str, name: Any, said: dict[str, FilterExpression], digest: str, context: Context
) -> Fragment:
    values = {option: _said(tag, given, context) for option, given in said.items()}
    if not isinstance(name, str) or not name:
        raise TemplateSyntaxError(f"{tag}: the name of a fragment must be text, not {name!r}")
    try:
        return Fragment(
            name=name,
            digest=digest,
            ttl=_seconds(values.get("timeout", DEFAULT_TTL)),
            varies=_varies(values.get("vary_on", "tenant")),
            version=values.get("version", 1),
            tags=checked_tags(_listed(values.get("tags", ()))),
            alias=values.get("alias"),
        )
    except (TypeError, ValueError) as error:
        raise TemplateSyntaxError(f"{tag} {name!r}: {error}") from error


def _seconds(given: Any) -> float | None:
    if given is None:
        return None
    if isinstance(given, str):
        given = float(given)
    return options.seconds("timeout", given)


def _listed(given: Any) -> list[str]:
    if isinstance(given, str):
        return [part for one in given.split(",") if (part := one.strip())]
    if not isinstance(given, Iterable):
        raise TypeError(f"must be text with commas, or a list, not {given!r}")
    return list(given)


def _varies(given: Any) -> frozenset[str]:
    found = frozenset(_listed(given))
    if unknown := sorted(found - set(VARIES)):
        raise ValueError(f"vary_on knows {', '.join(VARIES)}, not {', '.join(unknown)}")
    if "none" in found and len(found) > 1:
        raise ValueError("vary_on='none' stands alone")
    return found - {"none"}


def _parsed(
    parser: Parser, token: Token, tag: str
) -> tuple[list[FilterExpression], dict[str, FilterExpression]]:
    bits = token.split_contents()[1:]
    given: list[FilterExpression] = []
    said: dict[str, FilterExpression] = {}
    for bit in bits:
        found = token_kwargs([bit], parser)
        if not found:
            if said:
                raise TemplateSyntaxError(f"{tag}: {bit} stands behind {next(iter(said))}=")
            given.append(parser.compile_filter(bit))
            continue
        (name,) = found
        if name not in _OPTIONS and name != "condition":
            raise TemplateSyntaxError(f"{tag} knows {', '.join(sorted(_OPTIONS))}, not {name}")
        said |= found
    return given, said


@register.tag
def cache_fragment(parser: Parser, token: Token) -> Node:
    """Hold what is rendered until `endcache_fragment`.

    `{% cache_fragment NAME ... timeout=300 vary_on="tenant" version=1 tags="" alias="" %}`: behind the name what else
    it varies by; `vary_on` is tenant, user, both with a comma, or none; `tags` parted by commas.
    """
    given, said = _parsed(parser, token, "cache_fragment")
    if not given:
        raise TemplateSyntaxError("cache_fragment wants a name: {% cache_fragment 'name' %}")
    before = parser.tokens[:]
    nodelist = parser.parse(("endcache_fragment",))
    source = [f"{one.token_type}:{one.contents}" for one in before[len(parser.tokens) :]]
    parser.delete_first_token()
    return _FragmentNode("cache_fragment", nodelist, given, said, _digest(*source))
