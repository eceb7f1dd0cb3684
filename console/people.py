"""Who holds a key: the admin, people of the configuration, and projects by their virtual keys."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import ContractError, decode
from job_contracts.keys import MAX_KEY, KeyRecord, Scope, key_id, mistyped
from runtime.bus.port import NotFound

if TYPE_CHECKING:
    from runtime.bus.port import Bus
    from runtime.clock import Clock
    from runtime.settings import Config
    from runtime.settings.console import Role

RANK: dict[Role, int] = {"viewer": 0, "operator": 1, "admin": 2}
_ID = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who showed a key. ``project``: the only one they see; ``None``: they see everything."""

    name: str
    """As the audit calls them."""
    role: Role
    project: str | None = None
    key: str | None = None
    """Id of the virtual key, where it was one."""
    scope: Scope | None = None
    """What that key may do over the API."""

    @property
    def sees(self) -> tuple[str, str]:
        """What pages depend on beside their address: whoever has the same is shown the same. Of a project's keys each
        for itself, for one may ask for other routes than another.
        """
        return self.role, "" if self.key is None else self.name

    @property
    def whose(self) -> str:
        """Whose turn it is, where everybody has theirs: all keys of a project share one."""
        return self.name if self.project is None else f"{self.project}/"

    def may(self, role: Role) -> bool:
        """Whether they may do what such a role may."""
        return RANK[self.role] >= RANK[role]


def hashed(key: str, pepper: str) -> str:
    """HMAC-SHA256 of a whole key, in hexadecimal: as it is stored."""
    return hmac.digest(pepper.encode(), key.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()


class People:
    """Tells who holds a key. What was made or revoked later is asked of KEYS' leader, so an answer is never old."""

    def __init__(self, config: Config, bus: Bus, clock: Clock) -> None:
        edge, self._settings = config.gateway, config.console
        self._pepper, self._admin = edge.pepper.get_secret_value(), edge.admin_hash
        self._static = {
            name: KeyRecord(id=name, project=one.project, hash=one.hash, scope=one.scope, static=True, created=0.0)
            for name, one in edge.keys.items()
        }
        self._bus, self._clock = bus, clock

    async def holder(self, presented: str) -> Person | None:
        """Who holds this key; ``None`` if nobody does. Raises BusError where only the broker knows and is not there."""
        if not 0 < len(presented) <= MAX_KEY or not self._pepper:
            return None
        digest = hashed(presented, self._pepper)
        if self._admin and hmac.compare_digest(digest, self._admin):
            return Person("admin", "admin")
        for name, login in self._settings.people.items():
            if hmac.compare_digest(digest, login.hash):
                return Person(name, login.role)
        for name, record in self._static.items():
            if hmac.compare_digest(digest, record.hash):
                return await self._of(name)
        made = key_id(presented)
        if mistyped(presented) or _ID.fullmatch(made) is None:  # a key may hold anything, a subject may not
            return None
        found = await self._record(made)
        if found is None or found.static or not hmac.compare_digest(found.hash, digest):
            return None
        return self._person(found)

    async def still(self, person: Person) -> Person | None:
        """The same person as their key is now; ``None`` if it has ended. Raises BusError if that cannot be known."""
        return person if person.key is None else await self._of(person.key)

    async def _of(self, id: str) -> Person | None:
        record, static = await self._record(id), self._static.get(id)
        if static is not None:
            ends = {} if record is None else record.model_dump(include={"revoked", "until", "replaced_by"})
            record = static.model_copy(update=ends)
        return None if record is None else self._person(record)

    def _person(self, record: KeyRecord) -> Person | None:
        if record.ended(self._clock.wall()) is not None:
            return None
        name = f"{record.project}/{record.id}"
        return Person(name, self._settings.project_role, record.project, record.id, record.scope)

    async def _record(self, id: str) -> KeyRecord | None:
        """What is stored of a key. One whose record cannot be read has ended: what it says may be that."""
        try:
            message = await self._bus.last(subjects.KEYS, subjects.key_record(id))
        except NotFound:
            return None
        try:
            record = decode(KeyRecord, message.data)
        except ContractError:
            record = None
        if record is None or record.id != id:
            return KeyRecord(id=id, project="unknown", hash="0" * 64, static=True, created=0.0, revoked=0.0)
        return record
