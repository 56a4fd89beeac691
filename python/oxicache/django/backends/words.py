"""How the native half spells the version words of a store: of its entries' keys, of its tags, of all that it holds.

For those who want to know which word of an entry has moved, or to move one from another process: both have to spell it
as `src/bindings/backend_key.rs` and `native_store.rs` do. A test compares the two.
"""

from oxicache._native import BackendKey

__all__ = ["key_word", "store_word", "tag_word", "tags_word"]


def store_word(location: str) -> str:
    """Return the word that emptying the whole store moves."""
    return f"store:{location}"


def tags_word(location: str) -> str:
    """Return the word that moves with any tag of the store."""
    return f"tags:{location}"


def tag_word(location: str, tag: str) -> str:
    """Return the word of one tag."""
    return f"tag:{location}:{tag}"


def key_word(location: str, key: str | BackendKey) -> str:
    """Return the word of one entry, by the key it is stored under."""
    if isinstance(key, str):
        return f"key:{location}::1:{key}"
    if key.prefix is None:  # a KEY_FUNCTION made it
        return f"made:{location}:{key.key}"
    return f"key:{location}:{key.prefix}:{key.version}:{key.key}"
