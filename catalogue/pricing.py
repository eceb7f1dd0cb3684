"""What a deployment's calls cost at a moment, looked up once: the price in force, and the version it is known by.

A version is short and stable: the day since which the price holds (``-``: always), a slash, and a digest of everything
it says, rates, tiers, fees and hours, so the same rates have the same version whichever row, file or release of the
price library they came from, and other rates have another one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from catalogue.prices import Price, price_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalogue.rows import ProviderRow
    from job_contracts.chat import Usage

__all__ = ["PriceBook", "Priced", "prices_of", "version_of"]

_ROOM = 4096


def prices_of(row: ProviderRow, model: str) -> tuple[Price, ...]:
    """Every price of a model at a provider, whenever it holds: its row's and the library's, in the order of
    ``catalogue.prices.price_at``; none if no price is known. ``row.model(model).prices`` are only the row's own.
    """
    return row.prices(model)


def version_of(price: Price) -> str:
    """The version of a price: ``2026-03-13/4f1c2a9b0d3e``."""
    said = repr(_plain(price.model_dump()))
    return f"{price.since or '-'}/{blake2b(said.encode(), digest_size=6).hexdigest()}"


def _plain(value: object) -> object:
    """The same for what is equal: 3 and 3.00 are one rate."""
    if isinstance(value, Decimal):
        return str(value.normalize())
    if isinstance(value, dict):
        return sorted((name, _plain(one)) for name, one in value.items() if one is not None)
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return str(value)


class Priced(NamedTuple):
    """What a call costs in US dollars, ``None`` if that is not known, and by which version of the price."""

    cost: Decimal | None
    version: str | None


UNKNOWN = Priced(None, None)


class PriceBook:
    """The prices of one provider's models, as often as they are asked for.

    The first question about a model looks it up (milliseconds, a tenth of a second for the very first one of a process:
    the price library is read then); further ones take a few microseconds.
    """

    __slots__ = ("_known", "_row", "_versions")

    def __init__(self, row: ProviderRow) -> None:
        self._row = row
        self._known: dict[str, tuple[Sequence[Price], Price | None]] = {}
        self._versions: dict[int, tuple[Price, str]] = {}

    def open(self) -> None:
        """Read the price library now, if it will be needed, and not in the middle of the first attempt."""
        self.at("", 0.0)

    def at(self, model: str, moment: float) -> Price | None:
        """The price in force at a moment (UTC seconds); ``None`` if none is known."""
        found = self._known.get(model)
        if found is None:
            found = self._look_up(model)
        prices, always = found
        return always if always is not None or not prices else price_at(prices, datetime.fromtimestamp(moment, UTC))

    def cost(self, model: str, usage: Usage, moment: float) -> Priced:
        """What a call of that moment costs by its price."""
        price = self.at(model, moment)
        if price is None:
            return UNKNOWN
        cost = price.cost(usage)
        return UNKNOWN if cost is None else Priced(cost, self._version(price))

    def _look_up(self, model: str) -> tuple[Sequence[Price], Price | None]:
        if len(self._known) >= _ROOM:
            self._known.clear()
            self._versions.clear()
        prices = prices_of(self._row, model)
        always = prices[-1] if prices and not any(price.conditional for price in prices) else None
        found = self._known[model] = prices, always
        return found

    def _version(self, price: Price) -> str:
        found = self._versions.get(id(price))
        if found is None:
            found = self._versions[id(price)] = price, version_of(price)
        return found[1]
