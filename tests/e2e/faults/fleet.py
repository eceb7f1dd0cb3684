"""A whole fleet as real processes that are killed, paused and started again: brokers, schedulers, workers, providers.

Three nodes, three schedulers, two workers for each of four pools, one ledger, one simulator. Whoever dies is started
again after a moment, as a supervisor would. Nothing outlives the process that runs the fleet.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from appliance.leash import Leash
from job_contracts import subjects
from runtime.bus import BusSettings, NatsBus, connect
from runtime.bus.port import BusError
from runtime.connection import declared
from runtime.settings import Config
from tests.e2e.faults import fleet_settings as made_of
from tests.e2e.faults.events import Event, Said
from tests.support.cluster import Cluster, cluster
from tests.support.eventually import eventually
from tests.support.simulated import SimulatorProcess, simulator_process

ROOT = Path(__file__).parents[3]
SCHEDULERS, WORKERS = 3, 2
RESTART_AFTER = 0.3
"""Seconds until a process that died is started again."""
END_WITHIN = 15.0


@dataclass
class Child:
    """One process under supervision."""

    name: str
    words: tuple[str, ...]
    pool: str = ""
    process: asyncio.subprocess.Process | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while it works: after its start was told, until it ends."""
    duty: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """0 while it is not there."""
        return self.process.pid if self.process is not None and self.process.returncode is None else 0

    def signal(self, number: signal.Signals) -> int:
        """Send it a signal; returns the pid, 0 if there was nobody."""
        pid = self.pid
        if pid:
            if number is signal.SIGKILL:
                self.ready.clear()
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pid


class Fleet:
    """The processes by name: ``s1``…, ``alpha1``…; nodes by number. Made by ``fleet``."""

    def __init__(
        self, nodes: Cluster, simulator: SimulatorProcess, config: Config, file: Path, tell: Callable[[Event], None]
    ) -> None:
        self.nodes = nodes
        self.simulator = simulator
        self.config = config
        self.folder = file.parent
        self.bus: NatsBus
        """Our own eyes: a connection that may do everything."""
        self.children: dict[str, Child] = {}
        self._file = file
        self._tell = tell
        self._leash = Leash()
        self._ending = False
        self._leader = "s1"
        for number in range(1, SCHEDULERS + 1):
            self._add(Child(f"s{number}", ("scheduler", "--name", f"s{number}")))
        for pool in config.providers:
            for number in range(1, WORKERS + 1):
                name = f"{pool}{number}"
                self._add(Child(name, ("workers", "--pool", pool, "--name", name), pool))
        self.ledger = Child("ledger", ("ledger", "--name", "ledger"))
        self._add(self.ledger)

    def _add(self, child: Child) -> None:
        self.children[child.name] = child

    @property
    def schedulers(self) -> list[Child]:
        return [child for child in self.children.values() if child.words[0] == "scheduler"]

    @property
    def workers(self) -> list[Child]:
        return [child for child in self.children.values() if child.pool]

    async def leader(self) -> str:
        """The scheduler that leads, by the lease record; the last one known while the broker does not answer."""
        with contextlib.suppress(BusError, ValueError, TimeoutError):
            async with asyncio.timeout(1.5):
                record = await self.bus.last(subjects.stream_name(subjects.WORK), subjects.lease(0))
            owner = json.loads(record.data).get("owner")
            self._leader = owner if owner in self.children else self._leader
        return self._leader

    # -- life

    async def start(self) -> None:
        """Make the streams, start all processes, and wait until a scheduler leads and every worker works."""
        settings = BusSettings(
            url=self.nodes.url, user=made_of.SERVICE, password=self.config.nats.password, name="observer"
        )
        self.bus = await connect(settings, on_event=lambda kind, of: self._say("observer", f"bus.{kind}", {"of": of}))
        await self.bus.ensure(declared(self.config))
        for child in self.children.values():
            child.duty = asyncio.create_task(self._supervise(child))
        await eventually(
            lambda: all(child.ready.is_set() for child in self.children.values()),
            within=90.0,
            says=lambda: f"not up: {[child.name for child in self.children.values() if not child.ready.is_set()]}",
        )

    async def stop(self) -> None:
        """End every process of this fleet: kindly, then at once."""
        self._ending = True
        for child in self.children.values():
            child.signal(signal.SIGCONT)
            child.signal(signal.SIGTERM)
        duties = [child.duty for child in self.children.values() if child.duty is not None]
        if duties:
            _, left = await asyncio.wait(duties, timeout=END_WITHIN)
            for child in self.children.values():
                child.signal(signal.SIGKILL)
            if left:
                await asyncio.wait(left, timeout=5.0)
        with contextlib.suppress(BusError, AttributeError):
            await self.bus.close()
        self._leash.close()

    async def _supervise(self, child: Child) -> None:
        while not self._ending:
            nodes = ",".join(self.nodes.url)
            argv = (sys.executable, "-m", *child.words, "--config", str(self._file), "--nats", nodes)
            child.process = await self._leash.start(argv, env=None, cwd=ROOT)
            pid = child.process.pid
            await self._read(child)
            status = await child.process.wait()
            self._leash.ended(pid)
            child.ready.clear()
            self._say(child.name, "process.ended", {"status": status, "pid": pid})
            if not self._ending:
                await asyncio.sleep(RESTART_AFTER)

    async def _read(self, child: Child) -> None:
        assert child.process is not None
        assert child.process.stdout is not None
        while True:
            try:
                line = await child.process.stdout.readline()
            except ValueError:  # longer than the reader holds
                continue
            if not line:
                return
            try:
                told: dict[str, Any] = json.loads(line)
            except ValueError:
                told = {"event": "text", "line": line.decode(errors="replace").rstrip()}
            if told.get("event") == "service.started":
                child.ready.set()
            self._say(child.name, str(told.pop("event", "text")), told)

    def _say(self, process: str, event: str, fields: dict[str, Any]) -> None:
        at = float(fields.pop("at", time.time()))
        shown = {name: str(value) for name, value in fields.items() if name != "process"}
        self._tell(Said(at=at, process=process, event=event, fields=shown))


@asynccontextmanager
async def fleet(
    directory: Path, tell: Callable[[Event], None], *, lease: float, beat_missed: float
) -> AsyncIterator[Fleet]:
    """Start everything below ``directory`` and end it; what the processes say goes to ``tell``."""
    directory.mkdir(parents=True, exist_ok=True)
    providers, config_file = directory / "simulator.yaml", directory / "penstock.yaml"
    providers.write_text(yaml.safe_dump(made_of.simulator_settings()), encoding="utf-8")
    async with AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(cluster(directory, users=made_of.users()))
        simulator = await stack.enter_async_context(simulator_process("--config", str(providers)))
        values = made_of.configuration(simulator.base_urls, lease=lease, beat_missed=beat_missed)
        config_file.write_text(yaml.safe_dump(values), encoding="utf-8")
        made = Fleet(nodes, simulator, Config.model_validate(values), config_file, tell)
        stack.push_async_callback(made.stop)
        await made.start()
        yield made
