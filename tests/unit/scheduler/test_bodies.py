"""Bodies that lie close together come with one request; whatever goes wrong with that, each can still be had alone."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import RUN_BYTES, BusError, Message
from scheduler.bodies import AHEAD, LONGEST, Bodies

STREAM = "SUBMIT_0"


class Counting(MemoryBus):
    """The memory bus, and how often it was asked."""

    runs: int = 0
    gets: int = 0
    refusing: bool = False

    async def run(
        self, stream: str, seq: int, subject: str = ">", *, limit: int = 256, size: int = RUN_BYTES
    ) -> Sequence[Message]:
        self.runs += 1
        if self.refusing:
            raise BusError("refused")
        return await super().run(stream, seq, subject, limit=limit, size=size)

    async def get(self, stream: str, seq: int) -> Message:
        self.gets += 1
        return await super().get(stream, seq)


async def stored(count: int, size: int = 8) -> tuple[Counting, Bodies]:
    bus = Counting(MemoryBroker(), inbox_prefix="_INBOX", chunk=1_000, max_blob=10_000)
    await bus.ensure([{"kind": "stream", "config": {"name": STREAM, "subjects": ["s.>"], "allow_direct": True}}])
    for number in range(1, count + 1):
        await bus.append(f"s.{number}", str(number).encode().ljust(size))
    return bus, Bodies(bus, 0)


async def read(bodies: Bodies, seqs: Sequence[int]) -> list[int | None]:
    await bodies.read_ahead(seqs)
    found = [await bodies.read(seq) for seq in seqs]
    return [None if body is None else int(body) for body in found]


async def test_what_lies_close_together_is_read_at_once() -> None:
    bus, bodies = await stored(100)
    assert await read(bodies, [30, 10, 12, 32]) == [30, 10, 12, 32]
    assert (bus.runs, bus.gets) == (2, 0)


async def test_what_lies_far_apart_is_read_one_by_one() -> None:
    bus, bodies = await stored(100)
    assert await read(bodies, [10, 50, 90]) == [10, 50, 90]
    assert (bus.runs, bus.gets) == (0, 3)


async def test_what_came_along_is_at_hand_the_next_time() -> None:
    bus, bodies = await stored(10)
    assert await read(bodies, [1, 3]) == [1, 3]
    assert await read(bodies, [2]) == [2]
    assert (bus.runs, bus.gets) == (1, 0)


async def test_a_long_run_takes_several_requests() -> None:
    bus, bodies = await stored(3 * LONGEST)
    every = list(range(1, 3 * LONGEST + 1))
    assert await read(bodies, every) == every
    assert (bus.runs, bus.gets) == (3, 0)


async def test_a_submission_that_is_gone_is_none_of_them() -> None:
    bus, bodies = await stored(5)
    await bus.delete(STREAM, 3)
    assert await read(bodies, [1, 2, 3, 4]) == [1, 2, None, 4]


async def test_without_runs_each_is_read_alone() -> None:
    bus, bodies = await stored(5)
    bus.refusing = True
    assert await read(bodies, [1, 2, 3]) == [1, 2, 3]
    assert bus.gets == 3


async def test_only_so_much_is_kept_of_what_came_along() -> None:
    bus, bodies = await stored(40, AHEAD // 32)
    every = list(range(1, 41))
    assert await read(bodies, every) == every
    assert bus.gets == 8


async def test_what_was_checked_when_it_came_is_told_from_what_was_only_read() -> None:
    _, bodies = await stored(5)
    bodies.keep(1, b"1")
    await bodies.read_ahead([1, 2, 3])
    assert bodies.at_hand(1) == b"1"
    assert bodies.at_hand(2) is None
