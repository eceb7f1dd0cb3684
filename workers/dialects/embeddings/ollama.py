"""Vectors from Ollama's own API: https://docs.ollama.com/api/embed. Texts that are too long are an error, not cut."""

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


class OllamaEmbedder:
    """``POST /api/embed``, below the base URL of its chat: ``/embed`` if that ends in ``/api``."""

    name = "ollama"

    def most(self, target: Target) -> int:
        return quirks_of(target.provider, target.model).embed_most

    def encode(self, request: EmbeddingRequest, target: Target) -> Encoded:
        asking = Asking(request, target)
        asking.purpose({})
        body: dict[str, Any] = {"model": target.model.name, "input": request.inputs, "truncate": False}
        if (dimensions := asking.dimensions()) is not None:
            body["dimensions"] = dimensions
        below = target.provider.base_url.rstrip("/").endswith("/api")
        return asking.encoded(body, "/embed" if below else "/api/embed")

    def decoder(
        self, request: EmbeddingRequest, target: Target, *, content_type: str, max_bytes: int = MAX_ANSWER
    ) -> Decoder:
        return ListReader(request, target, content_type=content_type, max_bytes=max_bytes)


class ListReader(VectorReader):
    """Reads ``{"embeddings": [[...]], "prompt_eval_count": n}``, in order."""

    def _vectors(self, document: Any) -> list[Vector | None]:
        found = document["embeddings"]
        if not isinstance(found, list) or not all(isinstance(one, list) for one in found):
            raise TypeError("the vectors are no list of lists")
        return list(found)

    def _usage(self, document: Any) -> Usage | None:
        tokens = count(document.get("prompt_eval_count"))
        return Usage(input=tokens) if tokens else None

    def _model(self, document: Any) -> str | None:
        return str(document["model"]) if document.get("model") else None
