"""System checks: settings that are wrong, and places and members whose owner should think again. docs/checks.md lists them."""


def begin() -> None:
    """Register the checks."""
