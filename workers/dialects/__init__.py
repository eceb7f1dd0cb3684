"""Wire formats, as pure functions over bytes: dialects behind one port, by their names in a provider's row.

Rooms: ``port`` the seam · ``openai_chat``, ``openai_responses`` (with ``openai_items``, ``openai_reasoning``),
``anthropic``, ``gemini``, ``cohere``, ``ollama`` requests, ``*_answer`` their answers, ``encoding`` what they share ·
``reading`` the path every answer takes, over ``sse`` and ``ndjson`` (events) and ``draft`` (parts and deltas) ·
``failures`` which kind a failure is, over ``errors`` (what a body says) and ``waits`` (for how long) · ``limits`` what
headers say · ``tokens`` the estimate of a prompt · ``embeddings`` the second kind of question. Deviations of providers
are data: ``catalogue.quirks``.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from workers.dialects.anthropic import Anthropic
from workers.dialects.cohere import Cohere
from workers.dialects.gemini import Gemini
from workers.dialects.ollama import Ollama
from workers.dialects.openai_chat import OpenAIChat
from workers.dialects.openai_responses import OpenAIResponses

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.dialects.port import Dialect

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {dialect.name: dialect for dialect in (OpenAIChat(), OpenAIResponses(), Anthropic(), Gemini(), Cohere(), Ollama())}
)
"""Every dialect by the name a provider's row gives it."""

__all__ = ["DIALECTS"]
