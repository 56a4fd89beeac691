"""What a page that reads the cache 50 times costs, with each backend: a Django view, asked as a WSGI server asks.

Settings name one backend, as a site's do, so each has a process of its own. All wait, and one at a time takes a
sample; their order changes by round, and every few rounds they are replaced by new ones, because two processes that run
the same code differ a little for as long as they live.

    python benches/page.py SPEC     (what run.py starts; it reads numbers of requests and prints nanoseconds)
"""

import contextlib
import gc
import json
import random
import statistics
import sys
import types
from collections.abc import Callable, Iterator
from time import perf_counter_ns
from typing import Any
from wsgiref.util import setup_testing_defaults

import backends
import django_setup
from backend_rows import DIRECT, PROXY, find, record, small
from children import Child
from rows import Result
from timing import SEED, quartiles

Spec = dict[str, Any]  # `entry`, the one in CACHES, and `way`: "proxy", "direct" or "bare", without gets

ROW = "page that makes 50 gets"
GETS = 50
ROUNDS_OF_A_CHILD = 8
WARM_REQUESTS = 20
BARE = "the same page without gets"
OURS_DIRECT = f"{backends.OURS}, {DIRECT}"
OURS_PROXY = f"{backends.OURS}, {PROXY}"
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]


# ---------------------------------------------------------------- the process that serves


def _application(spec: Spec) -> Callable[[], bytes]:
    """What asks for the page once, from the environment of the request to the closing of the response."""
    urls = types.ModuleType("urls_of_the_bench")
    sys.modules[urls.__name__] = urls
    django_setup.set_up(
        "oxicache.django",
        CACHES={"default": spec["entry"]},
        ALLOWED_HOSTS=["127.0.0.1"],
        MIDDLEWARE=MIDDLEWARE,
        ROOT_URLCONF=urls.__name__,
    )

    from django.core.cache import cache as proxy
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, HttpResponse
    from django.urls import path

    # Strings and dicts by turns, as fragments of templates and rows are.
    proxy.set_many({f"page:part:{number}": (small, record)[number % 2](number) for number in range(GETS)})
    cache: Any = proxy
    if spec["way"] == "direct":
        from oxicache.django import cache as direct

        cache = direct

    def bare(_: HttpRequest) -> HttpResponse:
        return _response([f"page:part:{number}" for number in range(GETS)])

    def page(_: HttpRequest) -> HttpResponse:
        return _response([cache.get(f"page:part:{number}") for number in range(GETS)])

    def _response(parts: list[Any]) -> HttpResponse:
        return HttpResponse(f"{sum(map(len, parts))} of {len(parts)}")

    urls.urlpatterns = [path("", bare if spec["way"] == "bare" else page)]  # type: ignore[attr-defined]
    application: Any = get_wsgi_application()
    surroundings: dict[str, Any] = {}
    setup_testing_defaults(surroundings)

    def ask() -> bytes:
        response = application(dict(surroundings), lambda _status, _headers: None)
        body = b"".join(response)
        response.close()  # with it the request ends: its signal closes connections
        return body

    return ask


def serve(spec: Spec) -> None:
    """Answer each number read from stdin with the nanoseconds that as many requests took; first say that it serves."""
    ask = _application(spec)
    body = ask()
    assert body.endswith(b" of 50"), body
    for _ in range(WARM_REQUESTS):
        ask()
    print(0, flush=True)
    gc.disable()
    for line in sys.stdin:
        requests = int(line)
        started = perf_counter_ns()
        for _ in range(requests):
            ask()
        print(perf_counter_ns() - started, flush=True)


# ---------------------------------------------------------------- the process that measures


def _specs() -> dict[str, Spec]:
    """What each child serves, by the name of the contender."""
    entries, _ = backends.entries(tuple(find().handlers))
    ours = entries.pop(backends.OURS)
    return {
        OURS_DIRECT: {"entry": ours, "way": "direct"},
        OURS_PROXY: {"entry": ours, "way": "proxy"},
        BARE: {"entry": ours, "way": "bare"},
        **{name: {"entry": entry, "way": "proxy"} for name, entry in entries.items()},
    }


@contextlib.contextmanager
def _children(specs: dict[str, Spec]) -> Iterator[dict[str, Child]]:
    with contextlib.ExitStack() as stack:
        children = {}
        for name, spec in specs.items():
            children[name] = Child(__file__, json.dumps(spec))
            stack.callback(children[name].end)
        yield children


def _measured(rounds: int, sample_ns: int) -> dict[str, list[float]]:
    """Microseconds of one request by contender, a figure a round."""
    specs = _specs()
    times: dict[str, list[float]] = {name: [] for name in specs}
    order = list(times)
    shuffle = random.Random(SEED).shuffle
    while (done := len(times[BARE])) < rounds:
        with _children(specs) as children:
            passes = {name: _requests(child, sample_ns) for name, child in children.items()}
            for _ in range(min(ROUNDS_OF_A_CHILD, rounds - done)):
                shuffle(order)
                for name in order:
                    spent = children[name].answer(passes[name])
                    times[name].append(spent / passes[name] / 1_000)
    return times


def _requests(child: Child, sample_ns: int) -> int:
    return max(1, round(sample_ns * 2 / child.answer(2)))


def results(rounds: int, sample_ns: int) -> Iterator[Result]:
    """The page with NativeCache, through Django's proxy and through the direct handle, beside each other page."""
    times = _measured(rounds, sample_ns)
    for ours in (OURS_PROXY, OURS_DIRECT):
        for name, theirs in times.items():
            if name in {OURS_PROXY, OURS_DIRECT}:
                continue
            middle, lower, upper = quartiles(
                [mine / other for mine, other in zip(times[ours], theirs, strict=True)]
            )
            yield Result(
                row=f"{ROW}: {ours}",
                against=name,
                judged=middle,
                ours=statistics.median(times[ours]),
                theirs=statistics.median(theirs),
                per="us",
                gross=middle,
                spread=(lower, upper),
            )


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
