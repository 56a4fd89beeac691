"""What `cached_view` and `cached_api` say of wrong arguments, and what the log says of functions that fail."""

import itertools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings

from oxicache.compat import enterpriseland, the_bot, youtility
from oxicache.django.responses import cached_api, cached_view

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "arguments"}}


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    with override_settings(CACHES=NATIVE):
        yield


def hello(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


def lines(caplog: pytest.LogCaptureFixture, view: Callable[[HttpRequest], Any], count: int = 3) -> list[str]:
    """Ask a view a few times; return what is logged, and see that it answers each time without being cached."""
    with caplog.at_level(logging.DEBUG, "oxicache.responses"):
        for _ in range(count):
            response = view(RequestFactory().get("/"))
            assert response.content == b"hello"
            assert not response.has_header("X-Cache")
    return [record.getMessage() for record in caplog.records if record.name == "oxicache.responses"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"alias": "nowhere"}, "alias must be one of CACHES, which has 'default', not 'nowhere'"),
        ({"statuses": [200, 999]}, "statuses must hold numbers from 200 to 599, not 999"),
        ({"statuses": 200}, "statuses must be a list of numbers, not 200"),
        ({"statuses": [True]}, "statuses must hold numbers, not True"),
        (
            {"invalidate_on": [int]},
            "invalidate_on must hold models, or names such as 'app.Model', not <class 'int'>",
        ),
        ({"invalidate_on": HttpRequest}, "invalidate_on must be a list of models"),
        ({"per_user": 1}, "per_user must be True, False or None, not 1"),
        ({"per_tenant": None}, "per_tenant must be True or False, not None"),
        ({"ignored_params": "utm"}, "ignored_params must be a list of texts, not 'utm'"),
        ({"scope": "user"}, "scope must be callable or None, not 'user'"),
        ({"max_bytes": -1}, "max_bytes must be at least 0, or None for no limit, not -1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_argument_is_named_with_its_value_and_what_it_should_be(
    given: dict[str, Any], said: str
) -> None:
    """Where the view is decorated, before anybody asks for it."""
    with pytest.raises((TypeError, ValueError)) as raised:
        cached_view(**given)
    assert str(raised.value).startswith(said)


@pytest.mark.parametrize(
    "decorator",
    [
        cached_view,
        cached_api,
        youtility.smart_cache_view,
        youtility.cache_dropdown_data,
        youtility.cache_dashboard_metrics,
        the_bot.cache_response,
        the_bot.cache_page_conditional,
        enterpriseland.cache_on_success,
    ],
    ids=lambda decorator: decorator.__name__,
)
def test_a_decorator_without_parentheses_is_told_so(decorator: Any) -> None:
    """It was given the view in the place of a time."""
    with pytest.raises(TypeError, match=rf"write @{decorator.__name__}\(\), with parentheses"):
        decorator(hello)


@pytest.mark.parametrize(("given", "ours"), [("per_user", "vary_on_auth"), ("statuses", "cache_errors")])
def test_an_option_that_cached_api_spells_otherwise_is_named(given: str, ours: str) -> None:
    """The message names the one that stands for it."""
    with pytest.raises(TypeError, match=f"cached_api takes no {given}; {ours} stands for it"):
        cached_api(**{given: False})  # type: ignore[arg-type]  # that is wrong


def test_a_text_in_the_place_of_tags_is_not_taken_apart(caplog: pytest.LogCaptureFixture) -> None:
    """A callable that returns one tag in place of a list of them is logged, and nothing is kept under its letters."""
    view = cached_view(tags=lambda request: "news")(hello)
    (line,) = lines(caplog, view)
    assert "its tags could not be made: TypeError" in line
    assert "not 'news'" in line


def test_an_error_that_says_something_else_each_time_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A key function that fails with the number of the request fills no log."""
    numbers = itertools.count()

    def key_func(request: HttpRequest) -> str:
        raise LookupError(f"request {next(numbers)}")

    (line,) = lines(caplog, cached_view(key_func=key_func)(hello))
    assert "its key could not be made: LookupError" in line


def test_what_no_key_would_mend_is_said_at_level_debug(caplog: pytest.LogCaptureFixture) -> None:
    """A response that is not kept for what it is says why to who listens."""
    said = lines(caplog, cached_view(max_bytes=2)(hello), count=1)
    assert said[-1].endswith("is not cached: its 5 bytes are more than max_bytes, 2.")
    assert [record.levelname for record in caplog.records if record.name == "oxicache.responses"] == ["DEBUG"]


@pytest.mark.parametrize("name", ["condition_func", "success_func", "key_func", "scope"])
def test_an_async_function_is_refused(name: str) -> None:
    """Its coroutine would be as good as True, whatever it says: TypeError names the argument."""

    async def asks(*_: Any) -> bool:
        return False

    with pytest.raises(TypeError, match=f"{name} must not be async"):
        cached_view(**{name: asks})
