"""Wire formats, as pure functions over bytes: dialects behind one port, by their names in a provider's row.

Rooms: ``port`` the seam · a dialect has a module for requests, one for answers (``*_answer``), and where it is large
some beside them: ``openai_chat`` (``openai_messages``, ``openai_parts``, ``openai_efforts``, ``openai_details``),
``openai_responses`` (``openai_items``, ``openai_reasoning``), ``anthropic`` (``anthropic_turns``, ``anthropic_cache``,
``anthropic_schema``), ``gemini`` (``gemini_turns``, ``gemini_schema``), ``bedrock`` (``bedrock_messages``,
``bedrock_media``), ``cohere``, ``ollama`` · ``embeddings`` the second kind of question · ``encoding`` what requests
share, ``pairs`` calls with their results, ``media`` images and files, ``thinking`` efforts and budgets,
``strict_schema`` OpenAI's subset · ``reading`` the path every answer takes, over ``sse``, ``ndjson``, ``eventstream``
(events) and ``draft`` (parts and deltas) · ``failures`` which kind a failure is, over ``signs`` (the table), ``errors``
(what a body says) and ``waits`` (for how long) · ``limits`` what headers say · ``tokens`` the estimate of a prompt,
``calibration`` corrects it, ``trimming`` what goes if it is too long. Deviations of providers are data:
``catalogue.quirks``.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from workers.dialects.anthropic import Anthropic
from workers.dialects.bedrock import Bedrock
from workers.dialects.cohere import Cohere
from workers.dialects.gemini import Gemini
from workers.dialects.ollama import Ollama
from workers.dialects.openai_chat import OpenAIChat
from workers.dialects.openai_responses import OpenAIResponses

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.dialects.port import Dialect

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        dialect.name: dialect
        for dialect in (OpenAIChat(), OpenAIResponses(), Anthropic(), Gemini(), Bedrock(), Cohere(), Ollama())
    }
)
"""Every dialect by the name a provider's row gives it."""

__all__ = ["DIALECTS"]
