"""What a view tells middleware by attributes of its response, as `xframe_options_exempt` and `csp_override` do."""

import copy
from enum import Enum
from typing import Any, Final

from django.http import HttpResponse
from django.template.response import SimpleTemplateResponse

__all__ = ["Remarks", "give", "told"]

Remarks = tuple[tuple[str, Any], ...]

# What responses have of themselves, those of Django REST framework among them. What is set on a class is no matter:
# these are of one response.
_OWN: Final = frozenset(
    {
        # With a charset: without one they ask the settings, which may not be there yet.
        *vars(HttpResponse(charset="utf-8")),
        *vars(SimpleTemplateResponse("", charset="utf-8")),
        "_data",  # as rest_data.py has it
        "_has_been_logged",
        "_is_rendered",
        "_request",
        "accepted_media_type",
        "accepted_renderer",
        "content_type",
        "data",
        "exception",
        "reason_phrase",
        "renderer_context",
        "status_code",
    }
)
_SINGLE: Final = (type(None), bool, int, float, str, bytes, Enum)
_MAX_DEPTH: Final = 8  # a policy has three


def told(response: Any) -> Remarks:
    """Return the attributes that were set on a response, as far as they are plain values: a hit gets them again."""
    found = [(name, value) for name, value in vars(response).items() if name not in _OWN]
    return tuple((name, copy.deepcopy(value)) for name, value in found if _is_plain(value))


def give(response: Any, remarks: Remarks) -> None:
    """Set them on a response: those that can be changed are copies of its own."""
    for name, value in remarks:
        setattr(response, name, value if isinstance(value, _SINGLE) else copy.deepcopy(value))


def _is_plain(value: Any, depth: int = 0) -> bool:
    if isinstance(value, _SINGLE):
        return True
    if depth == _MAX_DEPTH:
        return False
    if type(value) is dict:
        value = [*value, *value.values()]
    elif type(value) not in {list, tuple, set, frozenset}:
        return False
    return all(_is_plain(one, depth + 1) for one in value)
