"""A proxy that makes a program of today one of version 1.0: between it and the broker stands what 1.0 knew.

What the program writes loses every field that the 1.0 schema does not have, and says version 1.0. What it reads is
read first as 1.0 would: if that fails it is noted in ``refused``; what 1.0 does not know is taken out.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from job_contracts import subjects
from runtime.broker import Broker
from tests.support.proxy import FaultProxy
from tests.support.schemas import read

VERSION = "1.0"
_ASKED: Mapping[str, tuple[str | None, str | None]] = {
    "status": ("ask_jobs", "statuses"),
    "results": ("ask_jobs", "results"),
    "chunks": ("ask_chunks", "chunks"),
    "blob": ("ask_blob", None),
    "hello": (None, "hello"),
}
"""Question and answer of each operation of the desk in 1.0."""
UNKNOWN = (None, None)
_BY_PREFIX = (
    (f"{subjects.PUBLIC}.submit.", "job"),
    (f"{subjects.PREFIX}.q.", "job"),
    (f"{subjects.PUBLIC}.cancel.", "cancel"),
    (f"{subjects.PREFIX}.work.", "assignment"),
    (f"{subjects.PREFIX}.lease.", "lease"),
    (f"{subjects.PREFIX}.res.", "result"),
    (f"{subjects.PREFIX}.out.", "outcome"),
    (f"{subjects.PREFIX}.tok.", "chunk"),
    (f"{subjects.PREFIX}.usage.", "facts"),
    (f"{subjects.PREFIX}.dead.", "dead_letter"),
    (f"{subjects.PREFIX}.beat.", "heartbeat"),
    (f"{subjects.PREFIX}.abort.", "abort"),
)
_HEADERS = {subjects.H_TICKET.lower(): "ticket", subjects.H_SETTLEMENT.lower(): "settlement"}
REPLY_KINDS = 100_000


class OlderPeer(FaultProxy):
    """``async with OlderPeer(broker) as peer:`` and let the program connect to ``peer.url``."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.refused: list[str] = []
        """What a program of version 1.0 could not have read."""
        self.dropped: set[str] = set()
        """Fields of a newer version that were written to it or by it."""
        self.messages: dict[str, int] = {}
        """How many messages of each kind went through."""
        self._answers: dict[str, str] = {}
        self.change_up = lambda frame: self._changed(frame, up=True)
        self.change_down = lambda frame: self._changed(frame, up=False)

    def _changed(self, frame: bytes, *, up: bool) -> bytes:
        line, _, rest = frame.partition(b"\r\n")
        words = line.decode().split(" ")
        verb = words[0].upper()
        if verb not in {"PUB", "HPUB", "MSG", "HMSG"}:
            return frame
        sized = 2 if verb.startswith("H") else 1
        names = words[1:-sized]
        subject, reply = names[0], (names[-1] if len(names) > (1 if up else 2) else "")
        length = int(words[-2]) if sized == 2 else 0
        headers, payload = rest[:length], rest[length:-2]
        kind = self._kind(subject, headers, reply)
        headers = self._in_headers(headers, up=up)
        payload = self._message(kind, payload, up=up) if kind != "stored" else self._in_answer(payload, up=up)
        sizes = [len(headers), len(headers) + len(payload)] if sized == 2 else [len(payload)]
        return b"".join((" ".join([words[0], *names, *map(str, sizes)]).encode(), b"\r\n", headers, payload, b"\r\n"))

    def _kind(self, subject: str, headers: bytes, reply: str) -> str | None:
        """What the payload is, by its subject, by what was asked on that reply, or by where it was stored."""
        self._expect(subject, reply)
        if subject in self._answers:
            return self._answers.pop(subject)
        for line in headers.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"nats-subject":
                subject = value.strip().decode()
        return kind_of(subject)

    def _expect(self, subject: str, reply: str) -> None:
        answer: str | None = None
        if subject.startswith(f"{subjects.PREFIX}.beat."):
            answer = "heartbeat_reply"
        elif subject.startswith(f"{subjects.PUBLIC}.api."):
            answer = _ASKED.get(subject.rpartition(".")[2], UNKNOWN)[1]
        elif subject.startswith("$JS.API.STREAM.MSG.GET."):
            answer = "stored"
        if reply and answer:
            self._answers[reply] = answer
            if len(self._answers) > REPLY_KINDS:
                self._answers.pop(next(iter(self._answers)))

    def _message(self, kind: str | None, payload: bytes, *, up: bool) -> bytes:
        if kind is None or not payload:
            return payload
        try:
            value = json.loads(payload)
        except ValueError:
            return payload  # a job with a body that is none, an empty mark: for whoever reads it
        if "refused" in value:
            kind = "refusal"
        self.messages[kind] = self.messages.get(kind, 0) + 1
        seen = read(kind, value)
        if seen.problems:
            self.refused.append(f"{'written' if up else 'read'}: {kind}: {seen.problems[:3]}")
            return payload
        self._note(kind, value, seen.value)
        if kind == "assignment" and "job" in value:
            seen.value["job"] = value["job"]  # a leader of any version hands the body on byte for byte
        if "version" in seen.value:
            seen.value["version"] = VERSION
        return json.dumps(seen.value, separators=(",", ":"), ensure_ascii=False).encode()

    def _note(self, at: str, value: Any, kept: Any) -> None:
        if isinstance(value, dict) and isinstance(kept, dict):
            for name, member in value.items():
                if name in kept:
                    self._note(f"{at}.{name}", member, kept[name])
                else:
                    self.dropped.add(f"{at}.{name}")
        elif isinstance(value, list):
            for member, other in zip(value, kept, strict=True):
                self._note(f"{at}[]", member, other)

    def _in_headers(self, headers: bytes, *, up: bool) -> bytes:
        return _each_header(headers, lambda kind, value: self._message(kind, value, up=up))

    def _in_answer(self, payload: bytes, *, up: bool) -> bytes:
        """A stored message inside the broker's own answer."""
        answer = json.loads(payload)
        stored = answer.get("message")
        if stored is None:
            return payload
        if "data" in stored:
            data = self._message(kind_of(stored["subject"]), base64.b64decode(stored["data"]), up=up)
            stored["data"] = base64.b64encode(data).decode()
        if "hdrs" in stored:
            stored["hdrs"] = base64.b64encode(self._in_headers(base64.b64decode(stored["hdrs"]), up=up)).decode()
        return json.dumps(answer, separators=(",", ":")).encode()


def kind_of(subject: str) -> str | None:
    """The message that a subject carries."""
    if subject.startswith(f"{subjects.PUBLIC}.live."):
        return {"res": "result", "tok": "chunk"}.get(subject.rpartition(".")[2])
    if subject.startswith(f"{subjects.PUBLIC}.api."):
        return _ASKED.get(subject.rpartition(".")[2], UNKNOWN)[0]
    return next((kind for prefix, kind in _BY_PREFIX if subject.startswith(prefix)), None)


def _each_header(headers: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    lines = []
    for line in headers.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        kind = _HEADERS.get(name.strip().decode("latin-1").lower()) if colon else None
        lines.append(name + b": " + change(kind, value.strip()) if kind else line)
    return b"\r\n".join(lines)
