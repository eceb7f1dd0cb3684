"""A whole gateway for tests: a real broker with its users, a scheduler and workers on this loop, producers outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from catalogue.rows import ProviderRow
from job_contracts import subjects
from job_contracts.codec import decode
from job_contracts.facts import AttemptFact, Facts
from job_contracts.results import Result
from producer_sdk import Producer
from runtime.broker import Broker, BrokerConfig
from runtime.bus import BusSettings, NatsBus, connect
from runtime.bus.port import Message, NotFound
from runtime.clock import SystemClock
from runtime.connection import declared
from runtime.settings import Config
from runtime.telemetry import INFO, Event, Telemetry
from scheduler.service import Scheduler
from tests.support.broker import lasting
from tests.support.cluster import Cluster
from tests.support.eventually import eventually
from tests.support.stand_in import PROJECT, SECRET, SERVICE, broker_config, key
from workers.assembly import Worker, assemble
from workers.dialects import DIALECTS

QUICK: Mapping[str, Any] = {
    "projects": {PROJECT: {"retry_share": 1.0}},
    "scheduler": {"lease": 4.0, "renew": 1.0, "reconcile_every": 1.0},
    "workers": {"beat_every": 1.0, "drain": 1.0},
}
"""What a gateway of a test needs beside providers and routes: its project, and signs of life more often."""


@dataclass
class Gateway:
    """The parts that a test looks at once it has run its jobs."""

    broker: Broker | Cluster
    bus: NatsBus
    config: Config
    scheduler: Scheduler
    events: list[Event]
    _left: dict[str, int] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where clients connect: one address, or those of every node."""
        return self.broker.url if isinstance(self.broker, Broker) else ",".join(self.broker.url)

    def producer(self, **arguments: Any) -> Producer:
        """A producer as users have it: its own connection, its project's key, nothing but its permissions."""
        return Producer(self.url, key(), **arguments)

    async def settled(self, *, within: float = 10.0) -> None:
        """Wait until no job is queued, under way, or ended without its end being told."""
        await eventually(
            self._nothing_left, within=within, says=lambda: f"left behind, besides the lease in WORK: {self._left}"
        )

    async def results(self) -> dict[str, Result]:
        """All records there are, by job."""
        found = [decode(Result, one.data) for one in await self._all(subjects.RES, f"{subjects.PREFIX}.res.>")]
        assert len({result.job for result in found}) == len(found), "a job has two results"
        return {result.job: result for result in found}

    async def facts(self, count: int) -> dict[str, AttemptFact]:
        """What the ledger was told, by attempt, once it was told of ``count`` attempts."""
        told = await eventually(lambda: self._facts(count), within=30.0, says=f"facts of {count} attempts") or []
        found = {fact.attempt: fact for fact in told}
        assert len(found) == len(told), "an attempt has more than one fact"
        return found

    async def _nothing_left(self) -> bool:
        names = [subjects.stream_name(name) for name in (subjects.SUBMIT, subjects.OUT, subjects.WORK)]
        self._left = {name: (await self.bus.stream_state(name)).messages for name in names}
        self._left[names[-1]] -= 1  # the lease lies with the assignments
        return not any(self._left.values())

    async def _facts(self, count: int) -> list[AttemptFact] | None:
        messages = await self._all(subjects.LEDGER, f"{subjects.PREFIX}.usage.>")
        found = [fact for one in messages for fact in decode(Facts, one.data).facts]
        return found if len(found) >= count else None

    async def _all(self, stream: str, subject: str) -> list[Message]:
        found: list[Message] = []
        try:
            while True:
                found.append(await self.bus.next(stream, found[-1].seq + 1 if found else 1, subject))
        except NotFound:
            return found


@asynccontextmanager
async def gateway(
    directory: Path,
    values: Mapping[str, Any],
    catalogue: Mapping[str, ProviderRow],
    *,
    nodes: Cluster | None = None,
    served_by: BrokerConfig | None = None,
    telemetry: Telemetry | None = None,
) -> AsyncIterator[Gateway]:
    """Start all that a configuration of ``values`` (and ``QUICK``) needs, a pool each provider; stop it at the end.

    With ``nodes``, which run already and know the users of ``broker_config``, it stands on those; ``served_by`` is the
    broker's configuration in place of ``broker_config``. ``telemetry`` hears of all that happens.
    """
    config = Config.model_validate({**QUICK, **values})
    telemetry, events = telemetry or Telemetry(), list[Event]()
    telemetry.subscribe(events.append, lowest=INFO)
    async with AsyncExitStack() as stack:
        broker = nodes or await lasting(served_by or broker_config(), directory / "broker")
        if nodes is None:
            stack.push_async_callback(broker.stop)
        buses = {name: await _service(broker, name) for name in ("test", "scheduler", "workers")}
        for bus in buses.values():
            stack.push_async_callback(bus.close)
        await buses["test"].ensure(declared(config))
        scheduler = Scheduler(
            buses["scheduler"], SystemClock(), telemetry, config, catalogue, owner="s1", version="test"
        )
        stack.push_async_callback(scheduler.stop)
        await scheduler.start()
        await eventually(lambda: scheduler.leads, within=10.0, says="the scheduler does not lead")
        pools = [_worker(config, pool, buses["workers"], telemetry, catalogue) for pool in config.providers]

        async def stop_pools() -> None:
            await asyncio.gather(*(_stop(pool) for pool in pools))

        stack.push_async_callback(stop_pools)
        await asyncio.gather(*(_start(pool) for pool in pools))
        yield Gateway(broker, buses["test"], config, scheduler, events)


async def _service(broker: Broker | Cluster, name: str) -> NatsBus:
    return await connect(BusSettings(url=broker.url, user=SERVICE, password=SecretStr(SECRET), name=name))


def _worker(
    config: Config, pool: str, bus: NatsBus, telemetry: Telemetry, catalogue: Mapping[str, ProviderRow]
) -> Worker:
    return assemble(
        config,
        pool=pool,
        worker="w1",
        bus=bus,
        clock=SystemClock(),
        telemetry=telemetry,
        catalogue=catalogue,
        dialects=DIALECTS,
    )


async def _start(worker: Worker) -> None:
    for duty in worker.duties:
        await duty.start()


async def _stop(worker: Worker) -> None:
    for duty in reversed(worker.duties):
        await asyncio.wait_for(duty.stop(), 10)
