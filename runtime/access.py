"""What edges and consoles alone read: pepper, hashes of keys, what lets edges answer the broker who may connect."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, ValidationError

from job_contracts.problems import problem
from runtime.command import Unusable
from runtime.settings import Config
from runtime.settings.services import Callout, StaticKey
from runtime.settings.written import Section, Token

MOST = 16 * 1024 * 1024


class Access(Section):
    """``edge.json``."""

    pepper: SecretStr
    admin_hash: str
    keys: dict[Token, StaticKey] = Field(default_factory=dict)
    callout: Callout | None = None


def completed(config: Config) -> Config:
    """The configuration with what its ``gateway.access`` holds. Raises Unusable: unreadable, or said twice."""
    settings = config.gateway
    if settings.access is None:
        return config
    found = _read(settings.access)
    for name in ("pepper", "admin_hash", "callout"):
        if name in settings.model_fields_set:
            raise Unusable(f"gateway.{name} and gateway.access: {settings.access}: leave one of them out")
    told = {
        "pepper": found.pepper,
        "admin_hash": found.admin_hash,
        "keys": {**found.keys, **settings.keys},
        "callout": found.callout,
    }
    return config.model_copy(update={"gateway": settings.model_copy(update=told)})


def _read(path: Path) -> Access:
    try:
        with path.open("rb") as file:
            return Access.model_validate_json(file.read(MOST))
    except OSError as error:
        raise Unusable(f"gateway.access: {path}: {error.strerror}; python -m appliance keys makes it") from error
    except ValidationError as error:
        found = problem(Access, error)  # its message never repeats what the file holds
        raise Unusable(f"gateway.access: {path}: {found.field} is not as python -m appliance keys makes it") from None
