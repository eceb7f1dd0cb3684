"""``POST /v1/chat/completions``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.app import Endpoint, answer
from gateway.asking import answers, events
from gateway.bodies import extras, openai_chat
from gateway.bodies.openai_chat_schemas import COMPLETION, request
from gateway.bodies.openapi import EVENT, EVENTS, JSON, About, Told
from gateway.sse import EventStream

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from gateway.bodies.asked import Asked
    from gateway.bodies.joining import Policy
    from gateway.call import Call


async def chat(call: Call) -> ASGIApp:
    """One chat completion, whole or streamed."""
    asked = openai_chat.asked(await call.json())
    created = int(call.edge.clock.wall())
    if asked.stream:
        jobs: list[str] = []
        renderer = openai_chat.Rendering(asked, created)
        return EventStream(
            call,
            events(call, asked, jobs),
            jobs,
            renderer,
            policy=policy_of(call, asked),
            answers=asked.n,
            headers=unused(asked),
            keyed=call.extras.idempotency_key is not None,
        )
    results = await answers(call, asked)
    return answer(openai_chat.completion(asked, results), headers={**extras.told(results), **unused(asked)})


def policy_of(call: Call, asked: Asked) -> Policy:
    """What the route says about answers that break off."""
    route = call.edge.config.routes.get(asked.model)
    return route.broken_stream if route is not None else "continue"


def unused(asked: Asked) -> dict[str, str]:
    """The header that names fields of the body which change nothing here."""
    return {"x-penstock-unused": extras.header_text(", ".join(asked.unused))} if asked.unused else {}


ABOUT = About(
    "A chat completion",
    "chat",
    {200: Told("The completion, or its chunks as server-sent events.", {JSON: COMPLETION, EVENTS: EVENT})},
    body=request,
    submits=True,
    description="After the OpenAI API. Answered when its job has ended; with stream: true as the answer comes.",
)
ENDPOINTS = (Endpoint("/v1/chat/completions", ("POST",), chat, about=ABOUT),)
