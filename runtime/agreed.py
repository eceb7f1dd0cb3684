"""What all services must agree on of their configurations, as digests that they tell one another.

Equal values have equal digests, from wherever they come and however they are written; a value that is its default
counts as if it were not there, so that a version with further settings makes no difference. What is ``OWN`` does not
count, because it may differ from process to process; nor does any secret, not even whether there is one: most processes
do not read the others'. So nobody who sees a digest can try a guess at a secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from job_contracts.configured import LENGTH, Configured
from runtime.provenance import HIDDEN, bare

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from runtime.settings import Config

__all__ = ["OWN", "configured"]

OWN: Final = frozenset(
    {
        "experiments",  # the scheduler alone, which reads them anew while it runs
        "catalogue",  # where the folder is on that machine
        "workers",  # from here on: how one kind of service works, which nobody else reads
        "gateway",
        "console",
        "ledger",
        "telemetry",
        "providers.*.slots",  # how much one worker takes
        "nats.url",  # from here on: the way to the broker from where the process is, and what it may do there
        "nats.user",
        "nats.password",
        "nats.tls_ca",
        "nats.tls_cert",
        "nats.tls_key",
        "nats.manage",
        "scheduler.batch",  # from here on: the size and the pace of one process
        "scheduler.linger",
        "scheduler.max_indexed",
        "scheduler.reconcile_every",
    }
)
"""What may differ between services; a name in a mapping is ``*``. All else is agreed on, so also what is added."""

_SECRET: Final = object()


def configured(config: Config, since: float | None = None) -> Configured:
    """Of a process's configuration, which it has since that moment (UTC seconds)."""
    return Configured(parts={name: _digest(plain) for name, plain in _fields(config, ())}, since=since)


def _digest(plain: Any) -> str:
    return sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:LENGTH]


def _plain(value: Any, path: tuple[str, ...]) -> Any:
    """What JSON can hold, the same for equal values, without secrets and what is as it comes."""
    if isinstance(value, SecretStr):
        return _SECRET
    if isinstance(value, BaseModel):
        return dict(_fields(value, path))
    if isinstance(value, Mapping):
        plain = {str(key): _plain(one, (*path, "*")) for key, one in value.items()}
        return {key: one for key, one in plain.items() if one is not _SECRET}
    if isinstance(value, tuple | list):
        return [one for one in (_plain(one, (*path, "*")) for one in value) if one is not _SECRET]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, str) and path[-1].endswith("url"):
        return bare(value)  # neither who asks nor what stands in the query
    return str(value) if isinstance(value, Path) else value


def _fields(model: BaseModel, path: tuple[str, ...]) -> list[tuple[str, Any]]:
    found = []
    for name, field in type(model).model_fields.items():
        here = (*path, name)
        if ".".join(here) in OWN or name in HIDDEN:
            continue
        plain = _plain(getattr(model, name), here)
        if plain is not _SECRET and plain != _plain(_default(field), here):
            found.append((name, plain))
    return found


def _default(field: FieldInfo) -> Any:
    """As it comes, where nothing else decides about that."""
    if field.default_factory is None:
        return field.default
    if field.default_factory_takes_validated_data:
        return PydanticUndefined
    return field.default_factory()  # type: ignore[call-arg]  # it takes nothing, as was just asked
