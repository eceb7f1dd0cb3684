"""From a request to its jobs and back: submitted durably, waited for within the deadline, left when the client goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Mapping
from contextlib import aclosing
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.bodies.failures import ApiError, Failed, invalid, of_result
from gateway.bodies.kinds import check_kinds
from gateway.overhead import tell_overhead
from gateway.refusals import api_error
from gateway.tracing import client_trace
from job_contracts.jobs import LANES, JobState, Lane
from job_contracts.stream import Finished
from job_contracts.subjects import keyed_job_id
from producer_sdk.errors import NotFound, PenstockError, Unreachable
from producer_sdk.options import Behalf
from runtime.telemetry import TRACE

if TYPE_CHECKING:
    from gateway.bodies.asked import Asked
    from gateway.call import Call
    from job_contracts.keys import Scope
    from job_contracts.results import Result
    from job_contracts.stream import StreamEvent
    from producer_sdk import JobHandle, JobStream

T = TypeVar("T")

MOST_ANSWERS = 128
"""Answers one request may ask for (``n``), as the OpenAI API has it."""
BEYOND_DEADLINE = 10.0
"""Seconds beyond a job's deadline in which its record must have come."""


class Gone(Exception):
    """The client has closed its connection: there is nobody to answer."""


def job_options(call: Call, asked: Asked | None, *, waits: bool = True, lane: Lane | None = None) -> dict[str, Any]:
    """Job options of a request, within what its key may do. ``waits``: its client waits for the answer; ``lane`` is
    the lane of a request that names none, where nobody waits.

    Raises ``Failed``: 400 for a header, 403 for what the key may not.
    """
    extras, scope = call.extras, call.caller.scope
    options: dict[str, Any] = {**extras.others, "behalf": Behalf(call.caller.key, scope.bounds())}
    trace = call.trace or client_trace(call)
    if trace is not None:
        options["trace"] = trace.header
        if trace.state:
            options["tracestate"] = trace.state
        TRACE.set(trace.id)
    if asked is not None and asked.session is not None:
        options.setdefault("session", asked.session)
    if extras.lane is not None:
        options["lane"] = extras.lane
    elif waits:
        options["lane"] = _lane_of_who_waits(call)
    elif lane is not None:
        options["lane"] = lane
    if scope.lanes is not None and options.get("lane", "std") not in scope.lanes:
        raise Failed(_forbidden(f"this key may not use lane {options.get('lane', 'std')!r}", scope.lanes))
    if extras.deadline is not None:
        options["deadline"] = extras.deadline
    elif waits:
        options["deadline"] = call.edge.settings.timeout
    if scope.max_cost is not None:
        options["max_cost"] = min(scope.max_cost, _money(options.get("max_cost", scope.max_cost)))
    if extras.idempotency_key is not None:
        options["idempotency_key"] = extras.idempotency_key
    return options


def permitted(call: Call, asked: Asked) -> dict[str, Any]:
    """Generation settings of a request, within what its key may do. Raises ``Failed`` with 403 or 400."""
    return within(call.caller.scope, asked)


def within(scope: Scope, asked: Asked) -> dict[str, Any]:
    """Generation settings of what is asked, within what a key may do. Raises ``Failed`` with 403 or 400."""
    if scope.routes is not None and asked.model not in scope.routes:
        raise Failed(_forbidden(f"this key may not use model {asked.model!r}", scope.routes))
    if not 1 <= asked.n <= MOST_ANSWERS:
        raise invalid(f"n: {asked.n} answers cannot be asked for", param="n", remedy=f"ask for 1 to {MOST_ANSWERS}")
    settings = dict(asked.settings)
    check_kinds(settings)
    if scope.max_tokens is not None:
        wanted = settings.get("max_completion_tokens", settings.get("max_tokens"))
        if isinstance(wanted, int) and wanted > scope.max_tokens:
            message = f"max_tokens: {wanted} is more than this key may ask for"
            raise invalid(message, param="max_tokens", remedy=f"ask for at most {scope.max_tokens}")
        if wanted is None:
            settings["max_tokens"] = scope.max_tokens
    return settings


async def answers(call: Call, asked: Asked) -> tuple[Result, ...]:
    """Submit the request's jobs and wait for all of them; every one has succeeded.

    Raises ``Failed`` with the first failure, Gone when the client went away.
    """
    settings, options = permitted(call, asked), job_options(call, asked)
    longest, keyed = patience(call), "idempotency_key" in options
    # Not broken off when the client goes: what may be stored must be known, to be left.
    handles = await _submitted(call, asked, settings, options)
    try:
        results = await while_connected(call, _succeeded(handles, longest))
    except Failed:
        if len(handles) > 1:  # nobody waits for the others
            leave(call, [handle.id for handle in handles], keyed=keyed)
        raise
    except (Gone, PenstockError) as error:
        leave(call, [handle.id for handle in handles], keyed=keyed)
        if isinstance(error, PenstockError):
            raise Failed(api_error(error)) from error
        raise
    for result in results:
        tell_overhead(call, result)
    return results


async def _succeeded(handles: list[JobHandle], patience: float | None) -> tuple[Result, ...]:
    """The records of all. Raises ``Failed`` as soon as one is no success, PenstockError."""
    if len(handles) == 1:
        return (_success(await handles[0].record(patience)),)
    tasks = [asyncio.ensure_future(handle.record(patience)) for handle in handles]
    try:
        for ended in asyncio.as_completed(tasks):
            _success(await ended)
        return tuple(task.result() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _success(record: Result) -> Result:
    if record.state is not JobState.SUCCEEDED:
        raise Failed(of_result(record))
    return record


async def submitted(call: Call, work: Coroutine[Any, Any, JobHandle], jobs: list[str]) -> JobHandle:
    """A job, durable; its id is put into ``jobs``, also where it is not known whether it is stored.

    Not broken off when the client goes: what may be stored must be known, to be left. Raises PenstockError.
    """

    def known(done: asyncio.Task[JobHandle]) -> None:
        error = None if done.cancelled() else done.exception()
        if isinstance(error, Unreachable) and error.maybe_stored and error.job is not None:
            jobs.append(error.job)
        elif error is None and not done.cancelled():
            jobs.append(done.result().id)
            call.edge.lingering.back(call.caller.project, jobs[-1])

    submitting = asyncio.get_running_loop().create_task(work)
    submitting.add_done_callback(known)
    try:
        return await asyncio.shield(submitting)
    finally:
        await asyncio.wait({submitting})


async def _submitted(call: Call, asked: Asked, settings: dict[str, Any], options: dict[str, Any]) -> list[JobHandle]:
    """All jobs of a request, durable. If one is refused the others are left, and it is raised as ``Failed``."""
    producer = call.edge.producers.of(call.caller.project)
    jobs: list[str] = []

    def one(index: int) -> Awaitable[JobHandle | PenstockError]:
        work = producer.submit(
            model=asked.model, messages=asked.messages, tools=asked.tools, **settings, **_numbered(options, index)
        )
        return _or_why_not(submitted(call, work, jobs))

    made = [await one(0)] if asked.n == 1 else await asyncio.gather(*(one(index) for index in range(asked.n)))
    for wrong in made:
        if isinstance(wrong, PenstockError):
            leave(call, jobs, keyed="idempotency_key" in options)
            raise wrong
    return [handle for handle in made if not isinstance(handle, PenstockError)]


async def _or_why_not(work: Awaitable[T]) -> T | PenstockError:
    try:
        return await work
    except PenstockError as error:
        return error


async def events(call: Call, asked: Asked, jobs: list[str]) -> AsyncGenerator[tuple[int, list[StreamEvent]], None]:
    """Submit the request's jobs and give their events as they come, each with the index of its answer.

    The jobs' ids are put into ``jobs`` before the first event. Raises PenstockError for what was refused or failed,
    ``Failed`` for what cannot be resumed.
    """
    settings, options = permitted(call, asked), job_options(call, asked)
    if call.extras.resume:
        await _check_resumable(call, options)
    producer = call.edge.producers.of(call.caller.project)
    streams = [
        producer.stream(
            model=asked.model,
            messages=asked.messages,
            tools=asked.tools,
            timeout=patience(call),
            **settings,
            **_numbered(options, index),
        )
        for index in range(asked.n)
    ]
    jobs.extend(stream.job for stream in streams)
    for job in jobs:
        call.edge.lingering.back(producer.project, job)
    async with aclosing(of_streams(streams)) as every:
        async for index, some in every:
            if isinstance(some[-1], Finished):
                tell_overhead(call, some[-1].result)
            yield index, some


async def _check_resumable(call: Call, options: Mapping[str, Any]) -> None:
    """A stream is taken up where its job is known; a new job's answer must never be joined to an old one's."""
    key = options.get("idempotency_key")
    if key is None:
        remedy = "send it with the Idempotency-Key of the request that began the stream, or leave it out"
        message = "Last-Event-ID: without a key it is not known which stream is meant"
        raise invalid(message, param="last-event-id", remedy=remedy)
    try:
        await call.edge.producers.of(call.caller.project).attach(keyed_job_id(str(key))).status()
    except NotFound as error:
        message = "there is no stream under this key any more"
        remedy = "send the request without Last-Event-ID: it begins anew"
        raise Failed(ApiError(410, "resume_impossible", message, remedy=remedy)) from error


async def of_streams(streams: list[JobStream]) -> AsyncGenerator[tuple[int, list[StreamEvent]], None]:
    """The events of several jobs as they come, each time with the index of the job. Raises PenstockError."""
    if len(streams) == 1:
        async with streams[0] as only:
            while True:
                try:
                    some = await only.several()
                except StopAsyncIteration:
                    return
                yield 0, some
    waiting = {asyncio.ensure_future(stream.several()): index for index, stream in enumerate(streams)}
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                index = waiting.pop(task)
                try:
                    some = task.result()
                except StopAsyncIteration:
                    continue
                waiting[asyncio.ensure_future(streams[index].several())] = index
                yield index, some
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for stream in streams:
            await stream.aclose()


def patience(call: Call) -> float:
    """Seconds to wait for a request's end: its job has one by its deadline; this bounds what a lost word would cost."""
    deadline = call.extras.deadline
    if isinstance(deadline, datetime):
        return max(0.0, deadline.timestamp() - call.edge.clock.wall()) + BEYOND_DEADLINE
    return (call.edge.settings.timeout if deadline is None else deadline) + BEYOND_DEADLINE


def leave(call: Call, jobs: list[str], *, keyed: bool) -> None:
    """Nobody waits for these jobs here any more; what becomes of them is the request's choice, or the edge's."""
    wish = call.extras.on_disconnect or call.edge.settings.on_disconnect
    if wish == "continue" or call.edge.draining:
        return
    for job in jobs:
        call.edge.lingering.leave(call.caller.project, job, keyed=keyed)


async def while_connected(call: Call, work: Awaitable[T]) -> T:
    """What ``work`` returns. Raises Gone, with the work cancelled, as soon as the client closes its connection."""
    task = asyncio.current_task()
    if task is None:
        return await work
    working, gone = True, False

    def heard(listening: asyncio.Task[None]) -> None:
        nonlocal gone
        if working and not listening.cancelled():  # afterwards a cancel would hit what has nothing to do with it
            gone = True
            task.cancel()

    listening = asyncio.get_running_loop().create_task(_disconnected(call))
    listening.add_done_callback(heard)
    try:
        return await work
    except asyncio.CancelledError:
        if gone and task.uncancel() == 0:
            raise Gone from None
        raise
    finally:
        working = False
        listening.cancel()


async def _disconnected(call: Call) -> None:
    while (await call.request.receive())["type"] != "http.disconnect":
        pass


def _numbered(options: dict[str, Any], index: int) -> dict[str, Any]:
    """The options of one of several answers: a key names one job, so each has its own."""
    if index == 0 or "idempotency_key" not in options:
        return options
    return {**options, "idempotency_key": f"{options['idempotency_key']}#{index}"}


def _lane_of_who_waits(call: Call) -> Lane:
    """``rt`` where key and project may use it, else the first lane that they may."""
    project = call.edge.config.projects.get(call.caller.project)
    allowed = LANES if project is None else project.lanes
    wanted = [lane for lane in LANES if lane in allowed and lane in (call.caller.scope.lanes or LANES)]
    return wanted[0] if wanted else "std"


def _forbidden(message: str, allowed: tuple[str, ...]) -> ApiError:
    return ApiError(403, "forbidden", message, remedy=f"use one of: {', '.join(allowed)}")


def _money(amount: Any) -> Any:
    try:
        return Decimal(str(amount))
    except InvalidOperation as error:
        raise invalid(f"x-penstock-max-cost: {amount!r} is no amount", param="x-penstock-max-cost") from error
