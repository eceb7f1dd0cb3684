"""What a batch may be made of: one row an endpoint, how its bodies become jobs and its results become bodies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.asking import within
from gateway.bodies import openai_chat
from gateway.bodies.failures import Shape, invalid

if TYPE_CHECKING:
    from gateway.bodies.asked import Asked
    from job_contracts.keys import Scope
    from job_contracts.results import Result
    from producer_sdk import JobHandle, Producer

Submit = Callable[[Mapping[str, Any]], Awaitable["JobHandle"]]
"""Submits one job of a request with these job options."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One request of a batch, read: so many jobs, how each is submitted, and their answer."""

    jobs: int
    session: str | None
    submit: Submit
    answer: Callable[[Sequence[Result]], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Kind:
    """One endpoint. ``read`` raises ``Failed`` for a body that asks for something wrong."""

    read: Callable[[Producer, Scope, Mapping[str, Any]], Wanted]
    shape: Shape = "openai"


def conversation(
    parse: Callable[[Mapping[str, Any]], Asked], render: Callable[[Asked, Sequence[Result]], Mapping[str, Any]]
) -> Callable[[Producer, Scope, Mapping[str, Any]], Wanted]:
    """The ``read`` of an API whose requests are conversations."""

    def read(producer: Producer, scope: Scope, body: Mapping[str, Any]) -> Wanted:
        asked = parse(body)
        if asked.stream:
            raise invalid("stream: the answers of a batch are not streamed", param="stream", remedy="leave it out")
        settings = within(scope, asked)

        async def submit(options: Mapping[str, Any]) -> JobHandle:
            return await producer.submit(
                model=asked.model, messages=asked.messages, tools=asked.tools, **settings, **options
            )

        return Wanted(asked.n, asked.session, submit, lambda results: render(asked, results))

    return read


KINDS: Mapping[str, Kind] = {
    "/v1/chat/completions": Kind(conversation(openai_chat.asked, openai_chat.completion)),
}
"""By the endpoint's path."""
