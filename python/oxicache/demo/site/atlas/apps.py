"""The app's configuration: connects the signal handlers."""

from django.apps import AppConfig


class AtlasConfig(AppConfig):
    """The atlas app."""

    name = "oxicache.demo.site.atlas"
    label = "atlas"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the handlers that keep the figures true."""
        from . import signals

        signals.connect()
