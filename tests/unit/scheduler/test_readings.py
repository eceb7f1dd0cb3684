"""Holes in what a tail handed over: noticed by counting, looked into, and only what lies in them is read again."""

from __future__ import annotations

import pytest

from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import Message
from scheduler.readings import MOST, PATIENCE, Gaps, Reading

Held = tuple[MemoryBus, Gaps, Reading, list[int]]


@pytest.fixture
async def held() -> Held:
    bus = MemoryBroker().bus()
    await bus.ensure([{"kind": "stream", "config": {"name": "S", "subjects": ["s.>", "mark.>"]}}])
    gaps, seen = Gaps(), list[int]()

    def hear(message: Message) -> None:
        seen.append(message.seq)
        gaps.read(message.seq)

    return bus, gaps, Reading("unread", "S", "s.>", gaps, hear), seen


def test_messages_in_a_row_leave_no_hole() -> None:
    gaps = Gaps()
    gaps.begin()
    for seq in (5, 6, 7):
        gaps.read(seq)
    assert (gaps.ranges, gaps.lowest, gaps.top) == ([], None, 7)


def test_a_hole_is_noted_from_the_beginning_on_and_not_what_lies_before_the_first_message() -> None:
    gaps = Gaps()
    gaps.read(3)
    gaps.read(9)
    gaps.begin()
    gaps.read(12)
    assert gaps.ranges == [(10, 11)]


def test_too_many_holes_are_joined_and_none_is_forgotten() -> None:
    gaps = Gaps()
    gaps.begin()
    for seq in range(1, 2 * MOST + 10, 2):
        gaps.read(seq)
    assert len(gaps.ranges) == MOST
    holes = {seq for first, last in gaps.ranges for seq in range(first, last + 1)}
    assert holes >= set(range(2, 2 * MOST + 9, 2))


async def test_what_was_passed_over_is_handed_over_once_and_what_was_removed_is_not_counted(held: Held) -> None:
    bus, gaps, reading, seen = held
    for number in range(5):
        await bus.append(f"s.{number}", b"")
    gaps.begin()
    gaps.read(1)
    await bus.delete("S", 3)
    gaps.read(5)
    assert await reading.look(bus, 0.0) == 2
    assert seen == [2, 4]
    assert await reading.look(bus, 100.0) == 0


async def test_a_tail_that_is_behind_is_given_time_and_then_looked_after(held: Held) -> None:
    bus, gaps, reading, seen = held
    await bus.append("s.1", b"")
    gaps.begin()
    gaps.read(1)
    await bus.append("s.2", b"")
    assert await reading.look(bus, 0.0) == 0
    assert await reading.look(bus, PATIENCE / 2) == 0
    assert await reading.look(bus, PATIENCE) == 1
    assert seen == [2]


async def test_a_tail_that_moves_is_not_behind(held: Held) -> None:
    bus, gaps, reading, seen = held
    await bus.append("s.1", b"")
    gaps.begin()
    gaps.read(1)
    for number in range(2, 20):
        await bus.append(f"s.{number}", b"")
        assert await reading.look(bus, number * PATIENCE) == 0
        gaps.read(number)
    assert seen == []


async def test_marks_and_what_lies_there_from_before_are_nothing(held: Held) -> None:
    bus, gaps, reading, _ = held
    await bus.append("s.1", b"")
    gaps.begin()
    assert await reading.look(bus, 0.0) == 0
    await bus.append("mark.1", b"")
    for at in (1.0, 2.0, 3.0, 10.0, 20.0):
        assert await reading.look(bus, at) == 0
