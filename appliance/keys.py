"""Who may speak: the admin key, a key a project, the services' password; made at the first start, kept for the next.

What is stored where: the admin key is shown once and kept as an HMAC-SHA256 under a pepper, so the file lets nobody
in. A project's first key is kept as it is, in this one file that its owner alone can read, because the appliance prints
it again at every start; broker and edges know a hash of it, and keys that are made later are kept nowhere. A slow hash
would protect neither (a key has 256 random bits, nothing can be tried out) and would cost every request its time. What
only processes say to one another is derived from the pepper, which is as random and lies in the same file.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from appliance.errors import WrongUse
from appliance.places import write_private
from gateway.nkeys import account_seed
from job_contracts.keys import key_id, written

SECRET_BYTES = 32
VERSION = 1


class _Stored(BaseModel):
    """``keys.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Annotated[int, Field(ge=VERSION, le=VERSION)]
    pepper: str
    admin_hash: str
    service_password: str
    projects: dict[str, str]


@dataclass(frozen=True, slots=True)
class Keys:
    """What this start knows; ``admin`` is None unless it was made just now: it is nowhere to be read again."""

    admin: SecretStr | None
    admin_hash: str
    pepper: SecretStr
    service_password: SecretStr
    nodes_password: SecretStr
    """By which the nodes of a cluster know each other."""
    gate_password: SecretStr
    """By which the edges are known at the broker's door."""
    callout_seed: SecretStr
    """Of the account that signs who may connect to the broker."""
    projects: Mapping[str, SecretStr]

    def for_the_edge(self) -> dict[str, Any]:
        """What edges alone may read (``gateway.access``): pepper, hashes, what they need at the door; no key."""
        pepper = self.pepper.get_secret_value()
        told = {
            key_id(key.get_secret_value()): {"project": project, "hash": _hashed(key.get_secret_value(), pepper)}
            for project, key in self.projects.items()
        }
        callout = {"seed": self.callout_seed.get_secret_value(), "password": self.gate_password.get_secret_value()}
        return {"pepper": pepper, "admin_hash": self.admin_hash, "keys": told, "callout": callout}

    def is_admin(self, key: str) -> bool:
        """Whether ``key`` is the admin key; takes as long for a wrong one as for the right one."""
        return hmac.compare_digest(_hashed(key, self.pepper.get_secret_value()), self.admin_hash)


def project_key(project: str) -> str:
    """A fresh key; see ``job_contracts.keys``."""
    return written(project, secrets.token_hex(SECRET_BYTES))


def keys_of(path: Path, projects: Iterable[str]) -> Keys:
    """The keys stored at ``path``, made first where they are missing (all of them, or those of new projects).

    Raises:
        WrongUse: the file is there and cannot be read as keys; it is left alone.
    """
    stored = _read(path) if path.exists() else None
    admin = None
    if stored is None:
        admin, pepper = f"psa_{secrets.token_hex(SECRET_BYTES)}", secrets.token_hex(SECRET_BYTES)
        stored = _Stored(
            version=VERSION,
            pepper=pepper,
            admin_hash=_hashed(admin, pepper),
            service_password=secrets.token_hex(SECRET_BYTES),
            projects={},
        )
    missing = {project: project_key(project) for project in projects if project not in stored.projects}
    if missing or admin is not None:
        stored = stored.model_copy(update={"projects": {**stored.projects, **missing}})
        write_private(path, json.dumps(stored.model_dump(), indent=2) + "\n")
    return Keys(
        admin=SecretStr(admin) if admin else None,
        admin_hash=stored.admin_hash,
        pepper=SecretStr(stored.pepper),
        service_password=SecretStr(stored.service_password),
        nodes_password=SecretStr(_hashed("the nodes of the broker", stored.pepper)),
        gate_password=SecretStr(_hashed("the edges at the broker's door", stored.pepper)),
        callout_seed=SecretStr(account_seed(bytes.fromhex(_hashed("the account that signs", stored.pepper)))),
        projects={project: SecretStr(key) for project, key in stored.projects.items()},
    )


def _read(path: Path) -> _Stored:
    try:
        return _Stored.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"{error.error_count()} fields are not as expected"
        raise WrongUse(
            f"{path} holds the keys and cannot be read ({reason}): restore it, or move it away and new keys are made "
            "(clients need the new ones then)"
        ) from None


def _hashed(key: str, pepper: str) -> str:
    return hmac.new(pepper.encode(), key.encode(), hashlib.sha256).hexdigest()
