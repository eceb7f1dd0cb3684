"""Experiments: what came of each arm, what is known of the difference, what the ramp waits for; and the stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from console.asking import fault
from console.panels import Action, Amiss, Desks, Panel
from job_contracts.operating import AskNote
from job_contracts.trials import AskExperiments, AskStop, ToldDifference

if TYPE_CHECKING:
    from console.people import Person

WIDTH = 200.0
"""Of a drawn interval, in units of its drawing."""
FINDINGS = {"open": "not distinguishable yet", "different": "different", "same": "the same, for practical purposes"}


@dataclass(frozen=True, slots=True)
class Drawn:
    """Where an interval lies in its drawing: the zero is in the middle."""

    low: float
    high: float
    estimate: float
    reach: float
    """What the ends of the drawing stand for."""


def drawn(found: ToldDifference) -> Drawn | None:
    """A difference with its interval, in a scale of its own; ``None`` where nothing is ruled out on a side."""
    if found.low is None or found.high is None:
        return None
    reach = _round_up(max(abs(found.low), abs(found.high), abs(found.estimate)))
    low, high, estimate = (
        round(WIDTH / 2 * (1 + value / reach), 2) for value in (found.low, found.high, found.estimate)
    )
    return Drawn(low, high, estimate, reach)


def _round_up(value: float) -> float:
    """To the next number that is easy to read: 1, 2 or 5 with zeros."""
    size, steps = 1e-6, cycle((2.0, 2.5, 2.0))
    while size < value:
        size *= next(steps)
    return float(f"{size:.3g}")


def signed(found: ToldDifference, value: float | None) -> str:
    """As people say it: shares in per cent, points of error rates and scores as percentage points."""
    if value is None:
        return "unknown"
    unit = "%" if found.metric.relative else "points"
    return f"{100 * value:+,.1f} {unit}"


async def _read(desks: Desks, _: Person, query: Mapping[str, str]) -> Mapping[str, Any]:
    told = await desks.asking.experiments(AskExperiments())
    wanted = desks.config.experiments.items()
    values = {"told": told.experiments, "on": query.get("on", ""), "drawn": drawn, "signed": signed}
    return {
        **values,
        "findings": FINDINGS,
        "judges": {name: one.judge.route for name, one in wanted if one.judge is not None},
    }


async def _stop(desks: Desks, person: Person, form: Mapping[str, str]) -> str:
    """Stop an arm, then note it. The person is named in the experiment's own audit, with the stop, in one record: if
    the console ends between the two, that is known all the same, and the stop may be asked for again.
    """
    experiment, slash, arm = form.get("on", "").partition("/")
    why = form.get("why", "").strip()
    if not (experiment and slash and arm):
        raise Amiss("choose the arm that is to be stopped")
    if not why:
        raise Amiss("say why: whoever reads the audit was not there")
    try:
        asked = AskStop(experiment=experiment, arm=arm, why=f"{why} ({person.name})")
        note = AskNote(by=person.name, did="stop_arm", on="experiment", name=f"{experiment}/{arm}", why=why)
    except ValidationError as error:
        raise Amiss(fault(error)) from error
    await desks.asking.stop_arm(asked)
    noted = await desks.asking.note(note)
    return f"{arm} of {experiment} is stopped" + (f" (audit {noted.line.seq})" if noted.line is not None else "")


EXPERIMENTS = Panel(
    *("experiments", "Experiments", "e", _read),
    group="Models",
    every=5.0,
    actions=MappingProxyType({"stop": Action("operator", _stop)}),
)
