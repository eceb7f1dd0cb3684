"""Reads KEYS along into the book, and knows how old its knowledge may be: no request waits for a store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import ContractError, decode
from job_contracts.keys import KeyRecord
from runtime.bus.port import BusError, OutcomeUnknown
from runtime.service import Duty
from runtime.telemetry import DEBUG, ERROR, INFO, WARNING

if TYPE_CHECKING:
    from gateway.keys import Book
    from runtime.bus.port import Bus, Message, Tail
    from runtime.clock import Clock
    from runtime.settings.services import Edge
    from runtime.telemetry import Telemetry

LOOK = 1.0
"""Seconds between two questions to the broker whether everything was read."""
FIRST = 30.0
"""Seconds the first reading may take; an edge does not listen before it knows what was revoked."""
TIDY = 600.0
"""Seconds between two looks for records that are no longer kept."""


class KeyStore(Duty):
    """Tails the stream. ``fresh`` once everything that was stored lately is known here."""

    def __init__(self, bus: Bus, book: Book, clock: Clock, telemetry: Telemetry, settings: Edge) -> None:
        super().__init__("keys", telemetry)
        self._bus = bus
        self._book = book
        self._clock = clock
        self._settings = settings
        self._tail: Tail | None = None
        self._true_at: float | None = None
        self._told = True
        self._tidied = 0.0
        self._listeners: list[Callable[[KeyRecord], None]] = []

    def fresh(self, now: float) -> bool:
        """Whether all that was stored up to ``keys_stale`` seconds before ``now`` (monotonic) is in the book."""
        return self._true_at is not None and now - self._true_at <= self._settings.keys_stale

    def when_changed(self, listener: Callable[[KeyRecord], None]) -> None:
        """Call back with each record that is taken in."""
        self._listeners.append(listener)

    def hear(self, message: Message) -> None:
        """Take in a message of the stream, as it is read along or was asked for."""
        name = message.subject.rpartition(".")[2]
        try:
            record: KeyRecord | None = decode(KeyRecord, message.data)
        except ContractError as error:
            self.telemetry.emit("keys.unreadable", ERROR, key=name, field=error.field)
            record = None
        if record is not None and record.id != name:
            self.telemetry.emit("keys.unreadable", ERROR, key=name, field="id")
            record = None
        now = self._book.apply(name, message.seq, record)
        if now is not None:
            for listener in self._listeners:
                listener(now)

    async def opened(self) -> None:
        """Read everything there is. Raises OutcomeUnknown if that takes too long, or as ``Bus.tail`` does."""
        self._tail = await self._bus.tail(subjects.KEYS, self.hear)
        if not await self._looked(FIRST):
            raise OutcomeUnknown(f"{subjects.KEYS}: not read to the end within {FIRST:g} s")

    async def run(self) -> None:
        """Ask again and again whether everything was read."""
        while await self.pause(LOOK):
            await self._looked(LOOK)
            self._tell_staleness()
            self._tidy()

    async def closed(self) -> None:
        """Read no further."""
        tail, self._tail, self._true_at = self._tail, None, None
        if tail is not None:
            await tail.close()

    async def _looked(self, within: float) -> bool:
        """Whether everything is known that was stored when this was asked: the stream's leader says where it ends."""
        asked = self._clock.monotonic()
        try:
            last = (await self._bus.stream_state(subjects.KEYS)).last_seq
        except BusError as error:
            self.telemetry.emit("keys.not_asked", DEBUG, error=str(error))
            return False
        if self._tail is None or not await self._tail.caught_up(last, timeout=within):
            return False
        self._true_at = asked
        return True

    def _tell_staleness(self) -> None:
        fresh = self.fresh(self._clock.monotonic())
        if fresh is not self._told:
            self._told = fresh
            self.telemetry.emit("keys.fresh" if fresh else "keys.stale", INFO if fresh else WARNING)

    def _tidy(self) -> None:
        now = self._clock.monotonic()
        if now - self._tidied >= TIDY:
            self._tidied = now
            self._book.prune(self._clock.wall() - self._settings.keys_kept)
