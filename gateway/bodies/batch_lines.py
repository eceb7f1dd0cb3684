"""The lines of a batch: requests read and checked, output lines written, and the account of which are there.

Every input line has exactly one output line: an answer, or what went wrong in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

from pydantic_core import to_json

from gateway.bodies.failures import ApiError, Failed, Shape
from gateway.bodies.objects import json_object
from gateway.bodies.openai_batches import MARKS, MOST_ERRORS, Counts, LineError, Mark
from gateway.bodies.openai_files import Part

Said = Literal["output", "errors", "cancelled", "expired"]
"""What an output line says: an answer, an error, or that it was not asked at all."""

LONGEST_ID = 512
"""Characters of a ``custom_id``."""
NOT_ASKED: Mapping[Said, str] = {
    "cancelled": "the batch was cancelled before this request was answered",
    "expired": "this request was not answered within the batch's completion window",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One request of an input file."""

    number: int
    """From 0; empty lines do not count."""
    custom_id: str
    body: Mapping[str, Any]


class Checker:
    """Looks over an input file line by line; ``errors`` is what is wrong with it."""

    def __init__(self, endpoint: str, most: int) -> None:
        self._endpoint = endpoint
        self._most = most
        self._seen: set[bytes] = set()
        self._row = 0
        self.total = 0
        """Requests seen."""
        self.errors: list[LineError] = []

    @property
    def full(self) -> bool:
        """Whether looking further can find nothing that would be told."""
        return len(self.errors) >= MOST_ERRORS or self.total > self._most

    def take(self, text: bytes) -> None:
        """The next line of the file."""
        self._row += 1
        if not text.strip():
            return
        self.total += 1
        if self.total > self._most:
            message = f"the file has more than {self._most} requests; split it"
            self._wrong("max_lines_exceeded", message)
            return
        line = _object(text)
        if isinstance(line, str):
            self._wrong("invalid_json_line", line)
        else:
            self._check(line)

    def end(self) -> None:
        """There are no more lines."""
        if not self.total:
            self.errors.append(LineError(code="empty_file", message="the file has no request in it"))

    def _check(self, line: Mapping[str, Any]) -> None:
        for name in ("custom_id", "method", "url", "body"):
            if name not in line:
                self._wrong("missing_required_parameter", f"{name}: it is missing", name)
                return
        name, method, url, body = line["custom_id"], line["method"], line["url"], line["body"]
        if not isinstance(name, str) or not name or len(name) > LONGEST_ID:
            self._wrong("invalid_custom_id", f"custom_id: expected a text of 1 to {LONGEST_ID} characters", "custom_id")
        elif (known := blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()) in self._seen:
            self._wrong("duplicate_custom_id", f"custom_id: {name[:80]!r} was used by a line before", "custom_id")
        elif method != "POST":
            self._wrong("invalid_method", f"method: expected POST, not {str(method)[:20]!r}", "method")
        elif url != self._endpoint:
            message = f"url: the batch is for {self._endpoint}, not for {str(url)[:80]!r}"
            self._wrong("invalid_url", message, "url")
        elif not isinstance(body, dict):
            self._wrong("invalid_body", "body: expected an object", "body")
        else:
            self._seen.add(known)

    def _wrong(self, code: str, message: str, param: str | None = None) -> None:
        if len(self.errors) < MOST_ERRORS:
            self.errors.append(LineError(code=code, message=message, param=param, line=self._row))


def _object(text: bytes) -> Mapping[str, Any] | str:
    """A line as an object, or what is wrong with it."""
    try:
        return json_object(text, what="the line")
    except Failed as failed:
        return failed.error.message


def line_of(number: int, text: bytes) -> Line:
    """A line of a file that was looked over. Raises ValueError for one that is not as it was then."""
    value = _object(text)
    if isinstance(value, str):
        raise ValueError(value)
    return Line(number, value["custom_id"], value["body"])


# -- output lines


def answered(batch: str, line: Line, request: str, body: Mapping[str, Any]) -> bytes:
    """The output line of a request that has its answer; ``request`` is the request's id."""
    return _written(batch, line, {"status_code": 200, "request_id": request, "body": body}, None)


def failed(batch: str, line: Line, error: ApiError, shape: Shape) -> bytes:
    """The output line of a request that was answered with an error."""
    request = error.job or f"{batch}:{line.number}"
    response = {"status_code": error.status, "request_id": request, "body": error.body(shape, request)}
    return _written(batch, line, response, None)


def not_asked(batch: str, line: Line, said: Said) -> bytes:
    """The output line of a request that came to nothing."""
    return _written(batch, line, None, {"code": f"batch_{said}", "message": NOT_ASKED[said]})


def _written(batch: str, line: Line, response: Any, error: Any) -> bytes:
    told = {
        "id": f"batch_req_{batch[6:]}_{line.number}",
        "custom_id": line.custom_id,
        "response": response,
        "error": error,
    }
    return to_json(told, inf_nan_mode="null") + b"\n"


@dataclass(frozen=True, slots=True)
class Label:
    """What is known of an output line without reading it; travels as its header."""

    said: Said
    size: int
    """Bytes, the line's end included."""
    digest: str = ""
    """Of a line that lies in ``parts`` pieces beside its message."""
    parts: int = 0

    @property
    def part(self) -> Part:
        """The file it belongs to."""
        return "output" if self.said == "output" else "errors"

    def __str__(self) -> str:
        return f"{self.said} {self.size} {self.digest} {self.parts}" if self.parts else f"{self.said} {self.size}"


def label_of(text: str) -> Label:
    """Read a label. Raises ValueError for what is none."""
    said, size, *rest = text.split(" ")
    if said not in {"output", "errors", *NOT_ASKED}:
        raise ValueError(text)
    return Label(said, int(size), rest[0], int(rest[1])) if rest else Label(said, int(size))


# -- the account


@dataclass(slots=True)
class Account:
    """Which of ``total`` lines have their output line, by the order in which those were stored."""

    total: int
    done: bytearray = field(init=False)
    counts: Counts = field(init=False, default_factory=Counts)
    last: Mark = field(init=False, default_factory=Mark)
    """How far the lines go, in the stream and in bytes."""
    _marks: list[Mark] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.done = bytearray(self.total)

    @property
    def left(self) -> int:
        """Lines without an output line."""
        return self.total - self.counts.completed - self.counts.failed

    def take(self, number: int, label: Label, seq: int) -> None:
        """An output line is stored. Told in order; each one once."""
        if not 0 <= number < self.total or self.done[number]:
            return
        self.done[number] = 1
        now, last = self.counts, self.last
        good = label.part == "output"
        self.counts = Counts(
            completed=now.completed + good,
            failed=now.failed + (not good),
            cancelled=now.cancelled + (label.said == "cancelled"),
            expired=now.expired + (label.said == "expired"),
        )
        self.last = Mark(
            seq=seq,
            output=last.output + (label.size if good else 0),
            errors=last.errors + (0 if good else label.size),
        )
        if (self.total - self.left) % (self.total // MARKS + 1) == 0:
            self._marks.append(self.last)

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Places along the way, evenly spread, the last of them now."""
        known = self._marks[-1].seq if self._marks else 0
        return (*self._marks, self.last) if self.last.seq > known else tuple(self._marks)
