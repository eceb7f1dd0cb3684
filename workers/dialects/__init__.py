"""Wire formats, as pure functions over bytes: three dialects behind one port, by their names in a provider's row.

Rooms: ``port`` the seam · ``openai_chat``, ``anthropic``, ``gemini`` requests, ``*_answer`` their answers, ``encoding``
what requests share · ``reading`` the path every answer takes, over ``sse`` (events) and ``draft`` (parts and deltas) ·
``failures`` which kind a failure is, over ``errors`` (what a body says) and ``waits`` (for how long) · ``limits`` what
headers say · ``tokens`` what a prompt weighs, ``calibration`` by how much that is off, ``trimming`` makes it lighter.
Deviations of providers are data: ``catalogue.quirks``.
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
