"""Jinja2: `{% cache_fragment %}`, `{% cache_conditional %}`, and what else the tags of `{% load cache_tags %}` are.

`oxicache.django.jinja.CacheExtension` among the extensions of Django's Jinja2 backend, or of any environment where
Django is set up. `cached_widget()`, `cache_key_for()`, `cache_stats()` are functions, `cache_bust` is a filter. What is
done: fragments/.
"""

from collections.abc import Callable
from typing import Any, Final

from django.apps import apps
from django.http import HttpRequest
from jinja2 import Environment, TemplateNotFound, nodes, pass_context
from jinja2.exceptions import TemplateRuntimeError, UndefinedError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import ChainableUndefined, Context, Undefined
from jinja2.visitor import NodeTransformer
from markupsafe import Markup

from oxicache.django.fragments import render, showing, widgets
from oxicache.django.fragments.jinja_blocks import Block, seen
from oxicache.django.fragments.keying import CONDITIONAL, FRAGMENT, digest_of
from oxicache.django.fragments.options import OPTIONS, check_option, fragment_of, words_of

__all__ = ["CacheExtension"]

Fixed = tuple[str, str, str, bool, bool, tuple[str, ...], tuple[str, ...]]

_UNNAMED: Final = "unnamed"  # a template made of a string
_COUNT: Final = "_oxicache_blocks"  # of a parser: how many there were so far
_JINJAS: Final = frozenset({"caller", "kwargs", "loop", "self", "super", "varargs"})
_ROOTS: Final = frozenset({"COOKIES", "session", "user"})  # of a request


class CacheExtension(Extension):
    """The tags, functions and the filter, in an environment."""

    tags = {"cache_conditional", "cache_fragment"}  # noqa: RUF012 -- as Jinja2 has it

    def __init__(self, environment: Environment) -> None:
        """Add functions and the filter; those that the environment has already stay."""
        super().__init__(environment)
        for function in (cached_widget, cache_key_for, cache_stats):
            environment.globals.setdefault(function.__name__, function)
        environment.filters.setdefault("cache_bust", showing.busted)

    def parse(self, parser: Parser) -> nodes.Node:
        """Make a tag a call of `_shown`, with its block as what it calls. TemplateSyntaxError for what is wrong."""
        token = next(parser.stream)
        tag, lineno = str(token.value), token.lineno
        if self.environment.is_async:
            parser.fail(f"{tag} cannot wait: render such a template where enable_async is not set", lineno)
        given, named = _arguments(parser, tag)
        condition: nodes.Expr = nodes.Const(True)
        source = [parser.name or "", str(_counted(parser))]
        if tag == "cache_fragment":
            if not given:
                parser.fail('cache_fragment wants a name: {% cache_fragment "name" %}', lineno)
            kind, name = FRAGMENT, given.pop(0)
        else:
            if "condition" not in named:
                parser.fail(f'{tag} wants a condition: {{% {tag} condition="user.is_staff" %}}', lineno)
            kind, name = CONDITIONAL, nodes.Const(parser.name or _UNNAMED)
            condition = self._condition(parser, tag, named.pop("condition"))
            source.append(repr(condition))
        _check_literals(parser, tag, named)
        body = parser.parse_statements((f"name:end{tag}",), drop_needle=True)
        has_blocks = nodes.Template(body).find(nodes.Block) is not None
        fixed: Fixed = (
            tag,
            kind,
            digest_of("jinja", *source, repr(body)),
            has_blocks,
            any(nodes.Template(body).find(kind) for kind in (nodes.Include, nodes.Import, nodes.FromImport)),
            *_looked_at(given),
        )
        options = nodes.Dict([nodes.Pair(nodes.Const(key), value) for key, value in named.items()])
        call = self.call_method(
            "_shown",
            [
                nodes.ContextReference(),
                nodes.DerivedContextReference(),
                nodes.Const(fixed),
                name,
                nodes.Tuple(given, "load"),
                options,
                condition,
            ],
        )
        return nodes.CallBlock(call, [], [], [_Guarded(self).visit(node) for node in body]).set_lineno(lineno)

    def _condition(self, parser: Parser, tag: str, given: nodes.Expr) -> nodes.Expr:
        """Return the expression that a quoted condition is. What is not defined is false in it."""
        found = given
        if isinstance(given, nodes.Const) and isinstance(given.value, str):
            if not given.value.strip():
                parser.fail(f"{tag}: condition must not be empty", given.lineno)
            inner = Parser(self.environment, given.value, parser.name, parser.filename, state="variable")
            found = inner.parse_expression()
            if not inner.stream.eos:
                parser.fail(f"{tag}: condition is no expression: {given.value!r}", given.lineno)
        soft: nodes.Expr = _Soft(self).visit(found)
        soft.set_lineno(given.lineno, override=True)
        return soft

    def _shown(  # noqa: PLR0917 -- as `parse` calls it
        self,
        context: Context,
        local: Context,
        fixed: Fixed,
        name: Any,
        given: tuple[Any, ...],
        options: dict[str, Any],
        condition: Any,
        caller: Callable[[], str],
    ) -> str:
        tag, kind, digest, has_blocks, has_includes, *looked_at = fixed
        if not condition:
            return caller()
        for value in (name, *given, *options.values()):
            if isinstance(value, Undefined):
                text = value._undefined_message
                raise UndefinedError(f"{tag}: {text}; if it need not be there, write |default(...)")
        if has_blocks:
            digest = digest_of(digest, *_overriding(context))
        try:
            fragment = fragment_of(name, options, digest, kind=kind)
        except (TypeError, ValueError) as error:
            raise TemplateRuntimeError(f"{tag}: {error}") from error
        is_raw = not context.eval_ctx.autoescape

        def block() -> Block:
            return Block(context, caller, given, *looked_at, local=local.get_all(), has_includes=has_includes)

        html, _ = render(fragment, _request(context), given, block, is_raw=is_raw)
        return html if is_raw else Markup(html)  # noqa: S704 -- what a template has rendered

    def _seen(self, value: Any) -> Any:
        """Return what stands in for a value while a fragment is rendered that shows it, whatever its name."""
        return seen(value)

    def _soft(self, value: Any) -> Any:
        """Return what is false, and whose attributes are, for what is not defined."""
        return ChainableUndefined() if isinstance(value, Undefined) else value


def _request(context: Context) -> HttpRequest | None:
    found = context.get("request")
    return found if isinstance(found, HttpRequest) else None


def _overriding(context: Context) -> list[str]:
    """Return which templates' blocks take the place of which."""
    parts = []
    for name, functions in sorted(context.blocks.items()):
        parts.append(name)
        for function in functions:
            code: Any = getattr(function, "__code__", None)  # a template's own, made by Jinja2
            constants = [one for one in getattr(code, "co_consts", ()) if isinstance(one, (str, int, float))]
            parts += [
                str(getattr(code, "co_filename", "")),
                getattr(code, "co_code", b"").hex(),
                repr(constants),
                repr(getattr(code, "co_names", ())),
            ]
    return parts


# ---------------------------------------------------------------- when a template is compiled


def _counted(parser: Parser) -> int:
    count: int = getattr(parser, _COUNT, 0)
    setattr(parser, _COUNT, count + 1)
    return count


def _arguments(parser: Parser, tag: str) -> tuple[list[nodes.Expr], dict[str, nodes.Expr]]:
    known = OPTIONS | {"condition"} if tag == "cache_conditional" else OPTIONS
    given: list[nodes.Expr] = []
    named: dict[str, nodes.Expr] = {}
    while parser.stream.current.type != "block_end":
        if given or named:
            parser.stream.skip_if("comma")
        token = parser.stream.current
        if token.type == "name" and parser.stream.look().type == "assign":
            name = str(token.value)
            if name not in known:
                parser.fail(f"{tag} knows {', '.join(sorted(known))}, and not {name}", token.lineno)
            if name in named:
                parser.fail(f"{tag}: {name} is given twice", token.lineno)
            parser.stream.skip(2)
            named[name] = parser.parse_expression()
        elif named:
            parser.fail(f"{tag}: a value stands behind {next(iter(named))}=", token.lineno)
        else:
            given.append(parser.parse_expression())
    return given, named


def _check_literals(parser: Parser, tag: str, named: dict[str, nodes.Expr]) -> None:
    for option, node in named.items():
        try:
            value = node.as_const(nodes.EvalContext(parser.environment, parser.name))
        except nodes.Impossible:
            continue
        try:
            value = check_option(option, value)
            if option == "depends_on" and apps.models_ready:
                words_of(value)
        except (TypeError, ValueError) as error:
            parser.fail(f"{tag}: {error}", node.lineno)


def _looked_at(given: list[nodes.Expr]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what of its visitor expressions look at by their source, and which names of his session."""
    roots: set[str] = set()
    session: set[str] = set()
    for expression in given:
        for node in [expression, *expression.find_all(nodes.Expr)]:
            chain = _chain(node)
            if chain[:1] == ["request"] and len(chain) > 1 and chain[1] in _ROOTS:
                if chain[1] != "session":
                    roots.add(chain[1])
                elif len(chain) > 2:  # noqa: PLR2004 -- a name of it
                    session.add(chain[2])
            elif chain[:1] == ["user"]:
                roots.add("user")
    return tuple(sorted(roots)), tuple(sorted(session))


def _chain(node: nodes.Node) -> list[str]:
    """Return `request.session.cart`, `request.session["cart"]` or `request.session.get("cart")` as a list of names."""
    if isinstance(node, nodes.Name):
        return [node.name]
    if isinstance(node, nodes.Getattr):
        found = _chain(node.node)
        return [*found, node.attr] if found else []
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        found = _chain(node.node)
        return [*found, str(node.arg.value)] if found else []
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr) and node.node.attr == "get":
        first = node.args[0] if node.args else None
        found = _chain(node.node.node) if isinstance(first, nodes.Const) else []
        return [*found, str(first.value)] if found and isinstance(first, nodes.Const) else []
    return []


class _Guarded(NodeTransformer):
    """Have what a block names pass through `_seen`."""

    def __init__(self, extension: CacheExtension) -> None:
        self._extension = extension

    def visit_Name(self, node: nodes.Name) -> nodes.Node:  # noqa: N802 -- as Jinja2 names what it calls
        if node.ctx != "load" or node.name in _JINJAS:
            return node
        return self._extension.call_method("_seen", [node], lineno=node.lineno)


class _Soft(NodeTransformer):
    """Have what is named pass through `_soft`, and what is asked of it."""

    def __init__(self, extension: CacheExtension) -> None:
        self._extension = extension

    def _wrapped(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        return self._extension.call_method("_soft", [node], lineno=node.lineno)

    def visit_Name(self, node: nodes.Name) -> nodes.Node:  # noqa: N802 -- as above
        return self._wrapped(node) if node.ctx == "load" else node

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Node:  # noqa: N802 -- as above
        return self._wrapped(node)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802 -- as above
        return self._wrapped(node)


# ---------------------------------------------------------------- functions


@pass_context
def cached_widget(context: Context, name: Any, **said: Any) -> str:
    """Show `widgets/NAME.html`, held, through `core/cached_widget.html`: as the tag of that name."""
    try:
        fragment, given = widgets.widget(name, said, "jinja")
    except (TypeError, ValueError) as error:
        raise TemplateRuntimeError(f"cached_widget: {error}") from error
    environment = context.environment
    is_raw = not context.eval_ctx.autoescape

    def made() -> str:
        own = {option: value for option, value in said.items() if option not in OPTIONS}
        template = environment.get_template(widgets.template_name(name))
        return template.render({**context.get_all(), **own})

    html, was_held = render(
        fragment, _request(context), given, lambda: Block(context, made, given), is_raw=is_raw
    )
    content = html if is_raw else Markup(html)  # noqa: S704 -- what a template has rendered
    try:
        wrapper = environment.get_template(widgets.WRAPPER)
    except TemplateNotFound:
        return content  # the folders of apps are not looked into
    shown = wrapper.render({**context.get_all(), "content": content, "cached": was_held, "error": None})
    return shown if is_raw else Markup(shown)  # noqa: S704 -- as above


@pass_context
def cache_key_for(context: Context, key_type: Any, identifier: Any = None, **params: Any) -> str:
    """Return a key: as the tag of that name."""
    return showing.cache_key(_request(context), key_type, identifier, **params)


@pass_context
def cache_stats(context: Context, alias: str | None = None) -> showing.CacheStats:
    """Return the figures of a cache, to staff: as the tag of that name."""
    return showing.figures(_request(context), alias)
