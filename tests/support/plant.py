"""A whole gateway in which parts die: processes of its own, parts on this loop, and the books of what happened.

The simulator is the providers' side of the books: it has written down every call with the attempt's name.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr

from catalogue.load import providers
from job_contracts import subjects
from job_contracts.attempts import attempt_name
from job_contracts.codec import decode, encode
from job_contracts.facts import AttemptFact, Facts
from job_contracts.failures import FailureKind
from job_contracts.results import Result
from producer_sdk import Producer
from runtime.broker import Broker
from runtime.bus import BusSettings, NatsBus, connect
from runtime.bus.port import Bus, Message, NotFound
from runtime.clock import SystemClock
from runtime.connection import declared
from runtime.crash import VARIABLE
from runtime.settings import Config
from runtime.telemetry import Event, Telemetry
from scheduler.service import Scheduler
from simulator import ProviderSettings, Settings, Simulator
from tests.support.broker import lasting
from tests.support.eventually import eventually
from tests.support.stand_in import PROJECT, SECRET, SERVICE, broker_config, key
from tests.support.worker_process import Process, listened_to
from workers.assembly import Worker, assemble
from workers.dialects import DIALECTS

ROOT = Path(__file__).parents[2]
SIMULATED = "simulated"
"""The one provider behind every pool; the model's name tells the pools' calls apart."""
MESSAGES = [{"role": "user", "content": "Say what happened."}]
REQUEST_ID = "x-penstock-attempt"
BASE: Mapping[str, Any] = {
    "projects": {PROJECT: {"retry_share": 1.0}},
    "scheduler": {
        "lease": 1.6,
        "renew": 0.3,
        "beat_missed": 2.0,
        "reconcile_every": 0.5,
        "breaker": {"failures": 1_000},
    },
    "workers": {"beat_every": 0.4, "drain": 1.0},
}
"""Signs of life more often, and no deployment left alone: every failure here is laid on purpose."""


class Victim(Process):
    """A process that is to die."""

    async def killed(self, within: float = 30.0) -> None:
        """Wait until it died of SIGKILL."""
        await eventually(
            lambda: self.child.returncode is not None, within=within, says=lambda: f"alive: {self.lines[-5:]}"
        )
        assert self.child.returncode == -signal.SIGKILL, f"ended with {self.child.returncode}: {self.other[-20:]}"

    async def began(self, event: str, within: float = 30.0) -> None:
        """Wait until it told of an event (or died)."""
        await eventually(
            lambda: self.said(event) or self.child.returncode is not None,
            within=within,
            says=lambda: f"no {event}: {self.lines[-3:]} {self.other[-3:]}",
        )

    @property
    def point(self) -> str | None:
        """Where it died by its own hand."""
        found = [line for line in self.other if line.startswith(f"{VARIABLE}=")]
        return found[-1].strip().partition("=")[2] if found else None


@dataclass
class Account:
    """What each side says of the same jobs: records by job, calls and facts by attempt.

    A fact whose acknowledgement was lost is told again, word for word, and counts once. ``estimates`` are the leader's
    own facts, of attempts whose workers were lost: it cannot know whether they had called.
    """

    results: dict[str, Result]
    calls: Counter[str]
    facts: Counter[str]
    estimates: Counter[str]
    stopped: set[str]
    """Attempts whose own facts say they were cancelled: perhaps the moment before the provider heard of them."""

    def extra(self, jobs: Iterable[str]) -> set[str]:
        """Calls whose worker never told how they ended: the job took another way to its result."""
        told = {
            attempt_name(PROJECT, job, attempt.number)
            for job in jobs
            for attempt in self.results[job].attempts
            if attempt.failure is None or attempt.failure.kind is not FailureKind.WORKER_LOST
        }
        return self.of(jobs, self.calls) - told

    def untold(self, jobs: Iterable[str]) -> set[str]:
        """Calls of which the ledger was told nothing."""
        return self.of(jobs, self.calls) - set(self.facts) - set(self.estimates)

    def of(self, jobs: Iterable[str], attempts: Iterable[str]) -> set[str]:
        """Those of the attempts that belong to these jobs."""
        ours = set(jobs)
        return {name for name in attempts if name.partition(".")[2].rpartition(".")[0] in ours}

    def wrong(self, jobs: Iterable[str]) -> list[str]:
        """What must hold whatever died: one record each, no attempt called or told twice, no fact without a call."""
        jobs = list(jobs)
        found = [f"{job} has no result" for job in jobs if job not in self.results]
        found += [f"{name} was called {count} times" for name, count in self.calls.items() if count > 1]
        found += [f"{name} has {count} facts that differ" for name, count in self.facts.items() if count > 1]
        found += [
            f"{name} has a fact and no call" for name in self.of(jobs, self.facts) - set(self.calls) - self.stopped
        ]
        return found


@dataclass
class Plant:
    """The parts, and what starts more of them."""

    broker: Broker
    simulator: Simulator
    bus: NatsBus
    config: Config
    path: Path
    stack: AsyncExitStack
    events: list[Event] = field(default_factory=list)

    def url(self) -> str:
        return self.broker.url

    def producer(self, url: str | None = None, **arguments: Any) -> Producer:
        """A producer as users have it."""
        return Producer(url or self.broker.url, key(), timeout=60.0, **arguments)

    async def process(self, module: str, *more: str, crash_at: str = "", url: str | None = None) -> Victim:
        """Start ``python -m module``; killed at the end if it still runs."""
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, "--config", str(self.path), "--nats", url or self.broker.url, *more),
            cwd=ROOT,
            env={**os.environ, VARIABLE: crash_at},  # noqa: TID251 - the child needs what the tests have
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=1024 * 1024,
        )
        made = Victim(child)
        reading = asyncio.create_task(made.read())

        async def end() -> None:
            if child.returncode is None:
                child.kill()
                await child.wait()
            await reading

        self.stack.push_async_callback(end)
        return made

    async def scheduler(self, owner: str = "s1", *, bus: Bus | None = None, leads: bool = True) -> Scheduler:
        """A scheduler on this loop."""
        made = Scheduler(
            bus or await self.connection(owner),
            SystemClock(),
            self._telemetry(),
            self.config,
            providers(),
            owner=owner,
            version="test",
        )
        self.stack.push_async_callback(made.stop)
        await made.start()
        if leads:
            await eventually(lambda: made.leads, within=15.0, says="the scheduler does not lead")
        return made

    async def worker(self, pool: str, name: str = "w1", *, bus: Bus | None = None) -> Worker:
        """A worker on this loop."""
        made = assemble(
            self.config,
            pool=pool,
            worker=name,
            bus=bus or await self.connection(name),
            clock=SystemClock(),
            telemetry=self._telemetry(),
            catalogue=providers(),
            dialects=DIALECTS,
        )

        async def end() -> None:
            for duty in reversed(made.duties):
                await asyncio.wait_for(duty.stop(), 10)

        self.stack.push_async_callback(end)
        for duty in made.duties:
            await duty.start()
        return made

    async def connection(self, name: str, *, url: str | None = None, **over: Any) -> NatsBus:
        """A service's connection."""
        settings = BusSettings(
            url=url or self.broker.url, user=SERVICE, password=SecretStr(SECRET), name=name, backoff_longest=0.3, **over
        )
        bus = await connect(settings)
        self.stack.push_async_callback(bus.close)
        return bus

    async def settled(self, *, within: float = 30.0) -> None:
        """Wait until nothing of any job is left in SUBMIT, OUT and WORK (the lease apart)."""
        names = [subjects.stream_name(name) for name in (subjects.SUBMIT, subjects.OUT, subjects.WORK)]
        left: dict[str, int] = {}

        async def nothing() -> bool:
            left.update({name: (await self.bus.stream_state(name)).messages for name in names})
            left[names[-1]] -= 1
            return not any(left.values())

        await eventually(nothing, within=within, says=lambda: f"left behind, besides the lease in WORK: {left}")

    async def account(self, *, within: float = 10.0) -> Account:
        """The books, once every call that was made is over and in them."""
        records = [decode(Result, one.data) for one in await self._all(subjects.RES, f"{subjects.PREFIX}.res.>")]
        results = {record.job: record for record in records}
        assert len(results) == len(records), "a job has two results"
        calls: Counter[str] = Counter(
            line.headers[REQUEST_ID] for line in self.simulator.control.log(100_000) if REQUEST_ID in line.headers
        )
        facts: Counter[str] = Counter()
        estimates: Counter[str] = Counter()
        stopped: set[str] = set()
        count = -1

        async def still() -> bool:
            """Facts come a moment after the results: wait until no more come."""
            nonlocal count, facts, estimates, stopped
            messages = await self._all(subjects.LEDGER, f"{subjects.PREFIX}.usage.>")
            told = {encode(fact): fact for one in messages for fact in decode(Facts, one.data).facts}
            facts = Counter(fact.attempt for fact in told.values() if not of_leader(fact))
            estimates = Counter(fact.attempt for fact in told.values() if of_leader(fact))
            stopped = {fact.attempt for fact in told.values() if fact.failure is FailureKind.CANCELLED}
            before, count = count, len(told)
            return before == count

        await eventually(still, within=within, every=0.1, says="facts keep coming")
        return Account(results, calls, facts, estimates, stopped)

    def _telemetry(self) -> Telemetry:
        telemetry = Telemetry()
        telemetry.subscribe(self.events.append)
        return telemetry

    async def _all(self, stream: str, subject: str) -> list[Message]:
        found: list[Message] = []
        try:
            while True:
                found.append(await self.bus.next(stream, found[-1].seq + 1 if found else 1, subject))
        except NotFound:
            return found


PRODUCER = """
import asyncio, sys
from producer_sdk import Producer

async def main(url, key):
    async with Producer(url, key) as producer:
        print("connected", flush=True)
        handle = await producer.submit(model="plain", messages="Say hello.", idempotency_key="the-same")
        print(handle.id, flush=True)
        await handle

asyncio.run(main(*sys.argv[1:]))
"""
"""A program that submits one job under an idempotency key, and tells when it is accepted."""


@asynccontextmanager
async def producer_process(url: str) -> AsyncIterator[Process]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PRODUCER, url, key()), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    async with listened_to(child) as made:
        yield made


def of_leader(fact: AttemptFact) -> bool:
    """Whether the leader told it, in its lost worker's place."""
    return fact.told_by == "leader"


@asynccontextmanager
async def plant(
    directory: Path,
    *,
    pools: Mapping[str, Mapping[str, Any]],
    routes: Mapping[str, Any],
    broker: Mapping[str, Any] | None = None,
    **sections: Mapping[str, Any],
) -> AsyncIterator[Plant]:
    """A broker, a simulator and a configuration; ``sections`` change single values of ``BASE``. Nothing else runs."""
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(
            Simulator(Settings(providers=(ProviderSettings(name=SIMULATED, dialect="openai"),), log_size=100_000))
        )
        server = await lasting(broker_config(**(broker or {})), directory / "broker")
        stack.push_async_callback(server.stop)
        base = {"dialect": "openai_chat", "base_url": f"{simulator.base_url(SIMULATED)}/v1", "key": "sk-of-a-test"}
        values = {name: {**BASE.get(name, {}), **sections.get(name, {})} for name in {*BASE, *sections}}
        values |= {"providers": {name: {**base, **own} for name, own in pools.items()}, "routes": dict(routes)}
        values["nats"] = {
            "url": server.url,
            "user": SERVICE,
            "password": SECRET,
            "max_queue_bytes": 64 * 1024**2,
            **values.get("nats", {}),
        }
        path = directory / "penstock.yaml"
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        config = Config.model_validate(values)
        bus = await connect(BusSettings(url=server.url, user=SERVICE, password=SecretStr(SECRET), name="test"))
        stack.push_async_callback(bus.close)
        await bus.ensure(declared(config))
        yield Plant(server, simulator, bus, config, path, stack)
