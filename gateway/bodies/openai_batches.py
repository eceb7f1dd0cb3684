"""OpenAI batches: what is asked for, what is known of one, and how it is told.

After the OpenAI API reference, ``/v1/batches``. Beyond it: windows of 1 h, 4 h and none besides 24 h, and the file of
results is there, and can be read, from the start.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from gateway.bodies.failures import ApiError, Failed, invalid
from gateway.bodies.openai_files import EXPIRES_AFTER, FileHead, Part, expires_after
from gateway.bodies.schemas import (
    COUNT,
    MOMENT,
    SOME_TEXT,
    TEXT,
    Fields,
    each,
    many,
    one_of,
    optional,
    page,
    pairs,
    shown,
    taken,
)

WINDOWS: Mapping[str, float | None] = {"1h": 3_600.0, "4h": 14_400.0, "24h": 86_400.0, "none": None}
"""Seconds a batch may take; ``none``: as long as files are kept."""
MOST_PAIRS, LONGEST_NAME, LONGEST_VALUE = 16, 64, 512
"""Of a batch's metadata."""
MOST_ERRORS = 100
"""Errors of an input file that are told."""
MARKS = 64
"""Places in a content that are remembered, so that reading can begin in the middle."""

_BATCH = re.compile(r"batch_[0-9a-f]{24}")
KNOWN = frozenset({"input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after"})

Phase = Literal["validating", "running", "finalizing", "ended"]


class Wish(BaseModel):
    """What a batch is to be."""

    model_config = ConfigDict(frozen=True)

    input_file: str
    endpoint: str
    window: str
    metadata: dict[str, str] | None = None
    output_expires_after: int | None = None


class LineError(BaseModel):
    """Something wrong with an input file."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str
    param: str | None = None
    line: int | None = None
    """From 1; ``None`` if it is about the whole."""


class Mark(BaseModel):
    """A place in the stream of output lines: up to sequence ``seq`` there are so many bytes of either part."""

    model_config = ConfigDict(frozen=True)

    seq: int = 0
    output: int = 0
    errors: int = 0

    def of(self, part: Part) -> int:
        """The bytes of that part."""
        return self.output if part == "output" else self.errors


class Counts(BaseModel):
    """Output lines by what they say."""

    model_config = ConfigDict(frozen=True)

    completed: int = 0
    failed: int = 0
    """With an error, the following ones included."""
    cancelled: int = 0
    expired: int = 0


class Batch(BaseModel):
    """The record of one batch: one message, replaced by whoever has read it last."""

    model_config = ConfigDict(frozen=True)

    id: str
    project: str
    key: str = ""
    """Id of the key it was made with."""
    scope: dict[str, Any] = {}
    """What that key may do, as ``runtime.settings.Scope`` reads it."""
    options: dict[str, Any] = {}
    """Job options of every line."""
    wish: Wish
    input: FileHead
    """The file of requests as it was when the batch was made; its content stays while a batch reads it."""
    created_at: float
    expires_at: float
    """UTC seconds by which it must have ended; then unfinished lines expire."""

    owner: str = ""
    """The edge that works on it; empty if none does."""
    beat: int = 0
    """Counts up with every write."""
    reach: int = 0
    """Lines from here on have certainly not been submitted."""
    cleared: bool = False
    """It has ended, and nothing is left of it but this and its files."""

    phase: Phase = "validating"
    total: int = 0
    counts: Counts = Counts()
    marks: tuple[Mark, ...] = ()
    errors: tuple[LineError, ...] = ()
    has_errors: bool = False
    """There is a file of errors."""
    in_progress_at: float | None = None
    finalizing_at: float | None = None
    cancelling_at: float | None = None
    ended_at: float | None = None

    @property
    def output_file(self) -> str:
        """Id of the file of answers."""
        return f"file-{self.id[6:]}o"

    @property
    def error_file(self) -> str:
        """Id of the file of everything else."""
        return f"file-{self.id[6:]}e"

    def file(self, part: Part) -> str:
        """Id of the file of that part."""
        return self.output_file if part == "output" else self.error_file

    @property
    def last(self) -> Mark:
        """How far the output lines are counted."""
        return self.marks[-1] if self.marks else Mark()

    def before(self, position: int, part: Part) -> Mark:
        """The last remembered place at which no more than ``position`` bytes of a part are passed."""
        return max(
            (mark for mark in self.marks if mark.of(part) <= position), key=lambda mark: mark.seq, default=Mark()
        )

    @property
    def done(self) -> int:
        """Lines that have their output line."""
        return self.counts.completed + self.counts.failed

    @property
    def status(self) -> str:
        """The API's word for where it is."""
        if self.phase != "ended":
            running = "in_progress" if self.phase == "running" else self.phase
            return "cancelling" if self.cancelling_at is not None else running
        if self.errors:
            return "failed"
        if self.cancelling_at is not None:
            return "cancelled"
        return "expired" if self.counts.expired else "completed"


def wish(body: Mapping[str, Any], endpoints: Sequence[str]) -> Wish:
    """What a body asks for. Raises ``Failed`` with 400 naming the field."""
    for name in body:
        if name not in KNOWN:
            raise invalid(f"{name[:60]}: there is no such field", param=name[:60], code="unknown_parameter")
    file = body.get("input_file_id")
    if not isinstance(file, str) or not file:
        remedy = "upload a file with purpose batch first"
        raise invalid("input_file_id: expected the id of a file", param="input_file_id", remedy=remedy)
    return Wish(
        input_file=file,
        endpoint=_one_of(body.get("endpoint"), "endpoint", endpoints),
        window=_one_of(body.get("completion_window"), "completion_window", tuple(WINDOWS)),
        metadata=_metadata(body.get("metadata")),
        output_expires_after=expires_after(body.get("output_expires_after"), "output_expires_after"),
    )


def _one_of(value: Any, name: str, known: Sequence[str]) -> str:
    if value not in known:
        found = "it is missing" if value is None else f"{value!r} is none"
        raise invalid(f"{name}: {found}", param=name, remedy=f"use one of: {', '.join(known)}")
    return str(value)


def _metadata(value: Any) -> dict[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or len(value) > MOST_PAIRS:
        raise invalid(f"metadata: expected an object of at most {MOST_PAIRS} pairs", param="metadata")
    for name, told in value.items():
        if not isinstance(told, str) or len(name) > LONGEST_NAME or len(told) > LONGEST_VALUE:
            where = f"metadata.{name[:LONGEST_NAME]}"
            remedy = f"names have at most {LONGEST_NAME} characters, values are texts of at most {LONGEST_VALUE}"
            raise invalid(f"{where}: that cannot be kept", param=where, remedy=remedy)
    return value


def batch_id(value: str) -> str:
    """``value`` if it can be a batch's id. Raises ``Failed`` with 404 otherwise, as for one that is not there."""
    if _BATCH.fullmatch(value) is None:
        raise no_batch(value)
    return value


def no_batch(name: str) -> Failed:
    """What is raised for a batch that is not there, or not this project's."""
    return Failed(ApiError(404, "not_found", f"No batch found with id '{name[:80]}'.", param="id"))


def rendered(batch: Batch) -> dict[str, Any]:
    """A ``batch`` object."""
    status, wish = batch.status, batch.wish
    ended: dict[str, int | None] = {f"{word}_at": None for word in ("completed", "failed", "expired", "cancelled")}
    if batch.phase == "ended":
        ended[f"{status}_at"] = _whole(batch.ended_at)
    errors = {"object": "list", "data": [error.model_dump() for error in batch.errors]} if batch.errors else None
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": wish.endpoint,
        "errors": errors,
        "input_file_id": wish.input_file,
        "completion_window": wish.window,
        "status": status,
        "output_file_id": None if batch.errors else batch.output_file,
        "error_file_id": batch.error_file if batch.has_errors else None,
        "created_at": int(batch.created_at),
        "in_progress_at": _whole(batch.in_progress_at),
        "expires_at": _whole(batch.expires_at),
        "finalizing_at": _whole(batch.finalizing_at),
        **ended,
        "cancelling_at": _whole(batch.cancelling_at),
        "request_counts": {
            "total": batch.total,
            "completed": batch.counts.completed,
            "failed": batch.counts.failed,
        },
        "metadata": wish.metadata,
    }


def _whole(moment: float | None) -> int | None:
    return None if moment is None else int(moment)


# -- for the document


def request(endpoints: Sequence[str]) -> Fields:
    """The body that begins a batch."""
    return taken(
        {
            "input_file_id": {**SOME_TEXT, "description": "An uploaded file with purpose batch."},
            "endpoint": one_of(endpoints),
            "completion_window": one_of(WINDOWS),
        },
        {
            "metadata": pairs(MOST_PAIRS, LONGEST_NAME, LONGEST_VALUE),
            "output_expires_after": EXPIRES_AFTER,
        },
    )


_MOMENT = {"type": ["integer", "null"]}
_STATES = ("validating", "in_progress", "finalizing", "cancelling", "failed", "completed", "expired", "cancelled")
BATCH: Fields = shown(
    {
        "id": TEXT,
        "object": {"const": "batch"},
        "endpoint": TEXT,
        "errors": optional(shown({"object": {"const": "list"}, "data": many(shown({"code": TEXT, "message": TEXT}))})),
        "input_file_id": TEXT,
        "completion_window": one_of(WINDOWS),
        "status": one_of(_STATES),
        "output_file_id": optional(TEXT),
        "error_file_id": optional(TEXT),
        "created_at": MOMENT,
        **each((f"{word}_at" for word in (*_STATES[1:], "expires")), _MOMENT),
        "request_counts": shown({"total": COUNT, "completed": COUNT, "failed": COUNT}),
        "metadata": optional({"type": "object", "additionalProperties": TEXT}),
    }
)
BATCHES: Fields = page(BATCH)
