"""The memory broker as a network would let it be seen: late, out of step, stale, and now and then not at all.

Everything that reaches the broker is written down where it is stored, so that a checker can judge the run by what the
broker knows, and not by what anybody believed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

from job_contracts import subjects
from job_contracts.attempts import Assignment, Outcome
from job_contracts.codec import decode
from job_contracts.jobs import Cancel, Ticket
from job_contracts.results import Settlement
from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.memory_store import H_EXPECTED
from runtime.bus.port import Ack, BusError, Message, NotFound, OutcomeUnknown, Outgoing, StreamState
from runtime.clock import Clock
from tests.e2e.faults.model.loop import NETWORK, PROCESS

T = TypeVar("T")
TIMEOUT = 2.0
"""Seconds after which an answer is not awaited any longer."""
Key = tuple[str, str]
"""Project and job."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, where it became final: in the broker, at the provider, in the harness."""

    at: float
    kind: str
    key: Key = ("", "")
    who: str = ""
    """The process that did it."""
    sent: float = 0.0
    """When it left there."""
    attempt: int = 0
    told: Mapping[str, Any] = field(default_factory=dict)


class History:
    """All of it, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def note(self, event: Event) -> None:
        """Append."""
        self.events.append(event)

    def of(self, *kinds: str) -> list[Event]:
        """Those of some kinds."""
        return [event for event in self.events if event.kind in kinds]


class ModelBroker(MemoryBroker):
    """Notes every write it accepts."""

    def __init__(self, clock: Clock, history: History) -> None:
        super().__init__(clock=clock)
        self.history = history
        self.sender, self.sent = "", 0.0
        self.lease_was: list[tuple[float, Message]] = []
        """Every lease record there ever was, for replicas that have fallen behind."""

    def write(self, batch: Sequence[Outgoing]) -> Ack:
        ack = super().write(batch)
        for place, message in enumerate(batch):
            self._note(message, ack, ack.seq - len(batch) + 1 + place)
        return ack

    def _note(self, message: Outgoing, ack: Ack, seq: int) -> None:
        now, stream = self.clock.monotonic(), ack.stream
        if message.subject == subjects.lease(0):
            self.lease_was.append((now, self.stream(stream).get(seq)))
            self.history.note(Event(now, "lease", who=self.sender, sent=self.sent))
            return
        try:
            key = subjects.project_and_job(message.subject)
        except ValueError:
            return
        kind, attempt, told = self._read(stream, message)
        if kind:
            self.history.note(Event(now, kind, key, self.sender, self.sent, attempt, {**told, "seq": seq}))

    @staticmethod
    def _read(stream: str, message: Outgoing) -> tuple[str, int, dict[str, Any]]:
        headers = message.headers or {}
        if stream == subjects.stream_name(subjects.WORK):
            order = decode(Assignment, message.data)
            return "committed", order.attempt, {"order": order}
        if stream == subjects.RES and subjects.H_SETTLEMENT in headers:
            settlement = decode(Settlement, headers[subjects.H_SETTLEMENT])
            return "result", settlement.attempt, {"state": settlement.state, "token": settlement.token}
        if stream == subjects.stream_name(subjects.SUBMIT) and subjects.H_TICKET in headers:
            ticket = decode(Ticket, headers[subjects.H_TICKET])
            return "submitted", 0, {"token": ticket.token, "body_hash": ticket.body_hash, "ticket": ticket}
        if stream == subjects.stream_name(subjects.OUT) and message.data:
            outcome = decode(Outcome, message.data)
            return "outcome", outcome.record.number, {"kind": outcome.failure.kind}
        if stream == subjects.CTL and message.data:
            return "cancel", 0, {"token": decode(Cancel, message.data).token}
        return "", 0, {}


@dataclass
class Weather:
    """What one connection suffers at present; chances are per call."""

    slow: float = 0.0
    """Chance that a write stalls for up to ``stall`` seconds, and is answered then."""
    stall: float = 1.3
    late: float = 0.0
    """Chance that a write is given up by its sender and arrives afterwards."""
    reply_lost: float = 0.0
    lost: float = 0.0
    """Chance that a write never arrives."""
    unread: float = 0.0
    """Chance that a read fails."""
    stale: float = 0.0
    """Chance that a read of the lease is answered by a replica that is behind."""
    lag: float = 0.02
    """Seconds by which tails are behind at most."""
    beats_lost: float = 0.0
    keep_expected: bool = True
    """False is a mutation: the fence is taken off what is sent to WORK."""
    keep_create_only: bool = True
    """False is a mutation: results are written whatever is there."""


class ModelBus(MemoryBus):
    """A connection of one process, with weather."""

    def __init__(self, broker: ModelBroker, who: str, random: Random, *, inbox: str = "_INBOX") -> None:
        super().__init__(broker, inbox_prefix=inbox, chunk=256 * 1024, max_blob=64 * 1024 * 1024)
        self.model = broker
        self.who = who
        self.weather = Weather()
        self.random = random
        self._line = 0.0

    # -- writing

    async def _write(self, messages: Sequence[Outgoing]) -> Ack:
        for message in messages:
            self._check(message.subject, message.data, message.headers)
        messages = [self._unfenced(message) for message in messages]
        loop, weather, random = asyncio.get_running_loop(), self.weather, self.random
        sent, where = loop.time(), messages[-1].subject
        answer: asyncio.Future[Ack] = loop.create_future()
        chance = random.random()
        late, lost = chance < weather.late, weather.late <= chance < weather.late + weather.lost
        mute = random.random() < weather.reply_lost
        if late:
            arrives = sent + TIMEOUT + random.choice([0.05, 3.0]) * random.random()
        else:
            takes = random.uniform(0.001, 0.004)
            if random.random() < weather.slow:
                takes += random.uniform(0.05, weather.stall)
            arrives = self._line = max(self._line, sent + takes)  # one connection keeps its order

        def arrive() -> None:
            self.model.sender, self.model.sent = self.who, sent
            try:
                ack = self.model.write(messages)
            except BusError as error:
                self._answer(answer, error, silent=mute)
            else:
                self._answer(answer, ack, silent=mute)

        if not lost:
            loop.call_at(arrives, arrive, context=NETWORK)
        return await self._await(answer, where)

    def _unfenced(self, message: Outgoing) -> Outgoing:
        headers = message.headers or {}
        work = message.subject.startswith((f"{subjects.PREFIX}.work.", f"{subjects.PREFIX}.lease."))
        result = message.subject.startswith(f"{subjects.PREFIX}.res.")
        if (work and not self.weather.keep_expected) or (result and not self.weather.keep_create_only):
            kept = {name: value for name, value in headers.items() if not name.startswith(H_EXPECTED)}
            return Outgoing(message.subject, message.data, kept or None)
        return message

    def _answer(self, answer: asyncio.Future[T], value: T | BusError, *, silent: bool = False) -> None:
        """Send the answer back; runs as part of the network."""
        if silent:
            return

        def settle() -> None:
            if answer.done():
                return
            if isinstance(value, BusError):
                answer.set_exception(value)
            else:
                answer.set_result(value)

        asyncio.get_running_loop().call_later(self.random.uniform(0.0005, 0.002), settle, context=NETWORK)

    async def _await(self, answer: asyncio.Future[T], what: str) -> T:
        try:
            async with asyncio.timeout(TIMEOUT):
                return await answer
        except TimeoutError as error:
            raise OutcomeUnknown(f"{what}: no answer") from error

    # -- reading

    async def _ask(self, what: str, read: Callable[[], T]) -> T:
        """A read, answered by the broker as it is when the question arrives there."""
        self._stream_is_reachable(what)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def arrive() -> None:
            try:
                value = read()
            except BusError as error:
                self._answer(answer, error)
            else:
                self._answer(answer, value)

        if self.random.random() < self.weather.unread:
            await asyncio.sleep(TIMEOUT / 4)
            raise OutcomeUnknown(f"{what}: no answer")
        loop.call_later(self.random.uniform(0.0005, 0.002), arrive, context=NETWORK)
        return await self._await(answer, what)

    def _stream_is_reachable(self, what: str) -> None:
        self._check(what, b"", None)

    async def last(self, stream: str, subject: str) -> Message:
        if subject == subjects.lease(0) and self.random.random() < self.weather.stale:
            then = self.model.clock.monotonic() - self.random.uniform(0.1, 4.0)
            old = [message for at, message in self.model.lease_was if at <= then]
            if old:
                return await self._ask(stream, lambda: old[-1])
        return await self._ask(stream, lambda: self.model.stream(stream).last(subject))

    async def get(self, stream: str, seq: int) -> Message:
        return await self._ask(stream, lambda: self.model.stream(stream).get(seq))

    async def next(self, stream: str, seq: int, subject: str) -> Message:
        def read() -> Message:
            for stored in self.model.stream(stream).after(seq, (subject,)):
                return stored.message()
            raise NotFound(f"{stream}: no message found (code 10037)", code=10037)

        return await self._ask(stream, read)

    async def stream_state(self, stream: str, *, subjects: str = "") -> StreamState:
        def read() -> StreamState:
            if stream == "CTL":
                self.model.history.note(Event(self.model.clock.monotonic(), "cancels read", who=self.who))
            return self.model.stream(stream).state(subjects)

        return await self._ask(stream, read)

    async def delete(self, stream: str, seq: int) -> bool:
        return await self._ask(stream, lambda: self.model.stream(stream).remove(seq))

    async def purge(self, stream: str, *, below: int, subjects: str = "") -> int:
        return await self._ask(stream, lambda: self.model.stream(stream).purge(below, subjects))

    # -- hearing

    def hand_over(self, pump: Callable[[], None], context: Context) -> None:
        lag = self.random.uniform(0.0, self.weather.lag)
        asyncio.get_running_loop().call_later(lag, pump, context=context)

    async def request(self, subject: str, data: bytes, *, timeout: float) -> Message:
        if self.random.random() < self.weather.beats_lost:
            await asyncio.sleep(timeout)
            raise OutcomeUnknown(f"{subject}: no answer")
        return await super().request(subject, data, timeout=timeout)

    def cut(self) -> None:
        """The process is gone, and with it whatever listened."""
        self._up = False
        self.broker.watchers[:] = [each for each in self.broker.watchers if each != self._stored]
        self.broker.interest.leave(self)


def in_process() -> str:
    """The name of the process that is running."""
    process = PROCESS.get()
    return process.name if process is not None else ""
