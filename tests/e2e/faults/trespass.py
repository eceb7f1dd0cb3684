"""A project with a key and no scruples, one that does nothing wrong, and the gateway behind both."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from catalogue.load import providers
from job_contracts import subjects
from producer_sdk import Producer
from runtime.bus import NatsBus
from simulator import ProviderSettings, Settings, Simulator
from tests.support.eventually import eventually
from tests.support.gateway import Gateway, gateway
from tests.support.stand_in import OTHER, PROJECT, key

MINE, THEIRS = PROJECT, OTHER
"""The attacker's project, and the one that does nothing wrong."""
HELLO: dict[str, Any] = {"model": "fast", "messages": [{"role": "user", "content": "hello"}]}
WAYS = ("submit", "cancel", "blob")
"""The ways in that the broker stores; ``api`` is answered by the desk."""
MIB = 1024 * 1024


@dataclass
class Login:
    """A bare connection with a project's key."""

    client: Client
    errors: list[str] = field(default_factory=list)
    heard: list[Msg] = field(default_factory=list)

    async def hear(self, message: Msg) -> None:
        self.heard.append(message)

    async def listen(self, *on: str) -> None:
        for subject in on:
            await self.client.subscribe(subject, cb=self.hear)
        await self.client.flush()

    async def refused(self, words: str) -> bool:
        """Whether the broker said so, which it does some time after."""
        await eventually(lambda: any(words in error for error in self.errors), says=lambda: (words, self.errors))
        return True


@contextlib.asynccontextmanager
async def login(url: str, project: str) -> AsyncIterator[Login]:
    made = Login(Client())

    async def note(error: Exception) -> None:
        made.errors.append(str(error).lower())

    prefix = subjects.inbox_prefix(project)
    made.client = await nats.connect(url, user=project, password=key(project), inbox_prefix=prefix, error_cb=note)
    try:
        yield made
    finally:
        with contextlib.suppress(nats.errors.Error):
            await made.client.close()


@contextlib.asynccontextmanager
async def whole(directory: Path) -> AsyncIterator[Gateway]:
    """A gateway of both projects over a simulated provider."""
    one = ProviderSettings(name="openai", dialect="openai")
    async with Simulator(Settings(providers=(one,))) as simulator:
        values = {
            "providers": {"openai": {"key": "sk-test", "base_url": f"{simulator.base_url('openai')}/v1"}},
            "routes": {"fast": {"deployments": ["openai/m"]}},
            "projects": {MINE: {}, THEIRS: {}},
        }
        async with gateway(directory, values, {"openai": providers()["openai"]}) as made:
            yield made


async def counts(bus: NatsBus) -> dict[str, int]:
    """Messages by stream."""
    names = [subjects.stream_name(name) for name in (subjects.SUBMIT, subjects.WORK, subjects.OUT)]
    names += [subjects.RES, subjects.CTL, subjects.DEAD, subjects.LEDGER, subjects.BLOB, subjects.TOK]
    return {name: (await bus.stream_state(name)).messages for name in names}


def way(name: str, job: str, project: str = MINE) -> str:
    """Where a project publishes for a job, by the way in."""
    if name == "blob":
        return subjects.blob(project, job, 0)
    return subjects.submit(project, job) if name == "submit" else subjects.cancel(project, job)


@contextlib.asynccontextmanager
async def quiet(gate: Gateway) -> AsyncIterator[Producer]:
    """The project that does nothing wrong, with the SDK."""
    async with Producer(gate.url, key(THEIRS), timeout=30) as producer:
        yield producer


async def empty(gate: Gateway, stream: str) -> bool:
    return (await gate.bus.stream_state(stream)).messages == 0
