"""A whole worker on a memory bus, in front of any upstream: hand it assignments, look at what it stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from catalogue.rows import ProviderRow
from job_contracts import subjects
from job_contracts.attempts import Abort, Assignment, Outcome
from job_contracts.codec import decode, encode
from job_contracts.facts import AttemptFact, Facts
from job_contracts.letters import DeadLetter
from job_contracts.results import Result, Settlement
from job_contracts.stream import Chunk
from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import Message
from runtime.clock import Clock, SystemClock
from runtime.connection import declared
from runtime.settings import Config
from runtime.telemetry import Event, Telemetry
from tests.support import builders
from tests.support.eventually import eventually
from workers.assembly import Worker, assemble
from workers.dialects import DIALECTS
from workers.dialects.port import Dialect

POOL, WORKER = "alpha", "w1"
WORK = subjects.stream_name(subjects.WORK)
OUT = subjects.stream_name(subjects.OUT)


def config(base_url: str, *, workers: dict[str, Any] | None = None, **provider: Any) -> Config:
    """One pool, short times."""
    quick = {"drain": 5.0, "beat_every": 0.05, "persist": 20.0, "coalesce": 0.03}
    alpha = {"dialect": "openai_chat", "base_url": base_url, "key": "sk-alpha", "slots": 8, **provider}
    return Config.model_validate(
        {
            "providers": {POOL: alpha, "beta": {**alpha, "key": "sk-beta"}},
            "routes": {"fast": {"deployments": ["alpha/m", "beta/m"]}},
            "workers": {**quick, **(workers or {})},
        }
    )


class Bench:
    """The worker, the bus it works on, and everything it has said."""

    def __init__(self, config: Config, *, clock: Clock | None = None) -> None:
        self.config = config
        self.clock = clock or SystemClock()
        self.broker = MemoryBroker(clock=self.clock)
        self.bus: MemoryBus = self.broker.bus()
        self.mine: MemoryBus = self.broker.bus()
        self.telemetry = Telemetry()
        self.events: list[Event] = []
        self.telemetry.subscribe(self.events.append)
        self._worker: Worker | None = None
        self._jobs = 0

    @property
    def worker(self) -> Worker:
        assert self._worker is not None, "not started"
        return self._worker

    async def start(
        self,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        dialects: dict[str, Dialect] | None = None,
        catalogue: dict[str, ProviderRow] | None = None,
    ) -> None:
        await self.mine.ensure(declared(self.config))
        self._worker = assemble(
            self.config,
            pool=POOL,
            worker=WORKER,
            bus=self.bus,
            clock=self.clock,
            telemetry=self.telemetry,
            catalogue=catalogue or {},
            dialects=dialects or DIALECTS,
            transport=transport,
        )
        for duty in self.worker.duties:
            await duty.start()

    async def stop(self) -> None:
        if self._worker is not None:
            for duty in reversed(self.worker.duties):
                await duty.stop()

    def assignment(self, **over: Any) -> Assignment:
        """A fresh job's first attempt at ``alpha/m``, granted now."""
        self._jobs += 1
        job = over.pop("job", None) or builders.job(f"stem-{self._jobs}")
        grant = {
            "domain": POOL,
            "input_tokens": 12,
            "output_tokens": 99,
            "valid_for": 5.0,
            "granted": self.clock.wall(),
        }
        fields = {"deployment": "alpha/m", "grant": {**grant, **over.pop("grant", {})}, "submitted": self.clock.wall()}
        return builders.assignment(job, **{**fields, **over})

    async def hand(self, assignment: Assignment) -> Assignment:
        """Dispatch it, as the leader would."""
        await self.put(assignment.project, assignment.job_id, encode(assignment))
        return assignment

    async def put(self, project: str, job_id: str, data: bytes) -> None:
        await self.mine.append(subjects.work(0, POOL, project, job_id), data)

    async def abort(self, *attempts: str) -> None:
        await self.mine.publish(subjects.abort(POOL), encode(Abort(attempts=attempts)))

    def messages(self, stream: str) -> list[Message]:
        stored = self.broker.stream(stream).messages
        return [Message(one.subject, one.data, one.headers, one.seq) for one in stored.values()]

    def results(self) -> dict[str, Result]:
        return {found.job: found for found in (decode(Result, one.data) for one in self.messages(subjects.RES))}

    def settlements(self) -> dict[str, Settlement]:
        return {
            subjects.project_and_job(one.subject)[1]: decode(Settlement, (one.headers or {})[subjects.H_SETTLEMENT])
            for one in self.messages(subjects.RES)
        }

    def outcomes(self) -> dict[str, Outcome]:
        return {found.job_id: found for found in (decode(Outcome, one.data) for one in self.messages(OUT))}

    def chunks(self, assignment: Assignment) -> list[Chunk]:
        subject = subjects.tokens(assignment.project, assignment.job_id)
        return [decode(Chunk, one.data) for one in self.messages(subjects.TOK) if one.subject == subject]

    def facts(self) -> dict[str, AttemptFact]:
        found = [fact for one in self.messages(subjects.LEDGER) for fact in decode(Facts, one.data).facts]
        told = {fact.attempt: fact for fact in found}
        assert len(told) == len(found), "an attempt has more than one fact"
        return told

    def letters(self) -> list[DeadLetter]:
        return [decode(DeadLetter, one.data) for one in self.messages(subjects.DEAD)]

    def work_left(self) -> int:
        return len(self.messages(WORK))

    async def result(self, assignment: Assignment, within: float = 5.0) -> Result:
        """Its result, once it is stored, the cost told and the assignment acknowledged."""
        await eventually(lambda: assignment.job_id in self.results(), within=within, says=lambda: self.events)
        await self.settled(assignment)
        return self.results()[assignment.job_id]

    async def outcome(self, assignment: Assignment, within: float = 5.0) -> Outcome:
        """The same for an outcome."""
        await eventually(lambda: assignment.job_id in self.outcomes(), within=within, says=lambda: self.events)
        await self.settled(assignment)
        return self.outcomes()[assignment.job_id]

    async def settled(self, assignment: Assignment) -> None:
        subject = subjects.work(0, POOL, assignment.project, assignment.job_id)
        await eventually(lambda: all(one.subject != subject for one in self.messages(WORK)), says="acknowledged")

    def said(self, name: str) -> list[Event]:
        return [event for event in self.events if event.name == name]


@asynccontextmanager
async def bench(base_url: str, *, clock: Clock | None = None, **how: Any) -> AsyncIterator[Bench]:
    """A running worker in front of ``base_url``; ``transport`` and ``dialects`` replace the real ones."""
    parts = {name: how.pop(name) for name in ("transport", "dialects", "catalogue") if name in how}
    made = Bench(config(base_url, **how), clock=clock)
    await made.start(**parts)
    try:
        yield made
    finally:
        await asyncio.wait_for(made.stop(), 30)
