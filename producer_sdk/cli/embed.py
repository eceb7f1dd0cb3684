"""``penstock embed``: texts, one a line, become vectors, one JSON object a line, in the same order."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from job_contracts.embeddings import MOST_INPUTS
from producer_sdk.cli.arguments import (
    ApiKey,
    AsJson,
    Deadline,
    Key,
    Lane,
    MaxCost,
    Model,
    Priority,
    Project,
    Tag,
    Url,
    Wait,
    options,
)
from producer_sdk.cli.showing import errors_told, finish, people, put
from producer_sdk.embedding import BATCH, EmbeddingResult
from producer_sdk.producer import Producer

__all__ = ["embed"]


def embed(
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts; '-' or nothing reads standard input, one text a line.")
    ] = None,
    *,
    model: Model,
    dimensions: Annotated[int | None, typer.Option(help="Length of the vectors; else the model's own.")] = None,
    purpose: Annotated[
        str | None, typer.Option(help="query, document, similarity, classification or clustering.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=MOST_INPUTS, help="Texts in a job.")] = BATCH,
    as_base64: Annotated[
        bool, typer.Option("--base64", help="Vectors as base64 of their 32-bit floats, little endian.")
    ] = False,
    lane: Lane = None,
    priority: Priority = None,
    deadline: Deadline = None,
    key: Key = None,
    max_cost: MaxCost = None,
    tag: Tag = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    project: Project = None,
    timeout: Wait = 600.0,
) -> None:
    """Turn texts into vectors; prints a line of JSON for each, in their order: index, embedding."""
    with errors_told(as_json=as_json):
        asked = options(
            lane=lane, priority=priority, deadline=deadline, idempotency_key=key, max_cost=max_cost, tag=tag
        )
        inputs = list(_lines(sys.stdin)) if texts in (None, [], ["-"]) else texts or []

        async def work() -> EmbeddingResult:
            async with Producer(url, api_key, project=project, timeout=timeout) as producer:
                return await producer.embed(
                    model=model,
                    inputs=inputs,
                    dimensions=dimensions,
                    purpose=purpose,  # type: ignore[arg-type]  # checked where it is used
                    batch_size=batch_size,
                    **asked,
                )

        found = finish(work())
        for index, vector in enumerate(found.data if as_base64 else found.vectors):
            put(json.dumps({"index": index, "embedding": vector}))
        people.print(_told(found), markup=False)


def _lines(lines: Iterable[str]) -> Iterable[str]:
    return (text for line in lines if (text := line.rstrip("\r\n")).strip())


def _told(found: EmbeddingResult) -> str:
    """What it was, for people."""
    models = ", ".join(found.models) or "an unnamed model"
    cost = f", {found.cost} USD" if found.cost is not None else ""
    tokens = f"{'' if found.usage.reported else 'about '}{found.usage.input} tokens"
    return f"{len(found)} vectors of {found.dimensions} numbers by {models}, {tokens}{cost}, {len(found.jobs)} jobs"
