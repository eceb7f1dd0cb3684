"""The attempts behind one stream, made into one answer: never two of them spliced.

A client that has read half an answer cannot be told to forget it: neither API has an event for that. So when another
attempt starts over, its answer is held against what was sent. While it says the same, nothing is sent; where it has
said all of that, the rest follows. Where it says something else, the stream ends in an error (``Diverged``), and the
client, which has never seen a false word, asks again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from job_contracts.stream import Finished, ReasoningToken, Started, StreamEvent, Switched, Token, ToolCall

Policy = Literal["continue", "hold", "error"]


class Diverged(Exception):
    """Another attempt says something else than what was sent already."""


@dataclass(slots=True)
class _Said:
    """What has been said so far, by kind; tool calls by index."""

    text: str = ""
    reasoning: str = ""
    calls: dict[int, list[str | None]] = field(default_factory=dict)
    """Id, name and arguments."""

    @property
    def nothing(self) -> bool:
        return not self.text and not self.reasoning and not self.calls


class Joined:
    """Takes a job's events in order and gives those that may be shown: no ``Switched``, nothing twice."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._sent = _Said()
        self._heard: _Said | None = None
        """What the present attempt has said, while it repeats what was sent; ``None`` when it does not."""
        self._held: list[StreamEvent] = []
        self._begun = False

    def take(self, event: StreamEvent) -> list[StreamEvent]:
        """What to show now. Raises Diverged."""
        if isinstance(event, Switched):
            return self._switched(event)
        if isinstance(event, Started):
            if self._begun:
                return []
            self._begun = True
            return [event]
        if isinstance(event, Finished):
            return self._finished(event)
        if not isinstance(event, Token | ReasoningToken | ToolCall):
            return [event]
        if self._policy == "hold":
            self._held.append(event)
            return []
        if self._heard is not None:
            return self._repeated(event, self._heard)
        _say(self._sent, event)
        return [event]

    def _switched(self, event: Switched) -> list[StreamEvent]:
        self._held.clear()
        if not self._sent.nothing:
            if self._policy == "error":
                raise Diverged
            self._heard = _Said()
        if self._begun:
            return []
        self._begun = True
        provider, _, model = event.deployment.partition("/")
        started = Started(deployment=event.deployment, provider=provider, model=model)
        return [_at(event, started)]

    def _repeated(self, event: Token | ReasoningToken | ToolCall, heard: _Said) -> list[StreamEvent]:
        sent = self._sent
        _say(heard, event)
        if isinstance(event, ToolCall):
            # Ids and arguments of calls are made up anew each time: a call that was shown is not taken up.
            if event.index in sent.calls:
                raise Diverged
        elif isinstance(event, Token):
            if not (rest := _beyond(sent.text, heard.text)):
                return []
            event = event.model_copy(update={"text": rest})
        else:
            if not (rest := _beyond(sent.reasoning, heard.reasoning)):
                return []
            event = event.model_copy(update={"text": rest})
        if sent.calls or not (heard.text.startswith(sent.text) and heard.reasoning.startswith(sent.reasoning)):
            raise Diverged  # it goes on with one kind before it has repeated all of another
        self._heard = None
        _say(sent, event)
        return [event]

    def _finished(self, event: Finished) -> list[StreamEvent]:
        held, self._held = self._held, []
        if self._heard is None:
            return [*held, event]
        # It ended while it repeated; its record says everything, also what was lost on the way.
        answer = event.result.answer
        rest = _beyond(self._sent.text, answer.text if answer is not None else "")
        if self._sent.calls or (not rest and answer is not None and answer.text != self._sent.text):
            raise Diverged
        return [*([_at(event, Token(text=rest))] if rest else []), event]


def _at(place: StreamEvent, event: StreamEvent) -> StreamEvent:
    return event.model_copy(update={"generation": place.generation, "sequence": place.sequence})


def _say(said: _Said, event: StreamEvent) -> None:
    if isinstance(event, Token):
        said.text += event.text
    elif isinstance(event, ReasoningToken):
        said.reasoning += event.text
    elif isinstance(event, ToolCall):
        call = said.calls.setdefault(event.index, [None, None, ""])
        call[0], call[1] = event.id or call[0], event.name or call[1]
        call[2] = (call[2] or "") + event.arguments


def _beyond(sent: str, now: str) -> str:
    """What ``now`` adds to ``sent``, empty while it repeats it. Raises Diverged when it says something else."""
    if not (now.startswith(sent) or sent.startswith(now)):
        raise Diverged
    return now[len(sent) :]


def joined(policy: Policy, events: Iterable[StreamEvent]) -> list[StreamEvent]:
    """All of ``events`` through one ``Joined``. Raises Diverged."""
    one = Joined(policy)
    return [shown for event in events for shown in one.take(event)]
