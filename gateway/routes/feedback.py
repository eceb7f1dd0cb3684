"""``/v1/feedback``: a score for the answer of a job, which experiments compare their arms by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.app import Endpoint, answer
from gateway.bodies.feedback import Feedback, feedback
from gateway.bodies.openapi import JSON, About, Told
from job_contracts.trials import TakenFeedback

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from gateway.call import Call


async def give(call: Call) -> ASGIApp:
    """Keep a score; the first one of a job stands."""
    said = feedback(await call.json())
    taken = await call.edge.producers.of(call.caller.project).feedback(said.job, said.score)
    return answer(None, 201 if taken.first else 200, data=taken.model_dump_json().encode())


ENDPOINTS = (
    Endpoint(
        "/v1/feedback",
        ("POST",),
        give,
        "native",
        about=About(
            "Say how good an answer was",
            "jobs",
            {
                201: Told("The score is kept.", {JSON: TakenFeedback}),
                200: Told("The job had been scored before: the first score stands.", {JSON: TakenFeedback}),
            },
            body=Feedback,
            errors=(404,),
            description="From 0 (bad) to 1 (good), for a job that has an answer and whose result is still kept.",
        ),
    ),
)
