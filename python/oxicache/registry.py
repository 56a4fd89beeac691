"""The process-wide instances: `cache_manager` knows every named cache, `DELETION_SET` what is being deleted.

Both are made in Rust, once for the process; this is the name under which the rest of Python finds them.
"""

from oxicache._native import DELETION_SET, cache_manager

__all__ = ["DELETION_SET", "cache_manager"]
