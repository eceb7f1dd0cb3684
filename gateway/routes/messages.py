"""``POST /v1/messages`` and ``POST /v1/messages/count_tokens``, as Anthropic has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.app import Endpoint, answer, named
from gateway.asking import answers, events, permitted
from gateway.bodies import anthropic, anthropic_answer, anthropic_schemas, extras
from gateway.bodies.anthropic_stream import PING, Rendering
from gateway.bodies.openapi import EVENT, EVENTS, JSON, About, Told
from gateway.routes.chat import policy_of, unused
from gateway.routes.models import known
from gateway.sse import EventStream
from producer_sdk.request import prepare

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from gateway.call import Call

ESTIMATE = {"x-penstock-estimate": "input_tokens"}
"""Names the figures of an answer that are estimates."""


async def messages(call: Call) -> ASGIApp:
    """One message, whole or streamed."""
    request = anthropic.read(await call.json())
    asked = request.asked
    if asked.stream:
        jobs: list[str] = []
        return EventStream(
            call,
            events(call, asked, jobs),
            jobs,
            Rendering(request, call.id),
            policy=policy_of(call, asked),
            headers={**named(call.shape, call.id), **unused(asked)},
            keyed=call.extras.idempotency_key is not None,
            ping=PING,
        )
    results = await answers(call, asked)
    told = anthropic_answer.message(request, results[0])
    return answer(told, headers={**extras.told(results), **unused(asked)})


async def count_tokens(call: Call) -> ASGIApp:
    """Tokens of a prompt, estimated as they are for the queue: no provider is asked."""
    asked = anthropic.read(await call.json(), counting=True).asked
    known(call, asked.model)
    job = prepare(
        asked.model,
        asked.messages,
        asked.tools,
        permitted(call, asked),
        stream=False,
        new_id="count",
        token="",
        now=call.edge.clock.wall(),
    )
    return answer({"input_tokens": job.ticket.input_estimate}, headers={**ESTIMATE, **unused(asked)})


_MESSAGE = About(
    "A message",
    "messages",
    {200: Told("The message, or its events.", {JSON: anthropic_schemas.MESSAGE, EVENTS: EVENT})},
    body=anthropic_schemas.request,
    submits=True,
    description="After Anthropic's API. Answered when its job has ended; with stream: true as the answer comes.",
)
_COUNT = About(
    "Tokens of a prompt",
    "messages",
    {200: Told("An estimate: no provider is asked.", {JSON: anthropic_schemas.COUNTED})},
    body=anthropic_schemas.counted,
    errors=(404,),
)
ENDPOINTS = (
    Endpoint("/v1/messages", ("POST",), messages, "anthropic", about=_MESSAGE),
    Endpoint("/v1/messages/count_tokens", ("POST",), count_tokens, "anthropic", about=_COUNT),
)
