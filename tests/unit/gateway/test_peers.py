"""What edges tell each other of themselves, beside that they are there."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack

from gateway.peers import Peers
from job_contracts import subjects
from job_contracts.configured import Configured
from runtime.bus.memory import MemoryBroker
from runtime.telemetry import Telemetry
from tests.support.clock import ManualClock
from tests.support.eventually import eventually

OURS, OTHERS = Configured(parts={"routes": "1"}, since=1.0), Configured(parts={"routes": "2"}, since=2.0)


def told(edge: Peers) -> dict[str, Configured | None]:
    return {one.name: one.configured for one in edge.heard()}


async def test_edges_hear_of_each_others_configuration_and_bear_one_that_does_not_tell() -> None:
    broker, clock = MemoryBroker(), ManualClock()
    one, two = (
        Peers(broker.bus(), clock, Telemetry(), name=name, every=60.0, configured=has)
        for name, has in (("one", OURS), ("two", OTHERS))
    )
    async with AsyncExitStack() as stack:
        for edge in (one, two):
            stack.push_async_callback(edge.stop)
            await edge.start()
        older = json.dumps({"version": "1.0", "edge": "three", "event": "here"}).encode()
        await broker.bus().publish(subjects.edges(), older)
        wanted = {one.edge: OURS, two.edge: OTHERS, "three": None}
        await eventually(lambda: told(one) == told(two) == wanted)
    assert one.heard() == []
