"""Worker processes against a real broker: start them, hand them assignments, read what they stored."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from job_contracts import subjects
from job_contracts.attempts import Assignment, Outcome
from job_contracts.codec import decode, encode
from job_contracts.facts import AttemptFact, Facts
from job_contracts.results import Result
from job_contracts.stream import Chunk
from runtime.bus.port import Bus, Message, NotFound
from runtime.connection import declared
from runtime.settings import Config
from tests.support import builders
from tests.support.eventually import eventually

ROOT = Path(__file__).parents[2]


@dataclass
class Process:
    """A child, and the JSON lines it has written."""

    child: asyncio.subprocess.Process
    lines: list[dict[str, Any]] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    async def read(self) -> None:
        assert self.child.stdout is not None
        async for line in self.child.stdout:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.other.append(line.decode())

    def said(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("event") == event]

    async def ready(self) -> int:
        """Wait until it works; returns its health port."""
        await eventually(lambda: self.said("service.started") or self.child.returncode is not None, within=20)
        assert self.child.returncode is None, self.other
        return int(self.said("health.listening")[0]["port"])

    async def ended(self, within: float = 45.0) -> int:
        return await asyncio.wait_for(self.child.wait(), within)


@asynccontextmanager
async def worker_process(
    pool: str, config: Path, *more: str, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """``python -m workers``; killed at the end if it still runs."""
    async with _process("-m", "workers", "--pool", pool, "--config", str(config), *more, environ=environ) as process:
        yield process


@asynccontextmanager
async def scheduler_process(
    config: Path, *more: str, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """``python -m scheduler``; killed at the end if it still runs."""
    async with _process("-m", "scheduler", "--config", str(config), *more, environ=environ) as process:
        yield process


@asynccontextmanager
async def ledger_process(config: Path, *more: str, environ: Mapping[str, str] | None = None) -> AsyncIterator[Process]:
    """``python -m ledger``; killed at the end if it still runs."""
    async with _process("-m", "ledger", "--config", str(config), *more, environ=environ) as process:
        yield process


@asynccontextmanager
async def edge_process(config: Path, *more: str, environ: Mapping[str, str] | None = None) -> AsyncIterator[Process]:
    """``python -m gateway`` on a free port (see its event ``edge.listening``); killed at the end if it still runs."""
    arguments = ("-m", "gateway", "--config", str(config), "--port", "0", *more)
    async with _process(*arguments, environ=environ) as process:
        yield process


@asynccontextmanager
async def listened_to(child: asyncio.subprocess.Process) -> AsyncIterator[Process]:
    """A child whose output is read as it comes; killed at the end if it still runs."""
    process = Process(child)
    reading = asyncio.create_task(process.read())
    try:
        yield process
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
        await reading


@asynccontextmanager
async def _process(*arguments: str, environ: Mapping[str, str] | None) -> AsyncIterator[Process]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, *arguments),
        cwd=ROOT,
        env={**os.environ, **(environ or {})},  # noqa: TID251 - the child needs what the tests have
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=1024 * 1024,
    )
    async with listened_to(child) as process:
        yield process


def write_config(path: Path, url: str, base_urls: Mapping[str, str], **workers: Any) -> Config:
    """A configuration of simulated providers in ``path``; their keys come from the environment."""
    providers = {
        name: {"base_url": base, "key": f"${{{name.upper()}_KEY}}", "slots": 64} for name, base in base_urls.items()
    }
    values = {
        "providers": providers,
        "routes": {"fast": {"deployments": [f"{name}/m" for name in providers]}},
        "nats": {"url": url, "max_queue_bytes": 64 * 1024**2},
        "workers": workers,
    }
    path.write_text(yaml.safe_dump(values))
    return Config.model_validate(values)


@dataclass
class Floor:
    """What the leader and the producers would see: hand out assignments, read everything back."""

    bus: Bus
    _jobs: int = 0

    async def ensure(self, config: Config) -> None:
        await self.bus.ensure(declared(config))

    def assignment(self, deployment: str, **over: Any) -> Assignment:
        self._jobs += 1
        provider = deployment.partition("/")[0]
        grant = {"domain": provider, "input_tokens": 20, "output_tokens": 99, "valid_for": 30.0, "granted": time.time()}
        job = over.pop("job", None) or builders.job(f"stem-{self._jobs}", stream=bool(over.get("stream")))
        fields = {"deployment": deployment, "grant": {**grant, **over.pop("grant", {})}, "submitted": time.time()}
        return builders.assignment(job, **{**fields, **over})

    async def hand(self, given: Assignment) -> Assignment:
        subject = subjects.work(0, given.provider, given.project, given.job_id)
        await self.bus.append(subject, encode(given))
        return given

    async def result(self, given: Assignment, within: float = 15.0) -> Result:
        found = await eventually(
            lambda: self._last(subjects.RES, subjects.result(given.project, given.job_id)), within=within
        )
        assert found is not None
        return decode(Result, found.data)

    async def outcome(self, given: Assignment, within: float = 15.0) -> Outcome:
        subject = subjects.outcome(0, given.project, given.job_id)
        found = await eventually(lambda: self._last("OUT_0", subject), within=within, says=given.deployment)
        assert found is not None
        return decode(Outcome, found.data)

    async def has_result(self, given: Assignment) -> bool:
        return await self._last(subjects.RES, subjects.result(given.project, given.job_id)) is not None

    async def work_left(self) -> int:
        return (await self.bus.stream_state("WORK_0")).messages

    async def facts(self, count: int) -> dict[str, AttemptFact]:
        """The facts of ``count`` attempts, once they are told; each once."""
        told = list(await eventually(lambda: self._facts(count)) or ())
        found = {fact.attempt: fact for fact in told}
        assert len(found) == len(told), "an attempt has more than one fact"
        return found

    async def chunks(self, given: Assignment) -> list[Chunk]:
        messages = await self._all(subjects.TOK, subjects.tokens(given.project, given.job_id))
        return [decode(Chunk, one.data) for one in messages]

    async def _facts(self, count: int) -> list[AttemptFact] | None:
        messages = await self._all(subjects.LEDGER, "penstock.usage.>")
        found = [fact for one in messages for fact in decode(Facts, one.data).facts]
        return found if len(found) >= count else None

    async def _all(self, stream: str, subject: str) -> list[Message]:
        found: list[Message] = []
        try:
            while True:
                found.append(await self.bus.next(stream, found[-1].seq + 1 if found else 1, subject))
        except NotFound:
            return found

    async def _last(self, stream: str, subject: str) -> Message | None:
        try:
            return await self.bus.last(stream, subject)
        except NotFound:
            return None
