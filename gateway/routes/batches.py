"""``/v1/batches``: many requests out of a file, answered in the background."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from gateway.app import Endpoint, answer
from gateway.asking import job_options
from gateway.batches.kinds import KINDS
from gateway.batches.runner import head_of
from gateway.bodies import openai_batches, openai_files
from gateway.bodies.failures import ApiError, Failed, invalid
from gateway.bodies.openai_batches import WINDOWS, Batch
from gateway.bodies.openapi import JSON, About, Parameter, Told
from gateway.files.store import DAY
from job_contracts.jobs import LANES
from runtime.telemetry import INFO

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from gateway.bodies.openai_batches import Wish
    from gateway.bodies.openai_files import FileHead
    from gateway.call import Call
    from gateway.edge import Edge

MOST = 100
"""Batches in one page of a list, as the API has it."""


async def create(call: Call) -> ASGIApp:
    """Begin a batch: durable when it is answered."""
    edge, project = call.edge, call.caller.project
    wish = openai_batches.wish(await call.json(), tuple(KINDS))
    options = _options(call)
    batch = _batch(call, wish, options, await _input(call, wish))
    if not await edge.records.add(batch):
        raise Failed(ApiError(409, "conflict", "there is a batch of that id already", remedy="send it again"))
    await edge.files.add(project, head_of(batch, "output", edge.files.chunk, edge.files.expiry(None)))
    edge.telemetry.emit("batch.created", INFO, batch=batch.id, project=project)
    await _input(call, wish)  # one that was deleted before the record said that it is read may have lost its content
    await _hand_over(edge, batch)
    return answer(openai_batches.rendered(batch))


async def _hand_over(edge: Edge, batch: Batch) -> None:
    """Begin to work on it here, or let another edge. Should this edge die before, another one hears its silence."""
    if not edge.batches.has_room:
        await edge.records.change(
            batch.project, batch.id, lambda now: {"owner": ""} if now.owner == batch.owner else {}
        )
        return
    found, seq = await edge.records.get(batch.project, batch.id)
    if found.owner == batch.owner:
        edge.batches.begin(found, seq)


async def listing(call: Call) -> ASGIApp:
    """A page of the project's batches."""
    asked = openai_files.page(call.request.query_params, most=MOST)
    known = {batch.id: batch for batch in await call.edge.records.listed(call.caller.project)}
    ids, more = openai_files.cut(list(known), asked)
    return answer(openai_files.listed((openai_batches.rendered(known[name]) for name in ids), more=more))


async def show(call: Call) -> ASGIApp:
    """One batch, as it is now."""
    batch, _ = await call.edge.records.get(call.caller.project, _named(call))
    return answer(openai_batches.rendered(batch))


async def cancel(call: Call) -> ASGIApp:
    """Call a batch off: nothing more is asked, what is under way is stopped, answers that are there stay."""
    now = call.edge.clock.wall()

    def called_off(batch: Batch) -> dict[str, Any]:
        if batch.phase == "ended":
            message = f"the batch has ended: it is {batch.status}"
            raise Failed(ApiError(409, "batch_ended", message, remedy="there is nothing left to cancel"))
        return {} if batch.cancelling_at is not None else {"cancelling_at": now}

    batch = await call.edge.records.change(call.caller.project, _named(call), called_off)
    return answer(openai_batches.rendered(batch))


def _named(call: Call) -> str:
    return openai_batches.batch_id(call.request.path_params["id"])


async def _input(call: Call, wish: Wish) -> FileHead:
    name = wish.input_file
    try:
        head = await call.edge.files.head(call.caller.project, openai_files.file_id(name))
    except Failed as error:
        remedy = "upload it first: POST /v1/files with purpose batch"
        raise invalid(f"input_file_id: there is no file {name[:80]!r}", param="input_file_id", remedy=remedy) from error
    if head.purpose != "batch":
        message = f"input_file_id: the file is for {head.purpose!r}"
        raise invalid(message, param="input_file_id", remedy="upload it with purpose batch")
    return head


def _options(call: Call) -> dict[str, Any]:
    """Job options of every line, as JSON. Raises ``Failed`` for what cannot be, and what the key may not."""
    extras, edge = call.extras, call.edge
    if extras.deadline is not None or extras.idempotency_key is not None or "not_before" in extras.others:
        message = "deadline, not-before and idempotency key are not for batches"
        raise invalid(message, remedy="use completion_window; a batch's jobs have keys of their own")
    options = job_options(call, None, waits=False, lane=edge.settings.batches.lane)
    options.pop("behalf")  # the record has the key and its scope, whoever works on the batch
    options.pop("tracestate", None)
    options.pop("trace", None)  # a hundred thousand jobs make no trace that anybody could read
    project = edge.config.projects.get(call.caller.project)
    allowed = LANES if project is None else project.lanes
    if options["lane"] not in allowed:
        message = f"this project may not use lane {options['lane']!r}"
        remedy = f"name another one in x-penstock-lane: {', '.join(allowed)}"
        raise Failed(ApiError(403, "forbidden", message, remedy=remedy))
    if "max_cost" in options:
        options["max_cost"] = str(options["max_cost"])
    return options


def _batch(call: Call, wish: Wish, options: dict[str, Any], head: FileHead) -> Batch:
    edge, now = call.edge, call.edge.clock.wall()
    window = WINDOWS[wish.window]
    longest = head.created_at + edge.settings.files.keep_days * DAY  # its content is kept for a day more
    return Batch(
        id=f"batch_{secrets.token_hex(12)}",
        project=call.caller.project,
        key=call.caller.key,
        scope=call.caller.scope.model_dump(mode="json", exclude_none=True),
        options=options,
        wish=wish,
        input=head,
        created_at=now,
        expires_at=longest if window is None else now + window,
        owner=edge.batches.owner,
    )


_ID = Parameter("id", "path", "The batch's id: batch_….", required=True)
_BATCH = Told("The batch.", {JSON: openai_batches.BATCH})
_CREATE = About(
    "Begin a batch",
    "batches",
    {200: _BATCH},
    body=openai_batches.request(tuple(KINDS)),
    headers=("lane", "max-cost", "session", "tags", "priority", "on-disconnect"),
    errors=(409, 507),
    description="Our headers are the options of every job of the batch.",
)
_LIST = About(
    "The batches of the project",
    "batches",
    {200: Told("A page of them.", {JSON: openai_batches.BATCHES})},
    parameters=tuple(Parameter(name, "query", *told) for name, told in openai_files.paging(MOST).items()),
    errors=(400,),
)
_CANCEL = About(
    "Call a batch off",
    "batches",
    {200: _BATCH},
    parameters=(_ID,),
    errors=(409,),
    description="What is under way is stopped; answers that are there stay.",
)
ENDPOINTS = (
    Endpoint("/v1/batches", ("POST",), create, about=_CREATE),
    Endpoint("/v1/batches", ("GET",), listing, about=_LIST),
    Endpoint("/v1/batches/{id}", ("GET",), show, about=About("A batch", "batches", {200: _BATCH}, parameters=(_ID,))),
    Endpoint("/v1/batches/{id}/cancel", ("POST",), cancel, about=_CANCEL),
)
