"""Batch APIs of OpenAI and Anthropic: many requests now, their answers later; each is answered as if it came alone.

    POST …/files                     a file of requests, as multipart form data      GET …/files/{id}/content
    POST …/batches                   a batch over a file (OpenAI)                     GET …/batches[/{id}]
    POST …/messages/batches          a batch with its requests (Anthropic)            GET …[/{id}[/results]]
    POST …/{id}/cancel               stop it: what is not answered is not asked any more

How long a batch takes, and how much of it expires, is set by ``ProviderSettings.batches``; single requests fail by the
same faults as ever. Requests of a batch are in log and meter like others, at the full price.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import parse_qs

from pydantic_core import from_json, to_json

from simulator.connection import Connection, Exchange
from simulator.settings import BatchPace
from simulator.wire import JSON, Request, whole

JSONL = b"application/jsonl"
PAGE = 100


@dataclass(slots=True)
class _Line:
    custom_id: str
    path: str
    body: bytes
    status: int = 0
    said: Any = None
    asked: bool = False
    expires: bool = False


@dataclass(slots=True)
class Batch:
    """One batch, and how far it is."""

    id: str
    created: float
    lines: list[_Line]
    headers: dict[bytes, bytes]
    metadata: dict[str, str] = field(default_factory=dict)
    endpoint: str = ""
    cancelled: bool = False
    full: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing of it is still to be answered."""
        return self.full or all(
            line.status or line.expires or (self.cancelled and not line.asked) for line in self.lines
        )


class _Pipe:
    """Takes an answer in a connection's place."""

    def __init__(self, done: Callable[[bytes], None]) -> None:
        self._done, self._parts = done, bytearray()

    def write(self, data: bytes) -> None:
        self._parts += data

    def next_request(self) -> None:
        self._done(bytes(self._parts))

    def close(self) -> None:
        self._done(b"")

    reset = close

    async def drain(self) -> None:
        pass


class Batches:
    """The batches of one provider. ``handle`` answers a single request; ``pace`` says how long batches take now."""

    def __init__(
        self, handle: Callable[[Request, Exchange], None], pace: Callable[[], BatchPace], wall: Callable[[], float]
    ) -> None:
        self._handle, self._pace, self._wall = handle, pace, wall
        self._files: dict[str, bytes] = {}
        self.made: dict[str, Batch] = {}

    def answer(self, request: Request) -> bytes | None:
        """The whole response, ``None`` if the request is about something else."""
        path = request.path
        if "/messages/batches" in path:
            return self._anthropic(request, path.partition("/messages/batches")[2].strip("/"))
        if path.endswith("/files") and request.method == "POST":
            return self._upload(request.body)
        if "/files/" in path and path.endswith("/content"):
            return self._content(path.split("/")[-2])
        if path.endswith("/batches") or "/batches/" in path:
            return self._openai(request, path.partition("/batches")[2].strip("/"))
        return None

    # OpenAI

    def _upload(self, body: bytes) -> bytes:
        edge, _, rest = body.partition(b"\r\n")
        part = rest.partition(b'name="file"')[2].partition(b"\r\n\r\n")[2]
        name = f"file-{len(self._files) + 1}"
        self._files[name] = part.rpartition(b"\r\n" + edge)[0]
        return _ok({"id": name, "object": "file", "bytes": len(self._files[name]), "purpose": "batch"})

    def _content(self, name: str) -> bytes:
        kind, _, batch = name.partition("-")
        one = self.made.get(batch)
        if one is None:
            return _missing(name)
        good = kind == "output"
        lines = [
            _openai_line(line) for line in one.lines if (line.status == 200) is good and (line.status or line.expires)
        ]
        return whole(200, JSONL, b"\n".join(lines))

    def _openai(self, request: Request, rest: str) -> bytes:
        name, _, verb = rest.partition("/")
        if not name and request.method == "POST":
            asked = from_json(request.body)
            lines = [from_json(line) for line in self._files[asked["input_file_id"]].splitlines() if line.strip()]
            found = [_Line(line["custom_id"], line["url"], to_json(line["body"])) for line in lines]
            batch = self._make(f"batch_{len(self.made) + 1}", found, request)
            batch.metadata, batch.endpoint = asked.get("metadata") or {}, asked["endpoint"]
            return _ok(_openai_sheet(batch))
        if not name:
            return _ok(_page([_openai_sheet(one) for one in self.made.values()], request, "after"))
        one = self._now(name)
        if one is None:
            return _missing(name)
        one.cancelled = one.cancelled or verb == "cancel"
        return _ok(_openai_sheet(one))

    # Anthropic

    def _anthropic(self, request: Request, rest: str) -> bytes:
        name, _, verb = rest.partition("/")
        if not name and request.method == "POST":
            asked = from_json(request.body)["requests"]
            path = request.path.removesuffix("/batches")
            lines = [_Line(one["custom_id"], path, to_json(one["params"])) for one in asked]
            return _ok(_anthropic_sheet(self._make(f"msgbatch_{len(self.made) + 1}", lines, request)))
        if not name:
            return _ok(_page([_anthropic_sheet(one) for one in self.made.values()], request, "after_id"))
        one = self._now(name)
        if one is None:
            return _missing(name)
        one.cancelled = one.cancelled or verb == "cancel"
        if verb == "results":
            return whole(200, JSONL, b"\n".join(_anthropic_line(line) for line in one.lines))
        return _ok(_anthropic_sheet(one))

    # Both

    def _make(self, name: str, lines: list[_Line], request: Request) -> Batch:
        pace = self._pace()
        expiring = int(len(lines) * pace.expiring)
        for line in lines[len(lines) - expiring :]:
            line.expires = True
        queued = sum(len(one.lines) for one in self.made.values() if not one.over)
        batch = self.made[name] = Batch(name, self._wall(), lines, dict(request.headers))
        batch.full = pace.queued is not None and queued + len(lines) > pace.queued
        return batch

    def _now(self, name: str) -> Batch | None:
        """A batch; its requests are asked when its time has come."""
        one = self.made.get(name)
        stands = one is None or one.cancelled or one.full
        if one is not None and not stands and self._wall() - one.created >= self._pace().seconds:
            for line in one.lines:
                if not line.asked and not line.expires:
                    line.asked = True
                    self._ask(one, line)
        return one

    def _ask(self, batch: Batch, line: _Line) -> None:
        def done(answer: bytes) -> None:
            head, _, body = answer.partition(b"\r\n\r\n")
            line.status = int(head[9:12]) if head else 500
            try:
                line.said = from_json(body)
            except ValueError:
                line.said = {"error": {"type": "api_error", "message": "no answer"}}

        headers = {name: value for name, value in batch.headers.items() if not name.startswith(b"content-")}
        self._handle(Request("POST", line.path, "", headers, line.body), Exchange(cast("Connection", _Pipe(done))))


def _openai_line(line: _Line) -> bytes:
    if not line.status:
        error = {"code": "batch_expired", "message": "This request could not be executed before the completion window."}
        return to_json({"id": "batch_req", "custom_id": line.custom_id, "response": None, "error": error})
    response = {"status_code": line.status, "request_id": line.custom_id, "body": line.said}
    return to_json({"id": "batch_req", "custom_id": line.custom_id, "response": response, "error": None})


def _openai_sheet(one: Batch) -> dict[str, Any]:
    expired = any(line.expires for line in one.lines)
    status = "cancelled" if one.cancelled else "expired" if expired else "completed"
    errors = {"data": [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached.", "line": None}]}
    return {
        "id": one.id,
        "object": "batch",
        "endpoint": one.endpoint,
        "status": "failed" if one.full else status if one.over else "in_progress",
        "errors": errors if one.full else None,
        "metadata": one.metadata,
        "created_at": int(one.created),
        "request_counts": {"total": len(one.lines)},
        "output_file_id": f"output-{one.id}" if one.over and not one.full else None,
        "error_file_id": f"error-{one.id}" if one.over and not one.full else None,
    }


def _anthropic_line(line: _Line) -> bytes:
    result: dict[str, Any] = {"type": "expired" if line.expires else "canceled"}
    if line.status == 200:
        result = {"type": "succeeded", "message": line.said}
    elif line.status:
        result = {"type": "errored", "error": line.said}
    return to_json({"custom_id": line.custom_id, "result": result})


def _anthropic_sheet(one: Batch) -> dict[str, Any]:
    waiting = 0 if one.over else len(one.lines)
    return {
        "id": one.id,
        "type": "message_batch",
        "processing_status": "ended" if one.over else "canceling" if one.cancelled else "in_progress",
        "created_at": datetime.fromtimestamp(one.created, UTC).isoformat(),
        "request_counts": {"processing": waiting, "succeeded": len(one.lines) - waiting, "errored": 0},
        "results_url": None,
    }


def _page(sheets: list[dict[str, Any]], request: Request, cursor: str) -> dict[str, Any]:
    newest = sheets[::-1]
    after = parse_qs(request.query).get(cursor, [""])[0]
    start = next((place + 1 for place, one in enumerate(newest) if one["id"] == after), 0)
    return {"object": "list", "data": newest[start : start + PAGE], "has_more": len(newest) > start + PAGE}


def _ok(body: dict[str, Any]) -> bytes:
    return whole(200, JSON, to_json(body))


def _missing(name: str) -> bytes:
    said = {"type": "error", "error": {"type": "not_found_error", "message": f"No such object: {name}"}}
    return whole(404, JSON, to_json(said))
