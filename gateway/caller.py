"""Who asks: the project and key behind a request, and what that key may do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from job_contracts.keys import Scope


@dataclass(frozen=True, slots=True)
class Caller:
    """A request's authenticated sender. An admin has no project and may do what administers, not what spends."""

    project: str
    key: str
    """The key's id, which is no secret."""
    scope: Scope = field(default_factory=Scope)
    admin: bool = False


class Keyring(Protocol):
    """Knows keys again. All of it is in memory: no request waits for a store."""

    def caller(self, presented: str, now: float) -> Caller:
        """Who presents this key at ``now`` (UTC seconds). Raises ``Failed``: 401 unknown or ended, 503 unsure."""
        ...

    def admit(self, caller: Caller, now: float) -> None:
        """Count one request against the key's own rate at ``now`` (seconds of the monotonic clock).

        Raises ``Failed`` with 429 and when to come back.
        """
        ...
