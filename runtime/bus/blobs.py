"""Bytes that are too large for one message: chunks on numbered subjects of one stream, checked when they are read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from typing import Protocol

from job_contracts import subjects
from job_contracts.jobs import BlobRef
from runtime.bus.port import Ack, AlreadyStored, BusError, Family, Message, NotFound, TooLarge

AT_ONCE = 8
"""Chunks on their way at the same time."""


class Store(Protocol):
    """The part of a bus that blobs need."""

    @property
    def max_payload(self) -> int: ...
    async def append(self, subject: str, data: bytes) -> Ack: ...
    async def last(self, stream: str, subject: str) -> Message: ...
    async def get_direct(self, stream: str, subject: str) -> Message: ...
    async def purge(self, stream: str, *, below: int, subjects: str = "") -> int: ...


async def put(store: Store, key: str, data: bytes, *, of: Family, chunk: int, limit: int) -> BlobRef:
    """Store ``data`` under ``key`` (``<project>.<job id>``); storing the same bytes again changes nothing.

    A result's chunks are named by their content, so two attempts of one job cannot mix theirs. A job body's chunks are
    named by their place alone, as its producer may know no more. Raises TooLarge over ``limit`` bytes, AlreadyStored
    if other bytes are there, else as ``Bus.append`` does.
    """
    if len(data) > limit:
        raise TooLarge(f"{key}: {len(data)} bytes, the limit is {limit}")
    chunk = min(chunk, store.max_payload // 2)  # whatever the broker takes, headers and an answer around it included
    parts = [data[at : at + chunk] for at in range(0, len(data), chunk)] or [b""]
    ref = BlobRef(chunks=len(parts), size=len(data), sha256=sha256(data).hexdigest())
    places = asyncio.Semaphore(AT_ONCE)

    async def store_one(index: int, part: bytes) -> None:
        subject = _subject(key, index, ref, of)
        async with places:
            try:
                await store.append(subject, part)
            except AlreadyStored:
                if (await store.last(subjects.BLOB, subject)).data != part:
                    raise

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_outcome(store_one(index, part))) for index, part in enumerate(parts)]
    _raise_first([task.result() for task in tasks])
    return ref


async def get(store: Store, key: str, ref: BlobRef, *, of: Family, limit: int) -> bytes:
    """The bytes that ``ref`` describes. Raises NotFound if a chunk is gone, TooLarge over ``limit`` bytes, BusError if
    what is there is not what ``ref`` says.
    """
    if ref.size > limit or ref.chunks > max(ref.size, 1):
        raise TooLarge(f"{key}: {ref.size} bytes in {ref.chunks} chunks, the limit is {limit}")
    parts: dict[int, bytes] = {}
    failures: list[BusError] = []
    left = iter(range(ref.chunks))

    async def read_one(index: int) -> None:
        subject = _subject(key, index, ref, of)
        try:
            parts[index] = (await store.get_direct(subjects.BLOB, subject)).data
        except NotFound:  # a replica may lag: only the leader's word is a no
            parts[index] = (await store.last(subjects.BLOB, subject)).data

    async def read() -> None:
        for index in left:
            failed = await _outcome(read_one(index))
            if failed is not None:
                failures.append(failed)
            if failures:  # what is written by strangers may name many that are not there
                return

    async with asyncio.TaskGroup() as group:
        for _ in range(min(AT_ONCE, ref.chunks)):
            group.create_task(read())
    _raise_first(failures)
    data = b"".join(parts[index] for index in range(ref.chunks))
    if len(data) != ref.size or sha256(data).hexdigest() != ref.sha256:
        raise BusError(f"{key}: the stored bytes are not those that were announced ({len(data)} of {ref.size} bytes)")
    return data


async def delete(store: Store, key: str, *, of: Family) -> None:
    """Remove every chunk of ``key``."""
    project, job = _parts(key)
    first = subjects.blob(project, job, 0) if of == "job" else subjects.result_blob(project, job, 0)
    await store.purge(subjects.BLOB, below=2**63 - 1, subjects=f"{first.rpartition('.')[0]}.*")


async def _outcome(work: object) -> BusError | None:
    try:
        await work  # type: ignore[misc]
    except BusError as error:
        return error
    return None


def _raise_first(outcomes: Sequence[BusError | None]) -> None:
    for error in outcomes:
        if error is not None:
            raise error


def _subject(key: str, index: int, ref: BlobRef, of: Family) -> str:
    project, job = _parts(key)
    if of == "job":
        return subjects.blob(project, job, index)
    return subjects.result_blob(project, job, index, ref.sha256)


def _parts(key: str) -> tuple[str, str]:
    project, _, job = key.partition(".")
    return subjects.check_token(project, "project"), subjects.check_job_id(job)
