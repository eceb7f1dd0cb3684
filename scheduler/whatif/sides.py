"""What was, the same through the rules as they are, and through changed ones: figures beside one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from job_contracts.money import dollars
from scheduler.whatif.figures import Figures, figures, recorded
from scheduler.whatif.places import Places
from scheduler.whatif.replay import Replay
from scheduler.whatif.traffic import APPROXIMATED, arrivals, counting

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from job_contracts.facts import AttemptFact
    from scheduler.policy.rules import Rules

RECORDED = "recorded"


@dataclass(frozen=True, slots=True)
class Sides:
    """The comparison: each side's figures by its name, and what they leave out."""

    sides: Mapping[str, Figures]
    since: float
    """UTC seconds of the first job."""
    until: float
    """And of the last."""
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        told = {name: one.as_json() for name, one in self.sides.items()}
        return {"since": self.since, "until": self.until, "sides": told, "approximated": list(self.notes)}


def compared(
    facts: Iterable[AttemptFact], sides: Mapping[str, Rules], *, seed: int = 0, notes: Sequence[str] = ()
) -> Sides:
    """The jobs behind these facts through boards of these rules, all with the same luck; ``notes``: of the facts."""
    told = counting(facts)
    jobs, places = arrivals(told), Places(told, seed=seed)
    if not jobs:
        return Sides({RECORDED: recorded(told), **{name: Figures() for name in sides}}, 0.0, 0.0)
    start = jobs[0].at
    found = {name: figures(Replay(rules, places, start=start).run(jobs)) for name, rules in sides.items()}
    said = (*notes, *APPROXIMATED, *(places.guesses[name] for name in sorted(places.guesses)))
    return Sides({RECORDED: recorded(told), **found}, start, jobs[-1].at, said)


def lines(sides: Sides) -> list[list[str]]:
    """Rows of a table, its head first: what, then a column a side."""
    every = list(sides.sides.values())
    rows = [["", *sides.sides]]

    def row(name: str, *cells: str) -> None:
        if any(cell not in {"", "0", "-"} for cell in cells):
            rows.append([name, *cells])

    row("jobs", *(str(one.jobs) for one in every))
    row("answered", *(str(one.answered) for one in every))
    row("cost, USD", *(f"{dollars(one.cost):.4f}" for one in every))
    row("  attempts without a price", *(str(one.unpriced) for one in every))
    for name, spans in (
        ("latency", [one.latency for one in every]),
        ("first token", [one.first_token for one in every]),
        ("waiting", [one.waiting for one in every]),
    ):
        for share in ("p50", "p95", "p99"):
            row(f"{name} {share}, s", *(_seconds(getattr(span, share)) for span in spans))
    row("held up for a second or more", *(str(one.held_up) for one in every))
    row("further attempts", *(str(one.elsewhere) for one in every))
    for why in sorted({why for one in every for why in one.refused}):
        row(f"no answer: {why}", *(str(one.refused.get(why, 0)) for one in every))
    for place in sorted({place for one in every for place in one.answers}):
        row(f"at {place}", *(_share(one.answers.get(place, 0), one.answered) for one in every))
    return rows


def text(sides: Sides) -> str:
    """The table as people read it, and below it what is approximated."""
    rows = lines(sides)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    told = [
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*told, "", *(f"approximated: {note}" for note in sides.notes)]) + "\n"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _share(count: int, of: int) -> str:
    return f"{count} ({count / of:.0%})" if count else "0"
