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
    word, most = wanted.effort(), budget(wanted)
    if word == "none":
        if most is not None:
            wanted.losses.add("dropped", BUDGET, "the effort is none")
        return 0, EFFORT
    if most is not None:
        if word is not None:
            wanted.losses.add("dropped", EFFORT, f"the budget of {most} tokens says it")
        return most, BUDGET
    return (None if word is None else BUDGETS[word]), EFFORT


def effort(wanted: Wanted) -> str | None:
    """For a target that knows efforts: which one; a budget alone becomes the effort whose usual budget is nearest."""
    most = budget(wanted)
    if most is None:
        return wanted.effort()
    if wanted.settings.reasoning_effort is not None:
        wanted.losses.add("dropped", BUDGET, "the effort says it")
        return wanted.effort()
    nearest = _nearest(most, wanted.quirks.efforts)
    wanted.losses.add("converted", BUDGET, f"{most} tokens to the effort {nearest}")
    return nearest


def _nearest(budget: int, efforts: tuple[str, ...]) -> str:
    """The higher of two equally near; ``minimal``, which stands for as many tokens as ``low``, if it is known."""
    known = [word for word in efforts or EFFORTS if word in BUDGETS] or list(BUDGETS)
    nearest = min(known, key=lambda word: (abs(BUDGETS[word] - budget), -EFFORTS.index(word)))
    return "minimal" if nearest == "low" and budget < BUDGETS["low"] and "minimal" in efforts else nearest


def unknown(wanted: Wanted) -> None:
    """For a target that does not reason: what was asked of it is lost."""
    if wanted.effort() not in {None, "none"}:
        wanted.losses.add("dropped", EFFORT, "the model does not reason")
    if budget(wanted) is not None:
        wanted.losses.add("dropped", BUDGET, "the model does not reason")


def budget(wanted: Wanted) -> int | None:
    """The budget; ``None`` if none is asked for, or the target takes none, which is then a loss."""
    asked_for = wanted.settings.reasoning_budget
    if asked_for is not None and wanted.refused("reasoning_effort", field=BUDGET):
        return None
    return asked_for
