"""`invalidate_on`: models are watched from the start, also in a process that serves no view and only saves."""

from collections.abc import Iterator

import pytest
from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.db.models.signals import post_save
from django.http import HttpRequest, HttpResponse
from django.test import override_settings

from oxicache.django import signals
from oxicache.django.responses import cached_api, cached_view

NATIVE = {"default": {"BACKEND": "oxicache.django.backends.NativeCache", "LOCATION": "responses"}}


@pytest.fixture(autouse=True)
def _caches() -> Iterator[None]:
    with override_settings(CACHES=NATIVE):
        yield


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse("page")


def test_a_model_is_watched_before_the_first_request() -> None:
    """Its rows' changes count from when the view is decorated."""
    cached_view(invalidate_on=["contenttypes.ContentType"])(view)
    assert post_save.has_listeners(ContentType)


def test_a_view_that_is_decorated_while_models_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its models are watched once the app is ready, as are those that it names wrongly found out."""
    with monkeypatch.context() as patch:
        patch.setattr(apps, "models_ready", False)
        cached_view(invalidate_on=["sessions.Session"])(view)
        cached_api(invalidate_on=["NoSuchModel"])(view)
    with pytest.raises(ValueError, match="invalidate_on: 'NoSuchModel' is no model"):
        signals.complete()
    assert post_save.has_listeners(Session)
    signals.complete()


@pytest.mark.parametrize(
    ("named", "said"),
    [("NoSuchModel", "'NoSuchModel' is no model"), ("no.Such", "'no.Such' is no model")],
    ids=["bare", "labelled"],
)
def test_an_unknown_model_is_an_error_where_it_is_named(named: str, said: str) -> None:
    """Before any request, and the message has its name."""
    with pytest.raises(ValueError, match=said):
        cached_view(invalidate_on=[named])
