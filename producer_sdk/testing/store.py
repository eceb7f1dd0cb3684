"""What a stage keeps, as a broker does in streams: pieces of large bodies, chunks, the records of results."""

from __future__ import annotations

from hashlib import sha256

from job_contracts.codec import ContractError, encode
from job_contracts.desk import AskBlob, AskChunks, AskJobs, Chunks, Results
from job_contracts.jobs import BlobRef
from job_contracts.results import Result
from job_contracts.stream import Chunk

PIECE = 256 * 1024
MOST_CHUNKS = 500
MOST_RECORDS = 700 * 1024


class StageStore:
    """All that is kept of one project. Results of more than ``max_message`` bytes are told by where they lie."""

    def __init__(self, *, max_message: int) -> None:
        self.records: dict[str, bytes] = {}
        """The results' records by job."""
        self._max_message = max_message
        self._bodies: dict[tuple[str, int], bytes] = {}
        self._large: dict[str, bytes] = {}
        self._chunks: dict[str, list[Chunk]] = {}

    # -- bodies

    def piece(self, job_id: str, index: int, data: bytes) -> bool:
        """A piece of a large body; False if it is there."""
        if (job_id, index) in self._bodies:
            return False
        self._bodies[job_id, index] = data
        return True

    def has_piece(self, job_id: str, index: int) -> bool:
        """Whether a piece of a large body is there."""
        return (job_id, index) in self._bodies

    def body(self, job_id: str, ref: BlobRef) -> bytes:
        """A large body, put together. Raises ContractError if it is not the one that was announced."""
        data = b"".join(self._bodies.get((job_id, index), b"") for index in range(ref.chunks))
        if sha256(data).hexdigest() != ref.sha256:
            raise ContractError("the stored body is not the one that was announced", remedy="submit it again")
        return data

    # -- streams

    def follow(self, job_id: str, chunks: list[Chunk]) -> None:
        """Where the chunks of a job are going to be."""
        self._chunks[job_id] = chunks

    def lose_tokens(self) -> None:
        """Lose all chunks, as the store of tokens may: it is bounded and in memory."""
        for chunks in self._chunks.values():
            chunks.clear()

    def stream_after(self, asked: AskChunks) -> Chunks:
        """A job's chunks behind one that is known."""
        after = (asked.generation, asked.sequence)
        found = [chunk for chunk in self._chunks.get(asked.job, []) if (chunk.generation, chunk.sequence) > after]
        return Chunks(chunks=tuple(found[:MOST_CHUNKS]), more=len(found) > MOST_CHUNKS)

    # -- results

    def record(self, job_id: str, result: Result) -> bytes:
        """Keep a job's result; its record, as it is told."""
        data = encode(result)
        if len(data) > self._max_message:
            self._large[job_id] = data
            ref = BlobRef(chunks=-(-len(data) // PIECE), size=len(data), sha256=sha256(data).hexdigest())
            data = encode(result.model_copy(update={"answer": None, "embeddings": None, "blob": ref}))
        self.records[job_id] = data
        return data

    def results(self, asked: AskJobs) -> Results:
        """The records of these jobs, as many as one answer holds."""
        records: list[str] = []
        room = MOST_RECORDS
        for job in asked.jobs:
            record = self.records.get(job)
            if record is None:
                continue
            room -= len(record)
            if room < 0 and records:
                return Results(records=tuple(records), more=True)
            records.append(record.decode())
        return Results(records=tuple(records))

    def blob(self, asked: AskBlob) -> bytes:
        """A piece of a large result. Raises KeyError if there is none."""
        return self._large[asked.job][asked.index * PIECE :][:PIECE]
