"""A whole system as processes, with faults at hand: broker, simulator, schedulers behind a proxy, workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from job_contracts import subjects
from job_contracts.codec import decode
from runtime.broker import Broker, BrokerConfig
from runtime.bus import BusSettings, NatsBus, connect
from runtime.bus.port import BusError
from runtime.connection import declared
from runtime.settings import Config
from scheduler.leadership import LeaseRecord
from tests.support.proxy import FaultProxy
from tests.support.simulated import SimulatorProcess, simulator_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

ROOT = Path(__file__).parents[1]
START = 90.0
"""Seconds a process may take to be ready."""


@dataclass
class Member:
    """One process of the fleet, and what it writes to."""

    name: str
    arguments: tuple[str, ...]
    log: Path
    child: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, again if it has ended."""
        with self.log.open("ab") as log:
            self.child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", *self.arguments), cwd=ROOT, stdout=log, stderr=log
            )

    async def ready(self) -> None:
        """Wait until it says so. Raises RuntimeError with its last words if it ends or takes too long."""
        for _ in range(int(START / 0.05)):
            if b'"service.started"' in self.log.read_bytes():
                return
            if self.child is None or self.child.returncode is not None:
                break
            await asyncio.sleep(0.05)
        raise RuntimeError(f"{self.name} did not start: {self.log.read_text()[-2000:]}")

    def signal(self, which: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.child is not None and self.child.returncode is None:
            self.child.send_signal(which)

    async def kill(self) -> None:
        """End it at once, stopped or not."""
        self.signal(signal.SIGKILL)
        if self.child is not None:
            await self.child.wait()


@dataclass
class Fleet:
    """What runs, and the levers."""

    broker: Broker
    simulator: SimulatorProcess
    bus: NatsBus
    schedulers: dict[str, Member] = field(default_factory=dict)
    proxies: dict[str, FaultProxy] = field(default_factory=dict)
    workers: list[Member] = field(default_factory=list)

    async def leader(self) -> str:
        """The scheduler whose name the lease record bears; waits while nobody leads."""
        while True:
            with contextlib.suppress(BusError):
                stored = await self.bus.last(subjects.stream_name(subjects.WORK, 0), subjects.lease(0))
                owner = decode(LeaseRecord, stored.data).owner
                if owner in self.schedulers:
                    return owner
            await asyncio.sleep(0.05)

    async def other_leader(self, than: str, within: float) -> float:
        """Seconds until somebody else leads. Raises TimeoutError."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.timeout(within):
            while await self.leader() == than:  # noqa: ASYNC110 - the record is at the broker: it can only be asked for
                await asyncio.sleep(0.02)
        return loop.time() - began

    async def kill_leader(self, within: float = 30.0) -> float:
        """``kill -9``; seconds until another one leads. The dead one is started again."""
        name = await self.leader()
        await self.schedulers[name].kill()
        took = await self.other_leader(name, within)
        await self.schedulers[name].start()
        return took

    async def pause_leader(self, seconds: float) -> None:
        """SIGSTOP for ``seconds``, then SIGCONT: it wakes and believes that it leads."""
        member = self.schedulers[await self.leader()]
        member.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            member.signal(signal.SIGCONT)

    async def stall_commits(self, seconds: float) -> None:
        """What the leader sends is kept back for ``seconds`` and then arrives: its commits happen late."""
        proxy = self.proxies[await self.leader()]
        proxy.hold_up()
        try:
            await asyncio.sleep(seconds)
        finally:
            proxy.release_up()


@asynccontextmanager
async def fleet(
    directory: Path,
    values: Mapping[str, Any],
    simulated: Mapping[str, Any],
    *,
    schedulers: int = 3,
    workers: Mapping[str, int],
    sync: str = "always",
) -> AsyncIterator[Fleet]:
    """Start all of it and stop it at the end.

    ``values`` is the configuration, with ``base_url`` of a provider as the path below the simulated one of its name;
    ``simulated`` are the simulator's settings; ``workers`` how many processes each pool has.
    """
    async with AsyncExitStack() as stack:
        broker = Broker(BrokerConfig.model_validate({"sync": sync}), directory / "broker")
        await broker.start()
        stack.push_async_callback(broker.stop)
        settings = directory / "simulator.yaml"
        settings.write_text(yaml.safe_dump(dict(simulated)))
        simulator = await stack.enter_async_context(simulator_process("--config", str(settings)))
        told = _addressed(values, simulator, broker.url)
        config = directory / "penstock.yaml"
        config.write_text(yaml.safe_dump(told))
        bus = await connect(BusSettings(url=broker.url, name="fleet"))
        stack.push_async_callback(bus.close)
        await bus.ensure(declared(Config.model_validate(told)))
        made = Fleet(broker, simulator, bus)
        stack.push_async_callback(_stop, made)
        for number in range(1, schedulers + 1):
            name = f"s{number}"
            proxy = made.proxies[name] = await stack.enter_async_context(FaultProxy(broker))
            given = ("scheduler", "--config", str(config), "--nats", proxy.url, "--name", name)
            made.schedulers[name] = Member(name, given, directory / f"{name}.log")
        for pool, count in workers.items():
            for number in range(1, count + 1):
                name = f"{pool}-{number}"
                given = ("workers", "--pool", pool, "--config", str(config), "--name", name)
                made.workers.append(Member(name, given, directory / f"{name}.log"))
        members = (*made.schedulers.values(), *made.workers)
        for member in members:
            await member.start()
        await asyncio.gather(*(member.ready() for member in members))
        await made.leader()
        yield made


def _addressed(values: Mapping[str, Any], simulator: SimulatorProcess, url: str) -> dict[str, Any]:
    providers = {
        name: {**row, "base_url": simulator.base_urls[name] + row["base_url"]}
        for name, row in values["providers"].items()
    }
    return {**values, "providers": providers, "nats": {**values.get("nats", {}), "url": url}}


async def _stop(made: Fleet) -> None:
    members = (*made.schedulers.values(), *made.workers)
    for member in members:
        member.signal(signal.SIGCONT)
        member.signal(signal.SIGKILL)
    for member in members:
        await member.kill()


def cpu_count() -> int:
    """Processors of this machine, for the notes beside figures."""
    return os.cpu_count() or 1
