"""What an attempt cost: as its provider states it, else by the price in force when it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.records import FREE, UNKNOWN, Charge

if TYPE_CHECKING:
    from decimal import Decimal

    from catalogue.pricing import PriceBook
    from job_contracts.chat import Usage

__all__ = ["charge_of"]


def charge_of(
    book: PriceBook, model: str, usage: Usage, *, at: float, stated: Decimal | None = None, failed: bool = False
) -> Charge:
    """``at``: UTC seconds. What ``failed`` and used nothing is free, whatever its price; where no price is known any
    other attempt's charge is unknown, never nothing.
    """
    if stated is not None:
        return Charge(stated, stated=True)
    if failed and not usage.total:
        return FREE
    priced = book.cost(model, usage, at)
    return UNKNOWN if priced.cost is None else Charge(priced.cost, price=priced.version)
