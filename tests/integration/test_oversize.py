"""An order that fits no message ends its job, whatever it is stored with, and keeps nobody else from being served."""

from __future__ import annotations

import pytest

from job_contracts.attempts import Assignment
from job_contracts.chat import Conversation, UserTurn
from job_contracts.codec import encode
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import Job, JobState
from runtime.bus.memory import MemoryBroker
from scheduler.oversize import TOLD
from tests.support.eventually import eventually
from tests.support.world import world

LONG = encode(
    Job(id="long-1", route="fast", conversation=Conversation(messages=(UserTurn(role="user", content="h" * 20_000),)))
)


@pytest.mark.parametrize("replicas", [1, 3])
async def test_an_order_that_is_too_large_costs_the_others_of_its_batch_nothing(replicas: int) -> None:
    broker = MemoryBroker()
    async with world(broker.bus(), nats={"replicas": replicas}) as demo:
        await demo.submit("long-1", body=LONG)
        await demo.submit("good-1")
        await eventually(lambda: demo.status("long-1") and demo.status("good-1"))
        broker.max_payload = len(LONG)
        pool = await demo.pool("alpha")
        assert (await demo.result("good-1")).state is JobState.SUCCEEDED
        ended = await demo.result("long-1")
        assert ended.state is JobState.FAILED
        assert ended.failure is not None
        assert ended.failure.kind is FailureKind.INVALID_JOB
        assert str(len(LONG)) in ended.failure.message
        assert [order.job_id for order in pool.seen] == ["good-1"]
        assert not demo.events["dispatch.not_stored"]
        await demo.settled()


async def test_no_attempt_is_paid_for_whose_outcome_would_not_fit() -> None:
    broker = MemoryBroker()

    def limited(order: Assignment) -> Failure:
        told = "too many requests at once " * 40
        broker.max_payload = len(encode(order)) + len(told) + TOLD  # many bytes more than the next order has
        return Failure(kind=FailureKind.RATE_LIMIT, message=told)

    async with world(broker.bus()) as demo:
        pools = [await demo.pool(name, limited) for name in ("alpha", "beta")]
        await demo.submit("small-1")
        ended = await demo.result("small-1")
        assert ended.failure is not None
        assert ended.failure.kind is FailureKind.RETRIES_EXHAUSTED
        assert sum(len(pool.seen) for pool in pools) == len(ended.attempts) == 1


@pytest.mark.parametrize("replicas", [1, 3])
async def test_a_job_whose_story_has_outgrown_a_message_is_given_up(replicas: int) -> None:
    broker = MemoryBroker()

    def limited(order: Assignment) -> Failure | str:
        if order.job_id != "long-1":
            return "fine"
        broker.max_payload = len(encode(order)) + 600  # as it is; one line more does not fit
        return Failure(kind=FailureKind.RATE_LIMIT, message="too many requests at once " * 40)

    async with world(broker.bus(), nats={"replicas": replicas}) as demo:
        await demo.pool("alpha", limited)
        await demo.pool("beta", limited)
        await demo.submit("long-1", body=LONG)
        ended = await demo.result("long-1")
        assert ended.state is JobState.FAILED
        assert ended.failure is not None
        assert ended.failure.kind is FailureKind.RETRIES_EXHAUSTED
        assert len(ended.attempts) == 1
        await demo.submit("good-1")
        assert (await demo.result("good-1")).state is JobState.SUCCEEDED
        await demo.settled()
