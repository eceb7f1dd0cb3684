"""What is known of a challenger, as a person would say it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts.experiments import Metric
from scheduler.policy.experiments.comparing import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.policy.experiments.comparing import Difference
    from scheduler.policy.experiments.ramp import Progress

_WORDS: Mapping[Metric, tuple[str, str, str]] = {
    Metric.COST: ("costs {} less", "costs {} more", "cost"),
    Metric.LATENCY: ("is {} faster", "takes {} longer", "latency"),
    Metric.ERROR_RATE: ("fails less often, by {}", "fails more often, by {}", "error rate"),
    Metric.FEEDBACK: ("is liked less, by {}", "is liked more, by {}", "feedback"),
    Metric.JUDGE: ("is judged worse, by {}", "is judged better, by {}", "judge's score"),
}
"""If the value is lower, if it is higher, and the metric's name."""


def verdict(arm: str, differences: Mapping[Metric, Difference], *, smallest: float, progress: Progress) -> str:
    """Such as: ``B costs 12 % less (8 to 15), its error rate is not distinguishable yet; about 4,000 more jobs are
    needed``.
    """
    found = {finding: [d for d in differences.values() if d.finding is finding] for finding in Finding}
    parts = [_different(difference) for difference in found[Finding.DIFFERENT]]
    if found[Finding.SAME]:
        parts.append(f"{_are(found[Finding.SAME])} the same {_within(found[Finding.SAME], smallest)}")
    if found[Finding.OPEN]:
        parts.append(f"{_are(found[Finding.OPEN])} not distinguishable yet")
    said = f"{arm} {parts[0]}" if found[Finding.DIFFERENT] else f"{arm}: {parts[0]}" if parts else f"{arm}: nothing"
    text = ", ".join([said, *parts[1:]])
    why = progress.halted.get(arm)
    if why is not None:
        return f"{text}; it was stopped: {why}"
    return f"{text}{_needed(found[Finding.OPEN])}"


def _different(difference: Difference) -> str:
    lower, higher, _ = _WORDS[difference.metric]
    less = difference.estimate < 0
    edges = sorted(abs(edge) for edge in difference.interval)
    figures = _figures(abs(difference.estimate), *edges)
    unit = "%" if difference.metric.relative else "points"
    return f"{(lower if less else higher).format(f'{figures[0]} {unit}')} ({figures[1]} to {figures[2]})"


def _figures(*shares: float) -> list[str]:
    """As many digits as it takes to tell the ends of the interval from what is between them, three at most."""
    told: list[str] = []
    for digits in range(4):
        told = [f"{100 * share:,.{digits}f}" for share in shares]
        if told[1] != told[0] != told[2] and float(told[1].replace(",", "")) > 0:
            break
    return told


def _within(same: list[Difference], smallest: float) -> str:
    units = {"%" if difference.metric.relative else "points" for difference in same}
    return f"within {100 * smallest:.3g} {' or '.join(sorted(units))}"


def _are(differences: list[Difference]) -> str:
    """The metrics as the subject of a sentence, with its verb."""
    *first, last = [_WORDS[difference.metric][2] for difference in differences]
    return f"its {', '.join(first)} and {last} are" if first else f"its {last} is"


def _needed(undecided: list[Difference]) -> str:
    if not undecided:
        return ""
    counts = [difference.more for difference in undecided if difference.more is not None]
    if len(counts) < len(undecided):
        return "; how many more jobs are needed cannot be said yet"
    return f"; about {max(counts):,} more jobs are needed"
