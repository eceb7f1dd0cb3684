"""Streams of one job as workers tell them: attempts that break off, chunks that get lost, and the result in the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from job_contracts.chat import Answer, AssistantPart, FinishReason, ReasoningPart, TextPart, ToolCallPart, Usage
from job_contracts.jobs import JobState
from job_contracts.results import Result
from job_contracts.stream import (
    Chunk,
    Delta,
    EndDelta,
    ReasoningDelta,
    ReasoningToken,
    StartDelta,
    StreamEvent,
    TextDelta,
    Token,
    ToolCall,
    ToolCallDelta,
)
from producer_sdk.splice import Splice
from tests.support.builders import record, result

USAGE = Usage(input=1, output=2)
Said = list[tuple[str, str]]
"""Runs of one attempt's answer: kind and characters."""


@dataclass
class Heard:
    """An answer as a reader adds it up."""

    text: str = ""
    reasoning: str = ""
    calls: dict[int, str] = field(default_factory=dict)

    def add(self, event: StreamEvent) -> None:
        if isinstance(event, Token):
            self.text += event.text
        elif isinstance(event, ReasoningToken):
            self.reasoning += event.text
        elif isinstance(event, ToolCall):
            self.calls[event.index] = self.calls.get(event.index, "") + (event.id or "") + event.arguments

    def begins(self, whole: Heard) -> bool:
        """Whether this is how ``whole`` begins."""
        return (
            whole.text.startswith(self.text)
            and whole.reasoning.startswith(self.reasoning)
            and all(whole.calls.get(index, "").startswith(said) for index, said in self.calls.items())
        )


def heard(events: Iterable[StreamEvent]) -> Heard:
    """What a reader has of these events."""
    found = Heard()
    for event in events:
        found.add(event)
    return found


@dataclass(frozen=True)
class Story:
    """One job: what each attempt said (as far as it came), its chunks, and the record."""

    attempts: tuple[Heard, ...]
    chunks: tuple[Chunk, ...]
    record: Result

    def told(self, kept: Sequence[bool] = ()) -> list[StreamEvent]:
        """What the SDK tells a reader that these of the chunks reach, in order; all of them if nothing is said."""
        splice, events = Splice(), list[StreamEvent]()
        for index, chunk in enumerate(self.chunks):
            if not kept or kept[index]:
                events += splice.take(chunk)
        return [*events, *splice.end(self.record)]


_texts = st.text(alphabet="ab", min_size=1, max_size=4)


@st.composite
def _runs(draw: st.DrawFn) -> Said:
    """What an answer says, in the order of kinds that a model keeps: reasoning, text, then calls."""
    said: Said = []
    if draw(st.booleans()):
        said.append(("reasoning", draw(_texts)))
    if draw(st.booleans()) or not said:
        said.append(("text", draw(_texts)))
    said += [("call", draw(_texts)) for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2])))]
    return said


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """A job of up to three attempts that often agree, and end as a success or a failure."""
    number = draw(st.integers(1, 3))
    first = draw(_runs())
    attempts, chunks = list[Heard](), list[Chunk]()
    said: Said = []
    for generation in range(1, number + 1):
        said = first if draw(st.booleans()) else draw(_runs())
        deltas = _deltas(generation, said, draw)
        ends = generation == number
        if not ends:
            deltas = deltas[: draw(st.integers(0, len(deltas)))]
        start = StartDelta(
            deployment=f"p/{generation}",
            provider="p",
            model="m",
            switched_from=f"p/{generation - 1}" if generation > 1 and draw(st.booleans()) else None,
        )
        end: list[Delta] = [EndDelta(finish_reason=FinishReason.STOP, usage=USAGE)] if ends else []
        attempts.append(_as_heard(deltas))
        chunks += _chunked(generation, [start, *deltas, *end], draw)
    return Story(tuple(attempts), tuple(chunks), _ended(number, said, succeeded=draw(st.integers(0, 4)) > 0))


def _deltas(generation: int, said: Said, draw: st.DrawFn) -> list[Delta]:
    deltas: list[Delta] = []
    calls = 0
    for kind, text in said:
        cut = draw(st.integers(0, len(text)))
        pieces = [piece for piece in (text[:cut], text[cut:]) if piece]
        if kind == "call":
            deltas.append(ToolCallDelta(index=calls, id=f"c{generation}-{calls} ", name="f"))
            deltas += [ToolCallDelta(index=calls, arguments=piece) for piece in pieces]
            calls += 1
        else:
            deltas += [TextDelta(text=piece) if kind == "text" else ReasoningDelta(text=piece) for piece in pieces]
    return deltas


def _chunked(generation: int, deltas: list[Delta], draw: st.DrawFn) -> list[Chunk]:
    chunks: list[Chunk] = []
    for delta in deltas:
        same: bool = draw(st.booleans())
        if chunks and same:
            chunks[-1] = chunks[-1].model_copy(update={"deltas": (*chunks[-1].deltas, delta)})
        else:
            chunks.append(Chunk(generation=generation, sequence=len(chunks) + 1, deltas=(delta,)))
    return chunks


def _as_heard(deltas: list[Delta]) -> Heard:
    chunk = Chunk(generation=1, sequence=1, deltas=tuple(deltas))
    return heard(Splice().take(chunk))


def _ended(number: int, said: Said, *, succeeded: bool) -> Result:
    parts: list[AssistantPart] = []
    calls = 0
    for kind, text in said:
        if kind == "call":
            parts.append(ToolCallPart(id=f"c{number}-{calls} ", name="f", arguments=text))
            calls += 1
        else:
            parts.append(TextPart(text=text) if kind == "text" else ReasoningPart(text=text))
    return result(
        state=JobState.SUCCEEDED if succeeded else JobState.FAILED,
        answer=Answer(parts=tuple(parts)) if succeeded else None,
        attempts=tuple(record(n, deployment=f"p/{n}") for n in range(1, number + 1)),
        usage=USAGE,
        deployment=f"p/{number}",
    )
