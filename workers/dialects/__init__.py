"""Wire formats, as pure functions over bytes: three dialects behind one port, by their names in a provider's row.

Rooms: ``port`` the seam · ``openai_chat``, ``anthropic``, ``gemini`` requests, ``*_answer`` their answers, ``encoding``
what requests share · ``reading`` the path every answer takes, over ``sse`` (events) and ``draft`` (parts and deltas) ·
``failures`` which kind a failure is, over ``errors`` (what a body says) and ``waits`` (for how long) · ``limits`` what
headers say · ``tokens`` the estimate of a prompt. Deviations of providers are data: ``catalogue.quirks``.

Of OpenAI's chat completions: ``openai_messages`` the turns, ``openai_parts`` what they hold, ``openai_efforts`` how
reasoning is asked for, ``openai_details`` its signatures, ``strict_schema`` strict mode's subset of JSON Schema. Of
failures: ``signs`` the table of codes and wordings.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from workers.dialects.anthropic import Anthropic
from workers.dialects.gemini import Gemini
from workers.dialects.openai_chat import OpenAIChat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.dialects.port import Dialect

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {dialect.name: dialect for dialect in (OpenAIChat(), Anthropic(), Gemini())}
)
"""Every dialect by the name a provider's row gives it."""

__all__ = ["DIALECTS"]
