"""Reading an Anthropic body field by field: whatever is not as it should be is refused by its path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.bodies.failures import Failed, invalid
from job_contracts.chat import CacheFor

Block = dict[str, Any]

_LIFETIMES: dict[Any, CacheFor] = {None: "5m", "5m": "5m", "1h": "1h"}


def unsupported(path: str, why: str, remedy: str = "leave it out") -> Failed:
    """What is raised for something that the API has and that is not carried."""
    return invalid(f"{path}: {why}", param=path, code="unsupported_parameter", remedy=remedy)


def block(value: Any, path: str) -> Block:
    """``value`` as an object, without the fields that are null. Raises ``Failed``."""
    if not isinstance(value, dict):
        raise invalid(f"{path}: expected an object", param=path)
    return {name: field for name, field in value.items() if field is not None}


def blocks(value: Any, path: str) -> Iterable[tuple[Block, str]]:
    """The objects of a list, each with its path. Raises ``Failed``."""
    if not isinstance(value, list):
        raise invalid(f"{path}: expected a list", param=path)
    for index, one in enumerate(value):
        where = f"{path}[{index}]"
        yield block(one, where), where


def text(given: Mapping[str, Any], name: str, path: str) -> str:
    """The string ``given[name]``. Raises ``Failed``."""
    value = given.get(name)
    if isinstance(value, str):
        return value
    where = f"{path}.{name}" if path else name
    raise invalid(f"{where}: {'expected a string' if value is not None else 'field required'}", param=where)


def optional_text(given: Mapping[str, Any], name: str, path: str) -> str | None:
    """The string ``given[name]``, if it is there. Raises ``Failed``."""
    return text(given, name, path) if given.get(name) is not None else None


def flag(given: Mapping[str, Any], name: str, path: str = "") -> bool:
    """The truth value ``given[name]``, false if it is not there. Raises ``Failed``."""
    value = given.get(name, False)
    if isinstance(value, bool):
        return value
    where = f"{path}.{name}" if path else name
    raise invalid(f"{where}: expected true or false", param=where)


def only(given: Mapping[str, Any], known: frozenset[str], path: str = "") -> None:
    """Raise ``Failed`` for the first field that is not ``known``."""
    for name in given:
        if name not in known:
            where = f"{path}.{name}" if path else name
            message = f"{where}: there is no such field, or it is not carried"
            raise invalid(message, param=where, code="unknown_parameter", remedy="leave it out")


def cache(given: Mapping[str, Any], path: str) -> CacheFor | None:
    """How long what ends with this block is worth caching, by its ``cache_control``. Raises ``Failed``."""
    if given.get("cache_control") is None:
        return None
    where = f"{path}.cache_control" if path else "cache_control"
    mark = block(given["cache_control"], where)
    kind, lifetime = mark.get("type"), mark.get("ttl")
    if kind != "ephemeral" or not isinstance(lifetime, str | None) or lifetime not in _LIFETIMES:
        raise invalid(
            f"{where}: expected a mark", param=where, remedy='write {"type": "ephemeral", "ttl": "5m" or "1h"}'
        )
    return _LIFETIMES[lifetime]
