"""Writes whose fate is always known: what is to be stored once is, whatever the broker's answer was."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from runtime.bus.port import (
    AlreadyStored,
    NotFound,
    OutcomeUnknown,
    StreamFull,
    Undecided,
    Unreachable,
    WrongSequence,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from runtime.bus.port import Bus, Message

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between two tries while the broker does not answer."""
PATIENCE = 30.0
"""Seconds for which a request's write is tried."""
_AGAIN = (OutcomeUnknown, Unreachable, Undecided, StreamFull)
"""What says nothing of the write itself. A full stream has room again when something in it has ended."""


async def create(
    bus: Bus,
    stream: str,
    subject: str,
    data: bytes,
    *,
    headers: Mapping[str, str] | None = None,
    ttl: int | None = None,
    patience: float | None = PATIENCE,
) -> bool:
    """Store the first message of a subject; whether it is the one that is there now.

    Tries for ``patience`` seconds while the broker does not answer, then raises what it said last; a full stream is
    told at once. ``None``: tries for ever, whatever it says.
    """
    try:
        await patient(lambda: bus.append(subject, data, headers=headers, expect_last=0, ttl=ttl), patience)
    except (WrongSequence, AlreadyStored):
        return await _is_there(bus, stream, subject, data)
    return True


async def replace(
    bus: Bus,
    stream: str,
    subject: str,
    data: bytes,
    *,
    seen: int,
    ttl: int | None = None,
    patience: float | None = None,
) -> int:
    """Store the next message of a subject whose last one is ``seen``; its sequence. Raises WrongSequence.

    ``data`` must be unlike that of any other writer, so that it is known again when an answer was lost.
    """
    try:
        return (await patient(lambda: bus.append(subject, data, expect_last=seen, ttl=ttl), patience)).seq
    except WrongSequence:
        last = await patient(lambda: bus.last(stream, subject), patience)
        if last.seq > seen and last.data == data:
            return last.seq
        raise


async def _is_there(bus: Bus, stream: str, subject: str, data: bytes) -> bool:
    try:
        return (await patient(lambda: bus.last(stream, subject), PATIENCE)).data == data
    except NotFound:
        return False


async def patient(work: Callable[[], Awaitable[T]], patience: float | None) -> T:
    """Do it again while the broker does not answer, for ``patience`` seconds (``None``: for ever, see ``create``)."""
    loop = asyncio.get_running_loop()
    until = None if patience is None else loop.time() + patience
    pause = FIRST_PAUSE
    while True:
        try:
            return await work()
        except _AGAIN as error:
            if until is not None and (isinstance(error, StreamFull) or loop.time() + pause >= until):
                raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


async def every(bus: Bus, stream: str, subject: str, *, after: int = 0) -> list[Message]:
    """All messages of ``subject`` (wildcards allowed) behind ``after``, in their order; for what fits in memory."""
    found: list[Message] = []
    while True:
        page = await some(bus, stream, after + 1, subject)
        if not page:
            return found
        found += page
        after = page[-1].seq


async def some(bus: Bus, stream: str, seq: int, subject: str) -> Sequence[Message]:
    """The next messages of ``subject`` from ``seq`` on; empty only if the leader knows of none."""
    page = await patient(lambda: bus.run(stream, seq, subject), PATIENCE)
    if page:
        return page
    try:
        return [await patient(lambda: bus.next(stream, seq, subject), PATIENCE)]
    except NotFound:
        return []
