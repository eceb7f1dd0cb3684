"""The records of responses: written once, found whole, whatever the broker does meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.bodies.failures import Failed
from gateway.bodies.openai_responses_kept import Kept
from gateway.conversations import IN_ONE, Conversations
from job_contracts import subjects
from runtime.bus.manifest import manifest
from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import OutcomeUnknown, StreamFull, Unreachable
from tests.support.stand_in import LIMITS

JOB = "0123456789abcdef-0123456789abcdef"
SMALL = Kept(created=1.0, model="chat", items=({"type": "message", "content": "Hi"},))
LARGE = Kept(created=1.0, model="chat", items=({"type": "message", "content": "Hi" * IN_ONE},))


async def store() -> tuple[MemoryBus, Conversations]:
    bus = MemoryBroker().bus()
    await bus.ensure(manifest(LIMITS))
    return bus, Conversations(bus)


@pytest.mark.parametrize("kept", [SMALL, LARGE])
async def test_a_record_is_found_in_its_project_until_it_is_forgotten(kept: Kept) -> None:
    bus, records = await store()
    assert await records.keep("research", JOB, kept, ttl=60) == kept
    assert await records.find("research", JOB, items=True) == kept
    assert await records.find("others", JOB) is None
    assert not await records.forget("others", JOB)
    assert await records.forget("research", JOB)
    assert not await records.forget("research", JOB)
    assert await records.find("research", JOB) is None
    assert (await bus.stream_state(subjects.CONV)).messages == 0


@pytest.mark.parametrize("kept", [SMALL, LARGE])
async def test_the_first_record_stands(kept: Kept) -> None:
    _, records = await store()
    await records.keep("research", JOB, kept, ttl=60)
    later = kept.model_copy(update={"created": 2.0})
    assert (await records.keep("research", JOB, later, ttl=60)).created == kept.created
    assert await records.find("research", JOB, items=True) == kept


async def test_every_message_of_a_record_ends_by_itself() -> None:
    bus, records = await store()
    await records.keep("research", JOB, LARGE, ttl=60.9)
    found = await bus.run(subjects.CONV, 1)
    assert len(found) > 2
    assert {(one.headers or {})["Nats-TTL"] for one in found} <= {"60", "60s"}


@pytest.mark.parametrize("fault", ["replies_lost", "writes_lost"])
async def test_a_write_whose_answer_is_lost_is_written_once(fault: str) -> None:
    bus, records = await store()
    setattr(bus.faults, fault, 1)
    assert await records.keep("research", JOB, SMALL, ttl=60) == SMALL
    assert (await bus.stream_state(subjects.CONV)).messages == 1


@pytest.mark.parametrize(
    ("refusals", "code"),
    [
        ([StreamFull("full")], "store_full"),
        ([Unreachable("gone")] * 9, "queue_unreachable"),
        ([OutcomeUnknown("silent")] * 9, "queue_unreachable"),
    ],
)
async def test_what_cannot_be_kept_is_an_error_to_come_back_after(refusals: list[Any], code: str) -> None:
    bus, records = await store()
    bus.faults.refusals.extend(refusals)
    with pytest.raises(Failed) as failed:
        await records.keep("research", JOB, SMALL, ttl=60)
    assert (failed.value.error.status, failed.value.error.code) == (503, code)
    assert failed.value.error.retry_after


async def test_half_a_record_is_none() -> None:
    bus, records = await store()
    await records.keep("research", JOB, LARGE, ttl=60)
    piece = next(one for one in await bus.run(subjects.CONV, 1) if one.subject.endswith("-1"))
    await bus.delete(subjects.CONV, piece.seq)
    assert await records.find("research", JOB, items=True) is None


async def test_whoever_only_looks_reads_no_items_of_a_large_record() -> None:
    _, records = await store()
    await records.keep("research", JOB, LARGE, ttl=60)
    assert await records.find("research", JOB) == LARGE.model_copy(update={"items": ()})
    wide = LARGE.model_copy(update={"echo": {"instructions": "Hi" * IN_ONE}})
    await records.keep("research", JOB.replace("0", "1"), wide, ttl=60)
    assert await records.find("research", JOB.replace("0", "1")) == wide
