"""Jobs themselves over HTTP: what is submitted, where a job is, its record, its events.

A submission is the keyword arguments of ``Producer.submit`` (or ``submit_embedding``) as one JSON object; what is told
of jobs are the contracts' own words without what is the services' business (tokens, fingerprints, blobs).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal

from pydantic_core import to_json

from gateway.bodies import extras, openai_chat
from gateway.bodies.asked import Asked
from gateway.bodies.extras import Extras
from gateway.bodies.failures import ApiError, invalid, of_result
from gateway.bodies.frames import Frame
from gateway.bodies.kinds import whole
from job_contracts.chat import Answer, FinishReason, Usage
from job_contracts.codec import Wire
from job_contracts.decisions import Choice
from job_contracts.desk import Estimate
from job_contracts.embeddings import Embeddings
from job_contracts.explanations import under_way
from job_contracts.failures import Failure
from job_contracts.jobs import LANES, JobState, JobStatus, Lane
from job_contracts.results import AttemptRecord, Result, Times
from job_contracts.stream import Finished, StreamEvent

CONVERSATION = frozenset({"messages", "tools", "stream"}) | openai_chat.SETTINGS
"""Fields of a job that asks for an answer."""
EMBEDDING = frozenset({"inputs", "dimensions", "purpose"})
"""Fields of a job that asks for vectors."""
OPTIONS = frozenset(
    {"lane", "priority", "deadline", "not_before", "idempotency_key", "session", "max_cost", "tags", "constraints"}
)
"""Fields that any job may have; each may as well come as a header, and the body's word counts."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One job to submit: a conversation, or texts (then ``inputs`` is not ``None``)."""

    asked: Asked
    options: Mapping[str, Any]
    inputs: Any = None
    dimensions: int | None = None
    purpose: Any = None


def submission(body: Mapping[str, Any]) -> Submission:
    """What a body asks for; the SDK checks the rest of it. Raises ``Failed`` with 400 naming the field."""
    given = {name: value for name, value in body.items() if value is not None}
    model = given.pop("model", None)
    if not isinstance(model, str) or not model:
        raise invalid("model: expected the name of a route", param="model", remedy="GET /v1/models lists them")
    if ("inputs" in given) == ("messages" in given):
        message = "messages: a job has either messages (for an answer) or inputs (for vectors)"
        raise invalid(message, param="messages", remedy="give one of the two")
    known = (EMBEDDING if "inputs" in given else CONVERSATION) | OPTIONS
    for name in given:
        if name not in known:
            message = f"{name}: there is no such field in this kind of job"
            raise invalid(
                message, param=name, code="unknown_parameter", remedy=f"known are: {', '.join(sorted(known))}"
            )
    options = {name: given.pop(name) for name in OPTIONS & given.keys()}
    _check_options(options)
    if "inputs" in given:
        _make_whole(given, "dimensions")
        return Submission(Asked(model, ()), options, **given)
    stream = given.pop("stream", False)
    if not isinstance(stream, bool):
        raise invalid(f"stream: expected true or false, not {stream!r:.50}", param="stream")
    messages, tools = given.pop("messages"), given.pop("tools", ())
    return Submission(Asked(model, messages, tools, given, stream=stream), options)


def _check_options(options: dict[str, Any]) -> None:
    lane, tags = options.get("lane"), options.get("tags")
    if lane is not None and lane not in LANES:
        raise invalid(f"lane: {lane!r:.50} is none", param="lane", remedy=f"use one of: {', '.join(LANES)}")
    _make_whole(options, "priority")
    for name in ("session", "idempotency_key"):
        if name in options and not isinstance(options[name], str):
            raise invalid(f"{name}: expected a text, not {options[name]!r:.50}", param=name)
    if tags is not None and not isinstance(tags, dict):
        raise invalid("tags: expected an object of texts", param="tags", remedy='write {"name": "value"}')
    _check_amount(options.get("max_cost"), "max_cost")
    if "constraints" in options:
        options["constraints"] = _constraints(options["constraints"])
    for name in ("deadline", "not_before"):
        if name in options:
            options[name] = _moment(options[name], name)


def _constraints(asked: Any) -> dict[str, Any]:
    """What the SDK checks the rest of."""
    if not isinstance(asked, dict):
        remedy = 'write {"residency": ["eu-*"]}'
        raise invalid(f"constraints: expected an object, not {asked!r:.50}", param="constraints", remedy=remedy)
    given = {name: value for name, value in asked.items() if value is not None}
    for name in ("max_input_price", "max_output_price"):
        _check_amount(given.get(name), f"constraints.{name}")
    return given


def _check_amount(amount: Any, name: str) -> None:
    of_text = isinstance(amount, str) and re.fullmatch(extras.AMOUNT, amount) is not None
    if amount is not None and not of_text and (isinstance(amount, bool) or not isinstance(amount, int | float)):
        raise invalid(f"{name}: {amount!r:.50} is no amount", param=name, remedy='US dollars, such as "0.05"')


def _make_whole(given: dict[str, Any], name: str) -> None:
    if name not in given:
        return
    found = whole(given[name])
    if found is None:
        raise invalid(f"{name}: expected a whole number, not {given[name]!r:.50}", param=name)
    given[name] = found


def _moment(value: Any, name: str) -> Any:
    if isinstance(value, str):
        return extras.moment(value, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise invalid(f"{name}: {value!r:.50} is no moment", param=name, remedy=extras.WRITE_A_MOMENT)
    return float(value)


def with_options(headers: Extras, options: Mapping[str, Any]) -> Extras:
    """The extras of a submission: those of its headers, and the body's over them."""
    own = ("lane", "deadline", "idempotency_key")
    others = {name: value for name, value in options.items() if name not in own}
    named: dict[str, Any] = {name: options[name] for name in own if name in options}
    return replace(headers, others={**headers.others, **others}, **named)


# -- where a job is


class Links(Wire):
    """Where the rest of a job is."""

    self: str
    result: str
    events: str
    explain: str
    cancel: str


class JobView(Wire):
    """A job as it stands. Times are UTC seconds, ``eta`` seconds from now."""

    id: str
    object: Literal["job"] = "job"
    state: JobState
    route: str | None = None
    lane: Lane | None = None
    submitted: float | None = None
    deadline: float | None = None
    attempts: int = 0
    """Times it was sent to a provider."""
    deployment: str | None = None
    """Where it is being worked on, or was last."""
    position: int | None = None
    """Jobs that would be served before it; 0 is next."""
    eta: float | None = None
    """Seconds until it is likely to be sent to a provider."""
    waiting_for: str | None = None
    """In words."""
    estimated_cost: Decimal | None = None
    """US dollars its next attempt is likely to cost; ``null`` where no price is known."""
    worst_cost: Decimal | None = None
    """US dollars that attempt may cost at most; so much is reserved for it."""
    links: Links


def view(status: JobStatus) -> JobView:
    """A job as the desk knows it."""
    shared = set(JobStatus.model_fields) & set(JobView.model_fields)
    told = {name: getattr(status, name) for name in shared}
    return JobView(id=status.job, links=links(status.job), **told)


def unseen(job: str, route: str) -> JobView:
    """A job that is durably submitted, and that the desk has not spoken of."""
    return JobView(id=job, state=JobState.QUEUED, route=route, links=links(job))


def links(job: str) -> Links:
    """The paths of a job."""
    here = f"/v1/jobs/{job}"
    return Links(
        self=here, result=f"{here}/result", events=f"{here}/events", explain=f"{here}/explain", cancel=f"{here}/cancel"
    )


# -- what it would cost


class JobEstimate(Wire):
    """What a job would cost if it were submitted now, in US dollars; null where no price is known."""

    object: Literal["job.estimate"] = "job.estimate"
    route: str
    deployment: str | None = None
    """Where it would go."""
    estimated_cost: Decimal | None = None
    """By the lengths that the route's answers have had."""
    worst_cost: Decimal | None = None
    """What would be reserved for it."""
    refused: Failure | None = None
    """Why it would not be accepted."""


def estimated(route: str, estimate: Estimate) -> JobEstimate:
    """An estimate as it is told."""
    return JobEstimate(
        route=route,
        deployment=estimate.deployment,
        estimated_cost=estimate.expected,
        worst_cost=estimate.worst,
        refused=estimate.refused,
    )


# -- its end


class JobResult(Wire):
    """A job's one record: an answer or vectors if it succeeded, a failure if not, and every attempt that was made."""

    id: str
    object: Literal["job.result"] = "job.result"
    state: JobState
    route: str
    answer: Answer | None = None
    embeddings: Embeddings | None = None
    """Each vector as base64 of its 32-bit floats, little endian."""
    finish_reason: FinishReason | None = None
    finish_raw: str | None = None
    """The provider's own word for it."""
    usage: Usage
    cost: Decimal | None = None
    """US dollars."""
    provider: str | None = None
    model: str | None = None
    deployment: str | None = None
    attempts: tuple[AttemptRecord, ...] = ()
    failure: Failure | None = None
    times: Times
    tags: dict[str, str]
    replay_of: str | None = None
    """The job whose dead letter this one was made of."""


_SHARED = tuple(name for name in JobResult.model_fields if name not in {"id", "object"})


def record(result: Result) -> JobResult:
    """A result as it is told."""
    return JobResult.model_construct(id=result.job, **{name: getattr(result, name) for name in _SHARED})


# -- why it waits


class Explanation(Wire):
    """What is known of why a job is where it is. Of a job that has ended: every attempt, and what became of it."""

    id: str
    object: Literal["job.explanation"] = "job.explanation"
    state: JobState
    because: str
    """In words."""
    position: int | None = None
    eta: float | None = None
    """Seconds until it is likely to be sent to a provider."""
    waiting_for: str | None = None
    deadline: float | None = None
    estimated_cost: Decimal | None = None
    """US dollars its next attempt is likely to cost; null where no price is known."""
    worst_cost: Decimal | None = None
    """US dollars that attempt may cost at most."""
    decision: Choice | None = None
    """While it waits: where it would go now, what counts of each deployment of its route, and what speaks against it.
    While it is under way on a route that is not ordered: why it went there. Afterwards each attempt has its own."""
    dispatches: int = 0
    """Times it was sent to a provider."""
    deployment: str | None = None
    attempts: tuple[AttemptRecord, ...] = ()
    """Those that have ended: how, and on a route that is not ordered why they went where they did."""


def explained(
    status: JobStatus, result: Result | None, now: float, attempts: tuple[AttemptRecord, ...] = ()
) -> Explanation:
    """Why a job is where it is at ``now`` (UTC seconds); ``result`` is its record if it has ended."""
    return Explanation(
        id=status.job,
        state=status.state,
        because=_ended(result) if result is not None else under_way(status, now),
        position=status.position,
        eta=status.eta,
        waiting_for=status.waiting_for,
        deadline=status.deadline,
        estimated_cost=status.estimated_cost,
        worst_cost=status.worst_cost,
        decision=status.decision,
        dispatches=status.attempts,
        deployment=status.deployment,
        attempts=result.attempts if result is not None else attempts,
    )


def _ended(result: Result) -> str:
    if result.state is JobState.SUCCEEDED:
        return f"answered by {result.deployment}, attempt {len(result.attempts)}"
    return str(of_result(result))


# -- its events


class Rendering:
    """A ``frames.Renderer`` for the events themselves: each under its type, as JSON with its place."""

    def begin(self, jobs: Sequence[str]) -> None:
        """See ``Renderer``."""

    def event(self, index: int, event: StreamEvent) -> list[Frame]:
        """See ``Renderer``."""
        if not isinstance(event, Finished):
            return [Frame(event.model_dump_json(exclude_none=True).encode(), event.type)]
        told = event.model_dump(mode="json", exclude={"result"}) | {"result": record(event.result)}
        return [Frame(to_json(told), event.type)]

    def end(self, results: tuple[Result, ...]) -> list[Frame]:
        """See ``Renderer``: ``Finished`` was the end."""
        return []

    def failed(self, error: ApiError) -> list[Frame]:
        """See ``Renderer``."""
        return [Frame(to_json(error.body("native", "")), "error")]
