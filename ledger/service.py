"""Reads LEDGER from the place in the database on and stores what it says; while either is away, it waits.

It asks for as much as it can store, so a database that is away costs no memory: what is not stored lies in LEDGER.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from job_contracts import subjects
from job_contracts.codec import ContractError, decode
from job_contracts.facts import Facts
from ledger.bookings import Booking, Misfit, booking
from ledger.store import Moved, Store, Stored
from runtime.bus.port import BusError
from runtime.service import Duty
from runtime.telemetry import ERROR, INFO, WARNING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_contracts.facts import AttemptFact
    from ledger.database import Database
    from runtime.bus.port import Bus, Message
    from runtime.clock import Clock
    from runtime.settings.services import LedgerSettings
    from runtime.telemetry import Telemetry

BARRIERS = f"{subjects.PREFIX}.ledger_barrier."
SIZE = 4 * 1024 * 1024
"""Bytes of messages in one reading."""
LOOK = 5.0
"""Seconds between two looks at how far LEDGER goes."""
AGAIN, LONGEST = 0.2, 5.0
"""Seconds after which what failed is tried again, at first and at most."""
PATIENCE = 60.0
"""Seconds that one batch may take."""


class Ledger(Duty):
    """The ledger's main duty. Several may run beside each other: what one has stored the other does not count."""

    def __init__(
        self, bus: Bus, database: Database, settings: LedgerSettings, clock: Clock, telemetry: Telemetry
    ) -> None:
        super().__init__("ledger", telemetry, grace=10.0)
        self._bus = bus
        self._clock = clock
        self._database = database
        self._settings = settings
        self._store = Store(self._database)
        self._why: str | None = "nothing has been read"
        self._reading = False
        self._looked = float("-inf")
        self._made: float | None = None
        """When the stream was made that the position is of."""
        self.position = 0
        """LEDGER sequence up to which all is stored."""
        self.behind = 0
        """Messages beyond it at the last look."""

    @property
    def ready(self) -> str | None:
        """``None`` while it stores what it is told, else what is missing."""
        return self._why if self._bus.connected else "not connected to the broker"

    async def run(self) -> None:
        """Until the process is to end."""
        failures = 0
        while not self.stopping.is_set():
            try:
                if not self._reading:
                    await self._resume()
                busy = self._reading and await self._step()
                if self._reading:  # and only now: a database that is full, or another's, still answers what is asked
                    self._why = None
                failures = 0
            except Moved:
                self._reading, self._why = False, "another ledger has read on"
                continue
            except (BusError, SQLAlchemyError, OSError) as error:  # TimeoutError is an OSError
                if not failures:
                    self.telemetry.emit("ledger.failed", WARNING, error=type(error).__name__)
                where = "the broker" if isinstance(error, BusError) else "the database"
                self._reading, self._why = False, f"{where} does not answer"
                await self.pause(min(AGAIN * 2.0 ** min(failures, 10), LONGEST))
                failures += 1
                continue
            if not busy:
                await self.pause(max(self._settings.linger, 0.01) if self._reading else AGAIN)

    async def _resume(self) -> None:
        """Find out where to go on. Not ready while the tables are not what this version needs."""
        async with asyncio.timeout(PATIENCE):
            wrong = await self._database.wrong()
            if wrong is not None:
                if self._why != wrong:
                    self.telemetry.emit("ledger.wrong_revision", ERROR, why=wrong)
                self._why = wrong
                return
            # A database that failed over, or was restored, may have lost its last commits: what we learned is void.
            self._store = Store(self._database)
            self.position = await self._store.position()
            self._made = await self._store.made_at()  # read second, so it is never the older one
        await self._look()
        self._reading = True
        self.telemetry.emit("ledger.reading", INFO, position=self.position)

    async def _step(self) -> bool:
        """Store the next messages; whether there may be more."""
        asked = self._clock.wall()
        if self._clock.monotonic() - self._looked >= LOOK:
            await self._look()
        found = await self._bus.run(subjects.LEDGER, self.position + 1, limit=self._settings.batch, size=SIZE)
        if not found:
            return False
        if found[0].seq > self.position + 1:
            await self._miss(found[0].seq, asked)
        await self._store_all(found, asked)
        self.behind = max(0, self.behind - len(found))
        return len(found) >= self._settings.batch or sum(len(one.data) for one in found) > SIZE // 2

    async def _store_all(self, found: Sequence[Message], asked: float) -> None:
        """In transactions of about ``batch`` facts; a message is never split."""
        told: list[Booking] = []
        some: list[Message] = []
        for message in found:
            fresh = self._read(message)
            if some and len(told) + len(fresh) > self._settings.batch:
                await self._commit(some, told, asked)
                some, told = [], []
            some.append(message)
            told += fresh
        await self._commit(some, told, asked)

    async def _commit(self, messages: list[Message], told: list[Booking], asked: float) -> None:
        begun, through = self._clock.monotonic(), messages[-1].seq
        self.telemetry.emit("ledger.read", seq=through)
        # As long as there is more, all that is certain is how old the newest fact is.
        at = min(asked, max((one.at + one.seconds for one in told), default=asked)) if self.behind else asked
        try:
            async with asyncio.timeout(PATIENCE):
                stored = await self._store.store(
                    told, before=self.position, through=through, at=at, written=self._written
                )
        except DBAPIError as error:
            if not _unfit(error):
                raise
            stored = await self._apart(messages, asked)
        self.position = through
        took = self._clock.monotonic() - begun
        self.telemetry.emit(
            "ledger.stored", new=stored.new, replaced=stored.replaced, known=stored.known, seconds=took, seq=through
        )

    def _written(self) -> None:
        self.telemetry.emit("ledger.written")

    async def _apart(self, messages: list[Message], asked: float) -> Stored:
        """The database refuses something of it: halve until that stands alone, and do without it, loudly."""
        if len(messages) > 1:
            half = len(messages) // 2
            for some in (messages[:half], messages[half:]):
                told = [one for message in some for one in self._read(message)]
                await self._commit(some, told, asked)
            return Stored()
        seq = messages[0].seq
        self._unreadable(seq, "refused by the database")
        return await self._store.store((), before=self.position, through=seq, at=asked)

    def _read(self, message: Message) -> list[Booking]:
        if message.subject.startswith(BARRIERS):
            return []
        try:
            facts = decode(Facts, message.data).facts
        except ContractError as error:
            self._unreadable(message.seq, str(error))
            return []
        read = (self._booked(message.seq, fact) for fact in facts)
        return [one for one in read if one is not None]

    def _booked(self, seq: int, fact: AttemptFact) -> Booking | None:
        try:
            return booking(fact)
        except Misfit as error:
            self._unreadable(seq, f"{error} is none that can be kept")
            return None

    def _unreadable(self, seq: int, why: str) -> None:
        self.telemetry.emit("ledger.unreadable", ERROR, seq=seq, error=why)

    async def _miss(self, first: int, asked: float) -> None:
        """LEDGER begins after the place where we stopped: what lay between is in no sum. Say so for ever, and go on."""
        before = self.position
        await self._store.miss(before, first, asked)
        self.position = first - 1
        self.behind = max(0, self.behind - (self.position - before))
        self.telemetry.emit("ledger.facts_missed", ERROR, position=before, first=first, messages=self.position - before)

    async def _look(self) -> None:
        """How far LEDGER goes, and whether it still goes on where we stopped."""
        asked = self._clock.wall()
        state = await self._bus.stream_state(subjects.LEDGER)
        self._looked = self._clock.monotonic()
        made = state.made_at
        if state.last_seq < self.position or (None not in (made, self._made) and made != self._made):
            # Another stream of that name, or a node that is behind: reading anew is right for the one, and changes
            # nothing for the other, because an attempt that is known is not counted again. That it ends before our
            # place is not all that tells it: another one may have grown beyond that before we looked.
            self.telemetry.emit("ledger.replaced", ERROR, position=self.position, seq=state.last_seq)
            seq = max(0, state.first_seq - 1) if self.position else 0
            await self._store.begin_anew(self.position, seq, made)
            self.position = seq
        elif made is not None and self._made is None:
            await self._store.note_made(made)
        self._made = made or self._made
        self.behind = max(0, state.last_seq - self.position)
        if self.position + 1 < state.first_seq:
            await self._miss(state.first_seq, asked)
        if not self.behind and self.position:
            await self._store.caught_up(self.position, asked)


def _unfit(error: DBAPIError) -> bool:
    """Whether it is about what was to be stored, not about the connection or the tables."""
    if error.connection_invalidated:
        return False
    return type(error).__name__ == "DataError" or "out of range" in str(error.orig)
