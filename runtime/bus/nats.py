"""The bus over NATS JetStream: one wrapper that carries the rules by which its answers may be trusted."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from job_contracts.jobs import BlobRef
from runtime.bus import blobs
from runtime.bus.answers import silent
from runtime.bus.asking import answered, ask, look
from runtime.bus.assets import Applier
from runtime.bus.link import NO_RESPONDERS, Link, Listening
from runtime.bus.looking import Lookup
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
    Refused,
    Responder,
    StreamState,
    Unreachable,
)
from runtime.bus.pulling import NatsPuller
from runtime.bus.ranging import Ranges
from runtime.bus.replies import DELETED_ALREADY, ack, consumer_state, stream_state
from runtime.bus.settings import BusSettings
from runtime.bus.tailing import NatsTail
from runtime.bus.wire import Arrival

log = logging.getLogger(__name__)

H_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
H_TTL = "Nats-TTL"
H_BATCH, H_BATCH_SEQ, H_BATCH_COMMIT = "Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit"
MAX_BATCH = 1_000


class NatsBus:
    """See ``port.Bus``. Made by ``runtime.bus.connect``."""

    def __init__(self, settings: BusSettings, on_event: Callable[[str, str], None]) -> None:
        self.settings = settings
        self._link = Link(settings, on_event)
        self._ranges = Ranges(self._link)
        self._lookup = Lookup(self._link)
        self._in_flight = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._responding: set[asyncio.Task[None]] = set()
        self._volatile: list[Mapping[str, Any]] = []
        self._declaring: asyncio.Task[None] | None = None
        self._forget: Callable[[], None] = lambda: None

    async def open(self) -> NatsBus:
        """Connect. Raises Unreachable if no broker answers."""
        await self._link.open()
        return self

    @property
    def connected(self) -> bool:
        return self._link.connected

    @property
    def server(self) -> str:
        return self._link.server

    @property
    def max_payload(self) -> int:
        return self._link.max_payload

    async def close(self) -> None:
        self._forget()
        tasks = [*self._responding, *([self._declaring] if self._declaring else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._link.close()

    # -- core: at most once

    async def publish(self, subject: str, data: bytes, *, headers: Mapping[str, str] | None = None) -> None:
        await self._link.send(subject, data, "", headers)

    async def request(self, subject: str, data: bytes, *, timeout: float) -> Message:
        answer = await self._link.ask(subject, data, timeout=timeout)
        if answer is None:
            raise silent(subject, timeout)
        if answer.status == NO_RESPONDERS:
            raise Unreachable(f"{subject}: nobody listens")
        return Message(answer.subject, answer.data, answer.headers)

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Listening:
        def hear(message: Arrival) -> None:
            handler(Message(message.subject, message.data, message.headers, 0, message.reply))

        return await self._link.listen(subject, hear, queue=queue)

    async def respond(
        self,
        subject: str,
        responder: Responder,
        *,
        queue: str = "",
        inbox: Inboxes | None = None,
    ) -> Listening:
        mine: set[asyncio.Task[None]] = set()  # whoever floods one question must not keep the others from answers

        def hear(message: Arrival) -> None:
            request = Message(message.subject, message.data, message.headers, 0, message.reply)
            if not request.reply or (inbox is not None and not request.reply.startswith(inbox(request))):
                log.info("bus.request_dropped", extra={"subject": request.subject, "reason": "reply subject"})
            elif len(mine) >= self.settings.responders:
                log.warning("bus.request_dropped", extra={"subject": request.subject, "reason": "too many at once"})
            else:
                task = asyncio.get_running_loop().create_task(self._respond(responder, request))
                for tasks in (mine, self._responding):
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)

        return await self._link.listen(subject, hear, queue=queue)

    async def _respond(self, responder: Responder, request: Message) -> None:
        try:
            await self._link.send(request.reply, await responder(request))
        except BusError as error:
            log.info("bus.answer_lost", extra={"subject": request.subject, "error": str(error)})
        except Exception:  # the top of this task: a responder's bug is reported, its requester runs into the timeout
            log.exception("bus.responder", extra={"subject": request.subject})

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
        if expect_last is not None or ttl is not None:
            headers = _control(headers, expect_last, ttl)
        within = timeout or self.settings.publish_timeout
        if self._in_flight >= self.settings.in_flight:
            await self._place(subject, within)
        self._in_flight += 1
        try:
            answer = await self._link.ask(subject, data, timeout=within, headers=headers)
        finally:
            self._leave()
        return _stored(answer, subject, within)

    async def append_batch(self, messages: Sequence[Outgoing], *, timeout: float | None = None) -> Ack:
        size = len(messages)
        if not 2 <= size <= MAX_BATCH:
            raise ValueError(f"a batch holds 2 to {MAX_BATCH} messages, not {size}")
        within = timeout or self.settings.publish_timeout
        batch = uuid4().hex
        wired = [
            Outgoing(one.subject, one.data, {H_BATCH: batch, H_BATCH_SEQ: str(place), **(one.headers or {})})
            for place, one in enumerate(messages, 1)
        ]
        last = wired.pop()
        commit = {**(last.headers or {}), H_BATCH_COMMIT: "1"}
        if self._in_flight >= self.settings.in_flight:
            await self._place(last.subject, within)
        self._in_flight += 1
        try:
            answer = await self._link.ask(last.subject, last.data, timeout=within, headers=commit, before=wired)
        finally:
            self._leave()
        return _stored(answer, last.subject, within)

    async def _place(self, subject: str, within: float) -> None:
        """Wait for a place among the writes in flight. Raises Unreachable when none became free in time."""
        try:
            async with asyncio.timeout(within):
                while self._in_flight >= self.settings.in_flight:
                    waiter = asyncio.get_running_loop().create_future()
                    self._queue.append(waiter)
                    await waiter
        except BaseException as error:
            self._wake_next()  # the place may have been meant for us
            if isinstance(error, TimeoutError):
                raise Unreachable(f"{subject}: {self.settings.in_flight} writes are in flight already") from error
            raise

    def _leave(self) -> None:
        self._in_flight -= 1
        if self._queue:
            self._wake_next()

    def _wake_next(self) -> None:
        while self._queue:
            waiter = self._queue.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    # -- streams: reading

    async def tail(
        self, stream: str, handler: Handler, *, subjects: Sequence[str] = (), start: int = 1, headers_only: bool = False
    ) -> NatsTail:
        async def left(first: int, last: int) -> bool:
            return await self._any_left(stream, subjects or (">",), first, last)

        async def born() -> str:
            return str((await self.call(f"STREAM.INFO.{stream}", {}))["created"])

        tail = NatsTail(
            self._link, stream, handler, subjects=subjects, start=start, headers_only=headers_only, left=left, born=born
        )
        return await tail.start()

    async def _any_left(self, stream: str, subjects: Sequence[str], first: int, last: int) -> bool:
        if (await self.stream_state(stream)).last_seq < last:
            return True  # this node has not heard of it yet: its word about what lies before counts for nothing
        for subject in subjects:
            try:
                if (await self.next(stream, first, subject)).seq <= last:
                    return True
            except NotFound:
                continue
        return False

    async def pull(self, stream: str, durable: str) -> NatsPuller:
        return await NatsPuller(self._link, stream, durable).start()

    async def last(self, stream: str, subject: str) -> Message:
        return await self._lookup.leaders(stream, {"last_by_subj": subject})

    async def last_each(self, stream: str, subjects: Sequence[str]) -> Mapping[str, Message]:
        return await self._ranges.last_each(self, stream, subjects)

    async def get(self, stream: str, seq: int) -> Message:
        query = {"seq": seq}
        found = await self._lookup.anyones(stream, query)
        return found if found is not None else await self._lookup.leaders(stream, query)

    async def next(self, stream: str, seq: int, subject: str) -> Message:
        return await self._lookup.leaders(stream, {"seq": seq, "next_by_subj": subject})

    async def run(
        self, stream: str, seq: int, subject: str = ">", *, limit: int = 256, size: int = RUN_BYTES
    ) -> Sequence[Message]:
        return await self._ranges.read(stream, seq, subject, limit=limit, size=size)

    async def count(self, stream: str, subject: str) -> int:
        return await self._ranges.count(stream, subject)

    async def get_direct(self, stream: str, subject: str) -> Message:
        found = await self._lookup.anyones(stream, {"last_by_subj": subject})
        if found is None:
            raise NotFound(f"{stream}: no message on {subject} here", code=10037)
        return found

    async def stream_state(self, stream: str, *, subjects: str = "") -> StreamState:
        query: dict[str, object] = {"subjects_filter": subjects} if subjects else {}
        operation = f"STREAM.INFO.{stream}"
        info = (
            await self.call(operation, query)
            if subjects
            else answered(await look(self._link, operation, query, self.settings.api_timeout), operation)
        )
        found: dict[str, int] = dict(info["state"].get("subjects") or {})
        while subjects and len(found) < info.get("total", 0):
            page = await self.call(f"STREAM.INFO.{stream}", {**query, "offset": len(found)})
            more = page["state"].get("subjects") or {}
            if not more or page["state"]["last_seq"] < info["state"]["last_seq"]:
                raise OutcomeUnknown(f"{stream}: its subjects could not be listed to the end; ask again")
            found.update(more)
        return stream_state(stream, info, found if subjects else None)

    async def consumer_states(self, stream: str) -> Mapping[str, ConsumerState]:
        found: list[dict[str, Any]] = []
        while True:
            page = await self.call(f"CONSUMER.LIST.{stream}", {"offset": len(found)})
            found += page.get("consumers") or ()
            if not page.get("consumers") or len(found) >= page.get("total", 0):
                return {one["name"]: consumer_state(one) for one in found if one["config"].get("durable_name")}

    async def delete(self, stream: str, seq: int) -> bool:
        try:
            await self.call(f"STREAM.MSG.DELETE.{stream}", {"seq": seq, "no_erase": True})
        except BusError as error:
            if error.code in DELETED_ALREADY:
                return False
            raise
        return True

    async def purge(self, stream: str, *, below: int, subjects: str = "") -> int:
        query: dict[str, object] = {"seq": below, **({"filter": subjects} if subjects else {})}
        return int((await self.call(f"STREAM.PURGE.{stream}", query))["purged"])

    # -- blobs

    async def put_blob(self, key: str, data: bytes, *, of: Family = "result") -> BlobRef:
        return await blobs.put(self, key, data, of=of, chunk=self.settings.chunk, limit=self.settings.max_blob)

    async def get_blob(self, key: str, ref: BlobRef, *, of: Family = "result") -> bytes:
        return await blobs.get(self, key, ref, of=of, limit=self.settings.max_blob)

    async def delete_blob(self, key: str, *, of: Family = "result") -> None:
        await blobs.delete(self, key, of=of)

    # -- assets

    async def ensure(self, assets: Sequence[Mapping[str, object]], *, create: bool = True) -> Sequence[str]:
        lines = await Applier(self.call).ensure(assets, create=create)
        if create:
            self._volatile = [asset for asset in assets if _in_memory(asset)]
            self._forget()
            self._forget = self._link.when_connected(self._declare_again)
        return lines

    def _declare_again(self) -> None:
        if self._volatile and (self._declaring is None or self._declaring.done()):
            self._declaring = asyncio.get_running_loop().create_task(self._redeclare(), name="bus assets")

    async def _redeclare(self) -> None:
        """Make the streams in memory again: a single server that was restarted knows nothing of them."""
        pause = self.settings.backoff_first
        while True:
            try:
                lines = await Applier(self.call).ensure(self._volatile, create=True)
            except Refused:
                log.exception("bus.assets_differ")
                return
            except BusError as error:
                log.debug("bus.assets_later", extra={"error": str(error)})
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, self.settings.backoff_longest)
            else:
                if lines:
                    log.warning("bus.assets_again", extra={"assets": list(lines)})
                return

    async def call(self, operation: str, body: Mapping[str, object]) -> dict[str, Any]:
        """One call of the broker's API (``operation`` without its prefix). Raises as ``append`` does."""
        return answered(await ask(self._link, operation, body, self.settings.api_timeout), operation)


def _in_memory(asset: Mapping[str, Any]) -> bool:
    return bool(asset["kind"] == "stream" and asset["config"].get("storage") == "memory")


def _stored(answer: Arrival | None, subject: str, within: float) -> Ack:
    if answer is None:
        raise silent(subject, within)
    if not answer.data:
        raise OutcomeUnknown(f"{subject}: no stream with a leader takes it at the moment")
    return ack(answer.data, subject)


def _control(headers: Mapping[str, str] | None, expect_last: int | None, ttl: int | None) -> dict[str, str]:
    control = dict(headers) if headers else {}
    if expect_last is not None:
        control[H_EXPECTED] = str(expect_last)
    if ttl is not None:
        control[H_TTL] = str(ttl)
    return control
