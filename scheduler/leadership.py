"""Who leads a shard: the lease record in the WORK stream, and the fence that every dispatch carries.

Protocol (rules R1-R5 of ``docs/decisions/0002-fenced-leader.md``). The record is one message on ``lease(shard)``.
Whatever the leader writes to WORK expects the record's sequence, so the broker refuses what a deposed leader sends. On
a replicated stream that is an atomic batch whose first message renews the record. On a single node, where a batch costs
a directory of files, each dispatch is a message of its own that expects the record's sequence; where limits are metered
the record, with the levels after these grants, goes first. An unknown outcome is resolved by a probe under the same
fence, never by a read alone: a read may miss what is still about to be stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from secrets import token_hex
from typing import TYPE_CHECKING

from pydantic import Field

from job_contracts import subjects
from job_contracts.codec import ContractError, Wire, decode, encode
from runtime.bus.port import (
    BusError,
    NotFound,
    Outgoing,
    StreamFull,
    TooLarge,
    Unreachable,
    WrongSequence,
)
from runtime.telemetry import INFO, WARNING
from scheduler.silence import Silence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime.bus.port import Bus, Subscription
    from runtime.clock import Clock
    from runtime.telemetry import Telemetry

H_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
H_EXPECTED_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"
H_ROLLUP = "Nats-Rollup"
POLL = 0.25
"""Seconds between two looks at another owner's record."""
PROBE = 0.05
"""Seconds between two probes of an unknown outcome."""
ANSWER, PROBED = 2.0, 1.0
"""Seconds for the answer to a fenced write, and to a probe. To give one up early costs a probe and is always safe: its
fence is dead once the probe is stored."""
MARGIN = 0.25
"""Share of the lease before its end in which unfenced side effects are not begun any more (R7): 2 of 8 seconds."""


class LeaseRecord(Wire):
    """What the lease message says; ``epoch`` 0 means: this very message began the term."""

    instance: str
    epoch: int
    bid: str
    """Id of the write, never used twice."""
    owner: str | None = None
    """``None``: handed over, whoever comes may lead."""
    levels: Mapping[str, Mapping[str, float]] = Field(default_factory=dict)
    """Bucket levels by limit domain after this write's grants."""
    settled: int = 0
    """RES sequence up to which every settled job's submission is known to be removed."""


class Verdict(Enum):
    """What became of a fenced write."""

    STORED = "stored"
    NOT_STORED = "not stored"
    FULL = "stream full"
    LOST = "another leader took over"


NOT_STORED, UNSEEN = -1, 0


@dataclass(frozen=True, slots=True)
class Written:
    """Verdict of a fenced write. ``seqs`` has an entry a message: its sequence in WORK, ``NOT_STORED``, or ``UNSEEN``.

    Unseen: it is not there now, so it was not stored, or was taken, answered and acknowledged by a worker already.
    """

    verdict: Verdict
    seqs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Predecessor:
    """What the record said before this term (``None``: nobody ever led), and the seconds of silence observed."""

    record: LeaseRecord | None
    silence: float


class Lease:
    """One shard's lease, seen from one process. At most one fenced write is in flight (the caller awaits each)."""

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        telemetry: Telemetry,
        *,
        shard: int,
        owner: str,
        lease: float,
        replicated: bool = False,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._telemetry = telemetry
        self._shard = shard
        self._stream = subjects.stream_name(subjects.WORK, shard)
        self._subject = subjects.lease(shard)
        self.owner = owner
        self._lease = lease
        self._replicated = replicated
        self._instance = token_hex(6)
        self._writes = 0
        self._fence = 0
        self.epoch = 0
        self._trusted_until = 0.0
        self.state: Callable[[], tuple[Mapping[str, Mapping[str, float]], int]] = lambda: ({}, 0)
        """Bucket levels and settled cursor to put into each record."""
        self.last_write = 0.0
        """Monotonic time at which the last successful write began."""

    @property
    def trusted(self) -> bool:
        """Whether unfenced side effects may still be done in this term's name."""
        return self.epoch > 0 and self._clock.monotonic() < self._trusted_until

    async def acquire(
        self, stopping: asyncio.Event, look: Callable[[LeaseRecord | None], None] = lambda _: None
    ) -> Predecessor | None:
        """Wait until this process leads; ``None`` only when ``stopping`` was set first.

        ``look`` is told the record each time it was read.
        """
        hint = asyncio.Event()
        hints: Subscription | None = None
        silence = Silence(self._lease)
        before: Predecessor | None = None
        """What stood before we wrote: should the answer be lost, our own record is found later."""
        try:
            while not stopping.is_set():
                now = self._clock.monotonic()
                hint.clear()
                try:
                    if hints is None:
                        hints = await self._bus.subscribe(subjects.handed_over(self._shard), lambda _: hint.set())
                    seq, record = await self._read()
                except BusError as error:
                    self._telemetry.emit("lease.unreadable", error=type(error).__name__)
                    await _pause(stopping, POLL)
                    continue
                if before is not None and record is not None and record.instance == self._instance:
                    self._own(seq, now)
                    return before
                silence.note(seq, now, self._clock.monotonic())
                look(record)
                free = record is None or record.owner is None
                if free or silence.over:
                    unreadable = LeaseRecord(instance="", epoch=0, bid="") if seq else None
                    before = Predecessor(record or unreadable, silence.seconds)
                    if await self._take(seq, {} if record is None else record.levels):
                        return before
                await _pause(stopping, 0.02 if free else POLL, hint)
        finally:
            if hints is not None:
                await hints.close()
        return None

    async def write(self, messages: Sequence[Outgoing] = ()) -> Written:
        """Store ``messages`` under the lease, and renew it where that belongs to it.

        Returns what became of them, however long it takes to find out: while that is unknown nothing else may be
        dispatched (R3). After ``LOST`` the term is over.
        """
        if self._replicated or not messages:
            return await self._write_record(messages)
        return await self._write_each(messages)

    async def store_levels(self) -> Verdict:
        """To be called before ``write``: see that no successor starts from levels before these grants.

        Where the record goes along with the messages, or nothing is metered, there is nothing to do.
        """
        if self._replicated or not any(self.state()[0].values()):
            return Verdict.STORED
        verdict = (await self._write_record(())).verdict
        if verdict is Verdict.STORED:
            self._telemetry.emit("lease.levels_stored")
        return verdict

    async def _write_record(self, messages: Sequence[Outgoing]) -> Written:
        """Renew the record; ``messages`` are stored with it, all or nothing."""
        started = self._clock.monotonic()
        bid = self._next_bid()
        renewal = self._renewal(bid)
        none = (NOT_STORED,) * len(messages)
        try:
            if messages:
                ack = await self._bus.append_batch([renewal, *messages], timeout=ANSWER)
            else:
                ack = await self._bus.append(renewal.subject, renewal.data, headers=renewal.headers, timeout=ANSWER)
        except (Unreachable, TooLarge):
            return Written(Verdict.NOT_STORED, none)
        except StreamFull:
            return Written(Verdict.FULL, none)
        except BusError as error:
            self._telemetry.emit("lease.outcome_unknown", INFO, error=type(error).__name__, jobs=len(messages))
            verdict = await self._resolve(bid)
            stored = verdict is Verdict.STORED
            return Written(verdict, self._after_record(len(messages)) if stored else none)
        self._advance(ack.seq - ack.count + 1, started)
        return Written(Verdict.STORED, self._after_record(len(messages)))

    def _after_record(self, count: int) -> tuple[int, ...]:
        return tuple(range(self._fence + 1, self._fence + 1 + count))

    async def _write_each(self, messages: Sequence[Outgoing]) -> Written:
        """Every message for itself, all at once, each expecting the record as it is."""
        fence = {H_EXPECTED: str(self._fence), H_EXPECTED_SUBJECT: self._subject}
        answers = await asyncio.gather(*(self._write_one(message, fence) for message in messages))
        unknown = [index for index, answer in enumerate(answers) if answer is None]
        verdict = Verdict.STORED if any(answer != NOT_STORED for answer in answers) else Verdict.NOT_STORED
        seqs = [UNSEEN if answer is None else answer for answer in answers]
        if unknown:
            self._telemetry.emit("lease.outcome_unknown", INFO, jobs=len(unknown))
            if await self._resolve("") is Verdict.LOST:
                return Written(Verdict.LOST, tuple(seqs))
            for index in unknown:
                seqs[index] = await self._find(messages[index])
        return Written(verdict, tuple(seqs))

    async def _write_one(self, message: Outgoing, fence: Mapping[str, str]) -> int | None:
        """The sequence; ``NOT_STORED`` if certainly not; ``None`` if that is not known."""
        try:
            headers = {**fence, **message.headers} if message.headers else fence
            return (await self._bus.append(message.subject, message.data, headers=headers, timeout=ANSWER)).seq
        except (Unreachable, TooLarge, StreamFull):
            return NOT_STORED
        except BusError:
            return None

    async def _find(self, message: Outgoing) -> int:
        """Where a message lies whose fence is dead: once it is not found, it never comes."""
        while True:
            try:
                stored = await self._bus.last(self._stream, message.subject)
            except NotFound:
                return UNSEEN
            except BusError:
                await asyncio.sleep(PROBE)
            else:
                return stored.seq if stored.data == message.data else UNSEEN

    async def resign(self) -> None:
        """Hand over at once: contenders need not wait for silence."""
        if not self.epoch:
            return
        record = self._record(self.epoch, None).model_copy(update={"owner": None})
        try:
            await self._bus.append(
                self._subject, encode(record), headers={H_ROLLUP: "sub", H_EXPECTED: str(self._fence)}
            )
        except BusError as error:
            self._telemetry.emit("lease.resign_unconfirmed", INFO, error=type(error).__name__)
        else:
            self._telemetry.emit("lease.resigned", epoch=self.epoch)
            await self._hint()
        self.epoch = 0

    async def _hint(self) -> None:
        """Standbys look four times a second; told, they look at once."""
        with suppress(BusError):
            await self._bus.publish(subjects.handed_over(self._shard), b"")

    async def _read(self) -> tuple[int, LeaseRecord | None]:
        try:
            message = await self._bus.last(self._stream, self._subject)
        except NotFound:
            return 0, None
        try:
            return message.seq, decode(LeaseRecord, message.data)
        except ContractError:
            return message.seq, None

    async def _take(self, observed: int, levels: Mapping[str, Mapping[str, float]]) -> bool:
        """Begin a term; ``levels`` as they were found stand until it writes its own: it may end before that."""
        started = self._clock.monotonic()
        record = self._record(0, None).model_copy(update={"levels": levels})
        headers = {H_ROLLUP: "sub", H_EXPECTED: str(observed)}
        try:
            seq = (await self._bus.append(self._subject, encode(record), headers=headers)).seq
        except BusError:
            seq = await self._mine(record.bid)
        if not seq:
            return False
        self._own(seq, started)
        return True

    def _own(self, seq: int, started: float) -> None:
        """The term begins with the record at ``seq``."""
        self.epoch = seq
        self._advance(seq, started)

    async def _mine(self, bid: str) -> int:
        """The record's sequence if it is the one we wrote (a positive read is final), else 0."""
        try:
            seq, record = await self._read()
        except BusError:
            return 0
        return seq if record is not None and record.bid == bid else 0

    async def _resolve(self, bid: str) -> Verdict:
        """Find out what became of write ``bid`` sent under the present fence (R3). No deadline, by design."""
        probes: set[str] = set()
        while True:
            started = self._clock.monotonic()
            probe = self._next_bid()
            probes.add(probe)
            message = self._renewal(probe)
            try:
                ack = await self._bus.append(message.subject, message.data, headers=message.headers, timeout=PROBED)
            except WrongSequence:
                verdict = await self._judge(bid, probes, started)
                if verdict is not None:
                    return verdict
            except BusError as error:
                self._telemetry.emit("lease.probe", error=type(error).__name__)
            else:
                self._advance(ack.seq, started)
                return Verdict.NOT_STORED
            await asyncio.sleep(PROBE)

    async def _judge(self, bid: str, probes: set[str], started: float) -> Verdict | None:
        """Somebody moved the lease: us, unknowingly, or another leader. ``None``: a stale answer, ask again."""
        try:
            seq, record = await self._read()
        except BusError:
            return None
        if seq <= self._fence:
            return None
        if record is not None and (record.bid == bid or record.bid in probes):
            self._advance(seq, started)
            return Verdict.STORED if record.bid == bid else Verdict.NOT_STORED
        # Unreadable: whoever wrote it, our fence is dead.
        self._telemetry.emit(
            "lease.lost", WARNING, epoch=self.epoch, owner=record.owner if record is not None else None
        )
        self.epoch = 0
        return Verdict.LOST

    def _advance(self, fence: int, started: float) -> None:
        self._fence = fence
        self.last_write = started
        self._trusted_until = started + self._lease * (1 - MARGIN)

    def _renewal(self, bid: str) -> Outgoing:
        data = encode(self._record(self.epoch, bid))
        return Outgoing(self._subject, data, {H_ROLLUP: "sub", H_EXPECTED: str(self._fence)})

    def _record(self, epoch: int, bid: str | None) -> LeaseRecord:
        levels, settled = self.state() if epoch else ({}, 0)
        return LeaseRecord.model_construct(
            owner=self.owner,
            instance=self._instance,
            epoch=epoch,
            bid=bid or self._next_bid(),
            levels=levels,
            settled=settled,
        )

    def _next_bid(self) -> str:
        self._writes += 1
        return f"{self._instance}.{self._writes}"


async def _pause(stopping: asyncio.Event, seconds: float, hint: asyncio.Event | None = None) -> None:
    """Until the time is over, or one of the events is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in (stopping, hint) if event is not None]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
