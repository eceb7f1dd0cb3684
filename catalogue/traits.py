"""What is known of a deployment, by which a job's constraints are judged: the operator's word, then the catalogue's.

The scheduler and each worker make it of the configuration they have read themselves, by the same rules.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Protocol

from catalogue.names import kin
from catalogue.prices import Kind, Price, price_at
from catalogue.rows import ProviderRow
from job_contracts.constraints import Hosting, Traits

__all__ = ["Told", "priced", "retirement", "traits_of"]

_REACH = re.compile(r"^(us|eu|apac|jp|au|ca|sa|us-gov|global)\.(?=[a-z0-9-]+\.)")
"""How the names of models begin that are served across regions, wherever they are called."""


class Told(Protocol):
    """What the configuration says of one provider."""

    @property
    def catalogue(self) -> str | None: ...
    @property
    def base_url(self) -> str | None: ...
    @property
    def hosting(self) -> Hosting: ...
    @property
    def region(self) -> str | None: ...
    @property
    def zero_retention(self) -> bool: ...
    @property
    def quantisation(self) -> str | None: ...


def traits_of(name: str, told: Told, row: ProviderRow | None, model: str) -> Traits:
    """Everything but the prices, which have their hours. ``row``: the catalogue's, if it knows the provider."""
    names = kin(model)
    if row is not None and row.model(model).same_as:
        names += kin(row.model(model).same_as)
    return Traits(
        provider=name,
        model=model,
        region=_region(told, row, model),
        hosting=told.hosting,
        zero_retention=told.zero_retention,
        quantisation=told.quantisation,
        vendor=told.catalogue or (row.name if row is not None else None),
        names=tuple(dict.fromkeys(names)),
    )


def priced(traits: Traits, prices: Sequence[Price], wall: float) -> Traits:
    """With the dearest rates in force at a moment (UTC seconds); not known where any of them is not."""
    price = price_at(prices, datetime.fromtimestamp(wall, UTC)) if prices else None
    if price is None:
        return traits
    prompts = (0, *(tier.above + 1 for tier in price.tiers))
    return replace(
        traits,
        input_price=_dearest(price, ("input",), prompts),
        output_price=_dearest(price, ("output", "reasoning"), prompts),
    )


def retirement(told: Told, row: ProviderRow | None, model: str) -> tuple[date | None, str]:
    """The day from which a model is no longer called, and its successor. At an address of the operator's own nobody but
    the operator knows what is served.
    """
    if row is None or told.base_url is not None:
        return None, ""
    facts = row.model(model)
    return facts.retires, facts.successor


def _region(told: Told, row: ProviderRow | None, model: str) -> str | None:
    """Where a call is worked on: a name that says so itself wins over the place where it is called."""
    reach = _REACH.match(model)
    if reach is not None:
        return reach.group(1)
    if told.region is not None:
        return told.region
    if row is None or told.base_url is not None:
        return None
    own = row.model(model).regions
    regions = row.regions if own is None else own
    return regions[0] if len(regions) == 1 else None


def _dearest(price: Price, kinds: Sequence[Kind], prompts: Sequence[int]) -> Decimal | None:
    rates = [price.rate(kind, prompt) for kind in kinds for prompt in prompts]
    known = [rate for rate in rates if rate is not None]
    return max(known) if len(known) == len(rates) else None
