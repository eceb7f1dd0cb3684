"""Submissions that cannot be run and are as large as a message may be: what is said of them must fit into one too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic_core import to_json

from job_contracts import subjects
from job_contracts.codec import encode
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState, Ticket, body_hash
from job_contracts.results import Result
from runtime.broker import Broker
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Bus
from runtime.clock import SystemClock
from runtime.connection import declared
from tests.support.world import config, scheduler_on, world

LARGE: dict[str, dict[str, Any]] = {
    "a tag's name": {"id": "a-1", "route": "fast", "tags": {"K" * 520_000: 5}},
    "its id": {"id": "K" * 520_000, "route": "fast", "conversation": {"messages": [{"role": "user", "content": ""}]}},
    "a role": {"id": "a-1", "route": "fast", "conversation": {"messages": [{"role": "K" * 520_000}]}},
}


@pytest.fixture(params=["memory", "nats"])
async def bus(request: pytest.FixtureRequest, own_broker: Broker, open_bus: Callable[..., Any]) -> Bus:
    if request.param == "memory":
        return MemoryBroker().bus(inbox_prefix="_INBOX_demo")
    connected: Bus = await open_bus(own_broker.url, inbox_prefix="_INBOX_demo")
    return connected


def refused(result: Result) -> bool:
    return (
        result.state is JobState.FAILED
        and result.failure is not None
        and result.failure.kind is FailureKind.INVALID_JOB
        and "KKK" in result.failure.message
    )


@pytest.mark.parametrize("name", LARGE)
async def test_a_large_body_that_is_no_job_is_answered(bus: Bus, name: str) -> None:
    async with world(bus) as demo:
        pool = await demo.pool("alpha")
        await demo.submit("a-1", body=to_json(LARGE[name]))
        assert refused(await demo.result("a-1"))
        assert not pool.seen
        await demo.settled()


@pytest.mark.parametrize("name", LARGE)
async def test_it_is_answered_as_well_where_a_leader_has_read_the_headers_alone(bus: Bus, name: str) -> None:
    made, data = config(), to_json(LARGE[name])
    await bus.ensure(declared(made))
    now = SystemClock().wall()
    ticket = Ticket(route="fast", submitted=now, token="token", body_hash=body_hash(data), input_estimate=20)
    await bus.append(subjects.submit("demo", "a-1"), data, headers={subjects.H_TICKET: encode(ticket).decode()})
    async with scheduler_on(bus, made) as demo:
        pool = await demo.pool("alpha")
        assert refused(await demo.result("a-1"))
        assert not pool.seen
        await demo.settled()
