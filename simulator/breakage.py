"""What a fault does to an answer that is being sent: from the table's row to the bytes (pure)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from simulator.conversation import Answer, Ask, Refusal, Script, Stamp
from simulator.dialects import Dialect
from simulator.faults import Fault
from simulator.meter import Usage
from simulator.playback import UNBROKEN, Break
from simulator.wire import chunk

MEGABYTE = 1_000_000

MISSES: Mapping[str, Callable[[list[str]], list[str]]] = {
    "off_schema": lambda pieces: ['["no', "t wh", "at w", "as a", 'sked"', "]"] if pieces else [],
    "fenced": lambda pieces: ["Here", " it", " is", ":\n\n", "```json\n", *pieces, "\n```", "\n"] if pieces else [],
}
"""By fault: what becomes of the tokens of an answer that was to be JSON."""

_BAD_CHUNK = b"zz\r\nthis is no chunk\r\n"


@dataclass(frozen=True, slots=True)
class Breakage:
    """The changes to one answer.

    ``end``: where and how it breaks. ``ttft``: the first token no sooner than this, seconds. ``content_type``: instead
    of the right one. ``chunked``: announce no length. ``closing``, ``terminator``: whether a stream has them.
    ``instead``: another body; ``spoilt_at``: the fraction of a body after which it turns into garbage. ``spoils``:
    whether the answer is worth nothing to the client.
    """

    end: Break = UNBROKEN
    ttft: float = 0.0
    content_type: bytes = b""
    chunked: bool = False
    closing: bool = True
    terminator: bool = True
    instead: bytes | None = None
    spoilt_at: float | None = None
    spoils: bool = True

    def script(self, script: Script) -> Script:
        """A stream, changed."""
        if self.closing and self.terminator:
            return script
        return Script(script.opening, script.content, script.closing if self.closing else b"", b"")

    def body(self, body: bytes) -> bytes:
        """A body that is not streamed, changed."""
        if self.instead is not None:
            return self.instead
        if self.spoilt_at is not None:
            return body[: round(len(body) * self.spoilt_at)] + b'{"'
        return body


INTACT = Breakage(spoils=False)


def breakage(fault: Fault, ask: Ask, usage: Usage, dialect: Dialect, stamp: Stamp) -> Breakage:
    """What a fault of the families ``within`` and ``ending`` does to an answer."""
    at = fault.amount
    match fault.kind:
        case "slow":
            return Breakage(ttft=at, spoils=False)
        case "stall":
            return Breakage(Break(at, "stalled"))
        case "cut":
            return Breakage(Break(at, "cut"))
        case "reset_within":
            return Breakage(Break(at, "reset"))
        case "bad_framing":
            return Breakage(Break(at, "cut", _BAD_CHUNK), chunked=True)
        case "error_within":
            return _error_within(at, ask, dialect, stamp)
        case "malformed_chunk" | "malformed_json":
            if ask.stream:
                return Breakage(Break(at, "whole", chunk(dialect.broken_event(ask))))
            return Breakage(spoilt_at=at)
        case "gigantic_line":
            return _gigantic(int(at * MEGABYTE), ask, usage, dialect, stamp)
        case "no_terminator":
            return Breakage(closing=False, terminator=False, spoilt_at=None if ask.stream else 0.9)
        case "no_done":
            return Breakage(terminator=False, spoils=False)
        case "wrong_content_type":
            return Breakage(content_type=b"application/octet-stream")
        case _:
            return INTACT


def _error_within(at: float, ask: Ask, dialect: Dialect, stamp: Stamp) -> Breakage:
    """The provider says that it is overloaded after it has said 200."""
    refusal = Refusal("overloaded", model=ask.model.base)
    if ask.stream:
        return Breakage(Break(at, "unfinished", chunk(dialect.error_event(ask, refusal, stamp))))
    return Breakage(instead=dialect.error(refusal, stamp, None).body)


def _gigantic(size: int, ask: Ask, usage: Usage, dialect: Dialect, stamp: Stamp) -> Breakage:
    if ask.stream:
        return Breakage(Break(0.5, "whole", chunk(dialect.giant_event(ask, stamp, size))))
    return Breakage(instead=dialect.whole(ask, Answer(pieces=["x" * size]), usage, stamp))
