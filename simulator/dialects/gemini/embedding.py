"""Gemini's embedContent and batchEmbedContents; they tell no usage (pure)."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from simulator.conversation import Answer, Ask, Texts
from simulator.dialects.dialect import Route, bad, parse_object, read_model
from simulator.settings import ProviderSettings
from simulator.vectors import DIMENSIONS, MOST_DIMENSIONS

MOST_REQUESTS = 100
TASKS = frozenset(
    (
        "TASK_TYPE_UNSPECIFIED", "RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT", "SEMANTIC_SIMILARITY", "CLASSIFICATION",
        "CLUSTERING", "QUESTION_ANSWERING", "FACT_VERIFICATION", "CODE_RETRIEVAL_QUERY",
    )
)  # fmt: skip


def read(body: bytes, route: Route, settings: ProviderSettings) -> Ask:
    """The request in a body; the path has said the model, and whether it is one text or a batch.

    Raises:
        Rejected: with the refusal that Gemini would give.
    """
    raw = parse_object(body)
    model = read_model(route.model, settings)
    alone = route.operation == "embed_one"
    requests = [raw] if alone else raw.get("requests")
    if not isinstance(requests, list) or not requests:
        raise bad("* BatchEmbedContentsRequest.requests: requests are required")
    if len(requests) > MOST_REQUESTS:
        raise bad(f"* BatchEmbedContentsRequest.requests: at most {MOST_REQUESTS} requests can be in one batch")
    lengths = {_length(request) for request in requests}
    if len(lengths) > 1:
        raise bad("* BatchEmbedContentsRequest.requests: the simulator makes vectors of one length in a call")
    for request in requests:
        if not alone and request.get("model") != f"models/{route.model}":
            raise bad("* BatchEmbedContentsRequest.requests[0].model: model must match the one of the batch")
        if request.get("taskType") not in (None, *TASKS):
            raise bad(f"Invalid value at 'requests[0].task_type': \"{request['taskType']}\"")
    texts = ["".join(part["text"] for part in request["content"]["parts"]) for request in requests]
    if not all(texts):
        raise bad("* EmbedContentRequest.content: content contains an empty Part.")
    return Ask(model=model, prompt=texts, turn="", texts=Texts(texts, lengths.pop(), alone=alone))


def _length(request: dict[str, Any]) -> int:
    length = request.get("outputDimensionality")
    if length is not None and not 1 <= length <= MOST_DIMENSIONS:
        raise bad(f"* EmbedContentRequest.output_dimensionality: must be between 1 and {MOST_DIMENSIONS}")
    return length or DIMENSIONS


def whole(ask: Ask, answer: Answer) -> bytes:
    """The body of an answer."""
    vectors = [{"values": vector} for vector in answer.vectors]
    return to_json({"embedding": vectors[0]} if ask.texts is not None and ask.texts.alone else {"embeddings": vectors})
