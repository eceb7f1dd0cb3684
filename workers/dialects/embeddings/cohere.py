"""Vectors from Cohere: https://docs.cohere.com/reference/embed (v2). It wants to know what they are for.

A text that is too long is an error (``truncate: NONE``) and not cut in silence, as it would be by default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from catalogue.quirks import quirks_of
from job_contracts.chat import Usage
from workers.dialects.embeddings.asking import Asking
from workers.dialects.embeddings.reading import Vector, VectorReader
from workers.dialects.port import MAX_ANSWER
from workers.dialects.reading import count

if TYPE_CHECKING:
    from job_contracts.embeddings import EmbeddingRequest
    from workers.dialects.port import Decoder, Encoded, Target

PURPOSES = {
    "query": "search_query",
    "document": "search_document",
    "classification": "classification",
    "clustering": "clustering",
}
OTHERWISE = "search_document"
"""Sent where no purpose is named: it is required, and most texts are documents."""


class CohereEmbedder:
    """``POST /v2/embed``, below the base URL of its chat: ``/embed`` if that ends in a version."""

    name = "cohere"

    def most(self, target: Target) -> int:
        return quirks_of(target.provider, target.model).embed_most

    def encode(self, request: EmbeddingRequest, target: Target) -> Encoded:
        asking = Asking(request, target)
        body = {"model": target.model.name, **words(asking), "embedding_types": ["float"]}
        if (dimensions := asking.dimensions()) is not None:
            body["output_dimension"] = dimensions
        versioned = target.provider.base_url.rstrip("/").endswith("/v2")
        return asking.encoded(body, "/embed" if versioned else "/v2/embed")

    def decoder(
        self, request: EmbeddingRequest, target: Target, *, content_type: str, max_bytes: int = MAX_ANSWER
    ) -> Decoder:
        return TypedReader(request, target, content_type=content_type, max_bytes=max_bytes)


def words(asking: Asking) -> dict[str, Any]:
    """What the request says at Cohere and at Bedrock alike."""
    purpose = asking.purpose(PURPOSES, otherwise=OTHERWISE)
    return {"texts": asking.request.inputs, "input_type": purpose, "truncate": "NONE"}


class TypedReader(VectorReader):
    """Reads ``{"embeddings": {"float": [...]}}``, by type, or the plain list of older versions; in order."""

    def _vectors(self, document: Any) -> list[Vector | None]:
        found = document["embeddings"]
        if isinstance(found, dict):
            found = found.get("float") or found["base64"]
        if not isinstance(found, list) or not all(isinstance(one, str | list) for one in found):
            raise TypeError("the vectors are no list")
        return list(found)

    def _usage(self, document: Any) -> Usage | None:
        told = (document.get("meta") or {}).get("billed_units") or {}
        tokens = count(told.get("input_tokens"))
        return Usage(input=tokens) if tokens else None
