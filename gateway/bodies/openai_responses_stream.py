"""OpenAI's Responses API: the events of a stream.

After the API reference, ``Streaming events``. Each event has a number, from 0 and without a gap, and a client that was
cut off names the last it saw (``starting_after``). So the events are a function of *what is said*, not of how it came:
a text is told in pieces of a fixed length, wherever the provider's pieces ended, and items follow one another in the
order of the answer. Whoever renders the stream, while it comes or a day later from the job's record, gives the same
events the same numbers, and what was seen is left out by its number alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pydantic_core import from_json, to_json

from gateway.bodies.failures import ApiError
from gateway.bodies.frames import Frame
from gateway.bodies.joining import Diverged
from gateway.bodies.openai_responses_answer import (
    Fields,
    Run,
    annotation,
    content_part,
    ended,
    item,
    item_id,
    pending,
    runs,
)
from gateway.bodies.openai_responses_kept import ID, Kept
from job_contracts.chat import Answer
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from job_contracts.results import AttemptRecord, Result
from job_contracts.stream import Finished, Queued, ReasoningToken, Started, StreamEvent, Token, ToolCall

PIECE = 8
"""Characters of a piece; the first is one character, so that the reader sees at once that it begins."""
_DELTAS = {
    "message": ("response.output_text", "text"),
    "refusal": ("response.refusal", "refusal"),
    "reasoning": ("response.reasoning_summary_text", "text"),
    "function_call": ("response.function_call_arguments", "arguments"),
}
"""How the events of an item's pieces are called, and the field of ``….done`` that has the whole."""
_EVENTS = {"completed": "response.completed", "incomplete": "response.incomplete"}


@dataclass(slots=True)
class _Item:
    """An item on its way: ``run`` has what was told of it, ``rest`` what is still to be told."""

    run: Run
    rest: str = ""
    told: list[str] = field(default_factory=list)
    sent: int = 0
    begun: bool = False


class Rendering:
    """A ``frames.Renderer`` for one response. ``after``: the number of the last event that was seen."""

    def __init__(self, kept: Kept, *, at_once: bool, after: int = -1) -> None:
        """``at_once``: the response is there whatever becomes of it, so the stream begins before its job does."""
        self._kept = kept
        self._at_once = at_once
        self._after = after
        self._job = ""
        self._number = 0
        self._preamble = 0
        """Events before the first word: they are the same whichever attempt answers."""
        self._items: list[_Item] = []
        self._calls: dict[int, _Item] = {}
        self._at = 0
        """The item that is being told; those after it wait."""
        self._heard: set[int] = set()
        """Attempts of which something was heard."""
        self._over = False

    # -- see ``Renderer``

    def begin(self, jobs: Sequence[str]) -> None:
        """See ``Renderer``."""
        self._job = jobs[0]

    def event(self, index: int, event: StreamEvent) -> list[Frame]:
        """See ``Renderer``. Raises Diverged when the record says something else than the stream did."""
        match event:
            case Queued():
                return self._begun(working=False) if self._at_once else []
            case Started():
                return self._begun(working=True)
            case Token() | ReasoningToken() | ToolCall() if event.from_record:
                return []  # the record itself follows, and has it in the order of the answer
            case Token() | ReasoningToken() | ToolCall():
                self._hear(event)
                return [*self._begun(working=True), *self._tell(whole=False)]
            case Finished():
                return [*self._begun(working=True), *self._ended(event.result)]
            case _:
                return []

    def end(self, results: tuple[Result, ...]) -> list[Frame]:
        """See ``Renderer``."""
        if self._over:
            return []
        response = ended(self._kept, results[0])
        if self._number < self._after:
            message = f"there is no event {self._after} in this stream, which ends with {self._number}"
            return self._lost(message)
        return self._one({"type": _EVENTS[response["status"]], "response": response})

    def failed(self, error: ApiError) -> list[Frame]:
        """See ``Renderer``: what is wrong with the stream, not with the response. It takes no number of its own, but
        has that of the event before it: a client that names it goes on behind what it has really seen.
        """
        number = max(self._number - 1, self._after, 0)
        told = {"type": "error", "code": error.code, "message": str(error), "param": error.param}
        return [Frame(to_json({**told, "sequence_number": number}), "error", str(number))]

    def _ended(self, result: Result) -> list[Frame]:
        """What is left to tell; of a job that was cancelled or failed, what closes its stream."""
        if result.state is JobState.SUCCEEDED:
            return self._last_of(result)
        self._over = True
        self._number = max(self._number, self._after + 1)
        return self._one({"type": "response.failed", "response": ended(self._kept, result)})

    # -- the beginning

    def _begun(self, *, working: bool) -> list[Frame]:
        """The events before the first item, as far as they are due."""
        frames: list[Frame] = []
        if self._number == 0:
            first = "queued" if self._kept.background else "in_progress"
            response = pending(self._kept, self._job, first)  # type: ignore[arg-type]  # one of the two
            frames += self._one({"type": "response.created", "response": response})
            if self._kept.background:
                frames += self._one({"type": "response.queued", "response": response})
        if working and not self._preamble:
            response = pending(self._kept, self._job, "in_progress")
            frames += self._one({"type": "response.in_progress", "response": response})
            self._preamble = self._number
        return frames

    # -- what is said

    def _hear(self, event: Token | ReasoningToken | ToolCall) -> None:
        self._heard.add(event.generation)
        if isinstance(event, ToolCall):
            one = self._calls.get(event.index)
            if one is None:
                one = self._calls[event.index] = _Item(Run("function_call"))
                self._items.append(one)
            one.run.call, one.run.name = event.id or one.run.call, event.name or one.run.name
            one.rest += event.arguments
        elif event.text:
            kind = "reasoning" if isinstance(event, ReasoningToken) else "refusal" if event.refusal else "message"
            if not self._items or self._items[-1].run.kind != kind:
                self._items.append(_Item(Run(kind)))  # type: ignore[arg-type]  # one of the two
            self._items[-1].rest += event.text

    def _last_of(self, result: Result) -> list[Frame]:
        """Everything that was not told yet, out of the record. Raises Diverged if that begins otherwise."""
        if self._after >= self._preamble and any(self._unheard(one) for one in result.attempts[:-1]):
            message = "an earlier attempt may have begun this stream with other words, which are no longer kept"
            return self._lost(message)
        found = runs(result.answer or Answer(), sealed=self._kept.sealed)
        open_ = self._at < len(self._items) and self._items[self._at].begun
        shown = self._items[: self._at + 1 if open_ else self._at]
        if len(found) < len(shown):
            raise Diverged
        for place, (one, run) in enumerate(zip(shown, found, strict=False)):
            told = "".join(one.told)
            same = (run.kind, run.call, run.name) == (one.run.kind, one.run.call, one.run.name)
            if not same or not run.text.startswith(told) or (place < self._at and run.text != told):
                raise Diverged
            one.run, one.rest = run, run.text[len(told) :]
        self._items = [*shown, *(_Item(run, run.text) for run in found[len(shown) :])]
        return self._tell(whole=True)

    def _unheard(self, attempt: AttemptRecord) -> bool:
        """Whether an attempt may have said something that this rendering does not know of."""
        lost = attempt.failure is None or attempt.failure.kind is FailureKind.WORKER_LOST
        return attempt.number not in self._heard and (lost or attempt.first_token is not None)

    def _lost(self, message: str) -> list[Frame]:
        remedy = f"read the whole: GET /v1/responses/{ID}{self._job}, or its stream without starting_after"
        self._over = True
        return self.failed(ApiError(410, "resume_impossible", message, param="starting_after", remedy=remedy))

    # -- telling it

    def _tell(self, *, whole: bool) -> list[Frame]:
        """Events of what was heard. ``whole``: nothing more will come."""
        frames: list[Frame] = []
        said = [place for place, one in enumerate(self._items) if one.run.kind not in {"refusal", "seal"}]
        while self._at < len(self._items):
            one = self._items[self._at]
            if not one.begun:
                if not whole and one.run.kind == "function_call" and not one.run.name:
                    break
                one.begun = True
                frames += self._open(one.run)
            closed = whole or (self._at < len(self._items) - 1 and not _may_go_on(one))
            frames += self._pieces(one, whole=closed)
            if not closed:
                break
            frames += self._close(one, with_sources=whole and self._at in said[-1:])
            self._at += 1
        return frames

    def _open(self, run: Run) -> list[Frame]:
        begun = item(self._job, self._at, run, "in_progress")
        frames = self._one({"type": "response.output_item.added", "output_index": self._at, "item": begun})
        if run.kind in {"message", "refusal"}:
            part = content_part(run, empty=True)
            frames += self._one({"type": "response.content_part.added", **self._where(run), "part": part})
        elif run.kind == "reasoning":
            part = {"type": "summary_text", "text": ""}
            frames += self._one({"type": "response.reasoning_summary_part.added", **self._where(run), "part": part})
        return frames

    def _pieces(self, one: _Item, *, whole: bool) -> list[Frame]:
        """What can be told of an item now: whole pieces, and the last one when the item is whole."""
        if one.run.kind == "seal":
            return []
        rest, at = one.rest, 0
        frames: list[Frame] = []
        name, tail = f"{_DELTAS[one.run.kind][0]}.delta", b',"logprobs":[]' if one.run.kind == "message" else b""
        head = to_json({"type": name, **self._where(one.run)})[:-1]
        while at < len(rest):
            wanted = PIECE - one.sent % PIECE if one.sent else 1
            if len(rest) - at < wanted and not whole:
                break
            piece = rest[at : at + wanted]
            at += len(piece)
            one.sent += len(piece)
            if self._number > self._after:
                data = b'%b,"delta":%b%b,"sequence_number":%d}' % (head, to_json(piece), tail, self._number)
                frames.append(Frame(data, name, str(self._number)))
            self._number += 1
        one.told.append(rest[:at])
        one.rest = rest[at:]
        return frames

    def _close(self, one: _Item, *, with_sources: bool) -> list[Frame]:
        """``with_sources``: what the text cites and how likely it was; known only once the answer is whole."""
        run = one.run
        if run.kind != "seal":
            run = replace(run, text="".join(one.told))
        if not with_sources:
            run = replace(run, citations=(), logprobs=())
        where = self._where(run)
        frames: list[Frame] = []
        for place, citation in enumerate(run.citations):
            told = {"annotation_index": place, "annotation": annotation(citation)}
            frames += self._one({"type": "response.output_text.annotation.added", **where, **told})
        if run.kind in _DELTAS:
            name, whole = _DELTAS[run.kind]
            frames += self._one({"type": f"{name}.done", **where, **_also(run), whole: run.text})
        if run.kind in {"message", "refusal"}:
            frames += self._one({"type": "response.content_part.done", **where, "part": content_part(run)})
        elif run.kind == "reasoning":
            part = {"type": "summary_text", "text": run.text}
            frames += self._one({"type": "response.reasoning_summary_part.done", **where, "part": part})
        done = item(self._job, self._at, run, "completed")
        return [*frames, *self._one({"type": "response.output_item.done", "output_index": self._at, "item": done})]

    def _where(self, run: Run) -> Fields:
        """Which item and part an event is about."""
        where: Fields = {"item_id": item_id(self._job, self._at, run.kind), "output_index": self._at}
        if run.kind in {"message", "refusal"}:
            where["content_index"] = 0
        elif run.kind == "reasoning":
            where["summary_index"] = 0
        return where

    def _one(self, event: Fields) -> list[Frame]:
        """The next event, unless it was seen."""
        number = self._number
        self._number += 1
        if number <= self._after:
            return []
        return [Frame(to_json({**event, "sequence_number": number}), event["type"], str(number))]


def _also(run: Run) -> Fields:
    """What the event that ends an item's text says besides."""
    if run.kind == "function_call":
        return {"name": run.name}
    return {"logprobs": content_part(run)["logprobs"]} if run.kind == "message" else {}


def _may_go_on(one: _Item) -> bool:
    """Whether there may be more of an item although another has begun: calls come side by side from some providers."""
    if one.run.kind != "function_call":
        return False
    try:
        from_json("".join([*one.told, one.rest]))
    except ValueError:
        return True
    return False
