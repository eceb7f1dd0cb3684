"""How much a model shall reason, in the unit its target counts: tokens, or a word for the effort."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.dialects.encoding import BUDGETS, EFFORTS

if TYPE_CHECKING:
    from workers.dialects.encoding import Wanted

EFFORT, BUDGET = "settings.reasoning_effort", "settings.reasoning_budget"


def asked(wanted: Wanted) -> bool:
    """Whether the conversation asks for reasoning at all."""
    settings = wanted.settings
    return settings.reasoning_budget is not None or settings.reasoning_effort not in {None, "none"}


def tokens(wanted: Wanted) -> tuple[int | None, str]:
    """For a target that counts tokens: how many (0: do not reason, ``None``: nothing is asked), and which setting said
    so. Of a budget and an effort the budget is the more exact, but an effort of ``none`` outweighs it.
    """
    effort, budget = wanted.effort(), _budget(wanted)
    if effort == "none":
        if budget is not None:
            wanted.losses.add("dropped", BUDGET, "the effort is none")
        return 0, EFFORT
    if budget is not None:
        if effort is not None:
            wanted.losses.add("dropped", EFFORT, f"the budget of {budget} tokens says it")
        return budget, BUDGET
    return (None if effort is None else BUDGETS[effort]), EFFORT


def effort(wanted: Wanted) -> str | None:
    """For a target that knows efforts: which one; a budget alone becomes the effort whose usual budget is nearest."""
    budget = _budget(wanted)
    if budget is None:
        return wanted.effort()
    if wanted.settings.reasoning_effort is not None:
        wanted.losses.add("dropped", BUDGET, "the effort says it")
        return wanted.effort()
    known = [word for word in wanted.quirks.efforts or EFFORTS if word in BUDGETS] or list(BUDGETS)
    nearest = min(known, key=lambda word: (abs(BUDGETS[word] - budget), -EFFORTS.index(word)))
    wanted.losses.add("converted", BUDGET, f"{budget} tokens to the effort {nearest}")
    return nearest


def unknown(wanted: Wanted) -> None:
    """For a target that does not reason: what was asked of it is lost."""
    if wanted.effort() not in {None, "none"}:
        wanted.losses.add("dropped", EFFORT, "the model does not reason")
    if _budget(wanted) is not None:
        wanted.losses.add("dropped", BUDGET, "the model does not reason")


def _budget(wanted: Wanted) -> int | None:
    budget = wanted.settings.reasoning_budget
    if budget is not None and wanted.refused("reasoning_effort", field=BUDGET):
        return None
    return budget
