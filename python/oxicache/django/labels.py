"""Models by what people call them: `shop.Order` in any case, or `Order` where no other app has one."""

from typing import Any

from django.apps import apps
from django.db.models import Model

__all__ = ["model_named", "with_rows"]


def model_named(name: type[Model] | str) -> type[Model]:
    """Return the model of a label, or of a bare name that one app alone has; a model itself is returned.

    Once all models are loaded. ValueError names what no model is called, what several are, and what is abstract.
    """
    if not isinstance(name, str):
        return with_rows(name)
    app_label, _, model_name = name.strip().lower().rpartition(".")
    found = [
        model
        for config in apps.get_app_configs()
        if not app_label or config.label.lower() == app_label
        for model in config.get_models(include_auto_created=True)
        if model._meta.model_name == model_name
    ]
    if not found:
        raise ValueError(f'{name!r} is no model; write it as "app.Model"')
    if len(found) > 1:
        labels = ", ".join(sorted(model._meta.label for model in found))
        raise ValueError(f"{name!r} may be {labels}; write which")
    return found[0]


def with_rows(model: Any) -> type[Model]:
    """Return a model itself. TypeError for what is none, ValueError for an abstract one."""
    if not isinstance(model, type) or not issubclass(model, Model) or not hasattr(model, "_meta"):
        raise TypeError(f"{model!r} is no model")
    if model._meta.abstract:
        raise ValueError(f"{model._meta.label} is abstract and has no rows")
    return model
