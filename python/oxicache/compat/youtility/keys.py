"""The keys of document 004: of a tenant, client and unit, or of one user. Spelling of values: oxicache/keys.py."""

import hashlib
from dataclasses import replace
from typing import Any

from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.http import HttpRequest

from oxicache import keys
from oxicache.django.scope import SESSION, UNKNOWN, Scope, scope_of
from oxicache.errors import MissingScopeError

__all__ = ["cache_key_generator", "get_tenant_cache_key", "get_user_cache_key"]

MAX_KEY_CHARS = 240  # as there; memcached's 250 less Django's own prefix and version
HASH_CHARS = 16
PARAMS_HASH_CHARS = 12


def get_tenant_cache_key(  # noqa: PLR0917 -- the document's own order
    base_key: str,
    request: HttpRequest | None = None,
    tenant_id: Any = None,
    client_id: Any = None,
    bu_id: Any = None,
    include_version: bool = False,
) -> str:
    """Return `tenant:1:client:2:bu:3:<base_key>`; `base_key` is taken as it is.

    Ids that are given win over the session's. With a tenant and no request the ids that are not given are left out;
    with neither, the tenant is that of `oxicache.django.scope.use_scope`. `include_version` adds `:v:` and the VERSION
    of CACHES["default"].
    """
    given = {"tenant": tenant_id, "client": client_id, "unit": bu_id}
    scope = _scope(request, {name: value for name, value in given.items() if value is not None})
    if include_version:
        base_key = f"{base_key}:v:{caches[DEFAULT_CACHE_ALIAS].version}"
    return _key(scope, base_key)


def get_user_cache_key(
    base_key: str, user_id: Any, request: HttpRequest | None = None, include_tenant: bool = True
) -> str:
    """Return `tenant:1:client:2:bu:3:user:4:<base_key>`; `user:4:<base_key>` without a request or `include_tenant`."""
    if user_id is None:
        raise MissingScopeError(["user"])
    if request is None or not include_tenant:
        return _key(Scope(user=user_id), base_key)
    return _key(_scope(request, {"user": user_id}), base_key)


def cache_key_generator(
    prefix: str,
    *args: Any,
    request: HttpRequest | None = None,
    params: keys.Params | None = None,
    version: Any = None,
) -> str:
    """Return `<prefix>:<args>:params:<12 digits of an MD5 digest>:v:<version>`, within the tenant of a request.

    Twelve digits are 48 bits: where strangers choose the params, `keys.make_key` spells them instead.
    """
    segments = [prefix, *(keys.spell(arg, f"argument {number}") for number, arg in enumerate(args, 1))]
    if spelt := keys.spell_params(params or {}):
        segments += ["params", _digest(":".join(spelt))[:PARAMS_HASH_CHARS]]
    if version is not None:
        segments += ["v", keys.escape(str(version))]
    return _key(Scope() if request is None else _scope(request, {}), ":".join(segments))


def _scope(request: HttpRequest | None, given: dict[str, Any]) -> Scope:
    if request is not None:
        return scope_of(request, per_user=False, otherwise=SESSION, **given)
    if "tenant" in given:
        return Scope(**given)
    found = scope_of(None, per_user=False, **given)
    return replace(found, tenant=UNKNOWN) if found.tenant is None else found


def _key(scope: Scope, base_key: str) -> str:
    """A key with its readable start even where it is hashed: there a hashed one was found by no pattern."""
    prefix = scope.prefix()
    key = f"{prefix}:{base_key}" if prefix else base_key
    if len(key) <= MAX_KEY_CHARS:
        return key
    return keys.shortened(key, MAX_KEY_CHARS, f"hash:{_digest(key)[:HASH_CHARS]}")


def _digest(text: str) -> str:
    return hashlib.md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
