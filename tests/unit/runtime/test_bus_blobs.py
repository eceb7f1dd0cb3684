"""Large bodies in chunks: how much is asked for where a reference promises what is not there."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from job_contracts.jobs import FEW_CHUNKS, LEAST_CHUNK, BlobRef
from runtime.bus import blobs
from runtime.bus.port import Ack, Message, NotFound

MIB = 1024 * 1024


class Empty:
    """A store without any chunk, which counts the questions."""

    max_payload = MIB

    def __init__(self) -> None:
        self.asked = 0

    async def append(self, subject: str, data: bytes) -> Ack:
        raise AssertionError(subject, len(data))

    async def purge(self, stream: str, *, below: int, subjects: str = "") -> int:
        raise AssertionError(stream, below, subjects)

    async def last(self, stream: str, subject: str) -> Message:
        self.asked += 1
        raise NotFound(f"{stream}: {subject}")

    get_direct = last


async def test_chunks_that_are_not_there_are_not_asked_for_once_one_is_missed() -> None:
    store, ref = Empty(), BlobRef(chunks=10_000, size=64 * MIB, sha256="0" * 64)
    with pytest.raises(NotFound):
        await blobs.get(store, "demo.a-1", ref, of="job", limit=64 * MIB)
    assert store.asked <= 2 * blobs.AT_ONCE


@pytest.mark.parametrize("size", [0, 1, FEW_CHUNKS * LEAST_CHUNK, FEW_CHUNKS * LEAST_CHUNK + LEAST_CHUNK, 64 * MIB])
def test_a_reference_names_no_more_chunks_than_its_bytes_may_lie_in(size: int) -> None:
    most = max(FEW_CHUNKS, size // LEAST_CHUNK)
    assert BlobRef(chunks=most, size=size, sha256="0" * 64).chunks == most
    with pytest.raises(ValidationError, match=f"write at most {most}"):
        BlobRef(chunks=most + 1, size=size, sha256="0" * 64)
