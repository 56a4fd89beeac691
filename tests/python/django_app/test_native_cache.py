"""NativeCache under the contract of all backends, with each way of making keys."""

import itertools
from typing import Any

import pytest
from contracts.backend_contract import BackendContract, clock

from oxicache.django.backends import NativeCache

__all__ = ["clock"]  # a fixture

_numbers = itertools.count()


def made_by_function(key: Any, key_prefix: str, version: Any) -> str:
    return f"{key_prefix}|{key}|v{version}|end"


class OwnKeys(NativeCache):
    def make_key(self, key: Any, version: Any = None) -> str:
        return f"own-{self.key_prefix}-{self.version if version is None else version}-{key}"


class OwnValidation(NativeCache):
    def validate_key(self, key: str) -> None:
        super().validate_key(key)
        assert key.endswith(str(key)[-1:])


KINDS: dict[str, tuple[type[NativeCache], dict[str, Any]]] = {
    "plain": (NativeCache, {}),
    "prefix": (NativeCache, {"KEY_PREFIX": "site"}),
    "version": (NativeCache, {"VERSION": 2}),
    "both": (NativeCache, {"KEY_PREFIX": "site:ü", "VERSION": 3}),
    "function": (NativeCache, {"KEY_FUNCTION": made_by_function, "KEY_PREFIX": "p"}),
    "subclass": (OwnKeys, {}),
    "validation": (OwnValidation, {"KEY_PREFIX": "p"}),
    "deploy": (NativeCache, {"OPTIONS": {"DEPLOY_VERSION": "2024.7"}}),
    "lru": (NativeCache, {"OPTIONS": {"POLICY": "lru", "MAX_BYTES": None}}),
    "pickle": (NativeCache, {"OPTIONS": {"ISOLATION": "pickle"}}),
    "process": (NativeCache, {"OPTIONS": {"COHERENCE": "process"}}),
}


class TestNativeCache(BackendContract):
    @pytest.fixture(params=KINDS)
    def kind(self, request: pytest.FixtureRequest) -> tuple[type[NativeCache], dict[str, Any]]:
        return KINDS[request.param]

    @pytest.fixture(autouse=True)
    def _chosen(self, kind: tuple[type[NativeCache], dict[str, Any]]) -> None:
        self.kind_of = kind

    def make(self, **params: Any) -> NativeCache:
        cls, own = self.kind_of
        return cls(f"contract-{next(_numbers)}", own | params)
