"""`{% load cache_tags %}`: cached fragments and widgets, keys, addresses past a browser's cache, figures.

Source: document 004, "Template Fragment Caching". Every argument may be a variable. Django's own `{% cache %}` is left
alone. What is done: oxicache/django/fragments/.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final

from django.apps import apps
from django.http import HttpRequest
from django.template import Context, Library, Node, NodeList, TemplateDoesNotExist, TemplateSyntaxError
from django.template.base import FilterExpression, Parser, Token, Variable, VariableDoesNotExist, token_kwargs
from django.template.defaulttags import TemplateIfParser
from django.template.loader_tags import BLOCK_CONTEXT_KEY, BlockNode
from django.utils.safestring import SafeString, mark_safe

from oxicache.django.fragments import Fragment, render, showing, widgets
from oxicache.django.fragments.guarding import NoRequest
from oxicache.django.fragments.keying import CONDITIONAL, FRAGMENT, digest_of
from oxicache.django.fragments.options import OPTIONS, check_option, fragment_of, words_of

register = Library()

_CONSTANTS: Final = ("None", "True", "False")
_UNNAMED: Final = "unnamed"  # a template made of a string


class _Arguments:
    """What stands in a tag: values without a name, and with one. Literal ones are checked when it is compiled."""

    def __init__(self, parser: Parser, token: Token, known: frozenset[str] | None) -> None:
        """`known`: the names that there are; None for any."""
        self.tag, *bits = token.split_contents()
        self.given: list[FilterExpression] = []
        self.named: dict[str, FilterExpression] = {}
        for bit in bits:
            found = token_kwargs([bit], parser)
            if not found:
                if self.named:
                    raise self.error(f"{bit} stands behind {next(iter(self.named))}=")
                self.given.append(parser.compile_filter(bit))
                continue
            (name,) = found
            if known is not None and name not in known:
                raise self.error(f"it knows {', '.join(sorted(known))}, and not {name}")
            if name in self.named:
                raise self.error(f"{name} is given twice")
            self.named |= found

    def error(self, text: object) -> TemplateSyntaxError:
        """Return an error of this tag."""
        return TemplateSyntaxError(f"{self.tag}: {text}")

    def check_literals(self) -> None:
        """TemplateSyntaxError names a literal that its option cannot be."""
        for option, expression in self.named.items():
            if option in OPTIONS and is_literal(expression):
                try:
                    value = check_option(option, expression.resolve(Context()))
                    if option == "depends_on" and apps.models_ready:
                        words_of(value)
                except (TypeError, ValueError) as error:
                    raise self.error(error) from error

    def value(self, expression: FilterExpression, context: Context) -> Any:
        """Return a value. TemplateSyntaxError names a variable that is missing, if no filter makes something of it."""
        if expression.filters:
            return expression.resolve(context, ignore_failures=True)
        asked = expression.var
        if not isinstance(asked, Variable):
            return asked
        try:
            return asked.resolve(context)
        except VariableDoesNotExist as error:
            raise self.error(
                f"there is no {expression.token} in this context; if there need not be, write "
                f"{expression.token}|default:..."
            ) from error


def is_literal(expression: FilterExpression) -> bool:
    """Whether a value is the same in every context."""
    asked = expression.var
    if expression.filters:
        return False
    return not isinstance(asked, Variable) or asked.lookups is None or asked.var in _CONSTANTS


def _resolvers(expressions: Iterable[FilterExpression]) -> list[Callable[[Context], Any]]:
    """Return what gives the values of expressions, by the shortest way."""
    return [
        one.var.resolve
        if isinstance(one.var, Variable) and not one.filters
        else partial(one.resolve, ignore_failures=True)
        for one in expressions
    ]


def _request(context: Context) -> HttpRequest | None:
    found: Any = getattr(context, "request", None)
    if found is None:
        found = context.get("request")
    if found is None or isinstance(found, HttpRequest):
        return found
    found = (
        None if isinstance(found, NoRequest) else getattr(found, "_request", None)
    )  # beneath one of Django REST framework
    return found if isinstance(found, HttpRequest) else None


def _formats(context: Context) -> tuple[str, ...]:
    """Return how values are shown, inside of `{% localize %}` and `{% localtime %}`."""
    if context.use_l10n is None and context.use_tz is None:
        return ()
    return (f"l10n={context.use_l10n} tz={context.use_tz}",)


class _Block:
    """A block in a context, as `fragments.rendering.Block` has it."""

    def __init__(
        self, context: Context, html: Callable[[], Any], given: Callable[[], tuple[Any, ...]]
    ) -> None:
        self.html = html
        self.given = given
        self._context = context

    def names(self) -> Iterable[tuple[str, Any]]:
        return self._context.flatten().items()  # type: ignore[return-value]

    def put(self, stand_ins: dict[str, Any]) -> AbstractContextManager[Any]:
        return self._context.push(stand_ins)


class _BlockNode(Node):
    """A block whose rendering is held."""

    child_nodelists = ("nodelist",)

    def __init__(
        self, arguments: _Arguments, nodelist: NodeList, name: FilterExpression | str, **made: Any
    ) -> None:
        self.nodelist = nodelist
        self._arguments = arguments
        self._name = name
        self._made: dict[str, Any] = made  # digest and kind
        self._given = arguments.given
        self._resolvers = _resolvers(arguments.given)
        self._named = {option: one for option, one in arguments.named.items() if option in OPTIONS}
        # Templates that extend this one may replace parts of it.
        self._has_blocks = bool(nodelist.get_nodes_by_type(BlockNode))
        is_fixed = isinstance(name, str) or is_literal(name)
        is_fixed = is_fixed and all(map(is_literal, self._named.values())) and not self._has_blocks
        self._fixed = self._fragment(Context()) if is_fixed else None

    def render(self, context: Context) -> SafeString:
        fragment = self._fixed or self._fragment(context)
        given = (*(self._values(context) if self._given else ()), *_formats(context))
        block = partial(self._block, context)
        html, _ = render(fragment, _request(context), given, block, is_raw=not context.autoescape)
        return SafeString(html)

    def _block(self, context: Context) -> _Block:
        return _Block(context, partial(self.nodelist.render, context), partial(self._values, context))

    def _values(self, context: Context) -> tuple[Any, ...]:
        try:
            return tuple([resolve(context) for resolve in self._resolvers])
        except VariableDoesNotExist:
            # Which of them it is, and whether it may be missing.
            return tuple([self._arguments.value(one, context) for one in self._given])

    def _fragment(self, context: Context) -> Fragment:
        arguments = self._arguments
        name = self._name if isinstance(self._name, str) else arguments.value(self._name, context)
        values = {option: arguments.value(one, context) for option, one in self._named.items()}
        made = self._made
        if self._has_blocks:
            made = {**made, "digest": digest_of(made["digest"], *_overriding(context))}
        try:
            return fragment_of(name, values, **made)
        except (TypeError, ValueError) as error:
            raise arguments.error(error) from error


def _overriding(context: Context) -> list[str]:
    """Return which templates' blocks take the place of which, of those that are being rendered."""
    found = context.render_context.get(BLOCK_CONTEXT_KEY)
    if found is None:
        return []
    template = context.template
    parts = ["" if template is None else str(template.source)]
    for name, nodes in sorted(found.blocks.items()):
        parts += [name, *(str(getattr(node, "origin", "")) for node in nodes)]
    return parts


def _body(parser: Parser, end: str) -> tuple[NodeList, str]:
    """Return what stands before the end tag, and the digest of that, of its template, and of where it stands there."""
    before: list[Any] = list(parser.tokens)
    nodelist = parser.parse((end,))
    source = [f"{one.token_type}:{one.contents}" for one in before[len(parser.tokens) :]]
    parser.delete_first_token()
    origin: Any = getattr(parser, "origin", None)
    return nodelist, digest_of(
        "django", str(getattr(origin, "template_name", None)), str(len(parser.tokens)), *source
    )


@register.tag
def cache_fragment(parser: Parser, token: Token) -> Node:
    """Hold what is rendered until `endcache_fragment`.

    `{% cache_fragment NAME ... timeout=300 vary_on="tenant" version=1 tags="" depends_on="" alias="" %}`: behind the
    name what else it varies by. `vary_on` is tenant, user, both with a comma, or none; `tags` and `depends_on`, of
    models, are parted by commas. TemplateSyntaxError for what is wrong: of literals when the template is compiled.
    """
    arguments = _Arguments(parser, token, OPTIONS)
    if not arguments.given:
        raise arguments.error("it wants a name: {% cache_fragment 'name' %}")
    arguments.check_literals()
    nodelist, digest = _body(parser, "endcache_fragment")
    name = arguments.given.pop(0)
    return _BlockNode(arguments, nodelist, name, digest=digest, kind=FRAGMENT)


@register.tag
def cache_conditional(parser: Parser, token: Token) -> Node:
    """Hold what is rendered until `endcache_conditional` where a condition is true; else render it each time.

    `{% cache_conditional ... condition="user.is_staff" timeout=300 %}`, with the options of `cache_fragment`. A quoted
    condition is an expression as in `{% if %}`, where what is not defined is false.
    """
    arguments = _Arguments(parser, token, OPTIONS | {"condition"})
    if "condition" not in arguments.named:
        raise arguments.error("it wants a condition: {% cache_conditional condition='user.is_staff' %}")
    arguments.check_literals()
    condition = _condition(parser, arguments)
    nodelist, digest = _body(parser, "endcache_conditional")
    origin: Any = getattr(parser, "origin", None)
    name = getattr(origin, "template_name", None) or _UNNAMED
    digest = digest_of(digest, token.contents)
    return _ConditionalNode(
        condition, _BlockNode(arguments, nodelist, str(name), digest=digest, kind=CONDITIONAL)
    )


def _condition(parser: Parser, arguments: _Arguments) -> Any:
    expression = arguments.named["condition"]
    if isinstance(expression.var, str) and not expression.filters:
        bits = Token(None, str(expression.var)).split_contents()  # type: ignore[arg-type]  # its kind is not asked
        if not bits:
            raise arguments.error("condition must not be empty")
        return TemplateIfParser(parser, bits).parse()
    return TemplateIfParser(parser, [expression.token]).parse()


class _ConditionalNode(Node):
    """A block whose rendering is held where a condition is true."""

    child_nodelists = ("nodelist",)

    def __init__(self, condition: Any, block: _BlockNode) -> None:
        self.nodelist = block.nodelist
        self._condition = condition
        self._block = block

    def render(self, context: Context) -> SafeString:
        try:
            is_held = bool(self._condition.eval(context))
        except VariableDoesNotExist:
            is_held = False
        return self._block.render(context) if is_held else self.nodelist.render(context)


@register.tag
def cached_widget(parser: Parser, token: Token) -> Node:
    """Show `widgets/NAME.html`, held, through `core/cached_widget.html`.

    `{% cached_widget NAME key=value ... timeout=300 %}`, with the options of `cache_fragment`. The other values are
    variables of the widget's template, and are in its key.
    """
    arguments = _Arguments(parser, token, None)
    if len(arguments.given) != 1:
        raise arguments.error(
            "it wants one name, and the rest as key=value: {% cached_widget 'name' limit=5 %}"
        )
    arguments.check_literals()
    return _WidgetNode(arguments)


class _WidgetNode(Node):
    """A template of its own whose rendering is held."""

    def __init__(self, arguments: _Arguments) -> None:
        self._arguments = arguments

    def render(self, context: Context) -> SafeString:
        arguments = self._arguments
        name = arguments.value(arguments.given[0], context)
        said = {option: arguments.value(one, context) for option, one in arguments.named.items()}
        engine = context.template.engine  # type: ignore[union-attr]  # which a context has while it is rendered

        def made() -> Any:
            own = {option: value for option, value in said.items() if option not in OPTIONS}
            with context.push(own):
                return engine.get_template(widgets.template_name(name)).render(context)

        def given() -> tuple[Any, ...]:
            return tuple([arguments.value(one, context) for one in arguments.named.values()])

        try:
            fragment, varies_by = widgets.widget(name, said, "django")
        except (TypeError, ValueError) as error:
            raise arguments.error(error) from error
        html, was_held = render(
            fragment,
            _request(context),
            (*varies_by, *_formats(context)),
            lambda: _Block(context, made, given),
            is_raw=not context.autoescape,
        )
        content = mark_safe(html)  # noqa: S308 -- what a template has rendered
        try:
            wrapper = engine.get_template(widgets.WRAPPER)
        except TemplateDoesNotExist:
            return content  # `oxicache.django` is not among the apps, or their folders are not looked into
        with context.push(content=content, cached=was_held, error=None):
            return SafeString(wrapper.render(context))


@register.simple_tag(takes_context=True)
def cache_key_for(context: Context, key_type: Any, identifier: Any = None, **params: Any) -> Any:
    """Show the key `tenant:1:...:key_type:identifier`; `vary_on` and `version` as of a fragment."""
    try:
        return showing.cache_key(_request(context), key_type, identifier, **params)
    except (TypeError, ValueError) as error:
        raise TemplateSyntaxError(f"cache_key_for: {error}") from error


@register.simple_tag(takes_context=True)
def cache_stats(context: Context, alias: str | None = None) -> showing.CacheStats:
    """Show the figures of a cache to staff; `{% cache_stats as stats %}` gives them by name."""
    try:
        return showing.figures(_request(context), alias)
    except ValueError as error:
        raise TemplateSyntaxError(f"cache_stats: {error}") from error


@register.filter
def cache_bust(url: Any, version: Any = None) -> str:
    """Add `_cb=` and a version to an address; without one, that of the file or of the deployment."""
    return showing.busted(url, version)
