"""Document 002, "Cache Key Management": its keys to the letter, and the collisions not to be had again.

`config.cache` is oxicache.compat.the_bot.
"""

import hashlib
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings
from document_pages import Example, example

from oxicache.compat import the_bot
from oxicache.compat.the_bot import CacheKeyBuilder

NATIVE = "oxicache.django.backends.NativeCache"


@pytest.fixture(autouse=True)
def _thebot(monkeypatch: pytest.MonkeyPatch, django_databases: None) -> Iterator[None]:
    """No environment of its own; a cache of its own."""
    monkeypatch.delenv("ENVIRONMENT", raising=False)
    with override_settings(
        CACHES={"default": {"BACKEND": NATIVE, "LOCATION": "thebot", "KEY_PREFIX": "site"}}
    ):
        yield


class TestExamples:
    @example("002", "Generate Cache Keys")
    def test_generate_cache_keys(self, shown: Example) -> None:
        """002, "Generate Cache Keys", with the results that its comments give."""
        made: list[str] = []

        def noted(method: Callable[..., str]) -> Callable[..., str]:
            return lambda *given, **named: made.append(method(*given, **named)) or made[-1]

        with pytest.MonkeyPatch.context() as patch:
            for name in ("make_key", "user_key"):
                patch.setattr(CacheKeyBuilder, name, staticmethod(noted(getattr(CacheKeyBuilder, name))))
            shown.run()
        told = [line.split('"')[1] for line in shown.text.splitlines() if line.startswith("# Result: ")]
        assert len(told) == 3
        assert made == told

    @example("002", "Pattern Deletion")
    def test_pattern_deletion(self, shown: Example) -> None:
        """002, "Pattern Deletion": what is in the namespace goes, and nothing else. An earlier glob never matched."""
        cache = caches["default"]
        inside = [CacheKeyBuilder.make_key("materials", *parts) for parts in (["list"], ["detail", 7])]
        outside = [
            CacheKeyBuilder.make_key("materials_old", "list"),
            CacheKeyBuilder.user_key("materials", 1),
        ]
        for key in (*inside, *outside):
            cache.set(key, 1)
        assert shown.run()["pattern"] == "thebot:production::materials:*"
        assert [cache.get(key) for key in (*inside, *outside)] == [None, None, 1, 1]


class TestSettled:
    """What callers rely on."""

    def test_none_and_numbers_are_text(self) -> None:
        """None is "none", numbers and bools are str()."""
        assert CacheKeyBuilder.make_key("a", None, 1, 1.5, True) == "thebot:production::a:none:1:1.5:True"

    def test_the_prefix_is_the_environments(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """ENVIRONMENT in lower case; it is read when a key is made, not at import."""
        monkeypatch.setenv("ENVIRONMENT", "Staging")
        assert CacheKeyBuilder.make_key("a") == "thebot:staging::a"
        assert the_bot.CACHE_KEY_PREFIX == "thebot:staging:"
        with pytest.raises(AttributeError, match="no attribute 'CACHE_KEY'"):
            _ = the_bot.CACHE_KEY

    def test_the_setting_wins(self) -> None:
        """CACHE_KEY_PREFIX of the settings is the prefix, from the moment it changes."""
        with override_settings(CACHE_KEY_PREFIX="bot[1]:"):
            assert CacheKeyBuilder.make_key("a") == "bot[1]::a"
            assert CacheKeyBuilder.pattern_key("a") == r"bot\[1]::a:*"
        assert CacheKeyBuilder.make_key("a") == "thebot:production::a"

    def test_a_long_key_is_prefix_and_digest(self) -> None:
        """Past 250 characters: the prefix and 32 hexadecimal digits, 50 characters in all."""
        at_limit = CacheKeyBuilder.make_key("x" * (250 - len("thebot:production::")))
        assert at_limit.endswith("xxx")
        key = CacheKeyBuilder.make_key("x" * 251)
        whole = "thebot:production::" + "x" * 251
        assert key == f"thebot:production:{hashlib.md5(whole.encode()).hexdigest()}"  # noqa: S324 -- the document's
        assert (len(at_limit), len(key)) == (250, 50)
        assert CacheKeyBuilder.user_key("x" * 251, 1) not in {key, CacheKeyBuilder.user_key("x" * 251, 2)}


class TestDefects:
    """Known defects of the earlier system: each pair had one key."""

    @pytest.mark.parametrize(
        ("left", "right"),
        [
            ((["a:b"], {}), (["a", "b"], {})),
            ((["a", None], {}), (["a", "none"], {})),
            ((["a", True], {}), (["a", "True"], {})),
            ((["a", 1], {}), (["a", "1"], {})),
            ((["search"], {"page": 1}), (["search", "page=1"], {})),
            ((["search"], {"page": 1}), (["search"], {"page": "1"})),
            ((["a", ["b", "c"]], {}), (["a", "['b', 'c']"], {})),
        ],
        ids=str,
    )
    def test_no_two_calls_share_a_key(self, left: Any, right: Any) -> None:
        """Separators and types are part of what a key says."""
        keys = [CacheKeyBuilder.make_key(*args, **kwargs) for args, kwargs in (left, right)]
        assert keys[0] != keys[1]

    def test_complex_arguments_are_keyed_by_content(self) -> None:
        """Not by 32 bits of a digest, whose collisions were found within 100,000 values: by all they hold."""
        keys = {CacheKeyBuilder.make_key("a", uuid.UUID(int=number)) for number in range(100_000)}
        assert len(keys) == 100_000
        assert CacheKeyBuilder.make_key("a", {"b": 1, "a": 2}) == CacheKeyBuilder.make_key(
            "a", {"a": 2, "b": 1}
        )

    def test_no_address_is_in_a_key(self) -> None:
        """An object without content of its own is refused; its repr held an address, new in each process."""
        with pytest.raises(TypeError, match="part 2 is a object, which cannot be part of a key"):
            CacheKeyBuilder.make_key("a", object())

    def test_a_user_without_id_has_no_key(self) -> None:
        """None would be a user whom all anonymous visitors are; 0, which callers pass for them, says so."""
        with pytest.raises(TypeError, match="user_id is None"):
            CacheKeyBuilder.user_key("profile", None)
        assert CacheKeyBuilder.user_key("profile", 0) == "thebot:production::user_0:profile"
