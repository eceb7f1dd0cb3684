"""Vectors from Bedrock's InvokeModel, whose bodies are the models' own: Amazon Titan and Cohere.

Titan: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html (one text a call);
Cohere: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html (96). ``embed_body`` of
the model's row says which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from catalogue.quirks import quirks_of
from job_contracts.chat import Usage
from workers.dialects.embeddings.asking import Asking
from workers.dialects.embeddings.cohere import TypedReader, words
from workers.dialects.embeddings.reading import Vector
from workers.dialects.port import MAX_ANSWER
from workers.dialects.reading import count

if TYPE_CHECKING:
    from job_contracts.embeddings import EmbeddingRequest
    from workers.dialects.port import Decoder, Encoded, Target


class BedrockEmbedder:
    """``POST /model/{model}/invoke``."""

    name = "bedrock"

    def most(self, target: Target) -> int:
        quirks = quirks_of(target.provider, target.model)
        return 1 if quirks.embed_body == "one" else quirks.embed_most

    def encode(self, request: EmbeddingRequest, target: Target) -> Encoded:
        asking = Asking(request, target)
        body: dict[str, Any]
        if asking.quirks.embed_body == "many":
            body, field = {**words(asking), "embedding_types": ["float"]}, "output_dimension"
        else:
            asking.purpose({})
            body, field = {"inputText": request.inputs[0]}, "dimensions"
        if (dimensions := asking.dimensions()) is not None:
            body[field] = dimensions
        return asking.encoded(body, "/model/{model}/invoke")

    def decoder(
        self, request: EmbeddingRequest, target: Target, *, content_type: str, max_bytes: int = MAX_ANSWER
    ) -> Decoder:
        return InvokedReader(request, target, content_type=content_type, max_bytes=max_bytes)


class InvokedReader(TypedReader):
    """Reads either: ``{"embedding": [...], "inputTextTokenCount": n}``, or Cohere's form."""

    def _vectors(self, document: Any) -> list[Vector | None]:
        if "embedding" not in document:
            return super()._vectors(document)
        vector = document["embedding"]
        if not isinstance(vector, list):
            raise TypeError("the vector is no list")
        return [vector]

    def _usage(self, document: Any) -> Usage | None:
        tokens = count(document.get("inputTextTokenCount"))
        return Usage(input=tokens) if tokens else super()._usage(document)
