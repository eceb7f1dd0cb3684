"""Anthropic's messages: the answer as a stream. After https://docs.anthropic.com/en/api/messages-streaming.

Clients expect blocks one after the other, each with its start, its deltas and its stop. A model's events may
interleave: what comes while the call of a tool is being told waits until the arguments of that call are a whole JSON
object, or for the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from gateway.bodies.anthropic_answer import cited, head, stop, usage
from gateway.bodies.anthropic_seals import sealed
from gateway.bodies.frames import Frame
from job_contracts.chat import Answer, Usage
from job_contracts.stream import Finished, ReasoningToken, Started, StreamEvent, Token, ToolCall

if TYPE_CHECKING:
    from gateway.bodies.anthropic import Request
    from gateway.bodies.failures import ApiError
    from job_contracts.results import Result

Piece = Token | ReasoningToken | ToolCall

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
"""The API's own sign of life."""

_TEXT, _REFUSAL, _THINKING = "text", "refusal", "thinking"


class Rendering:
    """A ``frames.Renderer`` for one message. ``call``: the request's id, told with an error."""

    def __init__(self, request: Request, call: str) -> None:
        self._request = request
        self._call = call
        self._id = ""
        self._begun = False
        self._blocks = 0
        self._open: str | int | None = None
        """Text, a refusal (which is text as well), thinking, or the number of the call whose block is open."""
        self._arguments: list[str] = []
        self._whole = False
        """Whether the arguments of the open call are all there, as far as can be seen."""
        self._held: list[Piece] = []
        self._called: set[int] = set()

    def begin(self, jobs: Sequence[str]) -> None:
        """See ``Renderer``: the message is named after its job."""
        self._id = f"msg_{jobs[0]}"

    def event(self, index: int, event: StreamEvent) -> list[Frame]:
        """See ``Renderer``."""
        match event:
            case Token() | ReasoningToken() | ToolCall():
                return self._take(event)
            case Started():
                return self._start(event.model)
            case Finished():
                return self._finish(event.result)
            case _:
                return []

    def end(self, results: tuple[Result, ...]) -> list[Frame]:
        """See ``Renderer``."""
        result = results[0]
        told = {"type": "message_delta", "delta": stop(self._request, result), "usage": usage(result.usage)}
        return [_frame(told), Frame(b'{"type":"message_stop"}', "message_stop")]

    def failed(self, error: ApiError) -> list[Frame]:
        """The API's way to fail within a stream: an ``error`` event, and no ``message_stop``."""
        return [_frame(error.body("anthropic", self._call))]

    # -- in which order

    def _take(self, piece: Piece) -> list[Frame]:
        if isinstance(self._open, int) and not self._goes_on(piece) and (self._held or not self._is_whole()):
            self._held.append(piece)
            return []
        frames = self._show(piece)
        if self._held and self._is_whole():
            held, self._held = self._held, []
            for one in held:
                frames += self._take(one)
        return frames

    def _goes_on(self, piece: Piece) -> bool:
        return isinstance(piece, ToolCall) and piece.index == self._open

    def _is_whole(self) -> bool:
        """Parsed at most once for each piece that may have been the last."""
        if not self._whole and self._arguments and self._arguments[-1].rstrip().endswith("}"):
            self._arguments = ["".join(self._arguments)]
            self._whole = _is_object(self._arguments[0])
        return self._whole

    def _finish(self, result: Result) -> list[Frame]:
        """Everything that was held, call by call, and what has no event of its own."""
        frames = self._start(result.model or "")
        while self._held:
            first = self._held.pop(0)
            frames += self._show(first)
            if isinstance(first, ToolCall):
                mine = [one for one in self._held if self._goes_on(one)]
                self._held = [one for one in self._held if not self._goes_on(one)]
                for one in mine:
                    frames += self._show(one)
        answer = result.answer or Answer()
        if self._open == _TEXT:
            for citation in cited(answer.citations, answer.text) or ():
                frames.append(self._delta({"type": "citations_delta", "citation": citation}))
        return frames + self._close()

    # -- frames

    def _start(self, model: str) -> list[Frame]:
        if self._begun:
            return []
        self._begun = True
        begun = {
            **head(self._id, model or self._request.asked.model),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            # What was used is known at the end, and told there: clients that add the two up get it right as well.
            "usage": usage(Usage()),
        }
        return [_frame({"type": "message_start", "message": begun})]

    def _show(self, piece: Piece) -> list[Frame]:
        if isinstance(piece, Token):
            if not piece.text:
                return []
            frames = self._block(_REFUSAL if piece.refusal else _TEXT, {"type": "text", "text": ""})
            frames.append(self._piece(b'{"type":"text_delta","text":%b}' % to_json(piece.text)))
            return frames
        if isinstance(piece, ReasoningToken):
            return self._reason(piece)
        if piece.index in self._called and piece.index != self._open:
            return []  # its arguments are a whole object, and told: only blanks can follow
        self._called.add(piece.index)
        block = {"type": "tool_use", "id": piece.id or "", "name": piece.name or "", "input": {}}
        frames = self._block(piece.index, block)
        if piece.arguments:
            self._arguments.append(piece.arguments)
            frames.append(self._piece(b'{"type":"input_json_delta","partial_json":%b}' % to_json(piece.arguments)))
        return frames

    def _reason(self, piece: ReasoningToken) -> list[Frame]:
        thinking = self._request.thinking
        if thinking == "hidden":
            return []
        if data := sealed(piece.redacted, piece.origin):
            frames = self._close() + self._block(_THINKING, {"type": "redacted_thinking", "data": data})
            return frames + self._close()
        shown, signature = piece.text if thinking == "shown" else "", sealed(piece.signature, piece.origin)
        if not shown and not signature:
            return []
        frames = self._block(_THINKING, {"type": "thinking", "thinking": "", "signature": ""})
        if shown:
            frames.append(self._piece(b'{"type":"thinking_delta","thinking":%b}' % to_json(shown)))
        if signature:
            frames.append(self._delta({"type": "signature_delta", "signature": signature}))
            frames += self._close()
        return frames

    def _block(self, kind: str | int, block: dict[str, Any]) -> list[Frame]:
        """Begin the block, unless one of this kind is open: then it goes on."""
        if self._open == kind:
            return []
        frames = [*self._start(""), *self._close()]
        self._open, self._arguments, self._whole = kind, [], False
        frames.append(_frame({"type": "content_block_start", "index": self._blocks, "content_block": block}))
        return frames

    def _close(self) -> list[Frame]:
        if self._open is None:
            return []
        self._open = None
        self._blocks += 1
        return [Frame(b'{"type":"content_block_stop","index":%d}' % (self._blocks - 1), "content_block_stop")]

    def _delta(self, delta: dict[str, Any]) -> Frame:
        return self._piece(to_json(delta))

    def _piece(self, delta: bytes) -> Frame:
        return Frame(
            b'{"type":"content_block_delta","index":%d,"delta":%b}' % (self._blocks, delta), "content_block_delta"
        )


def _frame(event: dict[str, Any]) -> Frame:
    return Frame(to_json(event), event["type"])


def _is_object(text: str) -> bool:
    try:
        return isinstance(from_json(text), dict)
    except ValueError:
        return False
