"""What may stand as `BACKEND` in CACHES. One module a backend; what they have in common is in base.py."""

from oxicache.django.backends.native import NativeCache

__all__ = ["NativeCache"]
