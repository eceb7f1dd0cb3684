"""What a fake gateway says: replies as data, and short words to write them. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import shake_256
from typing import Any

from job_contracts.chat import (
    Answer,
    AssistantPart,
    FinishReason,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    Usage,
    UserTurn,
)
from job_contracts.embeddings import Embeddings, packed
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import Job, JobState
from job_contracts.stream import Delta, EndDelta, ReasoningDelta, TextDelta, ToolCallDelta
from producer_sdk.estimates import text_tokens
from producer_sdk.request import tokens_of

_STATES = {
    FailureKind.CANCELLED: JobState.CANCELLED,
    FailureKind.EXPIRED: JobState.EXPIRED,
    FailureKind.POISON: JobState.DEAD,
}
DIMENSIONS = 8
"""Length of vectors where nobody asks for one."""
_PIECE = re.compile(r"\S+\s*|\s+")


@dataclass(frozen=True, slots=True)
class Reply:
    """How one job goes. Times are seconds; the defaults answer at once."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallPart, ...] = ()
    pieces: tuple[str, ...] | None = None
    """The text as it is streamed; ``None``: word by word."""
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    """``None``: estimated from the texts."""
    cost: Decimal | None = None
    delay: float = 0.0
    """Until the first token."""
    pace: float = 0.0
    """Between two tokens."""
    failure: Failure | None = None
    """The attempt ends so, after what it has said."""
    after: tuple[Reply, ...] = ()
    """Attempts that failed before this one, in order."""
    ends: bool = True
    """False: it is dispatched and never ends."""
    model: str = "fake-1"
    provider: str = "fake"
    vectors: tuple[tuple[float, ...], ...] | None = None
    """Of an embedding job, one an input; ``None``: made from the texts, the same for the same text."""

    @property
    def attempts(self) -> tuple[Reply, ...]:
        """All attempts in order, this one last."""
        return (*self.after, self)

    @property
    def state(self) -> JobState:
        """How the job ends."""
        return JobState.SUCCEEDED if self.failure is None else _STATES.get(self.failure.kind, JobState.FAILED)

    @property
    def answer(self) -> Answer:
        """The parts of the whole answer."""
        parts: list[AssistantPart] = []
        if self.reasoning:
            parts.append(ReasoningPart(text=self.reasoning, origin="fake"))
        if self.text:
            parts.append(TextPart(text=self.text))
        return Answer(parts=(*parts, *self.tool_calls))

    @property
    def reason(self) -> FinishReason:
        """Why the model stopped."""
        return self.finish_reason or (FinishReason.TOOL_CALLS if self.tool_calls else FinishReason.STOP)

    def embeddings(self, job: Job) -> Embeddings | None:
        """The vectors, if they were asked for."""
        if job.embedding is None:
            return None
        length = job.embedding.dimensions or DIMENSIONS
        vectors = self.vectors or tuple(vector_of(text, length) for text in job.embedding.inputs)
        return Embeddings(data=tuple(map(packed, vectors)), dimensions=len(vectors[0]))

    def used(self, job: Job) -> Usage:
        """Tokens the attempt took."""
        if self.usage is not None:
            return self.usage
        if job.embedding is not None:
            return Usage(input=tokens_of(job), reported=False)
        said = self.reasoning + self.text + "".join(call.arguments for call in self.tool_calls)
        return Usage(input=tokens_of(job), output=int(text_tokens(said)) + 1, reported=False)

    def deltas(self, job: Job) -> Iterator[Delta]:
        """The answer in pieces, as a worker would stream it; the end only if it is one. Vectors are not streamed."""
        if job.embedding is not None:
            return
        for word in _PIECE.findall(self.reasoning):
            yield ReasoningDelta(text=word)
        for piece in _PIECE.findall(self.text) if self.pieces is None else self.pieces:
            yield TextDelta(text=piece)
        for index, call in enumerate(self.tool_calls):
            yield ToolCallDelta(index=index, id=call.id, name=call.name)
            yield ToolCallDelta(index=index, arguments=call.arguments)
        if self.failure is None and self.ends:
            yield EndDelta(finish_reason=self.reason, usage=self.used(job))

    def but(self, **changes: Any) -> Reply:
        """The same with some fields changed."""
        return replace(self, **changes)


def says(text: str | Sequence[str], **fields: Any) -> Reply:
    """A text; a sequence of pieces is streamed as they are."""
    if isinstance(text, str):
        return Reply(text=text, **fields)
    return Reply(text="".join(text), pieces=tuple(text), **fields)


def embeds(*vectors: Sequence[float], **fields: Any) -> Reply:
    """The vectors of an embedding job, one for each of its inputs."""
    return Reply(vectors=tuple(map(tuple, vectors)), **fields)


def vector_of(text: str, length: int) -> tuple[float, ...]:
    """A vector that is the same for the same text: numbers from -1 to 1 that four bytes hold exactly."""
    data = shake_256(text.encode("utf-8", "surrogatepass")).digest(length)
    return tuple((byte - 128) / 128 for byte in data)


def calls(name: str, arguments: Mapping[str, Any], *, id: str = "call_1", **fields: Any) -> Reply:
    """A call of one tool."""
    call = ToolCallPart(id=id, name=name, arguments=json.dumps(arguments, ensure_ascii=False))
    return Reply(tool_calls=(call,), **fields)


def fails(kind: FailureKind | str, message: str = "as the script says", *, said: str = "", **fields: Any) -> Reply:
    """An end without an answer, after having ``said`` something."""
    failure = Failure(kind=FailureKind(kind), message=message, provider="fake", produced=bool(said))
    return Reply(text=said, failure=failure, **fields)


def silence() -> Reply:
    """A job that never ends (until it is cancelled or expires)."""
    return Reply(ends=False)


def echo(job: Job) -> Reply:
    """The last thing a user said; vectors of the texts of an embedding job."""
    if job.embedding is not None:
        return Reply()
    for turn in reversed(job.chat.messages):
        if isinstance(turn, UserTurn):
            content = turn.content
            text = content if isinstance(content, str) else "".join(p.text for p in content if isinstance(p, TextPart))
            return Reply(text=text)
    return Reply(text="")
