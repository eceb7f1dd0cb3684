"""The books go on whatever a fact is like: what is too large for a message is told in several, or without its tags."""

from __future__ import annotations

from decimal import Decimal

import pytest

from job_contracts import jobs, subjects
from job_contracts.chat import Usage
from job_contracts.codec import decode, encode
from job_contracts.facts import AttemptFact, Facts
from job_contracts.failures import FailureKind
from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import Message
from runtime.connection import declared
from runtime.telemetry import ERROR, Event, Telemetry
from tests.support import builders
from tests.support.eventually import eventually
from tests.support.upstream import completion, response, upstream
from tests.support.worker import bench
from tests.support.world import config
from workers.books import Books


class Handed:
    """A delivery that counts its acknowledgements."""

    def __init__(self) -> None:
        self.message = Message("work", b"")
        self.acked = 0

    async def ack(self) -> None:
        self.acked += 1

    async def ack_confirmed(self, *, within: float) -> bool:
        self.acked += 1
        return within > 0

    async def in_progress(self) -> None:
        """Nobody asks."""


def fact(name: str, **tags: str) -> AttemptFact:
    return AttemptFact(
        attempt=f"default.{name}.1",
        project="default",
        route="fast",
        deployment="alpha/m",
        provider="alpha",
        model="m",
        started=1.0,
        seconds=1.0,
        usage=Usage(input=1, output=1),
        cost=Decimal("0.5"),
        key="k",
        reason="user",
        won=True,
        tags=tags,
    )


async def told(bus: MemoryBus, facts: list[AttemptFact], events: list[Event]) -> list[tuple[AttemptFact, ...]]:
    """The messages in which they are told, once every assignment is acknowledged."""
    await bus.ensure(declared(config()))
    telemetry = Telemetry()
    telemetry.subscribe(events.append)
    books = Books(bus, telemetry, pool="alpha", worker="w1", linger=0.0, grace=0.0)
    handed = [Handed() for _ in facts]
    for delivery, one in zip(handed, facts, strict=True):
        books.enter(delivery, one)
    await books.start()
    try:
        await eventually(lambda: all(one.acked == 1 for one in handed), says=lambda: events)
        assert books.unsettled == 0
    finally:
        await books.stop()
    stored = bus.broker.stream(subjects.LEDGER).messages.values()
    return [decode(Facts, one.data).facts for one in stored]


async def test_facts_that_are_too_large_together_are_told_in_several_messages_each_once() -> None:
    facts = [fact(f"a-{number}", note="x" * 300_000) for number in range(6)] + [fact("b-1")]
    events: list[Event] = []
    messages = await told(MemoryBroker().bus(), facts, events)
    assert [one for message in messages for one in message] == facts
    assert 1 < len(messages) < len(facts)
    assert not [event for event in events if event.level >= ERROR]


async def test_a_fact_that_is_too_large_alone_goes_without_its_tags_and_keeps_nobody_elses() -> None:
    large, others = fact("a-1", note="x" * 1_500_000), [fact("b-1", team="red"), fact("b-2")]
    events: list[Event] = []
    messages = await told(MemoryBroker().bus(), [large, *others], events)
    assert [one for message in messages for one in message] == [large.model_copy(update={"tags": {}}), *others]
    (lost,) = [event for event in events if event.level >= ERROR]
    assert (lost.name, lost.fields["attempt"]) == ("books.tags_lost", large.attempt)


async def test_a_worker_tells_the_cost_of_jobs_with_tags_past_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MAX_TAG_VALUE", 10**9)  # as a version without the bound would take them
    async with (
        upstream([response(completion())]) as provider,
        bench(provider.url, workers={"facts": 3, "facts_linger": 1.0}) as worker,
    ):
        wide = [builders.job(f"wide-{number}", tags={"note": "x" * 600_000}) for number in (1, 2)]
        given = [worker.assignment(job=job) for job in wide] + [worker.assignment()]
        for one in given:
            await worker.hand(one)
        for one in given:
            await worker.result(one)
        assert {name: len(told.tags) for name, told in worker.facts().items()} == {
            "default.wide-1.1": 1,
            "default.wide-2.1": 1,
            given[2].attempt_id: 0,
        }
        assert worker.work_left() == 0


async def test_an_answer_whose_record_fits_nowhere_is_a_failure_at_once_and_its_cost_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "MAX_TAG_VALUE", 10**9)
    async with upstream([response(completion())]) as provider, bench(provider.url) as worker:
        job = builders.job("wide-1", tags={"note": "x" * 1_500_000})
        ref = await worker.mine.put_blob("default.wide-1", encode(job), of="job")
        outcome = await worker.outcome(await worker.hand(worker.assignment(job=job, blob=ref)))
        assert (outcome.failure.kind, outcome.called) == (FailureKind.RESPONSE_TOO_LARGE, True)
        told = worker.facts()["default.wide-1.1"]
        assert (told.won, told.failure, told.tags) == (False, FailureKind.RESPONSE_TOO_LARGE, {})
        assert told.usage.total == outcome.record.usage.total == 13
        assert not worker.results()
