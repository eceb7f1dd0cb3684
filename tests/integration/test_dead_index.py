"""What a leader remembers of dead letters is what DEAD holds, whatever became of them since it read them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pytest

from job_contracts import subjects
from job_contracts.codec import Wire, decode, encode
from job_contracts.dead import (
    AskCauses,
    AskDeadLetters,
    Cause,
    Causes,
    DeadLetters,
    OfProject,
    added,
    cause,
    joined,
    of_project,
    ranked,
)
from job_contracts.jobs import BlobRef, Ticket
from job_contracts.letters import DeadLetter
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Bus, BusError, Message, StreamState
from runtime.connection import declared
from runtime.telemetry import Telemetry
from scheduler import letter_index
from scheduler.dead_desk import DeadDesk
from scheduler.leadership import Lease
from scheduler.letter_index import LetterIndex
from scheduler.policy.board import Board
from scheduler.policy.resolving import rules_from
from scheduler.term import Term
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.letters import OVER, letter_bus
from tests.support.world import CATALOGUE, config

__all__ = ["letter_bus"]
W = TypeVar("W", bound=Wire)
REF = BlobRef(chunks=1, size=3, sha256="0" * 64)
FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"project": "demo"},
    {"project": "-"},
    {"route": "fast", "state": "any"},
    {"fingerprint": "f1", "project": "other"},
    {"state": "discarded"},
)


def letter(project: str, job: str, number: int, **over: Any) -> DeadLetter:
    """One of three causes, on one of two routes."""
    ticket = Ticket(route=("fast", "other")[number % 2], submitted=1.0, token=job, body_hash="0" * 64, input_estimate=3)
    said: dict[str, Any] = {"detail": f"detail {number}", "at": 1e9 + number, "ticket": ticket, "blob": REF}
    return DeadLetter(
        **{"project": project, "job": job, "reason": "exhausted", "fingerprint": f"f{number % 3}", **said, **over}
    )


async def put(bus: Bus, project: str, job: str, one: DeadLetter) -> int:
    """In the place of the one that is there."""
    return (await bus.append(subjects.dead(project, job), encode(one), headers={"Nats-Rollup": "sub"})).seq


class Counting:
    """A bus that counts how many messages were read in runs."""

    def __init__(self, bus: Bus) -> None:
        self._bus, self.read = bus, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def run(self, stream: str, seq: int, subject: str = ">", **over: Any) -> Sequence[Message]:
        found = await self._bus.run(stream, seq, subject, **over)
        self.read += len(found)
        return found


class Desk:
    """The operator's desk of a term over a bus, with nobody that reads on beside it."""

    def __init__(self, bus: Any) -> None:
        settings, clock, telemetry = config(**OVER), ManualClock(), Telemetry()
        board = Board(rules_from(settings, CATALOGUE), now=clock.monotonic(), wall=clock.wall())
        lease = Lease(bus, clock, telemetry, shard=0, owner="s", lease=2.5)
        self.bus: Bus = bus
        self.index = LetterIndex(Term(bus, clock, telemetry, settings, lease, board))
        self._answers = DeadDesk(Term(bus, clock, telemetry, settings, lease, board), self.index).operations()

    async def asked(self, operation: str, question: Wire, kind: type[W]) -> W:
        return decode(kind, await self._answers[operation]("-", encode(question)))

    async def causes(self, **what: Any) -> list[Cause]:
        """All of them, added up as the console does."""
        found: dict[str, Cause] = {}
        answer = Causes(causes=(), after=0, more=True, last=0)
        while answer.more:
            answer = await self.asked("dead_causes", AskCauses(**{"after": answer.after, **what}), Causes)
            added(found, answer.causes)
        return ranked(found)

    async def letters(self, limit: int, **what: Any) -> list[OfProject]:
        """All of them, page by page."""
        found: list[OfProject] = []
        page = DeadLetters(letters=(), after=0, more=True, last=0)
        while page.more:
            asked = AskDeadLetters(**{"after": page.after, "limit": limit, **what})
            page = await self.asked("dead_letters", asked, DeadLetters)
            found += page.letters
        return found


async def held(bus: Bus, asked: Mapping[str, Any]) -> list[OfProject]:
    """What DEAD holds of it, read from the broker."""
    lie = await bus.run(subjects.DEAD, 1, subjects.letters_of(asked.get("project", "*")), limit=1_000, size=2**30)
    there = [(*subjects.project_and_job(one.subject), decode(DeadLetter, one.data), one.seq) for one in lie]
    return [
        of_project(project, one, seq, name)
        for project, name, one, seq in there
        if asked.get("state", "open") in ("any", one.state)
        and asked.get("fingerprint") in (None, one.fingerprint)
        and asked.get("route") in (None, one.ticket.route if one.ticket is not None else None)
    ]


async def same(desk: Desk) -> None:
    """Each question is answered as the broker would, by sums and by pages."""
    for asked in FILTERS:
        there = await held(desk.bus, asked)
        assert await desk.letters(3, **asked) == there, asked
        sums: dict[str, Cause] = {}
        for one in there:
            sums[one.fingerprint] = joined(sums[one.fingerprint], cause(one)) if one.fingerprint in sums else cause(one)
        assert await desk.causes(**asked) == ranked(sums), asked


@pytest.fixture
async def desk(letter_bus: Bus) -> Desk:
    return Desk(letter_bus)


async def fill(bus: Bus, count: int) -> list[tuple[str, str, int]]:
    """Letters of two projects with their bodies, and of none."""
    made: list[tuple[str, str, int]] = []
    for number in range(count):
        project = ("demo", "other", "-")[number % 3]
        job = f"SUBMIT_0-{number}" if project == "-" else f"a-{number}"
        if project != "-":
            await bus.append(subjects.letter_body(project, job, REF.sha256, 0), b"abc")
        over: dict[str, Any] = {"ticket": None, "blob": None} if project == "-" else {}
        made.append((project, job, await put(bus, project, job, letter(project, job, number, **over))))
    return made


@pytest.mark.parametrize("most", [letter_index.MOST, 4])
async def test_answers_are_what_the_broker_holds_whatever_became_of_letters(
    desk: Desk, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letter_index, "MOST", most)
    bus, dice = desk.bus, random.Random(7)
    await same(desk)
    made = await fill(bus, 12)
    await same(desk)
    project, job, seq = made[4]
    await bus.delete(subjects.DEAD, seq)  # its job has an answer after all
    await same(desk)
    project, job, _ = made[1]
    await put(bus, project, job, letter(project, job, 1, state="discarded", blob=None))
    await same(desk)
    project, job, seq = made[6]
    await bus.delete(subjects.DEAD, seq)  # and another one comes at once
    await put(bus, project, "a-77", letter(project, "a-77", 77))
    await same(desk)
    await bus.purge(subjects.DEAD, below=made[3][2] + 1)
    await same(desk)
    for number in range(100, 106):
        project, job, _ = dice.choice(made)
        await put(bus, project, job, letter(project, job, number))
    await same(desk)
    await bus.purge(subjects.DEAD, below=2**40)
    await same(desk)


async def test_what_was_read_is_not_read_again() -> None:
    bus = Counting(MemoryBroker().bus())
    await bus.ensure(declared(config(**OVER)))
    desk = Desk(bus)
    made = await fill(desk.bus, 9)
    await desk.causes()
    assert bus.read == 9
    await desk.causes(project="demo")
    await desk.letters(2, fingerprint="f1")
    assert bus.read == 9
    project, job, _ = made[0]
    await put(desk.bus, project, job, letter(project, job, 0, state="discarded"))
    assert sum(one.count for one in await desk.causes()) == 8
    assert bus.read == 10


async def test_where_much_has_come_an_answer_tells_how_far_it_was_read(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letter_index, "MAX_READ", 4)
    made = await fill(desk.bus, 9)
    first = await desk.asked("dead_causes", AskCauses(), Causes)
    assert (sum(one.count for one in first.causes), first.after, first.more) == (4, made[3][2], True)
    beyond = await desk.asked("dead_causes", AskCauses(after=made[8][2] - 1, until=made[8][2]), Causes)
    assert (beyond.causes, beyond.after, beyond.more) == ((), made[8][2] - 1, True)
    await same(desk)


async def test_letters_are_read_beside_so_that_whoever_asks_need_not_wait() -> None:
    bus = Counting(MemoryBroker().bus())
    await bus.ensure(declared(config(**OVER)))
    desk = Desk(bus)
    made = await fill(desk.bus, 5)
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(desk.index.run())
        await eventually(lambda: desk.index.place == made[-1][2])
        reading.cancel()
    before = bus.read
    assert sum(one.count for one in await desk.causes()) == 5
    assert bus.read == before


async def test_a_stream_that_was_made_anew_is_read_from_its_beginning() -> None:
    broker = MemoryBroker()
    bus = broker.bus()
    await bus.ensure(declared(config(**OVER)))
    desk = Desk(bus)
    await fill(bus, 9)
    await same(desk)
    del broker.streams[subjects.DEAD]
    await bus.ensure(declared(config(**OVER)))
    await put(bus, "demo", "a-0", letter("demo", "a-0", 77))  # of the same name as one that was there
    await same(desk)


async def test_a_letter_that_cannot_be_told_is_in_nobodys_way(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader beside is a duty of the leader: what it cannot read must not end the term."""

    def made(project: str, one: DeadLetter, seq: int, name: str) -> OfProject:
        if name == "a-1":
            raise ValueError(name)
        return of_project(project, one, seq, name)

    monkeypatch.setattr(letter_index, "of_project", made)
    last = (await fill(desk.bus, 5))[-1][2]
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(desk.index.run())
        await eventually(lambda: desk.index.place == last)
        reading.cancel()
    assert sum(one.count for one in await desk.causes()) == 4


async def test_the_reader_beside_outlives_what_it_did_not_expect(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letter_index, "PERIOD", 0.01)
    broken = [ValueError("once"), BusError("and once")]
    read_on = desk.index._read_on

    async def at_first(most: int) -> StreamState:
        if broken:
            raise broken.pop()
        return await read_on(most)

    monkeypatch.setattr(desk.index, "_read_on", at_first)
    last = (await fill(desk.bus, 3))[-1][2]
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(desk.index.run())
        await eventually(lambda: desk.index.place == last)
        reading.cancel()
