"""How many workers there should be, asked of any scheduler, while leaders come and go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runtime.broker import Broker
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Bus
from runtime.connection import declared
from tests.support.eventually import eventually
from tests.support.world import World, config, scheduler_on


def desired(world: World) -> float | None:
    return world.scheduler.figures.desired().get("alpha")


@pytest.mark.parametrize("kind", ["memory", "nats"])
async def test_leader_and_standby_tell_the_same_and_a_successor_goes_on_from_it(
    kind: str, own_broker: Broker, open_bus: Callable[..., Any]
) -> None:
    shared = MemoryBroker()

    async def one() -> Bus:
        if kind == "memory":
            return shared.bus(inbox_prefix="_INBOX_demo")
        bus: Bus = await open_bus(own_broker.url, inbox_prefix="_INBOX_demo")
        return bus

    made = config(scheduler={"lease": 600.0, "renew": 0.5})
    bus = await one()
    await bus.ensure(declared(made))
    async with (
        scheduler_on(bus, made, owner="s1") as leader,
        scheduler_on(await one(), made, owner="s2", wait=False) as other,
    ):
        pools = [await leader.pool("alpha", lambda _: None, slots=2, worker=f"w{number}") for number in range(3)]
        for number in range(4):
            await leader.submit(f"a-{number}")
        await eventually(lambda: desired(leader) == desired(other) == 3.0, says="they do not tell the same")
        await pools[0].die()
        await leader.scheduler.stop()
        await eventually(lambda: other.scheduler.leads, says="the standby does not lead")
        assert desired(other) == 3.0, "a worker more or less for a moment is no reason to stop others"


async def test_a_leader_that_vanishes_leaves_its_number_to_the_next() -> None:
    shared = MemoryBroker()
    bus = shared.bus(inbox_prefix="_INBOX_demo")
    quick = config(scheduler={"lease": 1.5, "renew": 0.3})
    await bus.ensure(declared(quick))
    async with (
        scheduler_on(bus, quick, owner="s1") as leader,
        scheduler_on(shared.bus(inbox_prefix="_INBOX_demo"), quick, owner="s2", wait=False) as other,
    ):
        for number in range(2):
            await other.pool("alpha", lambda _: None, slots=2, worker=f"w{number}")
        await eventually(lambda: desired(other) == desired(leader) == 2.0)
        bus.disconnect()
        await eventually(lambda: other.scheduler.leads, says="the standby does not lead")
        assert desired(other) == 2.0
        bus.reconnect()
