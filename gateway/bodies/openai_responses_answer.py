"""OpenAI's Responses API: the response object and the items of its output.

After the API reference, ``The response object``. An answer's parts become items by *runs*: neighbouring text is one
message, neighbouring reasoning one reasoning item, each call an item, a refusal a message at the end; then, where it
was asked for, the seal (``openai_responses_seal``). The runs are a function of the answer alone, in the order in which
it was said, so that a stream can show them while they come and a later look finds the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gateway.bodies.failures import invalid, of_result
from gateway.bodies.openai_responses_kept import ID, Kept
from gateway.bodies.openai_responses_seal import seal
from job_contracts.chat import (
    Answer,
    Citation,
    FinishReason,
    ReasoningPart,
    TextPart,
    TokenLogprob,
    ToolCallPart,
    Usage,
)
from job_contracts.jobs import JobState
from job_contracts.results import Result

Fields = dict[str, Any]
Kind = Literal["message", "reasoning", "function_call", "refusal", "seal"]
Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]

PREFIXES: dict[Kind, str] = {
    "message": "msg_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "refusal": "msg_",
    "seal": "rs_",
}
_REASONS = {FinishReason.LENGTH: "max_output_tokens", FinishReason.CONTENT_FILTER: "content_filter"}
_DEFAULTS: Fields = {
    "background": False,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "usage": None,
    "user": None,
}


@dataclass(slots=True)
class Run:
    """What becomes one item. ``text`` is what comes in pieces: the text, or a call's arguments, or a seal."""

    kind: Kind
    text: str = ""
    call: str = ""
    name: str = ""
    citations: tuple[Citation, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()


def runs(answer: Answer, *, sealed: bool) -> list[Run]:
    """The items of an answer. Parts without a text, such as reasoning that is only signed, are in the seal alone."""
    found: list[Run] = []
    for part in answer.parts:
        if isinstance(part, ToolCallPart):
            found.append(Run("function_call", part.arguments, part.id, part.name))
        elif isinstance(part, TextPart | ReasoningPart) and part.text:
            kind: Kind = "message" if isinstance(part, TextPart) else "reasoning"
            if not found or found[-1].kind != kind:
                found.append(Run(kind))
            found[-1].text += part.text
    _annotate(found, answer)
    if answer.refusal:
        found.append(Run("refusal", answer.refusal))
    if sealed and (closing := seal(answer.parts)) is not None:
        found.append(Run("seal", closing))
    return found


def _annotate(found: Sequence[Run], answer: Answer) -> None:
    """Give each message the sources it names, in its own characters, and the probabilities of its tokens."""
    begins, left = 0, list(answer.logprobs)
    messages = [run for run in found if run.kind == "message"]
    for run in messages:
        ends = begins + len(run.text)
        run.citations = tuple(
            one.model_copy(update={"start": (one.start or 0) - begins, "end": min(one.end or 0, ends) - begins})
            for one in answer.citations
            if begins <= (one.start or 0) < ends
        )
        taken, length = 0, 0
        while taken < len(left) and (length < len(run.text) or run is messages[-1]):
            length += len(left[taken].token)
            taken += 1
        run.logprobs, left = tuple(left[:taken]), left[taken:]
        begins = ends


# -- items


def item_id(job: str, place: int, kind: Kind) -> str:
    """An item's id, made of its place."""
    return f"{PREFIXES[kind]}{job}_{place}"


def item(job: str, place: int, run: Run, status: str) -> Fields:
    """An item of the output; one that is in progress has nothing in it yet."""
    whole = status != "in_progress"
    told: Fields = {"id": item_id(job, place, run.kind)}
    match run.kind:
        case "message" | "refusal":
            content = [content_part(run)] if whole else []
            return {**told, "type": "message", "status": status, "role": "assistant", "content": content}
        case "function_call":
            arguments = run.text if whole else ""
            return {
                **told,
                "type": "function_call",
                "status": status,
                "call_id": run.call,
                "name": run.name,
                "arguments": arguments,
            }
        case "reasoning":
            summary = [{"type": "summary_text", "text": run.text}] if whole else []
            return {**told, "type": "reasoning", "summary": summary}
        case "seal":
            return {**told, "type": "reasoning", "summary": [], "encrypted_content": run.text if whole else ""}


def content_part(run: Run, *, empty: bool = False) -> Fields:
    """What is in a message: text with its sources, or a refusal."""
    if run.kind == "refusal":
        return {"type": "refusal", "refusal": "" if empty else run.text}
    part: Fields = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
    if empty:
        return part
    annotations = [annotation(one) for one in run.citations]
    return {**part, "annotations": annotations, "logprobs": [_logprob(one) for one in run.logprobs], "text": run.text}


def annotation(citation: Citation) -> Fields:
    """A source that a text names."""
    return {
        "type": "url_citation",
        "url": citation.url,
        "title": citation.title or "",
        "start_index": citation.start or 0,
        "end_index": citation.end or 0,
    }


def _logprob(one: TokenLogprob) -> Fields:
    top = [_likely(token, logprob) for token, logprob in one.top]
    return {**_likely(one.token, one.logprob), "top_logprobs": top}


def _likely(token: str, logprob: float) -> Fields:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "replace"))}


def output(job: str, found: Iterable[Run], *, whole: bool) -> list[Fields]:
    """All items; of an answer that is not ``whole`` the last one that was being said is not either."""
    items = [item(job, place, run, "completed") for place, run in enumerate(found)]
    said = [one for one in items if "status" in one]
    if said and not whole:
        said[-1]["status"] = "incomplete"
    return items


# -- the response


def pending(kept: Kept, job: str, status: Status) -> Fields:
    """The response before there is an answer."""
    echo = {name: value for name, value in kept.echo.items() if name in _DEFAULTS}
    return {
        "id": f"{ID}{job}",
        "object": "response",
        "created_at": int(kept.created),
        "status": status,
        **_DEFAULTS,
        **echo,
        "background": kept.background,
        "model": kept.model,
        "output": [],
    }


def ended(kept: Kept, result: Result) -> Fields:
    """The response once its job has ended, whichever way."""
    status = status_of(result)
    told = pending(kept, result.job, status)
    told["model"] = result.model or kept.model
    told["completed_at"] = int(result.times.finished) if status == "completed" else None
    if result.attempts:
        told["usage"] = usage(result.usage)
    if status == "failed":
        told["error"] = _error(result)
    if result.state is not JobState.SUCCEEDED:
        return told
    reason = _cut_by(result)
    told["incomplete_details"] = {"reason": reason} if reason else None
    found = runs(result.answer or Answer(), sealed=kept.sealed)
    told["output"] = output(result.job, found, whole=reason is None)
    return told


def status_of(result: Result) -> Status:
    """The API's word for how a job ended."""
    if result.state is JobState.CANCELLED:
        return "cancelled"
    if result.state is not JobState.SUCCEEDED:
        return "failed"
    return "incomplete" if _cut_by(result) else "completed"


def _cut_by(result: Result) -> str | None:
    """The API's word for what has cut an answer short; a model that declines in its own words has said all of them."""
    if result.finish_reason is None or (result.answer is not None and result.answer.refusal):
        return None
    return _REASONS.get(result.finish_reason)


def status_now(state: JobState) -> Status:
    """The API's word for where a job is that has not ended."""
    return "in_progress" if state in {JobState.DISPATCHED, JobState.STREAMING} else "queued"


def _error(result: Result) -> Fields:
    """What went wrong, in one of the API's own codes: typed clients know no others. Ours begins the message."""
    error = of_result(result)
    code = "server_error"
    if error.status == 429:
        code = "rate_limit_exceeded"
    elif 400 <= error.status < 500:
        code = "invalid_prompt"
    return {"code": code, "message": f"{error.code}: {error}"}


def usage(of: Usage) -> Fields:
    """A ``usage`` object."""
    return {
        "input_tokens": of.input,
        "input_tokens_details": {"cached_tokens": of.cache_read, "cache_write_tokens": of.cache_write},
        "output_tokens": of.output,
        "output_tokens_details": {"reasoning_tokens": of.reasoning},
        "total_tokens": of.total,
    }


# -- what goes on from it


def said(kept: Kept, result: Result) -> list[Fields]:
    """The conversation with the answer in it, as items: what the next response goes on from."""
    found = runs(result.answer or Answer(), sealed=True)
    return [*kept.items, *output(result.job, found, whole=True)]


def page(kept: Kept, *, limit: int, order: str, after: str | None, include: Iterable[str]) -> Fields:
    """A list of what led to the response. Raises ``Failed`` with 400 if there is no item ``after``."""
    items = list(kept.items) if order == "asc" else list(reversed(kept.items))
    if after is not None:
        places = [place for place, one in enumerate(items) if one.get("id") == after]
        if not places:
            raise invalid(f"after: there is no item {after!r}", param="after", remedy="use an id of this list")
        items = items[places[0] + 1 :]
    shown = [_shown(one, sealed="reasoning.encrypted_content" in include) for one in items[:limit]]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0].get("id") if shown else None,
        "last_id": shown[-1].get("id") if shown else None,
        "has_more": len(items) > limit,
    }


def _shown(one: Fields, *, sealed: bool) -> Fields:
    return one if sealed else {name: value for name, value in one.items() if name != "encrypted_content"}
