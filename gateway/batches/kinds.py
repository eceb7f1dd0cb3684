"""What a batch may be made of: one row an endpoint, how its bodies become jobs and its results become bodies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.asking import within
from gateway.bodies import anthropic, anthropic_answer, openai_chat, openai_embeddings, openai_responses
from gateway.bodies import openai_responses_answer as responses_answer
from gateway.bodies.failures import Shape, invalid

if TYPE_CHECKING:
    from gateway.bodies.asked import Asked
    from job_contracts.keys import Scope
    from job_contracts.results import Result
    from producer_sdk import JobHandle, Producer

TEXTS = 96
"""Texts to embed in one job: what the provider with the smallest calls takes, or nearly."""

Submit = Callable[[Mapping[str, Any]], Awaitable["JobHandle"]]
"""Submits one job of a request with these job options."""
Answer = Callable[[Sequence["Result"]], Mapping[str, Any]]
"""The body of a request's answer, of the results of its jobs in their order."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One request of a batch, read.

    ``jobs`` are how each is submitted, by a suffix of its idempotency key: the same for the same job, whoever reads the
    request, and another one for a job that asks something else.
    """

    jobs: Mapping[str, Submit]
    session: str | None
    answer: Answer


Read = Callable[["Producer", "Scope", Mapping[str, Any]], Wanted]
"""Reads a body. Raises ``Failed`` for one that asks for something wrong, or for more than a key may."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One endpoint, and in which API's shape its errors are told."""

    read: Read
    shape: Shape = "openai"


def conversations(parse: Callable[[Mapping[str, Any]], tuple[Asked, Answer]]) -> Read:
    """The ``read`` of an API whose requests are conversations; ``parse`` gives what is asked, and its answer."""

    def read(producer: Producer, scope: Scope, body: Mapping[str, Any]) -> Wanted:
        asked, answer = parse(body)
        if asked.stream:
            raise invalid("stream: the answers of a batch are not streamed", param="stream", remedy="leave it out")
        settings = within(scope, asked)

        async def submit(options: Mapping[str, Any]) -> JobHandle:
            return await producer.submit(
                model=asked.model, messages=asked.messages, tools=asked.tools, **settings, **options
            )

        jobs = {f"#{index}" if index else "": submit for index in range(asked.n)}
        return Wanted(jobs, asked.session, answer)

    return read


def _completion(body: Mapping[str, Any]) -> tuple[Asked, Answer]:
    asked = openai_chat.asked(body)
    return asked, lambda results: openai_chat.completion(asked, results)


def _message(body: Mapping[str, Any]) -> tuple[Asked, Answer]:
    request = anthropic.read(body)
    return request.asked, lambda results: anthropic_answer.message(request, results[0])


def _response(body: Mapping[str, Any]) -> tuple[Asked, Answer]:
    wanted = openai_responses.wanted(body)
    for name, given in (("previous_response_id", wanted.previous), ("background", wanted.background)):
        if given:
            raise invalid(f"{name}: it is not for batches", param=name, remedy="leave it out")

    def answer(results: Sequence[Result]) -> Mapping[str, Any]:
        (result,) = results
        return responses_answer.ended(wanted.kept(result.job, result.times.submitted), result)

    return wanted.asked(), answer


def embeddings(producer: Producer, scope: Scope, body: Mapping[str, Any]) -> Wanted:
    """The ``read`` of embeddings: as many jobs as it takes."""
    request = openai_embeddings.read(body)
    within(scope, request.asked)
    texts = request.inputs

    def of(start: int) -> Submit:
        some = texts[start : start + TEXTS]

        async def submit(options: Mapping[str, Any]) -> JobHandle:
            return await producer.submit_embedding(
                model=request.asked.model,
                inputs=some,
                dimensions=request.dimensions,
                purpose=request.purpose,
                **options,
            )

        return submit

    def answer(results: Sequence[Result]) -> Mapping[str, Any]:
        vectors = [one for result in results if result.embeddings for one in result.embeddings.data]
        models = {result.model for result in results}
        if len(vectors) != len(texts) or len(models) > 1:
            message = "the vectors are of more than one model, or not as many as the texts"
            raise invalid(message, param="input", remedy=f"send at most {TEXTS} texts in one request")
        used = sum(result.usage.input for result in results)
        return openai_embeddings.answer(request, vectors, models.pop() or request.asked.model, used)

    if len(texts) <= TEXTS:
        return Wanted({"": of(0)}, None, answer)
    jobs = {f"#{start}+{len(texts[start : start + TEXTS])}": of(start) for start in range(0, len(texts), TEXTS)}
    return Wanted(jobs, None, answer)


KINDS: Mapping[str, Kind] = {
    "/v1/chat/completions": Kind(conversations(_completion)),
    "/v1/responses": Kind(conversations(_response)),
    "/v1/embeddings": Kind(embeddings),
    "/v1/messages": Kind(conversations(_message), "anthropic"),
}
"""By the endpoint's path."""
