"""Prices and context windows out of ``genai-prices``, read when first asked for: it takes a tenth of a second, 10 MB.

The library (https://github.com/pydantic/genai-prices, MIT) is a table in Python. It can also fetch newer tables from
the network; that is never switched on here: prices change when the locked version does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, time
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from catalogue.names import kin, readings, suffix_of
from catalogue.prices import Price, Tier

if TYPE_CHECKING:
    from decimal import Decimal

    from genai_prices.types import ModelInfo, ModelPrice
    from genai_prices.types import Provider as TheirProvider

__all__ = ["Library"]

SUFFIX = "{suffix}"
_RATES: Mapping[str, str] = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "reasoning": "output_reasoning_mtok",
}
_ROOM = 4096
_FEES: Mapping[str, str] = {"requests": "requests_kcount", "searches": "web_searches_kcount"}


class Library:
    """What the library knows of one provider.

    ``ids``: the provider's names there, in the order to ask; ``{suffix}`` stands for the end of a model's name.
    ``spelling``: beginnings of names there -> the same here.
    """

    def __init__(self, ids: Sequence[str], spelling: Mapping[str, str]) -> None:
        self.ids = tuple(ids)
        self.spelling = dict(spelling)

    def window(self, name: str) -> int | None:
        """Tokens of a model's context window."""
        found = self._find(name, kin, windowed=True)
        return found.context_window if found is not None else None

    def prices(self, name: str) -> tuple[Price, ...]:
        """A model's prices, as ``catalogue.prices.price_at`` reads them; none if they are not known."""
        found = self._find(name, readings)
        return _prices(found) if found is not None else ()

    def deprecated(self, name: str) -> bool:
        """Whether the provider advises against a model."""
        found = self._find(name, readings)
        return found is not None and bool(found.deprecated)

    def names(self) -> Iterator[str]:
        """Every model of the provider, as it is called here."""
        for provider, suffix in self._providers(None):
            for model in provider.models:
                name = self._here(model.id)
                yield f"{name}:{suffix}" if suffix else name

    def _find(self, name: str, names: Callable[[str], tuple[str, ...]], *, windowed: bool = False) -> ModelInfo | None:
        for provider, suffix in self._providers(suffix_of(name)):
            for candidate in names(name.removesuffix(f":{suffix}") if suffix else name):
                model = _model(provider.id, candidate)
                if model is not None and (model.context_window is not None or not windowed):
                    return model
        return None

    def _providers(self, suffix: str | None) -> Iterator[tuple[TheirProvider, str]]:
        """With a suffix those that it names, with ``None`` all that any suffix names."""
        for asked in self.ids:
            if SUFFIX not in asked:
                if asked in _all():
                    yield _all()[asked], ""
                continue
            start = asked.removesuffix(SUFFIX)
            for known, provider in _all().items():
                if known.startswith(start) and suffix in {None, known.removeprefix(start)}:
                    yield provider, known.removeprefix(start)

    def _here(self, name: str) -> str:
        for there, here in self.spelling.items():
            if name.startswith(there):
                return here + name.removeprefix(there)
        return name


@cache
def _all() -> Mapping[str, TheirProvider]:
    from genai_prices.data import providers  # noqa: PLC0415  # a large table: only who asks pays for it

    return {provider.id: provider for provider in providers}


@cache
def _ids(provider: str) -> Mapping[str, ModelInfo]:
    """The models of a provider by their own names, which is quicker than to try every model's rules."""
    return {model.id.lower(): model for model in _all()[provider].models}


@cache
def _everyone() -> list[TheirProvider]:
    return list(_all().values())


@lru_cache(_ROOM)
def _model(provider: str, name: str) -> ModelInfo | None:
    found = _ids(provider).get(name.lower())
    return found or _all()[provider].find_model(name, all_providers=_everyone())


def _prices(model: ModelInfo) -> tuple[Price, ...]:
    if not isinstance(model.prices, list):
        price = _price(model.prices)
        return (price,) if price.known else ()
    found = []
    for number, entry in enumerate(model.prices):
        price = _price(entry.prices)
        constraint = entry.constraint
        # The first one holds wherever no other does, whatever its own condition.
        if constraint is not None and number > 0:
            if hasattr(constraint, "start_date"):
                price = price.model_copy(update={"since": constraint.start_date})
            else:
                hours = (_utc(constraint.start_time), _utc(constraint.end_time))
                price = price.model_copy(update={"hours": hours})
        found.append(price)
    return tuple(found)


def _utc(value: time) -> time:
    if value.tzinfo is None:
        return value
    return datetime(1970, 1, 2, value.hour, value.minute, value.second, tzinfo=value.tzinfo).astimezone(UTC).time()


def _price(theirs: ModelPrice) -> Price:
    base: dict[str, Decimal] = {}
    tiers: dict[int, dict[str, Decimal]] = {}
    for ours, name in (*_RATES.items(), *_FEES.items()):
        value: Any = getattr(theirs, name)
        if value is None:
            continue
        if hasattr(value, "tiers"):
            base[ours] = value.base
            for tier in value.tiers if ours in _RATES else ():
                tiers.setdefault(tier.start, {})[ours] = tier.price
        else:
            base[ours] = value
    return Price.model_validate(
        {**base, "tiers": tuple(Tier.model_validate({"above": above, **rates}) for above, rates in tiers.items())}
    )
