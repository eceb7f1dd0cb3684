"""Bodies and results that are too large for one message: in pieces, and checked as a whole."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import ContractError
from job_contracts.jobs import BlobRef
from producer_sdk.errors import PenstockError
from producer_sdk.outbox import FIRST

if TYPE_CHECKING:
    from producer_sdk.desk import Desk
    from producer_sdk.request import Request
    from producer_sdk.transport import Transport

PIECE = 256 * 1024
"""Bytes of one piece."""
AT_ONCE = 8
"""Pieces under way at once."""


async def upload(transport: Transport, request: Request, *, timeout: float) -> BlobRef:
    """Store a request's body in pieces; ``timeout`` seconds for each. A piece that is there already is not an error."""
    body, size = request.body, min(PIECE, transport.max_payload // 2)
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    gate = asyncio.Semaphore(AT_ONCE)

    async def put(index: int, piece: bytes) -> None:
        async with gate:
            await transport.store(subjects.blob(transport.project, request.job, index), piece, FIRST, timeout=timeout)

    try:
        async with asyncio.TaskGroup() as group:
            for index, piece in enumerate(pieces):
                group.create_task(put(index, piece))
    except* PenstockError as errors:
        raise errors.exceptions[0] from errors
    return BlobRef(chunks=len(pieces), size=len(body), sha256=sha256(body).hexdigest())


async def download(desk: Desk, job: str, ref: BlobRef) -> bytes:
    """A result's full record. Raises ContractError if it is not the announced one, or what the desk raises."""
    data = b"".join([await desk.blob(job, index) for index in range(ref.chunks)])
    if sha256(data).hexdigest() != ref.sha256:
        raise ContractError("what is stored is not what was announced", remedy="submit the job again")
    return data
