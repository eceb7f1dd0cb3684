"""``/v1/jobs``: submit, ask, wait, follow, call off. And a finished completion by its id."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway.app import Endpoint, answer
from gateway.asking import job_options, of_streams, permitted, while_connected
from gateway.bodies import native, openai_chat
from gateway.bodies.asked import Asked
from gateway.bodies.extras import told
from gateway.bodies.failures import ApiError, Failed, invalid, of_result
from gateway.bodies.native_schemas import submission
from gateway.bodies.openai_chat_schemas import COMPLETION
from gateway.bodies.openapi import EVENT, EVENTS, JSON, LAST_EVENT_ID, About, Parameter, Told
from gateway.routes.chat import policy_of
from gateway.sse import EventStream
from job_contracts.jobs import JobState
from producer_sdk.errors import IdempotencyConflict, NotFound, PenstockError, Refused, Timeout, Unreachable

if TYPE_CHECKING:
    from decimal import Decimal

    from starlette.types import ASGIApp

    from gateway.call import Call
    from job_contracts.codec import Wire
    from producer_sdk import JobHandle

CHAT_ID = "chatcmpl-"
MOST_SECONDS = 99_999_999
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{0,20})?(e[+-]?[0-9]{1,3})?", re.ASCII | re.IGNORECASE)
REASON = "cancelled over HTTP"


async def submit(call: Call) -> ASGIApp:
    """One job, durable when this is answered: from then on it ends in exactly one result."""
    asked = native.submission(await call.json())
    call.amend(native.with_options(call.extras, asked.options))
    settings, options = permitted(call, asked.asked), job_options(call, None, waits=False)
    producer = call.edge.producers.of(call.caller.project)
    if asked.inputs is not None:
        handle = await producer.submit_embedding(
            model=asked.asked.model,
            inputs=asked.inputs,
            dimensions=asked.dimensions,
            purpose=asked.purpose,
            **options,
        )
    else:
        handle = await producer.submit(
            model=asked.asked.model,
            messages=asked.asked.messages,
            tools=asked.asked.tools,
            stream=asked.asked.stream,
            **settings,
            **options,
        )
    call.edge.lingering.back(call.caller.project, handle.id)
    seen = native.unseen(handle.id, asked.asked.model)
    try:
        seen = native.view(await handle.status())
    except IdempotencyConflict:
        raise
    except (NotFound, Refused, Unreachable):
        pass  # it is durable, whatever the desk can say of it now
    return _told(seen, 202, {"location": seen.links.self, "x-penstock-job": seen.id, **_estimated(seen.estimated_cost)})


async def estimate(call: Call) -> ASGIApp:
    """What a job would cost now; nothing is submitted."""
    asked = native.submission(await call.json())
    call.amend(native.with_options(call.extras, asked.options))
    settings, options = permitted(call, asked.asked), job_options(call, None, waits=False)
    found = await call.edge.producers.of(call.caller.project).estimate(
        model=asked.asked.model,
        messages=None if asked.inputs is not None else asked.asked.messages,
        tools=asked.asked.tools,
        inputs=asked.inputs,
        **({} if asked.inputs is not None else settings),
        **options,
    )
    return _told(native.estimated(asked.asked.model, found), headers=_estimated(found.expected))


def _estimated(cost: Decimal | None) -> dict[str, str]:
    return {} if cost is None else {"x-penstock-estimated-cost": format(cost, "f")}


async def status(call: Call) -> ASGIApp:
    """Where a job is."""
    return _told(native.view(await _job(call).status()))


async def result(call: Call) -> ASGIApp:
    """A job's record, waited for as long as ``wait`` says; then where it is."""
    handle = _job(call)
    wait = min(_seconds(call, "wait"), call.edge.settings.timeout)
    call.edge.lingering.back(call.caller.project, handle.id)
    try:
        found = await while_connected(call, handle.record(wait))
    except Timeout:
        return _told(native.view(await handle.status()), 202)
    return _told(native.record(found), headers=told((found,)))


async def events(call: Call) -> ASGIApp:
    """A job's events from its start, or from where the client has read to; any number of clients may read along."""
    handle = _job(call)
    kind = call.request.query_params.get("as", "events")
    if kind not in {"events", "chat"}:
        raise invalid(f"as: {kind!r:.50} is none", param="as", remedy="use one of: events, chat")
    call.edge.lingering.back(call.caller.project, handle.id)
    source, jobs = of_streams([handle.stream(timeout=call.edge.settings.timeout)]), [handle.id]
    if kind == "events":
        return EventStream(
            call,
            source,
            jobs,
            native.Rendering(),
            policy="as_it_is",
            leaves=False,
            ends_told="always",
            nothing_left=204,
        )
    seen = await handle.status()
    asked = Asked(seen.route, (), stream=True)
    renderer = openai_chat.Rendering(asked, int(seen.submitted))
    return EventStream(call, source, jobs, renderer, policy=policy_of(call, asked), leaves=False, nothing_left=204)


async def cancel(call: Call) -> ASGIApp:
    """Record durably that a job should not be worked on any further; one that has ended stays as it is."""
    handle = _job(call)
    await handle.cancel(REASON)
    seen = await handle.status()
    return _told(native.view(seen), 200 if seen.state.terminal else 202)


async def explain(call: Call) -> ASGIApp:
    """Why a job is where it is."""
    handle = _job(call)
    found = await handle.explain()
    return _told(native.explained(found.status, found.result, call.edge.clock.wall(), found.attempts))


async def completion(call: Call) -> ASGIApp:
    """A chat completion that has ended, by its id."""
    name = call.request.path_params["id"]
    if not name.startswith(CHAT_ID):
        raise Failed(
            ApiError(404, "not_found", f"there is no completion {name!r:.100}", remedy="use its id as it came")
        )
    handle = _job(call, name.removeprefix(CHAT_ID))
    seen = await handle.status()
    if not seen.state.terminal:
        remedy = f"wait for it: GET /v1/jobs/{handle.id}/result?wait=30"
        raise Failed(ApiError(409, "not_finished", f"completion {name} is {seen.state.value}", remedy=remedy))
    found = await handle.record(0.0)
    if found.state is not JobState.SUCCEEDED:
        raise Failed(of_result(found))
    if found.answer is None:
        raise Failed(ApiError(404, "not_found", f"job {handle.id} made vectors, no completion"))
    return answer(openai_chat.completion(Asked(found.route, ()), (found,)), headers=told((found,)))


def _job(call: Call, job: str | None = None) -> JobHandle:
    """The job of the path, of the project whose key this is. Raises ``Failed`` with 404 for what can be no id."""
    name = call.request.path_params["id"] if job is None else job
    try:
        return call.edge.producers.of(call.caller.project).attach(name)
    except PenstockError as error:
        raise Failed(
            ApiError(404, "not_found", f"there is no job {name!r:.100}", remedy="use its id as it came")
        ) from error


def _seconds(call: Call, name: str) -> float:
    value = call.request.query_params.get(name, "0")
    if _SECONDS.fullmatch(value) is None or float(value) > MOST_SECONDS:
        raise invalid(f"{name}: {value!r:.50} is no number of seconds", param=name, remedy=f"write ?{name}=30")
    return float(value)


def _told(value: Wire, status: int = 200, headers: dict[str, str] | None = None) -> ASGIApp:
    return answer(None, status, headers, data=value.model_dump_json().encode())


_ID = Parameter("id", "path", "The job's id.", required=True)
_WAIT = Parameter(
    "wait",
    "query",
    "Seconds to wait for the job's end, within the gateway's own bound.",
    {"type": "number", "minimum": 0, "maximum": MOST_SECONDS},
)
_AS = Parameter(
    "as", "query", "events: the job's own; chat: chunks of an OpenAI chat completion.", {"enum": ["events", "chat"]}
)
_VIEW = Told("Where the job is.", {JSON: native.JobView})
_STREAM = "Server-sent events; each type's name is its event's, its data is JSON."

ENDPOINTS = (
    Endpoint(
        "/v1/jobs",
        ("POST",),
        submit,
        "native",
        about=About(
            "Submit a job",
            "jobs",
            {202: Told("It is durable, and ends in exactly one result.", {JSON: native.JobView})},
            body=submission,
            submits=True,
            description="A conversation (messages) or texts to be turned into vectors (inputs).",
        ),
    ),
    Endpoint(
        "/v1/jobs/estimate",
        ("POST",),
        estimate,
        "native",
        about=About(
            "What a job would cost",
            "jobs",
            {200: Told("An estimate; nothing is submitted.", {JSON: native.JobEstimate})},
            body=submission,
            submits=True,
            description="The body is that of a job. A job that would be refused has its reason in refused.",
        ),
    ),
    Endpoint(
        "/v1/jobs/{id}",
        ("GET",),
        status,
        "native",
        about=About("Where a job is", "jobs", {200: _VIEW}, parameters=(_ID,)),
    ),
    Endpoint(
        "/v1/jobs/{id}/result",
        ("GET",),
        result,
        "native",
        about=About(
            "A job's result",
            "jobs",
            {200: Told("Its one record; a failure is a value here.", {JSON: native.JobResult}), 202: _VIEW},
            parameters=(_ID, _WAIT),
        ),
    ),
    Endpoint(
        "/v1/jobs/{id}/events",
        ("GET",),
        events,
        "native",
        about=About(
            "Follow a job",
            "jobs",
            {200: Told(_STREAM, {EVENTS: EVENT}), 204: Told("The client has read all of it.")},
            parameters=(_ID, _AS, LAST_EVENT_ID),
            errors=(409, 410, 502, 504),
            description="queued, started, token, reasoning, tool_call, switched (forget what was said: another attempt "
            "starts over), usage, finished. Any number of clients may read along.",
        ),
    ),
    Endpoint(
        "/v1/jobs/{id}/cancel",
        ("POST",),
        cancel,
        "native",
        about=About(
            "Call a job off",
            "jobs",
            {200: Told("It had ended already.", {JSON: native.JobView}), 202: _VIEW},
            parameters=(_ID,),
        ),
    ),
    Endpoint(
        "/v1/jobs/{id}/explain",
        ("GET",),
        explain,
        "native",
        about=About(
            "Why a job is where it is",
            "jobs",
            {200: Told("What is known.", {JSON: native.Explanation})},
            parameters=(_ID,),
        ),
    ),
    Endpoint(
        "/v1/chat/completions/{id}",
        ("GET",),
        completion,
        about=About(
            "A finished chat completion",
            "chat",
            {200: Told("The completion.", {JSON: COMPLETION})},
            parameters=(Parameter("id", "path", "The completion's id: chatcmpl-….", required=True),),
            errors=(409, 502, 504),
        ),
    ),
)
