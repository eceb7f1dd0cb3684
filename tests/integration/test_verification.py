"""Answers that are verified in the background: which are, what is asked, and whom it is told to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from job_contracts import subjects
from job_contracts.codec import decode
from job_contracts.followups import MARK, OF_DRAFT
from job_contracts.results import Result
from job_contracts.subjects import follow_up_job_id
from runtime.broker import Broker
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Bus
from runtime.connection import declared
from tests.support.eventually import eventually
from tests.support.letters import Cutting
from tests.support.world import config, scheduler_on

VERIFY: dict[str, Any] = {"by": "premium", "when": "all", "budget": {"day": 5, "soft": True}}
OVER: dict[str, Any] = {
    "routes": {
        "fast": {"deployments": ["alpha/m"], "verify": VERIFY},
        "premium": {"deployments": ["beta/m"]},
    },
    "projects": {"demo": {"routes": ["fast"]}},
}


@pytest.fixture(params=["memory", "nats"])
async def bus(request: pytest.FixtureRequest, own_broker: Broker, open_bus: Callable[..., Any]) -> Bus:
    connected: Bus
    if request.param == "memory":
        connected = MemoryBroker().bus(inbox_prefix="_INBOX_demo")
    else:
        connected = await open_bus(own_broker.url, inbox_prefix="_INBOX_demo")
    await connected.ensure(declared(config(**OVER)))
    return connected


def check_of(job: str) -> str:
    return follow_up_job_id("verify", job, f"token-{job}")


async def test_an_answer_is_given_at_once_and_judged_afterwards(bus: Bus) -> None:
    async with scheduler_on(bus, config(**OVER)) as world:
        await world.pool("alpha", lambda _: "the draft")
        beta = await world.pool("beta", lambda _: '{"verdict": "accept"}')
        await world.submit("a-1")
        assert (await world.result("a-1")).deployment == "alpha/m"
        await world.result(check_of("a-1"))
        (order,) = beta.seen
        assert order.job is not None
        assert '"the draft"' in str(order.job.chat.messages[-1].content)
        assert order.job.chat.messages[0].content == "hello"
        assert (order.tagged[MARK], order.tagged[OF_DRAFT], order.job.lane) == ("verify", "alpha/m", "bg")
        await world.settled()


async def test_a_successor_asks_what_a_dead_leader_did_not(bus: Bus) -> None:
    cutting = Cutting(bus)
    cutting.cut = lambda subject, _: ".submit.demo.verify." in subject
    async with scheduler_on(cutting, config(**OVER)) as first:
        pool = await first.pool("alpha")
        pool.bus = bus
        await first.submit("a-1")
        await first.result("a-1")
    async with scheduler_on(bus, config(**OVER), owner="s2") as second:
        beta = await second.pool("beta")
        await second.result(check_of("a-1"), within=15.0)
        await second.settled()
        assert len(beta.seen) == 1


async def test_an_answer_that_lies_in_a_blob_is_judged_as_well(bus: Bus) -> None:
    async with scheduler_on(bus, config(**OVER)) as world:
        alpha = await world.pool("alpha", lambda _: None)
        beta = await world.pool("beta")
        await world.submit("a-1")
        await eventually(lambda: alpha.seen)
        (order,) = alpha.seen
        real = bus.append

        async def small(subject: str, data: bytes, **over: Any) -> Any:
            if subject == subjects.result("demo", "a-1"):
                blob = await bus.put_blob("demo.a-1", data, of="result")
                data = decode(Result, data).model_copy(update={"answer": None, "blob": blob}).model_dump_json().encode()
            return await real(subject, data, **over)

        class Pointing(Cutting):
            async def append(self, subject: str, data: bytes, **over: Any) -> Any:
                return await small(subject, data, **over)

        alpha.bus = Pointing(bus)
        await alpha.succeed(order, "the draft")
        await world.result(check_of("a-1"))
        assert beta.seen[0].job is not None
        assert '"the draft"' in str(beta.seen[0].job.chat.messages[-1].content)
