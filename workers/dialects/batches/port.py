"""The seam to a provider's batch API: what is asked of it, and what it says, as values. Nothing here sends anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic_core import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Answered", "BatchApi", "Call", "End", "Listed", "Sheet", "object_of", "page_of", "problem"]

End = Literal["", "completed", "expired", "cancelled", "failed"]
"""How a batch ended; empty: it has not."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request of the batch API itself; ``path`` is below the provider's base URL."""

    method: Literal["GET", "POST"]
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of one request of a batch, as an answer to that request alone would have said it."""

    custom_id: str
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Sheet:
    """What the provider says of a batch."""

    id: str
    end: End = ""
    key: str = ""
    """The key it was made under, where the provider repeats it."""
    size: int | None = None
    """Requests in it, where the provider says so."""
    created: float = 0.0
    """UTC seconds; 0: not said."""
    results: tuple[str, ...] = ()
    """Paths at which the answers lie."""
    wrong_lines: Mapping[int, str] = field(default_factory=dict)
    """Lines (from 0) of the requests because of which the whole batch was turned away, and what is wrong with them."""
    code: str = ""
    """Why the whole batch was turned away, in the provider's own word."""
    words: str = ""
    """The same for people."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of the provider's list of batches, the newest first."""

    sheets: Sequence[Sheet]
    after: str | None = None
    """Where the next page begins, if there is one."""


class BatchApi(Protocol):
    """One provider's way. What cannot be read is ``None``: the caller asks again, or looks what there is."""

    name: str
    keyed: bool
    """Whether a batch can be told by its key before it has ended."""

    def line(self, custom_id: str, path: str, body: bytes) -> bytes:
        """One request as it stands in a batch; ``path`` and ``body`` are those of the request alone."""
        ...

    def upload(self, key: str, lines: Sequence[bytes]) -> Call | None:
        """What has to lie there first, ``None`` where the batch holds its requests itself."""
        ...

    def uploaded(self, body: bytes) -> str | None:
        """The name of what now lies there."""
        ...

    def create(self, key: str, path: str, lines: Sequence[bytes], upload: str) -> Call:
        """Make the batch, of requests to one ``path``."""
        ...

    def look(self, batch: str) -> Call:
        """Ask how it goes."""
        ...

    def cancel(self, batch: str) -> Call:
        """Stop it."""
        ...

    def sheet(self, body: bytes) -> Sheet | None:
        """What ``create`` or ``look`` was answered."""
        ...

    def listing(self, after: str | None) -> Call:
        """Ask for a page of the list of batches."""
        ...

    def listed(self, body: bytes) -> Listed | None:
        """What that was answered."""
        ...

    def answered(self, line: bytes) -> Answered | None:
        """One line of the answers."""
        ...


def object_of(body: bytes) -> dict[str, Any] | None:
    """A JSON object, or nothing."""
    try:
        value = from_json(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def page_of(body: bytes, sheet: Callable[[Mapping[str, Any]], Sheet | None]) -> Listed | None:
    """A page of batches in ``data``, the next one behind its last if it ``has_more``. ``sheet`` reads one of them."""
    said = object_of(body)
    if said is None or not isinstance(said.get("data"), list):
        return None
    sheets = [found for one in said["data"] if isinstance(one, dict) and (found := sheet(one)) is not None]
    return Listed(sheets, sheets[-1].id if said.get("has_more") is True and sheets else None)


def problem(custom_id: str, status: int, code: str, message: str) -> Answered:
    """An answer that describes an error, in the shape that every dialect reads."""
    said = {"type": "error", "error": {"type": code, "code": code, "message": message}}
    return Answered(custom_id, status, to_json(said))
