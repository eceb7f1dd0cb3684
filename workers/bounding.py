"""Holds what a call asks for to what was reserved for it: more output than its grant allows is never asked for. Pure.

The bound goes into the settings before they are mapped, and every dialect keeps budgets for reasoning within
``max_tokens``. Where a provider does not count reasoning against that (the quirk ``thinks_beyond``), the bound is
shared between the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalogue.quirks import least_output, quirks_of
from job_contracts.failures import Failure, FailureKind
from job_contracts.results import Loss
from workers.dialects.encoding import BUDGETS
from workers.dialects.thinking import BUDGET, EFFORT

if TYPE_CHECKING:
    from typing import Any

    from job_contracts.chat import Conversation, Settings
    from workers.dialects.port import Target

__all__ = ["bounded"]

FIELD = "settings.max_tokens"
_WHY = "no more was reserved for the attempt"


def bounded(
    conversation: Conversation, most: int | None, target: Target
) -> tuple[Conversation, tuple[Loss, ...]] | Failure:
    """The conversation with settings that allow ``most`` output tokens, and what was changed; a failure if the target
    cannot be held to so few.
    """
    if most is None or "embeddings" in target.model.capabilities:
        return conversation, ()
    least = least_output(target.provider, target.model)
    if most < least:
        words = f"{target.model.name} puts out at least {least} tokens, and the attempt may ask for no more than {most}"
        remedy = f"ask for {least} tokens or more"
        return Failure(kind=FailureKind.UNSUPPORTED_PARAM, message=words, field=FIELD, remedy=remedy)
    settings, limit, losses = conversation.settings, target.model.max_output, []
    asked = settings.max_tokens
    changed: dict[str, Any] = {}
    if asked is None:
        changed["max_tokens"] = most if limit is None else min(most, limit)
        if limit is None or most < limit:
            losses.append(Loss(kind="clamped", field=FIELD, detail=f"{most}: {_WHY}"))
    elif asked > most:
        changed["max_tokens"] = most
        losses.append(Loss(kind="clamped", field=FIELD, detail=f"{asked} to {most}: {_WHY}"))
    if quirks_of(target.provider, target.model).thinks_beyond and "reasoning" in target.model.capabilities:
        shared, more = _shared(settings, changed.get("max_tokens") or asked or most, most)
        changed |= shared
        losses += more
    if not changed:
        return conversation, ()
    kept = settings.model_copy(update=changed)
    return conversation.model_copy(update={"settings": kept}), tuple(losses)


def _shared(settings: Settings, answer: int, most: int) -> tuple[dict[str, Any], list[Loss]]:
    """Tokens to reason and tokens of the answer, together no more than the bound; the answer has half of it at least,
    or as much as it asks for.
    """
    effort = settings.reasoning_effort
    wanted = settings.reasoning_budget or BUDGETS.get(effort or "", 0)
    room = most - min(answer, most - most // 2)
    budget = min(wanted, room)
    if effort == "none":
        return {}, []
    if budget < 1:
        loss = Loss(kind="rewritten", field=EFFORT, detail="none: nothing else bounds what it reasons by itself")
        return {"reasoning_effort": "none", "reasoning_budget": None}, [loss]
    losses = []
    if budget != settings.reasoning_budget:
        losses.append(Loss(kind="clamped", field=BUDGET, detail=f"{wanted} to {budget}: {_WHY}"))
    changed: dict[str, Any] = {"reasoning_effort": None, "reasoning_budget": budget}
    if answer > most - budget:
        changed["max_tokens"] = most - budget
        losses.append(Loss(kind="clamped", field=FIELD, detail=f"{answer} to {most - budget}: {_WHY}"))
    return changed, losses
