"""One job's stream put in order: chunks as they arrive become events, each piece once, never two answers mixed. Pure.

Chunks may come late, twice, out of order or not at all. What follows on is told at once; what comes too early is held
while the gap is filled from the service's store (``missing`` asks for that). A gap that cannot be filled costs nothing
but immediacy: the result's record says the rest. If the record is of another attempt than the one that was being told,
or does not begin with what was told, the stream starts over with a ``Switched`` event. Places only grow, even if the
record is of an earlier attempt, whose worker was held to be lost.
"""

from __future__ import annotations

from collections.abc import Sequence

from job_contracts.chat import Answer, ReasoningPart
from job_contracts.jobs import JobState
from job_contracts.results import Result
from job_contracts.stream import (
    Chunk,
    EndDelta,
    Finished,
    ReasoningDelta,
    ReasoningToken,
    StartDelta,
    Started,
    StreamEvent,
    Switched,
    TextDelta,
    Token,
    ToolCall,
    ToolCallDelta,
    UsageReported,
)

MOST_HELD = 4_096
"""Chunks that wait for a gap to be filled; later ones are dropped and fetched again."""

Position = tuple[int, int]


class _Said:
    """What a stream has told of one generation so far."""

    __slots__ = ("calls", "ended", "reasoning", "seals", "text")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.seals = 0
        """Parts of the reasoning whose signature or sealed form was told."""
        self.calls: dict[int, list[str]] = {}
        self.ended = False

    @property
    def anything(self) -> bool:
        return bool(self.text or self.reasoning or self.calls)


class Splice:
    """The stream of one job for one listener. Every method returns the events that are due now, in order."""

    def __init__(self) -> None:
        self.position: Position = (0, 0)
        """Generation and sequence up to which everything was told."""
        self.finished = False
        self._held: dict[Position, Chunk] = {}
        self._said = _Said()
        self._lost = 0
        """Generation with a gap that cannot be filled; its further chunks are ignored."""

    @property
    def missing(self) -> bool:
        """Whether chunks after ``position`` are missing and should be asked for."""
        return bool(self._held) and not self.finished

    @property
    def ended(self) -> bool:
        """Whether everything was told up to the end of a generation."""
        return self._said.ended and not self._held

    def take(self, chunk: Chunk) -> list[StreamEvent]:
        """A chunk came, live or from the store."""
        here = (chunk.generation, chunk.sequence)
        if self.finished or here <= self.position or chunk.generation <= self._lost:
            return []
        if not self._follows(here):
            if len(self._held) < MOST_HELD:
                self._held[here] = chunk
            return []
        events = self._tell(chunk)
        while self._held:
            first = min(self._held)
            if first > self.position and not self._follows(first):
                break
            chunk = self._held.pop(first)
            if first > self.position:
                events += self._tell(chunk)
        return events

    def fill(self, chunks: Sequence[Chunk], *, complete: bool) -> list[StreamEvent]:
        """The store's answer to what is ``missing``. ``complete``: it has no more, a gap left is for good."""
        events: list[StreamEvent] = []
        for chunk in chunks:
            events += self.take(chunk)
        if complete and self._held:
            self._lost = max(generation for generation, _ in self._held)
            self._held.clear()
        return events

    def end(self, result: Result) -> list[StreamEvent]:
        """The result came: whatever of the answer was not told yet, then ``Finished``. Held chunks are not needed."""
        if self.finished:
            return []
        self.finished = True
        self._held.clear()
        events: list[StreamEvent] = []
        if result.state is JobState.SUCCEEDED:
            events += self._rest(result, result.answer or Answer())
        generation, sequence = self.position
        events.append(Finished(generation=generation, sequence=sequence, from_record=bool(events), result=result))
        return events

    # -- telling

    def _follows(self, here: Position) -> bool:
        generation, sequence = self.position
        return here == (generation, sequence + 1) or (here[0] > generation and here[1] == 1)

    def _tell(self, chunk: Chunk) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        if chunk.generation > self.position[0]:
            before, self._said = self._said, _Said()
        else:
            before = self._said
        g, n = self.position = (chunk.generation, chunk.sequence)
        said = self._said
        for delta in chunk.deltas:
            match delta:
                case TextDelta():
                    said.text.append(delta.text)
                    events.append(Token(generation=g, sequence=n, text=delta.text))
                case StartDelta():
                    events += _started(delta, g, n, anew=before.anything)
                case ReasoningDelta():
                    said.reasoning.append(delta.text)
                    said.seals += delta.signature is not None or delta.redacted is not None
                    token = ReasoningToken(generation=g, sequence=n, text=delta.text)
                    events.append(_sealed(token, delta) if delta.origin is not None else token)
                case ToolCallDelta(index=index):
                    said.calls.setdefault(index, []).append(delta.arguments)
                    piece = ToolCall(index=index, id=delta.id, name=delta.name, arguments=delta.arguments)
                    events.append(piece.model_copy(update={"generation": g, "sequence": n}))
                case EndDelta():
                    said.ended = True
                    events.append(UsageReported(generation=g, sequence=n, usage=delta.usage))
        return events

    # -- the rest, from the record

    def _rest(self, result: Result, answer: Answer) -> list[StreamEvent]:
        told = self.position[0]
        generation = result.attempts[-1].number if result.attempts else told
        events: list[StreamEvent] = []
        anew = generation != told
        if anew or not self._begins(answer):
            if self._said.anything or generation > max(told, 1):
                events.append(_switched(result, told))
            self._said = _Said()
        if anew:
            if generation > told:  # places never go back: an earlier attempt's record stands behind what was told
                self.position = (generation, 0)
            provider, model = result.provider or "", result.model or ""
            events.append(Started(deployment=result.deployment or "", provider=provider, model=model))
        events += self._unsaid(answer)
        if not self._said.ended:
            events.append(UsageReported(usage=result.usage))
        if not events:
            return []
        self.position = (self.position[0], self.position[1] + 1)
        place = {"generation": self.position[0], "sequence": self.position[1], "from_record": True}
        return [event.model_copy(update=place) for event in events]

    def _begins(self, answer: Answer) -> bool:
        """Whether what was told is how this answer begins."""
        calls = answer.tool_calls
        return (
            answer.text.startswith("".join(self._said.text))
            and answer.reasoning.startswith("".join(self._said.reasoning))
            and all(
                index < len(calls) and calls[index].arguments.startswith("".join(pieces))
                for index, pieces in self._said.calls.items()
            )
        )

    def _unsaid(self, answer: Answer) -> list[StreamEvent]:
        events: list[StreamEvent] = self._unsaid_reasoning(answer)
        if text := answer.text[sum(map(len, self._said.text)) :]:
            events.append(Token(text=text))
        if answer.refusal:  # it has no delta of its own
            events.append(Token(text=answer.refusal, refusal=True))
        for index, call in enumerate(answer.tool_calls):
            pieces = self._said.calls.get(index)
            if pieces is None:
                events.append(ToolCall(index=index, id=call.id, name=call.name, arguments=call.arguments))
            elif rest := call.arguments[sum(map(len, pieces)) :]:
                events.append(ToolCall(index=index, arguments=rest))
        return events

    def _unsaid_reasoning(self, answer: Answer) -> list[StreamEvent]:
        """Part by part, with its seal; one that comes late, when more was said since, belongs nowhere any more."""
        told, seals = sum(map(len, self._said.reasoning)), self._said.seals
        gone_on = bool(self._said.text or self._said.calls)
        events: list[StreamEvent] = []
        for part in answer.parts:
            if not isinstance(part, ReasoningPart):
                continue
            rest, told = part.text[told:], max(0, told - len(part.text))
            sealed = part.signature is not None or part.redacted is not None
            late = sealed and (seals > 0 or (gone_on and not rest and bool(part.text)))
            seals -= sealed
            if late and rest:
                events.append(ReasoningToken(text=rest))
            elif not late and (rest or sealed):
                events.append(_sealed(ReasoningToken(text=rest), part))
        return events


def _sealed(token: ReasoningToken, of: ReasoningDelta | ReasoningPart) -> ReasoningToken:
    return token.model_copy(update={"signature": of.signature, "redacted": of.redacted, "origin": of.origin})


def _switched(result: Result, told: int) -> Switched:
    last = result.attempts[-1].number if result.attempts else told
    before = result.attempts[-2] if len(result.attempts) > 1 else None
    if last < told:  # its worker was held to be lost, and had the answer: the job's one result, if it is stored first
        return Switched(deployment=result.deployment or "", reason="an earlier attempt has answered after all")
    if last == told or before is None:
        return Switched(deployment=result.deployment or "", reason="the answer was rewritten")
    reason = before.failure.kind.value if before.failure is not None else None
    return Switched(deployment=result.deployment or "", switched_from=before.deployment, reason=reason)


def _started(start: StartDelta, generation: int, sequence: int, *, anew: bool) -> list[StreamEvent]:
    events: list[StreamEvent] = []
    if anew or start.switched_from is not None:
        events.append(
            Switched(
                deployment=start.deployment,
                switched_from=start.switched_from,
                reason=start.reason,
                generation=generation,
                sequence=sequence,
            )
        )
    events.append(
        Started(
            deployment=start.deployment,
            provider=start.provider,
            model=start.model,
            generation=generation,
            sequence=sequence,
        )
    )
    return events
