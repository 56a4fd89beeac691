"""What parts of pages cost: a form's dropdown of cached choices, and fragments beside those of Django's `{% cache %}`.

All contenders stand in one process, which is this bench's own, for the settings it needs; they take turns.

    python benches/page_parts.py GROUP ROUNDS SAMPLE_NS     (what run.py starts; it prints a Result a line as JSON)
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import children
import django_setup
from rows import Result, Target, TimedRow
from timing import Contender

DROPDOWN, FRAGMENT = "dropdown", "fragment"
CHOICES = 1_000  # of which the target speaks
FRAGMENTS = 20  # in a template
NATIVE, LOCMEM = "native", "locmem"
ALIASES = {NATIVE: "NativeCache", LOCMEM: "LocMemCache"}
TIMEOUT = 3_600  # nothing expires while a row runs
PLAIN_FORM = "a ModelForm of Django's"
FIVE_TIMES = Target(">=", 5, "x faster")
NO_QUERY = Target("<=", 0, "queries")
NO_SLOWER = Target("<=", 1)


def set_up() -> None:
    """Django with two aliases beside the default one, its own templates, and its users."""
    options = {"MAX_ENTRIES": 10_000}
    django_setup.set_up(
        "oxicache.django",
        "django.contrib.contenttypes",
        "django.contrib.auth",
        CACHES={
            "default": {
                "BACKEND": "oxicache.django.backends.NativeCache",
                "TIMEOUT": TIMEOUT,
                "OPTIONS": {**options, "MAX_BYTES": None},
                "LOCATION": "default",
            },
            NATIVE: {
                "BACKEND": "oxicache.django.backends.NativeCache",
                "TIMEOUT": TIMEOUT,
                "OPTIONS": {**options, "MAX_BYTES": None},
                "LOCATION": NATIVE,
            },
            LOCMEM: {
                "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
                "TIMEOUT": TIMEOUT,
                "OPTIONS": options,
            },
        },
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": False}],
    )


def queries_of(act: Callable[[], object]) -> int:
    """How many statements it executes."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        act()
    return len(queries)


# ---------------------------------------------------------------- dropdowns


def _forms() -> tuple[Callable[[], str], Callable[[], str]]:
    """A form with a dropdown of cached choices, and the same of Django's: made and rendered, one choice selected."""
    from django import forms
    from django.db import models

    from oxicache.django.forms import OptimizedModelForm

    class Person(models.Model):
        name = models.CharField(max_length=40)
        department = models.CharField(max_length=40)

        class Meta:
            app_label = "benches"
            ordering = ("name",)

        def __str__(self) -> str:
            return f"{self.name} ({self.department})"

    class Job(models.Model):  # noqa: DJ008 -- nobody shows one
        title = models.CharField(max_length=40)
        person = models.ForeignKey(Person, models.CASCADE)

        class Meta:
            app_label = "benches"

    django_setup.create_table(
        Person,
        [
            Person(name=f"Somebody {number}", department=f"Department {number % 20}")
            for number in range(CHOICES)
        ],
    )
    django_setup.create_table(Job)

    class Meta:
        model = Job
        fields = ("title", "person")

    plain: Any = type("PlainForm", (forms.ModelForm,), {"Meta": Meta, "__module__": __name__})
    cached: Any = type(
        "CachedForm",
        (OptimizedModelForm,),
        {"Meta": Meta, "__module__": __name__, "cached_dropdown_fields": {"person": {"model": Person}}},
    )
    given = {"title": "Mend the roof", "person": 7}
    return lambda: str(cached(initial=given).as_p()), lambda: str(plain(initial=given).as_p())


def _dropdowns(rounds: int, sample_ns: int) -> Iterator[Result]:
    from django.core.cache import cache

    ours, theirs = _forms()
    assert ours() == theirs() == ours(), "the two forms differ"
    row = f"{DROPDOWN} of {CHOICES:_} choices"
    for kind, prepare in (("warm", "pass"), ("cold", "clear()")):
        contenders = [
            Contender("CachedDropdownMixin", "ask()", {"ask": ours, "clear": cache.clear}, range(1), prepare),
            Contender(PLAIN_FORM, "ask()", {"ask": theirs, "clear": cache.clear}, range(1)),
        ]
        targets = {PLAIN_FORM: FIVE_TIMES} if kind == "warm" else {}
        found = TimedRow(f"{row}, {kind}", lambda given=contenders: given, targets)  # type: ignore[misc]  # bound now
        yield from found.results(rounds, sample_ns)
    ours()
    asked = queries_of(ours), queries_of(theirs)
    yield Result(
        f"{row}, warm, queries", PLAIN_FORM, asked[0], asked[0], asked[1], "queries", NO_QUERY, "queries"
    )


# ---------------------------------------------------------------- fragments

# What stands between the tags; what it varies by is a variable of a loop, as in a list.
BODY = "<article><h2>{{ title }} {{ number }}</h2>{% for word in words %}<p>{{ word|upper }}</p>{% endfor %}</article>"
LOOP = "{%% load %s %%}{%% for number in numbers %%}%s{%% endfor %%}"
OURS = {
    "by number": '{{% cache_fragment "item" number timeout=3600 alias="{alias}" %}}',
    "by number and user": '{{% cache_fragment "item" number timeout=3600 vary_on="user" alias="{alias}" %}}',
}
THEIRS = {
    "by number": '{{% cache 3600 item number using="{alias}" %}}',
    "by number and user": '{{% cache 3600 item number user.pk using="{alias}" %}}',
}


def _fragments(rounds: int, sample_ns: int) -> Iterator[Result]:
    from django.contrib.auth.models import User
    from django.core.cache import caches
    from django.http import HttpRequest
    from django.template import RequestContext, engines

    engine: Any = engines["django"]
    request: Any = HttpRequest()
    request.user = User(pk=7, username="ada")
    shown = {
        "user": request.user,
        "title": "A title",
        "numbers": range(FRAGMENTS),
        "words": ["some", "words", "of", "an", "item"],
    }

    def rendered(source: str) -> Callable[[], str]:
        template = engine.from_string(source).template
        return lambda: str(template.render(RequestContext(request, shown)))  # as views do

    for alias, backend in ALIASES.items():
        for kind, tag in OURS.items():
            ours = rendered(LOOP % ("cache_tags", tag.format(alias=alias) + BODY + "{% endcache_fragment %}"))
            theirs = rendered(LOOP % ("cache", THEIRS[kind].format(alias=alias) + BODY + "{% endcache %}"))
            bare = rendered(LOOP % ("cache", BODY))
            assert ours() == theirs() == bare() == ours() == theirs(), kind
            for state in ("hit", "miss"):
                clear = caches[alias].clear
                prepare = "clear()" if state == "miss" else "pass"
                sides = {f"cache_fragment on {backend}": ours, f"{{% cache %}} on {backend}": theirs}
                if state == "miss":
                    sides["no cache"] = bare
                contenders = [
                    Contender(name, "ask()", {"ask": ask, "clear": clear}, range(1), prepare)
                    for name, ask in sides.items()
                ]
                targets = {} if state == "miss" else {contenders[1].name: NO_SLOWER}
                row = f"{FRAGMENT} {state}, {FRAGMENTS} of a page, {kind}: {contenders[0].name}"
                found = TimedRow(row, lambda given=contenders: given, targets)  # type: ignore[misc]  # bound now
                yield from found.results(rounds, sample_ns)


GROUPS: dict[str, Callable[[int, int], Iterator[Result]]] = {DROPDOWN: _dropdowns, FRAGMENT: _fragments}


def results(group: str, rounds: int, sample_ns: int) -> Iterator[Result]:
    """The rows of a group, from a process of its own."""
    return children.results_of(__file__, group, rounds, sample_ns)


if __name__ == "__main__":
    set_up()
    for result in GROUPS[sys.argv[1]](*map(int, sys.argv[2:])):
        print(json.dumps(dataclasses.asdict(result)), flush=True)
