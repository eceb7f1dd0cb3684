"""The providers' batch APIs, one file each: many requests sent at once, their answers fetched when they are there."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from workers.dialects.batches.anthropic import AnthropicBatches
from workers.dialects.batches.openai import OpenAIBatches
from workers.dialects.batches.port import BatchApi

__all__ = ["BATCHES"]

BATCHES: Mapping[str, BatchApi] = MappingProxyType({"openai": OpenAIBatches(), "anthropic": AnthropicBatches()})
"""By the names that rows of the catalogue use."""
