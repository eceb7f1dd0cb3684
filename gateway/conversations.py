"""What is kept of responses beside their results: a stream of the edge's own, which every edge reads and none owns.

One message a response, under the name of its project and job; of one too large for a message, pieces first and then a
head that says where they are, so that what can be found is whole. The head alone has everything but the items, which
whoever only looks whether the response has ended does not need. It is written once, after its job is durable and
before its client is told of it. If the edge dies between the two, nobody knows the response's id: the job ends unread,
and a client with an idempotency key, who asks again, finds the job and writes the record. Records end by themselves
when no result can be there any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING

from gateway.bodies.failures import ApiError, Failed
from gateway.bodies.openai_responses_kept import Kept
from job_contracts import subjects
from job_contracts.codec import decode, encode
from job_contracts.jobs import BlobRef
from runtime.bus.port import (
    AlreadyStored,
    BusError,
    NotFound,
    OutcomeUnknown,
    StreamFull,
    Undecided,
    Unreachable,
    WrongSequence,
)

if TYPE_CHECKING:
    from runtime.bus.port import Bus

IN_ONE = 256 * 1024
"""Bytes of a record in one message."""
AT_ONCE = 8
"""Pieces on their way at the same time."""
PAUSES = (0.05, 0.2, 0.5, 1.0)
"""Seconds before a broker that does not answer is asked again."""
AGAIN = 1.0
"""Seconds after which a client may ask again."""


class Conversations:
    """The records. Every method raises ``Failed``: 503 where the broker does not answer, or has no room."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def keep(self, project: str, job: str, kept: Kept, *, ttl: float) -> Kept:
        """Store a record for ``ttl`` seconds; returns the one that stands, which is an earlier one if there is."""
        data = encode(kept)
        subject = subjects.conversation(project, job)
        size = min(IN_ONE, self._bus.max_payload // 2)
        seconds = max(1, int(ttl))
        if len(data) <= size:
            new = await self._stored(subject, data, seconds)
        else:
            ref = BlobRef(chunks=-(-len(data) // size), size=len(data), sha256=sha256(data).hexdigest())
            places = asyncio.Semaphore(AT_ONCE)

            async def store_one(index: int) -> None:
                async with places:
                    piece = subjects.conversation_piece(project, job, ref.sha256, index)
                    await self._stored(piece, data[index * size : (index + 1) * size], seconds)

            await _all(store_one(index) for index in range(ref.chunks))
            lean = encode(kept.model_copy(update={"items": ()}))
            head = lean if len(lean) <= size else b""
            new = await self._stored(subject, head, seconds, {subjects.H_PIECES: encode(ref).decode()})
        return kept if new else await self.find(project, job) or kept

    async def find(self, project: str, job: str, *, items: bool = False) -> Kept | None:
        """The record of a response; ``None`` if there is none, or none any more. ``items``: with what was said."""
        try:
            head = await self._bus.last(subjects.CONV, subjects.conversation(project, job))
            where = (head.headers or {}).get(subjects.H_PIECES)
            data = head.data
            if where is not None and (items or not data):
                data = await self._pieces(project, job, decode(BlobRef, where))
        except NotFound:
            return None
        except BusError as error:
            raise _away(error) from error
        return decode(Kept, data)

    async def forget(self, project: str, job: str) -> bool:
        """Remove a record; ``False`` if there is none. The head goes first, so that nobody finds half of one."""
        subject = subjects.conversation(project, job)
        try:
            found = await self._bus.purge(subjects.CONV, below=2**63 - 1, subjects=subject)
            await self._bus.purge(subjects.CONV, below=2**63 - 1, subjects=f"{subject}.*")
        except BusError as error:
            raise _away(error) from error
        return found > 0

    async def _stored(self, subject: str, data: bytes, ttl: int, headers: Mapping[str, str] | None = None) -> bool:
        """Whether it was stored just now; ``False`` if something is there already."""
        for pause in (*PAUSES, None):
            try:
                await self._bus.append(subject, data, headers=headers, expect_last=0, ttl=ttl)
            except (WrongSequence, AlreadyStored):
                return False
            except (Unreachable, OutcomeUnknown, Undecided) as error:
                if pause is None:
                    raise _away(error) from error
                await asyncio.sleep(pause)
            except StreamFull as error:
                raise _full() from error
            except BusError as error:
                raise _away(error) from error
            else:
                return True
        return False

    async def _pieces(self, project: str, job: str, ref: BlobRef) -> bytes:
        places = asyncio.Semaphore(AT_ONCE)
        parts: dict[int, bytes] = {}

        async def read_one(index: int) -> None:
            subject = subjects.conversation_piece(project, job, ref.sha256, index)
            async with places:
                try:
                    parts[index] = (await self._bus.get_direct(subjects.CONV, subject)).data
                except NotFound:  # a replica may lag: only the leader's word is a no
                    parts[index] = (await self._bus.last(subjects.CONV, subject)).data

        await _all(read_one(index) for index in range(ref.chunks))
        data = b"".join(parts[index] for index in range(ref.chunks))
        if sha256(data).hexdigest() != ref.sha256:
            message = f"the record of {job} is not what was announced"
            raise BusError(message)
        return data


async def _all(work: Iterable[object]) -> None:
    """Do all of it, then raise the first error: an error within a group would be a group of errors."""
    outcomes = await asyncio.gather(*work, return_exceptions=True)  # type: ignore[call-overload]
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


def _away(error: BusError) -> Failed:
    message = f"what was said cannot be reached now: {type(error).__name__}"
    return Failed(ApiError(503, "queue_unreachable", message, remedy="try again in a moment", retry_after=AGAIN))


def _full() -> Failed:
    message = "store: there is no room to keep another response"
    remedy = "send store: false, or delete responses; the operator can make room"
    return Failed(ApiError(503, "store_full", message, param="store", remedy=remedy, retry_after=60.0))
