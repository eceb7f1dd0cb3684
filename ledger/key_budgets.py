"""The budgets of keys that were made while everything runs, read along from KEYS; nothing is ever written there.

The edges alone judge keys. Here only what a key is called and may spend counts, so a record is taken as it is: one that
cannot be read changes nothing, and a key that has ended may still have jobs under way that spend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import ContractError, decode
from job_contracts.keys import KeyRecord
from ledger.watching import Payer
from runtime.bus.port import BusError
from runtime.service import Duty
from runtime.telemetry import DEBUG, WARNING

if TYPE_CHECKING:
    from runtime.bus.port import Bus, Message, Tail
    from runtime.clock import Clock
    from runtime.settings import Config
    from runtime.telemetry import Telemetry

AGAIN = 5.0
"""Seconds until the stream is asked for again, where it could not be read."""
TIDY = 600.0
"""Seconds between two looks for keys that ended long ago."""


class KeyBudgets(Duty):
    """Knows them a moment after the edges do. Where KEYS cannot be read, the rest of the ledger goes on."""

    def __init__(self, bus: Bus, clock: Clock, telemetry: Telemetry, config: Config) -> None:
        super().__init__("key_budgets", telemetry)
        self._bus = bus
        self._clock = clock
        self._kept = config.gateway.keys_kept
        self._configured = frozenset(config.gateway.keys)
        self._known: dict[str, KeyRecord] = {}

    def payers(self) -> tuple[Payer, ...]:
        """All that have a budget."""
        return tuple(
            Payer("key", one.id, one.project, one.scope.budget, label=one.name)
            for one in self._known.values()
            if one.scope.budget is not None
        )

    def hear(self, message: Message) -> None:
        """Take in a record. One of a key that the configuration names only tells that it ended."""
        name = message.subject.rpartition(".")[2]
        try:
            record = decode(KeyRecord, message.data)
        except ContractError as error:
            self.telemetry.emit("alerts.key_unreadable", WARNING, key=name, field=error.field)
            return
        if record.id == name and not record.static and name not in self._configured:
            self._known[name] = record

    async def run(self) -> None:
        """Until it is to stop."""
        tail: Tail | None = None
        wait = 0.0
        try:
            while await self.pause(wait):
                if tail is None:
                    tail = await self._begun()
                self._tidy()
                wait = AGAIN if tail is None else TIDY
        finally:
            if tail is not None:
                await tail.close()

    async def _begun(self) -> Tail | None:
        try:
            return await self._bus.tail(subjects.KEYS, self.hear)
        except BusError as error:
            self.telemetry.emit("alerts.keys_unread", DEBUG, error=type(error).__name__)
            return None

    def _tidy(self) -> None:
        """The broker lets go of a record so long after its key's end, without a word."""
        before = self._clock.wall() - self._kept
        for one in tuple(self._known.values()):
            if one.end is not None and one.end < before:
                del self._known[one.id]
