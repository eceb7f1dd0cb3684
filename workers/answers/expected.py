"""What a job's answer must be, known before the call and applied when it has ended; and the complaint a retry is told.

A schema nobody can check answers against is found before anything is spent.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from job_contracts.attempts import Assignment, OnInvalid
from job_contracts.chat import (
    Answer,
    Conversation,
    FinishReason,
    JsonFormat,
    JsonSchemaFormat,
    TextPart,
    ToolCallPart,
    UserTurn,
)
from job_contracts.failures import Failure, FailureKind
from job_contracts.followups import kind_of
from job_contracts.jobs import Job
from job_contracts.results import Loss
from job_contracts.verification import verifiable
from workers.answers.apart import Apart, TooCostly
from workers.answers.bounds import BEYOND, cost
from workers.answers.judging import Check, Unusable, Verdict, compiled, judge
from workers.answers.screen import Screen
from workers.answers.sieve import Sieve
from workers.dialects.port import Decoded, Encoded
from workers.dialects.strict_schema import NULLABLE
from workers.http import CallFailed
from workers.streaming import TokenStream

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Answers", "Expected", "asks", "reminded"]

MOST_SCHEMA = 256 * 1024
"""Bytes of a schema, as JSON."""
MOST_WORK = 2_000_000
"""Places of the answer times nodes of the schema that are looked at on the worker's own loop."""
_PLACE = 4
"""Characters of JSON a place of the answer takes at least."""
_KEPT = 512
"""Schemas that are kept ready."""
_OBJECT: dict[str, Any] = {"type": "object"}
_FORMAT = "settings.response_format"
_REFUSED = "the answer is not what its schema asks for: "


def asks(job: Job) -> bool:
    """Whether anything is asked of the answer at all: for any other job that is all there is to do."""
    conversation = job.conversation
    if conversation is None:
        return False
    form = conversation.settings.response_format
    if form is not None and form.type != "text":
        return True
    return bool(conversation.tools) and any(tool.strict for tool in conversation.tools)


def holds(job: Job, assignment: Assignment) -> bool:
    """Whether its answer is held to that: a verdict has a reader of its own, and one that cannot be read is no failure
    of the job's schema (``job_contracts.verification``).
    """
    return asks(job) and assignment.draft is None and kind_of(assignment.job_id) != "verify"


def reminded(conversation: Conversation, assignment: Assignment) -> Conversation:
    """The conversation with what was wrong with the last answer, where the route wants the model to be told."""
    if not assignment.tell_invalid:
        return conversation
    for record in reversed(assignment.history):
        failure = record.failure
        if failure is None:
            break  # a draft: what was wrong before it is no matter of the question about it
        if failure.kind is FailureKind.SCHEMA_VIOLATION:
            why = failure.message.removeprefix(_REFUSED)
            words = f"An earlier answer was not what the schema asks for: {why}. Answer again, with that put right."
            turn = UserTurn(role="user", content=words)
            return conversation.model_copy(update={"messages": (*conversation.messages, turn)})
    return conversation


@dataclass(frozen=True, slots=True)
class _Schema:
    """One schema, ready: ``check`` where it is plain, and costs so many ``nodes``; the others are judged apart."""

    key: str
    text: str
    check: Check | None
    nodes: int


class Answers:
    """The schemas of a worker's jobs, and the process that judges what may take long."""

    def __init__(self, apart: Apart | None = None) -> None:
        self._apart = apart or Apart()
        self._ready: OrderedDict[str, _Schema | Failure] = OrderedDict()

    async def close(self) -> None:
        """End the process, if there is one."""
        await self._apart.close()

    async def expected(self, job: Job, assignment: Assignment) -> Expected:
        """What the job's answer must be. Raises CallFailed if its schema is none: nothing is spent on it.

        Raises NotStarted if nobody could look at the schema: that says nothing of it, and is not kept.
        """
        lenient = assignment.checking is not None and assignment.checking.unfit
        made = Expected(self, assignment.on_invalid, tools=bool(job.chat.tools), lenient=lenient)
        form = job.chat.settings.response_format
        if isinstance(form, JsonSchemaFormat | JsonFormat):
            given = form.json_schema if isinstance(form, JsonSchemaFormat) else _OBJECT
            made.text = await self._schema(given, f"{_FORMAT}.json_schema")
        for tool in job.chat.tools:
            if tool.strict:
                made.calls[tool.name] = await self._schema(tool.parameters or _OBJECT, f"tools.{tool.name}.parameters")
        return made

    async def judge(self, schema: _Schema, text: str, *, repair: bool, nulls: bool) -> Verdict:
        """The verdict on a text. Raises TooCostly, from then on at once; or NotStarted."""
        if schema.check is not None and schema.nodes * (len(text) // _PLACE + 1) <= MOST_WORK:
            return judge(schema.check, text, repair=repair, nulls=nulls)
        try:
            return await self._apart.judge(schema.key, schema.text, text, repair=repair, nulls=nulls)
        except TooCostly as error:
            self._ready[schema.key] = _costly(str(error))
            raise

    async def _schema(self, given: dict[str, Any], place: str) -> _Schema:
        data = to_json(given, inf_nan_mode="null")
        key = blake2b(data, digest_size=16).hexdigest()
        found = self._ready.get(key)
        if found is None:
            found = self._ready[key] = await self._made(key, data, given)
            if len(self._ready) > _KEPT:
                self._ready.popitem(last=False)
        if isinstance(found, Failure):
            raise CallFailed(found.model_copy(update={"field": place}))
        return found

    async def _made(self, key: str, data: bytes, given: dict[str, Any]) -> _Schema | Failure:
        if len(data) > MOST_SCHEMA:
            return _unusable(f"it has {len(data)} bytes, and may have {MOST_SCHEMA}")
        text, nodes = data.decode(), cost(given)
        try:
            if nodes != BEYOND:
                return _Schema(key, text, compiled(given), nodes)
            await self._apart.compile(key, text)
        except Unusable as error:
            return _unusable(str(error))
        except TooCostly as error:
            return _costly(str(error))
        return _Schema(key, text, None, nodes)


@dataclass(slots=True)
class Expected:
    """What one job's answer must be."""

    answers: Answers
    on_invalid: OnInvalid
    tools: bool = False
    """Whether the model may call something: then its words may be no answer yet."""
    lenient: bool = False
    """Whether a text that is no answer may be a draft."""
    fits: bool = True
    """Whether the answer is one, as far as it has been judged."""
    text: _Schema | None = None
    calls: dict[str, _Schema] = field(default_factory=dict)
    rewritten: bool = False
    """Whether the target was asked for null where the schema says that a key may be left out."""
    _screen: Screen | None = None

    def asked(self, encoded: Encoded) -> None:
        """How the target was asked for it, before the call."""
        self.rewritten = any(NULLABLE in loss.detail for loss in encoded.losses)

    def screen(self, stream: TokenStream) -> Screen:
        """What stands before the listener. Where nulls are to come, nothing is shown before they can be taken out."""
        sieve = self.text is not None and self.on_invalid == "repair"
        self._screen = Screen(stream, Sieve(words=not self.tools) if sieve else None, hold=self.rewritten)
        return self._screen

    async def judged(self, decoded: Decoded) -> Decoded:
        """The answer as it is given out, all of it shown. Raises CallFailed if it is none to be given out."""
        answer, losses = decoded.answer, list(decoded.losses)
        if answer.refusal is None:
            try:
                answer = await self._answer(answer, decoded.finish_reason, losses)
            except TooCostly as error:
                raise CallFailed(_costly(str(error)).model_copy(update={"field": _FORMAT})) from error
            except CallFailed as refused:
                violated = refused.failure.kind is FailureKind.SCHEMA_VIOLATION
                if not (self.lenient and violated and verifiable(answer)):
                    raise
                self.fits = False
                return decoded
        if self._screen is not None and not await self._screen.complete(answer):
            raise _violation("the answer would have to be repaired, and another text of it was shown already")
        return decoded if answer is decoded.answer else replace(decoded, answer=answer, losses=tuple(losses))

    async def _answer(self, answer: Answer, finish: FinishReason, losses: list[Loss]) -> Answer:
        calls = answer.tool_calls
        if self.text is not None and not calls:
            if finish is FinishReason.LENGTH:
                raise _violation("the answer was cut at the limit of its output tokens")
            verdict = await self._verdict(self.text, answer.text, repair=self.on_invalid == "repair")
            if verdict.text is None:
                raise _filtered() if finish is FinishReason.CONTENT_FILTER else _violation(verdict.complaint)
            return _with_text(answer, verdict, losses)
        for number, call in enumerate(calls):
            schema = self.calls.get(call.name)
            if schema is None:
                continue
            verdict = await self._verdict(schema, call.arguments, repair=False)
            if verdict.text is None:
                raise _violation(f"the arguments of {call.name} (call {number + 1}): {verdict.complaint}")
            if verdict.repairs:
                losses.append(_repaired(f"answer.tool_calls[{number}]", verdict))
                changed = call.model_copy(update={"arguments": verdict.text})
                answer = answer.model_copy(update={"parts": _exchanged(answer, call, changed)})
        return answer

    async def _verdict(self, schema: _Schema, text: str, *, repair: bool) -> Verdict:
        nulls = self.rewritten or self.on_invalid == "repair"
        return await self.answers.judge(schema, text, repair=repair, nulls=nulls)


def _with_text(answer: Answer, verdict: Verdict, losses: list[Loss]) -> Answer:
    """The answer with the text that validates in place of all of its text; what pointed into the old one is gone."""
    if not verdict.repairs or verdict.text is None:
        return answer
    losses.append(_repaired("answer", verdict))
    first = next(part for part in answer.parts if isinstance(part, TextPart))
    parts = [part for part in answer.parts if part is first or not isinstance(part, TextPart)]
    made = answer.model_copy(update={"parts": tuple(parts), "logprobs": (), "citations": ()})
    return made.model_copy(update={"parts": _exchanged(made, first, TextPart(text=verdict.text))})


def _exchanged(answer: Answer, old: object, new: TextPart | ToolCallPart) -> tuple[Any, ...]:
    return tuple(new if part is old else part for part in answer.parts)


def _repaired(place: str, verdict: Verdict) -> Loss:
    return Loss(kind="rewritten", field=place, detail=f"repaired: {_listed(verdict.repairs)}")


def _listed(words: Iterable[str]) -> str:
    return "; ".join(words)


def _violation(why: str) -> CallFailed:
    words, remedy = f"{_REFUSED}{why}", "ask a model that keeps to schemas, or loosen the schema"
    return CallFailed(Failure(kind=FailureKind.SCHEMA_VIOLATION, message=words, field=_FORMAT, remedy=remedy))


def _filtered() -> CallFailed:
    words = "the provider filtered the answer before it was what the schema asks for"
    return CallFailed(Failure(kind=FailureKind.CONTENT_POLICY, message=words))


def _unusable(why: str) -> Failure:
    return Failure(
        kind=FailureKind.INVALID_JOB,
        message=f"no answer can be checked against the schema: {why}",
        remedy="send a JSON Schema that stands for itself: references to other documents are not followed",
    )


def _costly(why: str) -> Failure:
    return Failure(
        kind=FailureKind.INVALID_JOB,
        message=f"no answer can be checked against the schema: {why}",
        remedy="send a schema with fewer alternatives and references within one another",
    )
