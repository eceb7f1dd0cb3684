"""What tests of dead letters share: a leader on any bus, questions to its desk, and a bus that loses writes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from job_contracts import subjects
from job_contracts.codec import Wire, decode, encode
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from job_contracts.letters import (
    AllHandled,
    AskDiscard,
    AskLetter,
    AskLetters,
    AskReplay,
    DeadLetter,
    FoundLetter,
    Handled,
    LetterPage,
)
from runtime.broker import Broker
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Ack, Bus, OutcomeUnknown
from runtime.clock import Clock
from runtime.connection import declared
from tests.support.world import World, config, scheduler_on

W = TypeVar("W", bound=Wire)

OVER: dict[str, Any] = {
    "routes": {"fast": {"deployments": ["alpha/m"], "max_attempts": 2}, "other": {"deployments": ["beta/m"]}},
    "projects": {"demo": {}, "other": {}, "small": {"max_queued": 5}},
}
BROKEN = Failure(kind=FailureKind.INTERNAL, message="something of ours is broken")
"""Ends a job at once and leaves its deployment alone: the next job goes there as well."""


@pytest.fixture(params=["memory", "nats"])
async def letter_bus(request: pytest.FixtureRequest, own_broker: Broker, open_bus: Callable[..., Any]) -> Bus:
    connected: Bus
    if request.param == "memory":
        connected = MemoryBroker().bus(inbox_prefix="_INBOX_demo")
    else:
        connected = await open_bus(own_broker.url, inbox_prefix="_INBOX_demo")
    await connected.ensure(declared(config(**OVER)))
    return connected


@asynccontextmanager
async def leader(bus: Bus, owner: str = "s1", clock: Clock | None = None, **over: Any) -> AsyncIterator[World]:
    async with scheduler_on(bus, config(**OVER, **over), owner=owner, clock=clock) as running:
        yield running


class Cutting:
    """A bus on which some writes never come through, as if the process or its connection had died right there."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.cut: Callable[[str, Mapping[str, str]], bool] = lambda _subject, _headers: False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def append(self, subject: str, data: bytes, *, headers: Mapping[str, str] | None = None, **over: Any) -> Ack:
        if self.cut(subject, headers or {}):
            raise OutcomeUnknown("cut")
        return await self._bus.append(subject, data, headers=headers, **over)


async def ask(world: World, operation: str, question: Wire, kind: type[W], project: str = "demo") -> W:
    answer = await world.bus.request(subjects.api(project, operation), encode(question), timeout=5.0)
    return decode(kind, answer.data)


async def page(world: World, project: str = "demo", **asked: Any) -> LetterPage:
    return await ask(world, "letters", AskLetters(**asked), LetterPage, project)


async def letter_of(world: World, job: str, project: str = "demo") -> DeadLetter | None:
    return (await ask(world, "letter", AskLetter(job=job), FoundLetter, project)).letter


async def replay(world: World, *jobs: str, route: str | None = None, project: str = "demo") -> list[Handled]:
    asked = AskReplay(jobs=jobs, route=route)
    return list((await ask(world, "replay", asked, AllHandled, project)).handled)


async def discard(world: World, *jobs: str, why: str = "", project: str = "demo") -> list[Handled]:
    return list((await ask(world, "discard", AskDiscard(jobs=jobs, why=why), AllHandled, project)).handled)


async def stored(bus: Bus, project: str = "demo") -> dict[str, int]:
    """Subjects of a project's letters and their bodies."""
    found = (await bus.stream_state(subjects.DEAD, subjects=f"{subjects.PREFIX}.dead.{project}.>")).subjects
    return dict(found or {})


async def given_up(world: World, job: str = "a-1", failure: Failure = BROKEN, **ticket: Any) -> DeadLetter:
    """Submit a job to a pool that fails it, and wait for its end."""
    await world.submit(job, **ticket)
    assert (await world.result(job)).state is JobState.FAILED
    letter = await letter_of(world, job)
    assert letter is not None
    return letter


async def some_letters(bus: Bus, project: str) -> bool:
    return bool(await stored(bus, project))


async def no_letters(bus: Bus) -> bool:
    return not await stored(bus)
