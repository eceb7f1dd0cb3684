"""How each dialect asks for vectors: one module a wire format, over ``reading``, the one path of their answers.

A failed call and the headers of any call are read by the dialect of the same name (``workers.dialects``).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from workers.dialects.embeddings.bedrock import BedrockEmbedder
from workers.dialects.embeddings.cohere import CohereEmbedder
from workers.dialects.embeddings.gemini import GeminiEmbedder
from workers.dialects.embeddings.ollama import OllamaEmbedder
from workers.dialects.embeddings.openai_chat import OpenAIEmbedder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.dialects.port import Embedder

_OPENAI = OpenAIEmbedder()
EMBEDDERS: Mapping[str, Embedder] = MappingProxyType(
    {
        "openai_chat": _OPENAI,
        "openai_responses": _OPENAI,
        **{one.name: one for one in (GeminiEmbedder(), CohereEmbedder(), OllamaEmbedder(), BedrockEmbedder())},
    }
)
"""By the name of the dialect that a provider's row, or a model's, gives. Anthropic has no embeddings."""

__all__ = ["EMBEDDERS"]
