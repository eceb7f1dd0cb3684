"""Vectors from Gemini: batchEmbedContents (https://ai.google.dev/api/embeddings), and Vertex's predict.

Which of the methods an endpoint has is ``embed_method`` of its row. Vertex is told not to cut long texts; the Gemini
API cuts them without a word and takes no switch for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from catalogue.quirks import quirks_of
from job_contracts.chat import Usage
from workers.dialects.embeddings.asking import Asking
from workers.dialects.embeddings.reading import Vector, VectorReader
from workers.dialects.port import MAX_ANSWER
from workers.dialects.reading import count

if TYPE_CHECKING:
    from job_contracts.embeddings import EmbeddingRequest
    from workers.dialects.port import Decoder, Encoded, Target

_TASKS = {
    "query": "RETRIEVAL_QUERY",
    "document": "RETRIEVAL_DOCUMENT",
    "similarity": "SEMANTIC_SIMILARITY",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
}


class GeminiEmbedder:
    """``POST /models/{model}:batchEmbedContents``, ``:embedContent`` or ``:predict``."""

    name = "gemini"

    def most(self, target: Target) -> int:
        quirks = quirks_of(target.provider, target.model)
        return 1 if quirks.embed_method == "embedContent" else quirks.embed_most

    def encode(self, request: EmbeddingRequest, target: Target) -> Encoded:
        asking = Asking(request, target)
        form = asking.quirks.embed_method
        model = target.model.name
        place = model if "/" in model else f"models/{model}"
        task, dimensions = asking.purpose(_TASKS), asking.dimensions()
        body: dict[str, Any]
        if form == "predict":
            instances = [{"content": text, **({"task_type": task} if task else {})} for text in request.inputs]
            size = {} if dimensions is None else {"outputDimensionality": dimensions}
            body = {"instances": instances, "parameters": {"autoTruncate": False, **size}}
        else:
            more: dict[str, Any] = {}
            if task:
                more["taskType"] = task
            if dimensions is not None:
                more["outputDimensionality"] = dimensions
            contents = [{"content": {"parts": [{"text": text}]}, **more} for text in request.inputs]
            many = [{"model": place, **content} for content in contents]
            body = contents[0] if form == "embedContent" else {"requests": many}
        return asking.encoded(body, f"/{quote(place)}:{form}")

    def decoder(
        self, request: EmbeddingRequest, target: Target, *, content_type: str, max_bytes: int = MAX_ANSWER
    ) -> Decoder:
        return ValuesReader(request, target, content_type=content_type, max_bytes=max_bytes)


class ValuesReader(VectorReader):
    """Reads ``{"embeddings": [{"values": …}]}``, ``{"embedding": …}`` or ``{"predictions": …}``, in order."""

    def _vectors(self, document: Any) -> list[Vector | None]:
        rows = _rows(document)
        for place, row in enumerate(rows):
            if (row.get("statistics") or {}).get("truncated"):
                self.losses.add("clamped", f"answer.embeddings[{place}]", "the provider cut the text before reading it")
        return [_numbers(row["values"]) for row in rows]

    def _usage(self, document: Any) -> Usage | None:
        told = document.get("usageMetadata") or {}
        tokens = count(told.get("promptTokenCount"))
        if not tokens:
            each = [row.get("statistics") or {} for row in _rows(document)]
            tokens = sum(count(one.get("token_count")) or count(one.get("tokenCount")) for one in each)
        return Usage(input=tokens) if tokens else None


def _rows(document: Any) -> Any:
    """The vectors with what stands beside each."""
    if "predictions" in document:
        return [prediction["embeddings"] for prediction in document["predictions"]]
    return document["embeddings"] if "embeddings" in document else [document["embedding"]]


def _numbers(value: Any) -> Vector:
    if not isinstance(value, list):
        raise TypeError("a vector is no list of numbers")
    return value
