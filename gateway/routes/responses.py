"""``/v1/responses``: answers that are kept, gone on from, waited for later, and read again while they come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.app import Endpoint, answer
from gateway.asking import (
    BEYOND_DEADLINE,
    Gone,
    job_options,
    leave,
    of_streams,
    patience,
    permitted,
    submitted,
    while_connected,
)
from gateway.bodies import extras, openai_responses
from gateway.bodies import openai_responses_answer as objects
from gateway.bodies import openai_responses_schemas as schemas
from gateway.bodies.asked import Asked
from gateway.bodies.failures import ApiError, Failed, invalid, of_result
from gateway.bodies.openai_responses_kept import ID, Kept
from gateway.bodies.openai_responses_stream import Rendering
from gateway.bodies.openapi import EVENT, EVENTS, JSON, About, Parameter, Told
from gateway.bodies.schemas import FLAG, TEXT, many, one_of
from gateway.conversations import Conversations
from gateway.refusals import api_error
from gateway.routes.chat import policy_of, unused
from gateway.sse import Events, EventStream
from job_contracts import subjects
from job_contracts.codec import ContractError
from job_contracts.jobs import JobState
from job_contracts.results import Result
from producer_sdk.errors import (
    InvalidRequest,
    JobFailed,
    NotFound,
    PenstockError,
    Refused,
    Timeout,
    Unreachable,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from gateway.bodies.openai_responses import Wanted
    from gateway.call import Call
    from job_contracts.jobs import JobStatus
    from producer_sdk import JobHandle, JobStream

ENDED_WITHIN = 5.0
"""Seconds for a job that is called off to end; what is not over by then is told as it stands."""
RECORD_WITHIN = 30.0
"""Seconds for the record of a job that has ended."""
MOST_EVENTS = 2**53
"""No stream has so many."""
MOST_ITEMS, SOME_ITEMS = 100, 20
"""Items in one page: at most, and unless the client says how many."""


@dataclass(frozen=True, slots=True)
class _Submitted:
    """A request whose job is durable, and how its end is heard of: as it comes, or in one piece."""

    job: str
    asked: Asked
    kept: Kept
    events: Events | None = None
    handle: JobHandle | None = None


async def create(call: Call) -> ASGIApp:
    """A new response: waited for, streamed, or left to itself in the background."""
    wanted = openai_responses.wanted(await call.json())
    jobs: list[str] = []
    try:
        return await while_connected(call, _created(call, wanted, jobs))
    except Gone:
        if not wanted.background:
            leave(call, jobs, keyed=call.extras.idempotency_key is not None)
        raise


async def _created(call: Call, wanted: Wanted, jobs: list[str]) -> ASGIApp:
    after = _seen(call)
    if after >= 0 and call.extras.idempotency_key is None:
        remedy = "GET /v1/responses/{id}?stream=true&starting_after=N, or send the Idempotency-Key of the first time"
        raise invalid("last-event-id: this asks for another response", param="last-event-id", remedy=remedy)
    try:
        made = await _submitted(call, wanted, jobs)
        headers = unused(made.asked)
        if made.events is not None:
            return _stream(call, made, made.events, headers, of_its_own=wanted.background, after=after)
        if wanted.background or made.handle is None:
            headers["x-penstock-job"] = made.job
            return answer(objects.pending(made.kept, made.job, "queued"), headers=headers)
        result = await made.handle.record(patience(call))
    except (PenstockError, Failed) as error:
        keyed = call.extras.idempotency_key is not None
        if not (keyed and wanted.background):  # then its client may know it from before
            leave(call, jobs, keyed=keyed)
        if isinstance(error, Failed):
            raise
        raise Failed(api_error(error)) from error
    if result.state is not JobState.SUCCEEDED:
        raise Failed(of_result(result))
    return answer(objects.ended(made.kept, result), headers={**extras.told((result,)), **headers})


async def _submitted(call: Call, wanted: Wanted, jobs: list[str]) -> _Submitted:
    """Make the job durable, then keep what is known of the response. The job's id is put into ``jobs``."""
    before = await _before(call, wanted.previous) if wanted.previous is not None else []
    asked = wanted.asked(before)
    settings, options = permitted(call, asked), job_options(call, asked, waits=not wanted.background)
    producer = call.edge.producers.of(call.caller.project)
    job = {"model": asked.model, "messages": asked.messages, "tools": asked.tools, **settings, **options}
    events, handle = None, None
    if asked.stream:
        following = producer.stream(**job, timeout=patience(call))
        jobs.append(following.job)
        events = await _begun(following, jobs)
    else:
        handle = await submitted(call, producer.submit(**job), jobs)
    call.edge.lingering.back(producer.project, jobs[0])
    kept = wanted.kept(jobs[0], call.edge.clock.wall(), before)
    if wanted.store:
        store = Conversations(call.edge.bus)
        kept = await store.keep(producer.project, jobs[0], kept, ttl=_lifetime(call, background=wanted.background))
    return _Submitted(jobs[0], asked, kept, events, handle)


async def _begun(following: JobStream, jobs: list[str]) -> Events:
    """Submit the job of a stream; its events, of which none is missed meanwhile."""
    try:
        first = await following.several()
    except (Refused, JobFailed, InvalidRequest):
        jobs.clear()  # there is none, it has ended, or it is another request's
        raise
    except Unreachable as error:
        if not error.maybe_stored:
            jobs.clear()
        raise

    async def all_of_them() -> Events:
        yield 0, first
        async for index, some in of_streams([following]):
            yield index, some

    return all_of_them()


def _lifetime(call: Call, *, background: bool) -> float:
    """Seconds from now in which a result may be read: until its job's deadline, and as long as results are kept."""
    config = call.edge.config
    waiting = patience(call)
    if background and call.extras.deadline is None:
        waiting = config.scheduler.default_deadline + BEYOND_DEADLINE
    return config.nats.result_ttl + waiting


async def _before(call: Call, previous: str) -> list[dict[str, Any]]:
    """The conversation up to the end of an earlier response. Raises ``Failed`` with 400."""
    where = "previous_response_id"
    try:
        job, kept = await _found(call, previous, items=True)
        standing = await _standing(call, job)
    except (Failed, NotFound) as error:
        if isinstance(error, Failed) and error.error.status != 404:
            raise
        message = f"{where}: there is no response {previous!r}"
        remedy = "send the conversation itself as input; responses are kept for a day unless configured otherwise"
        raise invalid(message, param=where, code="previous_response_not_found", remedy=remedy) from error
    if not isinstance(standing, Result):
        message, remedy = f"{where}: {previous!r} has not ended yet", "wait until it has"
        raise invalid(message, param=where, code="previous_response_not_ended", remedy=remedy)
    if standing.state is not JobState.SUCCEEDED:
        message = f"{where}: {previous!r} has no answer: it is {objects.status_of(standing)}"
        raise invalid(message, param=where, code="previous_response_failed", remedy="go on from the one before it")
    return objects.said(kept, standing)


# -- one response


async def retrieve(call: Call) -> ASGIApp:
    """A response as it stands, or its events from any place on."""
    job, kept = await _found(call, call.request.path_params["id"])
    query = call.request.query_params
    after = _seen(call)
    streamed = query.get("stream", "false").lower()
    if streamed not in {"true", "1", "false", "0"}:
        raise invalid(f"stream: {streamed!r:.50} is none", param="stream", remedy="use one of: true, false")
    if streamed in {"true", "1"}:
        following = call.edge.producers.of(call.caller.project).attach(job).stream(timeout=patience(call))
        made = _Submitted(job, Asked(kept.model, ()), kept)
        return _stream(call, made, of_streams([following]), {}, of_its_own=True, after=after)
    if "starting_after" in query:
        remedy = "add stream=true"
        raise invalid("starting_after: it goes with stream=true", param="starting_after", remedy=remedy)
    return _as_it_stands(kept, job, await _standing(call, job))


async def cancel(call: Call) -> ASGIApp:
    """Call a background response off; one that has ended is given as it is."""
    job, kept = await _found(call, call.request.path_params["id"])
    if not kept.background:
        message = "only a response that was made with background: true can be cancelled"
        raise invalid(message, remedy="close its connection instead", code="not_in_background")
    handle = call.edge.producers.of(call.caller.project).attach(job)
    await handle.cancel("cancelled by its client")
    try:
        standing: Result | JobStatus = await handle.record(ENDED_WITHIN)
    except Timeout:
        standing = await _standing(call, job)
    return _as_it_stands(kept, job, standing)


async def delete(call: Call) -> ASGIApp:
    """Forget a response; a job in the background that has not ended is called off, since nobody could read it."""
    name = call.request.path_params["id"]
    job, kept = await _found(call, name)
    if not await Conversations(call.edge.bus).forget(call.caller.project, job):
        raise _unknown(name)
    if kept.background:
        call.edge.lingering.leave(call.caller.project, job, keyed=False)
    return answer({"id": name, "object": "response", "deleted": True})


async def input_items(call: Call) -> ASGIApp:
    """What led to a response, page by page."""
    _, kept = await _found(call, call.request.path_params["id"], items=True)
    query = call.request.query_params
    limit = _number(query.get("limit", str(SOME_ITEMS)), "limit", least=1, most=MOST_ITEMS)
    order = query.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise invalid(f"order: {order!r} is none", param="order", remedy="use one of: asc, desc")
    included = {*query.getlist("include"), *query.getlist("include[]")}
    return answer(objects.page(kept, limit=limit, order=order, after=query.get("after"), include=included))


# -- inside


async def _found(call: Call, name: str, *, items: bool = False) -> tuple[str, Kept]:
    """A response of the caller's project: its job, and what is kept of it. Raises ``Failed`` with 404."""
    try:
        job = subjects.check_job_id(name.removeprefix(ID)) if name.startswith(ID) else ""
    except ContractError:
        job = ""
    kept = await Conversations(call.edge.bus).find(call.caller.project, job, items=items) if job else None
    if kept is None:
        raise _unknown(name)
    return job, kept


def _unknown(name: str) -> Failed:
    remedy = "check the id; with store: false nothing is kept, and a day after its end nothing is unless configured so"
    return Failed(ApiError(404, "response_not_found", f"there is no response {name!r}", remedy=remedy))


async def _standing(call: Call, job: str) -> Result | JobStatus:
    """Where a response's job is, or its record. Raises NotFound when neither is there any more."""
    handle = call.edge.producers.of(call.caller.project).attach(job)
    status = await handle.status()
    return await handle.record(RECORD_WITHIN) if status.state.terminal else status


def _as_it_stands(kept: Kept, job: str, standing: Result | JobStatus) -> ASGIApp:
    if isinstance(standing, Result):
        return answer(objects.ended(kept, standing), headers=extras.told((standing,)))
    return answer(objects.pending(kept, job, objects.status_now(standing.state)), headers={"x-penstock-job": job})


def _stream(
    call: Call, made: _Submitted, events: Events, headers: dict[str, str], *, of_its_own: bool, after: int
) -> EventStream:
    """``of_its_own``: the response is there whatever becomes of this request, and goes on without it."""
    rendering = Rendering(made.kept, at_once=of_its_own, after=after)
    return EventStream(
        call,
        events,
        [made.job],
        rendering,
        policy=policy_of(call, made.asked),
        headers=headers,
        leaves=not of_its_own,
        keyed=call.extras.idempotency_key is not None,
        numbered=True,
        ends_told="always" if of_its_own else "once begun",
    )


def _seen(call: Call) -> int:
    """The number of the last event that the client has seen: ``starting_after``, or the last event's id; -1: none."""
    told = {"last-event-id": call.extras.resume or None}
    told["starting_after"] = call.request.query_params.get("starting_after")
    seen = [_number(one, name, least=0, most=MOST_EVENTS) for name, one in told.items() if one is not None]
    return seen[-1] if seen else -1


def _number(told: str, name: str, *, least: int, most: int) -> int:
    if not told.isascii() or not told.isdecimal() or len(told) > 16 or not least <= int(told) <= most:
        raise invalid(f"{name}: {told!r} is not a number from {least} to {most}", param=name)
    return int(told)


_ID = Parameter("id", "path", "The response's id: resp_….", required=True)
_INCLUDE = Parameter("include", "query", "What is to be shown besides.", many(TEXT))
_AFTER = Parameter(
    "starting_after",
    "query",
    "The number of the last event that was read; goes with stream=true.",
    {"type": "integer", "minimum": 0, "maximum": MOST_EVENTS},
)
_LAST = Parameter(
    "last-event-id",
    "header",
    "The same, as a browser says it. A request that is sent again needs its Idempotency-Key for that.",
    {"type": "string", "pattern": "^[0-9]{0,15}$"},
)
_STREAM = Parameter("stream", "query", "Its events, from any place on.", FLAG)
_WHOLE = {JSON: schemas.RESPONSE}
_EITHER = {**_WHOLE, EVENTS: EVENT}
_CREATE = About(
    "A response",
    "responses",
    {200: Told("The response, or its events.", _EITHER)},
    body=schemas.request,
    submits=True,
    parameters=(_LAST,),
    errors=(507,),
    description="After the OpenAI API. It is kept, and can be gone on from, unless it says store: false.",
)
_RETRIEVE = About(
    "A response as it stands",
    "responses",
    {200: Told("The response, or its events.", _EITHER)},
    parameters=(_ID, _STREAM, _AFTER, _INCLUDE, _LAST),
    errors=(409, 410, 502, 504),
)
_CANCEL = About(
    "Call a response off",
    "responses",
    {200: Told("The response as it stands.", _WHOLE)},
    parameters=(_ID,),
    errors=(409, 504),
    description="Of one that was made with background: true.",
)
_DELETE = About(
    "Forget a response", "responses", {200: Told("It is gone.", {JSON: schemas.DELETED})}, parameters=(_ID,)
)
_ITEMS = About(
    "What led to a response",
    "responses",
    {200: Told("A page of its items.", {JSON: schemas.ITEMS})},
    parameters=(
        _ID,
        Parameter("limit", "query", "How many at most.", {"type": "integer", "minimum": 1, "maximum": MOST_ITEMS}),
        Parameter("order", "query", "desc if nothing is said.", one_of(("asc", "desc"))),
        Parameter("after", "query", "Those behind this item."),
        _INCLUDE,
    ),
)
ENDPOINTS = (
    Endpoint("/v1/responses", ("POST",), create, about=_CREATE),
    Endpoint("/v1/responses/{id}", ("GET",), retrieve, about=_RETRIEVE),
    Endpoint("/v1/responses/{id}", ("DELETE",), delete, about=_DELETE),
    Endpoint("/v1/responses/{id}/cancel", ("POST",), cancel, about=_CANCEL),
    Endpoint("/v1/responses/{id}/input_items", ("GET",), input_items, about=_ITEMS),
)
