"""OpenAI's batch API: a file of requests, a batch over it, a file of answers and one of errors.

https://developers.openai.com/api/docs/guides/batch. All requests of a batch go to one endpoint and one model. The batch
carries our key in its metadata, and so does the file in its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from workers.dialects.batches.port import Answered, Call, End, Listed, Sheet, object_of, page_of, problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["OpenAIBatches"]

KEY = "penstock"
"""Name of our key in the metadata."""
ROOT = "/v1"
"""With this the API's paths begin inside a batch, whatever the base URL."""
PAGE = 100
_JSON = {"content-type": "application/json"}
_ENDS: dict[str, End] = {
    "completed": "completed",
    "expired": "expired",
    "cancelled": "cancelled",
    "failed": "failed",
}
_STATUSES = {"batch_expired": 503, "batch_cancelled": 503, "rate_limit_exceeded": 429, "token_limit_exceeded": 429}
_BROKEN = 502


class OpenAIBatches:
    """The batch API ``openai``."""

    name = "openai"
    keyed = True

    def line(self, custom_id: str, path: str, body: bytes) -> bytes:
        head = to_json({"custom_id": custom_id, "method": "POST", "url": ROOT + path})
        return b'%b,"body":%b}' % (head[:-1], body)

    def upload(self, key: str, lines: Sequence[bytes]) -> Call | None:
        edge = f"penstock-{key}"
        head = (
            f'--{edge}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{edge}\r\ncontent-disposition: form-data; name="file"; filename="{edge}.jsonl"\r\n'
            f"content-type: application/jsonl\r\n\r\n"
        )
        body = b"".join((head.encode(), b"\n".join(lines), b"\n", f"\r\n--{edge}--\r\n".encode()))
        return Call("POST", "/files", body, {"content-type": f"multipart/form-data; boundary={edge}"})

    def uploaded(self, body: bytes) -> str | None:
        return _text(object_of(body) or {}, "id") or None

    def create(self, key: str, path: str, lines: Sequence[bytes], upload: str) -> Call:
        asked = {
            "input_file_id": upload,
            "endpoint": ROOT + path,
            "completion_window": "24h",
            "metadata": {KEY: key},
        }
        return Call("POST", "/batches", to_json(asked), _JSON)

    def look(self, batch: str) -> Call:
        return Call("GET", f"/batches/{batch}")

    def cancel(self, batch: str) -> Call:
        return Call("POST", f"/batches/{batch}/cancel", b"", _JSON)

    def sheet(self, body: bytes) -> Sheet | None:
        said = object_of(body)
        return None if said is None else _sheet(said)

    def listing(self, after: str | None) -> Call:
        return Call("GET", f"/batches?limit={PAGE}" + (f"&after={after}" if after else ""))

    def listed(self, body: bytes) -> Listed | None:
        return page_of(body, _sheet)

    def answered(self, line: bytes) -> Answered | None:
        said = object_of(line)
        custom_id = _text(said or {}, "custom_id")
        if said is None or not custom_id:
            return None
        response, error = _table(said, "response"), _table(said, "error")
        status = response.get("status_code")
        if isinstance(status, int) and 200 <= status <= 599 and "body" in response:  # 0 has been seen
            return Answered(custom_id, status, to_json(response["body"]))
        code = _text(error, "code") or "batch_error"
        return problem(custom_id, _STATUSES.get(code, _BROKEN), code, _text(error, "message") or code)


def _sheet(said: Mapping[str, Any]) -> Sheet | None:
    if not _text(said, "id") or not _text(said, "status"):
        return None
    end: End = _ENDS.get(_text(said, "status"), "")
    errors = [one for one in _list(_table(said, "errors"), "data") if isinstance(one, dict)]
    first = errors[0] if errors else {}
    files = (_text(said, "output_file_id"), _text(said, "error_file_id"))
    counts, created = _table(said, "request_counts").get("total"), said.get("created_at")
    return Sheet(
        id=_text(said, "id"),
        end=end,
        key=_text(_table(said, "metadata"), KEY),
        size=counts if isinstance(counts, int) else None,
        created=float(created) if isinstance(created, int | float) else 0.0,
        results=tuple(f"/files/{file}/content" for file in files if file) if end else (),
        wrong_lines={  # they count from 1
            one["line"] - 1: _text(one, "message") for one in errors if isinstance(one.get("line"), int)
        },
        code=_text(first, "code"),
        words=_text(first, "message"),
    )


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    return value if isinstance(value, str) else ""


def _table(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = said.get(name)
    return value if isinstance(value, dict) else {}


def _list(said: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = said.get(name)
    return value if isinstance(value, list) else ()
