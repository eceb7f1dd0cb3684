"""Operators' orders: stored in AUDIT, read along by everybody who leads or stands by, carried out by the board.

An order is one message, and the last one of its subject is in force. It takes effect when it is read back, here and at
every standby: so it survives whoever took it, and whoever was told that it is stored. Its sequence fences it: of two
that are given at once, by two leaders even, the second one is told of the first. What ends by itself ends by the clock
of each process, without a message.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import ContractError, decode, encode
from job_contracts.operating import AIMS, Audited, AuditLine, AuditPage, Ordered
from runtime.bus.port import BusError, NotFound, StreamFull, WrongSequence
from runtime.telemetry import ERROR, INFO
from scheduler.policy import facts
from scheduler.policy.orders import NOTHING, Orders, ended, wish
from scheduler.recovery import behind_barrier

if TYPE_CHECKING:
    from job_contracts.operating import Aim, AskAudit, AskNote, AskOrder, InForce
    from runtime.bus.port import Message, Tail
    from scheduler.policy.orders import Target
    from scheduler.term import Term

LOOK = 1.0
"""Seconds between two looks for orders that have ended."""
TRIES = 3
"""Orders of others that may come first before one is given up."""
CATCH_UP = 5.0
"""Seconds in which an order that is stored must be read back."""
PAGE = 200
"""Places of AUDIT that are looked at in one go."""
GOES = 10
"""Goes for one page."""


class Standings:
    """One candidate's: ``open`` reads along, ``begin`` before it dispatches, ``run`` while it leads, ``close`` ends."""

    def __init__(self, term: Term) -> None:
        self._term = term
        self._bus = term.bus
        self._clock = term.clock
        self._book = Orders()
        self._applied: dict[Target, InForce] = {}
        """What the board was told and has not ended."""
        self._last: dict[str, int] = {}
        """By subject: where its last message lies, whatever that says."""
        self._tail: Tail | None = None
        self._turn = asyncio.Lock()
        self.since = 0.0
        """UTC seconds at which this term began."""

    # ------------------------------------------------------------------------------------------------------- reading

    async def open(self) -> None:
        """Begin to read, if that is not begun. Raises BusError; then it may be tried again."""
        if self._tail is None:
            shard = self._term.shard
            wanted = (subjects.orders(shard), subjects.barrier(subjects.AUDIT, shard))
            self._tail = await self._bus.tail(subjects.AUDIT, self.on_message, subjects=wanted)

    async def begin(self) -> None:
        """Read everything that was ever ordered. Raises BusError: then nothing may be dispatched."""
        await self.open()
        assert self._tail is not None  # noqa: S101 - open
        try:
            await behind_barrier(self._term, subjects.AUDIT, self._tail)
        except StreamFull:  # no mark fits, but what is there can be read
            self._term.telemetry.emit("orders.full", ERROR)
            await self._read_to((await self._bus.stream_state(subjects.AUDIT)).last_seq)
        self.look()
        self.since = self._clock.wall()

    async def close(self) -> None:
        """Read no more; safe at any time."""
        tail, self._tail = self._tail, None
        if tail is not None:
            await tail.close()

    def on_message(self, message: Message) -> None:
        """One order, in the order they were stored."""
        if not message.subject.startswith(f"{subjects.PREFIX}.order."):
            return
        self._last[message.subject] = message.seq
        try:
            entry = decode(Audited, message.data)
        except ContractError as error:  # nobody but leaders writes there; the one before it stays in force
            self._term.telemetry.emit("orders.unreadable", ERROR, seq=message.seq, error=str(error))
            return
        aim = _aim(entry.on)
        if aim is not None:
            self._book.read(entry, aim, entry.name, message.seq)
            self._carry_out((aim, entry.name))

    def _carry_out(self, target: Target) -> None:
        """Tell the board what is in force of it now, if that is news."""
        wall = self._clock.wall()
        order, told = self._book.of(target, wall), self._applied.get(target)
        if order == told:
            return
        aim, name = target
        standing = NOTHING if order is None else order.standing
        if order is None:
            del self._applied[target]
        else:
            self._applied[target] = order
        said = "" if order is None else f"{order.by}: {order.why}" if order.why else order.by
        if told is None or told.standing.model_copy(update={"until": standing.until}) != standing:
            self._term.telemetry.emit("order.applied", INFO, aim=aim, target=name, state=standing.state)
        fact = facts.Ordered(aim, name, standing.state, standing.limits, said, standing.factor)
        self._term.board.apply(fact, self._clock.monotonic())
        if self._term.leads:
            self._term.wake.set()

    # ------------------------------------------------------------------------------------------------------- leading

    async def run(self) -> None:
        """For ever: see what has ended, and that the reading goes on."""
        while True:
            try:
                await self.open()
            except BusError as error:
                self._term.telemetry.emit("orders.interrupted", INFO, error=type(error).__name__)
            await asyncio.sleep(self.look())

    def look(self) -> float:
        """What has ended by itself ends; returns the seconds until the next look."""
        wall, pause = self._clock.wall(), LOOK
        for target, order in [*self._applied.items()]:
            if ended(order.standing, wall):
                self._carry_out(target)
            elif order.standing.until is not None:
                pause = min(pause, order.standing.until - wall)
        return max(pause, 0.01)

    def in_force(self) -> dict[Target, InForce]:
        """Every order that is, by what it is about."""
        self.look()
        return dict(self._applied)

    async def order(self, asked: AskOrder) -> Ordered:
        """Store it and let it take effect. Raises BusError; whether it was stored is then told by asking again."""
        target = (asked.aim, asked.name)
        async with self._turn:
            for _ in range(TRIES):
                self.look()
                wall = self._clock.wall()
                current = self._book.of(target, wall)
                before, after = NOTHING if current is None else current.standing, wish(asked, wall)
                if before == after:
                    return Ordered(changed=False, line=await self._line(current))
                entry = Audited(
                    at=wall,
                    by=asked.by,
                    did=asked.do,
                    on=asked.aim,
                    name=asked.name,
                    why=asked.why,
                    before=before,
                    after=after,
                )
                subject = subjects.order(self._term.shard, *target)
                try:
                    ack = await self._bus.append(subject, encode(entry), expect_last=self._last.get(subject, 0))
                except WrongSequence:  # another leader's, or our own whose answer was lost
                    await self._read_to((await self._bus.stream_state(subjects.AUDIT)).last_seq)
                    continue
                self._term.telemetry.emit("order.stored", INFO, aim=asked.aim, do=asked.do, target=asked.name)
                await self._read_to(ack.seq)
                return Ordered(changed=True, line=AuditLine(seq=ack.seq, entry=entry))
        raise BusError("others keep giving orders about the same")

    async def _line(self, order: InForce | None) -> AuditLine | None:
        if order is None:
            return None
        stored = await self._bus.get(subjects.AUDIT, order.seq)
        return AuditLine(seq=stored.seq, entry=decode(Audited, stored.data))

    async def _read_to(self, seq: int) -> None:
        if self._tail is None or not await self._tail.caught_up(seq, timeout=CATCH_UP):
            raise BusError(f"{subjects.AUDIT} could not be read up to sequence {seq}")

    # ----------------------------------------------------------------------------------------------------- the audit

    async def note(self, asked: AskNote) -> Ordered:
        """Store what another service has done. Raises BusError."""
        entry = Audited(
            at=self._clock.wall(),
            by=asked.by,
            did=asked.did,
            on=asked.on,
            name=asked.name,
            why=asked.why,
            detail=asked.detail,
        )
        ack = await self._bus.append(subjects.note(asked.on), encode(entry))
        return Ordered(changed=True, line=AuditLine(seq=ack.seq, entry=entry))

    async def audit(self, asked: AskAudit) -> AuditPage:
        """A page of what was done, newest first. Raises BusError."""
        state = await self._bus.stream_state(subjects.AUDIT)
        below = state.last_seq + 1 if asked.below is None else min(asked.below, state.last_seq + 1)
        room = self._bus.max_payload // 2
        found: list[AuditLine] = []
        for _ in range(GOES):
            start = max(state.first_seq, below - PAGE)
            for message in reversed(await self._between(start, below)):
                below = message.seq
                line = _wanted(asked, message)
                if line is None:
                    continue
                found.append(line)
                room -= len(message.data)
                if len(found) >= asked.limit or room < 0:
                    return _page(found, below, state.first_seq)
            below = start
            if below <= state.first_seq:
                break
        return _page(found, below, state.first_seq)

    async def _between(self, start: int, below: int) -> list[Message]:
        """What is stored from ``start`` on; what an idle node does not have yet is asked of the one that leads."""
        found: list[Message] = []
        while start < below:
            run = await self._bus.run(subjects.AUDIT, start, limit=PAGE)
            found += [message for message in run if message.seq < below]
            if not run or run[-1].seq >= below - 1:
                break
            start = run[-1].seq + 1
        missing = range(found[-1].seq + 1 if found else start, below)
        late = await asyncio.gather(*(self._bus.get(subjects.AUDIT, seq) for seq in missing), return_exceptions=True)
        for answer in late:
            if isinstance(answer, BaseException):
                if not isinstance(answer, NotFound):
                    raise answer
            else:
                found.append(answer)
        return found


def _aim(on: str) -> Aim | None:
    return next((aim for aim in AIMS if aim == on), None)


def _wanted(asked: AskAudit, message: Message) -> AuditLine | None:
    """The record, if it is one and is asked for."""
    try:
        entry = decode(Audited, message.data)
    except ContractError:  # a mark that a leader left
        return None
    for wanted, there in ((asked.by, entry.by), (asked.did, entry.did), (asked.on, entry.on), (asked.name, entry.name)):
        if wanted is not None and wanted != there:
            return None
    return AuditLine(seq=message.seq, entry=entry)


def _page(found: list[AuditLine], below: int, first: int) -> AuditPage:
    return AuditPage(lines=tuple(found), below=below if below > first else None)
