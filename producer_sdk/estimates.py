"""A cheap count of prompt tokens, good enough to reserve with: the contract's, so that all mean the same. Pure."""

from __future__ import annotations

from job_contracts.estimates import conversation_tokens as input_tokens
from job_contracts.estimates import text_tokens

__all__ = ["input_tokens", "text_tokens"]
