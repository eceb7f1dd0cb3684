"""Which targets go on with an answer that was begun for them, as rows and dialects say. Pure.

Only what is known counts: a target that takes the beginning of an answer for a turn that is over says something of its
own, and no error tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalogue.quirks import quirks_of

if TYPE_CHECKING:
    from workers.dialects.port import Target

__all__ = ["echoes", "takes_prefill"]


def takes_prefill(target: Target) -> bool:
    """Whether the target, asked for plain text, continues a last turn of the assistant's."""
    quirks = quirks_of(target.provider, target.model)
    match target.model.dialect or target.provider.dialect:
        case "anthropic":
            return quirks.prefill and (quirks.prefill_taken or "prefill" in target.model.capabilities)
        case "bedrock":
            return quirks.prefill_taken or "prefill" in target.model.capabilities
        case "openai_chat":
            asks = quirks.prefill_taken or quirks.prefill_field or quirks.prefill_sent
            return not quirks.reasons_unasked and (bool(asks) or "prefill" in target.model.capabilities)
        case "gemini" | "ollama":
            return quirks.prefill_taken or "prefill" in target.model.capabilities
    return False


def echoes(target: Target) -> bool:
    """Whether its answer begins with what was begun for it."""
    return quirks_of(target.provider, target.model).prefill_echoed
