"""The leader's own records: whatever the broker makes of one, its job ends, and others need not wait for it."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from job_contracts import subjects
from job_contracts.attempts import Draft
from job_contracts.codec import decode, encode
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from job_contracts.results import AttemptRecord, Result
from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import NotFound, StreamFull, WrongSequence
from runtime.clock import SystemClock
from runtime.connection import declared
from runtime.telemetry import Telemetry
from scheduler.endings import AT_ONCE, Endings
from scheduler.policy.decisions import Finish
from tests.support import builders
from tests.support.eventually import eventually
from tests.support.world import config


class Refusing(MemoryBus):
    """Takes no record of one project."""

    async def append(self, subject: str, data: bytes, **asked: Any) -> Any:
        if subject.startswith(subjects.result("evil", "e-1").removesuffix("e.1")):
            raise StreamFull("no")
        return await super().append(subject, data, **asked)


@pytest.fixture
async def bus() -> MemoryBus:
    made = Refusing(MemoryBroker(), inbox_prefix="_INBOX_demo", chunk=256 * 1024, max_blob=1024 * 1024)
    await made.ensure(declared(config()))
    return made


@pytest.fixture
def endings(bus: MemoryBus) -> Endings:
    term = SimpleNamespace(
        bus=bus,
        clock=SystemClock(),
        background=None,
        telemetry=Telemetry(),
        republish=lambda *_: None,
        config=config(),
        lease=SimpleNamespace(epoch=1),
        tracing=SimpleNamespace(header=lambda *_: {}),
        submissions=SimpleNamespace(entries={}),
        stream=lambda name: subjects.stream_name(name, 0),
    )
    return Endings(cast("Any", term))


def finish(job: str = "a-1", **over: Any) -> Finish:
    fields: dict[str, Any] = {
        "project": "demo",
        "job": job,
        "seq": 1,
        "state": JobState.FAILED,
        "failure": Failure(kind=FailureKind.BAD_REQUEST, message="no"),
        "history": (),
        "route": "fast",
        "token": "token",
        "body_hash": "hash",
        "submitted": 1.0,
    }
    return Finish(**(fields | over))


def wordy(attempts: int) -> tuple[AttemptRecord, ...]:
    failure = Failure(kind=FailureKind.RATE_LIMIT, message="later " * 1_000)
    return tuple(builders.record(number, failure=failure, cost=Decimal(1)) for number in range(1, attempts + 1))


async def end(endings: Endings, bus: MemoryBus, ending: Finish) -> Result:
    """Write it, and what is stored then."""

    async def there() -> Result | None:
        try:
            return decode(Result, (await bus.last(subjects.RES, subjects.result(ending.project, ending.job))).data)
        except NotFound:
            return None

    endings.write(ending)
    try:
        found = await eventually(there)
    finally:
        await endings.stop()
    assert isinstance(found, Result)
    return found


async def test_a_record_too_large_for_a_message_tells_the_last_attempts_in_short(
    endings: Endings, bus: MemoryBus
) -> None:
    result = await end(endings, bus, finish(history=wordy(300)))
    assert result.state is JobState.FAILED
    assert [record.number for record in result.attempts] == list(range(281, 301))
    assert result.cost == 300


async def test_a_record_that_is_too_large_even_so_tells_no_attempt(endings: Endings, bus: MemoryBus) -> None:
    bus.broker.max_payload = 10_000
    failure = Failure(kind=FailureKind.BAD_REQUEST, message="no " * 5_000)
    result = await end(endings, bus, finish(history=wordy(300), failure=failure))
    assert (result.state, len(result.attempts), result.cost) == (JobState.FAILED, 0, Decimal(300))
    assert result.failure is not None
    assert result.failure.message.startswith("no no")


@pytest.mark.parametrize("size", [12, 2**40])
async def test_a_draft_that_is_not_what_was_announced_or_too_large_is_no_answer(
    endings: Endings, bus: MemoryBus, size: int
) -> None:
    stored = await bus.put_blob("demo.a-1", b"other bytes", of="result")
    draft = Draft(deployment="alpha/m", blob=stored.model_copy(update={"size": size}))
    result = await end(endings, bus, finish(state=JobState.SUCCEEDED, draft=draft))
    assert (result.state, result.answer) == (JobState.FAILED, None)


async def test_where_the_record_that_stood_in_the_way_has_expired_the_new_one_is_written(
    endings: Endings, bus: MemoryBus
) -> None:
    bus.faults.refusals.append(WrongSequence("there is one"))
    assert (await end(endings, bus, finish())).state is JobState.FAILED


async def test_records_that_are_tried_again_take_no_place_from_others(endings: Endings, bus: MemoryBus) -> None:
    for number in range(AT_ONCE + 50):
        endings.write(finish(f"e-{number}", project="evil"))
    assert (await end(endings, bus, finish())).state is JobState.FAILED


async def test_what_stands_there_already_is_told(endings: Endings, bus: MemoryBus) -> None:
    stands = encode(builders.result("a-1"))
    ack = await bus.append(subjects.result("demo", "a-1"), stands)
    heard: list[int] = []
    endings.on_existing = lambda record: heard.append(record.seq)
    endings.write(finish())
    await eventually(lambda: heard == [ack.seq])
    await endings.stop()
