"""What a program holds when a job has succeeded: the result's record, with what one asks of it at hand."""

from __future__ import annotations

from decimal import Decimal

from job_contracts.chat import (
    Answer,
    AssistantPart,
    AssistantTurn,
    Citation,
    FinishReason,
    TokenLogprob,
    ToolCallPart,
    Usage,
)
from job_contracts.embeddings import Embeddings
from job_contracts.results import AttemptRecord, Result, Times

_NOTHING = Answer()


class Answered:
    """A succeeded job. ``result`` is the whole record; the properties are the parts of it that are asked for most."""

    __slots__ = ("result",)

    def __init__(self, result: Result) -> None:
        self.result = result

    @property
    def answer(self) -> Answer:
        """The answer's parts in the order they came."""
        return self.result.answer or _NOTHING

    @property
    def parts(self) -> tuple[AssistantPart, ...]:
        """Text, reasoning, tool calls and refusals as they came."""
        return self.answer.parts

    @property
    def text(self) -> str:
        """All text of the answer."""
        return self.answer.text

    @property
    def reasoning(self) -> str:
        """All reasoning the model showed."""
        return self.answer.reasoning

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        """The calls the model asks for; ``arguments`` is JSON text."""
        return self.answer.tool_calls

    @property
    def refusal(self) -> str | None:
        """The model's words for declining, ``None`` if it did not."""
        return self.answer.refusal

    @property
    def logprobs(self) -> tuple[TokenLogprob, ...]:
        """Log probabilities, if they were asked for."""
        return self.answer.logprobs

    @property
    def citations(self) -> tuple[Citation, ...]:
        """The sources that the answer names."""
        return self.answer.citations

    @property
    def embeddings(self) -> Embeddings | None:
        """The vectors of an embedding job (``.vectors``, or ``.data`` as base64), ``None`` of any other."""
        return self.result.embeddings

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the model stopped; ``length`` means the answer is cut at ``max_tokens``."""
        return self.result.finish_reason

    @property
    def usage(self) -> Usage:
        """Tokens by kind."""
        return self.result.usage

    @property
    def cost(self) -> Decimal | None:
        """US dollars; ``None`` where no price is known."""
        return self.result.cost

    @property
    def model(self) -> str | None:
        """The model that answered, in its provider's words."""
        return self.result.model

    @property
    def provider(self) -> str | None:
        """The provider that answered."""
        return self.result.provider

    @property
    def deployment(self) -> str | None:
        """The deployment that answered."""
        return self.result.deployment

    @property
    def attempts(self) -> tuple[AttemptRecord, ...]:
        """Every call that was made, the failed ones with their failures."""
        return self.result.attempts

    @property
    def times(self) -> Times:
        """UTC seconds of the job's steps."""
        return self.result.times

    @property
    def tags(self) -> dict[str, str]:
        """The job's tags."""
        return self.result.tags

    @property
    def job(self) -> str:
        """The job's id."""
        return self.result.job

    def as_turn(self) -> AssistantTurn:
        """The answer as a turn, to go on with the conversation: ``[*messages, answer.as_turn(), …]``."""
        return self.answer.as_turn()

    def __repr__(self) -> str:
        text = self.text
        shown = text if len(text) <= 60 else f"{text[:57]}…"
        return f"Answered(job={self.job!r}, model={self.model!r}, text={shown!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Answered) and other.result == self.result

    def __hash__(self) -> int:
        return hash(self.result.job)
