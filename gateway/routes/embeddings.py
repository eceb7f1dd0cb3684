"""``POST /v1/embeddings``: texts of one request in as many jobs as it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gateway.app import Endpoint, answer
from gateway.asking import Gone, job_options, leave, patience, permitted, submitted, while_connected
from gateway.bodies import extras, openai_embeddings
from gateway.bodies.failures import ApiError, Failed
from gateway.bodies.openapi import JSON, About, Told
from gateway.refusals import api_error
from gateway.routes.chat import unused
from producer_sdk.batch import when_there_is_room
from producer_sdk.embedding import embedded
from producer_sdk.errors import PenstockError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from gateway.bodies.openai_embeddings import Request
    from gateway.call import Call
    from producer_sdk import EmbeddingResult
    from producer_sdk.answers import Answered


async def embeddings(call: Call) -> ASGIApp:
    """The vectors of all texts, in their order."""
    request = openai_embeddings.read(await call.json())
    permitted(call, request.asked)
    found = await _vectors(call, request)
    body = openai_embeddings.answer(request, found.data, found.model or request.asked.model, found.usage.input)
    return answer(body, headers={**extras.told(found.results), **unused(request.asked)})


async def _vectors(call: Call, request: Request) -> EmbeddingResult:
    """Submit and wait. Raises ``Failed`` with the first failure (the other jobs are called off), Gone."""
    options = job_options(call, None)
    producer = call.edge.producers.of(call.caller.project)
    jobs: list[str] = []

    async def ended(texts: Sequence[str], asked: Mapping[str, Any], left: float | None) -> Answered:
        work = producer.submit_embedding(
            model=request.asked.model,
            inputs=texts,
            dimensions=request.dimensions,
            purpose=request.purpose,
            **asked,
        )
        return await (await submitted(call, work, jobs)).result(left)

    async def one(texts: Sequence[str], asked: Mapping[str, Any], left: float | None) -> Answered:
        return await when_there_is_room(lambda each: ended(texts, each, left), asked, left)

    all_of_them = embedded(
        one,
        request.inputs,
        batch_size=call.edge.settings.embedding_batch,
        timeout=patience(call),
        options=options,
        now=call.edge.clock.wall(),
    )
    try:
        return await while_connected(call, all_of_them)
    except (Gone, PenstockError) as error:
        leave(call, jobs, keyed="idempotency_key" in options)
        if isinstance(error, PenstockError):
            raise Failed(_placed(error)) from error
        raise


def _placed(error: PenstockError) -> ApiError:
    """The error of one job, with which of the texts it is about."""
    told, texts = api_error(error), error.inputs
    if texts is None:
        return told
    place = f"[{texts.start}:{texts.stop}]: "
    return replace(told, message=f"input{place}{told.message.removeprefix(f'inputs{place}')}")


ABOUT = About(
    "Vectors of texts",
    "embeddings",
    {200: Told("One vector for each text, in their order.", {JSON: openai_embeddings.VECTORS})},
    body=openai_embeddings.REQUEST,
    submits=True,
    description="After the OpenAI API; as many jobs as the texts need.",
)
ENDPOINTS = (Endpoint("/v1/embeddings", ("POST",), embeddings, about=ABOUT),)
