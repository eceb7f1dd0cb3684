"""What the configuration and the catalogue say of each deployment that routes name, and whose key reaches which."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, get_args

from catalogue.prices import Kind, price_at
from catalogue.pricing import version_of
from catalogue.rows import ProviderRow
from catalogue.tiers import at_tier
from catalogue.traits import retirement, traits_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from catalogue.prices import Price
    from catalogue.rows import Source
    from console.people import Person
    from runtime.settings import Config
    from runtime.settings.routing import Provider

SOON = 30
"""Days before a model retires from which it is marked; the alert ``PenstockModelRetires`` has the same."""
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class PriceLine:
    """One price, in force or not."""

    price: Price
    version: str
    source: Source
    holds: bool


@dataclass(frozen=True, slots=True)
class Deployment:
    """One model at one provider, by this moment's prices; ``None`` and empty: nobody says."""

    name: str
    provider: str
    model: str
    title: str
    """What people call the provider."""
    routes: tuple[str, ...]
    dialect: str
    window: int | None
    max_output: int | None
    capabilities: tuple[str, ...] | None
    regions: tuple[str, ...]
    """Where it can be called."""
    region: str | None
    """Where it is."""
    retention: str
    lines: tuple[PriceLine, ...]
    """Every price of it; the one in force is the last that holds."""
    deprecated: bool
    retires: date | None
    left: int | None
    """Days until then; 0 and below: its provider has retired it."""
    successor: str
    said: tuple[tuple[str, str], ...]
    """What the configuration says of its provider, by the name of the setting."""
    docs: str

    @property
    def line(self) -> PriceLine | None:
        """The price in force."""
        return next((one for one in self.lines if one.holds), None)

    @property
    def soon(self) -> bool:
        """Whether it retires soon, or has."""
        return self.left is not None and self.left <= SOON


def routes_of(config: Config, person: Person) -> tuple[str, ...]:
    """The routes that somebody's key may ask for; all of them, where it sees everything."""
    if person.project is None:
        return tuple(config.routes)
    rules, scope = config.projects.get(person.project), person.scope
    may = () if rules is None else config.routes if rules.routes is None else rules.routes
    return tuple(name for name in may if scope is None or scope.routes is None or name in scope.routes)


def deployments(
    config: Config, catalogue: Mapping[str, ProviderRow], routes: tuple[str, ...], wall: float
) -> dict[str, Deployment]:
    """Those that these routes name, by name, at a moment (UTC seconds)."""
    using: dict[str, list[str]] = {}
    for route in routes:
        for name in config.routes[route].deployments:
            using.setdefault(name, []).append(route)
    now = datetime.fromtimestamp(wall, UTC)
    return {name: _deployment(name, tuple(using[name]), config, catalogue, now) for name in sorted(using)}


def _deployment(
    name: str, routes: tuple[str, ...], config: Config, catalogue: Mapping[str, ProviderRow], now: datetime
) -> Deployment:
    own, _, model = name.partition("/")
    provider = config.providers[own]
    row = catalogue.get(provider.catalogue or own) or _unknown(own, provider)
    facts = row.model(model)
    retires, successor = retirement(provider, row, model)
    return Deployment(
        name=name,
        provider=own,
        model=model,
        title=row.title,
        routes=routes,
        dialect=provider.dialect or facts.dialect or row.dialect,
        window=facts.context_window,
        max_output=facts.max_output,
        capabilities=tuple(sorted(facts.capabilities)) if "capabilities" in facts.model_fields_set else None,
        regions=row.regions if facts.regions is None else facts.regions,
        region=traits_of(own, provider, row, model).region,
        retention=row.retention if facts.retention is None else facts.retention,
        lines=tuple(_lines(provider, row, model, now)),
        deprecated=facts.deprecated,
        retires=retires,
        left=None if retires is None else (retires - now.date()).days,
        successor=successor,
        said=tuple(_said(provider)),
        docs=row.docs,
    )


def _unknown(name: str, provider: Provider) -> ProviderRow:
    """Of a provider that is in no file: the configuration has to say its dialect and its address."""
    return ProviderRow(name=name, dialect=provider.dialect or "openai_chat", base_url=provider.base_url or "")


def _lines(provider: Provider, row: ProviderRow, model: str, now: datetime) -> Iterator[PriceLine]:
    row = at_tier(row, row.tiers.get(provider.tier) if provider.tier != "standard" else None)
    prices = row.prices(model)
    held = price_at(prices, now) if prices else None
    for price in prices:
        yield PriceLine(price, version_of(price), row.source(model, price), holds=price is held)


def _said(provider: Provider) -> Iterator[tuple[str, str]]:
    """Without the key, and without the address, which may say more than its reader should know."""
    if provider.base_url is not None:
        yield "base_url", "an address of your own: whether and when the model retires there, only you know"
    for name in ("catalogue", "dialect", "hosting", "region", "tier", "quantisation"):
        if name in provider.model_fields_set:
            yield name, str(getattr(provider, name))
    if provider.zero_retention:
        yield "zero_retention", "it keeps nothing of a call, as agreed with it"
