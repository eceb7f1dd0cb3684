"""The bus in this process: a ``MemoryBroker`` shared by any number of ``MemoryBus`` connections, faults on demand."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from job_contracts.jobs import BlobRef
from runtime.bus import blobs
from runtime.bus.assets import Applier
from runtime.bus.memory_interest import MemoryInterest, MemorySubscription
from runtime.bus.memory_reading import MemoryPuller, MemoryTail
from runtime.bus.memory_store import H_EXPECTED, H_TTL, MemoryStream, Stored, transformed
from runtime.bus.port import (
    RUN_BYTES,
    Ack,
    BusError,
    ConsumerState,
    Family,
    Handler,
    Inboxes,
    Message,
    NotFound,
    OutcomeUnknown,
    Outgoing,
    Responder,
    StreamState,
    TooLarge,
    Unreachable,
)
from runtime.clock import Clock, SystemClock

log = logging.getLogger(__name__)

MAX_BATCH = 1_000


@dataclass
class Faults:
    """What goes wrong on one connection; counts go down as they are used."""

    replies_lost: int = 0
    """So many further writes are stored, and their answers lost: ``OutcomeUnknown``."""
    writes_lost: int = 0
    """So many further writes are handed over and never arrive: ``OutcomeUnknown``."""
    refusals: deque[BusError] = field(default_factory=deque)
    """Each further write is answered with the next of these and not stored."""
    acks_lost: int = 0
    """So many further acknowledgements never arrive."""


class MemoryBroker:
    """Streams and subscriptions; ``clock`` decides about ages, ``max_payload`` counts bytes with headers."""

    def __init__(self, *, clock: Clock | None = None, max_payload: int = 1024 * 1024) -> None:
        self.clock = clock or SystemClock()
        self.max_payload = max_payload
        self.streams: dict[str, MemoryStream] = {}
        self.interest = MemoryInterest()
        self.watchers: list[Callable[[MemoryStream], None]] = []

    def bus(
        self, *, inbox_prefix: str = "_INBOX", chunk: int = 256 * 1024, max_blob: int = 64 * 1024 * 1024
    ) -> MemoryBus:
        """A further connection."""
        return MemoryBus(self, inbox_prefix=inbox_prefix, chunk=chunk, max_blob=max_blob)

    def stream(self, name: str) -> MemoryStream:
        """A stream by name. Raises NotFound."""
        found = self.streams.get(name)
        if found is None:
            raise NotFound(f"{name}: stream not found (code 10059)", code=10059)
        return found

    def write(self, batch: Sequence[Outgoing]) -> Ack:
        """Store a batch in the stream that takes it. Raises the port's refusals, OutcomeUnknown without a stream."""
        taking = [stream for stream in self.streams.values() if stream.takes(batch[0].subject)]
        if not taking or not all(taking[0].takes(message.subject) for message in batch):
            raise OutcomeUnknown(f"{batch[0].subject}: no stream takes it")
        stream = taking[0]
        if len(batch) > 1 and not stream.config.get("allow_atomic"):
            raise BusError(f"{batch[0].subject}: atomic publish is disabled (code 10174)", code=10174)
        stored = stream.store(batch)
        for message in batch:
            self.interest.route(Message(message.subject, message.data, message.headers))
        for one, previous in stored:
            self._republish(stream, one, previous)
        for watcher in tuple(self.watchers):
            watcher(stream)
        return Ack(stream.name, stored[-1][0].seq, len(batch))

    def _republish(self, stream: MemoryStream, stored: Stored, previous: int) -> None:
        rule = stream.config.get("republish")
        subject = transformed(rule, stored.subject) if rule else None
        if rule and subject:
            marks = {"Nats-Stream": stream.name, "Nats-Subject": stored.subject, "Nats-Sequence": str(stored.seq)}
            headers = {**(stored.headers or {}), **marks, "Nats-Last-Sequence": str(previous)}
            self.interest.route(Message(subject, b"" if rule.get("headers_only") else stored.data, headers))

    async def call(self, operation: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The part of the broker's API that manages assets; streams and consumers are kept as they were declared."""
        kind, action, stream, *rest = operation.split(".")
        match kind, action:
            case "STREAM", "INFO":
                return {"config": self.stream(stream).config}
            case "STREAM", "CREATE":
                self.streams[stream] = MemoryStream(dict(body), self.clock.monotonic, self.clock.wall)
            case "STREAM", "UPDATE":
                self.stream(stream).config = dict(body)
            case "CONSUMER", "INFO":
                return {"config": self.stream(stream).consumer(rest[0]).config}
            case "CONSUMER", "CREATE":
                self.stream(stream).declare_consumer(dict(body["config"]))
            case _:
                raise BusError(f"the memory bus does not know {operation}")
        return {}


class MemoryBus:
    """One connection to a ``MemoryBroker``; see ``port.Bus``. ``faults`` and ``connected`` are the test's to set."""

    def __init__(self, broker: MemoryBroker, *, inbox_prefix: str, chunk: int, max_blob: int) -> None:
        self._inbox_prefix = inbox_prefix
        self.broker = broker
        self.faults = Faults()
        self._chunk = chunk
        self._max_blob = max_blob
        self._up = True
        self._inboxes = count(1)
        self._tails: list[MemoryTail] = []
        self._pullers: list[MemoryPuller] = []
        self._responding: set[asyncio.Task[None]] = set()
        broker.watchers.append(self._stored)

    @property
    def connected(self) -> bool:
        return self._up

    @property
    def server(self) -> str:
        return "memory" if self._up else ""

    @property
    def max_payload(self) -> int:
        return self.broker.max_payload

    def disconnect(self) -> None:
        """Lose the connection: core messages pass by, tails and pulls wait."""
        self._up = False

    def reconnect(self) -> None:
        """Get it back: tails go on behind the last message they handed over."""
        self._up = True
        for tail in self._tails:
            tail.pump_soon()
        for puller in self._pullers:
            puller.wake()

    async def close(self) -> None:
        self._up = False
        if self._stored in self.broker.watchers:
            self.broker.watchers.remove(self._stored)
        for task in tuple(self._responding):
            task.cancel()
        await asyncio.gather(*self._responding, return_exceptions=True)
        for tail in tuple(self._tails):
            await tail.close()
        self.broker.interest.leave(self)

    # -- core

    async def publish(self, subject: str, data: bytes, *, headers: Mapping[str, str] | None = None) -> None:
        self._check(subject, data, headers)
        if any(stream.takes(subject) for stream in self.broker.streams.values()):
            try:
                self.broker.write([Outgoing(subject, data, headers)])
            except BusError as error:
                log.debug("bus.not_stored", extra={"subject": subject, "error": str(error)})
        else:
            self.broker.interest.route(Message(subject, data, headers))

    async def request(self, subject: str, data: bytes, *, timeout: float) -> Message:
        self._check(subject, data, None)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        inbox = f"{self._inbox_prefix}.memory.{id(self)}.{next(self._inboxes)}"

        def hear(message: Message) -> None:
            if not answer.done():
                answer.set_result(message)

        subscription = await self.subscribe(inbox, hear)
        try:
            if not self.broker.interest.route(Message(subject, data, None, 0, inbox)):
                raise Unreachable(f"{subject}: nobody listens")
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError as error:
            raise OutcomeUnknown(f"{subject}: no answer within {timeout} s") from error
        finally:
            await subscription.close()

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> MemorySubscription:
        subscription = MemorySubscription(self, subject, handler, queue)
        self.broker.interest.add(subscription)
        return subscription

    async def respond(
        self,
        subject: str,
        responder: Responder,
        *,
        queue: str = "",
        inbox: Inboxes | None = None,
    ) -> MemorySubscription:
        async def answer(request: Message) -> None:
            try:
                await self.publish(request.reply, await responder(request))
            except Exception:  # the top of this task: a responder's bug is reported, its requester is not answered
                log.exception("bus.responder", extra={"subject": request.subject})

        def hear(request: Message) -> None:
            if request.reply and (inbox is None or request.reply.startswith(inbox(request))):
                task = asyncio.get_running_loop().create_task(answer(request))
                self._responding.add(task)
                task.add_done_callback(self._responding.discard)

        return await self.subscribe(subject, hear, queue=queue)

    # -- streams: writing

    async def append(
        self,
        subject: str,
        data: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        expect_last: int | None = None,
        ttl: int | None = None,
        timeout: float | None = None,
    ) -> Ack:
        control = dict(headers) if headers else {}
        if expect_last is not None:
            control[H_EXPECTED] = str(expect_last)
        if ttl is not None:
            control[H_TTL] = str(ttl)
        return await self._write([Outgoing(subject, data, control or None)])

    async def append_batch(self, messages: Sequence[Outgoing], *, timeout: float | None = None) -> Ack:
        if not 2 <= len(messages) <= MAX_BATCH:
            raise ValueError(f"a batch holds 2 to {MAX_BATCH} messages, not {len(messages)}")
        return await self._write(messages)

    async def _write(self, messages: Sequence[Outgoing]) -> Ack:
        for message in messages:
            self._check(message.subject, message.data, message.headers)
        await asyncio.sleep(0)  # others run meanwhile, as they would during a round trip
        faults = self.faults
        if faults.refusals:
            raise faults.refusals.popleft()
        if faults.writes_lost > 0:
            faults.writes_lost -= 1
            raise OutcomeUnknown(f"{messages[-1].subject}: no answer")
        ack = self.broker.write(messages)
        if faults.replies_lost > 0:
            faults.replies_lost -= 1
            raise OutcomeUnknown(f"{messages[-1].subject}: no answer")
        return ack

    def _check(self, subject: str, data: bytes, headers: Mapping[str, str] | None) -> None:
        size = len(data)
        if headers:
            size += 12 + sum(len(key) + len(value.encode()) + 4 for key, value in headers.items())
        if size > self.max_payload:
            raise TooLarge(f"{subject}: {size} bytes with headers, the broker takes {self.max_payload}")
        if not self._up:
            raise Unreachable(f"{subject}: not connected")

    # -- streams: reading

    async def tail(
        self, stream: str, handler: Handler, *, subjects: Sequence[str] = (), start: int = 1, headers_only: bool = False
    ) -> MemoryTail:
        tail = MemoryTail(
            self, self._stream(stream), handler, subjects=subjects, start=start, headers_only=headers_only
        )
        self._tails.append(tail)
        tail.pump_soon()
        return tail

    async def pull(self, stream: str, durable: str) -> MemoryPuller:
        puller = MemoryPuller(self, stream, durable)
        self._pullers.append(puller)
        return puller

    async def last(self, stream: str, subject: str) -> Message:
        return self._stream(stream).last(subject)

    async def last_each(self, stream: str, subjects: Sequence[str]) -> Mapping[str, Message]:
        held, found = self._stream(stream), {}
        for subject in subjects:
            with suppress(NotFound):
                found[subject] = held.last(subject)
        return found

    async def get(self, stream: str, seq: int) -> Message:
        return self._stream(stream).get(seq)

    async def next(self, stream: str, seq: int, subject: str) -> Message:
        for stored in self._stream(stream).after(seq, (subject,)):
            return stored.message()
        raise NotFound(f"{stream}: no message found (code 10037)", code=10037)

    async def run(
        self, stream: str, seq: int, subject: str = ">", *, limit: int = 256, size: int = RUN_BYTES
    ) -> Sequence[Message]:
        found: list[Message] = []
        for stored in self._stream(stream).after(seq, (subject,)):
            if len(found) >= limit or size <= 0:
                break
            found.append(stored.message())
            size -= len(stored.data)
        return found

    async def count(self, stream: str, subject: str) -> int:
        return sum(1 for _ in self._stream(stream).after(1, (subject,)))

    async def get_direct(self, stream: str, subject: str) -> Message:
        return self._stream(stream).last(subject)

    async def stream_state(self, stream: str, *, subjects: str = "") -> StreamState:
        return self._stream(stream).state(subjects)

    async def consumer_states(self, stream: str) -> Mapping[str, ConsumerState]:
        held = self._stream(stream)
        return {name: held.consumer_state(name) for name in held.consumers}

    async def delete(self, stream: str, seq: int) -> bool:
        return self._stream(stream).remove(seq)

    async def purge(self, stream: str, *, below: int, subjects: str = "") -> int:
        return self._stream(stream).purge(below, subjects)

    def _stream(self, name: str) -> MemoryStream:
        if not self._up:
            raise Unreachable(f"{name}: not connected")
        return self.broker.stream(name)

    # -- blobs and assets

    async def put_blob(self, key: str, data: bytes, *, of: Family = "result") -> BlobRef:
        return await blobs.put(self, key, data, of=of, chunk=self._chunk, limit=self._max_blob)

    async def get_blob(self, key: str, ref: BlobRef, *, of: Family = "result") -> bytes:
        return await blobs.get(self, key, ref, of=of, limit=self._max_blob)

    async def delete_blob(self, key: str, *, of: Family = "result") -> None:
        await blobs.delete(self, key, of=of)

    async def ensure(self, assets: Sequence[Mapping[str, object]], *, create: bool = True) -> Sequence[str]:
        return await Applier(self.broker.call).ensure(assets, create=create)

    def _stored(self, stream: MemoryStream) -> None:
        for tail in self._tails:
            if tail.stream is stream:
                tail.pump_soon()
        for puller in self._pullers:
            if puller.stream == stream.name:
                puller.wake()

    def hand_over(self, pump: Callable[[], None], context: Context) -> None:
        """Let a tail go on soon, in the context of whoever opened it, not of whoever wrote; a test may delay it."""
        asyncio.get_running_loop().call_soon(pump, context=context)

    def forget(self, tail: MemoryTail) -> None:
        """A tail was closed."""
        if tail in self._tails:
            self._tails.remove(tail)
