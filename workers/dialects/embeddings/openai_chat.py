"""OpenAI's embeddings, and everything that copies them: https://platform.openai.com/docs/api-reference/embeddings.

Vectors are asked for as base64, which is a third of the bytes and no number to read; whichever form comes is taken.
"""

from __future__ import annotations

from binascii import a2b_base64
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


class OpenAIEmbedder:
    """``POST /embeddings``."""

    name = "openai_chat"

    def most(self, target: Target) -> int:
        return quirks_of(target.provider, target.model).embed_most

    def encode(self, request: EmbeddingRequest, target: Target) -> Encoded:
        asking = Asking(request, target)
        quirks = asking.quirks
        body: dict[str, Any] = {"model": target.model.name, "input": request.inputs}
        if quirks.embed_encoding:
            body["encoding_format"] = quirks.embed_encoding
        if (dimensions := asking.dimensions()) is not None:
            body[quirks.embed_dimensions_field] = dimensions
        if quirks.embed_purpose_field:
            if (word := asking.purpose({"query": "query", "document": "document"})) is not None:
                body[quirks.embed_purpose_field] = word
        else:
            asking.purpose({})
        return asking.encoded(body, "/embeddings")

    def decoder(
        self, request: EmbeddingRequest, target: Target, *, content_type: str, max_bytes: int = MAX_ANSWER
    ) -> Decoder:
        return DataReader(request, target, content_type=content_type, max_bytes=max_bytes)


class DataReader(VectorReader):
    """Reads ``{"data": [{"index": 0, "embedding": …}], "usage": …}``; the index decides, not the place."""

    def _vectors(self, document: Any) -> list[Vector | None]:
        rows = document["data"]
        found: list[Vector | None] = [None] * len(rows)
        for place, row in enumerate(rows):
            index = row.get("index")
            at = index if isinstance(index, int) else place
            if at < 0 or found[at] is not None:
                raise ValueError("an index occurs twice")
            vector = row["embedding"]
            if not isinstance(vector, str | list):
                raise TypeError("a vector is neither text nor numbers")
            if isinstance(vector, str) and self.quirks.embed_encoding == "base64_int8":
                vector = _signed_bytes(vector)
            found[at] = vector
        return found

    def _usage(self, document: Any) -> Usage | None:
        told = document.get("usage")
        if not told:
            return None
        tokens = count(told.get("prompt_tokens")) or count(told.get("total_tokens"))
        return Usage(input=tokens) if tokens else None

    def _model(self, document: Any) -> str | None:
        return str(document["model"]) if document.get("model") else None


def _signed_bytes(text: str) -> list[float]:
    """Perplexity's form (https://docs.perplexity.ai/docs/embeddings/best-practices): a number a byte, -128 to 127."""
    return [float(number) for number in memoryview(a2b_base64(text, strict_mode=True)).cast("b")]
