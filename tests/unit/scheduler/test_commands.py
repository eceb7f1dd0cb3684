"""What the scheduler's commands read: moments as people write them, and the facts that the broker keeps."""

from __future__ import annotations

import pytest

from job_contracts import subjects
from job_contracts.codec import encode
from job_contracts.facts import Facts
from runtime.bus.memory import MemoryBroker
from runtime.connection import declared
from scheduler.commands import Unreadable, moment, told
from tests.support.world import config
from tests.unit.scheduler_whatif.told import fact

NOW = 1_772_409_600.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", NOW - 90.0),
        ("1.5h", NOW - 5_400.0),
        ("1d", NOW - 86_400.0),
        ("2026-03-02", NOW),
        ("2026-03-02T01:00:00+01:00", NOW),
        ("2026-03-02T00:00:00Z", NOW),
    ],
)
def test_a_moment_is_a_time_ago_a_day_or_has_its_zone(text: str, seconds: float) -> None:
    assert moment(text, NOW) == seconds


@pytest.mark.parametrize("text", ["", "yesterday", "2026-03-02T00:00:00", "1w", "12"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(Unreadable, match="no moment"):
        moment(text, NOW)


async def test_all_facts_are_read_and_what_is_none_is_counted() -> None:
    bus = MemoryBroker().bus()
    await bus.ensure(declared(config()))
    empty, _ = await told(bus)
    assert empty == []
    await bus.append(subjects.usage("alpha", "w"), encode(Facts(facts=(fact(1), fact(2)))))
    await bus.append(subjects.usage("alpha", "w"), b"hello")
    await bus.append(subjects.usage("beta", "w"), encode(Facts(facts=(fact(3),))))
    await bus.append(subjects.barrier(subjects.LEDGER, 0), b"")
    found, unreadable = await told(bus)
    assert found == [fact(1), fact(2), fact(3)]
    assert unreadable == 1
