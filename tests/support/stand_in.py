"""A gateway of few lines over a real broker: streams, permissions and messages are real, the jobs are scripted.

It plays what ``producer_sdk.testing`` plays in memory (the same ``Stage``), so one suite of tests fits both.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any, Literal, Self, get_args

from pydantic import SecretStr

from appliance.users import project_user
from job_contracts import subjects
from job_contracts.codec import decode
from job_contracts.desk import Operation
from job_contracts.jobs import Cancel, Ticket
from producer_sdk.testing.stage import Stage
from runtime.broker import Broker, BrokerConfig
from runtime.broker_accounts import BrokerUser
from runtime.bus import BusSettings, NatsBus, connect
from runtime.bus.manifest import StreamLimits, manifest
from runtime.bus.port import BusError, Message, Subscription, Tail

PROJECT = "research"
OTHER = "others"
SERVICE = "service"
SECRET = "service-password"
MIB = 1024 * 1024
LIMITS = StreamLimits(
    submit_bytes=64 * MIB,
    work_bytes=16 * MIB,
    result_bytes=64 * MIB,
    outcome_bytes=16 * MIB,
    token_bytes=16 * MIB,
    control_bytes=16 * MIB,
    ledger_bytes=16 * MIB,
    dead_bytes=16 * MIB,
    blob_bytes=64 * MIB,
    conversation_bytes=16 * MIB,
)


def key(project: str = PROJECT) -> str:
    """The key of a project."""
    return f"psk_{project}_{'0123456789abcdef' * 2}"


def broker_config(**over: Any) -> BrokerConfig:
    """A broker with the services' user and two projects."""
    users = (
        BrokerUser(name=SERVICE, password=SecretStr(SECRET)),
        *(project_user(project, SecretStr(key(project))) for project in (PROJECT, OTHER)),
    )
    return BrokerConfig(**{"sync": "default", "users": users, **over})


@contextlib.asynccontextmanager
async def service_bus(broker: Broker) -> AsyncIterator[NatsBus]:
    """A connection that may do everything, and the streams."""
    bus = await connect(BusSettings(url=broker.url, user=SERVICE, password=SecretStr(SECRET)))
    try:
        await bus.ensure(manifest(LIMITS))
        yield bus
    finally:
        await bus.close()


class StandIn:
    """Plays the jobs of one project: tails the submissions, answers as the desk, writes tokens and results."""

    def __init__(self, bus: NatsBus, project: str = PROJECT, *, drop: tuple[str, ...] = (), **limits: Any) -> None:
        self.bus = bus
        self.project = project
        self.dropping = drop
        """Kinds (``tok``, ``res``) that are stored and never told live."""
        self.stage = Stage(project, self._publish, clock=time.time, **limits)
        self.answering = True
        """Whether the desk answers."""
        self._out: asyncio.Queue[tuple[str, str, bytes]] = asyncio.Queue()
        self._seqs: dict[str, int] = {}
        self._waiting: dict[str, tuple[bytes, str]] = {}
        """Large jobs whose pieces have not all been read."""
        self._tails: list[Tail] = []
        self._desk: list[Subscription] = []
        self._pump: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._pump = asyncio.create_task(self._write())
        submit, project = subjects.stream_name(subjects.SUBMIT, 0), self.project
        plan = (
            (subjects.BLOB, self._on_piece, f"{subjects.PUBLIC}.blob.{project}.>"),
            (submit, self._on_submission, f"{subjects.PREFIX}.q.0.{project}.>"),
            (subjects.CTL, self._on_cancel, f"{subjects.PUBLIC}.cancel.{project}.>"),
        )
        for stream, handler, subject in plan:
            start = (await self.bus.stream_state(stream)).last_seq + 1
            self._tails.append(await self.bus.tail(stream, handler, subjects=(subject,), start=start))
        await self.open_desk()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stage.close()
        await self.close_desk()
        for tail in self._tails:
            await tail.close()
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)

    async def open_desk(self) -> None:
        for operation in get_args(Operation):
            subject = subjects.api(self.project, operation)
            self._desk.append(await self.bus.respond(subject, self._answer, inbox=self._inbox))

    async def close_desk(self) -> None:
        while self._desk:
            await self._desk.pop().close()

    def _inbox(self, _: Message) -> tuple[str, ...]:
        return f"{subjects.inbox_prefix(self.project)}.", subjects.IMPORTED_REPLY

    async def _answer(self, message: Message) -> bytes:
        answer = self.stage.asked(message.subject.rpartition(".")[2], message.data)
        return answer if answer is not None else b'{"refused":{"kind":"internal","message":"not now"}}'

    def _on_piece(self, message: Message) -> None:
        subject, _, index = message.subject.rpartition(".")
        _, job = subjects.project_and_job(subject)
        self.stage.store.piece(job, int(index), message.data)
        if job in self._waiting:
            self._begin(job, *self._waiting.pop(job))

    def _on_submission(self, message: Message) -> None:
        _, job = subjects.project_and_job(message.subject)
        self._seqs[job] = message.seq
        self._begin(job, message.data, (message.headers or {})[subjects.H_TICKET])

    def _begin(self, job: str, body: bytes, header: str) -> None:
        ref = decode(Ticket, header).blob
        if ref is not None and not all(self.stage.store.has_piece(job, index) for index in range(ref.chunks)):
            # Stored before the submission, but read from another stream.
            self._waiting[job] = (body, header)
            return
        self.stage.submitted(job, body, header)
        if job in self.stage.finished:
            self._out.put_nowait(("done", job, b""))

    def _on_cancel(self, message: Message) -> None:
        self.stage.cancelled(decode(Cancel, message.data))

    def _publish(self, kind: Literal["tok", "res"], job: str, data: bytes, /) -> None:
        if kind not in self.dropping:
            self._out.put_nowait((kind, job, data))

    async def _write(self) -> None:
        while True:
            kind, job, data = await self._out.get()
            with contextlib.suppress(BusError):
                if kind == "tok":
                    await self.bus.publish(subjects.tokens(self.project, job), data)
                    continue
                if kind == "res":
                    await self.bus.append(subjects.result(self.project, job), data, expect_last=0)
                if (seq := self._seqs.pop(job, 0)) > 0:
                    await self.bus.delete(subjects.stream_name(subjects.SUBMIT, 0), seq)
