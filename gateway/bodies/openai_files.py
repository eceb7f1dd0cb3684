"""OpenAI files: what is known of one, what an upload says of itself, which part of a content is asked for.

After the OpenAI API reference, ``/v1/files``; byte ranges after RFC 9110, section 14.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.bodies.failures import ApiError, Failed, invalid
from gateway.bodies.kinds import whole
from gateway.bodies.schemas import COUNT, MOMENT, TEXT, Fields, one_of, shown, taken
from gateway.bodies.schemas import page as pages

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
"""What an upload may be for, as the API has it; only ``batch`` means something here."""
SHORTEST, LONGEST = 3_600, 2_592_000
"""Seconds after which a file may expire: an hour to 30 days, as the API has it."""
PAGE, MOST = 20, 10_000
"""Entries of a list where nothing is said, and at most."""

_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})")
_FILE = re.compile(r"file-[A-Za-z0-9_]{1,40}")

Part = Literal["output", "errors"]
"""Which lines of a batch a file holds: the answered ones, or all others."""


class FileHead(BaseModel):
    """What is stored of a file beside its content; while it is there, there is such a file."""

    model_config = ConfigDict(frozen=True)

    id: str
    bytes: int = 0
    chunk: Annotated[int, Field(gt=0)]
    """Bytes of each chunk of the content but the last."""
    created_at: float
    """UTC seconds."""
    expires_at: float | None = None
    filename: str
    purpose: str
    batch: str | None = None
    """The batch whose lines it holds."""
    part: Part = "output"
    live: bool = False
    """The batch goes on: the lines are still in its own stream."""
    dropped: bool = False
    """No file: a mark that this upload was given up and can never be completed."""

    @property
    def chunks(self) -> int:
        """How many there are."""
        return -(-self.bytes // self.chunk)


def rendered(head: FileHead, *, size: int | None = None) -> dict[str, Any]:
    """A ``file`` object; ``size`` is that of a content that still grows."""
    return {
        "id": head.id,
        "object": "file",
        "bytes": head.bytes if size is None else size,
        "created_at": int(head.created_at),
        "expires_at": None if head.expires_at is None else int(head.expires_at),
        "filename": head.filename,
        "purpose": head.purpose,
        "status": "processed",
        "status_details": None,
    }


def file_id(value: str) -> str:
    """``value`` if it can be a file's id. Raises ``Failed`` with 404 otherwise, as for one that is not there."""
    if _FILE.fullmatch(value) is None:
        raise no_file(value)
    return value


def no_file(name: str) -> Failed:
    """What is raised for a file that is not there, or not this project's."""
    return Failed(ApiError(404, "not_found", f"No such File object: {name[:80]}", param="id"))


# -- uploads


class Form(BaseModel):
    """The fields of an upload beside its content."""

    model_config = ConfigDict(frozen=True)

    purpose: str
    filename: str
    expires_after: int | None = None
    """Seconds from the moment the file is there."""


def form(fields: Mapping[str, str], filename: str | None) -> Form:
    """Read an upload's fields. Raises ``Failed`` with 400 naming the field."""
    for name in fields:
        if name not in {"purpose", "expires_after[anchor]", "expires_after[seconds]"}:
            raise invalid(f"{name[:60]}: there is no such field", param=name[:60], code="unknown_parameter")
    if filename is None:
        raise invalid("file: it is missing", param="file", remedy="send the content as the form's part `file`")
    purpose = fields.get("purpose")
    if purpose not in PURPOSES:
        found = "it is missing" if purpose is None else f"{purpose!r} is none"
        raise invalid(f"purpose: {found}", param="purpose", remedy=f"use one of: {', '.join(PURPOSES)}")
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    after = None
    if anchor is not None or seconds is not None:
        number = int(seconds) if seconds is not None and re.fullmatch(r"[0-9]{1,9}", seconds) else seconds
        after = expires_after({"anchor": anchor, "seconds": number}, "expires_after")
    return Form(purpose=purpose, filename=filename, expires_after=after)


def expires_after(value: Any, where: str) -> int | None:
    """Seconds out of ``{"anchor": "created_at", "seconds": …}``; ``None`` for none. Raises ``Failed`` with 400."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise invalid(f"{where}: expected an object", param=where)
    if value.get("anchor") != "created_at":
        raise invalid(f"{where}.anchor: expected created_at", param=f"{where}.anchor")
    seconds = whole(value.get("seconds"))
    if seconds is None or not SHORTEST <= seconds <= LONGEST:
        remedy = f"give {SHORTEST} to {LONGEST} seconds"
        raise invalid(
            f"{where}.seconds: {value.get('seconds')!r} is not possible", param=f"{where}.seconds", remedy=remedy
        )
    return seconds


# -- lists


class Page(BaseModel):
    """Which part of a list is asked for."""

    model_config = ConfigDict(frozen=True)

    limit: int = PAGE
    after: str | None = None
    newest_first: bool = True
    purpose: str | None = None


def page(query: Mapping[str, str], *, limit: int = PAGE, most: int = MOST) -> Page:
    """Read a list's parameters. Raises ``Failed`` with 400 naming the one that is wrong."""
    asked = query.get("limit", str(limit))
    if not re.fullmatch(r"[0-9]{1,6}", asked) or not 1 <= int(asked) <= most:
        raise invalid(f"limit: {asked[:20]!r} is not possible", param="limit", remedy=f"give 1 to {most}")
    order = query.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise invalid(f"order: {order[:20]!r} is none", param="order", remedy="use asc or desc")
    return Page(
        limit=int(asked), after=query.get("after"), newest_first=order == "desc", purpose=query.get("purpose") or None
    )


def cut(ids: Sequence[str], asked: Page) -> tuple[Sequence[str], bool]:
    """The part of ``ids`` (oldest first) that is asked for, and whether more follow. Raises ``Failed`` with 400."""
    ordered = list(reversed(ids)) if asked.newest_first else list(ids)
    start = 0
    if asked.after is not None:
        if asked.after not in ordered:
            raise invalid(f"after: {asked.after[:80]!r} is not in this list", param="after")
        start = ordered.index(asked.after) + 1
    return ordered[start : start + asked.limit], len(ordered) > start + asked.limit


def listed(objects: Iterable[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    """A ``list`` object."""
    data = list(objects)
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": more,
    }


# -- ranges


def span(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one behind the last of what a ``Range`` header asks for; ``None`` means the whole.

    Several ranges, and what cannot be read, are answered with the whole, as the RFC allows. Raises ``Failed`` with 416
    for a range behind the end.
    """
    found = _RANGE.fullmatch(header.strip()) if header else None
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), size if not last else min(size, int(last) + 1)
        if last and int(last) < start:
            return None
    if start >= size:
        headers = {"content-range": f"bytes */{size}"}
        message = f"there are {size} bytes, and the range begins at {start}"
        raise Failed(ApiError(416, "range_not_satisfiable", message, headers=headers))
    return start, stop


# -- for the document

_EXPIRY: Fields = {"type": "integer", "minimum": SHORTEST, "maximum": LONGEST}
UPLOAD: Fields = {
    "type": "object",
    "required": ["file", "purpose"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "purpose": one_of(PURPOSES),
        "expires_after[anchor]": {"const": "created_at"},
        "expires_after[seconds]": _EXPIRY,
    },
    "dependentRequired": {
        "expires_after[anchor]": ["expires_after[seconds]"],
        "expires_after[seconds]": ["expires_after[anchor]"],
    },
    "additionalProperties": False,
}
EXPIRES_AFTER: Fields = taken({"anchor": {"const": "created_at"}, "seconds": _EXPIRY}, {}, open=True)
FILE: Fields = shown(
    {
        "id": TEXT,
        "object": {"const": "file"},
        "bytes": COUNT,
        "created_at": MOMENT,
        "expires_at": {"type": ["integer", "null"]},
        "filename": TEXT,
        "purpose": TEXT,
        "status": {"const": "processed"},
    }
)
FILES: Fields = pages(FILE)
DELETED: Fields = shown({"id": TEXT, "object": {"const": "file"}, "deleted": {"const": True}})


def paging(most: int = MOST) -> Mapping[str, tuple[str, Fields]]:
    """Parameters of a list: what each says, and its JSON Schema."""
    return {
        "limit": (f"How many at most; {PAGE} if nothing is said.", {"type": "integer", "minimum": 1, "maximum": most}),
        "after": ("Those behind this id.", TEXT),
        "order": ("By the moment of making; desc if nothing is said.", one_of(("asc", "desc"))),
    }
