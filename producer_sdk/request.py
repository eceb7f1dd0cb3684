"""One request as it will be submitted: body, ticket and id, checked before anything is sent. Pure.

The body says *what* is to be done and is the same bytes for equal requests; whatever differs from one submission to the
next travels in the ticket only: the moment of submission, its token, ``deadline``, ``not_before``, and whether tokens
are wanted while they come. ``Ticket.body_hash`` is ``job_contracts.jobs.body_hash`` of exactly that body. So, under one
idempotency key, these make another request (and a conflict): route, messages, tools, generation settings, lane,
priority, session, max_cost, tags, constraints. These do not: deadline, not_before, stream, trace, tracestate.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from job_contracts import subjects
from job_contracts.chat import Conversation, FilePart, ImagePart, JsonSchemaFormat
from job_contracts.codec import ContractError, check, encode
from job_contracts.desk import Planned
from job_contracts.embeddings import MOST_INPUTS
from job_contracts.jobs import BlobRef, Job, Need, Ticket, body_hash
from job_contracts.subjects import H_STATE, H_TRACE
from job_contracts.tracing import read_trace, trace_in
from producer_sdk.errors import InvalidRequest
from producer_sdk.estimates import input_tokens, text_tokens
from producer_sdk.generation import settings, tool_list
from producer_sdk.messages import turns
from producer_sdk.options import JOB_OPTIONS, SETTINGS, Behalf

LOOKS_ABSOLUTE = 1e9
"""A number of seconds from now this large (31 years) is a Unix timestamp that somebody passed by mistake."""
_NO_OUTPUT = 1
"""The smallest output that can be reserved: vectors are none."""
LONGEST_TAG = 192
"""Characters of a tag, name and value, up to which the ticket tells it: no budget of a tag has a longer name."""


@dataclass(frozen=True, slots=True)
class Request:
    """A job ready to be sent; ``keyed`` if its id comes from an idempotency key, so that it may exist already."""

    job: str
    body: bytes
    ticket: Ticket
    keyed: bool
    trace: str | None = None
    """The span it belongs to, as a ``traceparent``."""
    tracestate: str | None = None

    @property
    def header(self) -> str:
        """The ticket as it travels in the header."""
        return encode(self.ticket).decode()

    @property
    def planned(self) -> Planned:
        """What its cost depends on."""
        ticket = self.ticket
        return Planned(
            route=ticket.route,
            input_estimate=ticket.input_estimate,
            max_output=ticket.max_output,
            needs=ticket.needs,
            size=len(self.body),
            constraints=ticket.constraints,
            lane=ticket.lane,
            session=ticket.session,
        )

    def as_blob(self, ref: BlobRef) -> Request:
        """The same job with its body stored elsewhere."""
        return replace(self, body=b"", ticket=self.ticket.model_copy(update={"blob": ref}))


def prepare(
    model: str,
    messages: object,
    tools: object,
    options: Mapping[str, Any],
    *,
    stream: bool,
    new_id: str,
    token: str,
    now: float,
) -> Request:
    """Check a request and make body and ticket of it.

    ``new_id`` is used unless an idempotency key names the job; ``token`` is random; ``now`` is UTC seconds. Raises
    InvalidRequest with the path of the first field that is wrong and what to do about it.
    """
    of_settings, of_job = _sort_out(options, SETTINGS | JOB_OPTIONS)
    asked = {
        "conversation": {
            "messages": turns(messages),
            "tools": tool_list(tools) if tools else (),
            "settings": settings(of_settings),
        },
    }
    return _request(model, asked, of_job, stream=stream, new_id=new_id, token=token, now=now)


def prepare_embedding(
    model: str,
    inputs: object,
    options: Mapping[str, Any],
    *,
    dimensions: int | None,
    purpose: str | None,
    new_id: str,
    token: str,
    now: float,
) -> Request:
    """The same for texts to be turned into vectors; ``options`` are those of a job alone."""
    _, of_job = _sort_out(options, JOB_OPTIONS)
    texts = input_list(inputs)
    if len(texts) > MOST_INPUTS:
        message = f"inputs: {len(texts)} texts, and a job takes {MOST_INPUTS}"
        remedy = f"submit them {MOST_INPUTS} at a time, or use embed(), which does"
        raise InvalidRequest(message, field="inputs", remedy=remedy)
    wanted = {"dimensions": dimensions, "purpose": purpose}
    asked = {"embedding": {"inputs": texts, **{name: value for name, value in wanted.items() if value is not None}}}
    return _request(model, {"kind": "embedding", **asked}, of_job, stream=False, new_id=new_id, token=token, now=now)


def input_list(inputs: object) -> list[str]:
    """Texts to be embedded, checked one by one; a plain string is one of them. Raises InvalidRequest."""
    if isinstance(inputs, str):
        inputs = [inputs]
    if isinstance(inputs, Mapping | bytes) or not isinstance(inputs, Iterable):
        message = f"inputs: expected texts, not {type(inputs).__name__}"
        raise InvalidRequest(message, field="inputs", remedy='write ["one text", "another"]')
    texts: list[Any] = list(inputs)
    if not texts:
        raise InvalidRequest("inputs: there is no text in it", field="inputs", remedy="give at least one")
    for index, text in enumerate(texts):
        if not isinstance(text, str) or not text:
            what = "it is empty" if isinstance(text, str) else f"expected a text, not {type(text).__name__}"
            where = f"inputs[{index}]"
            raise InvalidRequest(f"{where}: {what}", field=where, remedy="give texts of at least one character")
    return texts


def _request(
    model: str,
    asked: Mapping[str, Any],
    of_job: dict[str, Any],
    *,
    stream: bool,
    new_id: str,
    token: str,
    now: float,
) -> Request:
    behalf = of_job.pop("behalf", None)
    if behalf is not None and not isinstance(behalf, Behalf):
        remedy = "leave it out: only services that check keys themselves need it"
        raise InvalidRequest("behalf: it does not say for whom", field="behalf", remedy=remedy)
    trace, state = of_job.pop("trace", None), of_job.pop("tracestate", None)
    if trace is not None and (not isinstance(trace, str) or read_trace(trace) is None):
        remedy = "write 00-<32 hexadecimal digits>-<16 of them>-01, as W3C Trace Context has it, or leave it out"
        raise InvalidRequest("trace: it names no span", field="trace", remedy=remedy)
    state = _state(trace, state)
    deadline = moment(of_job.pop("deadline", None), now, "deadline")
    not_before = moment(of_job.pop("not_before", None), now, "not_before")
    _check_times(deadline, not_before, now)
    values: dict[str, Any] = {"id": _job_id(of_job.get("idempotency_key"), new_id), "route": model, **asked}
    values.update(of_job)
    job, body = _job_and_body(values)
    ticket = Ticket(
        route=job.route,
        lane=job.lane,
        priority=job.priority,
        deadline=deadline,
        not_before=not_before,
        submitted=now,
        token=token,
        body_hash=body_hash(body),
        input_estimate=tokens_of(job),
        max_output=job.chat.settings.max_tokens if job.embedding is None else _NO_OUTPUT,
        stream=stream,
        session=job.session,
        max_cost=job.max_cost,
        needs=("embeddings",) if job.embedding is not None else needs(job.chat),
        key=None if behalf is None else behalf.key,
        bounds=None if behalf is None else behalf.bounds,
        tags=_short(job.tags) if job.tags else {},
        constraints=job.constraints,
    )
    return Request(job.id, body, ticket, keyed=job.idempotency_key is not None, trace=trace, tracestate=state)


def _state(trace: str | None, state: object) -> str | None:
    """What goes on of a ``tracestate``: nothing where nobody records the trace, or where it is too long."""
    if state is None:
        return None
    if not isinstance(state, str) or not state.isascii() or (state and not state.isprintable()):
        remedy = "write it as W3C Trace Context has it, in printable ASCII, or leave it out"
        raise InvalidRequest("tracestate: no header can hold it", field="tracestate", remedy=remedy)
    found = None if trace is None else trace_in({H_TRACE: trace, H_STATE: state})
    return None if found is None else found.state or None


def _short(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that a budget can be of: the scheduler keeps those of every job, so the ticket tells no others."""
    return {name: value for name, value in tags.items() if len(name) + len(value) <= LONGEST_TAG}


def tokens_of(job: Job) -> int:
    """Estimated input tokens of a job of either kind."""
    if job.embedding is None:
        return input_tokens(job.chat)
    return int(sum(text_tokens(text) for text in job.embedding.inputs)) + len(job.embedding.inputs)


def _job_id(key: object, new_id: str) -> str:
    if key is None:
        return new_id
    if not isinstance(key, str) or not key:
        message = "idempotency_key: expected a string of at least one character"
        raise InvalidRequest(message, field="idempotency_key", remedy="make idempotency_key a string")
    try:
        return subjects.keyed_job_id(key)
    except ContractError as error:
        raise as_written(error) from error


def _job_and_body(values: dict[str, Any]) -> tuple[Job, bytes]:
    try:
        job = check(Job, values, strict_names=True)
        return job, encode(job)
    except ContractError as error:
        raise as_written(error) from error


def needs(conversation: Conversation) -> tuple[Need, ...]:
    """What a deployment must be able to do for this conversation."""
    chosen = conversation.settings
    found: list[Need] = []
    if conversation.tools:
        found.append("tools")
    if any(_has(turn.content, ImagePart) for turn in conversation.messages):
        found.append("images")
    if any(_has(turn.content, FilePart) for turn in conversation.messages):
        found.append("files")
    if isinstance(chosen.response_format, JsonSchemaFormat):
        found.append("json_schema")
    if chosen.reasoning_effort not in (None, "none") or (chosen.reasoning_budget and chosen.reasoning_effort is None):
        found.append("reasoning")
    if chosen.logprobs:
        found.append("logprobs")
    return tuple(found)


def _has(content: str | tuple[Any, ...], kind: type[ImagePart | FilePart]) -> bool:
    return not isinstance(content, str) and any(isinstance(part, kind) for part in content)


def _sort_out(options: Mapping[str, Any], known: frozenset[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    of_settings: dict[str, Any] = {}
    of_job: dict[str, Any] = {}
    for name, value in options.items():
        if name not in known:
            raise InvalidRequest(f"{name}: unknown option", field=name, remedy=did_you_mean(name, known))
        if name in SETTINGS:
            of_settings[name] = value
        elif value is not None:
            of_job[name] = value
    if "tags" in of_job:
        of_job["tags"] = _tags(of_job["tags"])
    if "max_cost" in of_job:
        of_job["max_cost"] = money(of_job["max_cost"], "max_cost")
    return of_settings, of_job


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A remedy for a name that does not exist."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known are: {', '.join(names)}" if names else "there are none"


def moment(when: object, now: float, field: str) -> float | None:
    """UTC seconds of a moment. Raises InvalidRequest."""
    if when is None:
        return None
    if isinstance(when, timedelta):
        return now + when.total_seconds()
    if isinstance(when, datetime):
        if when.tzinfo is None:
            raise InvalidRequest(
                f"{field}: {when.isoformat()} has no time zone",
                field=field,
                remedy="use datetime.now(timezone.utc) + …",
            )
        return when.timestamp()
    if isinstance(when, bool) or not isinstance(when, (int, float)) or not math.isfinite(when):
        raise InvalidRequest(
            f"{field}: {when!r} is not a moment",
            field=field,
            remedy="give a datetime with a time zone, a timedelta, or seconds from now",
        )
    if when >= LOOKS_ABSOLUTE:
        raise InvalidRequest(
            f"{field}: {when!r} seconds from now is a Unix timestamp, not a delay",
            field=field,
            remedy="give seconds from now, or datetime.fromtimestamp(…, timezone.utc)",
        )
    return now + when


def _check_times(deadline: float | None, not_before: float | None, now: float) -> None:
    if deadline is None:
        return
    if deadline <= now:
        raise InvalidRequest(
            f"deadline: it passed {now - deadline:.3g} s ago", field="deadline", remedy="choose one in the future"
        )
    if not_before is not None and deadline <= not_before:
        raise InvalidRequest(
            "deadline: it is not later than not_before", field="deadline", remedy="move one of the two"
        )


def _tags(tags: object) -> dict[str, Any]:
    if not isinstance(tags, Mapping):
        raise InvalidRequest("tags: expected a mapping of strings", field="tags", remedy="write {'name': 'value'}")
    return {name: tags[name] for name in sorted(tags, key=str)}


def money(amount: object, field: str) -> Decimal:
    """An amount in plain notation. Raises InvalidRequest."""
    try:
        exact = Decimal(str(amount))
        return Decimal(format(exact.normalize(), "f"))
    except (InvalidOperation, ValueError) as error:
        raise InvalidRequest(
            f"{field}: {amount!r} is not an amount", field=field, remedy="give US dollars, for example '0.05'"
        ) from error


_PREFIXES = ("conversation.settings.", "conversation.", "embedding.")
_NAMES = {"route": "model"}


def as_written(error: ContractError) -> InvalidRequest:
    """A contract's complaint about a job as one about the request: fields under the names their author knows."""
    field = error.field
    plain = next((field.removeprefix(prefix) for prefix in _PREFIXES if field.startswith(prefix)), field)
    plain = _NAMES.get(plain, plain)
    message = str(error).removeprefix("Job: ")
    remedy = error.remedy
    if field and plain != field:
        message = message.replace(field, plain, 1)
        remedy = remedy.replace(field, plain, 1)
    return InvalidRequest(message, field=plain or None, remedy=remedy or None)
