"""How the copies of OpenAI's chat completions are asked to reason: one effort or budget, in each target's own form.

Forms: ``reasoning_effort`` (OpenAI, xAI, Groq, Mistral), ``reasoning`` (OpenRouter, see
https://openrouter.ai/docs/use-cases/reasoning-tokens), ``thinking`` (DeepSeek, Zhipu, Moonshot), ``enable_thinking``
with ``thinking_budget`` (Qwen), ``chat_template_kwargs`` (vLLM, SGLang, NIM), ``prompt_mode`` (Mistral's Magistral).
Which one it is, is a quirk of the row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from workers.dialects.encoding import BUDGETS, EFFORTS

if TYPE_CHECKING:
    from workers.dialects.encoding import Wanted

_LEAST = 1024
"""Budgets below are efforts ``minimal``."""


def put_reasoning(body: dict[str, Any], wanted: Wanted, most: int | None) -> None:
    """Effort and budget of the settings into the body; ``most`` is what the whole answer may have, if that is said."""
    quirks, settings = wanted.quirks, wanted.settings
    budget = settings.reasoning_budget
    asked = settings.reasoning_effort
    if budget is None and asked is None:
        return
    if wanted.refused("reasoning_effort", field="settings.reasoning_effort" if asked else "settings.reasoning_budget"):
        if asked and budget is not None:
            wanted.losses.add("dropped", "settings.reasoning_budget", "the model does not take it")
        return
    if budget is not None and asked == "none":
        wanted.losses.add("dropped", "settings.reasoning_budget", "there is no reasoning to limit")
        budget = None
    if budget is not None and quirks.budget_as:
        _put_budget(body, _within(budget, most, wanted), asked, wanted)
    else:
        effort = wanted.effort() if asked is not None else None
        if budget is not None:
            effort = _nearest(budget, effort, wanted)
        if effort is not None:
            put_effort(body, effort, wanted)
    if asked != "none":
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
        wanted.losses.add("rewritten", "settings.reasoning_effort", f"{effort}: reasoning is only on or off here")


def _put_budget(body: dict[str, Any], budget: int, asked: str | None, wanted: Wanted) -> None:
    if asked is not None:
        wanted.losses.add("dropped", "settings.reasoning_effort", "the budget says it more exactly")
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
    wanted.losses.add("clamped", "settings.reasoning_budget", f"{budget} to {room}, so that it is below max_tokens")
    return room


def _nearest(budget: int, effort: str | None, wanted: Wanted) -> str | None:
    """The effort that stands for the budget, where the target counts no tokens; one that was asked for outweighs it."""
    if effort is not None:
        wanted.losses.add("dropped", "settings.reasoning_budget", f"the effort {effort} is sent instead")
        return effort
    known = [word for word in wanted.quirks.efforts or EFFORTS if word != "none"]
    if not known:
        wanted.losses.add("dropped", "settings.reasoning_budget", "the model takes neither budget nor effort")
        return None
    nearest = min(known, key=lambda word: (abs(BUDGETS[word] - budget), EFFORTS.index(word)))
    if nearest == "minimal" and budget >= _LEAST and "low" in known:
        nearest = "low"  # both stand for the same budget
    wanted.losses.add("rewritten", "settings.reasoning_budget", f"{budget} tokens are asked for as effort {nearest}")
    return nearest


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
