"""Anthropic's message batches: the requests in the call itself, the answers as lines, each told by its id.

https://docs.claude.com/en/api/creating-message-batches. A batch carries nothing of ours but the ids of its requests,
and those are seen only in its answers.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from workers.dialects.batches.port import Answered, Call, Listed, Sheet, object_of, page_of, problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["AnthropicBatches"]

PAGE = 100
_JSON = {"content-type": "application/json"}
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""https://docs.claude.com/en/api/errors: a line tells the type and not the status."""
_BROKEN = 502


class AnthropicBatches:
    """The batch API ``anthropic``."""

    name = "anthropic"
    keyed = False

    def line(self, custom_id: str, path: str, body: bytes) -> bytes:
        return b'{"custom_id":%b,"params":%b}' % (to_json(custom_id), body)

    def upload(self, key: str, lines: Sequence[bytes]) -> Call | None:
        return None

    def uploaded(self, body: bytes) -> str | None:
        return None

    def create(self, key: str, path: str, lines: Sequence[bytes], upload: str) -> Call:
        return Call("POST", f"{path}/batches", b'{"requests":[%b]}' % b",".join(lines), _JSON)

    def look(self, batch: str) -> Call:
        return Call("GET", f"/messages/batches/{batch}")

    def cancel(self, batch: str) -> Call:
        return Call("POST", f"/messages/batches/{batch}/cancel", b"", _JSON)

    def sheet(self, body: bytes) -> Sheet | None:
        said = object_of(body)
        return None if said is None else _sheet(said)

    def listing(self, after: str | None) -> Call:
        return Call("GET", f"/messages/batches?limit={PAGE}" + (f"&after_id={after}" if after else ""))

    def listed(self, body: bytes) -> Listed | None:
        return page_of(body, _sheet)

    def answered(self, line: bytes) -> Answered | None:
        said = object_of(line)
        if said is None or not isinstance(said.get("custom_id"), str) or not isinstance(said.get("result"), dict):
            return None
        custom_id, result = said["custom_id"], said["result"]
        kind = result.get("type")
        if kind == "succeeded" and isinstance(result.get("message"), dict):
            return Answered(custom_id, 200, to_json(result["message"]))
        if kind in {"expired", "canceled"}:
            return problem(custom_id, 503, f"batch_{kind}", f"the request was {kind} before the batch came to it")
        error = _error(result.get("error"))
        code, words = str(error.get("type", "batch_error")), str(error.get("message", ""))
        return problem(custom_id, _STATUSES.get(code, _BROKEN), code, words)


def _error(said: Any) -> Mapping[str, Any]:
    """The error itself; it stands in an answer's shape, one level down."""
    if not isinstance(said, dict):
        return {}
    inner = said.get("error")
    return inner if isinstance(inner, dict) else said


def _sheet(said: Mapping[str, Any]) -> Sheet | None:
    if not isinstance(said.get("id"), str) or not isinstance(said.get("processing_status"), str):
        return None
    ended = said["processing_status"] == "ended"
    counts = said.get("request_counts")
    numbers = [one for one in counts.values() if isinstance(one, int)] if isinstance(counts, dict) else None
    return Sheet(
        id=said["id"],
        end="completed" if ended else "",
        size=None if numbers is None else sum(numbers),
        created=_moment(said.get("created_at")),
        results=(f"/messages/batches/{said['id']}/results",) if ended else (),
    )


def _moment(said: Any) -> float:
    try:
        return datetime.fromisoformat(said).timestamp() if isinstance(said, str) else 0.0
    except ValueError:
        return 0.0
