"""An answer that another attempt began and this one goes on with: whether it can, what it asks, how both become one.

Plain text only: calls, JSON and reasoning cannot be taken up in the middle. Whoever hinders it does not fail the job:
the answer starts over. What of it was sent is read by ``workers.sent``. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from job_contracts.chat import Answer, AssistantTurn, Conversation, TextFormat, TextPart
from job_contracts.failures import Failure, FailureKind
from job_contracts.results import Loss
from job_contracts.stream import StartDelta, TextDelta
from workers.dialects import tokens
from workers.dialects.joint import Joint
from workers.dialects.prefill import echoes, takes_prefill

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_contracts.attempts import Assignment
    from job_contracts.chat import AssistantPart, Citation
    from job_contracts.stream import Delta
    from workers.dialects.port import Decoded, Decoder, Partial, Target
    from workers.questions import Question, Reads

__all__ = ["Begun", "Carried", "Continued", "Said", "as_refusal", "begun", "hindrance", "start_of"]

LEAST = 16
"""Tokens of an answer's bound that must be left for what follows."""
REFUSALS = frozenset(
    {
        FailureKind.BAD_REQUEST,
        FailureKind.UNSUPPORTED_PARAM,
        FailureKind.CONTEXT_OVERFLOW,
        FailureKind.REQUEST_EXCEEDS_LIMIT,
    }
)
"""Kinds that the same request without the begun answer may not meet."""


class Said(NamedTuple):
    """Plain text that was sent of an answer, and by which attempt."""

    text: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Carried:
    """The text that an attempt goes on with."""

    text: str
    attempt: int
    """Whose it is."""
    echoes: bool = False
    """Whether the target is known to say it again."""

    def read_as_one(self, question: Question) -> Question:
        """The same question, its answer read as the rest of this text."""
        return replace(question, decoder=partial(_reader, question.decoder, self))


class Begun(NamedTuple):
    """What is to be asked, what of the answer is there already, and what that changed."""

    conversation: Conversation
    carried: Carried | None = None
    losses: tuple[Loss, ...] = ()


def hindrance(conversation: Conversation, target: Target) -> str | None:
    """Why an answer to this cannot be gone on with there; ``None`` if it can."""
    settings = conversation.settings
    if not takes_prefill(target):
        return "the target continues no begun answer"
    if conversation.tools:
        return "there are tools"
    if settings.response_format is not None and not isinstance(settings.response_format, TextFormat):
        return "it is to be JSON"
    if settings.reasoning_budget is not None or settings.reasoning_effort not in {None, "none"}:
        return "the model is to reason"
    if settings.logprobs:
        return "log probabilities are asked for"
    if isinstance(conversation.messages[-1], AssistantTurn):
        return "the conversation itself begins the answer"
    return None


def begun(conversation: Conversation, said: Said, target: Target, most: int | None) -> Begun | None:
    """The conversation with the answer's beginning, its bound lessened by that; ``None`` where it cannot be.

    ``most``: tokens the grant allows the whole answer. Blanks at the end are not sent (``workers.dialects.joint``).
    """
    settings, losses = conversation.settings, tuple[Loss, ...]()
    if any(said.text.endswith(stop[:length]) for stop in settings.stop for length in range(1, len(stop))):
        return None  # the rest of what ends the answer may come: nobody would see it as a whole
    bounds = [bound for bound in (settings.max_tokens, most) if bound is not None]
    if bounds:
        left = min(bounds) - tokens.of_characters(len(said.text))
        if left < LEAST:
            return None
        detail = f"{min(bounds)} to {left}: the beginning of the answer is there already"
        losses = (Loss(kind="clamped", field="settings.max_tokens", detail=detail),)
        settings = settings.model_copy(update={"max_tokens": left})
    turns = (*conversation.messages, AssistantTurn(role="assistant", content=said.text.rstrip()))
    asked = conversation.model_copy(update={"messages": turns, "settings": settings})
    return Begun(asked, Carried(said.text, said.attempt, echoes=echoes(target)), losses)


def as_refusal(failure: Failure) -> Failure:
    """A request to go on that was turned away says nothing of the job: it is asked again without."""
    if failure.kind not in REFUSALS or failure.produced:
        return failure
    return failure.model_copy(update={"kind": FailureKind.PREFILL_REFUSED})


def start_of(assignment: Assignment, carried: Carried | None) -> tuple[StartDelta, str]:
    """What begins the attempt's stream, and the text that it carries on."""
    start = StartDelta(
        deployment=assignment.deployment,
        provider=assignment.provider,
        model=assignment.model,
        switched_from=assignment.switched_from,
        reason=assignment.switch_reason,
        continues=None if carried is None else carried.attempt,
    )
    return start, "" if carried is None else carried.text


def _reader(reads: Reads, carried: Carried, *, content_type: str, max_bytes: int) -> Decoder:
    return Continued(reads(content_type=content_type, max_bytes=max_bytes), carried)


class Continued:
    """A decoder whose answer is the carried text and what follows; of its deltas only what is new comes out."""

    __slots__ = ("_carried", "_inner", "_joint")

    def __init__(self, inner: Decoder, carried: Carried) -> None:
        self._inner = inner
        self._carried = carried
        self._joint = Joint(carried.text, echoes=carried.echoes)

    def feed(self, data: bytes) -> Sequence[Delta]:
        """What is new."""
        deltas: list[Delta] = []
        for delta in self._inner.feed(data):
            if isinstance(delta, TextDelta):
                _put(deltas, self._joint.take(delta.text))
            else:
                _put(deltas, self._joint.end())
                deltas.append(delta)
        if self._inner.complete:
            _put(deltas, self._joint.end())
        return deltas

    @property
    def failure(self) -> Failure | None:
        """The answer's own."""
        return self._inner.failure

    @property
    def complete(self) -> bool:
        """Whether its end was seen."""
        return self._inner.complete

    @property
    def partial(self) -> Partial:
        """What this provider has said so far: the books are of one attempt."""
        return self._inner.partial

    def finish(self) -> Decoded | Failure:
        """The whole answer."""
        decoded = self._inner.finish()
        if isinstance(decoded, Failure):
            return decoded
        return replace(decoded, answer=_whole(decoded.answer, self._carried))


def _put(deltas: list[Delta], text: str) -> None:
    if text:
        deltas.append(TextDelta(text=text))


def _whole(answer: Answer, carried: Carried) -> Answer:
    joint = Joint(carried.text, echoes=carried.echoes)
    parts: list[AssistantPart] = [TextPart(text=carried.text)]
    for part in answer.parts:
        if isinstance(part, TextPart):
            _say(parts, joint.take(part.text))
        else:
            _say(parts, joint.end())
            parts.append(part)
    _say(parts, joint.end())
    whole = answer.model_copy(update={"parts": tuple(parts)})
    if not answer.citations:
        return whole
    later = len(whole.text) - len(answer.text)
    return whole.model_copy(update={"citations": tuple(_moved(one, later) for one in answer.citations)})


def _say(parts: list[AssistantPart], text: str) -> None:
    last = parts[-1]
    if isinstance(last, TextPart):
        parts[-1] = TextPart(text=last.text + text)
    elif text:
        parts.append(TextPart(text=text))


def _moved(citation: Citation, later: int) -> Citation:
    places = {name: getattr(citation, name) for name in ("start", "end")}
    moved = {name: max(0, at + later) for name, at in places.items() if at is not None}
    return citation.model_copy(update=moved)
