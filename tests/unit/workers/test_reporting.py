"""Outcomes keep their order: the subject has room for one, and it must be the latest attempt's."""

from __future__ import annotations

import asyncio

import pytest

from job_contracts import subjects
from job_contracts.attempts import Outcome
from job_contracts.codec import decode, encode
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from job_contracts.results import Settlement
from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import OutcomeUnknown, TooLarge, Undecided, Unreachable
from runtime.clock import SystemClock
from runtime.connection import declared
from runtime.telemetry import Telemetry
from tests.support import builders
from tests.support.world import config
from workers.reporting import Reporter, Stored

Desk = tuple[MemoryBus, Reporter]


@pytest.fixture
async def desk() -> Desk:
    broker = MemoryBroker()
    bus = broker.bus()
    await bus.ensure(declared(config()))
    return bus, Reporter(bus, SystemClock(), Telemetry(), shard=0, persist=5.0, sleep=lambda _: asyncio.sleep(0))


def outcome(attempt: int, *, token: str = "t", worker: str = "w1") -> Outcome:
    return Outcome(
        job_id="a-1",
        project="demo",
        token=token,
        body_hash="h",
        pool="alpha",
        worker=worker,
        record=builders.record(attempt),
        history=tuple(builders.record(number) for number in range(1, attempt)),
        failure=Failure(kind=FailureKind.RESET, message="broke"),
    )


async def standing(bus: MemoryBus) -> Outcome:
    return decode(Outcome, (await bus.last("OUT_0", subjects.outcome(0, "demo", "a-1"))).data)


async def test_each_attempts_outcome_takes_the_place_of_the_one_before(desk: Desk) -> None:
    bus, reporter = desk
    for attempt in (1, 2, 3):
        assert await reporter.outcome(outcome(attempt)) is Stored.OURS
    assert (await standing(bus)).record.number == 3


@pytest.mark.parametrize("there", [2, 3])
async def test_a_late_outcome_replaces_neither_a_later_attempts_nor_what_was_said_of_its_own(
    desk: Desk, there: int
) -> None:
    bus, reporter = desk
    written = outcome(there, worker="leader.7")
    await bus.append(subjects.outcome(0, "demo", "a-1"), encode(written))
    assert await reporter.outcome(outcome(2)) is Stored.THEIRS
    assert await standing(bus) == written


async def test_a_late_first_attempt_is_turned_away_as_well(desk: Desk) -> None:
    bus, reporter = desk
    written = outcome(2)
    await bus.append(subjects.outcome(0, "demo", "a-1"), encode(written))
    assert await reporter.outcome(outcome(1)) is Stored.THEIRS
    assert await standing(bus) == written


@pytest.mark.parametrize("left", [encode(outcome(5, token="of another submission")), b"\xff unreadable"])
async def test_what_an_earlier_submission_left_there_is_replaced(desk: Desk, left: bytes) -> None:
    bus, reporter = desk
    await bus.append(subjects.outcome(0, "demo", "a-1"), left)
    for attempt in (1, 2):
        assert await reporter.outcome(outcome(attempt)) is Stored.OURS
        assert await standing(bus) == outcome(attempt)


async def test_an_outcome_whose_answer_is_lost_or_undecided_is_stored_once(desk: Desk) -> None:
    bus, reporter = desk
    bus.faults.replies_lost = 1
    bus.faults.refusals.append(Undecided("in flight", code=10164))
    assert await reporter.outcome(outcome(1)) is Stored.OURS
    bus.faults.writes_lost = 1
    assert await reporter.outcome(outcome(2)) is Stored.OURS
    assert await standing(bus) == outcome(2)
    assert (await bus.stream_state("OUT_0")).last_seq == 2


SETTLEMENT = Settlement(state=JobState.SUCCEEDED, token="t", body_hash="h", finished=1.0)


async def test_a_record_that_fits_nowhere_is_given_up_at_once(desk: Desk) -> None:
    bus, reporter = desk
    bus.faults.refusals.append(Unreachable("away"))
    huge = builders.result(finish_raw="x" * 2_000_000)
    assert await reporter.result(huge, SETTLEMENT) is Stored.TOO_LARGE
    assert (await bus.stream_state(subjects.RES)).last_seq == 0


async def test_one_that_may_be_stored_already_is_not_given_up_for_its_size(desk: Desk) -> None:
    bus, reporter = desk
    bus.faults.refusals.extend([OutcomeUnknown("no answer"), TooLarge("10054"), TooLarge("10054")])
    assert await reporter.result(builders.result(), SETTLEMENT) is Stored.OURS
