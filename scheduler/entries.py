"""What an assignment needs of each submission, as small as a million of them must be."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field, replace
from struct import Struct
from typing import TYPE_CHECKING

from job_contracts.tracing import Trace
from scheduler.policy.marks import joined, parted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from job_contracts.jobs import BlobRef

JobKey = tuple[str, str]
"""``(project, job id)``."""

_FIXED = Struct("<QddB")
"""Sequence, times of submission and deadline, flags; its trace, if it has one, token and body hash follow."""
_SEQ = 8
"""Bytes of the sequence, which stands first."""
_STREAM, _UNSURE, _HAS_DEADLINE, _FOLLOWED, _TRACED, _SAMPLED, _BEGUN, _STATED = 1, 2, 4, 8, 16, 32, 64, 128
_TRACE = Struct("16s8s")
_LENGTH = Struct("<H")


@dataclass(slots=True)
class Entry:
    """One submission: its sequence and what must travel with every attempt."""

    seq: int
    token: str
    body_hash: str
    submitted: float
    deadline: float | None
    stream: bool
    blob: BlobRef | None
    unsure: bool
    """It may be a resubmission of a finished job: its result record is looked up before it is dispatched."""
    outcome_seq: int = 0
    """Sequence of its last outcome in OUT, 0 if it has none."""
    tags: dict[str, str] = field(default_factory=dict)
    """Of a job whose body is a blob; every other body tells its own."""
    followed: bool = False
    """Once it has its answer, something is to follow it."""
    trace: Trace | None = None
    """What its own span is a child of, if it is traced."""


class Entries(MutableMapping[JobKey, Entry]):
    """All entries by job. What only waits is kept packed, until somebody asks for it.

    As an object an entry takes three times the bytes, and the garbage collector walks it each time it looks at
    everything. Whoever asks for one gets the object that is kept from then on, and may change it.
    """

    def __init__(self) -> None:
        self._projects: dict[str, dict[str, bytes | Entry]] = {}
        self._count = 0

    def __getitem__(self, key: JobKey) -> Entry:
        """The entry. Raises KeyError if the job is not known."""
        jobs = self._projects[key[0]]
        kept = jobs[key[1]]
        if isinstance(kept, bytes):
            kept = jobs[key[1]] = _unpacked(kept)
        return kept

    def __setitem__(self, key: JobKey, entry: Entry) -> None:
        jobs = self._projects.setdefault(key[0], {})
        self._count += key[1] not in jobs
        jobs[key[1]] = _packed(entry) if entry.blob is None and not entry.outcome_seq else entry

    def __delitem__(self, key: JobKey) -> None:
        del self._projects[key[0]][key[1]]
        self._count -= 1

    def __contains__(self, key: object) -> bool:
        """Whether the job is known; leaves it packed."""
        if not isinstance(key, tuple):
            return False
        jobs = self._projects.get(key[0])
        return jobs is not None and key[1] in jobs

    def seq(self, key: JobKey) -> int | None:
        """The sequence of a job's submission, ``None`` if it is not known; leaves it packed."""
        kept = self._projects.get(key[0], {}).get(key[1])
        if isinstance(kept, bytes):
            return int.from_bytes(kept[:_SEQ], "little")
        return None if kept is None else kept.seq

    def peek(self, key: JobKey) -> Entry | None:
        """To look at it and no more: leaves it packed."""
        kept = self._projects.get(key[0], {}).get(key[1])
        return _unpacked(kept) if isinstance(kept, bytes) else kept

    def __iter__(self) -> Iterator[JobKey]:
        for project, jobs in self._projects.items():
            for job in jobs:
                yield project, job

    def __len__(self) -> int:
        return self._count

    def of(self, project: str) -> int:
        """How many a project has."""
        return len(self._projects.get(project, ()))


def _packed(entry: Entry) -> bytes:
    flags = _STREAM * entry.stream | _UNSURE * entry.unsure | _HAS_DEADLINE * (entry.deadline is not None)
    flags |= _FOLLOWED * entry.followed
    trace, placed = entry.trace, b""
    if trace is not None:
        flags |= _TRACED | _SAMPLED * trace.sampled | _BEGUN * bool(trace.span)
        placed = _TRACE.pack(bytes.fromhex(trace.id), bytes.fromhex(trace.span))
        if trace.state:
            flags |= _STATED
            placed += _LENGTH.pack(len(trace.state)) + trace.state.encode("ascii")
    fixed = _FIXED.pack(entry.seq, entry.submitted, entry.deadline or 0.0, flags)
    return fixed + placed + joined(entry.token, entry.body_hash)


def _unpacked(kept: bytes) -> Entry:
    seq, submitted, deadline, flags = _FIXED.unpack_from(kept)
    trace, end = None, _FIXED.size
    if flags & _TRACED:
        id_, span = _TRACE.unpack_from(kept, end)
        trace = Trace(id_.hex(), span.hex() if flags & _BEGUN else "", sampled=bool(flags & _SAMPLED))
        end += _TRACE.size
        if flags & _STATED:
            begin = end + _LENGTH.size
            end = begin + _LENGTH.unpack_from(kept, end)[0]
            trace = replace(trace, state=kept[begin:end].decode("ascii"))
    token, body_hash = parted(kept[end:])
    return Entry(
        seq=seq,
        token=token,
        body_hash=body_hash,
        submitted=submitted,
        deadline=deadline if flags & _HAS_DEADLINE else None,
        stream=bool(flags & _STREAM),
        blob=None,
        unsure=bool(flags & _UNSURE),
        followed=bool(flags & _FOLLOWED),
        trace=trace,
    )
