"""Keys cut, put into a namespace, taken apart again, and what a pattern finds of them."""

from typing import Any

import pytest

from oxicache._native import KeyPattern
from oxicache.keys import bounded, make_key, match_segments, namespaced, normal_pattern, split_key, unescape


class TestBounded:
    def test_a_key_that_fits_is_left_alone(self) -> None:
        """At the limit, and not past it."""
        assert bounded("a" * 200) == "a" * 200
        assert len(bounded("a:" + "b" * 199)) < 200

    def test_it_is_cut_between_segments(self) -> None:
        """What is left of `tenant:12` never reads as `tenant:1`."""
        key = bounded("tenant:12:" + "x" * 99, limit=43)
        assert key.startswith("tenant:~:")
        assert split_key(bounded("x" * 99, limit=40)).segments == ()

    def test_no_key_reads_as_a_cut_one(self) -> None:
        """Text that looks like the ending is spelt in another way."""
        ending = bounded("x" * 300).split(":")
        assert make_key(*ending) != ":".join(ending)
        assert split_key(make_key(*ending)).digest is None

    def test_a_limit_without_room_is_refused(self) -> None:
        """ValueError gives the least limit."""
        with pytest.raises(ValueError, match="limit must be at least 35 characters, not 20"):
            bounded("x" * 99, limit=20)


class TestNamespaced:
    @pytest.mark.parametrize(
        ("namespace", "version", "deploy", "wanted"),
        [
            ("", None, None, "products"),
            ("shop", None, None, "shop:products"),
            ("shop", 2, "2026.11a", "shop:~v2:~d2026.11a:products"),
            ("", "2", None, "~v~2:products"),
            ("a:b", None, 0, "a%3Ab:~d0:products"),
        ],
    )
    def test_what_is_given_stands_before_the_key(
        self, namespace: str, version: Any, deploy: Any, wanted: str
    ) -> None:
        """Namespace, version and deploy version, each where it is given; 0 is one."""
        assert namespaced("products", namespace, version=version, deploy=deploy) == wanted


class TestPatterns:
    @pytest.mark.parametrize("key", ["asset", "asset:1", "tenant:1:asset", "tenant:1:asset:list"])
    def test_a_pattern_without_wildcards_is_whole_segments(self, key: str) -> None:
        """`asset` finds the segment, wherever it stands."""
        assert any(KeyPattern(glob).matches(key) for glob in normal_pattern("asset"))
        assert match_segments("asset", key)

    @pytest.mark.parametrize("key", ["assets", "tenant:1:asset_status", "my-asset:1", "basset"])
    def test_it_is_no_substring(self, key: str) -> None:
        """Document 004's `*asset*` cleared whatever had the letters in its key."""
        assert not any(KeyPattern(glob).matches(key) for glob in normal_pattern("asset"))
        assert not match_segments("asset", key)

    def test_several_segments_are_found_in_a_row(self) -> None:
        """`dropdown:people` is both, one after the other."""
        assert match_segments("dropdown:people", "tenant:1:dropdown:people:all")
        assert not match_segments("dropdown:people", "dropdown:1:people")

    def test_wildcards_are_a_glob_of_the_whole_key(self) -> None:
        """Document 004's patterns are taken as they are."""
        assert normal_pattern("tenant:*:*dropdown:people:*") == ("tenant:*:*dropdown:people:*",)
        assert normal_pattern("*dashboard:*", "tenant:1") == ("tenant:1:*dashboard:*",)

    def test_a_prefix_narrows_it_to_a_scope(self) -> None:
        """Nothing of tenant 12 or of a key without tenant is found below tenant 1."""
        globs = normal_pattern("asset", "tenant:1")
        keys_ = ["tenant:1:asset", "tenant:1:bu:2:asset:x", "tenant:12:asset", "asset", "tenant:1:assets"]
        found = [key for key in keys_ if any(KeyPattern(glob).matches(key) for glob in globs)]
        assert found == keys_[:2]

    def test_a_long_key_is_found_by_its_whole_text(self) -> None:
        """Document 004's hashed keys were never found again."""
        whole = ":".join(f"part-{number}" for number in range(60))
        assert any(KeyPattern(glob).matches(bounded(whole)) for glob in normal_pattern(whole))

    def test_an_empty_pattern_is_refused(self) -> None:
        """It would clear everything."""
        with pytest.raises(ValueError, match="pattern must not be empty"):
            normal_pattern("")

    def test_a_short_key_has_no_digest(self) -> None:
        """split_key gives the segments as they are spelt."""
        assert split_key("a:b%3Ac") == (("a", "b%3Ac"), None)
        assert unescape(split_key("a:b%3Ac").segments[1]) == "b:c"
