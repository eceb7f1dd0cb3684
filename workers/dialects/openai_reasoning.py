"""Reasoning items of OpenAI's Responses API as one opaque string, and back.

Kept by nobody but the caller (``store: false``), a reasoning item goes on by its ``encrypted_content``:
https://platform.openai.com/docs/guides/reasoning#encrypted-reasoning-items. The string is the item's JSON without what
the part has anyway: its kind, and a summary of one piece, which is the part's text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

if TYPE_CHECKING:
    from job_contracts.chat import ReasoningPart

_OF_ONE_ANSWER = frozenset({"type", "status"})


def packed(item: Any) -> str | None:
    """The string a reasoning item goes back from; ``None`` for one without encrypted content, which cannot."""
    if not item.get("encrypted_content"):
        return None
    kept = {key: value for key, value in item.items() if value is not None and key not in _OF_ONE_ANSWER}
    if not kept.get("content"):
        kept.pop("content", None)
        if len(kept.get("summary") or ()) < 2:
            kept.pop("summary", None)
    return to_json(kept).decode()


def unpacked(part: ReasoningPart) -> dict[str, Any] | None:
    """The item a part was made from; ``None`` if its signature is not one of this API."""
    try:
        kept = from_json(part.signature or "")
    except ValueError:
        return None
    if not isinstance(kept, dict) or not isinstance(kept.get("encrypted_content"), str):
        return None
    summary = [{"type": "summary_text", "text": part.text}] if part.text else []
    return {"summary": summary, **kept, "type": "reasoning"}
