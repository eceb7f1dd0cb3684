"""Cheaper tiers of a provider: its row as it is for calls that can wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from catalogue.rows import ProviderRow, TierRow

__all__ = ["Asked", "NoSuchTier", "at_tier", "tier_of"]


class NoSuchTier(ValueError):
    """The provider has no such tier."""


class Asked(Protocol):
    """What the configuration says of a provider's tier."""

    @property
    def tier(self) -> Literal["standard", "flex", "batch"]: ...


def tier_of(name: str, asked: Asked, row: ProviderRow | None) -> TierRow | None:
    """The tier that a configured provider is to use, ``None`` for the usual one. Raises NoSuchTier."""
    if asked.tier == "standard":
        return None
    found = None if row is None else row.tiers.get(asked.tier)
    if found is None:
        known = ", ".join(() if row is None else row.tiers) or "none"
        message = f"providers.{name}.tier: the catalogue knows no tier {asked.tier!r} of it (there are: {known})"
        raise NoSuchTier(message)
    return found


def at_tier(row: ProviderRow, tier: TierRow | None) -> ProviderRow:
    """The row with the tier's prices and with what it sends."""
    if tier is None:
        return row
    return row.changed(quirks={**row.quirks, **tier.quirks}).discounted(tier.price)
