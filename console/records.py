"""What has ended, newest first: read from the results' headers in their stream, without any answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.asking import NoAnswer
from job_contracts import subjects
from job_contracts.codec import ContractError, decode
from job_contracts.results import Settlement
from runtime.bus.port import BusError

if TYPE_CHECKING:
    from runtime.bus.port import Bus, Message

FIRST, STEP, MOST = 250, 1_000, 10_000
"""Places that are looked at first, in one go later, and for one page at most."""
LOOKING = 0.1
"""Seconds after which no further look is begun for one page: what is seldom is a page further back."""
PATIENCE = 5.0
"""Seconds for one look."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What an ended job must be; empty is any."""

    project: str = ""
    state: str = ""
    deployment: str = ""
    pool: str = ""
    model: str = ""

    def takes(self, ended: Ended) -> bool:
        """Whether it is that."""
        at = ended.told.deployment or ""
        pool, _, model = at.partition("/")
        wanted = ((self.state, ended.told.state.value), (self.deployment, at), (self.pool, pool), (self.model, model))
        return all(not one or one == found for one, found in wanted)


@dataclass(frozen=True, slots=True)
class Ended:
    """A job's end."""

    place: int
    project: str
    job: str
    told: Settlement


@dataclass(frozen=True, slots=True)
class EndedPage:
    """Some of them. ``below``: where the next page begins, ``None`` if there is no more."""

    jobs: tuple[Ended, ...]
    looked: int
    """Places that were looked at."""
    below: int | None


async def ended(bus: Bus, wanted: Filter, *, below: int | None, limit: int) -> EndedPage:
    """The newest before a place. Looks at a bounded number of places, so a page may be short and not be the last.

    Raises NoAnswer.
    """
    try:
        state = await bus.stream_state(subjects.RES)
        top = state.last_seq + 1 if below is None else min(below, state.last_seq + 1)
        floor, begun, step = max(1, state.first_seq), top, FIRST
        found: list[Ended] = []
        clock = asyncio.get_running_loop().time
        late = clock() + LOOKING
        while top > floor and begun - top < MOST and len(found) < limit and (top == begun or clock() < late):
            start = max(floor, top - step, begun - MOST)
            run = [one for one in await _between(bus, wanted.project, start, top) if wanted.takes(one)]
            found += reversed(run)
            top, step = start, min(2 * step, STEP)
    except BusError as error:
        raise NoAnswer("the broker does not tell what has ended") from error
    if len(found) > limit:
        top = found[limit - 1].place
    return EndedPage(tuple(found[:limit]), begun - top, top if top > floor else None)


async def _between(bus: Bus, project: str, start: int, end: int) -> list[Ended]:
    """All from a place up to another one, in order."""
    found: list[Ended] = []

    def heard(message: Message) -> None:
        if message.seq < end:
            found.extend(_read(message))

    subject = f"{subjects.PREFIX}.res.{project or '*'}.*.*"
    tail = await bus.tail(subjects.RES, heard, subjects=[subject], start=start, headers_only=True)
    try:
        if not await tail.caught_up(end - 1, timeout=PATIENCE):
            raise NoAnswer("the broker does not tell in time what has ended")
    finally:
        await tail.close()
    return found


def _read(message: Message) -> tuple[Ended, ...]:
    """Nothing of a record whose header cannot be read."""
    project, job = subjects.project_and_job(message.subject)
    try:
        told = decode(Settlement, (message.headers or {}).get(subjects.H_SETTLEMENT, ""))
    except ContractError:
        return ()
    return (Ended(message.seq, project, job, told),)
