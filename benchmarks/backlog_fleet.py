"""The processes of the backlog benchmark: a broker, schedulers, a scripted pool; started, watched and ended here."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import psutil

from appliance.http import NoAnswer, ask
from appliance.ports import free_ports
from benchmarks.scripted_pool import EPOCH
from runtime.broker import Broker, BrokerConfig
from runtime.bus import connect
from runtime.bus.settings import BusSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from types import TracebackType
    from typing import Literal

    from runtime.bus.port import Bus, Message

PROJECTS = tuple(f"p{number}" for number in range(10))
POOL = "sim"
READ_WITHIN = 300.0
"""Seconds in which a standby must have read what there is."""


@dataclass
class Scheduling:
    """One scheduler process."""

    name: str
    process: subprocess.Popen[bytes]
    health: str
    born: float


class Fleet:
    """Everything but the producers. Leaving it ends every process."""

    lease = 8.0
    beat_missed = 3.0

    def __init__(self, folder: Path, *, sync: Literal["default", "always"], slots: int) -> None:
        self._folder = folder
        self._slots = slots
        self._broker = Broker(BrokerConfig(sync=sync), folder / "broker")
        self._schedulers: list[Scheduling] = []
        self._pool: subprocess.Popen[bytes] | None = None
        self._bus: Bus | None = None
        self._started = 0
        self.epoch = 0
        self.epoch_since = 0.0
        """Epoch of the newest assignment the pool has seen, and when it saw the first of them."""

    async def __aenter__(self) -> Self:
        """Start the broker."""
        await self._broker.start()
        config = {
            "nats": {"url": self.url},
            "providers": {POOL: {"dialect": "openai_chat", "base_url": "http://127.0.0.1:1", "key": "none"}},
            "routes": {"fast": {"deployments": [f"{POOL}/m"]}},
            "projects": {name: {"max_queued": 100_000_000} for name in PROJECTS},
            "scheduler": {"lease": self.lease, "beat_missed": self.beat_missed},
        }
        (self._folder / "penstock.yaml").write_text(json.dumps(config))
        self._bus = await connect(BusSettings(url=self.url, name="watch"))
        await self._bus.subscribe(EPOCH, self._on_epoch)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything."""
        for process in (*(each.process for each in self._schedulers), self._pool):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(10)
        if self._bus is not None:
            await self._bus.close()
        await self._broker.stop()

    @property
    def url(self) -> str:
        """Of the broker."""
        return self._broker.url

    def _on_epoch(self, message: Message) -> None:
        epoch, since = message.data.split()
        if int(epoch) > self.epoch:
            self.epoch, self.epoch_since = int(epoch), float(since)

    async def start_scheduler(self) -> None:
        """One more; the first leads, the next stands by."""
        self._started += 1
        name, (port,) = f"s{self._started}", free_ports(1)
        command = [sys.executable, "-m", "scheduler", "--config", str(self._folder / "penstock.yaml")]
        command += ["--name", name, "--health-port", str(port)]
        log = (self._folder / f"{name}.log").open("wb")
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: ASYNC220 - a fork is short
        log.close()
        self._schedulers.append(Scheduling(name, process, f"http://127.0.0.1:{port}", time.monotonic()))

    @asynccontextmanager
    async def pool(self) -> AsyncIterator[None]:
        """The pool, while it is needed."""
        command = [sys.executable, "-m", "benchmarks.scripted_pool", "--nats", self.url]
        self._pool = subprocess.Popen([*command, "--pool", POOL, "--slots", str(self._slots)])  # noqa: ASYNC220 - as above
        try:
            yield
        finally:
            self._pool.terminate()
            await asyncio.to_thread(self._pool.wait, 30)
            self._pool = None

    # -- leaders come and go

    async def leads(self) -> bool:
        """Whether the scheduler that has been there longest leads; it ends the run if it has died."""
        first = self._schedulers[0]
        if first.process.poll() is not None:
            text = (self._folder / f"{first.name}.log").read_text()[-2000:]
            raise SystemExit(f"scheduler {first.name} ended:\n{text}")
        return (
            re.search(rb"^\w*_leader(?:\{[^}]*\})? 1(?:\.0)?$", await self._told(first, "/metrics"), re.MULTILINE)
            is not None
        )

    async def stand_by(self) -> None:
        """Have somebody ready to take over, who has had time to read what there is to read."""
        if len(self._schedulers) < 2:
            await self.start_scheduler()
        last = self._schedulers[-1]
        while time.monotonic() - last.born < READ_WITHIN:
            await asyncio.sleep(1.0)
            if await self._known(last) > 0.99 * await self._known(self._schedulers[0]):
                return
        raise SystemExit(f"the standby has not read along within {READ_WITHIN:.0f} s")

    async def _known(self, scheduler: Scheduling) -> float:
        """Unfinished jobs that a scheduler knows of; 0 if it does not answer."""
        found = re.search(
            rb"^\w*_jobs_known(?:\{[^}]*\})? ([0-9.e+]+)$", await self._told(scheduler, "/metrics"), re.MULTILINE
        )
        return float(found[1]) if found else 0.0

    async def _told(self, scheduler: Scheduling, path: str) -> bytes:
        try:
            reply = await ask(f"{scheduler.health}{path}")
        except NoAnswer:
            return b""
        return reply.body if reply.status == 200 else b""

    async def end_leader(self, *, kill: bool) -> None:
        """By kill -9, or as told by an operator."""
        leader = self._schedulers.pop(0)
        if kill:
            leader.process.kill()
        else:
            leader.process.terminate()
        self._ended = asyncio.create_task(asyncio.to_thread(leader.process.wait, 60))

    async def end_all(self) -> None:
        """Every scheduler, in order."""
        for scheduler in self._schedulers[::-1]:
            scheduler.process.terminate()
            await asyncio.to_thread(scheduler.process.wait, 60)
        self._schedulers.clear()

    # -- what they use

    def _pids(self) -> dict[str, int]:
        names = ("leader", "standby")
        pids = {name: each.process.pid for name, each in zip(names, self._schedulers, strict=False)}
        pids["broker"] = self._broker.pid
        if self._pool is not None:
            pids["pool"] = self._pool.pid
        return pids

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU by process so far, this one (the producers) included."""
        used = {name: sum(psutil.Process(pid).cpu_times()[:2]) for name, pid in self._pids().items()}
        own = resource.getrusage(resource.RUSAGE_SELF)
        return {**used, "producers": own.ru_utime + own.ru_stime}

    def memory(self) -> dict[str, float]:
        """Resident MiB by process."""
        return {name: psutil.Process(pid).memory_info().rss / 2**20 for name, pid in self._pids().items()}
