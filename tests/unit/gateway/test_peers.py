"""What edges tell each other of themselves, beside that they are there."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack

from gateway.peers import Peers
from job_contracts import subjects
from job_contracts.codec import encode
from job_contracts.configured import Configured
from job_contracts.keys import EdgeBeat
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


async def test_an_edge_that_was_cut_off_asks_who_is_there_before_it_has_a_share_again() -> None:
    broker, clock = MemoryBroker(), ManualClock()
    one, two = (Peers(broker.bus(), clock, Telemetry(), name=name, every=60.0) for name in ("one", "two"))
    async with AsyncExitStack() as stack:
        for edge in (one, two):
            stack.push_async_callback(edge.stop)
            await edge.start()
        await eventually(lambda: len(one.heard()) == len(two.heard()) == 2)
        clock.advance(30.0)
        assert [edge.share(clock.monotonic())[0] for edge in (one, two)] == [0.5, 0.5]
        clock.advance(60.0 * 5)  # without a sign of anybody, and without a request
        await one._beat()
        await eventually(lambda: len(one.heard()) == 2, says="the other was not asked")
        assert one.share(clock.monotonic())[0] == 0.0, "it may be that not all have answered yet"
        clock.advance(30.0)
        share, since = one.share(clock.monotonic())
        assert (share, since) == (0.5, clock.monotonic()), "its buckets begin empty"


async def test_an_old_sign_of_its_own_that_comes_late_gives_an_edge_no_share() -> None:
    broker, clock = MemoryBroker(), ManualClock()
    one = Peers(broker.bus(), clock, Telemetry(), name="one", every=60.0)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(one.stop)
        await one.start()
        await eventually(one.heard)
        clock.advance(60.0 * 5)
        assert one.share(clock.monotonic())[0] == 0.0
        old = EdgeBeat(edge=one.edge, event="here")
        await broker.bus().publish(subjects.edges(), encode(old))
        await eventually(lambda: [told.silent for told in one.heard()] == [0.0])
        clock.advance(60.0)
        assert one.share(clock.monotonic())[0] == 0.0, "others may have come meanwhile, and nobody has asked"
        await one._beat()
        await eventually(lambda: [told.silent for told in one.heard()] == [0.0])
        clock.advance(30.0)
        assert one.share(clock.monotonic())[0] == 1.0
