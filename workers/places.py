"""Losses tell places in the job's own conversation, also where the route put turns or the fitting took some. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from job_contracts.chat import Turn
from job_contracts.results import Loss

__all__ = ["Places", "places", "put_back"]

Places = Sequence[int | None]
"""For each turn as it is now its place in the job; ``None`` for one that the job does not have."""

_PLACE = re.compile(r"messages\[(\d+)(?::(\d+))?\]")


def places(before: Sequence[Turn], now: Sequence[Turn]) -> Places:
    """Where the turns of ``now`` stand in ``before``: the very same turns, not equal ones."""
    known = {id(turn): place for place, turn in enumerate(before)}
    return [known.get(id(turn)) for turn in now]


def put_back(losses: Iterable[Loss], at: Places) -> tuple[Loss, ...]:
    """The losses with the places they have in the job; what is about a turn of the route's names no place."""
    return tuple(_put_back(loss, at) for loss in losses)


def _put_back(loss: Loss, at: Places) -> Loss:
    found = _PLACE.match(loss.field)
    if found is None:
        return loss
    first = _at(at, int(found[1]))
    last = first if found[2] is None else _at(at, int(found[2]) - 1)
    if first is None or last is None:
        field = "messages"
    else:
        end = "" if found[2] is None else f":{last + 1}"
        field = f"messages[{first}{end}]{loss.field[found.end() :]}"
    return loss if field == loss.field else loss.model_copy(update={"field": field})


def _at(at: Places, place: int) -> int | None:
    return at[place] if place < len(at) else None
