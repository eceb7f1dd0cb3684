"""OpenRouter's ``reasoning_details``: reasoning with the signatures of the provider behind it, there and back.

https://openrouter.ai/docs/use-cases/reasoning-tokens#preserving-reasoning: a list of ``reasoning.text`` (text, perhaps
a signature), ``reasoning.summary`` and ``reasoning.encrypted`` (data), which must go back as it came. What is opaque in
a detail travels as JSON in the part's ``signature`` or ``redacted``: its form and its id belong to it. The text that is
shown is that of ``reasoning`` beside the details; a detail whose text is not shown there travels whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from workers.dialects.encoding import fits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_contracts.chat import ReasoningPart
    from workers.dialects.draft import Draft

_WORDS = {"reasoning.text": "text", "reasoning.summary": "summary"}
_OPAQUE = "reasoning.encrypted"


def take_details(details: Any, draft: Draft, *, spoken: bool) -> None:
    """The details of a delta into the draft; ``spoken``: their text came beside them already."""
    for one in details:
        kind = one.get("type")
        word = _WORDS.get(kind)
        if (kind == _OPAQUE and one.get("data")) or (word is not None and one.get(word) and not spoken):
            draft.redacted(to_json(one).decode())
        elif word is not None and one.get("signature"):
            draft.sign(to_json({name: value for name, value in one.items() if name != word}).decode())


def details_of(parts: Sequence[ReasoningPart], family: str) -> list[dict[str, Any]] | None:
    """The details of an earlier answer as they came; ``None`` where they did not come from this family."""
    details: list[dict[str, Any]] = []
    for part in parts:
        token = part.redacted or part.signature
        if token is None:
            if part.text:
                details.append({"type": "reasoning.text", "text": part.text})
            continue
        if not fits(part, family):
            return None
        try:
            one = from_json(token)
        except ValueError:
            return None
        if not isinstance(one, dict) or "type" not in one:
            return None
        word = _WORDS.get(one["type"])
        details.append({**one, word: part.text} if word is not None and part.text else one)
    return details if any(part.redacted or part.signature for part in parts) else None
