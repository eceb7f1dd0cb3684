"""A console that is served, over a bus in memory, and a desk that answers what a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from console.assembly import Made, assemble
from console.people import hashed
from console.playing import Playing
from job_contracts import subjects
from job_contracts.codec import Wire, decode, encode
from job_contracts.desk import Refusal
from job_contracts.failures import Failure, FailureKind
from job_contracts.finding import AskCancels, AskFind, AskJob, Cancels, FoundJob, JobPage, JobRow
from job_contracts.keys import KeyRecord, key_id, written
from job_contracts.operating import (
    AskAudit,
    AskNote,
    AskOrder,
    Audited,
    AuditLine,
    AuditPage,
    InForce,
    Ordered,
    Overview,
    Standing,
    ToldDeployment,
    ToldLane,
    ToldLeader,
    ToldLimit,
    ToldPool,
    ToldUnit,
    ToldWorker,
)
from producer_sdk.testing import FakeGateway
from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import Message
from runtime.clock import Clock
from runtime.settings import Config
from runtime.telemetry import Event, Telemetry
from tests.support.clock import ManualClock

PEPPER = "pepper"
ADMIN = "psa_" + "a" * 64
VIEWER, OPERATOR = "psc_" + "b" * 64, "psc_" + "c" * 64
STATIC = written("acme", "d" * 64)
MADE = written("acme", "e" * 64)
KEYS_STREAM = {"name": subjects.KEYS, "subjects": ["penstock.keys.*"], "max_msgs_per_subject": 1, "allow_direct": True}


def config(**console: Any) -> Config:
    """Two people beside the admin, and a project with a key in the configuration."""
    people = {
        "vera": {"hash": hashed(VIEWER, PEPPER), "role": "viewer"},
        "otto": {"hash": hashed(OPERATOR, PEPPER), "role": "operator"},
    }
    return Config.model_validate(
        {
            "providers": {"openai": {"key": "k"}},
            "routes": {"fast": {"deployments": ["openai/gpt-5-mini"]}, "slow": {"deployments": ["openai/gpt-5"]}},
            "projects": {"acme": {"budget": {"day": 5}}},
            "gateway": {
                "pepper": PEPPER,
                "admin_hash": hashed(ADMIN, PEPPER),
                "keys": {"first": {"project": "acme", "hash": hashed(STATIC, PEPPER), "scope": {"routes": ["fast"]}}},
            },
            "console": {"people": people, "every": 0.2, **console},
        }
    )


def record(key: str, **over: Any) -> KeyRecord:
    """What is stored of a key that was made later."""
    return KeyRecord(**{"id": key_id(key), "project": "acme", "hash": hashed(key, PEPPER), "created": 1.0, **over})


async def stored(bus: MemoryBus, one: KeyRecord) -> None:
    """Write a key's record as an edge does."""
    await bus.append(subjects.key_record(one.id), encode(one))


def overview(**over: Any) -> Overview:
    """One moment of a leader, with something of everything."""
    paused = InForce(standing=Standing(state="paused", until=2e9), by="otto", why="<b>repairs</b>", at=1e9, seq=7)
    weighed = InForce(standing=Standing(factor=0.5, until=2e9), by="otto", at=1e9, seq=6)
    gauge = ToldUnit(unit="requests", limit=600, configured=500, window=60, size=100, available=12.5, reserved=30)
    pool = ToldPool(
        name="openai",
        state="paused",
        slots=64,
        allowed=50,
        in_flight=1234,
        queued={"rt": 5, "batch": 98765},
        oldest=200.0,
        order=paused,
        workers=(ToldWorker(name="w-1", slots=64, attempts=3, silent=0.4),),
        deployments=(
            ToldDeployment(
                name="openai/gpt-5",
                limit="openai/gpt-5",
                in_flight=3,
                benched="overloaded",
                weights={"fast": 0.25},
                weighed=weighed,
            ),
        ),
    )
    said: dict[str, Any] = {
        "at": 1e9,
        "leader": ToldLeader(owner="scheduler-1", term=42, since=9e8),
        "pools": (pool, ToldPool(name="idle", state="running")),
        "limits": (ToldLimit(name="openai/gpt-5", pool="openai", units=(gauge,), closed=3.0, closed_why="asked to"),),
        "projects": (ToldLimit(name="project:acme", pool="", units=(gauge,)),),
        "lanes": (
            ToldLane(name="rt", share=0.6, queued=5, oldest=1.0),
            ToldLane(name="batch", share=0.1, queued=98765),
        ),
        "known": 100_004,
        "in_flight": 1234,
        "unread": 77,
    }
    return Overview(**{**said, **over})


@dataclass
class Desk:
    """Answers the operator; ``silent`` and ``refuses`` make it a bad day."""

    now: Overview = field(default_factory=overview)
    silent: bool = False
    refuses: str = ""
    asked: list[Wire] = field(default_factory=list)
    looks: int = 0
    rows: list[JobRow] = field(default_factory=list)
    """Jobs without a result, by their places."""
    found: dict[tuple[str, str], FoundJob] = field(default_factory=dict)
    """What is told of one job."""
    cancels: int = 1_000
    """Questions to cancel that are answered before nobody answers any more."""

    async def open(self, bus: MemoryBus) -> None:
        for name in ("overview", "order", "audit", "note", "jobs", "job", "cancel_jobs"):
            await bus.respond(subjects.api("-", name), getattr(self, name))

    def _refused(self, kind: FailureKind) -> bytes:
        return encode(Refusal(refused=Failure(kind=kind, message=self.refuses or "away", remedy="ask again")))

    async def overview(self, _: Message) -> bytes:
        self.looks += 1
        return self._refused(FailureKind.INTERNAL) if self.silent else encode(self.now)

    async def order(self, message: Message) -> bytes:
        if self.silent or self.refuses:
            return self._refused(FailureKind.INTERNAL if self.silent else FailureKind.BAD_REQUEST)
        self.asked.append(decode(AskOrder, message.data))
        return encode(Ordered(changed=True, line=self._line(8)))

    async def note(self, message: Message) -> bytes:
        self.asked.append(decode(AskNote, message.data))
        return self._refused(FailureKind.INTERNAL) if self.silent else encode(Ordered(changed=True, line=self._line(9)))

    async def jobs(self, message: Message) -> bytes:
        """A page of the rows that are behind, or before, a place."""
        asked = decode(AskFind, message.data)
        self.asked.append(asked)
        if self.silent or self.refuses:
            return self._refused(FailureKind.INTERNAL if self.silent else FailureKind.BAD_REQUEST)
        those = [one for one in self.rows if asked.project in {None, one.project}]
        if asked.until is not None:
            those = [one for one in those if one.place <= asked.until]
        if asked.before is not None:
            found = [one for one in those if one.place < asked.before]
            some = found[-asked.limit :] if asked.limit else []
        else:
            found = [one for one in those if one.place > asked.after]
            some = found[: asked.limit]
        more = bool(asked.limit) and len(found) > len(some)
        last = max((one.place for one in self.rows), default=0)
        after = some[-1].place if some else last
        counted = len(some) if asked.limit else len(found)
        page = JobPage(at=1e9, jobs=tuple(some), matching=counted, looked=len(found), after=after, more=more, last=last)
        return encode(page.model_copy(update={"unread": 5}))

    async def job(self, message: Message) -> bytes:
        asked = decode(AskJob, message.data)
        self.asked.append(asked)
        found = self.found.get((asked.project, asked.job))
        return encode(found) if found is not None else self._refused(FailureKind.BAD_REQUEST)

    async def cancel_jobs(self, message: Message) -> bytes:
        asked = decode(AskCancels, message.data)
        self.cancels -= 1
        if self.cancels < 0:
            return self._refused(FailureKind.INTERNAL)
        self.asked.append(asked)
        gone = {(one.project, one.job) for one in asked.jobs}
        self.rows = [one for one in self.rows if (one.project, one.job) not in gone]
        return encode(Cancels(told=len(asked.jobs)))

    async def audit(self, message: Message) -> bytes:
        self.asked.append(decode(AskAudit, message.data))
        return encode(AuditPage(lines=(self._line(8),), below=8))

    def _line(self, seq: int) -> AuditLine:
        before, after = Standing(), Standing(state="paused", until=2e9)
        entry = Audited(at=1e9, by="otto", did="pause", on="pool", name="openai", before=before, after=after, why="<i>")
        return AuditLine(seq=seq, entry=entry)


@dataclass
class Served:
    """A console that listens, and everything around it."""

    made: Made
    desk: Desk
    bus: MemoryBus
    clock: ManualClock
    events: list[Event]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.made.server.port}"

    @property
    def own(self) -> dict[str, str]:
        """What a browser says of a form on one of our pages."""
        return {"origin": self.url, "sec-fetch-site": "same-origin"}

    @asynccontextmanager
    async def browser(self, key: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
        """A browser, logged in with a key."""
        async with httpx.AsyncClient(base_url=self.url, timeout=10.0, verify=False) as client:
            if key is not None:
                answer = await client.post("/login", data={"key": key}, headers=self.own)
                assert answer.status_code == 303, answer.text
            yield client


@asynccontextmanager
async def served(
    settings: Config | None = None, *, queue: FakeGateway | None = None, clock: Clock | None = None
) -> AsyncIterator[Served]:
    """A console on a port of its own. ``queue``: where its playground submits. Its clock stands still, unless it is
    told another one.
    """
    settings = settings or config()
    bus, desk, standing = MemoryBroker().bus(), Desk(), ManualClock()
    events: list[Event] = []
    await bus.ensure([{"kind": "stream", "config": KEYS_STREAM}])
    await desk.open(bus)
    telemetry = Telemetry()
    telemetry.subscribe(events.append)
    made = assemble(
        settings,
        bus=bus,
        clock=clock or standing,
        telemetry=telemetry,
        told=lambda path, _: (200, "application/json", path.encode()),
        playing=None if queue is None else Playing(settings, clock or standing, telemetry, transport=queue.transport),
    )
    await made.server.start()
    try:
        yield Served(made, desk, bus, standing, events)
    finally:
        await made.server.stop()
        await made.playing.stop()
        await bus.close()
