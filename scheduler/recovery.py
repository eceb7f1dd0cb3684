"""The state at the start of a term, read from the streams so that nothing negative is believed of a stale replica."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.attempts import Assignment
from job_contracts.codec import ContractError, decode
from runtime.bus.port import BusError, NotFound
from runtime.telemetry import WARNING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.bus.port import Message, Tail
    from scheduler.term import Term

CATCH_UP = 600.0
"""Seconds a stream may take to be replayed."""
PATIENCE, AGAIN = 30.0, 0.1
"""Seconds for which a mark that could not be written is written again, and between two tries."""
AT_ONCE = 200
"""Assignments asked for at the same time."""


class NotRecovered(BusError):
    """A stream could not be read up to its barrier: the term cannot begin, the lease is given back."""


@dataclass(frozen=True, slots=True)
class Remnant:
    """A message found in WORK: what it says, and where it lies."""

    assignment: Assignment
    seq: int
    superseded: bool = False
    """Whether a later attempt of its job lies there as well."""


async def work_in_flight(term: Term) -> list[Remnant]:
    """All assignments in WORK, read behind the barrier that the acquiring record is.

    A hedge comes after the attempt it runs beside, superseded ones come last. Those are left to the reconciler, which
    tells their cost before it removes them; until then what was reserved for them stays reserved.
    """
    bus, stream = term.bus, term.stream(subjects.WORK)
    found: list[Remnant] = []
    for stored in await _newest(term, stream):
        try:
            found.append(Remnant(decode(Assignment, stored.data), stored.seq))
        except ContractError as error:
            term.telemetry.emit("recovery.unreadable_work", WARNING, seq=stored.seq, error=str(error))
            await bus.delete(stream, stored.seq)
    return sorted_out(found)


def sorted_out(found: Iterable[Remnant]) -> list[Remnant]:
    """The attempts under way, then the hedges beside some of them, then the superseded ones."""
    jobs: dict[tuple[str, str], list[Remnant]] = {}
    for remnant in found:
        jobs.setdefault((remnant.assignment.project, remnant.assignment.job_id), []).append(remnant)
    current: list[Remnant] = []
    hedges: list[Remnant] = []
    superseded: list[Remnant] = []
    for remnants in jobs.values():
        *older, newest = sorted(remnants, key=lambda each: each.assignment.attempt)
        if newest.assignment.hedge and older and older[-1].assignment.attempt == newest.assignment.attempt - 1:
            hedges.append(newest)
            newest = older.pop()
        current.append(newest)
        superseded += [replace(each, superseded=True) for each in older]
    return [*current, *hedges, *superseded]


async def _newest(term: Term, stream: str) -> list[Message]:
    """The last message of each work subject, many questions at a time; what was taken away meanwhile is left out.

    It was taken away by a worker that had answered before: its result or outcome is read after this. That it is gone is
    believed of a list as new as the term, not of the answer to one question, which may come from a node that stood
    still.
    """
    bus = term.bus
    found = await _at_the_only_node(term, stream) if term.config.nats.replicas == 1 else {}
    until = term.clock.monotonic() + PATIENCE
    while True:
        state = await bus.stream_state(stream, subjects=f"{subjects.PREFIX}.work.{term.shard}.>")
        if state.last_seq < term.lease.epoch or term.clock.monotonic() >= until:
            message = f"{stream}: the answering node is older than this term"
            raise NotRecovered(message)
        wanted = [subject for subject in sorted(state.subjects or ()) if subject not in found]
        if not wanted:
            return sorted(found.values(), key=lambda stored: stored.seq)
        for start in range(0, len(wanted), AT_ONCE):
            asked = wanted[start : start + AT_ONCE]
            answers = await asyncio.gather(*(bus.last(stream, subject) for subject in asked), return_exceptions=True)
            for subject, answer in zip(asked, answers, strict=True):
                if isinstance(answer, NotFound):
                    continue
                if isinstance(answer, BaseException):
                    raise answer
                found[subject] = answer


async def _at_the_only_node(term: Term, stream: str) -> dict[str, Message]:
    """The same in runs, where no other copy could be behind; what is missing is asked for afterwards."""
    found: dict[str, Message] = {}
    start = 1
    try:
        while run := await term.bus.run(stream, start, f"{subjects.PREFIX}.work.{term.shard}.>", limit=AT_ONCE):
            found.update((message.subject, message) for message in run)
            start = run[-1].seq + 1
    except BusError as error:
        term.telemetry.emit("recovery.run_failed", error=type(error).__name__)
        return {}  # of a subject that has two messages the older one alone may have been read
    return found


async def behind_barrier(term: Term, stream: str, tail: Tail) -> None:
    """Wait until ``tail`` has read everything that was stored before now. Raises NotRecovered when it takes too long.

    The barrier is a message of our own: once the tail has passed it, whatever it did not show is not there (R4). All
    leaders use one subject, which keeps one message: what an unknown outcome leaves behind goes with the next one.
    """
    name = stream if stream in {subjects.RES, subjects.CTL, subjects.AUDIT} else term.stream(stream)
    seq = await mark(term, subjects.barrier(stream, term.shard))
    if not await tail.caught_up(seq, timeout=CATCH_UP):
        message = f"{name} could not be read up to sequence {seq} in {CATCH_UP:g} s"
        raise NotRecovered(message)
    await term.bus.delete(name, seq)


async def mark(term: Term, subject: str) -> int:
    """The sequence of a mark that is certainly stored; an unknown outcome is followed by another mark."""
    until = term.clock.monotonic() + PATIENCE
    while True:
        try:
            return (await term.bus.append(subject, b"")).seq
        except BusError as error:
            if term.clock.monotonic() >= until:
                raise
            term.telemetry.emit("recovery.mark_again", error=type(error).__name__)
            await asyncio.sleep(AGAIN)
