"""The attempts behind one stream, made into one answer: never two of them spliced.

A client that has read half an answer cannot be told to forget it: the OpenAI and Anthropic APIs have no event for that.
So when another attempt starts over, what it says is held against what was shown, run by run (reasoning, text, …). While
it says the same, nothing is shown; where it has said all of that, the rest follows. Where it says something else the
stream ends in an error (``Diverged``): what the client has read is still the beginning of one attempt's answer.

A call that was shown is never taken up: its id is made up anew by each attempt.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from job_contracts.stream import (
    Finished,
    ReasoningToken,
    Started,
    StreamEvent,
    Switched,
    Token,
    ToolCall,
    UsageReported,
)

Policy = Literal["continue", "hold", "error", "as_it_is"]
"""A route's ``broken_stream``; ``as_it_is`` is the native API's, whose clients are told of a switch."""

_CALL = "call"


class Diverged(Exception):
    """Another attempt says something else than what was shown already."""


class Shown(NamedTuple):
    """An event to show, and its number among the events of its place (``generation``, ``sequence``)."""

    event: StreamEvent
    nth: int


class Joined:
    """Takes a job's events in order and gives those that are due: no ``Switched``, no usage, nothing twice."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._said: list[tuple[str, list[str]]] = []
        """What was shown: runs of one kind, each in the pieces that it came in."""
        self._left: list[tuple[str, str]] = []
        """Runs that the present attempt has yet to repeat, the next one last; empty when it may go on."""
        self._at = 0
        """Characters of the next run that it has repeated."""
        self._sealed = 0
        """Seals of reasoning that were shown."""
        self._sealed_again = 0
        """Those of them that the present attempt has yet to repeat: they are made up anew, and not compared."""
        self._held: list[Shown] = []
        self._begun = False
        self._place = (0, 0, False)
        self._nth = 0

    def take(self, event: StreamEvent) -> list[Shown]:
        """What to show now. Raises Diverged."""
        nth = self._numbered(event)
        if self._policy == "as_it_is":
            return [Shown(event, nth)]
        match event:
            case Token() | ReasoningToken():
                due = self._text(event)
            case ToolCall():
                due = self._call(event)
            case Started():
                due = self._started(event)
            case Switched():
                due = self._switched(event)
            case UsageReported():
                due = []  # it may be that of an attempt whose answer is not the job's; the result has the job's
            case Finished():
                return self._finished(event, nth)
            case _:
                due = [event]
        shown = [Shown(one, nth) for one in due]
        if self._policy == "hold" and isinstance(event, Token | ReasoningToken | ToolCall):
            self._held += shown
            return []
        return shown

    def _numbered(self, event: StreamEvent) -> int:
        place = (event.generation, event.sequence, event.from_record)
        if place == self._place:
            self._nth += 1
        else:
            # A generation begins with a switch only where the one before it was heard, and counts alike without it.
            self._nth = int(place[0] > 1 and place[1] == 1 and not isinstance(event, Switched))
        self._place = place
        return self._nth

    def _started(self, event: Started) -> list[StreamEvent]:
        if self._begun:
            return []
        self._begun = True
        return [event]

    def _switched(self, event: Switched) -> list[StreamEvent]:
        if self._policy == "hold":
            self._held.clear()
            self._said.clear()
            self._sealed = 0
        self._sealed_again = self._sealed
        if self._said:
            if self._policy == "error" or any(kind == _CALL for kind, _ in self._said):
                raise Diverged
            self._left = [(kind, "".join(pieces)) for kind, pieces in reversed(self._said)]
            self._at = 0
        provider, _, model = event.deployment.partition("/")
        place = {name: getattr(event, name) for name in ("generation", "sequence", "from_record")}
        return self._started(
            Started(deployment=event.deployment, provider=provider, model=model).model_copy(update=place)
        )

    def _text(self, event: Token | ReasoningToken) -> list[StreamEvent]:
        kind = "reasoning" if isinstance(event, ReasoningToken) else "refusal" if event.refusal else "text"
        fresh = self._fresh(kind, event.text) if self._left and event.text else event.text
        seal = isinstance(event, ReasoningToken) and self._is_due(event)
        if not fresh:
            return [event] if seal and not event.text else []
        if self._said and self._said[-1][0] == kind:
            self._said[-1][1].append(fresh)
        else:
            self._said.append((kind, [fresh]))
        return [event if fresh is event.text else event.model_copy(update={"text": fresh})]

    def _is_due(self, event: ReasoningToken) -> bool:
        """Whether it has a seal that was not shown yet and finds its reasoning still at the end of what was."""
        if event.signature is None and event.redacted is None:
            return False
        if self._sealed_again:
            self._sealed_again -= 1
            return False
        self._sealed += not self._left
        return not self._left

    def _fresh(self, kind: str, said: str) -> str:
        """What is new of a piece that an attempt says while it repeats. Raises Diverged."""
        shown, run = self._left[-1]
        if kind != shown or not run.startswith(said[: len(run) - self._at], self._at):
            raise Diverged
        fresh = said[len(run) - self._at :]
        self._at += len(said) - len(fresh)
        if self._at == len(run):
            self._left.pop()
            self._at = 0
            if fresh and self._left:
                raise Diverged  # something of another kind was shown here
        return fresh

    def _call(self, event: ToolCall) -> list[StreamEvent]:
        if self._left:
            raise Diverged
        if not self._said or self._said[-1][0] != _CALL:
            self._said.append((_CALL, []))
        return [event]

    def _finished(self, event: Finished, nth: int) -> list[Shown]:
        """The end. Everything of the answer was told before it, also what had been lost on the way (see the SDK)."""
        if self._left:
            raise Diverged
        held, self._held = self._held, []
        return [*held, Shown(event, nth)]


def joined(policy: Policy, events: Iterable[StreamEvent]) -> list[StreamEvent]:
    """All of ``events`` through one ``Joined``. Raises Diverged."""
    one = Joined(policy)
    return [shown.event for event in events for shown in one.take(event)]
