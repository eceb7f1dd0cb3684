"""A decision of a route as people read it: who was a candidate, what counted of each, and what spoke against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from producer_sdk.cli.showing import put, put_table

if TYPE_CHECKING:
    from decimal import Decimal

    from job_contracts.decisions import Choice, Staying, Weighed

CHOSEN = "chosen"


def put_decision(decision: Choice) -> None:
    """In words, then a line a candidate in the order in which they would be tried."""
    put(f"  {in_words(decision)}")
    columns = {
        "USD": [_dollars(each.cost) for each in decision.weighed],
        "seconds": [_number(each.seconds) for each in decision.weighed],
        "first token": [_number(each.first_token) for each in decision.weighed],
        "in flight": ["-" if each.in_flight is None else str(each.in_flight) for each in decision.weighed],
        "load": ["-" if each.load is None else f"{each.load:.0%}" for each in decision.weighed],
    }
    # What the strategy did not look at is not in the table.
    told = {name: cells for name, cells in columns.items() if any(cell != "-" for cell in cells)}
    rows = [
        [each.deployment, *(cells[place] for cells in told.values()), _verdict(decision, each)]
        for place, each in enumerate(decision.weighed)
    ]
    put_table(["deployment", *told, "verdict"], rows, left={"deployment", "verdict"})


def printable(text: str) -> str:
    """Words of others: what would break the line, or move the terminal's cursor, does not get there."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def in_words(decision: Choice) -> str:
    """The outcome, and the sums of its session."""
    said = f"strategy {decision.strategy}: {decision.deployment or 'none takes it now'}"
    return said if decision.session is None else f"{said}; {_staying(decision.session)}"


def _staying(session: Staying) -> str:
    verdict = "stays at" if session.stays else "leaves"
    worth = "" if session.worth is None else f", worth {_dollars(session.worth)} USD"
    saves = "" if session.saves is None else f"; another place saves {_dollars(session.saves)} USD"
    return f"its session {verdict} {session.home}: {session.cached} tokens in the cache there{worth}{saves}"


def _verdict(decision: Choice, each: Weighed) -> str:
    if each.deployment == decision.deployment:
        return CHOSEN
    return printable(each.against) or "could take it; comes later"


def _dollars(amount: Decimal | None) -> str:
    return "-" if amount is None else f"{amount.normalize():f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
