"""How the copies of OpenAI's chat completions are asked to reason: one effort or budget, in each target's own form.

Forms: ``reasoning_effort`` (OpenAI, xAI, Groq, Mistral), ``reasoning`` (OpenRouter, see
https://openrouter.ai/docs/use-cases/reasoning-tokens), ``thinking`` (DeepSeek, Zhipu, Moonshot), ``enable_thinking``
with ``thinking_budget`` (Qwen), ``chat_template_kwargs`` (vLLM, SGLang, NIM), ``prompt_mode`` (Mistral's Magistral).
Which one it is, is a quirk of the row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from workers.dialects import thinking

if TYPE_CHECKING:
    from workers.dialects.encoding import Wanted


def put_reasoning(body: dict[str, Any], wanted: Wanted, most: int | None) -> None:
    """Effort and budget of the settings into the body; ``most`` is what the whole answer may have, if that is said."""
    quirks, settings = wanted.quirks, wanted.settings
    if quirks.budget_as and settings.reasoning_budget is not None and settings.reasoning_effort != "none":
        budget = thinking.budget(wanted)
        if budget is None:
            wanted.get("reasoning_effort")  # refused as well
            return
        if settings.reasoning_effort is not None:
            wanted.losses.add("dropped", thinking.EFFORT, f"the budget of {budget} tokens says it")
        _put_budget(body, _within(budget, most, wanted), wanted)
    else:
        effort = thinking.effort(wanted)
        if effort is None:
            return
        put_effort(body, effort, wanted)
    if settings.reasoning_effort != "none":
        put_fields(body, quirks.reasoning_send)


def put_effort(body: dict[str, Any], effort: str, wanted: Wanted) -> None:
    """The effort in the target's form."""
    on = effort != "none"
    word = _word(effort, wanted.quirks.effort_words)
    match wanted.quirks.reasoning_as:
        case "reasoning_effort":
            body["reasoning_effort"] = word
            return
        case "reasoning":
            body["reasoning"] = {"effort": word}
            return
        case "thinking_effort":
            body["thinking"] = {"type": "enabled" if on else "disabled"}
            if on:
                body["reasoning_effort"] = word
            return
        case "thinking":
            body["thinking"] = {"type": "enabled" if on else "disabled"}
        case "enable_thinking":
            body["enable_thinking"] = on
        case "chat_template_kwargs":
            body.setdefault("chat_template_kwargs", {})["enable_thinking"] = on
        case "chat_template_thinking":
            body.setdefault("chat_template_kwargs", {})["thinking"] = on
        case "prompt_mode":
            # null is how Mistral is told to leave its reasoning prompt out (docs.mistral.ai/capabilities/reasoning).
            body["prompt_mode"] = "reasoning" if on else None
    if on:
        wanted.losses.add("rewritten", thinking.EFFORT, f"{effort}: reasoning is only on or off here")


def _put_budget(body: dict[str, Any], budget: int, wanted: Wanted) -> None:
    match wanted.quirks.budget_as:
        case "reasoning":
            body["reasoning"] = {"max_tokens": budget}
        case "thinking":
            body["thinking"] = {"type": "enabled", "budget_tokens": budget}
        case "chat_template_kwargs":
            body["chat_template_kwargs"] = {"enable_thinking": True, "thinking_budget": budget}
        case _:
            if wanted.quirks.reasoning_as == "thinking":
                body["thinking"] = {"type": "enabled"}
            else:
                body["enable_thinking"] = True
            body["thinking_budget"] = budget


def _within(budget: int, most: int | None, wanted: Wanted) -> int:
    """Reasoning counts as output: a budget must leave something of ``max_tokens`` to the answer."""
    if most is None or budget < most:
        return budget
    room = max(1, most - 1)
    wanted.losses.add("clamped", thinking.BUDGET, f"{budget} to {room}, so that it is below max_tokens")
    return room


def _word(effort: str, own: tuple[str, ...]) -> str:
    return next((word for name, _, word in (entry.partition("=") for entry in own) if name == effort), effort)


def put_fields(body: dict[str, Any], fields: tuple[str, ...]) -> None:
    """Fields a row wants sent, ``path=JSON`` each (``catalogue.quirks`` has seen to the form)."""
    for entry in fields:
        path, _, text = entry.partition("=")
        *outer, last = path.split(".")
        inside = body
        for step in outer:
            inside = inside.setdefault(step, {})
        inside[last] = from_json(text)
