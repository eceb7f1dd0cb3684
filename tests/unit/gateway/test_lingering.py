"""Before a job whose client has gone is cancelled, other edges are asked, and one that stands still is waited for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.lingering import Lingering
from job_contracts import subjects
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Message, OutcomeUnknown
from tests.support.eventually import eventually


class Held:
    """A job here, as ``Lingering`` has it of its producer: nobody waits for it any more."""

    id = "j"

    def __init__(self) -> None:
        self.cancelled = False

    async def cancel(self, _: str) -> None:
        self.cancelled = True

    def lingering(self, bus: object, linger: float) -> Lingering:
        producer = SimpleNamespace(attach=lambda _: self)
        producers = SimpleNamespace(of=lambda _: producer, awaits=lambda *_: False)
        return Lingering(cast("Any", bus), cast("Any", producers), linger)


class Nobody:
    """A bus on which no question is answered; the waiting takes no time."""

    def __init__(self) -> None:
        self.waited = 0.0

    async def request(self, *_: object, timeout: float) -> Message:
        self.waited += timeout
        self.meanwhile()
        raise OutcomeUnknown("silence")

    def meanwhile(self) -> None:
        """What happens before it is known that a question is not answered."""


async def test_one_answer_that_is_not_read_in_time_costs_nobody_their_job() -> None:
    broker, job, asked = MemoryBroker(), Held(), list[str]()
    theirs = broker.bus()
    answering = set[asyncio.Task[None]]()

    def hear(question: Message) -> None:
        asked.append(question.subject)
        if len(asked) > 1:
            answering.add(asyncio.create_task(theirs.publish(question.reply, b"")))

    listening = await theirs.subscribe(subjects.awaited_any(), hear)
    lingering = job.lingering(broker.bus(), 0.0)
    lingering.leave("p", job.id, keyed=True)
    await eventually(lambda: asked and not lingering.busy, within=20.0)
    await listening.close()
    assert not job.cancelled
    assert asked == [subjects.awaited("p", job.id)] * 2, "who answered is not asked again"


@pytest.mark.parametrize(("linger", "silence"), [(0.0, 2.0), (3.0, 3.0), (15.0, 5.0), (600.0, 5.0)])
async def test_others_may_stand_still_for_as_long_as_the_job_was_kept(linger: float, silence: float) -> None:
    bus, job = Nobody(), Held()
    lingering = job.lingering(bus, linger)
    lingering._due("p", cast("Any", job))  # its patience is over
    await eventually(lambda: not lingering.busy)
    assert bus.waited == pytest.approx(silence)
    assert job.cancelled


async def test_a_client_that_comes_and_goes_once_more_while_others_are_asked_may_come_back() -> None:
    bus, job = Nobody(), Held()
    lingering = job.lingering(bus, 60.0)
    bus.meanwhile = lambda: lingering.leave("p", job.id, keyed=True)  # type: ignore[method-assign]
    lingering._due("p", cast("Any", job))
    await eventually(lambda: bus.waited and not lingering._tasks)
    assert lingering.busy, "it lingers anew"
    await lingering.close()
    assert not job.cancelled


async def test_a_client_that_comes_back_while_others_are_asked_keeps_its_job() -> None:
    bus, job = Nobody(), Held()
    lingering = job.lingering(bus, 60.0)
    bus.meanwhile = lambda: lingering.back("p", job.id)  # type: ignore[method-assign]
    lingering._due("p", cast("Any", job))
    await eventually(lambda: bus.waited and not lingering.busy)
    assert not job.cancelled


async def test_an_edge_that_ends_while_others_are_asked_cancels_nothing() -> None:
    bus, job = Nobody(), Held()
    lingering = job.lingering(bus, 60.0)
    lingering._due("p", cast("Any", job))
    await lingering.close()
    assert not lingering.busy
    assert not job.cancelled
